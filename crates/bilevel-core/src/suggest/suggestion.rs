//! The choice, and why.

use std::fmt::{Display, Formatter};

use bilevel_program::Vector;

use super::measure::{Measured, Shape};
use crate::catalogue::{At, Entry, Family, Made, Settings};
use crate::{
    AdaptiveStep, Cost, Error, HypergradientSolver, JointSolver, Objective, Oracle, Sampler,
    Solver, Start,
};

/// What to use.
#[derive(Clone, Debug)]
pub enum Choice {
    /// A method of the catalogue.
    Method {
        /// Which.
        entry: &'static Entry,
        /// Its settings.
        settings: Settings,
        /// Where the lower level starts.
        start: Start,
    },
    /// [`solve`](crate::solve), which handles constraints.
    Solve,
}

/// A candidate, and its hypergradient near the start.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The method with its settings.
    pub name: String,
    /// The calls it took.
    pub cost: Cost,
    /// Its error, relative to an accurate one.
    pub error: f64,
}

/// The result of [`suggest`](super::suggest()). It displays as a few lines.
#[derive(Clone, Debug)]
pub struct Suggestion {
    /// What to use.
    pub choice: Choice,
    /// Why, in a sentence.
    pub reason: String,
    /// What was measured.
    pub measured: Measured,
    /// The candidates that were compared; none if the shape decides.
    pub tried: Vec<Tried>,
    /// The oracle calls of a step of x, if they are known in advance.
    pub calls: Option<u64>,
    /// The approximate memory of the method in bytes, besides x and y.
    pub memory: usize,
    pub(super) seed: u64,
}

impl Suggestion {
    /// The method with the settings that it reads, as on the command line: `cg(lower-steps = 12, step-size = 0.31)`.
    pub fn name(&self) -> String {
        match &self.choice {
            Choice::Method { entry, settings, .. } => named(entry, settings),
            Choice::Solve => "solve".into(),
        }
    }

    /// The same without the settings that are also in `known`.
    pub fn name_beside(&self, known: &Settings) -> String {
        let Choice::Method { entry, settings, .. } = &self.choice else { return self.name() };
        let differs = |name: &&&'static str| value(settings, name) != value(known, name);
        let own: Vec<_> =
            entry.reads.iter().filter(differs).map(|name| set(settings, name)).collect();
        if own.is_empty() {
            entry.name.into()
        } else {
            format!("{}({})", entry.name, own.join(", "))
        }
    }

    /// The step size of y, also for other methods; if the method takes none, one that gradient descent could take.
    pub fn step_size(&self) -> f64 {
        match &self.choice {
            Choice::Method { settings, .. } => settings.step_size,
            Choice::Solve => 1.0 / self.measured.curvature(),
        }
    }

    /// What `calls` oracle calls of the method take, in words: time, and memory if it needs any. Each counts as the
    /// slower of a gradient and a product.
    pub fn forecast(&self, calls: u64) -> String {
        self.forecast_of(calls, "")
    }

    /// The same, `of` saying what the calls belong to.
    fn forecast_of(&self, calls: u64, of: &str) -> String {
        let [gradient, product] = self.measured.seconds;
        let time = seconds(calls as f64 * gradient.max(product));
        let memory = match self.memory {
            0 => String::new(),
            memory => format!("; {} of states and linearisations", bytes(memory)),
        };
        format!("about {calls} oracle calls and {time}{of}{memory}")
    }

    /// The solver of the method on `oracle`, from x and y. A hypergradient moves x by an [`AdaptiveStep`]; batches are
    /// drawn with replacement.
    ///
    /// # Errors
    /// If the oracle is of another problem, or the suggestion is [`Choice::Solve`].
    pub fn solver<'a>(
        &self,
        oracle: &'a dyn Oracle,
        x: Vector,
        y: Vector,
    ) -> Result<Box<dyn Solver + 'a>, Error> {
        let Choice::Method { entry, settings, start } = &self.choice else {
            return Err(Error::InvalidSetting {
                setting: "the suggestion",
                found: "solve".into(),
                expected: "a method of the catalogue, as for problems without constraints",
                cure: "call `solve` with the problem",
            });
        };
        Ok(match entry.make(settings, &At { x: &x, y: &y, seed: self.seed })? {
            Made::Hypergradient(method) => {
                let step = AdaptiveStep::new(settings.learning_rate)?;
                let solver = HypergradientSolver::new(oracle, method, step, x, y);
                Box::new(solver.with_start(*start)?)
            }
            Made::Joint(method) => {
                let [upper, lower] =
                    [Objective::Upper, Objective::Lower].map(|objective| oracle.batches(objective));
                let sampler = Sampler::with_replacement(upper, lower, self.seed)?;
                Box::new(JointSolver::new(oracle, method, x, y)?.with_sampler(sampler))
            }
        })
    }
}

/// Settings that no candidate sets.
const FIXED: [&str; 3] = ["dynamics", "kept-steps", "momentum"];

/// A method with the settings that it reads and that are chosen.
pub(super) fn named(entry: &Entry, settings: &Settings) -> String {
    let chosen = entry.reads.iter().filter(|name| !FIXED.contains(name));
    let read: Vec<_> = chosen.map(|name| set(settings, name)).collect();
    format!("{}({})", entry.name, read.join(", "))
}

fn set(settings: &Settings, name: &str) -> String {
    format!("{name} = {}", value(settings, name))
}

/// A setting in TOML.
fn value(settings: &Settings, name: &str) -> String {
    let s = settings;
    match name {
        "lower-steps" => s.lower_steps.to_string(),
        "step-size" => format!("{:?}", s.step_size),
        "learning-rate" => format!("{:?}", s.learning_rate),
        "dynamics" => format!("{:?}", s.dynamics.to_string()),
        "kept-steps" => s.kept_steps.to_string(),
        "stored-states" => s.stored_states.to_string(),
        "truncated" => s.truncated.to_string(),
        "aggregation" => format!("{:?}", s.aggregation),
        "solver-iterations" => s.solver_iterations.to_string(),
        "tolerance" => format!("{:?}", s.tolerance),
        "damping" => format!("{:?}", s.damping),
        "warm-start" => s.warm_start.to_string(),
        "period" => s.period.to_string(),
        "perturbation" => format!("{:?}", s.perturbation),
        "proximity" => format!("{:?}", s.proximity),
        "momentum" => format!("{:?}", s.momentum),
        _ => unreachable!("a test of the catalogue names all settings"),
    }
}

impl Display for Suggestion {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Measured { dimensions: [n, m], batches, start, end, .. } = &self.measured;
        let measured = &self.measured;
        write!(f, "measured  x of {n} and y of {m} numbers, ")?;
        match batches {
            [1, 1] => write!(f, "all data at once")?,
            [upper, lower] => write!(f, "{upper} and {lower} batches of F and f")?,
        }
        if let Some(noise) = measured.noise {
            write!(f, ", the gradient of f off by {} from batch to batch", percent(noise))?;
        }
        let spectrum = |least: f64, greatest: f64| format!("{least:.3e} to {greatest:.3e}");
        write!(
            f,
            "\n          curvature of f {} at the start, {} after {} steps that left {:.0e} of the gradient",
            spectrum(start.least, start.greatest),
            spectrum(end.least, end.greatest),
            measured.steps,
            measured.stationarity,
        )?;
        if let Some(outside) = measured.outside.filter(|outside| *outside > 1e-2) {
            write!(f, "; {} of F_y outside the range of f_yy", percent(outside))?;
        }
        if let Some(curvature) = measured.upper_curvature {
            write!(f, "; curvature of F(x, y*(x)) {curvature:.3e}")?;
        }
        let [gradient, product] = measured.seconds;
        write!(
            f,
            "\n          a state takes {}, a linearisation {}; a gradient {}, a product {}",
            bytes(measured.state),
            bytes(measured.linearization),
            seconds(gradient),
            seconds(product),
        )?;
        for Tried { name, cost, error } in &self.tried {
            write!(f, "\ntried     {name}: {} calls, off by {}", cost.total(), percent(*error))?;
        }
        write!(f, "\nchosen    {}", self.name())?;
        write!(f, "\nbecause   {}", self.reason)?;
        write!(f, "\nexpected  ")?;
        match self.calls {
            Some(calls) => f.write_str(&self.forecast_of(calls, " per step of x"))?,
            None => f.write_str("as many oracle calls as the problem takes")?,
        }
        write!(f, "\nprobes    {} oracle calls", measured.cost.total())
    }
}

fn percent(share: f64) -> String {
    if share < 1e-3 { format!("{:.0e}", share) } else { format!("{:.1} %", 100.0 * share) }
}

fn bytes(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.0} us", 1e6 * s),
        s if s < 1.0 => format!("{:.1} ms", 1e3 * s),
        s => format!("{s:.1} s"),
    }
}

impl Shape {
    /// In words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Constrained => "there are constraints",
            Self::Batches => "the data of the lower level comes in batches",
            Self::Unsolved => "a descent of the lower level does not end at a minimum",
            Self::ManySolutions => "lower solutions are not isolated, and F prefers some",
            Self::ManyMinima => "the lower level has several minima",
            Self::Convex => {
                "the lower level has one minimum as far as was measured, of positive curvature"
            }
        }
    }
}

/// Whether a method makes its own steps of x.
pub(super) fn moves_x(entry: &Entry) -> bool {
    entry.family != Family::Hypergradient
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{self, LowerDynamics};
    use crate::linear::Spectrum;

    /// `rad` with the default settings, where an oracle call takes half a second.
    fn of_rad(memory: usize) -> Suggestion {
        let entry = catalogue::find("rad").unwrap();
        let spectrum = Spectrum {
            least: 1.0,
            greatest: 2.0,
            least_positive: Some(1.0),
            least_error: 0.0,
            greatest_error: 0.0,
            products: 2,
        };
        let measured = Measured {
            constraints: [0, 0],
            dimensions: [1, 1],
            batches: [1, 1],
            noise: None,
            start: spectrum,
            end: spectrum,
            stationarity: 1e-3,
            steps: 5,
            solved: true,
            outside: None,
            several: None,
            upper_curvature: None,
            state: 8,
            linearization: 8,
            seconds: [0.5, 0.25],
            cost: Cost::default(),
        };
        Suggestion {
            choice: Choice::Method { entry, settings: Settings::default(), start: Start::Warm },
            reason: "it is cheap".into(),
            measured,
            tried: Vec::new(),
            calls: Some(4),
            memory,
            seed: 0,
        }
    }

    #[test]
    fn every_setting_that_a_method_reads_can_be_written() {
        let settings = serde_json::to_value(Settings::default()).unwrap();
        for entry in catalogue::all() {
            for name in entry.reads {
                let written = value(&Settings::default(), name);
                let read: serde_json::Value = serde_json::from_str(&written).unwrap();
                assert_eq!(read, settings[name], "{name}");
            }
        }
    }

    #[test]
    fn a_name_has_the_settings_that_are_chosen() {
        for entry in catalogue::all() {
            let name = named(entry, &Settings::default());
            let open = format!("{}(", entry.name);
            assert!(name.starts_with(&open) && name.ends_with(')'), "{name}");
            for reads in entry.reads {
                let said = name.contains(&format!("{reads} = "));
                assert_eq!(said, !FIXED.contains(reads), "{name}");
            }
        }
    }

    #[test]
    fn beside_a_run_a_name_has_the_dynamics_that_was_probed() {
        let known = Settings { dynamics: LowerDynamics::Adam, ..Settings::default() };
        let suggestion = of_rad(0);
        assert_eq!(suggestion.name_beside(&Settings::default()), "rad");
        assert_eq!(suggestion.name_beside(&known), "rad(dynamics = \"gd\")");
    }

    #[test]
    fn a_forecast_names_memory_where_there_is_some() {
        assert_eq!(of_rad(0).forecast(10), "about 10 oracle calls and 5.0 s");
        let memory = "; 2.0 MiB of states and linearisations";
        let some = of_rad(2 << 20);
        assert_eq!(some.forecast(10), format!("about 10 oracle calls and 5.0 s{memory}"));
        let expected =
            format!("\nexpected  about 4 oracle calls and 2.0 s per step of x{memory}\n");
        assert!(some.to_string().contains(&expected), "{some}");
    }
}
