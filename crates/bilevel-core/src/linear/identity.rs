//! The identity in place of the inverse.

use super::{LinearSolver, LinearStatus, Solution, System};

/// `identity`: `q = b`, as if A were I.
///
/// With it the implicit hypergradient is `F_x - f_xy' F_y`, of T1-T2. A descent direction where A is close enough to a
/// multiple of I; otherwise there is no bound, and the status is always [`LinearStatus::Approximate`]. Cost: no
/// products; the residual is not known.
///
/// Source: J. Luketina et al., "Scalable gradient-based tuning of continuous regularization
/// hyperparameters", 2016; [survey, section 6](https://arxiv.org/abs/2101.11517).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Identity;

impl LinearSolver for Identity {
    fn name(&self) -> &'static str {
        "identity"
    }

    fn describe(&self) -> String {
        "identity".into()
    }

    fn run(&self, system: &System<'_>) -> Solution {
        Solution::new(system.rhs().clone(), LinearStatus::Approximate, None)
    }
}
