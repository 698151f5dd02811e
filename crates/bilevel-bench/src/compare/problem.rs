//! The problems on which methods are compared.

use std::path::Path;
use std::sync::LazyLock;

use bilevel_core::catalogue::{self, At, Family};
use bilevel_core::{
    AutodiffOracle, BarrierOracle, BilevelProblem, Data, Error, FullBatch, Objective, Oracle,
};
use bilevel_problems::{FeaturePenalties, Formulas, Quadratic, Values};
use bilevel_program::Vector;
use burn::tensor::Device;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use rand::Rng;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Contender;
use crate::error::BenchError;
use crate::settings::refuse;
use bilevel_data::batches::{DenseBatches, full_batch};
use bilevel_data::{Classified, Purpose, files, libsvm, stream};

/// A problem, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemName {
    /// Quadratic losses, each the mean of 8 that differ
    Quadratic,
    /// One penalty per feature of a logistic regression on ijcnn1 (needs --data-dir)
    Ijcnn1,
    /// A small problem with a known answer, as `bilevel solve` lists them
    Known(&'static str),
}

/// All of them.
static ALL: LazyLock<Vec<ProblemName>> = LazyLock::new(|| {
    let known =
        Formulas::known().map(|problem| ProblemName::Known(problem.name().to_owned().leak()));
    [ProblemName::Quadratic, ProblemName::Ijcnn1].into_iter().chain(known).collect()
});

impl ValueEnum for ProblemName {
    fn value_variants<'a>() -> &'a [Self] {
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let value = PossibleValue::new(self.as_str());
        Some(match self {
            Self::Quadratic => value.help("Quadratic losses, each the mean of 8 that differ"),
            Self::Ijcnn1 => value.help(
                "One penalty per feature of a logistic regression on ijcnn1 (needs --data-dir)",
            ),
            Self::Known(_) => value.help("Small, with a known answer: see `bilevel solve`"),
        })
    }
}

impl Serialize for ProblemName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ProblemName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_str(&String::deserialize(deserializer)?, false).map_err(D::Error::custom)
    }
}

/// A problem with one seed: two oracles of the same variables, and a start.
pub struct Setup {
    /// One batch per call.
    pub batches: Box<dyn Oracle>,
    /// The whole data at each call.
    pub whole: Box<dyn Oracle>,
    /// The numbers of batches of the levels, F's first.
    pub counts: [usize; 2],
    /// The start of x.
    pub x: Vector,
    /// The start of y.
    pub y: Vector,
    /// F and f at the answer, if known.
    pub best: Option<[f64; 2]>,
}

impl Setup {
    /// What a method sees: its batches or the whole data, and barriers of weight mu for the constraints that it
    /// ignores, if requested.
    ///
    /// # Errors
    /// If mu is not finite and positive.
    pub fn oracle(
        &self,
        contender: &Contender,
        barrier: Option<f64>,
    ) -> Result<Box<dyn Oracle + '_>, Error> {
        let on_batches = contender.family().on_batches();
        let of_data = if on_batches { &self.batches } else { &self.whole };
        let mut oracle: Box<dyn Oracle + '_> = Box::new(of_data);
        if let Some(mu) = barrier {
            for (level, _) in contender.entry().ignored(&self.whole) {
                oracle = Box::new(BarrierOracle::new(oracle, mu)?.only(level));
            }
        }
        Ok(oracle)
    }

    /// The start.
    pub fn at(&self, seed: u64) -> At<'_> {
        At { x: &self.x, y: &self.y, seed }
    }

    fn new<P, D>(
        problem: impl Fn() -> P,
        (x, y): (&P::Upper, &P::Lower),
        whole: FullBatch<P::Batch>,
        batches: D,
        counts: [usize; 2],
    ) -> Result<Self, Error>
    where
        P: BilevelProblem + 'static,
        D: Data<P::Batch> + 'static,
    {
        let start = AutodiffOracle::new(problem(), x, y, whole)?;
        Ok(Self {
            x: start.upper_start(),
            y: start.lower_start(),
            whole: Box::new(start),
            batches: Box::new(AutodiffOracle::new(problem(), x, y, batches)?),
            counts,
            best: None,
        })
    }
}

impl ProblemName {
    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quadratic => "quadratic",
            Self::Ijcnn1 => "ijcnn1",
            Self::Known(name) => name,
        }
    }

    /// Oracle calls of a run, by default.
    pub fn calls(self) -> u64 {
        match self {
            Self::Quadratic => 32_768,
            Self::Ijcnn1 => 65_536,
            Self::Known(_) => 16_384,
        }
    }

    /// Seeds, by default: a known problem has one start and no batches.
    pub fn seeds(self) -> u64 {
        if matches!(self, Self::Known(_)) { 1 } else { 10 }
    }

    /// The settings of methods that suit it. Methods on the whole data take fewer and longer steps of x than those on
    /// batches.
    pub fn of_methods(self, family: Family) -> catalogue::Settings {
        let (batch, whole, step_size, period) = match self {
            Self::Quadratic => (0.02, 0.04, 0.5, 8),
            Self::Ijcnn1 => (1.0, 20.0, 0.3, 200),
            Self::Known(_) => (0.01, 0.02, 0.05, 8),
        };
        catalogue::Settings {
            learning_rate: if family.on_batches() { batch } else { whole },
            step_size,
            lower_steps: 10,
            truncated: 3,
            aggregation: 0.5,
            solver_iterations: 10,
            tolerance: 1e-6,
            damping: 0.0,
            warm_start: true,
            period,
            perturbation: 0.5,
            ..catalogue::Settings::default()
        }
    }

    /// The data of the problem; none if it needs none.
    ///
    /// # Errors
    /// If it needs data that is missing or cannot be read.
    pub fn read(self, data_dir: Option<&Path>) -> Result<Option<Classified>, BenchError> {
        if self != Self::Ijcnn1 {
            return Ok(None);
        }
        let dir = data_dir.ok_or_else(without_data)?;
        let path = files::require(dir, &["libsvm"], "ijcnn1")?;
        Ok(Some(libsvm::read(&path, Some(22))?.classify(&[-1.0, 1.0])?))
    }

    /// The problem with `seed`, on the rows from [`Self::read`].
    ///
    /// # Errors
    /// If it needs rows and there are none, or too few.
    pub fn setup(
        self,
        seed: u64,
        rows: Option<&Classified>,
        device: &Device,
    ) -> Result<Setup, BenchError> {
        let mut rng = stream(seed, Purpose::Point);
        let mut draw = |n: usize, size: f64| -> Vec<f64> {
            (0..n).map(|_| rng.random_range(-size..size)).collect()
        };
        match self {
            Self::Quadratic => {
                const SIZES: (usize, usize) = (5, 10);
                const BATCHES: usize = 8;
                const NOISE: f64 = 0.2;
                let problem = Quadratic::new(SIZES.0, SIZES.1, 0.5, 0)?;
                let (x, y) = (draw(SIZES.0, 2.0), draw(SIZES.1, 2.0));
                let (x, y) = (Values::new(&x, device), Values::new(&y, device));
                let batches = problem.batches(BATCHES, NOISE, device)?;
                let whole = problem.data(device);
                let losses = || problem.losses();
                Ok(Setup::new(losses, (&x, &y), whole, batches, [BATCHES; 2])?)
            }
            Self::Ijcnn1 => {
                const ROWS: usize = 256;
                let rows = rows.ok_or_else(without_data)?;
                // Every fifth row is a validation row.
                let parts = rows.split(rows.classes().len() / 5, seed)?;
                let batches = DenseBatches::new(&parts, ROWS, seed, device)?;
                let counts = [Objective::Upper, Objective::Lower]
                    .map(|objective| batches.batches(objective));
                let whole = full_batch(&parts, device)?;
                let x = Values::new(&draw(22, 1.0), device);
                let y = Values::new(&[0.0; 22], device);
                Ok(Setup::new(|| FeaturePenalties, (&x, &y), whole, batches, counts)?)
            }
            Self::Known(name) => {
                let problem = || {
                    let found = Formulas::known().find(|problem| problem.name() == name);
                    found.expect("the names are those of the problems")
                };
                let whole = || FullBatch { upper: (), lower: () };
                let [x, y] = problem().start(device);
                let setup = Setup::new(problem, (&x, &y), whole(), whole(), [1; 2])?;
                Ok(Setup { best: problem().best(), ..setup })
            }
        }
    }
}

fn without_data() -> BenchError {
    refuse(
        "--data-dir",
        "not given",
        "a folder with ijcnn1.gz or ijcnn1, or with libsvm/ that holds it",
        "name it, or compare on quadratic, which needs no data",
    )
}
