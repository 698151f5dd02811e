//! Settings, and the methods of this experiment.

use std::path::PathBuf;

use bilevel_core::catalogue;
use bilevel_models::{ClassifierConfig, MlpConfig, SoftmaxRegressionConfig};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::error::BenchError;
use crate::experiments::hyper_cleaning;
use crate::experiments::own_table;
use crate::settings::{
    Common, Count, LowerLevel, Methods, NonNegative, Positive, Share, UpperLevel, absolute, refuse,
};
use bilevel_data::table::Table;

/// The methods are those of hyper-cleaning, except for the baseline that knows which labels are wrong.
pub type Method = hyper_cleaning::Method;

/// A classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkName {
    /// Softmax regression, or one hidden layer for 10,000 images or more
    Auto,
    /// Softmax regression
    Softmax,
    /// One hidden layer of 64 ReLU units
    Mlp,
}

/// Units of the hidden layer.
const HIDDEN: usize = 64;
/// The number of images from which a hidden layer pays off.
const MANY: usize = 10_000;

impl NetworkName {
    /// The network for the rows of a table.
    pub fn config(self, table: &Table) -> ClassifierConfig {
        let (features, classes) = (table.features.len(), table.classes.len());
        let many_images = table.shape.is_some() && table.labels.len() >= MANY;
        if self == Self::Mlp || (self == Self::Auto && many_images) {
            return ClassifierConfig::Mlp(MlpConfig::new(vec![features, HIDDEN, classes]));
        }
        ClassifierConfig::Softmax(SoftmaxRegressionConfig::new(features, classes))
    }
}

/// The settings of cleaning.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// The table: .csv, .parquet, .npy, .npz, libsvm, .safetensors, IDX, a folder of class folders of images, or one in
    /// MNIST's or CIFAR's format [default: the embedded digits, a fifth of whose labels are made wrong]
    #[arg(long, value_name = "FILE", value_parser = crate::settings::text_path())]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// The column of the labels in a CSV or Parquet, or its number from 1 in an .npy [default: label, class or target, or
    /// else the last]; for other data a file of labels, one per row: .npy, .csv, .parquet or IDX
    #[arg(long, value_name = "COLUMN_OR_FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// For benchmarks: a file with the right labels of all rows, which trusted rows get and by which findings are
    /// judged
    #[arg(long, value_name = "FILE", value_parser = crate::settings::text_path())]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right_labels: Option<PathBuf>,
    /// The trusted rows: a file with the same columns, or a share of the rows, whose labels are right
    #[arg(long, value_name = "FILE_OR_SHARE")]
    pub trusted: String,
    /// Methods, separated by commas; noisy judges with all weights 1, auto chooses one from probes on the problem
    #[arg(long)]
    pub method: Methods<Method>,
    /// The network
    #[arg(long, value_enum)]
    pub network: NetworkName,
    /// The share of trusted rows put among the others, to estimate how well errors are found
    #[arg(long)]
    pub held_out: Share,
    /// The share of these whose labels are made wrong
    #[arg(long)]
    pub planted: Share,
    /// How many networks judge, each on rows that it was not trained on
    #[arg(long)]
    pub folds: Count,
    /// Training steps of each of these, by Adam
    #[arg(long)]
    pub judge_steps: Count,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub lower: LowerLevel,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub upper: UpperLevel,
    /// Maximal number of iterations of a linear solver
    #[arg(long)]
    pub solver_iterations: Count,
    /// Relative residual at which a linear solver stops
    #[arg(long)]
    pub tolerance: Positive,
    /// Damping of a linear system whose matrix is not positive definite
    #[arg(long)]
    pub damping: NonNegative,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub common: Common,
}

/// The trusted rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Trusted {
    /// A share of the rows.
    Share(f64),
    /// The rows of another file.
    File(PathBuf),
}

impl Settings {
    /// The trusted rows.
    pub fn trusted(&self) -> Trusted {
        match self.trusted.parse::<f64>() {
            Ok(share) => Trusted::Share(share),
            Err(_) => Trusted::File(self.trusted.clone().into()),
        }
    }

    /// The settings of the catalogue of methods from these, for `rows` rows.
    pub fn of_methods(&self, rows: usize) -> catalogue::Settings {
        catalogue::Settings {
            lower_steps: self.lower.lower_steps.get(),
            step_size: self.lower.step_size.get(),
            // F and f are means: an entry of a hypergradient is of the order of 1 / n.
            learning_rate: self.upper.learning_rate.get() * rows as f64,
            truncated: self.lower.lower_steps.get().min(25),
            aggregation: 0.5,
            solver_iterations: self.solver_iterations.get(),
            tolerance: self.tolerance.get(),
            damping: self.damping.get(),
            warm_start: false,
            period: 1,
            ..catalogue::Settings::default()
        }
    }
}

impl crate::settings::Settings for Settings {
    crate::settings::of_fields!(Method);

    fn complete(&mut self) -> Result<(), BenchError> {
        own_table::complete(&mut self.data, &mut self.label)?;
        if let Some(path) = &mut self.right_labels {
            *path = absolute("--right-labels", path)?;
        }
        if let Trusted::File(path) = self.trusted() {
            self.trusted = absolute("--trusted", &path)?.to_string_lossy().into_owned();
        }
        Ok(())
    }

    fn check(&self) -> Result<(), BenchError> {
        self.common.refuse_data_dir("--data, a file or a folder", "name it there")?;
        if self.right_labels.is_some()
            && (self.data.is_none() || matches!(self.trusted(), Trusted::File(_)))
        {
            let expected = "--data, and --trusted with a share";
            return Err(refuse("--right-labels", "given", expected, "give these, or leave it out"));
        }
        if let Trusted::Share(share) = self.trusted()
            && !(share > 0.0 && share < 1.0)
        {
            let cure = "take a share that leaves rows of both kinds";
            return Err(refuse("--trusted", share, "a file, or a share between 0 and 1", cure));
        }
        if self.method.iter().any(|method| *method == Method::CleanLabels) {
            let expected = "a method that does not know which labels are wrong";
            return Err(refuse("--method", "clean-labels", expected, "leave it out"));
        }
        if self.folds.get() < 2 {
            return Err(refuse("--folds", self.folds, "at least 2", "take more"));
        }
        Ok(())
    }
}
