//! Networks of cells, and the logits by which their architecture is searched for.

use burn::config::Config;
use burn::module::{Module, Param};
use burn::nn::conv::Conv2d;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, activation};

use crate::cell::{Cell, Style};
use crate::layers::{conv, mean_pixel};
use crate::{BatchNorm, BatchNormConfig, CellGraph, Mode, Operation};

/// A 3x3 convolution, cells, and a linear head on the mean over pixels.
///
/// There are stages of equal cells; between two of them a reduction cell halves height and width and doubles the
/// channels. The search uses the network with all operations on all edges, by [`Self::forward_mixed`];
/// [`Self::forward`] uses the chosen ones.
///
/// Source: H. Liu et al., "DARTS: differentiable architecture search", 2019, section 2.1 and appendix A.1. There an
/// identity of stride 2 is a pair of 1x1 convolutions on shifted pixels and here one; there poolings are normalised only
/// in the search and here in both.
#[derive(Module, Debug)]
pub struct CellNetwork {
    stem: Conv2d,
    norm: BatchNorm,
    cells: Vec<Cell>,
    head: Linear,
}

/// Builds a [`CellNetwork`].
#[derive(Config, Debug)]
pub struct CellNetworkConfig {
    /// Channels of an image.
    pub inputs: usize,
    /// Number of classes.
    pub classes: usize,
    /// The cell that keeps height and width.
    pub normal: CellGraph,
    /// The cell that halves them.
    pub reduction: CellGraph,
    /// Channels of a node in the first stage.
    #[config(default = 16)]
    pub channels: usize,
    /// Stages.
    #[config(default = 3)]
    pub stages: usize,
    /// Cells of a stage.
    #[config(default = 2)]
    pub cells: usize,
    /// The stride of the first convolution.
    #[config(default = 1)]
    pub stem_stride: usize,
    /// One in this many channels passes through the operations of an edge, the others bypass them, and all are
    /// shuffled; 1 for all. It divides `channels`. Source: Y. Xu et al., "PC-DARTS: partial channel connections for
    /// memory-efficient architecture search", 2020.
    #[config(default = 1)]
    pub partial: usize,
    /// Whether normalisations scale and shift. In a search the scale would compensate for the weight of an operation.
    #[config(default = true)]
    pub affine: bool,
}

impl CellNetworkConfig {
    /// The network on `device`.
    pub fn init(&self, device: &Device) -> CellNetwork {
        let style = Style { affine: self.affine, partial: self.partial };
        let mut channels = self.channels;
        let mut before = [channels; 2];
        let mut shrank = false;
        let mut cells = Vec::new();
        for stage in 0..self.stages {
            let reduces = (stage > 0).then_some(true);
            for reduces in reduces.into_iter().chain((0..self.cells).map(|_| false)) {
                let graph = if reduces { &self.reduction } else { &self.normal };
                channels *= if reduces { 2 } else { 1 };
                let sizes = (before, channels);
                cells.push(Cell::new(graph, sizes, (shrank, reduces), style, device));
                before = [before[1], channels * graph.nodes];
                shrank = reduces;
            }
        }
        CellNetwork {
            stem: conv([self.inputs, self.channels], 3, self.stem_stride, device),
            norm: BatchNormConfig::new(self.channels).with_affine(self.affine).init(device),
            cells,
            head: LinearConfig::new(before[1], self.classes).init(device),
        }
    }
}

impl CellNetwork {
    /// The input of the head. Each edge is the sum of its operations.
    ///
    /// # Shapes
    /// - input: `[n, channels, height, width]`
    /// - output: `[n, channels of the last cell]`
    pub(crate) fn body(&self, images: Tensor<4>, mode: &mut Mode<'_>) -> Tensor<2> {
        self.pass(images, None, mode)
    }

    /// The logits of samples with these `features`.
    ///
    /// # Shapes
    /// - features: `[n, channels of the last cell]`
    /// - output: `[n, classes]`
    pub fn head(&self, features: Tensor<2>) -> Tensor<2> {
        self.head.forward(features)
    }

    /// The logits, in training mode. Each edge is the sum of its operations.
    ///
    /// # Shapes
    /// - input: `[n, channels, height, width]`
    /// - output: `[n, classes]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.head(self.body(images, &mut Mode::Train))
    }

    /// The logits of a network with all operations on all edges, mixed by `architecture`. Shapes are those of
    /// [`Self::forward`].
    ///
    /// # Panics
    /// If the architecture is that of another network.
    pub fn forward_mixed(
        &self,
        images: Tensor<4>,
        architecture: &Architecture,
        mut mode: Mode<'_>,
    ) -> Tensor<2> {
        self.head(self.pass(images, Some(architecture), &mut mode))
    }

    fn pass(
        &self,
        images: Tensor<4>,
        architecture: Option<&Architecture>,
        mode: &mut Mode<'_>,
    ) -> Tensor<2> {
        let stem = self.norm.forward_with(self.stem.forward(images), mode);
        let mut last = [stem.clone(), stem];
        for cell in &self.cells {
            let logits = architecture.map(|architecture| match cell.reduces {
                false => &architecture.normal,
                true => architecture.reduction.as_ref().expect("logits of reduction cells"),
            });
            let weights = logits.map(CellLogits::weights);
            let [before, previous] = last;
            let next = cell.forward([before, previous.clone()], weights, mode);
            last = [previous, next];
        }
        let [_, output] = last;
        mean_pixel(output)
    }
}

/// The logits of both kinds of cells, the upper variable of a search.
#[derive(Module, Debug)]
pub struct Architecture {
    /// Of the cells that keep height and width.
    pub normal: CellLogits,
    /// Of those that halve them, if there are any.
    pub reduction: Option<CellLogits>,
}

impl Architecture {
    /// Equal logits in cells of `nodes` inner nodes; edges have logits too if they are `weighted`.
    pub fn uniform(nodes: usize, reduces: bool, weighted: bool, device: &Device) -> Self {
        let cell = || CellLogits::uniform(nodes, weighted, device);
        Self { normal: cell(), reduction: reduces.then(cell) }
    }
}

/// The logits of a cell of [`CellGraph::mixed`].
#[derive(Module, Debug)]
pub struct CellLogits {
    /// `[edges, operations]`
    operations: Param<Tensor<2>>,
    /// `[edges, 1]`
    edges: Option<Param<Tensor<2>>>,
    nodes: usize,
}

impl CellLogits {
    fn uniform(nodes: usize, weighted: bool, device: &Device) -> Self {
        let edges = CellGraph::mixed(nodes).edges.len();
        let zeros = |columns| Param::from_tensor(Tensor::zeros([edges, columns], device));
        let operations = zeros(Operation::ALL.len());
        Self { operations, edges: weighted.then(|| zeros(1)), nodes }
    }

    /// The weights of all operations on all edges: their softmax on the edge, times the softmax of the edge among those
    /// into its node if edges are weighted.
    ///
    /// # Shapes
    /// - output: `[edges, operations]`
    pub fn weights(&self) -> Tensor<2> {
        let weights = activation::softmax(self.operations.val(), 1);
        let Some(edges) = &self.edges else { return weights };
        let mut from = 0;
        let shares = (2..self.nodes + 2).map(|into| {
            from += into;
            activation::softmax(edges.val().narrow(0, from - into, into), 0)
        });
        weights * Tensor::cat(shares.collect(), 0)
    }

    /// The cell that the weights choose; see [`CellGraph::strongest`]. Reads them from the device.
    pub fn strongest(&self) -> CellGraph {
        let weights: Vec<f64> = self.weights().into_data().iter::<f64>().collect();
        CellGraph::strongest(self.nodes, &weights)
    }
}
