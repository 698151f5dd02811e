//! Claims on `nsgame-toy`: NSGame, Fig. 2.

use bilevel_core::*;
use burn::tensor::Device;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Claim, Figure, Findings, distance, watch};
use crate::NsgameToy;

/// The source uses several and does not list them.
const STARTS: u64 = 5;
const STEPS: usize = 4000;
/// The rates of x and of y: those of the first row of the figure in the source, then swapped. Both have the same fixed
/// point. With swapped rates the runs are far from it after these steps, which does not prove that they stay there.
const ROWS: [(&str, f64, f64, &str, bool); 2] = [
    ("x 0.005, y 0.5", 0.005, 0.5, "converges to x = y1 = y2 = 1 from every start", true),
    ("x 0.5, y 0.005", 0.5, 0.005, "does not converge to it", false),
];
/// The distance from the solution at which a run counts as converged.
const CLOSE: f64 = 1e-3;

pub(super) fn findings(device: &Device) -> Result<Findings, Error> {
    let mut found = Findings::default();
    for (row, upper, lower, says, converges) in ROWS {
        let mut curves = Vec::new();
        for start in 0..STARTS {
            let mut rng = ChaCha8Rng::seed_from_u64(start);
            let mut draw = || std::array::from_fn(|_| rng.random_range(-2.0..2.0));
            let (x, first, second) = (draw(), draw(), draw());
            let instance = NsgameToy::at(&x, [&first, &second], device)?;
            let method = NsGame::new(Rates::new(upper, lower)?, "second");
            let oracle = &instance.oracle;
            let mut solver =
                JointSolver::new(oracle, method, instance.x.clone(), instance.y.clone())?;
            let run = watch(&mut solver, STEPS, |x, y| {
                let all: Vec<f64> = x.iter().chain(y).copied().collect();
                distance(&all, &vec![NsgameToy::ANSWER; all.len()])
            })?;
            curves.push(run.curve(format!("start {}", start + 1)));
        }
        let ends = curves.iter().filter_map(|curve| curve.points.last()).map(|point| point.1);
        let worst = ends.clone().fold(0.0, f64::max);
        let best = ends.fold(f64::INFINITY, f64::min);
        found.claims.push(Claim {
            problem: "nsgame-toy".to_owned(),
            method: format!("nsgame, {row}"),
            says,
            sees: format!("distances {best:.1e} to {worst:.1e} after {STEPS} steps"),
            holds: if converges { worst <= CLOSE } else { best > CLOSE },
        });
        let name = if converges { "nsgame-toy" } else { "nsgame-toy-swapped" };
        found.figures.push(Figure {
            title: format!("nsgame-toy: {row}"),
            name: name.to_owned(),
            quantity: "distance from the answer",
            curves,
        });
    }
    Ok(found)
}
