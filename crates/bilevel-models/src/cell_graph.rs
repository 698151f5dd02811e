//! Cells of networks whose architecture is searched for.

use burn::config::Config;

/// The operations on an edge of a cell.
///
/// Source: H. Liu et al., "DARTS: differentiable architecture search", 2019, section 3.1.1.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Zero: nothing passes.
    Zero,
    /// The identity; with stride 2 ReLU, a 1x1 convolution and normalisation.
    Identity,
    /// 3x3 max-pooling, normalised.
    MaxPool,
    /// 3x3 average pooling, normalised.
    AveragePool,
    /// A 3x3 separable convolution, twice.
    Separable3,
    /// A 5x5 separable convolution, twice.
    Separable5,
    /// A 3x3 separable convolution of dilation 2.
    Dilated3,
    /// A 5x5 separable convolution of dilation 2.
    Dilated5,
}

impl Operation {
    /// All of them, in the order of the columns of logits and weights.
    pub const ALL: [Self; 8] = [
        Self::Zero,
        Self::Identity,
        Self::MaxPool,
        Self::AveragePool,
        Self::Separable3,
        Self::Separable5,
        Self::Dilated3,
        Self::Dilated5,
    ];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zero => "zero",
            Self::Identity => "identity",
            Self::MaxPool => "max pool",
            Self::AveragePool => "average pool",
            Self::Separable3 => "separable 3x3",
            Self::Separable5 => "separable 5x5",
            Self::Dilated3 => "dilated 3x3",
            Self::Dilated5 => "dilated 5x5",
        }
    }
}

/// An edge of a cell, which computes the sum of these operations.
#[derive(Config, Debug, PartialEq, Eq)]
pub struct CellEdge {
    /// The node where it begins. 0 and 1 are the outputs of the cell before the previous one, and of the previous one.
    pub from: usize,
    /// The inner node where it ends, from 2; after `from`.
    pub to: usize,
    /// The operations.
    pub operations: Vec<Operation>,
}

/// A directed acyclic graph: each inner node is the sum over its incoming edges, the output is the concatenation of all
/// inner nodes.
#[derive(Config, Debug, PartialEq, Eq)]
pub struct CellGraph {
    /// Inner nodes.
    pub nodes: usize,
    /// The edges, ordered by `to`, then by `from`.
    pub edges: Vec<CellEdge>,
}

impl CellGraph {
    /// All operations on all edges.
    pub fn mixed(nodes: usize) -> Self {
        let into = |to| {
            (0..to).map(move |from| CellEdge { from, to, operations: Operation::ALL.to_vec() })
        };
        Self { nodes, edges: (2..nodes + 2).flat_map(into).collect() }
    }

    /// The cell that weights choose: on each edge of [`Self::mixed`] the operation with the largest weight, excluding
    /// zero, and of the edges into a node the two whose operations have the largest weights.
    ///
    /// `weights` has a row for each edge of [`Self::mixed`], with a number for each of [`Operation::ALL`]. Of equal
    /// weights the first is chosen.
    ///
    /// Source: DARTS, section 2.4.
    pub fn strongest(nodes: usize, weights: &[f64]) -> Self {
        let rows = weights.chunks(Operation::ALL.len());
        let mut chosen: Vec<(f64, CellEdge)> = Self::mixed(nodes)
            .edges
            .into_iter()
            .zip(rows)
            .map(|(edge, row)| {
                let first = (Operation::Identity, row[1]);
                let best = Operation::ALL.into_iter().zip(row.iter().copied()).skip(2);
                let (operation, weight) =
                    best.fold(first, |best, next| if next.1 > best.1 { next } else { best });
                (weight, CellEdge { operations: vec![operation], ..edge })
            })
            .collect();
        chosen.sort_by(|a, b| a.1.to.cmp(&b.1.to).then(b.0.total_cmp(&a.0)));
        let of_node = |to: usize| chosen.iter().filter(move |(_, edge)| edge.to == to).take(2);
        let mut edges: Vec<CellEdge> =
            (2..nodes + 2).flat_map(of_node).map(|(_, edge)| edge.clone()).collect();
        edges.sort_by_key(|edge| (edge.to, edge.from));
        Self { nodes, edges }
    }

    /// The cell whose nodes are all the sum of both inputs.
    pub fn identities(nodes: usize) -> Self {
        let into =
            |to| [0, 1].map(|from| CellEdge { from, to, operations: vec![Operation::Identity] });
        Self { nodes, edges: (2..nodes + 2).flat_map(into).collect() }
    }

    /// The number of edges with the identity.
    pub fn skips(&self) -> usize {
        let is_skip = |edge: &&CellEdge| edge.operations.contains(&Operation::Identity);
        self.edges.iter().filter(is_skip).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_strongest_edges_of_each_node_stay_and_zero_never_does() {
        let mut weights = vec![0.0; 5 * 8];
        let mut set = |edge: usize, operation: Operation, weight: f64| {
            let column = Operation::ALL.iter().position(|&o| o == operation).unwrap();
            weights[edge * 8 + column] = weight;
        };
        // Into node 2 from 0 and 1; into node 3 from 0, 1 and 2.
        set(0, Operation::Zero, 9.0);
        set(0, Operation::MaxPool, 1.0);
        set(1, Operation::Dilated5, 2.0);
        set(2, Operation::Separable3, 3.0);
        set(3, Operation::Zero, 9.0);
        set(4, Operation::Identity, 1.0);
        let cell = CellGraph::strongest(2, &weights);
        let edge = |from, to, operation| CellEdge { from, to, operations: vec![operation] };
        let expected = vec![
            edge(0, 2, Operation::MaxPool),
            edge(1, 2, Operation::Dilated5),
            edge(0, 3, Operation::Separable3),
            edge(2, 3, Operation::Identity),
        ];
        assert_eq!(cell, CellGraph { nodes: 2, edges: expected });
        assert_eq!((cell.skips(), CellGraph::identities(2).skips()), (1, 4));
    }
}
