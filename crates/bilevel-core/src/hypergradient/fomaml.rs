//! First-order hypergradients in the start of the lower level.

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, StartInX, Status};
use crate::lower::Descent;
use crate::{Dynamics, Error, LowerProblem, Objective, Snapshot, Wrt};

/// `fomaml`: [`Maml`](crate::Maml) with every `A_t` replaced by the identity and every `B_t` by zero.
///
/// ```text
/// y_0 = x,  y_{t+1} = Psi_t(y_t; x),  g = F_x(x, y_T) + F_y(x, y_T)
/// ```
///
/// The second term belongs to the part of x that is the start. The error, relative to `norm(F_y)`, is of the order of
/// `T s norm(f_yy)`, and of `T s norm(f_xy)` where f depends on x itself. Shapes as for [`Maml`](crate::Maml).
///
/// Memory: one state and one replay. Cost: T gradients and one value of f, one gradient of F; no products, so that your
/// own oracle needs no tangent rules (`AutodiffOracle` tries a product when it is built).
///
/// Source: [survey, Eq. 30](https://arxiv.org/abs/2101.11517); C. Finn et al., "Model-agnostic
/// meta-learning for fast adaptation of deep networks", 2017.
#[derive(Clone, Debug)]
pub struct Fomaml {
    descent: Descent,
    start: StartInX,
}

impl Fomaml {
    /// After the steps of `descent` from x.
    pub fn new(descent: Descent) -> Self {
        Self { descent, start: StartInX::default() }
    }

    /// From the part of x at `path`, such as `initial.layers`.
    pub fn with_part(mut self, path: impl Into<String>) -> Self {
        self.start = StartInX { path: path.into() };
        self
    }
}

impl HypergradientMethod for Fomaml {
    fn name(&self) -> &'static str {
        "fomaml"
    }

    fn describe(&self) -> String {
        format!("fomaml({}{})", self.descent.describe(), self.start.suffix())
    }

    fn last_step(&self) -> Option<(usize, &dyn Dynamics)> {
        Some(self.descent.last_step())
    }

    fn run(&mut self, problem: LowerProblem<'_>, _: &Vector) -> Result<Hypergradient, Error> {
        let (positions, start) = self.start.find(&problem)?;
        let descended = self.descent.run(&problem, &start)?;
        let (upper_loss, sides) = problem.gradient(Objective::Upper, &descended.state.y, Wrt::Both);
        let (direct, slope) = sides.into_both();
        Ok(Hypergradient {
            gradient: direct.add_part(&positions, &slope),
            start: None,
            status: Status::of_descent(&descended).unwrap_or(Status::Approximate),
            lower: descended.state.y,
            upper_loss,
            lower_loss: descended.end_loss,
        })
    }

    fn save(&self, _: &mut Snapshot) {}
}
