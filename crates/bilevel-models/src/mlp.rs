//! Fully connected networks.

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, activation};

/// The nonlinearity between layers.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `max(z, 0)`.
    Relu,
    /// Hyperbolic tangent.
    Tanh,
    /// None: the layers compose to a linear map, and a loss that is convex in that map is not in the layers.
    Identity,
}

/// Linear layers with a nonlinearity between them.
#[derive(Module, Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
    #[module(skip)]
    activation: Activation,
}

/// Builds an [`Mlp`], with Burn's default initialisation (uniform, Kaiming).
#[derive(Config, Debug)]
pub struct MlpConfig {
    /// Widths from input to output: `[784, 300, 10]` has one hidden layer.
    pub widths: Vec<usize>,
    /// The nonlinearity.
    #[config(default = "Activation::Relu")]
    pub activation: Activation,
}

impl MlpConfig {
    /// The network on `device`.
    pub fn init(&self, device: &Device) -> Mlp {
        let layers = self.widths.windows(2);
        let layers = layers.map(|w| LinearConfig::new(w[0], w[1]).init(device)).collect();
        Mlp { layers, activation: self.activation }
    }
}

impl Mlp {
    /// The input of the last layer: the last hidden layer, or the network's input if there is none.
    ///
    /// # Shapes
    /// - input: `[n, widths[0]]`
    /// - output: `[n, widths[last - 1]]`
    pub fn features(&self, input: Tensor<2>) -> Tensor<2> {
        let hidden = self.layers.split_last().map_or(&[][..], |(_, hidden)| hidden);
        hidden.iter().fold(input, |input, layer| {
            let hidden = layer.forward(input);
            match self.activation {
                Activation::Relu => activation::relu(hidden),
                Activation::Tanh => activation::tanh(hidden),
                Activation::Identity => hidden,
            }
        })
    }

    /// The output for samples with these `features`.
    ///
    /// # Shapes
    /// - features: `[n, widths[last - 1]]`
    /// - output: `[n, widths[last]]`
    pub fn head(&self, features: Tensor<2>) -> Tensor<2> {
        match self.layers.last() {
            Some(layer) => layer.forward(features),
            None => features,
        }
    }

    /// The linear layers, from input to output.
    pub fn layers(&self) -> &[Linear] {
        &self.layers
    }

    /// The output of the last layer.
    ///
    /// # Shapes
    /// - input: `[n, widths[0]]`
    /// - output: `[n, widths[last]]`
    pub fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        self.head(self.features(input))
    }
}
