//! From the measurements to a method and its settings.

use bilevel_program::Vector;

use super::candidates::{Candidate, ITERATIONS, LONGEST, round};
use super::measure::{Measured, Probe, Shape, Solved};
use super::suggestion::{Choice, Suggestion, Tried, moves_x, named};
use crate::catalogue::{self, At, Entry, Made, Settings};
use crate::{
    Cg, Cost, Error, Hypergradient, HypergradientMethod, Implicit, Lbfgs, Plan, Start, Unrolled,
};

/// The error up to which a hypergradient counts as accurate.
const ACCURATE: f64 = 0.02;

/// The error allowed for one that goes back through only the last steps.
const TRUNCATED: f64 = 0.1;

/// How far x is moved for a trial, relative to x or to 1.
const NEARBY: f64 = 0.05;

/// Power iterations on differences of hypergradients.
const DIFFERENCES: usize = 3;

/// The one that was chosen.
struct Chosen {
    shape: Shape,
    candidate: Candidate,
    tried: Vec<Tried>,
}

/// Whether the best of several candidates is accurate, that candidate, and the results of all.
type Tested = (bool, Candidate, Vec<Tried>);

pub(super) fn choose(probe: &Probe<'_>, solved: Solved) -> Result<Suggestion, Error> {
    let shape = solved.measured.shape();
    let by_kkt = solved.measured.constraints[0] == 0
        && catalogue::find("kkt").is_some_and(|kkt| probe.request.offers(kkt));
    if shape == Shape::Constrained && !by_kkt {
        return Ok(Suggestion {
            choice: Choice::Solve,
            reason: format!("{}: `solve` handles them", shape.words()),
            calls: None,
            memory: 0,
            tried: Vec::new(),
            seed: probe.request.seed,
            measured: Measured { cost: probe.oracle.cost(), ..solved.measured },
        });
    }
    Chooser { probe, solved }.choose(shape)
}

pub(super) struct Chooser<'a> {
    pub probe: &'a Probe<'a>,
    pub solved: Solved,
}

impl Chooser<'_> {
    fn choose(mut self, shape: Shape) -> Result<Suggestion, Error> {
        let seen = shape;
        let Chosen { shape, candidate: chosen, tried } = self.among(seen)?;
        let mut settings = chosen.settings;
        let curvature = self.upper_curvature(shape, chosen.entry, &settings)?;
        self.solved.measured.upper_curvature = curvature;
        settings.learning_rate = self.learning_rate(chosen.entry, &settings, curvature);
        let start = match (chosen.entry.name, self.probe.request.start) {
            ("iaptt" | "ia-gm" | "ia-gm-a", _) => {
                let of_start = self.probe.upper_curvature_in_y(&self.solved.y)?;
                let step_size = round(settings.learning_rate.min(1.0 / of_start.max(1e-300)));
                Start::Learned { step_size }
            }
            // y is the result of T steps from the same point.
            _ if shape == Shape::Unsolved => Start::Fixed,
            (_, Start::Learned { .. }) => Start::Warm,
            (_, start) => start,
        };
        let measured = Measured { cost: self.probe.oracle.cost(), ..self.solved.measured };
        let calls = tried.iter().find(|tried| tried.name == named(chosen.entry, &settings));
        let calls = calls.map(|tried| tried.cost.total());
        let known = known_calls(chosen.entry.name, &settings);
        let why = match shape == seen {
            true => seen.words().to_owned(),
            false => format!("{}, and no method for that is on offer or accurate", seen.words()),
        };
        let reason = match tried.len() {
            0 | 1 => format!("{why}: {}", chosen.entry.summary),
            n => format!(
                "{why}: of {n} candidates it takes the fewest calls of those that are accurate"
            ),
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

    /// The best available method for the shape. If there is none, or none that is accurate, a method that fits one
    /// batch, and then one that is exact for any lower level.
    fn among(&self, shape: Shape) -> Result<Chosen, Error> {
        let mut shapes = vec![shape];
        if shape == Shape::Batches {
            shapes.push(self.solved.measured.on_one_batch());
        }
        shapes.push(Shape::Unsolved);
        let mut inaccurate = None;
        for shape in shapes {
            let mut candidates = self.fitting(shape)?;
            if candidates.len() < 2 {
                if let Some(candidate) = candidates.pop() {
                    return Ok(Chosen { shape, candidate, tried: Vec::new() });
                }
                continue;
            }
            let (is_accurate, chosen) = match self.trial(shape, candidates)? {
                Some((is_accurate, candidate, tried)) => {
                    (is_accurate, Chosen { shape, candidate, tried })
                }
                None => continue,
            };
            if is_accurate {
                return Ok(chosen);
            }
            inaccurate = inaccurate.or(Some(chosen));
        }
        if let Some(chosen) = inaccurate {
            return Ok(chosen);
        }
        let offered = self.probe.request.methods.iter().flatten().copied().collect::<Vec<_>>();
        Err(Error::InvalidSetting {
            setting: "the methods to choose from",
            found: offered.join(", "),
            expected: "some of those listed in the documentation of `suggest`, such as rad and cg",
            cure: "offer rad, which fits any problem without batches, or choose a method yourself",
        })
    }

    /// The accurate candidate with the fewest calls, or else the most accurate one, and whether it is accurate; none
    /// where none has a finite hypergradient.
    fn trial(&self, shape: Shape, mut candidates: Vec<Candidate>) -> Result<Option<Tested>, Error> {
        let (probe, solved) = (self.probe, &self.solved);
        // Where the lower level is not solved, the reference is that of all T steps from the start.
        let all_steps = shape == Shape::Unsolved;
        let settings = candidates.first().map(|candidate| candidate.settings.clone());
        let (mut accurate, bar): (Box<dyn HypergradientMethod>, _) = match settings {
            Some(settings) if all_steps => {
                (Box::new(Unrolled::rad(settings.descent()?)), TRUNCATED)
            }
            _ => (Box::new(self.accurate(solved.scale)?), ACCURATE),
        };
        let start = if all_steps { probe.y } else { &solved.y };
        let here = accurate.hypergradient(probe.at(probe.x), start)?;
        let size = NEARBY * probe.x.norm().max(1.0);
        let along = size / here.gradient.norm().max(f64::MIN_POSITIVE);
        let nearby = probe.x.axpy(-along, &here.gradient);
        let start = if all_steps { probe.y } else { &here.lower };
        let expected = accurate.hypergradient(probe.at(&nearby), start)?.gradient;
        let mut tried: Vec<(usize, Tried)> = Vec::new();
        let is_accurate = |tried: &Tried| tried.error <= bar;
        let warm = !all_steps && probe.request.start == Start::Warm;
        for (at, Candidate { entry, settings }) in candidates.iter().enumerate() {
            let fewest = tried.iter().filter(|(_, tried)| is_accurate(tried));
            let fewest = fewest.map(|(_, tried)| tried.cost.total()).min();
            // A candidate that takes more calls than an accurate one is not tried.
            if least_calls(entry.name, settings) >= fewest.unwrap_or(u64::MAX) {
                continue;
            }
            let Some((found, cost)) = self.hypergradient((entry, settings), &nearby, warm)? else {
                continue;
            };
            let off = found.gradient.sub(&expected).norm();
            let error = off / expected.norm().max(f64::MIN_POSITIVE);
            if error.is_finite() {
                tried.push((at, Tried { name: named(entry, settings), cost, error }));
            }
        }
        let fewest = tried.iter().filter(|(_, tried)| is_accurate(tried));
        let fewest = fewest.min_by_key(|(at, tried)| (tried.cost.total(), *at));
        let nearest = tried.iter().min_by(|(_, a), (_, b)| a.error.total_cmp(&b.error));
        let Some((at, best)) = fewest.or(nearest) else { return Ok(None) };
        let (at, is_accurate) = (*at, is_accurate(best));
        let tried = tried.into_iter().map(|(_, tried)| tried).collect();
        Ok(Some((is_accurate, candidates.swap_remove(at), tried)))
    }

    /// A method for a lower level that is solved to many digits.
    fn accurate(&self, scale: f64) -> Result<Implicit, Error> {
        let epsilon = self.probe.epsilon().sqrt();
        let tolerance = (epsilon.max(1e-6) * scale).max(f64::MIN_POSITIVE);
        let cg = Cg::new(3 * ITERATIONS, epsilon.max(1e-6))?;
        Ok(Implicit::new(Lbfgs::new(2 * LONGEST, tolerance)?, cg))
    }

    /// The hypergradient of a candidate at `x`, and its cost; none where it fails. Where the lower level starts warm,
    /// one at the start of the problem comes first.
    fn hypergradient(
        &self,
        (entry, settings): (&Entry, &Settings),
        x: &Vector,
        warm: bool,
    ) -> Result<Option<(Hypergradient, Cost)>, Error> {
        let probe = self.probe;
        let Some(mut method) = self.made(entry, settings)? else { return Ok(None) };
        let start = if warm {
            let Ok(before) = method.hypergradient(probe.at(probe.x), &self.solved.y) else {
                return Ok(None);
            };
            before.lower
        } else {
            probe.y.clone()
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

    /// `L_F`: the largest curvature met by a power iteration on differences of hypergradients, from their own
    /// direction; none where they are 0 or not finite.
    fn upper_curvature(
        &self,
        shape: Shape,
        entry: &Entry,
        settings: &Settings,
    ) -> Result<Option<f64>, Error> {
        let probe = self.probe;
        let unconstrained = self.solved.measured.constraints == [0, 0];
        let warm = shape != Shape::Unsolved && probe.request.start == Start::Warm;
        let (mut method, start): (Box<dyn HypergradientMethod>, _) =
            match self.made(entry, settings)? {
                // A method that solves to a tolerance would not notice such a small change of x.
                _ if shape != Shape::Unsolved
                    && unconstrained
                    && self.solved.measured.on_one_batch() == Shape::Convex =>
                {
                    (Box::new(self.accurate(self.solved.scale)?), &self.solved.y)
                }
                Some(method) if warm => (method, &self.solved.y),
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
            // x must be slower than y, which moves towards y*(x) by this fraction per step.
            let measured = &self.solved.measured;
            let mu = measured.contracting_curvature();
            (settings.step_size * mu).min(1.0)
        } else {
            1.0
        };
        round(rate / curvature)
    }
}

/// The minimal number of calls that a hypergradient takes.
fn least_calls(name: &str, settings: &Settings) -> u64 {
    let t = settings.lower_steps as u64;
    match name {
        "cg" | "fixed-point" => t + 3,
        "trad" => t + settings.truncated as u64 + 2,
        "rad" => 2 * t + 2,
        _ => 0,
    }
}

/// The number of calls of a step, if it follows from the settings alone.
fn known_calls(name: &str, settings: &Settings) -> Option<u64> {
    let t = settings.lower_steps as u64;
    match name {
        "rad" | "ia-gm" | "iaptt" => Some(2 * t + 2),
        "trad" => Some(t + settings.truncated as u64 + 2),
        "bda" => Some(4 * t + 2),
        "f2sa" => Some(3 * t + 3),
        "soba" | "saba" => Some(3),
        "srba" => Some(6),
        "amigo" => Some(2 * t + 2),
        "stocbio" => Some(2 * t + 1),
        _ => None,
    }
}

/// The approximate memory of a method in bytes: states and linearisations.
fn memory(name: &str, settings: &Settings, measured: &Measured) -> usize {
    let (state, t) = (measured.state, settings.lower_steps);
    let kept = match Plan::default() {
        Plan::Results(bytes) => bytes,
        _ => 0,
    };
    let unrolled =
        |t: usize| t * state + kept.min(t * measured.linearization).max(measured.linearization);
    match name {
        "rad" if settings.stored_states > 0 => {
            settings.stored_states * state + measured.linearization
        }
        "rad" | "bda" | "ia-gm" | "iaptt" => unrolled(t),
        "trad" => unrolled(settings.truncated),
        "saba" => (3 * measured.batches[1] + 2 * measured.batches[0]) * state,
        "lbfgs" => 20 * state + measured.linearization,
        _ => 6 * state + measured.linearization,
    }
}
