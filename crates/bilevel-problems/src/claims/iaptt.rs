//! Claims on `iaptt-numeric`: IAPTT-GM, Fig. 1, and its truncation and time, Fig. 2 and Table 1.
//!
//! As the authors run it: x and z are kept in their bounds, the lower steps between them are not. A second setting
//! projects each lower step too. There every lower state from z = -2 on is that bound, so F attains its greatest
//! value at the first step, and what `iaptt` truncates makes no difference: `ia-gm` then reaches the solution too.

use bilevel_core::*;
use burn::tensor::Device;

use super::{Claim, Figure, Findings, Run, Trial, distance};
use crate::IapttNumeric as Problem;

const NAME: &str = "iaptt-numeric";
/// The constants of the authors' program.
const LOWER_STEP: f64 = 5e-4;
const LOWER_STEPS: usize = 40;
const UPPER_STEP: f64 = 0.1;
const STEPS: usize = 500;
/// The solution is a kink of the truncated problem, around which x oscillates with its step size.
const CLOSE: f64 = 0.1;

fn projected(dynamics: impl Dynamics + 'static) -> Result<Descent, Error> {
    let [low, high] = Problem::LOWER_BOUNDS;
    Descent::new(Projected::new(dynamics, Bounds::new(low, high)?), LOWER_STEPS)
}

fn descent() -> Result<Descent, Error> {
    Descent::new(Gd::new(LOWER_STEP)?, LOWER_STEPS)
}

fn off(x: &[f64], _: &[f64]) -> f64 {
    distance(x, &[Problem::X]) / Problem::X
}

/// Its name, whether the source says that it reaches the solution, and the method.
type Named = (&'static str, Option<bool>, Box<dyn HypergradientMethod>);

fn methods() -> Result<Vec<Named>, Error> {
    let weight = Weight::Decaying(0.5);
    let bda = Descent::new(Aggregated::new(LOWER_STEP, LOWER_STEP, weight)?, LOWER_STEPS)?;
    let inner = || projected(Gd::new(LOWER_STEP)?);
    Ok(vec![
        ("iaptt", Some(true), Box::new(Iaptt::new(descent()?))),
        ("ia-gm", Some(false), Box::new(Unrolled::ia_gm(descent()?))),
        ("rhg", Some(false), Box::new(Unrolled::rad(descent()?))),
        ("bda", Some(false), Box::new(Unrolled::rad(bda))),
        ("cg", Some(false), Box::new(Implicit::new(descent()?, Cg::new(10, 1e-10)?))),
        (
            "neumann",
            Some(false),
            Box::new(Implicit::new(descent()?, Neumann::new(0.01, 10, 1e-10)?)),
        ),
        ("iaptt, lower steps projected", None, Box::new(Iaptt::new(inner()?))),
        ("ia-gm, lower steps projected", None, Box::new(Unrolled::ia_gm(inner()?))),
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
        start: if learned { Start::Learned { step_size: UPPER_STEP } } else { Start::Fixed },
        start_bounds: learned.then_some(Problem::LOWER_BOUNDS),
        ..Trial::new(Problem::at(x, y, device)?, method, GradientStep::new(UPPER_STEP)?)
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
        let says = match reaches {
            Some(true) => "x = 8.639 from three starts",
            Some(false) => "does not reach x = 8.639",
            None => "our second setting: reaches it too",
        };
        found.claims.push(Claim {
            problem: NAME.to_owned(),
            method: name.to_owned(),
            says,
            sees: format!("x = {}", ends.join(", ")),
            holds: arrived == if reaches == Some(false) { 0 } else { runs.len() },
        });
    }
    // Only the differentiated steps take a product: as many as k-bar.
    let products = |run: &Run| run.cost.lower_products as f64 / STEPS as f64;
    if let [iaptt, ia_gm, ..] = runs.first().map_or(&[][..], Vec::as_slice) {
        found.claims.push(Claim {
            problem: NAME.to_owned(),
            method: "iaptt from x = 1, mean k-bar".to_owned(),
            says: "below K, so backward steps are saved",
            sees: format!("{:.1}, ia-gm {:.1}", products(iaptt), products(ia_gm)),
            holds: products(iaptt) < products(ia_gm),
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
