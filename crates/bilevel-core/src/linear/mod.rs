//! Linear systems `A q = b` with a symmetric operator that is known by its products.

mod cg;

pub use cg::Cg;

use std::fmt::Debug;

use bilevel_autodiff::Vector;
use burn::tensor::backend::Backend;

/// Why a linear solver stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinearStatus {
    /// The residual is within the tolerance.
    Converged,
    /// The limit of iterations was reached first.
    IterationLimit,
    /// A direction of zero or negative curvature was met: the operator is not positive definite.
    Indefinite,
    /// The residual became NaN or infinite.
    NotFinite,
}

impl std::fmt::Display for LinearStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Converged => "converged",
            Self::IterationLimit => {
                "stopped at its iteration limit: allow more iterations, loosen the tolerance, or add \
                 damping"
            }
            Self::Indefinite => {
                "met a Hessian that is not positive definite: run more lower steps, regularise the \
                 lower loss, or add damping"
            }
            Self::NotFinite => {
                "met numbers that are not finite: reduce the lower step size and look for NaN in the \
                 losses"
            }
        })
    }
}

/// The result of a linear solver.
#[derive(Clone, Debug)]
pub struct Solution<B: Backend> {
    /// The solution, or the best approximation of it.
    pub q: Vector<B>,
    /// Why the solver stopped.
    pub status: LinearStatus,
    /// `norm(b - A q) / norm(b)` as the solver knows it, with the damping in A: conjugate gradients
    /// update their residual and do not compute it anew.
    pub residual: f64,
    /// The products it took.
    pub products: usize,
}

/// Solves `A q = b` for a symmetric `A`.
pub trait LinearSolver<B: Backend>: Debug + Send + Sync {
    /// The name with the settings.
    fn describe(&self) -> String;

    /// Solves from q = 0; `product(v)` is `A v`.
    fn solve(&self, product: &mut dyn FnMut(&Vector<B>) -> Vector<B>, b: &Vector<B>)
    -> Solution<B>;
}
