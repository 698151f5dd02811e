//! The fully single loop algorithm.

use bilevel_program::Vector;

use super::estimates::{At, Auxiliary, corrected, descend, momentum, weight};
use crate::joint::{Iterate, JointMethod, Seen};
use crate::{Direction, Error, Loss, Objective, Point, Rates, Sample, Schedule, Snapshot, Wrt};

/// `fsla`: one step of y, one of v, one of x with momentum.
///
/// ```text
/// y' = Proj(y - b f_y(x, y; s1))
/// v' = v - c (f_yy(x, y'; s2) v + F_y(x, y'; t1))
/// D(x, y, v) = F_x(x, y; t2) + f_xy(x, y; s3)' v
/// d' = D(x, y', v') + (1 - h) (d - D(x_before, y, v)),   x' = Proj(x - a d')
/// ```
///
/// All samples of a step are independent. The first step has no past: `d' = D`.
///
/// Requires: f strongly convex in y; b and c below `2 / L`; the weight h in (0, 1]. The source has a, b, c
/// and h of order `1 / sqrt(k)`. Memory: x twice, y, v, d. Cost: one gradient of f, three of F, three
/// products of f; the first step has one gradient of F and one product less.
///
/// Source: J. Li, B. Gu and H. Huang, "A fully single loop algorithm for bilevel optimization without
/// Hessian inverse", 2022.
#[derive(Clone, Debug)]
pub struct Fsla {
    auxiliary: Auxiliary,
    momentum: Schedule,
    /// The last x, and the direction against which it was moved.
    before: Option<(Vector, Vector)>,
}

impl Fsla {
    /// With the step sizes `rates` and the weight h of a new sample, `momentum`.
    ///
    /// # Errors
    /// If the weight is not in (0, 1] at the start.
    pub fn new(rates: Rates, momentum: impl Into<Schedule>) -> Result<Self, Error> {
        let momentum = self::momentum(momentum.into())?;
        Ok(Self { auxiliary: Auxiliary::new(rates), momentum, before: None })
    }

    /// With the step size c of v, by default that of y.
    ///
    /// # Errors
    /// If it is not finite and positive.
    pub fn with_system_rate(mut self, rate: impl Into<Schedule>) -> Result<Self, Error> {
        self.auxiliary = self.auxiliary.with_rate(rate.into())?;
        Ok(self)
    }
}

/// F and `D`.
fn along(at: &At<'_>, v: &Vector, upper: Sample, lower: Sample) -> (Loss, Vector) {
    let point = Point { x: at.x, y: at.y, sample: upper };
    let (loss, sides) = at.oracle.gradient(Objective::Upper, point, Wrt::X);
    (loss, sides.into_x().add(&at.cross(v, &[lower])))
}

impl JointMethod for Fsla {
    fn name(&self) -> &'static str {
        "fsla"
    }

    fn describe(&self) -> String {
        format!("fsla({}, momentum {})", self.auxiliary, self.momentum)
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let rates = self.auxiliary.rates;
        let (y, v) = (at.y.clone(), self.auxiliary.v(at));
        let (lower_loss, along_y) = descend(at, rates.lower.at(k), 1);

        let samples = at.draw();
        let problem = at.problem(samples);
        let (_, slope) = problem.gradient(Objective::Upper, &at.y, Wrt::Y);
        let product = problem.product(Objective::Lower, &at.y, Direction::in_y(&v), Wrt::Y);
        let along_v = product.into_y().add(&slope.into_y());
        self.auxiliary.move_v(k, &v, &along_v);

        let samples = at.draw();
        let along =
            |x, y, v| along(&At { oracle: &at.oracle, x, y }, v, samples.upper, samples.lower);
        let moved_v = self.auxiliary.v(at);
        let (upper_loss, mut along_x) = along(&at.x, &at.y, &moved_v);
        if let Some((x, memory)) = self.before.take() {
            let (_, old) = along(&x, &y, &v);
            [along_x] = corrected([weight(self.momentum, k)], &[memory], &[along_x], &[old]);
        }
        self.before = Some((at.x.clone(), along_x.clone()));
        at.move_x(rates.upper.at(k), &along_x);
        Ok(Seen { upper_loss, lower_loss, along_x, along_y, rest: along_v.norm() })
    }

    fn save(&self, to: &mut Snapshot) {
        self.auxiliary.save(to);
        if let Some((x, along)) = &self.before {
            to.put_vectors("before", [x, along]);
        }
    }

    fn restore(&mut self, from: &mut Snapshot, at: &Iterate<'_>) -> Result<(), Error> {
        self.auxiliary.restore(from, at)?;
        self.before = None;
        if from.has("before") {
            let [x, along] = from.take_array("before", [&at.x, &at.x])?;
            self.before = Some((x, along));
        }
        Ok(())
    }
}
