//! Claims on `bda-counterexample`: BDA, Figs. 1 to 3.

use bilevel_core::{Aggregated, Descent, Error, Gd, Unrolled, Weight};
use burn::tensor::Device;

use super::{Claim, Figure, Findings, Run, Trial, distance};
use crate::BdaCounterexample as Problem;

const NAME: &str = "bda-counterexample";
/// The settings of the source, which does not say how x moves: here with step size 0.5 and a warm-started y.
const UPPER: f64 = 0.7;
const LOWER: f64 = 0.2;
const STEP: f64 = 0.5;
const STEPS: usize = 120;
/// The starts (x, y) of Fig. 1.
const STARTS: [(f64, [f64; 2]); 3] = [(0.0, [0.0, 0.0]), (0.0, [2.0, 2.0]), (2.0, [2.0, 2.0])];

/// The squared relative distance of x and y from the solution.
fn off(x: &[f64], y: &[f64]) -> f64 {
    (distance(x, &[Problem::X]).powi(2) + distance(y, &Problem::Y).powi(2)) / 3.0
}

fn run(
    device: &Device,
    (x, y): (f64, [f64; 2]),
    weight: Weight,
    steps: usize,
) -> Result<Run, Error> {
    let instance = Problem::at(x, y, device)?;
    let rad = match weight {
        Weight::Constant(0.0) => Unrolled::rad(Descent::new(Gd::new(LOWER)?, steps)?),
        weight => Unrolled::rad(Descent::new(Aggregated::new(UPPER, LOWER, weight)?, steps)?),
    };
    let trial = Trial { bounds: Some(Problem::BOUNDS), ..Trial::new(instance, rad, STEP) };
    trial.run(STEPS, off)
}

fn sees(run: &Run) -> String {
    format!("x = {:.4}, y = ({:.4}, {:.4})", run.x[0], run.y[0], run.y[1])
}

pub(super) fn findings(device: &Device) -> Result<Findings, Error> {
    let mut found = Findings::default();
    let mut figure = |name: &str, title: &str, curves| {
        found.figures.push(Figure {
            name: name.to_owned(),
            title: title.to_owned(),
            quantity: "squared relative distance from the answer",
            curves,
        });
    };
    let (halved, none) = (Weight::Decaying(0.5), Weight::Constant(0.0));
    let mut claims = Vec::new();

    let mut curves = Vec::new();
    for start in STARTS {
        let (x, y) = start;
        let at = format!("from x = {x}, y = ({}, {})", y[0], y[1]);
        let bda = run(device, start, halved, 16)?;
        let holds = off(&bda.x, &bda.y) < 1e-12;
        let says = "x = 1, y = (1, 1)";
        curves.push(bda.curve(format!("bda {at}")));
        claims.push(Claim {
            problem: NAME,
            method: format!("bda {at}"),
            says,
            sees: sees(&bda),
            holds,
        });
        let rhg = run(device, start, none, 16)?;
        let holds = if y[1] == 0.0 { rhg.x[0] <= 0.5 } else { (rhg.x[0] - 1.0).abs() > 0.1 };
        let says = if y[1] == 0.0 { "stays at x <= 1/2" } else { "another point" };
        curves.push(rhg.curve(format!("rhg {at}")));
        claims.push(Claim {
            problem: NAME,
            method: format!("rhg {at}"),
            says,
            sees: sees(&rhg),
            holds,
        });
    }
    figure("bda-starts", "BDA and RHG from three starts, K = 16", curves);

    let start = STARTS[1];
    let mut curves = Vec::new();
    for steps in [8, 16, 64] {
        let bda = run(device, start, halved, steps)?;
        let rhg = run(device, start, none, steps)?;
        let holds = off(&bda.x, &bda.y) < 1e-12 && off(&rhg.x, &rhg.y) > 0.1;
        claims.push(Claim {
            problem: NAME,
            method: format!("bda and rhg, K = {steps}"),
            says: "bda converges, rhg does not for any K",
            sees: format!("bda x = {:.4}, rhg x = {:.4}", bda.x[0], rhg.x[0]),
            holds,
        });
        curves.push(bda.curve(format!("bda, K = {steps}")));
        curves.push(rhg.curve(format!("rhg, K = {steps}")));
    }
    figure("bda-steps", "BDA and RHG with K lower steps", curves);

    // Steps until within one percent of the solution.
    let bar = 1e-4;
    let constant = run(device, start, Weight::Constant(0.5), 16)?;
    let adaptive = run(device, start, Weight::Decaying(0.9), 16)?;
    let nothing = run(device, start, none, 16)?;
    let count = |run: &Run| run.first_below(bar);
    let faster = match (count(&adaptive), count(&constant)) {
        (Some(adaptive), Some(constant)) => adaptive < constant,
        (Some(_), None) => true,
        _ => false,
    };
    let within = |run: &Run| count(run).map_or("never".to_owned(), |k| format!("at step {k}"));
    claims.push(Claim {
        problem: NAME,
        method: "bda, a_k = 0, 0.5 and 0.9 / k".to_owned(),
        says: "0 fails, 0.5 is slow, 0.9 / k is fast",
        sees: format!(
            "within 1 %: {}, {}, {}",
            within(&nothing),
            within(&constant),
            within(&adaptive)
        ),
        holds: count(&nothing).is_none() && faster,
    });
    let curves = vec![
        nothing.curve("a_k = 0"),
        constant.curve("a_k = 0.5"),
        adaptive.curve("a_k = 0.9 / k"),
    ];
    figure("bda-weights", "BDA by its aggregation weight, K = 16", curves);
    found.claims = claims;
    Ok(found)
}
