//! Reptile: the displacement from x to the end of the lower steps.

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, StartInX, Status};
use crate::error::positive;
use crate::lower::Descent;
use crate::{Dynamics, Error, LowerProblem, Objective, Snapshot};

/// `reptile`: the displacement of the lower steps, in place of a gradient.
///
/// ```text
/// y_0 = x,  y_{t+1} = Psi_t(y_t; x),  g = (x - y_T) / a
/// ```
///
/// The sign is that of a gradient: an upper step *against* g, `x - b g`, moves x the fraction `b / a` of the way to
/// `y_T`. With gradient descent and `a = s` the step size, g is the sum of the lower gradients. F is not used; its
/// value is only reported. The parts of x that are not the start get 0. Shapes as for [`Maml`](crate::Maml).
///
/// Memory: one state and one replay. Cost: T gradients and one value of f, one value of F.
///
/// Source: [survey, after Eq. 30](https://arxiv.org/abs/2101.11517); A. Nichol and J. Schulman,
/// "Reptile: a scalable metalearning algorithm", 2018.
#[derive(Clone, Debug)]
pub struct Reptile {
    descent: Descent,
    scale: f64,
    start: StartInX,
}

impl Reptile {
    /// After the steps of `descent` from x, divided by `scale` (a): usually the lower step size, or 1.
    ///
    /// # Errors
    /// If `scale` is not finite and positive.
    pub fn new(descent: Descent, scale: f64) -> Result<Self, Error> {
        let scale = positive("scale of reptile", scale)?;
        Ok(Self { descent, scale, start: StartInX::default() })
    }

    /// From the part of x at `path`, such as `initial.layers`.
    pub fn with_part(mut self, path: impl Into<String>) -> Self {
        self.start = StartInX { path: path.into() };
        self
    }
}

impl HypergradientMethod for Reptile {
    fn name(&self) -> &'static str {
        "reptile"
    }

    fn describe(&self) -> String {
        let Self { descent, scale, start } = self;
        format!("reptile({}, scale {scale}{})", descent.describe(), start.suffix())
    }

    fn last_step(&self) -> Option<(usize, &dyn Dynamics)> {
        Some(self.descent.last_step())
    }

    fn run(&mut self, problem: LowerProblem<'_>, _: &Vector) -> Result<Hypergradient, Error> {
        let (positions, start) = self.start.find(&problem)?;
        let descended = self.descent.run(&problem, &start)?;
        let way = start.sub(&descended.state.y).scale(1.0 / self.scale);
        Ok(Hypergradient {
            gradient: problem.x.zeros_like().add_part(&positions, &way),
            start: None,
            status: Status::of_descent(&descended).unwrap_or(Status::Approximate),
            upper_loss: problem.value(Objective::Upper, &descended.state.y),
            lower: descended.state.y,
            lower_loss: descended.end_loss,
        })
    }

    fn save(&self, _: &mut Snapshot) {}
}
