//! Hypergradients of a constrained lower level.

use std::fmt::Debug;

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, Status};
use crate::constrained::{ActiveSet, AugmentedLagrangian, Level, Residual, Solved};
use crate::{Error, LowerProblem, Objective, Snapshot, Wrt};

/// `kkt`: implicit differentiation of the KKT conditions of a lower level with constraints that depend on x,
///
/// ```text
/// y*(x) in argmin_y f(x, y)   with g(x, y) <= 0, h(x, y) = 0
/// | L_yy  c_A' | | q |   | F_y |
/// | c_A   0    | | r | = | 0   |,     dF/dx = F_x - L_xy q - c_x' r
/// ```
///
/// where L is the Lagrangian and `c_A` are the equalities and the active inequalities of the
/// [problem](crate::BilevelProblem::constraints). The level is solved by an [`AugmentedLagrangian`], from the previous
/// multipliers.
///
/// Requires: at y* linearly independent gradients of the active constraints, multipliers above 0 and `L_yy` positive
/// definite along them. Where a constraint is about to become inactive, `y*(x)` has a kink and the gradient is
/// one-sided: [`Status::Degenerate`]. Cost: the solution, a gradient of F, and for each product with the matrix one of
/// f and one of the constraints.
///
/// Source: A. V. Fiacco, "Introduction to sensitivity and stability analysis in nonlinear programming", 1983, Thm. 2.4.1.
#[derive(Clone, Debug)]
pub struct Kkt {
    lower: AugmentedLagrangian,
    /// The multipliers of the last call.
    multipliers: Option<Vec<f64>>,
}

impl Kkt {
    /// With the level solved by `lower`, whose linear solver also solves the system.
    pub fn new(lower: AugmentedLagrangian) -> Self {
        Self { lower, multipliers: None }
    }

    /// The multipliers of the last solution.
    pub fn multipliers(&self) -> Option<&[f64]> {
        self.multipliers.as_deref()
    }
}

impl HypergradientMethod for Kkt {
    fn name(&self) -> &'static str {
        "kkt"
    }

    fn describe(&self) -> String {
        format!("kkt({})", self.lower.describe())
    }

    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        let level = Level::new(problem);
        let Solved { at, loss, residual } =
            self.lower.solve(&level, start, self.multipliers.as_deref())?;
        let (upper_loss, sides) = problem.gradient(Objective::Upper, &at.y, Wrt::Both);
        let (direct, upper) = sides.into_both();
        let values = level.constraints.values(problem.x, &at.y);
        let (solver, tolerance) = (self.lower.linear_solver(), self.lower.tolerance());
        let set = ActiveSet::at(level, &at, &values, solver);
        let found = set.respond(&upper, &values, tolerance)?;
        let stationarity = residual.largest();
        let status = match found.degenerate {
            _ if stationarity > tolerance => Status::LowerLimit { stationarity, tolerance },
            Some(degenerate) => Status::Degenerate(degenerate),
            None => Status::Implicit {
                solver: found.status,
                residual: found.residual,
                stationarity,
                relative: None,
            },
        };
        self.multipliers = Some(at.multipliers);
        Ok(Hypergradient {
            gradient: direct.add(&found.gradient),
            start: None,
            lower: at.y,
            upper_loss,
            lower_loss: loss,
            status,
        })
    }

    fn residual(&self, problem: LowerProblem<'_>, y: &Vector) -> Residual {
        Residual::of_multipliers(problem, y, self.multipliers.as_deref().unwrap_or_default())
    }

    fn save(&self, to: &mut Snapshot) {
        to.put_list("multipliers", self.multipliers.as_deref().unwrap_or_default());
    }

    fn restore(&mut self, from: &mut Snapshot, _: &Vector, _: &Vector) -> Result<(), Error> {
        let multipliers = from.take_list("multipliers")?;
        self.multipliers = Some(multipliers).filter(|multipliers| !multipliers.is_empty());
        Ok(())
    }
}
