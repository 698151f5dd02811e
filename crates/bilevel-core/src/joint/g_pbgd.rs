//! The lower gradient as a penalty.

use super::{Iterate, JointMethod, Seen};
use crate::{Direction, Error, Objective, Rates, Schedule, Snapshot, Wrt};

/// `g-pbgd`: projected gradient descent on `F + g norm(f_y)^2`.
///
/// ```text
/// x' = Proj(x - b (F_x + 2 g f_xy' f_y)),   y' = Proj(y - a (F_y + 2 g f_yy f_y))
/// ```
///
/// with the second-order terms in one product. Its limit at a constant penalty g is off by the order of 1 / g; it is
/// also attracted by stationary points of f that are not minima, and by minima of `norm(f_y)` elsewhere. On batches one
/// sample serves both factors, as in [`Penalty`](super::Penalty). Requires `2 a g < 2 / L^2`. Cost: one gradient of F,
/// one gradient and one product of f.
///
/// Source: H. Shen and T. Chen, "On penalty-based bilevel gradient descent method", 2023, Section 3.2.
#[derive(Clone, Copy, Debug)]
pub struct GPbgd {
    rates: Rates,
    penalty: Schedule,
}

impl GPbgd {
    /// With the penalty g.
    ///
    /// # Errors
    /// If it is not positive.
    pub fn new(rates: Rates, penalty: impl Into<Schedule>) -> Result<Self, Error> {
        Ok(Self { rates, penalty: penalty.into().positive("penalty")? })
    }
}

impl JointMethod for GPbgd {
    fn name(&self) -> &'static str {
        "g-pbgd"
    }

    fn describe(&self) -> String {
        format!("g-pbgd({}, penalty {})", self.rates, self.penalty)
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let samples = at.draw();
        let problem = at.problem(samples);
        let (upper_loss, upper) = problem.gradient(Objective::Upper, &at.y, Wrt::Both);
        // The linearisation is freed before x and y move.
        let (lower_loss, product) = {
            let (loss, slope, hessian) =
                problem.gradient_and_hessian(Objective::Lower, &at.y, Wrt::Both);
            (loss, hessian.product(Direction::in_y(&slope), Wrt::Both))
        };
        let ((upper_x, upper_y), (mixed, hessian)) = (upper.into_both(), product.into_both());
        let penalty = 2.0 * self.penalty.at(k);
        let along_x = upper_x.axpy(penalty, &mixed);
        let along_y = upper_y.axpy(penalty, &hessian);
        at.move_x(self.rates.upper.at(k), &along_x);
        at.move_y(self.rates.lower.at(k), &along_y);
        Ok(Seen { upper_loss, lower_loss, along_x, along_y, rest: 0.0 })
    }

    fn save(&self, _: &mut Snapshot) {}
}
