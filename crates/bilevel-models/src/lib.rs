//! The networks of the experiments, each an ordinary Burn module with its config, and their loss.
//!
//! | network | shape | used for |
//! |---|---|---|
//! | [`SoftmaxRegression`] | linear | hyper-cleaning, hyperparameter optimisation |
//! | [`Mlp`] | fully connected, ReLU or tanh | hyper-cleaning, checks |
//! | [`VNet`] | 1-100-1 with a sigmoid | sample weights from losses |
//! | [`Cnn`] | convolution, ReLU, max-pooling, and a dense layer | importance learning, poisoning |
//! | [`ConvNet`] | blocks of convolution, normalisation, ReLU, max-pooling | few-shot learning, checks |
//! | [`ResNet`] | residual blocks of convolution, normalisation, ReLU: 20, 32, 18, 34, 50, 101, 152 layers | label correction, importance learning, timings |
//! | [`ResNet12`] | four residual blocks of three convolutions with max-pooling | few-shot learning |
//! | [`Warps`] | convolutions between the blocks of a [`ConvNet`] | few-shot learning by T-Net and WarpGrad |
//! | [`CellNetwork`] | cells whose operations are searched for, by the logits of an [`Architecture`] | architecture search |
//! | [`WideResNet`] | pre-activated residual blocks: WRN-28-10 | label correction, importance learning |
//!
//! [`Classifier`] is either of the first two and [`ImageClassifier`] any network that takes images, chosen at
//! run time; [`cross_entropy`] is the loss, one value per sample.
//!
//! Every network is a deterministic function of its parameters and its batch that reads no tensor values, so
//! that it can be recorded: there is no dropout, and [`BatchNorm`] uses the statistics of the current batch,
//! on any device. For evaluation it uses [`Statistics`] gathered over the training set.

mod cell;
mod cell_graph;
mod cell_network;
mod classifier;
mod cnn;
mod convnet;
mod image_classifier;
mod layers;
mod loss;
mod mlp;
mod norm;
mod resnet;
mod resnet12;
mod softmax;
mod statistics;
mod vnet;
mod warps;
mod wide_resnet;

pub use cell_graph::{CellEdge, CellGraph, Operation};
pub use cell_network::{Architecture, CellLogits, CellNetwork, CellNetworkConfig};
pub use classifier::{Classifier, ClassifierConfig};
pub use cnn::{Cnn, CnnConfig};
pub use convnet::{ConvNet, ConvNetConfig};
pub use image_classifier::{ImageClassifier, ImageClassifierConfig};
pub use loss::{accuracy, cross_entropy};
pub use mlp::{Activation, Mlp, MlpConfig};
pub use norm::{BatchNorm, BatchNormConfig};
pub use resnet::{ResNet, ResNetConfig, Residual};
pub use resnet12::{ResNet12, ResNet12Config};
pub use softmax::{SoftmaxRegression, SoftmaxRegressionConfig};
pub use statistics::{Mode, Statistics};
pub use vnet::{VNet, VNetConfig};
pub use warps::{Warps, WarpsConfig};
pub use wide_resnet::{WideResNet, WideResNetConfig};
