//! The check of a hypergradient method: is its gradient the derivative that it promises, and does it follow the rules
//! that solvers rely on?

mod reference;
mod report;
mod scaled;

pub use bilevel_program::{Bound, Finding};
pub use reference::Reference;
pub use report::HypergradientReport;

use std::ops::Range;

use bilevel_program::{Layout, Vector};
use burn::tensor::DType;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    Counted, Error, Hypergradient, HypergradientMethod, LowerProblem, Objective, Oracle, Samples,
    Variable,
};
use scaled::Scaled;

/// Checks your own method on `oracle` at x, the lower level starting at y.
///
/// `make` makes the method, three times. Let g be its hypergradient, G the `reference`, and v one of three random
/// directions of norm 1 in each variable alone:
///
/// | line | states |
/// |---|---|
/// | shapes | g, the lower point and, only if the method says so, a gradient in the start are given, in the shapes of x and y |
/// | finite | all numbers are |
/// | gradient | `<g, v> = d/dt G(x + t v, y)`, by five-point differences, or `<G, v>` of a known gradient |
/// | start | the same in y, where the method gives a gradient in it and the reference has values |
/// | upper loss | F is that of the oracle at x and the lower point, up to rounding |
/// | status | nothing went wrong |
/// | fresh | a second value of the method gives the same bits |
/// | again | the same value gives the same bits again; if it keeps state, the same bits as the second one gives again |
/// | arguments | x and y are unchanged |
/// | calls | the oracle was called |
/// | products | of second order: none, where [`Reference::without_products`] says so |
/// | divergence | with f so steep that no step can descend it: an error, a status, or finite numbers |
///
/// The lines gradient, start, upper loss, fresh and again measure relative errors; rounding may explain a part of the
/// first two. The others are counts. Wrong shapes end the check, as nothing can be compared.
///
/// It costs four hypergradients, five if the method keeps state, and, for differences, 12 values of the reference for
/// each variable.
///
/// # Errors
/// If x, y or a known gradient do not have the variables of the oracle, before anything runs; and the errors of `make`,
/// of the method and of the reference.
///
/// # Panics
/// Where the method does.
///
/// ```
/// use bilevel_core::*;
/// # use burn::module::Param;
/// # use burn::tensor::Tensor;
/// # struct Penalty;
/// # impl BilevelProblem for Penalty {
/// #     type Upper = Param<Tensor<1>>;
/// #     type Lower = Param<Tensor<1>>;
/// #     type Batch = Tensor<1>;
/// #     fn upper_loss(&self, _: &Self::Upper, y: &Self::Lower, c: &Tensor<1>) -> Tensor<1> {
/// #         (y.val() - c.clone()).powi_scalar(2)
/// #     }
/// #     fn lower_loss(&self, x: &Self::Upper, y: &Self::Lower, c: &Tensor<1>) -> Tensor<1> {
/// #         (y.val() - c.clone()).powi_scalar(2) + x.val().exp() * y.val().powi_scalar(2)
/// #     }
/// # }
/// # fn main() -> Result<(), Error> {
/// # let device = Default::default();
/// # let (x, y) = (Param::from_data([0.0], &device), Param::from_data([0.0], &device));
/// # let target = |value: f32| Tensor::from_data([value], &device);
/// # let data = FullBatch { upper: target(1.0), lower: target(3.0) };
/// // An oracle of a problem, and a method, here of this crate.
/// let oracle = AutodiffOracle::new(Penalty, &x, &y, data)?;
/// let descent = || Descent::new(Gd::new(0.1)?, 50);
/// let make = || Ok(Unrolled::rad(descent()?));
///
/// let truncated = descent()?;
/// let reference = Reference::differences(&truncated, 1e-2);
/// let (x, y) = (oracle.upper_start(), oracle.lower_start());
/// let report = check_hypergradient(make, &oracle, &x, &y, &reference)?;
/// println!("{report}");
/// report.assert_ok();
/// # Ok(())
/// # }
/// ```
pub fn check_hypergradient<M: HypergradientMethod>(
    mut make: impl FnMut() -> Result<M, Error>,
    oracle: &dyn Oracle,
    x: &Vector,
    y: &Vector,
    reference: &Reference<'_>,
) -> Result<HypergradientReport, Error> {
    fits(oracle, x, y)?;
    reference.fits(oracle)?;
    let counted = Counted::new(oracle);
    let oracle: &dyn Oracle = &counted;
    let problem = LowerProblem::new(oracle, x, Samples::default());
    let before = (x.to_vec(), y.to_vec());

    let mut method = make()?;
    let cost = counted.cost();
    let found = method.hypergradient(problem, y)?;
    let cost = counted.cost() - cost;
    let mut report = HypergradientReport {
        method: method.describe(),
        status: found.status,
        cost,
        findings: Vec::new(),
    };
    let misfits = misfits(&found, oracle, method.differentiates_start());
    report.at_most("shapes", misfits as f64, 0.0);
    if misfits > 0 {
        return Ok(report);
    }
    let numbers = numbers(&found);
    report.at_most("finite", not_finite(&numbers) as f64, 0.0);

    let noise = ROUNDING * epsilon(x.layout()) * found.upper_loss.read().abs();
    let gradient = found.gradient.to_vec();
    report.findings.extend(along(x, "gradient", reference.tolerance, &gradient, |v| {
        reference.slope(&problem, y, (Variable::X, v), noise)
    })?);
    if let Some(start) = found.start.as_ref().filter(|_| reference.has_values()) {
        report.findings.extend(along(y, "start", reference.tolerance, &start.to_vec(), |v| {
            reference.slope(&problem, y, (Variable::Y, v), noise)
        })?);
    }

    let loss = problem.value(Objective::Upper, &found.lower).read();
    let error = difference(&[found.upper_loss.read()], &[loss]);
    report.at_most("upper loss", error, ROUNDING * epsilon(x.layout()));
    report.at_most("status", f64::from(u8::from(!found.status.is_ok())), 0.0);

    let mut second = make()?;
    let fresh = self::numbers(&second.hypergradient(problem, y)?);
    report.at_most("fresh", difference(&fresh, &numbers), reference.repeats);
    let again = self::numbers(&method.hypergradient(problem, y)?);
    let expected = match reference.keeps_state {
        true => self::numbers(&second.hypergradient(problem, y)?),
        false => numbers,
    };
    report.at_most("again", difference(&again, &expected), reference.repeats);
    let changed = |now: Vec<f64>, before: &[f64]| {
        now.iter().zip(before).filter(|(a, b)| a.to_bits() != b.to_bits()).count()
    };
    let changed = changed(x.to_vec(), &before.0) + changed(y.to_vec(), &before.1);
    report.at_most("arguments", changed as f64, 0.0);

    let calls = cost.total() as f64;
    report.add("calls", calls, Bound::AtLeast(1.0));
    if reference.without_products {
        report.at_most("products", cost.products() as f64, 0.0);
    }

    let steep = Scaled::new(oracle, if is_double(y.layout()) { 1e200 } else { 1e30 });
    // By `run` alone: `hypergradient` would report numbers that are not finite.
    let answer = make()?.run(LowerProblem::new(&steep, x, Samples::default()), y);
    let silent = answer.ok().filter(|answer| answer.status.is_ok());
    let silent = silent.map_or(0, |answer| not_finite(&self::numbers(&answer)));
    report.at_most("divergence", silent as f64, 0.0);
    Ok(report)
}

/// Whether x and y have the oracle's variables.
fn fits(oracle: &dyn Oracle, x: &Vector, y: &Vector) -> Result<(), Error> {
    let (upper, lower) = (oracle.upper_layout(), oracle.lower_layout());
    if x.layout() != upper {
        return Err(Error::UpperVariable {
            what: "x of the check",
            found: named(x.layout()).join(", "),
            expected: named(upper).join(", "),
            cure: "take `upper_start` of the oracle, or a vector of its layout",
        });
    }
    if y.layout() != lower {
        let (found, expected) = (named(y.layout()), named(lower));
        return Err(Error::StartShapes { part: "y of the check".to_owned(), found, expected });
    }
    Ok(())
}

pub(crate) fn named(layout: &Layout) -> Vec<String> {
    let name = |leaf: &bilevel_program::Leaf| {
        format!("{} {:?} {:?}", leaf.path, leaf.shape.to_vec(), leaf.dtype)
    };
    layout.leaves().iter().map(name).collect()
}

/// The vectors that are missing or do not have the variables that they should have.
fn misfits(found: &Hypergradient, oracle: &dyn Oracle, start: bool) -> usize {
    let (upper, lower) = (oracle.upper_layout(), oracle.lower_layout());
    let wrong = [
        found.gradient.layout() != upper,
        found.lower.layout() != lower,
        found.start.is_some() != start,
        found.start.as_ref().is_some_and(|start| start.layout() != lower),
    ];
    wrong.into_iter().filter(|wrong| *wrong).count()
}

/// All numbers of a hypergradient.
fn numbers(found: &Hypergradient) -> Vec<f64> {
    let mut all = found.gradient.to_vec();
    all.extend(found.start.iter().flat_map(Vector::to_vec));
    all.extend(found.lower.to_vec());
    all.extend([found.upper_loss.read(), found.lower_loss]);
    all
}

fn not_finite(numbers: &[f64]) -> usize {
    numbers.iter().filter(|number| !number.is_finite()).count()
}

/// The largest difference, relative to the largest number; 0 for equal bits, infinite for lists of different lengths.
fn difference(a: &[f64], b: &[f64]) -> f64 {
    if a.len() != b.len() {
        return f64::INFINITY;
    }
    let pairs = || a.iter().zip(b).filter(|(a, b)| a.to_bits() != b.to_bits());
    let scale = a.iter().chain(b).fold(f64::MIN_POSITIVE, |most, v| most.max(v.abs()));
    pairs().fold(0.0, |most, (a, b)| worse(most, (a - b).abs() / scale))
}

/// The larger error; NaN is the largest.
fn worse(a: f64, b: f64) -> f64 {
    if a >= b || a.is_nan() { a } else { b }
}

/// How many directions each variable is moved along: a gradient could be correct along one by chance.
const DIRECTIONS: usize = 3;

/// The error that rounding explains, in units of the rounding error of the element type.
const ROUNDING: f64 = 64.0;

/// Compares `gradient` with the slopes of the reference, and their possible rounding error, along random directions in
/// each variable at `point`.
fn along(
    point: &Vector,
    test: &'static str,
    tolerance: f64,
    gradient: &[f64],
    slope: impl Fn(&[f64]) -> Result<(f64, f64), Error>,
) -> Result<Vec<Finding>, Error> {
    let mut draw = ChaCha8Rng::seed_from_u64(0x5eed);
    // The typical size of a derivative along a direction of norm 1.
    let usual = norm(gradient) / (gradient.len() as f64).sqrt();
    let mut findings = Vec::new();
    let mut end = 0;
    for leaf in point.layout().leaves() {
        let range = end..end + leaf.shape.num_elements();
        end = range.end;
        // The error of the worst direction, and how much of it rounding explains.
        let (mut measured, mut rounding, mut excess) = (0.0, 0.0, f64::NEG_INFINITY);
        for _ in 0..DIRECTIONS {
            let v = direction(&mut draw, gradient.len(), range.clone());
            let found: f64 = gradient.iter().zip(&v).map(|(g, v)| g * v).sum();
            let (expected, noise) = slope(&v)?;
            let scale = found.abs().max(expected.abs()).max(usual).max(f64::MIN_POSITIVE);
            let (error, floor) = ((found - expected).abs() / scale, noise / scale);
            if worse(excess, error - floor).to_bits() != excess.to_bits() {
                (measured, rounding, excess) = (error, floor, error - floor);
            }
        }
        let parameter = Some(leaf.path.clone()).filter(|path| !path.is_empty());
        let bound = Bound::AtMost(tolerance);
        findings.push(Finding { test, parameter, measured, rounding, bound });
    }
    Ok(findings)
}

/// A random direction of norm 1, zero outside `range`.
fn direction(draw: &mut ChaCha8Rng, size: usize, range: Range<usize>) -> Vec<f64> {
    let mut v = vec![0.0; size];
    // Away from 0, so that every entry counts.
    v[range].fill_with(|| draw.random_range(0.25..1.0) * if draw.random() { 1.0 } else { -1.0 });
    let norm = norm(&v);
    v.iter().map(|entry| entry / norm).collect()
}

fn norm(v: &[f64]) -> f64 {
    v.iter().map(|entry| entry * entry).sum::<f64>().sqrt()
}

/// Whether all variables are in f64.
fn is_double(layout: &Layout) -> bool {
    layout.leaves().iter().all(|leaf| leaf.dtype == DType::F64)
}

fn epsilon(layout: &Layout) -> f64 {
    if is_double(layout) { f64::EPSILON } else { f64::from(f32::EPSILON) }
}
