//! Fully connected networks.

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, activation};

/// The nonlinearity between layers.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `max(z, 0)`.
    Relu,
    /// Hyperbolic tangent.
    Tanh,
}

/// Linear layers with a nonlinearity between them.
#[derive(Module, Debug)]
pub struct Mlp<B: Backend> {
    layers: Vec<Linear<B>>,
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
    pub fn init<B: Backend>(&self, device: &B::Device) -> Mlp<B> {
        let layers = self.widths.windows(2);
        let layers = layers.map(|w| LinearConfig::new(w[0], w[1]).init(device)).collect();
        Mlp { layers, activation: self.activation }
    }
}

impl<B: Backend> Mlp<B> {
    /// The linear layers, from input to output.
    pub fn layers(&self) -> &[Linear<B>] {
        &self.layers
    }

    /// The output of the last layer.
    ///
    /// # Shapes
    /// - input: `[n, widths[0]]`
    /// - output: `[n, widths[last]]`
    pub fn forward(&self, input: Tensor<B, 2>) -> Tensor<B, 2> {
        let mut hidden = input;
        for (at, layer) in self.layers.iter().enumerate() {
            if at > 0 {
                hidden = match self.activation {
                    Activation::Relu => activation::relu(hidden),
                    Activation::Tanh => activation::tanh(hidden),
                };
            }
            hidden = layer.forward(hidden);
        }
        hidden
    }
}
