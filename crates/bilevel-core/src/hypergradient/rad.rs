//! Reverse-mode hypergradients through the lower dynamics.

use bilevel_autodiff::Vector;
use burn::tensor::backend::Backend;

use super::{Hypergradient, HypergradientMethod, Samples, Status};
use crate::lower::{Descent, Keep, State};
use crate::{Direction, Error, Level, Oracle, Point, Wrt};

/// `rad`: back-propagation through T lower steps, storing the states alone.
///
/// With `y_{t+1} = Psi(y_t; x)`, `A_t = dPsi/dy` and `B_t = dPsi/dx` at `y_t`:
///
/// ```text
/// lambda = F_y(x, y_T),  g = F_x(x, y_T)
/// for t = T-1 .. 0:  g += B_t' lambda,  lambda = A_t' lambda
/// ```
///
/// Each backward step recomputes its own piece of graph as one second-order product, so that memory is
/// T + 1 states and one graph: it does not grow with T times the activations. Cost: T gradients and T
/// products of f, one gradient of F, one value of f.
///
/// Requires: a lower loss that is twice differentiable along the way.
///
/// Source: [survey, Alg. 3](https://arxiv.org/abs/2101.11517); Franceschi et al., "Forward and reverse
/// gradient-based hyperparameter optimization", 2017.
#[derive(Debug)]
pub struct Rad<B: Backend> {
    descent: Descent<B>,
}

impl<B: Backend> Rad<B> {
    /// Through the steps of `descent`.
    pub fn new(descent: Descent<B>) -> Self {
        Self { descent }
    }
}

impl<B: Backend> HypergradientMethod<B> for Rad<B> {
    fn describe(&self) -> String {
        format!("rad({} steps of {})", self.descent.steps(), self.descent.dynamics().describe())
    }

    fn hypergradient(
        &mut self,
        oracle: &dyn Oracle<B>,
        x: &Vector<B>,
        start: &Vector<B>,
        samples: Samples,
    ) -> Result<Hypergradient<B>, Error> {
        let dynamics = self.descent.dynamics();
        let mut descended = self.descent.run(oracle, x, start, samples.lower, Keep::Trajectory)?;
        let status = Status::of_descent(&descended).unwrap_or(Status::Exact);
        let (states, lower) = (&mut descended.states, descended.y);
        let at = Point { x, y: &lower, sample: samples.upper };
        let (upper_loss, sides) = oracle.gradient(Level::Upper, at, Wrt::Both);
        let (mut gradient, lambda) = sides.into_both();
        // F does not see the optimiser's memory: its adjoint starts at zero.
        let last = states.pop().map_or_else(Vec::new, |last| last.memory);
        let memory = last.iter().map(Vector::zeros_like).collect();
        let mut adjoint = State { y: lambda, memory };
        while let Some(state) = states.pop() {
            let t = states.len();
            let at = Point { x, y: &state.y, sample: samples.lower };
            let mut lower_gradient = || oracle.gradient(Level::Lower, at, Wrt::Lower).1.into_y();
            let back = dynamics.adjoint(t, &state, &mut lower_gradient, adjoint);
            // The start does not depend on x: the adjoint of y_0 is not needed.
            let wrt = if t == 0 { Wrt::Upper } else { Wrt::Both };
            let product = oracle.product(Level::Lower, at, Direction::lower(&back.gradient), wrt);
            adjoint = back.state;
            if let Some(along_y) = &product.y {
                adjoint.y = adjoint.y.add(along_y);
            }
            gradient = gradient.add(&product.into_x());
        }
        Ok(Hypergradient { gradient, lower, upper_loss, lower_loss: descended.end_loss, status })
    }
}
