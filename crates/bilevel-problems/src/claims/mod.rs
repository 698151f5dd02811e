//! Claims of the sources about methods on these problems, and our results.
//!
//! [`run`] tests the claims. That a baseline fails is a claim as well: it holds if the baseline fails here
//! too. If the baseline does better here than in the source, that is a finding, and the text of
//! [`Claim::sees`] describes it.

mod bda;
mod constrained;
mod ia_gm;
mod iaptt;
mod known;
mod many_solutions;
mod nsgame;
mod pbgd;
mod penalty;
mod quadratic;
mod trial;

pub use trial::{Run, Trial, watch};

use bilevel_core::Error;
use burn::tensor::Device;

/// One claim of a source, and its outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// The problem's name.
    pub problem: String,
    /// The method, with the settings that matter.
    pub method: String,
    /// What the source says.
    pub says: &'static str,
    /// What we observe.
    pub sees: String,
    /// Whether both agree.
    pub holds: bool,
}

/// A curve of a figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Its name in the legend.
    pub label: String,
    /// (upper step, value)
    pub points: Vec<(f64, f64)>,
}

/// A convergence figure: upper steps on the horizontal axis, a quantity on the logarithmic vertical axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The file's name without its ending.
    pub name: String,
    /// The caption.
    pub title: String,
    /// The quantity on the vertical axis.
    pub quantity: &'static str,
    /// The curves.
    pub curves: Vec<Curve>,
}

/// The results of a set of runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// The table.
    pub claims: Vec<Claim>,
    /// The figures.
    pub figures: Vec<Figure>,
}

impl Findings {
    fn extend(&mut self, other: Self) {
        self.claims.extend(other.claims);
        self.figures.extend(other.figures);
    }
}

/// The problems with claims, by name; `known-answers` are the [problems of formulas](crate::Formulas::known).
pub const PROBLEMS: [&str; 10] = [
    "quadratic",
    "bda-counterexample",
    "iaptt-numeric",
    "ia-gm-convex",
    "penalty",
    "nsgame-toy",
    "pbgd-toy",
    "constrained",
    "many-solutions",
    "known-answers",
];

/// The length of the runs whose source takes many steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// As long as in the source: 40,001 upper steps on `penalty`.
    Paper,
    /// A fortieth of it on `penalty`, in larger steps, and only on the problem that tells the methods apart.
    Short,
}

/// Tests the claims on one of [`PROBLEMS`], or on all if there is none, on `device`, whose float type should
/// be f64.
///
/// # Errors
/// If the problem is not one of them, or a lower level diverges.
pub fn run(problem: Option<&str>, length: Length, device: &Device) -> Result<Findings, Error> {
    let chosen = |name: &&str| problem.is_none_or(|problem| problem == *name);
    let names: Vec<_> = PROBLEMS.into_iter().filter(chosen).collect();
    if names.is_empty() {
        return Err(Error::InvalidSetting {
            setting: "problem",
            found: problem.unwrap_or_default().to_owned(),
            expected: "one of claims::PROBLEMS",
            cure: "leave it out to run all",
        });
    }
    // Each on its own thread; the results in the order of the names.
    let found: Vec<_> = std::thread::scope(|scope| {
        let of_name = |name| scope.spawn(move || on(name, length, device));
        let runs: Vec<_> = names.into_iter().map(of_name).collect();
        let joined = runs.into_iter().map(|run| run.join());
        joined.map(|run| run.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    let mut findings = Findings::default();
    for found in found {
        findings.extend(found?);
    }
    Ok(findings)
}

fn on(problem: &str, length: Length, device: &Device) -> Result<Findings, Error> {
    match problem {
        "quadratic" => quadratic::findings(device),
        "bda-counterexample" => bda::findings(device),
        "iaptt-numeric" => iaptt::findings(device),
        "ia-gm-convex" => ia_gm::findings(device),
        "many-solutions" => many_solutions::findings(device),
        "constrained" => constrained::findings(device),
        "known-answers" => known::findings(device),
        "nsgame-toy" => nsgame::findings(device),
        "pbgd-toy" => pbgd::findings(device),
        _ => penalty::findings(length, device),
    }
}

/// The Euclidean distance.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}
