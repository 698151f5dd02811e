//! Self-tuning networks with a centre.

use bilevel_program::Vector;

use super::alternation::Alternation;
use super::perturbation::{Perturbation, Scale};
use super::{Proxy, RankOne, Response};
use crate::joint::{Iterate, JointMethod, Seen};
use crate::{
    Direction, Error, LowerProblem, Objective, Oracle, Rates, Samples, Schedule, Snapshot, Wrt,
};

/// `delta-stn`: the best response at x, and its Jacobian in x, learned separately.
///
/// ```text
/// Psi(x + eps) = y + J eps,   J eps = (V eps) *_unit w_h,   eps ~ N(0, sigma^2)
/// y' = y - a f_y(x, y)
/// d = f_y(x + eps, y') + f_yy(x + eps, y') J eps
/// theta' = theta - a_J (dJ eps/dtheta)' d,   theta = (w_h, V)
/// x' = x - b (F_x + J' F_y)   at y',   y'' = y' + J (x' - x)
/// ```
///
/// y is trained at x, without the bias of the perturbations, and `d = 0` for all small eps means `f_yx + f_yy J = 0`,
/// so that J is `dy*/dx`. With a learned sigma the gradient of F is taken at `x + eps` and `y' + J eps`, and sigma
/// moves too, as [`Scale`] says. With `sigma = 0` J is not trained at all. The gradient in J is of the order of
/// `sigma^2`: give it a correspondingly larger step size of its own ([`DeltaStn::with_jacobian_rate`]).
///
/// Differs from its source twice. The source linearises the outputs of the network in y, so that its second term has
/// the Gauss-Newton matrix of f where this one has the Hessian: the same for a loss that is a square of something
/// linear in y, and closer to `dy*/dx` elsewhere; but where f is not convex in y, J may grow along negative curvature,
/// which the Gauss-Newton matrix of a convex loss does not have. And the authors' program leaves y unchanged when x
/// moves, though the centre then differs: y'' is the answer of the same affine response at the new x, so that moving
/// the centre does not change the response.
///
/// Memory: y, `w_h` and V: two numbers per entry of y and m per unit. Cost: two gradients and one product of f for each
/// training step, one gradient of F; a value of F instead during the warm-up.
///
/// Source: J. Bae and R. Grosse, "Delta-STN: efficient bilevel optimization for neural networks using
/// structured response Jacobians", 2020, Section 4.
#[derive(Clone, Debug)]
pub struct DeltaStn {
    jacobian: RankOne,
    jacobian_rate: Schedule,
    alternation: Alternation,
}

/// `y + J (. - x)`.
struct Centred<'a> {
    x: Vector,
    y: Vector,
    jacobian: &'a RankOne,
}

impl Response for Centred<'_> {
    fn respond(&self, x: &Vector) -> Vector {
        self.y.add(&self.jacobian.respond(&x.sub(&self.x)))
    }

    fn pull_to_x(&self, x: &Vector, cotangent: &Vector) -> Vector {
        self.jacobian.pull_to_x(x, cotangent)
    }
}

impl DeltaStn {
    /// `jacobian` and y trained by the lower step sizes of `rates`, at perturbations by `scale`; the same seed gives
    /// the same draws.
    pub fn new(jacobian: RankOne, rates: Rates, scale: Scale, seed: u64) -> Self {
        let alternation = Alternation::new(rates, Perturbation::new(scale, seed));
        Self { jacobian, jacobian_rate: rates.lower, alternation }
    }

    /// With separate step sizes of J (`a_J`): those of y over `sigma^2` let it learn about as fast.
    ///
    /// # Errors
    /// If one is not finite and positive.
    pub fn with_jacobian_rate(mut self, rate: impl Into<Schedule>) -> Result<Self, Error> {
        self.jacobian_rate = rate.into().positive("step size of the response Jacobian")?;
        Ok(self)
    }

    /// With `steps` steps of y and J for one of x.
    ///
    /// # Errors
    /// If `steps` is 0.
    pub fn with_training_steps(mut self, steps: usize) -> Result<Self, Error> {
        self.alternation.set_training_steps(steps)?;
        Ok(self)
    }

    /// With x held fixed during the first `steps` steps.
    pub fn with_warm_up(mut self, steps: usize) -> Self {
        self.alternation.set_warm_up(steps);
        self
    }

    /// J as trained so far.
    pub fn jacobian(&self) -> &RankOne {
        &self.jacobian
    }

    /// The learned standard deviations of the perturbation, if they are learned and were used.
    pub fn scales(&self) -> Option<Vector> {
        self.alternation.perturbation.sigma()
    }
}

impl JointMethod for DeltaStn {
    fn name(&self) -> &'static str {
        "delta-stn"
    }

    fn describe(&self) -> String {
        let Self { jacobian, jacobian_rate, alternation } = self;
        let scale = alternation.perturbation.scale();
        let jacobian = jacobian.describe();
        format!("delta-stn({jacobian} by {jacobian_rate}, {scale}, {alternation})")
    }

    fn check(&self, oracle: &dyn Oracle) -> Result<(), Error> {
        self.jacobian.check(oracle)
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let mut last = None;
        for lower in self.alternation.lower_samples(at)? {
            let samples = Samples { lower, ..Samples::default() };
            let (loss, sides) = at.problem(samples).gradient(Objective::Lower, &at.y, Wrt::Y);
            let slope = sides.into_y();
            at.move_y(self.alternation.rates.lower.at(k), &slope);

            let point = at.project_upper(at.x.add(&self.alternation.perturbation.draw(&at.x)));
            // What remains of the perturbation in a set of x.
            let eps = point.sub(&at.x);
            let problem = LowerProblem::new(&at.oracle, &point, samples);
            let answer = self.jacobian.respond(&eps);
            let (_, slope_there, hessian) =
                problem.gradient_and_hessian(Objective::Lower, &at.y, Wrt::Y);
            let bend = hessian.product(Direction::in_y(&answer), Wrt::Y);
            let residual = slope_there.add(&bend.into_y());
            self.jacobian.descend(self.jacobian_rate.at(k), &eps, &residual);
            last = Some((loss, slope));
        }
        let response = Centred { x: at.x.clone(), y: at.y.clone(), jacobian: &self.jacobian };
        let (upper_loss, along_x) = self.alternation.move_x(k, at, &response);
        at.y = response.respond(&at.x);
        let (lower_loss, along_y) = last.expect("at least one training step");
        Ok(Seen { upper_loss, lower_loss, along_x, along_y, rest: self.alternation.rest(k) })
    }

    fn save(&self, to: &mut Snapshot) {
        to.put_vectors("theta", &self.jacobian.parameters());
        self.alternation.perturbation.save(to);
    }

    fn restore(&mut self, from: &mut Snapshot, at: &Iterate<'_>) -> Result<(), Error> {
        let theta = from.take_vectors("theta", &self.jacobian.parameters())?;
        self.jacobian.set_parameters(theta);
        self.alternation.perturbation.restore(from, &at.x)
    }
}
