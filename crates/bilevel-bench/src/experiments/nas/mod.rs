//! Architecture search: the operations on the edges of a cell.
//!
//! ```text
//! f(x, y) = 1/n sum_i l(x, y; train_i) + c/2 norm(y)^2
//! F(x, y) = 1/n sum_j l(x, y; validation_j)
//! ```
//!
//! with l the cross-entropy of a network of cells whose edges mix all operations with the weights softmax(x), and y the
//! weights of that network; biases are excluded from the decay c. x starts at 0, and y continues from its last value by
//! T steps. The cell is then derived: of the edges into a node the two strongest, on each the strongest operation. A
//! network of this cell is trained from scratch on the training and validation samples, and evaluated on the test set.
//!
//! Baselines, trained in the same way: `random`, the median of `--random` cells of random edges and operations, and
//! `skip`, identities on all edges, to which searches are known to collapse. The rank of a method is its position among
//! the random cells, 1 being the best.
//!
//! With `--angles`, the hypergradients of `first-order`, `one-stage-fd` and `one-stage` are compared during the search
//! with the exact one through `--reference-steps` steps from the same point, that of `rad`; and those of `one-stage-fd`
//! with those of `one-stage`, whose product it replaces by a difference.
//!
//! Sources: survey, section 3.3; H. Liu et al., ["DARTS: differentiable architecture
//! search"](https://arxiv.org/abs/1806.09055), 2019; with `--partial`, Y. Xu et al.,
//! ["PC-DARTS"](https://arxiv.org/abs/1907.05737), 2020. These move the weights with momentum and decay the logits;
//! here neither is done.

mod angles;
mod data;
mod draw;
mod look;
mod problem;
mod run;
mod settings;

pub use problem::Search;
pub use run::Prepared;
pub use settings::{Reference, Settings};
