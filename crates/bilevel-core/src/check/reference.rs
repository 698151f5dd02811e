//! What a hypergradient is compared with.

use std::fmt;

use bilevel_program::Vector;

use super::is_double;
use crate::lower::Descent;
use crate::{Error, LowerProblem, Objective, Oracle, Samples, Variable};

/// What a method should give, and what else is required of it: the reference of
/// [`check_hypergradient`](crate::check_hypergradient).
pub struct Reference<'a> {
    of: Of<'a>,
    pub(super) tolerance: f64,
    step: Option<f64>,
    pub(super) repeats: f64,
    pub(super) keeps_state: bool,
    pub(super) without_products: bool,
}

/// A function of x and the start of y.
type Value<'a> = dyn Fn(&Vector, &Vector) -> Result<f64, Error> + 'a;

enum Of<'a> {
    Gradient(&'a Vector),
    Descent(&'a Descent),
    Value(&'a Value<'a>),
}

impl fmt::Debug for Reference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.of {
            Of::Gradient(_) => "a known gradient".to_owned(),
            Of::Descent(descent) => format!("F after {}", descent.describe()),
            Of::Value(_) => "a function".to_owned(),
        };
        write!(f, "Reference({of} within {:e})", self.tolerance)
    }
}

impl<'a> Reference<'a> {
    fn new(of: Of<'a>, tolerance: f64) -> Self {
        let (step, repeats) = (None, 0.0);
        Self { of, tolerance, step, repeats, keeps_state: false, without_products: false }
    }

    /// A known gradient, to a relative error of `tolerance`.
    pub fn gradient(gradient: &'a Vector, tolerance: f64) -> Self {
        Self::new(Of::Gradient(gradient), tolerance)
    }

    /// Differences of `x -> F(x, y_T(x))`, with the T steps of `descent`: of the truncated problem, or, with many
    /// steps, of the solved one. In f64, 1e-8 is a suitable tolerance for smooth losses; in f32, 1e-2.
    pub fn differences(descent: &'a Descent, tolerance: f64) -> Self {
        Self::new(Of::Descent(descent), tolerance)
    }

    /// Differences of a function of x and the start y: for methods that differentiate something else, such as
    /// `max_k F(x, y_k)`.
    pub fn value(value: &'a Value<'a>, tolerance: f64) -> Self {
        Self::new(Of::Value(value), tolerance)
    }

    /// With differences over `h`, along directions of norm 1. Without it, 1e-3 in f64 and 0.05 in f32.
    pub fn with_step(mut self, h: f64) -> Self {
        self.step = Some(h);
        self
    }

    /// With repetitions that agree to a relative error instead of bit for bit: for devices that sum in any order.
    pub fn with_repetitions_within(mut self, tolerance: f64) -> Self {
        self.repeats = tolerance;
        self
    }

    /// Of a method whose second call builds on the first, such as a warm start: two values of it must agree call by
    /// call.
    pub fn with_state(mut self) -> Self {
        self.keeps_state = true;
        self
    }

    /// Of a method that claims to make no second-order products.
    pub fn without_products(mut self) -> Self {
        self.without_products = true;
        self
    }

    /// Whether a known gradient has the size of x.
    pub(super) fn fits(&self, oracle: &dyn Oracle) -> Result<(), Error> {
        let expected = oracle.upper_layout().size();
        match self.of {
            Of::Gradient(gradient) if gradient.layout().size() != expected => {
                Err(Error::UpperVariable {
                    what: "the known gradient of the check",
                    found: format!("{expected} numbers"),
                    expected: format!("the {} of the gradient", gradient.layout().size()),
                    cure: "give the gradient in the variables of x",
                })
            }
            _ => Ok(()),
        }
    }

    /// Whether it has values for finite differences.
    pub(super) fn has_values(&self) -> bool {
        !matches!(self.of, Of::Gradient(_))
    }

    /// The slope along `v` in x or in y, and its rounding error if a value has the error `noise`.
    pub(super) fn slope(
        &self,
        problem: &LowerProblem<'_>,
        y: &Vector,
        (variable, v): (Variable, &[f64]),
        noise: f64,
    ) -> Result<(f64, f64), Error> {
        if let Of::Gradient(gradient) = self.of {
            let slope = gradient.to_vec().iter().zip(v).map(|(g, v)| g * v).sum();
            return Ok((slope, noise));
        }
        let moved = match variable {
            Variable::X => problem.x,
            Variable::Y => y,
        };
        let h = self.step.unwrap_or(if is_double(moved.layout()) { 1e-3 } else { 5e-2 });
        let along = Vector::from_slice(moved.layout(), v, &moved.device());
        let value = |t: f64| {
            let moved = moved.axpy(t * h, &along);
            match variable {
                Variable::X => self.at(problem.oracle, &moved, y),
                Variable::Y => self.at(problem.oracle, problem.x, &moved),
            }
        };
        let slope = (8.0 * (value(1.0)? - value(-1.0)?) - (value(2.0)? - value(-2.0)?)) / 12.0;
        Ok((slope / h, noise / h))
    }

    fn at(&self, oracle: &dyn Oracle, x: &Vector, y: &Vector) -> Result<f64, Error> {
        match self.of {
            Of::Descent(descent) => {
                let problem = LowerProblem::new(oracle, x, Samples::default());
                let end = descent.run(&problem, y)?;
                Ok(problem.value(Objective::Upper, &end.state.y).read())
            }
            Of::Value(value) => value(x, y),
            Of::Gradient(_) => Ok(f64::NAN), // has no value; `slope` does not ask for one
        }
    }
}
