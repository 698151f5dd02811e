//! From what was measured to a method and its settings.

use bilevel_program::Vector;

use super::measure::{Measured, Probe, Shape, Solved};
use super::suggestion::{Choice, Suggestion, Tried, moves_x, named};
use crate::catalogue::{self, At, Entry, Made, Settings};
use crate::{
    Cg, Cost, Descent, Error, Gd, Hypergradient, HypergradientMethod, Implicit, Lbfgs, Objective,
    Start, Unrolled,
};

/// The error of a hypergradient that is accurate enough.
const ACCURATE: f64 = 0.02;

/// How far x is moved for a trial, relative to it or to 1.
const NEARBY: f64 = 0.05;

/// Power iterations on differences of hypergradients.
const DIFFERENCES: usize = 3;

/// The longest descent that is looked at where y is what T steps lead to.
const LONGEST: usize = 256;

/// The share of the fall of F that may be missing after T steps.
const MISSING: f64 = 0.1;

/// How much more curved in y than f F may be for steps down both.
const STEEP: f64 = 4.0;

/// Iterations of a linear solver at most.
const ITERATIONS: usize = 100;

/// A method with settings that may be chosen.
struct Candidate {
    entry: &'static Entry,
    settings: Settings,
}

pub(super) fn choose(probe: &Probe<'_>, solved: Solved) -> Result<Suggestion, Error> {
    let shape = solved.measured.shape();
    if shape == Shape::Constrained {
        return Ok(Suggestion {
            choice: Choice::Solve,
            reason: format!("{}: `solve` keeps to them", shape.words()),
            calls: None,
            memory: 0,
            tried: Vec::new(),
            seed: probe.request.seed,
            measured: Measured { cost: probe.oracle.cost(), ..solved.measured },
        });
    }
    Chooser { probe, solved }.choose(shape)
}

struct Chooser<'a> {
    probe: &'a Probe<'a>,
    solved: Solved,
}

impl Chooser<'_> {
    fn choose(mut self, shape: Shape) -> Result<Suggestion, Error> {
        let (shape, candidates) = self.candidates(shape)?;
        let (chosen, tried) = self.trial(candidates)?;
        let mut settings = chosen.settings;
        let curvature = self.upper_curvature(chosen.entry, &settings)?;
        self.solved.measured.upper_curvature = curvature;
        settings.learning_rate = self.learning_rate(chosen.entry, &settings, curvature);
        let start = match (chosen.entry.name, self.probe.request.start) {
            ("iaptt" | "ia-gm" | "ia-gm-a", _) => {
                let of_start = self.probe.upper_curvature_in_y(&self.solved.y)?;
                let step_size = round(settings.learning_rate.min(1.0 / of_start.max(1e-300)));
                Start::Learned { step_size }
            }
            (_, Start::Learned { .. }) => Start::Warm,
            (_, start) => start,
        };
        let measured = Measured { cost: self.probe.oracle.cost(), ..self.solved.measured };
        let calls = tried.iter().find(|tried| tried.name == named(chosen.entry, &settings));
        let calls = calls.map(|tried| tried.cost.total());
        let known = known_calls(chosen.entry.name, &settings);
        let reason = match tried.len() {
            0 | 1 => format!("{}: {}", shape.words(), chosen.entry.summary),
            n => format!("{}: of {n} candidates it took the fewest calls", shape.words()),
        };
        Ok(Suggestion {
            reason,
            calls: calls.or(known),
            memory: memory(chosen.entry.name, &settings, &measured),
            choice: Choice::Method { entry: chosen.entry, settings, start },
            tried,
            seed: self.probe.request.seed,
            measured,
        })
    }

    /// What fits the shape and is on offer. Where no method on batches is, those that fit one batch.
    fn candidates(&self, shape: Shape) -> Result<(Shape, Vec<Candidate>), Error> {
        let mut shapes = vec![shape];
        if shape == Shape::Batches {
            shapes.push(self.solved.measured.on_one_batch());
        }
        // What is exact for any of them.
        shapes.push(Shape::Unsolved);
        for shape in shapes {
            let found = self.fitting(shape)?;
            if !found.is_empty() {
                return Ok((shape, found));
            }
        }
        let offered = self.probe.request.methods.iter().flatten().copied().collect::<Vec<_>>();
        Err(Error::InvalidSetting {
            setting: "the methods to choose from",
            found: offered.join(", "),
            expected: "some of those that the documentation of `suggest` lists, as rad and cg",
            cure: "offer rad, which fits any problem without batches, or choose a method yourself",
        })
    }

    fn fitting(&self, shape: Shape) -> Result<Vec<Candidate>, Error> {
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
            Shape::Constrained => Vec::new(),
            Shape::Batches => {
                let [upper, lower] = measured.batches;
                let memories = (3 * lower + 2 * upper) * measured.state;
                let fits = memories <= self.probe.request.memory;
                let names: &[&'static str] = match fits {
                    true => &["saba", "soba", "srba", "stocbio", "amigo"],
                    false => &["soba", "srba", "stocbio", "amigo"],
                };
                let period = lower.max(2);
                // What a batch perturbs is not to be amplified.
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
                // Steps down both losses are as short as the larger curvature asks.
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
                let names = ["rad", "trad", "iaptt"];
                if !names.iter().any(|name| offered(&name)) {
                    return Ok(Vec::new());
                }
                first(&names, self.unrolled()?)
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

    /// What all methods share.
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

    /// The steps of size s that bring y nearer to y* by a factor.
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
        // A gradient of this norm is left where y is off by this share.
        let measured = &self.solved.measured;
        let size = measured.contracting_curvature() * self.solved.y.norm().max(1e-3);
        for share in [1e-2, 1e-3] {
            let tolerance = round((share * size).min(0.1 * self.solved.scale).min(0.1));
            let with = |lower_steps| Settings { lower_steps, tolerance, ..common.clone() };
            all.push(("newton", with(50)));
            all.push(("lbfgs", with(200)));
        }
        let lower_steps = 2 * steps;
        all.push(("fixed-point", Settings { lower_steps, ..common.clone() }));
        let stored_states = self.stored_states(lower_steps);
        all.push(("rad", Settings { lower_steps, stored_states, ..common }));
        all
    }

    /// The settings of `rad` where y is what T steps lead to: T is where F hardly falls any more.
    fn unrolled(&self) -> Result<Settings, Error> {
        let problem = self.probe.at(self.probe.x);
        let mut step_size = self.step_size();
        let upper = |y: &Vector| problem.value(Objective::Upper, y).read();
        loop {
            let mut values = vec![(0, upper(self.probe.y))];
            let (mut y, mut made) = (self.probe.y.clone(), 0);
            let mut failed = false;
            while made < LONGEST && !failed {
                let more = made.max(1);
                match Descent::new(Gd::new(round(step_size))?, more)?.run(&problem, &y) {
                    Ok(end) => {
                        failed = end.climbed();
                        y = end.state.y;
                        made += more;
                        values.push((made, upper(&y)));
                    }
                    Err(Error::LowerDiverged { .. }) => failed = true,
                    Err(error) => return Err(error),
                }
            }
            if failed && step_size > 1e-12 {
                step_size /= 4.0;
                continue;
            }
            let least = values.iter().map(|(_, value)| *value).fold(f64::INFINITY, f64::min);
            let enough = least + MISSING * (values[0].1 - least);
            let steps = values.iter().skip(1).find(|(_, value)| *value <= enough);
            let lower_steps = steps.map_or(LONGEST, |(steps, _)| *steps);
            return Ok(Settings {
                lower_steps,
                step_size: round(step_size),
                stored_states: self.stored_states(lower_steps),
                truncated: lower_steps.div_ceil(2),
                ..self.settings()
            });
        }
    }

    /// How many states `rad` keeps: all, if they fit.
    fn stored_states(&self, steps: usize) -> usize {
        let room = self.probe.request.memory / self.solved.measured.state.max(1);
        if steps <= room { 0 } else { room.max(2) }
    }

    /// The candidate of the fewest calls among those that are accurate; the first where there is one.
    fn trial(&self, candidates: Vec<Candidate>) -> Result<(Candidate, Vec<Tried>), Error> {
        let mut candidates = candidates;
        if candidates.len() == 1 {
            return Ok((candidates.remove(0), Vec::new()));
        }
        let (probe, solved) = (self.probe, &self.solved);
        let mut accurate = self.accurate(solved.scale)?;
        let here = accurate.hypergradient(probe.at(probe.x), &solved.y)?;
        let size = NEARBY * probe.x.norm().max(1.0);
        let along = size / here.gradient.norm().max(f64::MIN_POSITIVE);
        let nearby = probe.x.axpy(-along, &here.gradient);
        let expected = accurate.hypergradient(probe.at(&nearby), &here.lower)?.gradient;
        let mut tried: Vec<(f64, u64, usize)> = Vec::new();
        let mut told = Vec::new();
        for (at, Candidate { entry, settings }) in candidates.iter().enumerate() {
            let Some((found, cost)) = self.hypergradient(entry, settings, &nearby)? else {
                continue;
            };
            let off = found.gradient.sub(&expected).norm();
            let error = off / expected.norm().max(f64::MIN_POSITIVE);
            if error.is_finite() {
                tried.push((error, cost.total(), at));
                told.push(Tried { name: named(entry, settings), cost, error });
            }
        }
        let accurate = tried.iter().filter(|(error, ..)| *error <= ACCURATE);
        let fewest = accurate.min_by_key(|(_, calls, at)| (*calls, *at));
        let nearest = tried.iter().min_by(|a, b| a.0.total_cmp(&b.0));
        let Some((.., at)) = fewest.or(nearest) else {
            return Err(Error::InvalidSetting {
                setting: "the methods to choose from",
                found: "none that gives a finite hypergradient near the start".into(),
                expected: "one that does",
                cure: "scale y or the lower loss, start elsewhere, or offer rad",
            });
        };
        let at = *at;
        Ok((candidates.swap_remove(at), told))
    }

    /// A method of a lower level that is solved to many digits.
    fn accurate(&self, scale: f64) -> Result<Implicit, Error> {
        let epsilon = self.probe.epsilon().sqrt();
        let tolerance = (epsilon.max(1e-6) * scale).max(f64::MIN_POSITIVE);
        let cg = Cg::new(3 * ITERATIONS, epsilon.max(1e-6))?;
        Ok(Implicit::new(Lbfgs::new(2 * LONGEST, tolerance)?, cg))
    }

    /// The hypergradient of a candidate at `x`, and what it cost; none where it fails. Where the lower level starts warm,
    /// one at the start of the problem is before it.
    fn hypergradient(
        &self,
        entry: &Entry,
        settings: &Settings,
        x: &Vector,
    ) -> Result<Option<(Hypergradient, Cost)>, Error> {
        let probe = self.probe;
        let Some(mut method) = self.made(entry, settings)? else { return Ok(None) };
        let start = match probe.request.start {
            Start::Warm => {
                let Ok(before) = method.hypergradient(probe.at(probe.x), &self.solved.y) else {
                    return Ok(None);
                };
                before.lower
            }
            _ => probe.y.clone(),
        };
        let before = probe.oracle.cost();
        let found = method.hypergradient(probe.at(x), &start);
        Ok(found.ok().map(|found| (found, probe.oracle.cost() - before)))
    }

    fn made(
        &self,
        entry: &Entry,
        settings: &Settings,
    ) -> Result<Option<Box<dyn HypergradientMethod>>, Error> {
        let at = At { x: self.probe.x, y: self.probe.y, seed: self.probe.request.seed };
        Ok(match entry.make(settings, &at)? {
            Made::Hypergradient(method) => Some(method),
            Made::Joint(_) => None,
        })
    }

    /// `L_F`: the largest curvature that a power iteration on differences of hypergradients meets, from their own
    /// direction; none where they are 0 or not finite.
    fn upper_curvature(&self, entry: &Entry, settings: &Settings) -> Result<Option<f64>, Error> {
        let probe = self.probe;
        let (mut method, start): (Box<dyn HypergradientMethod>, _) =
            match self.made(entry, settings)? {
                // A method to a tolerance would not see so small a move of x.
                _ if self.solved.measured.on_one_batch() == Shape::Convex => {
                    (Box::new(self.accurate(self.solved.scale)?), &self.solved.y)
                }
                Some(method) if self.probe.request.start == Start::Warm => (method, &self.solved.y),
                Some(method) => (method, probe.y),
                None => {
                    let descent = self.unrolled()?.descent()?;
                    (Box::new(Unrolled::rad(descent)), probe.y)
                }
            };
        let mut gradient = |x: &Vector| {
            let found = method.hypergradient(probe.at(x), start).ok();
            found.map(|found| found.gradient).filter(Vector::all_finite)
        };
        let Some(here) = gradient(probe.x) else { return Ok(None) };
        let step = probe.epsilon().powf(1.0 / 3.0).max(1e-3) * probe.x.norm().max(1.0);
        let (mut along, mut most) = (here.clone(), None);
        for _ in 0..DIFFERENCES {
            let length = along.norm();
            if length == 0.0 {
                break;
            }
            let Some(there) = gradient(&probe.x.axpy(-step / length, &along)) else { break };
            along = here.sub(&there);
            let curvature = along.norm() / step;
            most = Some(curvature.max(most.unwrap_or(0.0)));
        }
        Ok(most.filter(|most| *most > 0.0))
    }

    /// The first step of x, or all of them.
    fn learning_rate(&self, entry: &Entry, settings: &Settings, curvature: Option<f64>) -> f64 {
        let Some(curvature) = curvature else { return Settings::default().learning_rate };
        let rate = if moves_x(entry) {
            // x is to be slower than y, which moves towards y*(x) by this share in a step.
            let measured = &self.solved.measured;
            let mu = measured.contracting_curvature();
            (settings.step_size * mu).min(1.0)
        } else {
            1.0
        };
        round(rate / curvature)
    }
}

/// The calls of a step that follow from the settings alone.
fn known_calls(name: &str, settings: &Settings) -> Option<u64> {
    let t = settings.lower_steps as u64;
    match name {
        "rad" | "ia-gm" | "iaptt" => Some(2 * t + 2),
        "trad" => Some(t + settings.truncated as u64 + 2),
        "bda" => Some(4 * t + 2),
        "soba" | "saba" => Some(3),
        "srba" => Some(6),
        "amigo" => Some(2 * t + 2),
        "stocbio" => Some(2 * t + 1),
        _ => None,
    }
}

/// Bytes of a method, about.
fn memory(name: &str, settings: &Settings, measured: &Measured) -> usize {
    let (state, t) = (measured.state, settings.lower_steps);
    match name {
        "rad" if settings.stored_states > 0 => settings.stored_states * state,
        "rad" | "bda" | "ia-gm" | "iaptt" => t * state,
        "trad" => settings.truncated * state,
        "saba" => (3 * measured.batches[1] + 2 * measured.batches[0]) * state,
        "lbfgs" => 20 * state + measured.linearization,
        _ => 6 * state + measured.linearization,
    }
}

/// To two digits, downwards: settings read well, and do not depend on the last bits of a measurement.
fn round(value: f64) -> f64 {
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
