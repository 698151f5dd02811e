//! The candidates for a shape, and their settings.

use bilevel_program::Vector;

use super::choose::Chooser;
use super::measure::Shape;
use crate::catalogue::{self, Entry, Settings};
use crate::{Descent, Error, Gd, Objective, Start};

/// The longest descent that is tried where y is the result of T steps.
pub(super) const LONGEST: usize = 256;

/// The fraction of the decrease of F that may be missing after T steps.
const MISSING: f64 = 0.1;

/// Step sizes of such a descent that are tried, each half of the previous one.
const HALVINGS: i32 = 20;

/// The maximal number of iterations of a linear solver.
pub(super) const ITERATIONS: usize = 100;

/// Newton's method is tried only on a lower level that is solved within this many steps: on others a step takes many
/// products.
const QUICK: usize = 50;

/// How much larger the curvature of F in y may be than that of f, for steps that descend both.
const STEEP: f64 = 4.0;

/// A method and its settings, as a candidate.
pub(super) struct Candidate {
    pub entry: &'static Entry,
    pub settings: Settings,
}

impl Chooser<'_> {
    pub(super) fn fitting(&self, shape: Shape) -> Result<Vec<Candidate>, Error> {
        let offered = |name: &&&'static str| {
            catalogue::find(name).is_some_and(|entry| self.probe.request.offers(entry))
        };
        let make = |name: &&'static str, settings: Settings| Candidate {
            entry: catalogue::find(name).expect("it is in the catalogue"),
            settings,
        };
        let first = |names: &[&'static str], settings: Settings| {
            let found = names.iter().find(offered);
            found.map(|name| make(name, settings)).into_iter().collect::<Vec<_>>()
        };
        let measured = &self.solved.measured;
        Ok(match shape {
            Shape::Constrained => {
                first(&["kkt"], Settings { lower_steps: 20, tolerance: 1e-6, ..self.settings() })
            }
            Shape::Batches => {
                let [upper, lower] = measured.batches;
                let memories = (3 * lower + 2 * upper) * measured.state;
                let fits = memories <= self.probe.request.memory;
                let names: &[&'static str] = match fits {
                    true => &["saba", "soba", "srba", "stocbio", "amigo"],
                    false => &["soba", "srba", "stocbio", "amigo"],
                };
                let period = lower.max(2);
                // The perturbation of a batch must not be amplified.
                let step_size = self.step_size().min(1.0 / measured.curvature());
                let lower_steps = self.contracting(step_size, 10.0).min(20);
                let step_size = round(step_size);
                let settings = Settings { lower_steps, step_size, period, ..self.settings() };
                first(names, settings)
            }
            Shape::ManySolutions => {
                let of_upper = self.probe.upper_curvature_in_y(&self.solved.y)?;
                let l = measured.curvature();
                let steps = |step_size: f64| {
                    let lower_steps = self.contracting(step_size, 10.0).clamp(4, 100);
                    Settings { lower_steps, step_size: round(step_size), ..self.settings() }
                };
                // Steps that descend both losses are as short as the larger curvature requires.
                let both = first(&["bda"], steps(self.step_size().min(1.0 / of_upper.max(l))));
                let learned = first(&["ia-gm", "f2sa"], steps(self.step_size()));
                let order = if of_upper <= STEEP * l { [both, learned] } else { [learned, both] };
                order.into_iter().flatten().take(1).collect()
            }
            Shape::ManyMinima => {
                let steps = self.contracting(self.step_size(), 10.0).min(50);
                let settings = Settings { lower_steps: steps, ..self.settings() };
                first(&["iaptt", "ia-gm"], settings)
            }
            Shape::Unsolved => {
                if !["rad", "trad", "iaptt"].iter().any(|name| offered(&name)) {
                    return Ok(Vec::new());
                }
                let settings = self.unrolled()?;
                let t = settings.lower_steps;
                let ways = [("trad", t.div_ceil(4)), ("trad", t.div_ceil(2)), ("rad", t)];
                let with = |truncated| Settings { truncated, ..settings.clone() };
                let found = ways.iter().filter(|(name, _)| offered(&name));
                let found: Vec<_> = found.map(|(name, last)| make(name, with(*last))).collect();
                if found.is_empty() { first(&["iaptt"], settings) } else { found }
            }
            Shape::Convex => {
                let all = self.implicit();
                all.into_iter()
                    .filter(|(name, _)| offered(&name))
                    .map(|(name, settings)| make(&name, settings))
                    .collect()
            }
        })
    }

    /// The settings that all methods share.
    fn settings(&self) -> Settings {
        let measured = &self.solved.measured;
        let singular = measured.least_curvature().is_none();
        let damping = if singular { 1e-3 * measured.curvature() } else { 0.0 };
        Settings {
            step_size: round(self.step_size()),
            solver_iterations: measured.dimensions[1].min(ITERATIONS),
            damping: round(damping),
            warm_start: self.probe.request.start == Start::Warm,
            aggregation: 0.9,
            ..Settings::default()
        }
    }

    /// The step size of y.
    fn step_size(&self) -> f64 {
        let measured = &self.solved.measured;
        let l = measured.curvature();
        if !(l.is_finite() && l > 0.0) {
            return 1.0;
        }
        match measured.least_curvature() {
            Some(mu) if measured.is_quadratic() => 2.0 / (l + mu),
            _ if measured.is_quadratic() => 1.0 / l,
            _ => 0.5 / l,
        }
    }

    /// The number of steps of size s that bring y closer to y* by a factor.
    fn contracting(&self, s: f64, factor: f64) -> usize {
        let measured = &self.solved.measured;
        let mu = measured.contracting_curvature();
        let rate = (1.0 - s * mu).abs().max((1.0 - s * measured.curvature()).abs());
        let steps = (factor.ln() / -rate.clamp(1e-3, 0.999).ln()).ceil();
        (steps as usize).clamp(1, 300)
    }

    /// The candidates of a convex lower level.
    fn implicit(&self) -> Vec<(&'static str, Settings)> {
        let common = self.settings();
        let factor = if self.probe.request.start == Start::Warm { 10.0 } else { 100.0 };
        let steps = self.contracting(common.step_size, factor);
        let mut all = Vec::new();
        for (times, tolerance) in [(1, 0.1), (1, 0.01), (3, 0.01)] {
            let lower_steps = times * steps;
            all.push(("cg", Settings { lower_steps, tolerance, ..common.clone() }));
        }
        // A gradient of this norm is left where y is off by this fraction.
        let measured = &self.solved.measured;
        let size = measured.contracting_curvature() * self.solved.y.norm().max(1e-3);
        let to = |share: f64, lower_steps| {
            let tolerance = round((share * size).min(0.1 * self.solved.scale).min(0.1));
            Settings { lower_steps, tolerance, ..common.clone() }
        };
        for share in [1e-2, 1e-3] {
            all.push(("lbfgs", to(share, 200)));
            if measured.steps <= QUICK {
                all.push(("newton", to(share, 50)));
            }
        }
        let lower_steps = 2 * steps;
        all.push(("fixed-point", Settings { lower_steps, ..common.clone() }));
        let stored_states = self.stored_states(lower_steps);
        all.push(("rad", Settings { lower_steps, stored_states, ..common }));
        all
    }

    /// The settings of `rad` where y is the result of T steps: T is where F hardly decreases any more.
    pub(super) fn unrolled(&self) -> Result<Settings, Error> {
        // As long as a quadratic f would allow, and shorter where that is too long.
        let l = self.solved.measured.curvature();
        let first = if l > 0.0 { 1.0 / l } else { 1.0 };
        let sizes = (0..HALVINGS).map(|halvings| round(first * 0.5_f64.powi(halvings)));
        let mut last = Error::LowerDiverged { dynamics: "gd".into(), step: 0, steps: 1 };
        for step_size in sizes {
            match self.fall(step_size) {
                Ok(values) => {
                    let start = values.first().map_or(0.0, |(_, value)| *value);
                    let least = values.iter().map(|(_, value)| *value).fold(start, f64::min);
                    let enough = least + MISSING * (start - least);
                    let steps = values.iter().skip(1).find(|(_, value)| *value <= enough);
                    let lower_steps = steps.map_or(LONGEST, |(steps, _)| *steps);
                    return Ok(Settings {
                        lower_steps,
                        step_size,
                        stored_states: self.stored_states(lower_steps),
                        truncated: lower_steps.div_ceil(2),
                        ..self.settings()
                    });
                }
                Err(error @ Error::LowerDiverged { .. }) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// F along gradient descent from the given y, by the number of steps; steps that increase f count as diverged.
    fn fall(&self, step_size: f64) -> Result<Vec<(usize, f64)>, Error> {
        let problem = self.probe.at(self.probe.x);
        let upper = |y: &Vector| problem.value(Objective::Upper, y).read();
        let (mut y, mut made) = (self.probe.y.clone(), 0);
        let mut values = vec![(0, upper(&y))];
        while made < LONGEST {
            let descent = Descent::new(Gd::new(step_size)?, (made / 2).max(1))?;
            let end = descent.run(&problem, &y)?;
            made += descent.steps();
            if end.climbed() {
                let dynamics = descent.dynamics().describe();
                return Err(Error::LowerDiverged { dynamics, step: made, steps: made });
            }
            y = end.state.y;
            values.push((made, upper(&y)));
        }
        Ok(values)
    }

    /// How many states `rad` keeps: all, if they fit.
    pub(super) fn stored_states(&self, steps: usize) -> usize {
        let room = self.probe.request.memory / self.solved.measured.state.max(1);
        if steps <= room { 0 } else { room.max(2) }
    }
}

/// To two digits, rounded down: settings read well, and do not depend on the last bits of a measurement.
pub(super) fn round(value: f64) -> f64 {
    if !(value.is_finite() && value > 0.0) {
        return 0.0;
    }
    let digits = format!("{value:.1e}");
    let rounded: f64 = digits.parse().unwrap_or(value);
    if rounded <= value {
        return rounded;
    }
    let unit = 10f64.powf(value.log10().floor() - 1.0);
    format!("{:.1e}", rounded - unit).parse().unwrap_or(value)
}
