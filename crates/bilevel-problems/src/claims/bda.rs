//! Claims on `bda-counterexample`: BDA, Figs. 1 to 3, and the weights of its Theorem 2.
//!
//! Each upper step starts the lower steps at the same y_0, as in the source; the rows that say "warm" start them at the
//! result of the previous step. From a fixed start, K lower steps leave a part of y_0, and with it an error that
//! decreases with K; from a warm start nothing is left of y_0 at the end.

use bilevel_core::{Aggregated, Descent, Error, Gd, GradientStep, Start, Unrolled, Weight};
use burn::tensor::Device;

use super::{Claim, Figure, Findings, Run, Trial, distance};
use crate::BdaCounterexample as Problem;

const NAME: &str = "bda-counterexample";
/// The step sizes of the source, which does not give that of x.
const UPPER: f64 = 0.7;
const LOWER: f64 = 0.2;
const STEP: f64 = 0.5;
const STEPS: usize = 200;
/// The starts (x, y) of Fig. 1.
const STARTS: [(f64, [f64; 2]); 3] = [(0.0, [0.0, 0.0]), (0.0, [2.0, 2.0]), (2.0, [2.0, 2.0])];
const HALVED: Weight = Weight::Decaying(0.5);
const NONE: Weight = Weight::Constant(0.0);
/// `a_k = min(2 g / (k (1 - b)), 1 - e)` with g = 1, e = 0.1 and `b = sqrt(1 - 2 s_u s L / (s + L))`, where F is
/// strongly convex and smooth in y by s = L = 1: b = sqrt(0.3).
const THEOREM: Weight = Weight::Capped { c: 4.422_577_7, most: 0.9 };

/// The squared relative distance of x and y from the solution.
fn off(x: &[f64], y: &[f64]) -> f64 {
    (distance(x, &[Problem::X]).powi(2) + distance(y, &Problem::Y).powi(2)) / 3.0
}

fn run(
    device: &Device,
    (x, y): (f64, [f64; 2]),
    weight: Weight,
    steps: usize,
    start: Start,
) -> Result<Run, Error> {
    let instance = Problem::at(x, y, device)?;
    let rad = match weight {
        NONE => Unrolled::rad(Descent::new(Gd::new(LOWER)?, steps)?),
        weight => Unrolled::rad(Descent::new(Aggregated::new(UPPER, LOWER, weight)?, steps)?),
    };
    let trial = Trial {
        bounds: Some(Problem::BOUNDS),
        start,
        ..Trial::new(instance, rad, GradientStep::new(STEP)?)
    };
    trial.run(STEPS, off)
}

/// The distance at the end.
fn end(run: &Run) -> f64 {
    off(&run.x, &run.y)
}

fn claim(method: String, says: &'static str, sees: String, holds: bool) -> Claim {
    Claim { problem: NAME.to_owned(), method, says, sees, holds }
}

fn figure(name: &str, title: &str, curves: Vec<super::Curve>) -> Figure {
    Figure {
        name: name.to_owned(),
        title: title.to_owned(),
        quantity: "squared relative distance from the answer",
        curves,
    }
}

pub(super) fn findings(device: &Device) -> Result<Findings, Error> {
    let mut found = Findings::default();
    for part in [starts, steps, weights] {
        found.extend(part(device)?);
    }
    Ok(found)
}

/// Fig. 1: three starts, K = 16.
fn starts(device: &Device) -> Result<Findings, Error> {
    let (mut claims, mut curves) = (Vec::new(), Vec::new());
    for (x, y) in STARTS {
        let at = format!("from x = {x}, y = ({}, {})", y[0], y[1]);
        let bda = run(device, (x, y), HALVED, 16, Start::Fixed)?;
        let rhg = run(device, (x, y), NONE, 16, Start::Fixed)?;
        let ends =
            |run: &Run| format!("x = {:.3}, y = ({:.3}, {:.3})", run.x[0], run.y[0], run.y[1]);
        claims.push(claim(
            format!("bda {at}"),
            "nears x = 1, y = (1, 1), which rhg does not",
            ends(&bda),
            10.0 * end(&bda) < end(&rhg),
        ));
        let stuck = if y[1] == 0.0 { rhg.x[0] <= 0.5 } else { (rhg.x[0] - 1.0).abs() > 0.1 };
        let says = if y[1] == 0.0 { "stays at x <= 1/2" } else { "another point" };
        claims.push(claim(format!("rhg {at}"), says, ends(&rhg), stuck));
        curves.push(bda.curve(format!("bda {at}")));
        curves.push(rhg.curve(format!("rhg {at}")));
    }
    let figures = vec![figure("bda-starts", "BDA and RHG from three starts, K = 16", curves)];
    Ok(Findings { claims, figures })
}

/// Fig. 2: the same start of the figure, then (0, 0), with K = 8, 16 and 64.
fn steps(device: &Device) -> Result<Findings, Error> {
    const COUNTS: [usize; 3] = [8, 16, 64];
    let (mut claims, mut curves) = (Vec::new(), Vec::new());
    for (x, y) in [STARTS[1], STARTS[0]] {
        let of = |weight| COUNTS.map(|steps| run(device, (x, y), weight, steps, Start::Fixed));
        let bda = of(HALVED).into_iter().collect::<Result<Vec<_>, _>>()?;
        let rhg = of(NONE).into_iter().collect::<Result<Vec<_>, _>>()?;
        let at = format!("K = 8, 16, 64 from y = ({}, {})", y[0], y[1]);
        let ends = |runs: &[Run]| {
            let ends: Vec<_> = runs.iter().map(|run| format!("{:.3}", run.x[0])).collect();
            format!("x = {}", ends.join(", "))
        };
        claims.push(claim(
            format!("bda, {at}"),
            "nearer to x = 1 with more lower steps",
            ends(&bda),
            bda.windows(2).all(|pair| end(&pair[1]) < end(&pair[0])),
        ));
        claims.push(claim(
            format!("rhg, {at}"),
            "not improved by more lower steps",
            ends(&rhg),
            rhg.iter().all(|run| end(run) > 0.1),
        ));
        if y[1] != 0.0 {
            for (steps, (bda, rhg)) in COUNTS.iter().zip(bda.iter().zip(&rhg)) {
                curves.push(bda.curve(format!("bda, K = {steps}")));
                curves.push(rhg.curve(format!("rhg, K = {steps}")));
            }
        }
    }
    Ok(Findings {
        claims,
        figures: vec![figure("bda-steps", "BDA and RHG with K lower steps", curves)],
    })
}

/// Fig. 3: the weight of F, K = 16 from (2, 2).
///
/// At the solution F is also minimal, so a constant weight has no bias there, and it forgets y_0 geometrically in K,
/// where c / k forgets it as a power of K: from a fixed start it ends closer. From a warm start nothing is left of y_0,
/// and what remains to compare is the speed, as in the source.
fn weights(device: &Device) -> Result<Findings, Error> {
    let (mut claims, mut curves) = (Vec::new(), Vec::new());
    let constant = Weight::Constant(0.5);
    let weights = [
        ("0", NONE),
        ("0.5", constant),
        ("0.9 / k", Weight::Decaying(0.9)),
        ("min(4.42 / k, 0.9)", THEOREM),
    ];
    for (name, start) in [("fixed", Start::Fixed), ("warm", Start::Warm)] {
        let runs = weights.map(|(_, weight)| run(device, STARTS[1], weight, 16, start));
        let runs = runs.into_iter().collect::<Result<Vec<_>, _>>()?;
        let [none, constant, adaptive, theorem] = runs.as_slice() else { continue };
        // Steps until within one percent of the solution.
        let count = |run: &Run| run.first_below(1e-4);
        let speed = |run: &Run| count(run).map_or("never".to_owned(), |k| format!("step {k}"));
        let sees = |run: &Run| format!("{:.1e}, within 1 %: {}", end(run), speed(run));
        let faster = |one: &Run, other: &Run| {
            count(one).is_some_and(|one| count(other).is_none_or(|other| one < other))
        };
        let fails = count(none).is_none();
        claims.push(claim(format!("bda, a_k = 0, {name} start"), "fails", sees(none), fails));
        claims.push(claim(
            format!("bda, a_k = 0.9 / k, {name} start"),
            "better than a constant 0.5",
            format!("{}; 0.5: {}", sees(adaptive), sees(constant)),
            faster(adaptive, constant)
                || (count(constant).is_none() && end(adaptive) < end(constant)),
        ));
        claims.push(claim(
            format!("bda, a_k of Theorem 2, {name} start"),
            "converges",
            sees(theorem),
            end(theorem) < 1e-2,
        ));
        if start == Start::Fixed {
            let named = weights.iter().zip(&runs);
            curves.extend(named.map(|((name, _), run)| run.curve(format!("a_k = {name}"))));
        }
    }
    let figures = vec![figure("bda-weights", "BDA by its aggregation weight, K = 16", curves)];
    Ok(Findings { claims, figures })
}
