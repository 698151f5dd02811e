//! What the methods share: means over batches, estimates that correct each other, the variable v.

use std::array::from_fn;

use bilevel_program::Vector;

use crate::joint::Iterate;
use crate::{
    Direction, Error, Loss, LowerProblem, Objective, Oracle, Point, Rates, Sample, Samples,
    Schedule, Snapshot, Wrt,
};

/// Where derivatives are taken; each of them is the mean over the given samples.
pub(super) struct At<'a> {
    pub oracle: &'a dyn Oracle,
    pub x: &'a Vector,
    pub y: &'a Vector,
}

impl<'a> At<'a> {
    pub fn now(at: &'a Iterate<'_>) -> Self {
        Self { oracle: &at.oracle, x: &at.x, y: &at.y }
    }

    fn point(&self, sample: Sample) -> Point<'_> {
        Point { x: self.x, y: self.y, sample }
    }

    /// f on the last sample, and `f_y`.
    pub fn slope(&self, samples: &[Sample]) -> (Loss, Vector) {
        let (loss, [slope]) = mean(samples.iter().map(|&sample| {
            let (loss, sides) = self.oracle.gradient(Objective::Lower, self.point(sample), Wrt::Y);
            (loss, [sides.into_y()])
        }));
        (loss, slope)
    }

    /// F on the last sample, `F_y` and `F_x`.
    pub fn upper(&self, samples: &[Sample]) -> (Loss, [Vector; 2]) {
        mean(samples.iter().map(|&sample| {
            let (loss, sides) =
                self.oracle.gradient(Objective::Upper, self.point(sample), Wrt::Both);
            let (x, y) = sides.into_both();
            (loss, [y, x])
        }))
    }

    /// `f_yy v`.
    pub fn hessian(&self, v: &Vector, samples: &[Sample]) -> Vector {
        let along = Direction::in_y(v);
        let ((), [product]) = mean(samples.iter().map(|&sample| {
            let point = self.point(sample);
            ((), [self.oracle.product(Objective::Lower, point, along, Wrt::Y).into_y()])
        }));
        product
    }

    /// `f_xy' v`.
    pub fn cross(&self, v: &Vector, samples: &[Sample]) -> Vector {
        let along = Direction::in_y(v);
        let ((), [product]) = mean(samples.iter().map(|&sample| {
            let point = self.point(sample);
            ((), [self.oracle.product(Objective::Lower, point, along, Wrt::X).into_x()])
        }));
        product
    }

    /// f on the last sample, `f_y`, `f_yy v` and `f_xy' v`.
    pub fn lower(&self, v: &Vector, samples: &[Sample]) -> (Loss, [Vector; 3]) {
        let along = Direction::in_y(v);
        mean(samples.iter().map(|&sample| {
            let samples = Samples { lower: sample, ..Samples::default() };
            let problem = LowerProblem::new(self.oracle, self.x, samples);
            let (loss, slope, hessian) =
                problem.gradient_and_hessian(Objective::Lower, self.y, Wrt::Both);
            let (x, y) = hessian.product(along, Wrt::Both).into_both();
            (loss, [slope, y, x])
        }))
    }
}

/// The mean, and the other results of the last term.
pub(super) fn mean<L, const N: usize>(
    terms: impl Iterator<Item = (L, [Vector; N])>,
) -> (L, [Vector; N]) {
    let mut count = 0;
    let sum = terms
        .inspect(|_| count += 1)
        .reduce(|(_, a), (last, b)| (last, from_fn(|i| a[i].add(&b[i]))));
    let (last, sum) = sum.expect("a sampler has batches");
    (last, if count == 1 { sum } else { sum.map(|v| v.scale(1.0 / f64::from(count))) })
}

/// All batches of a level.
pub(super) fn all(at: &Iterate<'_>, objective: Objective) -> Vec<Sample> {
    (0..at.sampler.batches(objective) as u64).map(Sample).collect()
}

/// `D_y`, `D_v` and `D_x` from the results of the levels: `[f_y, f_yy v, f_xy' v]` and `[F_y, F_x]`.
pub(super) fn directions([y, v, x]: [Vector; 3], [upper_y, upper_x]: [Vector; 2]) -> [Vector; 3] {
    [y, v.add(&upper_y), x.add(&upper_x)]
}

/// `new + (1 - weight) (memory - old)`: the estimate here from an earlier one elsewhere, `new` and `old` being one
/// sample at both points. SARAH and SAGA have weight 0, STORM its momentum.
pub(super) fn corrected<const N: usize>(
    weights: [f64; N],
    memory: &[Vector; N],
    new: &[Vector; N],
    old: &[Vector; N],
) -> [Vector; N] {
    from_fn(|i| new[i].axpy(1.0 - weights[i], &memory[i].sub(&old[i])))
}

/// The weight of a new sample in STORM, checked.
pub(super) fn momentum(schedule: Schedule) -> Result<Schedule, Error> {
    let schedule = schedule.positive("momentum")?;
    if schedule.at(0) <= 1.0 {
        return Ok(schedule);
    }
    Err(Error::InvalidSetting {
        setting: "momentum",
        found: schedule.to_string(),
        expected: "a weight in (0, 1]",
        cure: "1 forgets the past, 0.1 averages over about ten steps",
    })
}

/// Its weight at a step: an increasing schedule is capped at 1.
pub(super) fn weight(schedule: Schedule, k: usize) -> f64 {
    schedule.at(k).min(1.0)
}

/// Steps of stochastic gradient descent on y, each on a separate batch: f and `f_y` at the last one.
pub(super) fn descend(at: &mut Iterate<'_>, rate: f64, steps: usize) -> (Loss, Vector) {
    let mut step = || {
        let sample = at.sampler.draw(Objective::Lower);
        let (loss, along) = At::now(at).slope(&[sample]);
        at.move_y(rate, &along);
        (loss, along)
    };
    (1..steps).for_each(|_| drop(step()));
    step()
}

/// v, which tracks the solution of `f_yy v + F_y = 0` from 0, and the step sizes of all three variables.
#[derive(Clone, Debug)]
pub(super) struct Auxiliary {
    pub rates: Rates,
    rate: Schedule,
    v: Option<Vector>,
}

impl Auxiliary {
    pub fn new(rates: Rates) -> Self {
        Self { rates, rate: rates.lower, v: None }
    }

    pub fn with_rate(mut self, rate: Schedule) -> Result<Self, Error> {
        self.rate = rate.positive("step size of v")?;
        Ok(self)
    }

    pub fn v(&self, at: &Iterate<'_>) -> Vector {
        self.v.clone().unwrap_or_else(|| at.y.zeros_like())
    }

    /// `v' = v - rate * along`.
    pub fn move_v(&mut self, k: usize, v: &Vector, along: &Vector) {
        self.v = Some(v.axpy(-self.rate.at(k), along));
    }

    /// Moves y, v and x against `[D_y, D_v, D_x]`.
    pub fn advance(
        &mut self,
        k: usize,
        at: &mut Iterate<'_>,
        v: &Vector,
        [along_y, along_v, along_x]: &[Vector; 3],
    ) {
        at.move_y(self.rates.lower.at(k), along_y);
        self.move_v(k, v, along_v);
        at.move_x(self.rates.upper.at(k), along_x);
    }

    pub fn save(&self, to: &mut Snapshot) {
        to.put_optional_vector("v", self.v.as_ref());
    }

    pub fn restore(&mut self, from: &mut Snapshot, at: &Iterate<'_>) -> Result<(), Error> {
        self.v = from.take_optional_vector("v", &at.y)?;
        Ok(())
    }
}

impl std::fmt::Display for Auxiliary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, v by {}", self.rates, self.rate)
    }
}
