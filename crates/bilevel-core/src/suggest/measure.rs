//! The probes.

use std::time::Instant;

use bilevel_program::Vector;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Request;
use crate::linear::{Lanczos, Operator, Spectrum, System, epsilon};
use crate::minimise::{LowerLoss, Minimiser, Minimum};
use crate::{
    Cost, Counted, Direction, Error, Lbfgs, LinearSolver, LinearStatus, LowerProblem, Minres,
    Objective, Oracle, Sample, Samples, WeightedSum, Wrt,
};

/// The maximal number of products for a spectrum.
const PRODUCTS: usize = 20;

/// The same on each of several batches.
const PRODUCTS_OF_A_BATCH: usize = 8;

/// The number of batches whose gradients and spectra are measured.
const BATCHES: u64 = 4;

/// Steps of the descent that solves the lower level.
const STEPS: usize = 200;

/// The fraction of the first gradient at which the lower level counts as solved.
const SOLVED: f64 = 1e-3;

/// The distance above which two minima count as different, relative to them or to 1.
const APART: f64 = 1e-2;

/// The largest y whose lower level is solved from other starts.
const FEW: usize = 20;

/// The number of directions in which these lie, each with both signs.
const DIRECTIONS: usize = 2;

/// A negative eigenvalue beyond this fraction of the largest is not rounding.
const NEGATIVE: f64 = 1e-3;

/// If the curvature has decreased to this fraction, y went where f is flat, as towards a minimum at infinity.
const FLAT: f64 = 1e-3;

/// The smallest curvature, relative to the largest, where none was found above 0.
const NEGLIGIBLE: f64 = 1e-2;

/// The fraction of `F_y` outside the range of `f_yy` that matters.
const OUTSIDE: f64 = 1e-3;

/// The measurements of a problem.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The numbers of constraints of the upper and of the lower level.
    pub constraints: [usize; 2],
    /// The dimensions of x and y.
    pub dimensions: [usize; 2],
    /// The numbers of batches of F and of f.
    pub batches: [usize; 2],
    /// The standard deviation of `f_y` over batches, relative to its mean; none if there is one batch.
    pub noise: Option<f64>,
    /// The extreme eigenvalues of `f_yy` at the given y; on batches the widest.
    pub start: Spectrum,
    /// The same at the end of the descent.
    pub end: Spectrum,
    /// `norm(f_y)` at its end, relative to its start.
    pub stationarity: f64,
    /// Its steps.
    pub steps: usize,
    /// Whether it ended at a stationary point.
    pub solved: bool,
    /// The fraction of `F_y` outside the range of `f_yy` at its end; none if no iteration could determine it.
    pub outside: Option<f64>,
    /// Whether other starts led to other minima; none if y is too large to try.
    pub several: Option<bool>,
    /// The largest curvature of `F(x, y*(x))` that was met; none if it was not measured.
    pub upper_curvature: Option<f64>,
    /// Bytes of a state of the lower level.
    pub state: usize,
    /// Bytes of a linearisation.
    pub linearization: usize,
    /// Seconds of a gradient of f, and of a product with a linearisation.
    pub seconds: [f64; 2],
    /// The oracle calls of all probes.
    pub cost: Cost,
}

/// The shape of a lower level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// It has constraints, or the upper level has.
    Constrained,
    /// Its data comes in batches.
    Batches,
    /// A descent does not end at a minimum: y is the result of T steps.
    Unsolved,
    /// Its solutions are not isolated, and F prefers some of them.
    ManySolutions,
    /// It has several minima.
    ManyMinima,
    /// A minimum, the same from all starts that were tried.
    Convex,
}

impl Measured {
    /// The shape of the lower level.
    pub fn shape(&self) -> Shape {
        if self.constraints != [0, 0] {
            Shape::Constrained
        } else if self.batches[1] > 1 {
            Shape::Batches
        } else {
            self.on_one_batch()
        }
    }

    /// The shape, ignoring the constraints and the number of batches.
    pub(super) fn on_one_batch(&self) -> Shape {
        let flat = self.end.radius() < FLAT * self.start.radius();
        if !self.solved || flat || self.end.least < -NEGATIVE * self.end.radius() {
            Shape::Unsolved
        } else if self.outside.is_some_and(|outside| outside > OUTSIDE) {
            Shape::ManySolutions
        } else if self.several == Some(true) {
            Shape::ManyMinima
        } else {
            Shape::Convex
        }
    }

    /// L, a bound on the curvatures of f that were met.
    pub fn curvature(&self) -> f64 {
        self.start.radius().max(self.end.radius())
    }

    /// mu, a bound on the smallest curvature at the end; none if it may be 0.
    pub fn least_curvature(&self) -> Option<f64> {
        let least = self.end.least - self.end.least_error;
        Some(least).filter(|least| *least > f64::EPSILON.sqrt() * self.curvature())
    }

    /// The curvature that determines how fast descents of f contract: the smallest nonzero one, as far as it is known.
    pub(super) fn contracting_curvature(&self) -> f64 {
        let known = self.least_curvature().or(self.end.least_positive);
        known
            .unwrap_or(NEGLIGIBLE * self.curvature())
            .max(NEGLIGIBLE * NEGLIGIBLE * self.curvature())
    }

    /// Whether f is quadratic, judging by both spectra.
    pub(super) fn is_quadratic(&self) -> bool {
        let (a, b) = (self.start, self.end);
        let near = |a: f64, b: f64| (a - b).abs() <= 0.02 * self.curvature();
        near(a.least, b.least) && near(a.greatest, b.greatest)
    }
}

/// A problem at its start, whose calls are counted.
pub(super) struct Probe<'a> {
    pub oracle: Counted<&'a dyn Oracle>,
    pub x: &'a Vector,
    pub y: &'a Vector,
    pub request: &'a Request,
}

impl<'a> Probe<'a> {
    pub fn new(
        oracle: &'a dyn Oracle,
        (x, y): (&'a Vector, &'a Vector),
        request: &'a Request,
    ) -> Self {
        Self { oracle: Counted::new(oracle), x, y, request }
    }

    pub fn at<'b>(&'b self, x: &'b Vector) -> LowerProblem<'b> {
        LowerProblem::new(&self.oracle, x, Samples::default())
    }

    /// The unit roundoff of y.
    pub fn epsilon(&self) -> f64 {
        epsilon(self.y.layout())
    }

    /// A random vector like `like`, of norm 1.
    fn drawn(&self, like: &Vector, stream: u64) -> Vector {
        let mut rng = ChaCha8Rng::seed_from_u64(self.request.seed);
        rng.set_stream(stream);
        let n = like.layout().size();
        let draws: Vec<f64> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
        let drawn = Vector::from_slice(like.layout(), &draws, &like.device());
        drawn.scale(1.0 / drawn.norm().max(f64::MIN_POSITIVE))
    }

    /// A bound on the curvature of F in y.
    pub fn upper_curvature_in_y(&self, y: &Vector) -> Result<f64, Error> {
        let upper = WeightedSum { upper: 1.0, lower: 0.0 };
        let (of, ..) = spectrum_of(upper, self, &self.at(self.x), y, PRODUCTS_OF_A_BATCH)?;
        Ok(of.radius())
    }

    /// The lower level solved from `from`, to the fraction `share` of the gradient `scale`.
    pub fn solve(&self, from: &Vector, scale: f64) -> Result<Minimum, Error> {
        let share = self.epsilon().sqrt().max(1e-6);
        let tolerance = (share * scale).max(f64::MIN_POSITIVE);
        let solver = Lbfgs::new(STEPS, tolerance)?;
        Ok(solver.minimise(&LowerLoss::new(self.at(self.x)), from, tolerance))
    }
}

/// The extreme eigenvalues of `f_yy`, the bytes of its linearisation and the seconds of a product.
fn spectrum(
    probe: &Probe<'_>,
    problem: &LowerProblem<'_>,
    y: &Vector,
    products: usize,
) -> Result<(Spectrum, usize, f64), Error> {
    spectrum_of(WeightedSum::LOWER, probe, problem, y, products)
}

fn spectrum_of(
    of: WeightedSum,
    probe: &Probe<'_>,
    problem: &LowerProblem<'_>,
    y: &Vector,
    products: usize,
) -> Result<(Spectrum, usize, f64), Error> {
    // V is kept.
    let room = probe.request.memory / y.layout().bytes().max(1);
    let lanczos = Lanczos::new(products.min(room).max(2), probe.request.seed)?;
    let curvature = problem.curvature_at(of, y, Wrt::Y, Wrt::Y);
    let product = |v: &Vector| curvature.product(Direction::in_y(v), Wrt::Y).into_y();
    let begin = Instant::now();
    let spectrum = lanczos.run(&Operator::symmetric(&product), y)?;
    let seconds = begin.elapsed().as_secs_f64() / spectrum.products as f64;
    Ok((spectrum, curvature.bytes(), seconds))
}

/// Where the probes ended, and trials start.
pub(super) struct Solved {
    pub measured: Measured,
    /// The y of the descent.
    pub y: Vector,
    /// What gradients of f are compared with.
    pub scale: f64,
}

pub(super) fn measure(probe: &Probe<'_>) -> Result<Solved, Error> {
    let problem = probe.at(probe.x);
    let (loss, slope) = problem.sum_and_slope(WeightedSum::LOWER, probe.y);
    let start_norm = slope.norm();
    let finite = |found: f64| match found.is_finite() {
        true => Ok(()),
        false => Err(Error::NotFiniteAtStart { objective: Objective::Lower, found }),
    };
    finite(loss)?;
    finite(start_norm)?;
    let begin = Instant::now();
    problem.sum_and_slope(WeightedSum::LOWER, probe.y);
    let of_gradient = begin.elapsed().as_secs_f64();
    let levels = [Objective::Upper, Objective::Lower];
    let batches = levels.map(|objective| probe.oracle.batches(objective));
    let (mut start, linearization, of_product) = spectrum(probe, &problem, probe.y, PRODUCTS)?;
    finite(start.greatest)?;
    let noise =
        if batches[1] > 1 { Some(between_batches(probe, batches[1], &mut start)?) } else { None };
    // At a y that already solves the lower level, the gradient does not show which gradients are small.
    let scale = start_norm.max(1e-3 * start.radius() * probe.y.norm().max(1e-3));
    let end = probe.solve(probe.y, scale)?;
    let (of_end, ..) = spectrum(probe, &problem, &end.at, PRODUCTS)?;
    let solved = end.gradient_norm <= SOLVED * scale && of_end.greatest.is_finite();
    let mut measured = Measured {
        constraints: levels.map(|level| {
            probe.oracle.constraints(level, Sample::default()).map_or(0, |found| found.count())
        }),
        dimensions: [probe.x, probe.y].map(|of| of.layout().size()),
        batches,
        noise,
        start,
        end: if of_end.greatest.is_finite() { of_end } else { start },
        stationarity: if start_norm > 0.0 { end.gradient_norm / start_norm } else { 0.0 },
        steps: end.steps,
        solved,
        outside: None,
        several: None,
        upper_curvature: None,
        state: probe.y.layout().bytes(),
        linearization,
        seconds: [of_gradient, of_product],
        cost: Cost::default(),
    };
    if solved {
        measured.outside = outside(probe, &problem, &end.at)?;
        let shape = measured.on_one_batch();
        let singular = measured.least_curvature().is_none();
        if shape == Shape::Convex && (singular || measured.dimensions[1] <= FEW) {
            let others = if singular { 1 } else { 2 * DIRECTIONS };
            let other = another_minimum(probe, &end, scale, others)?;
            if let (Some(other), true) = (&other, singular) {
                // There F may prefer another solution.
                measured.outside = outside(probe, &problem, other)?.or(measured.outside);
            }
            measured.several = Some(other.is_some() && !singular);
        }
    }
    measured.cost = probe.oracle.cost();
    Ok(Solved { measured, y: end.at, scale })
}

/// The fraction of `F_y` that no `f_yy q` reaches; none if the iterations cannot determine it.
fn outside(
    probe: &Probe<'_>,
    problem: &LowerProblem<'_>,
    y: &Vector,
) -> Result<Option<f64>, Error> {
    let rhs = problem.gradient(Objective::Upper, y, Wrt::Y).1.into_y();
    let curvature = problem.curvature_at(WeightedSum::LOWER, y, Wrt::Y, Wrt::Y);
    let product = |v: &Vector| curvature.product(Direction::in_y(v), Wrt::Y).into_y();
    let tolerance = probe.epsilon().sqrt().max(0.1 * OUTSIDE);
    let minres = Minres::new(2 * PRODUCTS, tolerance)?;
    let found = minres.solve(&System::new(&Operator::symmetric(&product), &rhs))?;
    Ok(match found.status {
        LinearStatus::Converged | LinearStatus::Singular => found.residual,
        _ => None,
    })
}

/// Another solution of the lower level, from several starts.
fn another_minimum(
    probe: &Probe<'_>,
    end: &Minimum,
    scale: f64,
    starts: usize,
) -> Result<Option<Vector>, Error> {
    let reach = 2.0 * probe.y.norm().max(1.0);
    for start in 0..starts {
        let along = probe.drawn(probe.y, 1 + start as u64 / 2);
        let sign = if start % 2 == 0 { 1.0 } else { -1.0 };
        let other = probe.solve(&probe.y.axpy(sign * reach, &along), scale)?;
        let apart = other.at.sub(&end.at).norm() > APART * end.at.norm().max(1.0);
        if apart && other.gradient_norm <= SOLVED * scale {
            return Ok(Some(other.at));
        }
    }
    Ok(None)
}

/// The noise of `f_y` between batches; widens `start` by their spectra.
fn between_batches(probe: &Probe<'_>, batches: usize, start: &mut Spectrum) -> Result<f64, Error> {
    let mut rng = ChaCha8Rng::seed_from_u64(probe.request.seed);
    let count = BATCHES.min(batches as u64);
    let mut slopes = Vec::new();
    for _ in 0..count {
        let sample = Sample(rng.random_range(0..batches as u64));
        let samples = Samples { lower: sample, ..Samples::default() };
        let problem = LowerProblem { samples, ..probe.at(probe.x) };
        slopes.push(problem.gradient(Objective::Lower, probe.y, Wrt::Y).1.into_y());
        let (of_batch, ..) = spectrum(probe, &problem, probe.y, PRODUCTS_OF_A_BATCH)?;
        if of_batch.above() > start.above() {
            (start.greatest, start.greatest_error) = (of_batch.greatest, of_batch.greatest_error);
        }
        start.least = start.least.min(of_batch.least);
    }
    let mean = slopes.iter().skip(1).fold(slopes[0].clone(), |sum, slope| sum.add(slope));
    let mean = mean.scale(1.0 / count as f64);
    let spread: f64 = slopes.iter().map(|slope| slope.sub(&mean).norm().powi(2)).sum();
    let deviation = (spread / (count as f64 - 1.0).max(1.0)).sqrt();
    Ok(deviation / mean.norm().max(f64::MIN_POSITIVE))
}
