//! The workloads: networks, losses, and the shapes of their data.

use bilevel_core::{AutodiffOracle, Batch, BilevelProblem, Error, FullBatch, Oracle};
use bilevel_models::{
    Activation, ClassifierConfig, Mlp, MlpConfig, SoftmaxRegressionConfig, cross_entropy,
};
use bilevel_program::Vector;
use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Device, Int, Tensor, activation};
use clap::ValueEnum;
use serde::Serialize;

use super::data::{Part, WorkloadData};
use crate::backend::Array;
use crate::experiments::hyper_cleaning::{HyperCleaning, Labelled, SampleWeights};

/// A problem whose hypergradient is timed.
///
/// In the first three x has one logit per training sample, all 0, and y is a classifier: [`HyperCleaning`]. In the
/// others x is the start of the lower level: the initial weights of a network that adapts to its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// Weights of samples, softmax regression, 784-10.
    #[value(alias = "hyper-cleaning")]
    Softmax,
    /// Weights of samples, a network 784-300-10 with ReLU.
    Mlp,
    /// The same with tanh.
    MlpTanh,
    /// Initial weights of a network 1-40-40-1 with ReLU that fits a sine.
    Small,
    /// Initial weights of a convolutional network: 4 blocks of 64 channels without normalisation, 5 classes.
    Conv,
    /// The initial weights of `small` shared by many tasks, whose upper losses are averaged.
    MetaBatch,
}

const PIXELS: usize = 784;
const SIDE: usize = 28;
const CHANNELS: usize = 64;
/// Points of one task of `meta-batch`.
const POINTS: usize = 10;

/// One layer of a network: the shapes of its parameters, and how they are drawn.
pub(super) struct Layer {
    /// `[inputs, outputs]`, or `[outputs, inputs, height, width]` of a convolution.
    pub weight: Vec<usize>,
    /// `[outputs]`, drawn as zeros.
    pub bias: Vec<usize>,
    /// Standard deviation of the weights.
    pub deviation: f64,
}

impl Layer {
    fn linear(inputs: usize, outputs: usize, deviation: f64) -> Self {
        Self { weight: vec![inputs, outputs], bias: vec![outputs], deviation }
    }

    fn conv(inputs: usize, outputs: usize) -> Self {
        let deviation = (2.0 / (9 * inputs) as f64).sqrt();
        Self { weight: vec![outputs, inputs, 3, 3], bias: vec![outputs], deviation }
    }
}

impl Workload {
    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::Mlp => "mlp",
            Self::MlpTanh => "mlp-tanh",
            Self::Small => "small",
            Self::Conv => "conv",
            Self::MetaBatch => "meta-batch",
        }
    }

    /// Samples of each level, by default; tasks of `meta-batch`.
    pub fn samples(self) -> usize {
        match self {
            Self::Softmax | Self::Mlp | Self::MlpTanh => 5000,
            Self::Small => 10,
            Self::Conv => 25,
            Self::MetaBatch => 100,
        }
    }

    /// Whether x is the start of the lower level: then the implicit formula does not apply.
    pub fn learns_start(self) -> bool {
        matches!(self, Self::Small | Self::Conv | Self::MetaBatch)
    }

    /// The number of classes; none where the targets are numbers, of the shape of the inputs.
    pub(super) fn classes(self) -> Option<usize> {
        match self {
            Self::Softmax | Self::Mlp | Self::MlpTanh => Some(10),
            Self::Conv => Some(5),
            Self::Small | Self::MetaBatch => None,
        }
    }

    /// The shape of `n` samples.
    pub(super) fn inputs(self, n: usize) -> Vec<usize> {
        match self {
            Self::Softmax | Self::Mlp | Self::MlpTanh => vec![n, PIXELS],
            Self::Small => vec![n, 1],
            Self::Conv => vec![n, 1, SIDE, SIDE],
            Self::MetaBatch => vec![n, POINTS, 1],
        }
    }

    /// The large arrays of `n` samples on a device.
    pub(super) fn arrays(self, n: usize) -> Vec<Array> {
        let hidden = match self {
            Self::Softmax => vec![n, 10],
            Self::Mlp | Self::MlpTanh => vec![n, 300],
            Self::Small => vec![n, 40],
            Self::Conv => vec![n, CHANNELS, SIDE, SIDE],
            // Every task has its own layers.
            Self::MetaBatch => vec![n, 40, 40],
        };
        vec![
            Array::new("the samples of a level", self.inputs(n)),
            Array::new("the hidden layers of a level", hidden),
        ]
    }

    /// The layers of the network, from input to output.
    pub(super) fn layers(self) -> Vec<Layer> {
        match self {
            Self::Softmax => vec![Layer::linear(PIXELS, 10, 0.01)],
            Self::Mlp | Self::MlpTanh => {
                vec![Layer::linear(PIXELS, 300, 0.05), Layer::linear(300, 10, 0.05)]
            }
            Self::Small | Self::MetaBatch => vec![
                Layer::linear(1, 40, 1.0),
                Layer::linear(40, 40, 0.16),
                Layer::linear(40, 1, 0.16),
            ],
            Self::Conv => vec![
                Layer::conv(1, CHANNELS),
                Layer::conv(CHANNELS, CHANNELS),
                Layer::conv(CHANNELS, CHANNELS),
                Layer::conv(CHANNELS, CHANNELS),
                Layer::linear(CHANNELS, 5, 0.1),
            ],
        }
    }

    /// The parameters of the network by name, layer by layer: `weight0`, `bias0`, `weight1` and so on.
    pub(super) fn parameters(self) -> Vec<(String, Vec<usize>)> {
        let layers = self.layers().into_iter().enumerate();
        let named = |(at, layer): (usize, Layer)| {
            [(format!("weight{at}"), layer.weight), (format!("bias{at}"), layer.bias)]
        };
        layers.flat_map(named).collect()
    }

    /// The parts of x by name, as in a file of the hypergradient.
    pub(super) fn upper_parameters(self, samples: usize) -> Vec<(String, Vec<usize>)> {
        if self.learns_start() { self.parameters() } else { vec![("logits".into(), vec![samples])] }
    }
}

/// A workload on a device.
pub(super) struct Built {
    pub oracle: Box<dyn Oracle>,
    /// Where the hypergradient is taken.
    pub x: Vector,
    /// Where the lower level starts, unless it starts at x.
    pub y: Vector,
}

/// Puts a workload on a device.
///
/// # Errors
/// If a loss of these numbers is not finite.
pub(super) fn build(
    workload: Workload,
    numbers: WorkloadData,
    device: &Device,
) -> Result<Built, Error> {
    let WorkloadData { samples, train, validation, weights } = numbers;
    match workload {
        Workload::Softmax | Workload::Mlp | Workload::MlpTanh => {
            let x = SampleWeights::new(vec![0.0; samples], device);
            let y = classifier(workload).init(device);
            let data =
                FullBatch { upper: labelled(validation, device), lower: labelled(train, device) };
            let oracle = AutodiffOracle::new(HyperCleaning::default(), &x, &y, data)?;
            let x = oracle.upper_start();
            let y = Vector::from_slice(oracle.lower_layout(), &weights, device);
            Ok(Built { oracle: Box::new(oracle), x, y })
        }
        Workload::Small => {
            let config = MlpConfig::new(vec![1, 40, 40, 1]);
            let [x, y] = [config.init(device), config.init(device)];
            let data = FullBatch {
                upper: Points::new(validation, device),
                lower: Points::new(train, device),
            };
            let oracle = AutodiffOracle::new(Regression, &x, &y, data)?;
            let x = Vector::from_slice(oracle.upper_layout(), &weights, device);
            let y = Vector::from_slice(oracle.lower_layout(), &weights, device);
            Ok(Built { oracle: Box::new(oracle), x, y })
        }
        Workload::Conv => {
            let [x, y] = [PlainConvNet::new(device), PlainConvNet::new(device)];
            let data = FullBatch {
                upper: Images::new(validation, device),
                lower: Images::new(train, device),
            };
            let oracle = AutodiffOracle::new(Recognition, &x, &y, data)?;
            let x = Vector::from_slice(oracle.upper_layout(), &weights, device);
            let y = Vector::from_slice(oracle.lower_layout(), &weights, device);
            Ok(Built { oracle: Box::new(oracle), x, y })
        }
        Workload::MetaBatch => {
            let x = TaskLayers::zeros(1, device);
            let y = TaskLayers::zeros(samples, device);
            let data = FullBatch {
                upper: Points::new(validation, device),
                lower: Points::new(train, device),
            };
            let oracle = AutodiffOracle::new(MetaRegression, &x, &y, data)?;
            let x = Vector::from_slice(oracle.upper_layout(), &weights, device);
            let y = oracle.lower_start();
            Ok(Built { oracle: Box::new(oracle), x, y })
        }
    }
}

fn labelled(part: Part, device: &Device) -> Labelled {
    Labelled {
        inputs: Tensor::from_data(part.inputs, device),
        labels: Tensor::from_data(part.targets, device),
        rows: None,
    }
}

fn classifier(workload: Workload) -> ClassifierConfig {
    let mlp = MlpConfig::new(vec![PIXELS, 300, 10]);
    match workload {
        Workload::MlpTanh => ClassifierConfig::Mlp(mlp.with_activation(Activation::Tanh)),
        Workload::Mlp => ClassifierConfig::Mlp(mlp),
        _ => ClassifierConfig::Softmax(SoftmaxRegressionConfig::new(PIXELS, 10)),
    }
}

/// Inputs and their targets: `[n, 1]` both, or `[tasks, n, 1]`.
#[derive(Clone, Debug, Batch)]
struct Points<const D: usize> {
    inputs: Tensor<D>,
    targets: Tensor<D>,
}

impl<const D: usize> Points<D> {
    fn new(part: Part, device: &Device) -> Self {
        Self {
            inputs: Tensor::from_data(part.inputs, device),
            targets: Tensor::from_data(part.targets, device),
        }
    }
}

/// `small`: both losses are mean squared errors. x enters neither: y starts at x.
struct Regression;

impl BilevelProblem for Regression {
    type Upper = Mlp;
    type Lower = Mlp;
    type Batch = Points<2>;

    fn upper_loss(&self, x: &Mlp, y: &Mlp, query: &Points<2>) -> Tensor<1> {
        self.lower_loss(x, y, query)
    }

    fn lower_loss(&self, _: &Mlp, y: &Mlp, support: &Points<2>) -> Tensor<1> {
        (y.forward(support.inputs.clone()) - support.targets.clone()).powi_scalar(2).mean()
    }
}

/// Images and their classes: `[n, 1, 28, 28]` and `[n]`.
#[derive(Clone, Debug, Batch)]
struct Images {
    inputs: Tensor<4>,
    labels: Tensor<1, Int>,
}

impl Images {
    fn new(part: Part, device: &Device) -> Self {
        Self {
            inputs: Tensor::from_data(part.inputs, device),
            labels: Tensor::from_data(part.targets, device),
        }
    }
}

/// Blocks of 3x3 convolution, ReLU and 2x2 max-pooling, then a linear head on one pixel.
///
/// `bilevel_models::ConvNet` normalises after each convolution.
#[derive(Module, Debug)]
struct PlainConvNet {
    blocks: Vec<Conv2d>,
    pool: MaxPool2d,
    head: Linear,
}

impl PlainConvNet {
    fn new(device: &Device) -> Self {
        let block = |inputs| {
            let conv = Conv2dConfig::new([inputs, CHANNELS], [3, 3]);
            conv.with_padding(PaddingConfig2d::Same).init(device)
        };
        Self {
            blocks: [1, CHANNELS, CHANNELS, CHANNELS].map(block).into(),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            head: LinearConfig::new(CHANNELS, 5).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let block =
            |hidden, conv: &Conv2d| self.pool.forward(activation::relu(conv.forward(hidden)));
        self.head.forward(self.blocks.iter().fold(images, block).flatten(1, 3))
    }
}

/// `conv`: both losses are mean cross-entropies. x enters neither: y starts at x.
struct Recognition;

impl BilevelProblem for Recognition {
    type Upper = PlainConvNet;
    type Lower = PlainConvNet;
    type Batch = Images;

    fn upper_loss(&self, x: &PlainConvNet, y: &PlainConvNet, query: &Images) -> Tensor<1> {
        self.lower_loss(x, y, query)
    }

    fn lower_loss(&self, _: &PlainConvNet, y: &PlainConvNet, support: &Images) -> Tensor<1> {
        cross_entropy(y.forward(support.inputs.clone()), support.labels.clone()).mean()
    }
}

/// The layers 1-40-40-1 of several tasks at once.
#[derive(Module, Debug)]
struct TaskLayers {
    layers: Vec<TaskLayer>,
}

#[derive(Module, Debug)]
struct TaskLayer {
    /// `[tasks, inputs, outputs]`
    weight: Param<Tensor<3>>,
    /// `[tasks, 1, outputs]`
    bias: Param<Tensor<3>>,
}

impl TaskLayers {
    fn zeros(tasks: usize, device: &Device) -> Self {
        let layer = |[inputs, outputs]: [usize; 2]| TaskLayer {
            weight: Param::from_tensor(Tensor::zeros([tasks, inputs, outputs], device)),
            bias: Param::from_tensor(Tensor::zeros([tasks, 1, outputs], device)),
        };
        Self { layers: [[1, 40], [40, 40], [40, 1]].map(layer).into() }
    }

    /// The mean squared error of each task's network, whose parameters are the sum of the shared ones and its
    /// own. Shape `[tasks, 1, 1]`.
    fn errors(&self, shared: &Self, points: &Points<3>) -> Tensor<3> {
        let mut hidden = points.inputs.clone();
        for (at, (own, shared)) in self.layers.iter().zip(&shared.layers).enumerate() {
            if at > 0 {
                hidden = activation::relu(hidden);
            }
            let weight = shared.weight.val() + own.weight.val();
            hidden = hidden.matmul(weight) + (shared.bias.val() + own.bias.val());
        }
        (hidden - points.targets.clone()).powi_scalar(2).mean_dim(1)
    }
}

/// `meta-batch`: y is what each task adds to the shared start x, from 0. This is adaptation from x itself, and x and y
/// need not have the same shape. The lower loss is a sum over tasks, so that they do not affect one another.
struct MetaRegression;

impl BilevelProblem for MetaRegression {
    type Upper = TaskLayers;
    type Lower = TaskLayers;
    type Batch = Points<3>;

    fn upper_loss(&self, x: &TaskLayers, y: &TaskLayers, query: &Points<3>) -> Tensor<1> {
        y.errors(x, query).mean()
    }

    fn lower_loss(&self, x: &TaskLayers, y: &TaskLayers, support: &Points<3>) -> Tensor<1> {
        y.errors(x, support).sum()
    }
}
