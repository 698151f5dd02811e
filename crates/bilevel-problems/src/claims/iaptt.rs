//! Claims on `iaptt-numeric`: IAPTT-GM, Fig. 1.

use bilevel_core::*;
use burn::tensor::Device;

use super::{Claim, Figure, Findings, Run, Trial, distance};
use crate::IapttNumeric as Problem;

const NAME: &str = "iaptt-numeric";
/// The source does not give its step sizes. These were found by a search for `iaptt`, and the other methods
/// use the same ones. What matters is the product of K and the lower step size: if it is much smaller, x
/// overshoots the solution; if it is much larger, x stops at 3 pi/4 or 7 pi/4.
const LOWER_STEP: f64 = 2.5e-3;
const LOWER_STEPS: usize = 5;
const UPPER_STEP: f64 = 0.02;
const START_STEP: f64 = 0.1;
const STEPS: usize = 600;
/// The solution is a kink of the truncated problem, around which x oscillates with its step size.
const CLOSE: f64 = 0.05;

fn descent() -> Result<Descent, Error> {
    let [low, high] = Problem::LOWER_BOUNDS;
    let steps = Projected::new(Gd::new(LOWER_STEP)?, Bounds::new(low, high)?);
    Descent::new(steps, LOWER_STEPS)
}

fn off(x: &[f64], _: &[f64]) -> f64 {
    distance(x, &[Problem::X]) / Problem::X
}

type Named = (&'static str, bool, Box<dyn HypergradientMethod>);

/// Names, whether the source says that they reach the solution, and the methods.
fn methods() -> Result<Vec<Named>, Error> {
    let [low, high] = Problem::LOWER_BOUNDS;
    let weight = Weight::Decaying(0.5);
    let aggregated = Aggregated::new(LOWER_STEP, LOWER_STEP, weight)?;
    let bda = Descent::new(Projected::new(aggregated, Bounds::new(low, high)?), LOWER_STEPS)?;
    Ok(vec![
        ("iaptt", true, Box::new(Iaptt::new(descent()?))),
        ("ia-gm", false, Box::new(Unrolled::ia_gm(descent()?))),
        ("rhg", false, Box::new(Unrolled::rad(descent()?))),
        ("bda", false, Box::new(Unrolled::rad(bda))),
        ("cg", false, Box::new(Implicit::new(descent()?, Cg::new(10, 1e-10)?))),
        ("neumann", false, Box::new(Implicit::new(descent()?, Neumann::new(0.01, 10, 1e-10)?))),
    ])
}

fn run(
    device: &Device,
    (x, y): (f64, f64),
    method: Box<dyn HypergradientMethod>,
) -> Result<Run, Error> {
    let learned = method.differentiates_start();
    let trial = Trial {
        bounds: Some(Problem::UPPER_BOUNDS),
        start: if learned { Start::Learned { step_size: START_STEP } } else { Start::Fixed },
        start_bounds: learned.then_some(Problem::LOWER_BOUNDS),
        ..Trial::new(Problem::at(x, y, device)?, method, UPPER_STEP)
    };
    trial.run(STEPS, off)
}

pub(super) fn findings(device: &Device) -> Result<Findings, Error> {
    let mut found = Findings::default();
    let mut runs: Vec<Vec<Run>> = Vec::new();
    for start in Problem::STARTS {
        let of_start = methods()?.into_iter().map(|(_, _, method)| run(device, start, method));
        runs.push(of_start.collect::<Result<_, _>>()?);
    }
    for (m, (name, reaches, _)) in methods()?.into_iter().enumerate() {
        let close = |run: &Run| (run.x[0] - Problem::X).abs() <= CLOSE;
        let arrived = runs.iter().filter(|of_start| close(&of_start[m])).count();
        let ends: Vec<String> = runs.iter().map(|r| format!("{:.3}", r[m].x[0])).collect();
        found.claims.push(Claim {
            problem: NAME,
            method: name.to_owned(),
            says: if reaches { "x = 8.639 from three starts" } else { "does not reach x = 8.639" },
            sees: format!("x = {}", ends.join(", ")),
            holds: arrived == if reaches { runs.len() } else { 0 },
        });
    }
    for ((x, y), of_start) in Problem::STARTS.into_iter().zip(&runs) {
        let names = methods()?.into_iter().map(|(name, _, _)| name);
        found.figures.push(Figure {
            name: format!("iaptt-from-{x}"),
            title: format!("From x = {x}, y = {y}"),
            quantity: "relative distance of x from 11 pi / 4",
            curves: names.zip(of_start).map(|(name, run)| run.curve(name)).collect(),
        });
    }
    Ok(found)
}
