//! The current point of a joint method.

use bilevel_program::Vector;

use super::StepDirection;
use crate::constrained::Residual;
use crate::solver::project;
use crate::{Counted, Error, Loss, LowerProblem, Objective, Oracle, Projection, Sampler, Samples};

/// The variables, the oracle and the draws of data on which a joint method works.
pub struct Iterate<'a> {
    /// The upper variable.
    pub x: Vector,
    /// The lower variable.
    pub y: Vector,
    /// The problem.
    pub oracle: Counted<&'a dyn Oracle>,
    /// The next batches.
    pub sampler: Sampler,
    pub(crate) upper_set: Option<Box<dyn Projection>>,
    pub(crate) lower_set: Option<Box<dyn Projection>>,
    pub(crate) upper_momentum: Option<Box<dyn StepDirection>>,
    pub(crate) lower_momentum: Option<Box<dyn StepDirection>>,
}

impl<'a> Iterate<'a> {
    /// At `x` and `y`, on whole data, without constraints.
    pub fn new(oracle: &'a dyn Oracle, x: Vector, y: Vector) -> Self {
        Self {
            x,
            y,
            oracle: Counted::new(oracle),
            sampler: Sampler::full(),
            upper_set: None,
            lower_set: None,
            upper_momentum: None,
            lower_momentum: None,
        }
    }

    /// Whether the sampler draws from the batches of the data.
    pub(crate) fn check_sampler(&self) -> Result<(), Error> {
        self.sampler.check(&self.oracle)
    }

    /// One batch for each level.
    pub fn draw(&mut self) -> Samples {
        let Self { sampler, .. } = self;
        Samples {
            upper: sampler.draw(Objective::Upper),
            lower: sampler.draw(Objective::Lower),
            ..Samples::default()
        }
    }

    /// The oracle at the current x with the batches `samples`.
    pub fn problem(&self, samples: Samples) -> LowerProblem<'_> {
        LowerProblem::new(&self.oracle, &self.x, samples)
    }

    /// The nearest point of the upper set, if there is one.
    pub fn project_upper(&self, x: Vector) -> Vector {
        project(&self.upper_set, x)
    }

    /// The nearest point of the lower set, if there is one.
    pub fn project_lower(&self, y: Vector) -> Vector {
        project(&self.lower_set, y)
    }

    /// `x' = Proj(x - rate * along)`, with momentum if x has any.
    pub fn move_x(&mut self, rate: f64, along: &Vector) {
        let moved = moved(&self.x, rate, along, &mut self.upper_momentum);
        self.x = self.project_upper(moved);
    }

    /// `y' = Proj(y - rate * along)`, with momentum if y has any.
    pub fn move_y(&mut self, rate: f64, along: &Vector) {
        let moved = moved(&self.y, rate, along, &mut self.lower_momentum);
        self.y = self.project_lower(moved);
    }

    /// How far y is from a lower optimum, by `f_y`, or by `y - Proj(y - f_y)` if y is kept in a set, on all batches;
    /// and from the constraints of the problem.
    pub fn residual(&self) -> Residual {
        let problem = self.problem(Samples::default());
        let slope = problem.whole_slope(&self.y);
        let rest = match &self.lower_set {
            Some(set) => self.y.sub(&set.apply(&self.y.sub(&slope))),
            None => slope,
        };
        Residual::of_slope(&rest, &problem, &self.y)
    }

    /// For methods that step ahead of y without a projection.
    pub(crate) fn refuse_lower_set(&self, method: &'static str) -> Result<(), Error> {
        if self.lower_set.is_none() {
            return Ok(());
        }
        Err(Error::InvalidSetting {
            setting: "lower projection",
            found: format!("a set that y is kept in, with {method}"),
            expected: "none: its steps of y are not projected",
            cure: "write y as a function of a free variable, or unroll a projected step",
        })
    }

    /// For methods whose steps of x must be along the negative gradient.
    pub(crate) fn refuse_upper_momentum(&self, method: &'static str) -> Result<(), Error> {
        if self.upper_momentum.is_none() {
            return Ok(());
        }
        Err(Error::InvalidSetting {
            setting: "upper momentum",
            found: format!("momentum of x, with {method}"),
            expected: "none: a step that is not along the negative gradient need not decrease the objective",
            cure: "leave it out",
        })
    }
}

fn moved(
    variable: &Vector,
    rate: f64,
    along: &Vector,
    momentum: &mut Option<Box<dyn StepDirection>>,
) -> Vector {
    match momentum {
        Some(momentum) => variable.axpy(-rate, &momentum.along(variable, along)),
        None => variable.axpy(-rate, along),
    }
}

/// The result of a joint step, with its numbers still on the device.
#[derive(Clone, Debug)]
pub struct Seen {
    /// F, at its last gradient.
    pub upper_loss: Loss,
    /// f, at its last gradient in y.
    pub lower_loss: Loss,
    /// The direction against which x was moved.
    pub along_x: Vector,
    /// The direction against which y was moved last.
    pub along_y: Vector,
    /// The norm of the direction of a further variable that must also be at rest for x and y to be; 0 if there is none,
    /// infinite as long as x is not moved.
    pub rest: f64,
}
