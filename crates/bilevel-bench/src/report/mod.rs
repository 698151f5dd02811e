//! The output of a run: a folder of files, a table and curves.
//!
//! | module | what |
//! |---|---|
//! | here | [`RunReport`], the figures themselves |
//! | [`folder`] | `runs/<name>/` with `summary.json`, `metrics.csv`, `settings.toml`, `curves.svg` |
//! | [`seeds`] | the joint results of runs with several seeds |
//! | [`table`] | the result table of the terminal |
//! | [`page`] | `report.html`, all of a run in one page |
//! | [`curves`] | the figure |
//! | [`convergence`] | figures of problems with known answers |
//! | `plot` | the drawing code of these |
//! | [`weights`] | figures of learned weights |
//! | [`pictures`] | images beside one another |
//! | [`row_map`] | rows of a table as coloured cells |
//! | [`heat_map`] | figures of matrices of shares |
//!
//! Shares (accuracy, F1 and so on) are fractions of 1 here and per cent only in output for people. A figure that a
//! method does not have, or that is not finite, is `None`: `null` in JSON, empty in CSV.

pub mod comparison;
pub mod convergence;
pub mod curves;
mod error;
pub mod folder;
pub mod heat_map;
pub mod page;
pub mod pictures;
pub(crate) mod plot;
pub mod row_map;
pub mod seeds;
pub mod table;
pub mod weights;

pub use error::ReportError;

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::memory::PeakMemory;
use bilevel_data::noise::Detection;

/// The report of a run. As JSON it is `summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// Name of the experiment, such as `hyper-cleaning`.
    pub experiment: String,
    /// The seed of all randomness.
    pub seed: u64,
    /// The settings that repeat the run; also `settings.toml`.
    pub settings: toml::Table,
    /// One entry per method, in the order of the run.
    pub methods: Vec<MethodReport>,
}

/// The result of one method, and its cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MethodReport {
    /// Name of the method, such as `rad`.
    pub name: String,
    /// Whether this is a baseline without upper steps (`noisy`, `clean-labels`) instead of a bilevel method.
    pub baseline: bool,
    /// Whether the method ended as planned; if not, `status` says why.
    pub ok: bool,
    /// The number of steps with a warning; `status` has the last one.
    #[serde(deserialize_with = "count")]
    pub warnings: u64,
    /// How the method ended, in words.
    pub status: String,
    /// Share of test samples classified correctly, in `[0, 1]`.
    pub test_accuracy: Option<f64>,
    /// How well wrong labels were detected, if the method detects them.
    pub detection: Option<Detection>,
    /// Figures of this experiment alone, by name with the unit, such as `seconds per iteration`: one column of the
    /// table each.
    #[serde(default)]
    pub figures: BTreeMap<String, f64>,
    /// Upper loss at the end.
    pub upper_loss: Option<f64>,
    /// Lower loss at the end.
    pub lower_loss: Option<f64>,
    /// Wall-clock time in seconds.
    pub seconds: f64,
    /// Peak memory in bytes.
    pub peak_memory: PeakMemory,
    /// Oracle calls by kind, such as `lower gradients`.
    #[serde(deserialize_with = "counts")]
    pub oracle_calls: BTreeMap<String, u64>,
    /// One entry per upper step. Written to `metrics.csv`, not to the summary.
    #[serde(skip)]
    pub series: Vec<StepRecord>,
}

/// The figures after one upper step; a row of `metrics.csv`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Upper steps done, from 0 for the start.
    #[serde(deserialize_with = "count")]
    pub step: u64,
    /// Seconds since the start of the method.
    pub seconds: f64,
    /// Upper loss.
    #[serde(serialize_with = "finite")]
    pub upper_loss: Option<f64>,
    /// Lower loss.
    #[serde(serialize_with = "finite")]
    pub lower_loss: Option<f64>,
    /// Share of test samples classified correctly, in `[0, 1]`.
    #[serde(serialize_with = "finite")]
    pub test_accuracy: Option<f64>,
    /// F1 of detecting the wrong labels, in `[0, 1]`.
    #[serde(serialize_with = "finite")]
    pub f1: Option<f64>,
    /// Euclidean norm of the hypergradient.
    #[serde(serialize_with = "finite")]
    pub grad_norm: Option<f64>,
    /// Oracle calls since the start of the method.
    #[serde(default, deserialize_with = "count")]
    pub calls: u64,
    /// Whether the figures are the result at the end, such as after a final training, instead of those of a step.
    #[serde(default)]
    pub retrained: bool,
}

/// The greatest count in a file; those that are added to it do not overflow.
const MOST: u64 = 1 << 53;

fn count<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let count = u64::deserialize(from)?;
    if count <= MOST {
        return Ok(count);
    }
    Err(D::Error::custom(format_args!("a count of {count}, expected at most {MOST}")))
}

fn counts<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, u64>, D::Error> {
    /// A count of the list.
    #[derive(Deserialize)]
    struct Count(#[serde(deserialize_with = "count")] u64);
    let counts = BTreeMap::<String, Count>::deserialize(from)?;
    Ok(counts.into_iter().map(|(name, Count(count))| (name, count)).collect())
}

/// JSON has a form for numbers that are not finite (`null`), CSV has none.
fn finite<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    value.filter(|value| value.is_finite()).serialize(serializer)
}

impl MethodReport {
    /// Oracle calls of all kinds together.
    pub fn total_calls(&self) -> u64 {
        self.oracle_calls.values().sum()
    }

    /// Its result, as a row after those of the series.
    pub fn end(&self) -> StepRecord {
        StepRecord {
            step: self.series.len() as u64,
            seconds: self.seconds,
            calls: self.total_calls(),
            upper_loss: self.upper_loss,
            lower_loss: self.lower_loss,
            test_accuracy: self.test_accuracy,
            f1: self.f1(),
            ..StepRecord::default()
        }
    }

    /// F1 of detecting the wrong labels, in `[0, 1]`.
    pub fn f1(&self) -> Option<f64> {
        self.detection.map(|detection| detection.f1)
    }
}
