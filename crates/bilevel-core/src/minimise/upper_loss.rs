//! The upper loss at a lower level that is solved anew.

use std::cell::RefCell;

use bilevel_program::Vector;

use super::Differentiable;
use crate::{HypergradientMethod, LowerProblem, Oracle, Samples, Status};

/// `F(x, y(x))` as a function of x, with the gradients of any hypergradient method: so [`Bfgs`](super::Bfgs),
/// [`Lbfgs`](super::Lbfgs) and [`Armijo`](super::Armijo) step along them by a length that they find on F itself, the lower
/// level solved again at each trial from where it was solved last.
///
/// Requires: a method of solved lower levels, as [`Implicit`](crate::Implicit) after [`Newton`](super::Newton) or
/// [`Kkt`](crate::Kkt), to a tolerance well below the changes of F that matter. Where the method fails, F is infinite, and
/// the step is shortened. Cost: a hypergradient for each trial.
pub struct UpperLoss<'a> {
    oracle: &'a dyn Oracle,
    method: RefCell<Box<dyn HypergradientMethod>>,
    lower: RefCell<Vector>,
    status: RefCell<Option<Status>>,
}

impl<'a> UpperLoss<'a> {
    /// On the data of the first sample, the lower level starting at `y`.
    pub fn new(
        oracle: &'a dyn Oracle,
        method: impl HypergradientMethod + 'static,
        y: Vector,
    ) -> Self {
        let method: Box<dyn HypergradientMethod> = Box::new(method);
        Self {
            oracle,
            method: RefCell::new(method),
            lower: RefCell::new(y),
            status: RefCell::new(None),
        }
    }

    /// Where the lower level ended last.
    pub fn lower(&self) -> Vector {
        self.lower.borrow().clone()
    }

    /// How far the last hypergradient can be trusted; none where there was none.
    pub fn status(&self) -> Option<Status> {
        *self.status.borrow()
    }
}

impl Differentiable for UpperLoss<'_> {
    fn value(&self, x: &Vector) -> f64 {
        self.gradient(x).0
    }

    fn gradient(&self, x: &Vector) -> (f64, Vector) {
        let problem = LowerProblem::new(self.oracle, x, Samples::default());
        let start = self.lower();
        match self.method.borrow_mut().hypergradient(problem, &start) {
            Ok(found) => {
                let value = found.upper_loss.read();
                if value.is_finite() {
                    self.lower.replace(found.lower);
                }
                self.status.replace(Some(found.status));
                (value, found.gradient)
            }
            Err(_) => (f64::INFINITY, x.zeros_like()),
        }
    }
}
