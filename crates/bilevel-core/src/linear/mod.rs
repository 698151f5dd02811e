//! Linear systems `A q = b` with an operator that is known through its products.
//!
//! A solver is a value with its settings. [`LinearSolver::solve`] checks that it fits the operator, counts the products
//! and never silently returns numbers that are not finite.
//!
//! | name | type | for | products |
//! |---|---|---|---|
//! | `cg` | [`Cg`] | positive definite A | k |
//! | `normal-cg` | [`NormalCg`] | symmetric A, indefinite or singular too | 2 k |
//! | `gmres` | [`Gmres`] | any A | k, and one per restart |
//! | `bicgstab` | [`BiCgStab`] | any A | 2 k |
//! | `neumann` | [`Neumann`] | `norm(I - eta A) < 1` | k |
//! | `approx-grad` | [`ApproxGrad`] | symmetric A, indefinite or singular too | 2 k |
//! | `nystrom` | [`Nystrom`] | positive semidefinite A of low rank, damped | k + 1 |
//! | `identity` | [`Identity`] | A close to I | 0 |
//! | `dense` | [`Dense`] | any A, small | the dimension of q |
//!
//! [`Lanczos`] solves nothing: it finds the extreme eigenvalues of a symmetric A by k products.

mod approx_grad;
mod bicgstab;
mod cg;
mod dense;
mod gmres;
mod identity;
mod lanczos;
mod limits;
mod minres;
mod neumann;
mod normal_cg;
mod nystrom;
mod system;

pub use approx_grad::ApproxGrad;
pub use bicgstab::BiCgStab;
pub use cg::Cg;
pub use dense::Dense;
pub use gmres::Gmres;
pub use identity::Identity;
pub use lanczos::{Lanczos, Spectrum};
pub(crate) use limits::{Best, Limits};
pub use minres::Minres;
pub use neumann::Neumann;
pub use normal_cg::NormalCg;
pub use nystrom::Nystrom;
pub(crate) use system::epsilon;
pub use system::{Operator, Structure, System};

use std::fmt::Debug;

use auto_impl::auto_impl;
use bilevel_program::Vector;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Why a linear solver stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinearStatus {
    /// The residual is within the tolerance.
    Converged,
    /// An approximation by design, without a tolerance.
    Approximate,
    /// The iteration limit was reached first.
    IterationLimit,
    /// A direction of negative curvature was found: the operator is not positive definite.
    Indefinite,
    /// The operator is singular up to rounding: at best, q solves the least-squares problem `min norm(A q - b)`.
    Singular,
    /// A quotient of the recurrence, or a factorisation, is no longer defined.
    Breakdown,
    /// The residual grows.
    Diverged,
    /// The residual became NaN or infinite.
    NotFinite,
}

impl LinearStatus {
    /// Whether the solver succeeded.
    pub fn is_ok(self) -> bool {
        matches!(self, Self::Converged | Self::Approximate)
    }
}

impl std::fmt::Display for LinearStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Converged => "converged",
            Self::Approximate => {
                "approximated by design, to no tolerance: compare with an exact solver where the error \
                 matters"
            }
            Self::IterationLimit => {
                "stopped at its iteration limit: allow more iterations, loosen the tolerance, or \
                 regularise the lower loss"
            }
            Self::Indefinite => {
                "met a Hessian that is not positive definite: run more lower steps, regularise the \
                 lower loss, or use normal-cg, or cg with damping"
            }
            Self::Singular => {
                "met a singular Hessian and a gradient outside its range or without a unique solution: \
                 regularise the lower loss, use a solver with damping, or normal-cg or gmres for the \
                 least-squares solution"
            }
            Self::Breakdown => {
                "broke down on a quotient of zeros or a factorisation: regularise the lower loss, or use another \
                 solver, such as normal-cg"
            }
            Self::Diverged => {
                "diverged: reduce the step size to what the method requires, and regularise the lower loss \
                 where the Hessian is not positive definite, or use normal-cg"
            }
            Self::NotFinite => {
                "met numbers that are not finite: look for NaN in the losses, and for second derivatives \
                 that are infinite, as that of a norm at 0"
            }
        })
    }
}

/// The result of a linear solver.
#[derive(Clone, Debug)]
pub struct Solution {
    /// The solution, or the best approximation of it.
    pub q: Vector,
    /// Why the solver stopped.
    pub status: LinearStatus,
    /// `norm(b - A q) / norm(b)`, with the damping in A; none if the solver does not know it. Each solver says whether
    /// it computes the residual anew or updates it.
    pub residual: Option<f64>,
    /// The products taken.
    pub products: usize,
}

impl Solution {
    /// The result of a solver; [`LinearSolver::solve`] fills in the products.
    pub fn new(q: Vector, status: LinearStatus, residual: Option<f64>) -> Self {
        Self { q, status, residual, products: 0 }
    }
}

/// Solves `A q = b`.
#[auto_impl(Box)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not solve linear systems",
    label = "not a linear solver",
    note = "conjugate gradients: `Cg::new(iterations, tolerance)?`",
    note = "the constructors check their arguments and give a `Result`: is a `?` missing?"
)]
pub trait LinearSolver: Debug + Send + Sync {
    /// The name, such as `cg`, which identifies a saved state.
    fn name(&self) -> &'static str;

    /// The name with the settings.
    fn describe(&self) -> String;

    /// Whether the solver fits an operator of this structure on vectors of this dimension: any by default.
    ///
    /// # Errors
    /// If not, naming one that does.
    fn check(&self, structure: Structure, size: usize) -> Result<(), Error> {
        let _ = (structure, size);
        Ok(())
    }

    /// Solves a system that fits, and whose right-hand side is finite and not 0. Called by
    /// [`LinearSolver::solve`].
    fn run(&self, system: &System<'_>) -> Solution;

    /// Solves the system. A zero right-hand side takes no product.
    ///
    /// # Errors
    /// If the solver does not fit the operator, before any product.
    fn solve(&self, system: &System<'_>) -> Result<Solution, Error> {
        let (operator, b) = (system.operator(), system.rhs());
        self.check(operator.structure(), b.layout().size())?;
        let before = operator.products();
        let mut solution = if system.norm() == 0.0 {
            Solution::new(b.zeros_like(), LinearStatus::Converged, Some(0.0))
        } else if system.norm().is_finite() {
            self.run(system)
        } else {
            Solution::new(b.zeros_like(), LinearStatus::NotFinite, None)
        };
        let finite = solution.residual.is_none_or(f64::is_finite) && solution.q.all_finite();
        if !finite {
            solution.status = LinearStatus::NotFinite;
        }
        solution.products = operator.products() - before;
        Ok(solution)
    }
}
