//! The data of each problem, in host memory.

use std::path::PathBuf;

use rand::Rng;
use rand::seq::SliceRandom;

use super::{ProblemName, Settings};
use crate::error::BenchError;
use crate::experiments::own_table;
use crate::settings::{Count, refuse};
use bilevel_data::split::{Parts, SplitSizes, split};
use bilevel_data::table::{Scaling, Table};
use bilevel_data::{Classified, Purpose, TrainValidation, digits, files, libsvm, stream};

/// The data of the problems.
pub enum Data {
    /// Images of digits: training, validation and test.
    Digits(Parts),
    /// Rows of features with one number each: training, validation and test.
    Drawn([Vec<(Vec<f64>, f64)>; 3]),
    /// A table, its scaling by the training rows, and its training, validation and test rows.
    Table(Table, Scaling, [Vec<usize>; 3]),
    /// Sparse rows, and those of a test file if there is one.
    Rows(TrainValidation, Option<Classified>),
}

/// Features of the generated rows; the second half of them is uninformative.
pub const FEATURES: usize = 20;
/// Generated training, validation and test rows.
const DRAWN: [usize; 3] = [40, 40, 1000];
/// Features of ijcnn1.
const IJCNN1: usize = 22;
/// Number of validation documents from the training file.
const VALIDATION: usize = 2000;

/// Maximal number of parameters of softmax regression.
const MOST_PARAMETERS: usize = 1 << 28;

impl Data {
    /// Reads or generates the data of `settings`.
    ///
    /// # Errors
    /// If a file is missing or cannot be read.
    pub fn read(settings: &Settings) -> Result<Self, BenchError> {
        let seed = settings.common.seed;
        match settings.problem {
            ProblemName::Digits | ProblemName::Rates => {
                let set = digits::load()?;
                Ok(Self::Digits(split(&set, SplitSizes::DIGITS, seed)?.apply(&set)?))
            }
            ProblemName::Ridge => Ok(Self::Drawn(draw(seed))),
            ProblemName::Table => {
                let table = match &settings.data {
                    Some(file) => own_table::read(&[file], settings.label.as_deref())?.0,
                    None => Table::of_images(&digits::load()?),
                };
                let mut order: Vec<usize> = (0..table.labels.len()).collect();
                order.shuffle(&mut stream(seed, Purpose::Split));
                let test = order.split_off(order.len() * 4 / 5);
                let validation = order.split_off(order.len() * 3 / 4);
                let scaling = Scaling::of(&table, &order);
                Ok(Self::Table(table, scaling, [order, validation, test]))
            }
            ProblemName::Ijcnn1 => {
                let rows = libsvm::read(&find(settings, "libsvm", "ijcnn1")?, Some(IJCNN1))?;
                let rows = rows.classify(&[-1.0, 1.0])?;
                // Every fifth row is a validation row.
                Ok(Self::Rows(rows.split(rows.classes().len() / 5, seed)?, None))
            }
            ProblemName::Newsgroups => {
                let read = |name, features| {
                    libsvm::read(&find(settings, "20newsgroups", name)?, features)
                        .map_err(BenchError::from)
                };
                let train = read("train.counts.libsvm", None)?;
                let test = read("test.counts.libsvm", Some(train.features()))?;
                let labels = train.distinct_labels();
                let words = train.frequent_columns(settings.words.map_or(usize::MAX, Count::get));
                // Each is bounded by the contents of the file, but their product is not.
                if words.len().saturating_mul(labels.len()) > MOST_PARAMETERS {
                    let (words, labels) = (words.len(), labels.len());
                    let found = format!("{words}, for {labels} classes");
                    let expected = format!("{} for so many", MOST_PARAMETERS / labels);
                    let cure = "give --words, or check the labels of the file";
                    return Err(refuse("--words", found, &expected, cure));
                }
                let classify = |set: bilevel_data::Sparse| {
                    set.with_columns(&words).unit_rows().classify(&labels)
                };
                let parts = classify(train)?.split(VALIDATION, seed)?;
                Ok(Self::Rows(parts, Some(classify(test)?)))
            }
        }
    }
}

/// A file in the data's folder, or in a subfolder.
fn find(settings: &Settings, folder: &str, name: &str) -> Result<PathBuf, BenchError> {
    let Some(dir) = &settings.common.data_dir else {
        let expected = format!("a folder with {name}.gz, or with {folder}/ that holds it");
        let cure = "name it, or learn on the digits, which need no data";
        return Err(refuse("--data-dir", "not given", &expected, cure));
    };
    Ok(files::require(dir, &[folder], name)?)
}

/// Rows of a linear model, with a given noise level.
fn draw(seed: u64) -> [Vec<(Vec<f64>, f64)>; 3] {
    let mut rng = stream(seed, Purpose::Problem);
    // Uniform, of variance 1.
    let mut number = || rng.random_range(-1.0..1.0) * 3.0_f64.sqrt();
    let truth: Vec<f64> =
        (0..FEATURES).map(|j| if j < FEATURES / 2 { number() } else { 0.0 }).collect();
    let noise = truth.iter().map(|w| w * w).sum::<f64>().sqrt();
    DRAWN.map(|rows| {
        let mut row = |_| {
            let features: Vec<f64> = (0..FEATURES).map(|_| number()).collect();
            let score: f64 = features.iter().zip(&truth).map(|(a, w)| a * w).sum();
            (features, score + noise * number())
        };
        (0..rows).map(&mut row).collect()
    })
}
