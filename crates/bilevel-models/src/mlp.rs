//! Fully connected networks.

use burn::config::Config;
use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, activation, module::linear};

/// The nonlinearity between layers.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `max(z, 0)`.
    Relu,
    /// Hyperbolic tangent.
    Tanh,
    /// None: the layers compose to a linear map, and a loss that is convex in that map is not in the layers.
    /// [`Mlp::forward`] multiplies the layers with each other first if there are enough samples for this to take fewer
    /// multiplications, which rounds differently.
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
        match self.activation {
            Activation::Identity if self.composes(input.dims()[0]) => self.composed(input),
            _ => self.head(self.features(input)),
        }
    }

    /// Whether the product of all layers and its value at `n` samples take fewer multiplications than the layers one
    /// after the other.
    fn composes(&self, n: usize) -> bool {
        let shape = |layer: &Linear| layer.weight.shape().dims::<2>();
        let shapes: Vec<[usize; 2]> = self.layers.iter().map(shape).collect();
        let (Some([input, _]), Some(([_, output], hidden))) = (shapes.first(), shapes.split_last())
        else {
            return false;
        };
        let product = |[a, b]: [usize; 2], c: usize| a as u64 * b as u64 * c as u64;
        let products: u64 = hidden.iter().map(|&shape| product(shape, *output)).sum();
        let layers: u64 = shapes.iter().map(|&shape| product(shape, n)).sum();
        products + product([n, *input], *output) < layers
    }

    /// The output as one linear map: `input W_1 ... W_l + b`, multiplied from the right.
    fn composed(&self, input: Tensor<2>) -> Tensor<2> {
        let parts = |layer: &Linear| (layer.weight.val(), layer.bias.as_ref().map(Param::val));
        let Some((last, hidden)) = self.layers.split_last() else { return input };
        let (weight, bias) = hidden.iter().rev().fold(parts(last), |(weight, bias), layer| {
            let (before, shift) = parts(layer);
            let bias = match shift {
                Some(b) => Some(linear(b.unsqueeze::<2>(), weight.clone(), bias).squeeze_dim(0)),
                None => bias,
            };
            (before.matmul(weight), bias)
        });
        linear(input, weight, bias)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_composed_from_as_many_samples_on_as_it_pays() {
        let composes = |widths: &[usize], n| {
            let network = MlpConfig::new(widths.to_vec()).init(&Device::flex());
            network.composes(n)
        };
        // 12 * 9 * 2 + n * 12 * 2 < n * (12 * 9 + 9 * 2)
        let pays = [1, 2, 3, 1000].map(|n| composes(&[12, 9, 2], n));
        assert_eq!(pays, [false, false, true, true]);
        assert!(!composes(&[12, 2], 1000) && !composes(&[12], 1000));
        assert!(!composes(&[12, 1, 2], 1000), "a narrow layer is cheaper");
    }
}
