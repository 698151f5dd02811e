//! The layers of a cell.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, activation};

use crate::layers::{conv, depthwise};
use crate::{BatchNorm, BatchNormConfig, CellEdge, CellGraph, Mode, Operation};

/// What all layers of a network of cells have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// Whether normalisations scale and shift.
    pub affine: bool,
    /// One in this many channels passes through the operations of an edge; see
    /// [`CellNetworkConfig::partial`](crate::CellNetworkConfig).
    pub partial: usize,
}

impl Style {
    fn norm(self, channels: usize, device: &Device) -> BatchNorm {
        BatchNormConfig::new(channels).with_affine(self.affine).init(device)
    }
}

/// ReLU, a convolution of each channel by itself if there is one, a 1x1 convolution, normalisation.
#[derive(Module, Debug)]
pub(crate) struct Convolution {
    depthwise: Option<Conv2d>,
    pointwise: Conv2d,
    norm: BatchNorm,
}

impl Convolution {
    /// A 1x1 convolution.
    pub fn pointwise(channels: [usize; 2], stride: usize, style: Style, device: &Device) -> Self {
        let norm = style.norm(channels[1], device);
        Self { depthwise: None, pointwise: conv(channels, 1, stride, device), norm }
    }

    fn separable(
        channels: usize,
        [kernel, dilation, stride]: [usize; 3],
        style: Style,
        device: &Device,
    ) -> Self {
        Self {
            depthwise: Some(depthwise(channels, kernel, dilation, stride, device)),
            ..Self::pointwise([channels; 2], 1, style, device)
        }
    }

    pub fn forward(&self, input: Tensor<4>, mode: &mut Mode<'_>) -> Tensor<4> {
        let mut hidden = activation::relu(input);
        if let Some(depthwise) = &self.depthwise {
            hidden = depthwise.forward(hidden);
        }
        self.norm.forward_with(self.pointwise.forward(hidden), mode)
    }
}

/// An operation.
#[derive(Module, Debug)]
struct Layer {
    #[module(skip)]
    operation: Operation,
    stride: usize,
    convolutions: Vec<Convolution>,
    norm: Option<BatchNorm>,
}

impl Layer {
    fn new(
        operation: Operation,
        channels: usize,
        stride: usize,
        style: Style,
        device: &Device,
    ) -> Self {
        let separable = |kernel, dilation, stride| {
            Convolution::separable(channels, [kernel, dilation, stride], style, device)
        };
        let convolutions = match operation {
            Operation::Identity if stride > 1 => {
                vec![Convolution::pointwise([channels; 2], stride, style, device)]
            }
            Operation::Separable3 => vec![separable(3, 1, stride), separable(3, 1, 1)],
            Operation::Separable5 => vec![separable(5, 1, stride), separable(5, 1, 1)],
            Operation::Dilated3 => vec![separable(3, 2, stride)],
            Operation::Dilated5 => vec![separable(5, 2, stride)],
            _ => Vec::new(),
        };
        let pools = matches!(operation, Operation::MaxPool | Operation::AveragePool);
        let norm = pools.then(|| style.norm(channels, device));
        Self { operation, stride, convolutions, norm }
    }

    fn forward(&self, input: Tensor<4>, mode: &mut Mode<'_>) -> Tensor<4> {
        let stride = [self.stride; 2];
        let output = match self.operation {
            Operation::MaxPool => {
                let options = MaxPoolOptions::new([3, 3]).with_stride(stride);
                max_pool2d(input, options.with_padding([1, 1]))
            }
            Operation::AveragePool => {
                let options = AvgPoolOptions::new([3, 3]).with_stride(stride);
                let options = options.with_padding([1, 1]);
                avg_pool2d(input, options.with_count_include_pad(false))
            }
            _ => self.convolutions.iter().fold(input, |hidden, layer| layer.forward(hidden, mode)),
        };
        match &self.norm {
            Some(norm) => norm.forward_with(output, mode),
            None => output,
        }
    }
}

/// An edge, with its layers.
#[derive(Module, Debug)]
struct Edge {
    from: usize,
    to: usize,
    stride: usize,
    partial: usize,
    layers: Vec<Layer>,
}

impl Edge {
    fn new(edge: &CellEdge, channels: usize, stride: usize, style: Style, device: &Device) -> Self {
        let layer = |&operation: &Operation| {
            Layer::new(operation, channels / style.partial, stride, style, device)
        };
        let layers = edge.operations.iter().map(layer).collect();
        Self { from: edge.from, to: edge.to, stride, partial: style.partial, layers }
    }

    /// The weighted sum of its operations; none if all of them are zero.
    ///
    /// # Shapes
    /// - weights: `[1, operations]`
    fn forward(
        &self,
        input: Tensor<4>,
        weights: Option<Tensor<2>>,
        mode: &mut Mode<'_>,
    ) -> Option<Tensor<4>> {
        let [samples, channels, ..] = input.dims();
        let through = channels / self.partial;
        let mut sum: Option<Tensor<4>> = None;
        for (at, layer) in self.layers.iter().enumerate() {
            if layer.operation == Operation::Zero {
                continue;
            }
            let output = layer.forward(input.clone().narrow(1, 0, through), mode);
            let output = match &weights {
                Some(weights) => {
                    let shape = output.dims();
                    (output.reshape([1, -1]) * weights.clone().narrow(1, at, 1)).reshape(shape)
                }
                None => output,
            };
            sum = Some(match sum {
                Some(sum) => sum + output,
                None => output,
            });
        }
        if self.partial == 1 {
            return sum;
        }
        let rest = input.narrow(1, through, channels - through);
        let rest = match self.stride {
            1 => rest,
            stride => {
                let options = MaxPoolOptions::new([2, 2]).with_stride([stride; 2]);
                max_pool2d(rest, options.with_ceil_mode(true))
            }
        };
        let whole = Tensor::cat(vec![sum?, rest], 1);
        // Channel c becomes channel `c / through + partial (c mod through)`, so that other channels pass next time.
        let [_, _, height, width] = whole.dims();
        let groups = whole.reshape([samples, self.partial, through, height * width]);
        Some(groups.swap_dims(1, 2).reshape([samples, channels, height, width]))
    }
}

/// A cell.
#[derive(Module, Debug)]
pub(crate) struct Cell {
    inputs: Vec<Convolution>,
    edges: Vec<Edge>,
    nodes: usize,
    /// Whether its edges from the inputs have stride 2.
    pub reduces: bool,
}

impl Cell {
    /// `inputs` are the channels of both inputs; the first of them is twice as high and wide as the other where the
    /// cell before `shrank` it.
    pub fn new(
        graph: &CellGraph,
        (inputs, channels): ([usize; 2], usize),
        (shrank, reduces): (bool, bool),
        style: Style,
        device: &Device,
    ) -> Self {
        let input = |at: usize, stride| {
            Convolution::pointwise([inputs[at], channels], stride, style, device)
        };
        let edge = |edge: &CellEdge| {
            let stride = if reduces && edge.from < 2 { 2 } else { 1 };
            Edge::new(edge, channels, stride, style, device)
        };
        Self {
            inputs: vec![input(0, if shrank { 2 } else { 1 }), input(1, 1)],
            edges: graph.edges.iter().map(edge).collect(),
            nodes: graph.nodes,
            reduces,
        }
    }

    /// The inner nodes, concatenated.
    ///
    /// # Shapes
    /// - weights: `[edges, operations]`
    pub fn forward(
        &self,
        inputs: [Tensor<4>; 2],
        weights: Option<Tensor<2>>,
        mode: &mut Mode<'_>,
    ) -> Tensor<4> {
        let inputs = inputs.into_iter().zip(&self.inputs);
        let mut nodes: Vec<Tensor<4>> =
            inputs.map(|(input, layer)| layer.forward(input, mode)).collect();
        for to in 2..self.nodes + 2 {
            let mut sum: Option<Tensor<4>> = None;
            for (at, edge) in self.edges.iter().enumerate().filter(|(_, edge)| edge.to == to) {
                let weights = weights.clone().map(|weights| weights.narrow(0, at, 1));
                let Some(output) = edge.forward(nodes[edge.from].clone(), weights, mode) else {
                    continue;
                };
                sum = Some(match sum {
                    Some(sum) => sum + output,
                    None => output,
                });
            }
            nodes.push(sum.expect("something passes into each node of a cell"));
        }
        Tensor::cat(nodes.split_off(2), 1)
    }
}
