//! One run of a method on a problem.

use bilevel_core::{
    Bounds, Cost, Error, HypergradientMethod, HypergradientSolver, Solver, Start, UpperStep,
};

use super::Curve;
use crate::Instance;

/// A method at a start, and how x and the start of y move.
pub struct Trial {
    /// The problem.
    pub instance: Instance,
    /// The method.
    pub method: Box<dyn HypergradientMethod>,
    /// How x moves.
    pub upper: Box<dyn UpperStep>,
    /// The bounds of x.
    pub bounds: Option<[f64; 2]>,
    /// Where the lower level starts.
    pub start: Start,
    /// The bounds of a learned start.
    pub start_bounds: Option<[f64; 2]>,
}

/// The result of a run.
pub struct Run {
    /// The last x.
    pub x: Vec<f64>,
    /// The last y.
    pub y: Vec<f64>,
    /// What was measured before each upper step, at its x and the resulting y.
    pub measured: Vec<f64>,
    /// What all steps asked of the oracle.
    pub cost: Cost,
}

impl Run {
    /// The measured values over the upper steps, thinned for a figure.
    pub fn curve(&self, label: impl Into<String>) -> Curve {
        const SHOWN: usize = 400;
        let every = self.measured.len().div_ceil(SHOWN).max(1);
        let points = self.measured.iter().enumerate().map(|(k, v)| (k as f64 + 1.0, *v));
        let last = self.measured.len().saturating_sub(1);
        let shown = points.enumerate().filter(|(k, _)| k % every == 0 || *k == last);
        Curve { label: label.into(), points: shown.map(|(_, point)| point).collect() }
    }

    /// The first upper step, counted from 1, at which the measured value is at most `bar`.
    pub fn first_below(&self, bar: f64) -> Option<usize> {
        self.measured.iter().position(|v| *v <= bar).map(|k| k + 1)
    }
}

impl Trial {
    /// `method` on `instance`, x moved by `upper`, with a warm-started lower level.
    pub fn new(
        instance: Instance,
        method: impl HypergradientMethod + 'static,
        upper: impl UpperStep + 'static,
    ) -> Self {
        let (method, upper) = (Box::new(method), Box::new(upper));
        Self { instance, method, upper, bounds: None, start: Start::Warm, start_bounds: None }
    }

    /// Makes `steps` upper steps; `measure` receives x and y of each.
    ///
    /// # Errors
    /// If a level diverges.
    pub fn run(self, steps: usize, measure: impl Fn(&[f64], &[f64]) -> f64) -> Result<Run, Error> {
        let Instance { oracle, x, y } = self.instance;
        let mut solver = HypergradientSolver::new(&oracle, self.method, self.upper, x, y)
            .with_start(self.start)?;
        if let Some([low, high]) = self.bounds {
            solver = solver.with_projection(Bounds::new(low, high)?);
        }
        if let Some([low, high]) = self.start_bounds {
            solver = solver.with_start_projection(Bounds::new(low, high)?);
        }
        watch(&mut solver, steps, measure)
    }
}

/// Makes `steps` steps of any solver; `measure` receives x before each step and the resulting y.
///
/// # Errors
/// Those of the solver.
pub fn watch(
    solver: &mut dyn Solver,
    steps: usize,
    measure: impl Fn(&[f64], &[f64]) -> f64,
) -> Result<Run, Error> {
    let mut measured = Vec::with_capacity(steps);
    for k in 0..steps {
        let x = solver.x().to_vec();
        solver.step(k)?;
        measured.push(measure(&x, &solver.y().to_vec()));
    }
    let (x, y) = (solver.x().to_vec(), solver.y().to_vec());
    Ok(Run { x, y, measured, cost: solver.cost() })
}
