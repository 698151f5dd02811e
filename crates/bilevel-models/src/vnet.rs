//! The network that weights samples by their loss.

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, activation};

/// `weight = sigmoid(w2 relu(w1 loss + b1) + b2)`: one weight per sample, computed from its loss alone.
///
/// Source: J. Shu et al., "Meta-Weight-Net: learning an explicit mapping for sample weighting", 2019,
/// 1-100-1.
#[derive(Module, Debug)]
pub struct VNet {
    hidden: Linear,
    output: Linear,
}

/// Builds a [`VNet`], with Burn's default initialisation (uniform, Kaiming).
#[derive(Config, Debug)]
pub struct VNetConfig {
    /// Width of the hidden layer.
    #[config(default = 100)]
    pub hidden: usize,
}

impl VNetConfig {
    /// The network on `device`.
    pub fn init(&self, device: &Device) -> VNet {
        VNet {
            hidden: LinearConfig::new(1, self.hidden).init(device),
            output: LinearConfig::new(self.hidden, 1).init(device),
        }
    }
}

impl VNet {
    /// The weights, each in (0, 1).
    ///
    /// # Shapes
    /// - losses, output: `[n]`
    pub fn forward(&self, losses: Tensor<1>) -> Tensor<1> {
        let n = losses.dims();
        let hidden = activation::relu(self.hidden.forward(losses.reshape([n[0], 1])));
        activation::sigmoid(self.output.forward(hidden)).reshape(n)
    }
}
