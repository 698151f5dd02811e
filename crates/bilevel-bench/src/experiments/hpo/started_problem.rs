//! A problem on a device, with erased types.

use bilevel_core::{
    AutodiffOracle, BilevelProblem, BurnOptimizer, Counted, Error, FullBatch, Oracle, UpperStep,
};
use bilevel_models::MlpConfig;
use bilevel_problems::{ClassPenalties, ClassWeights, FeaturePenalties, LabelledRows, Values};
use bilevel_program::Vector;
use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor, TensorData};

use super::data::{Data, FEATURES};
use super::losses::{Decay, Measurements, Rates, Ridge, Training};
use super::settings::Penalties;
use super::{ProblemName, Settings};
use crate::error::BenchError;
use bilevel_data::batches::{DenseBatches, SparseBatches};
use bilevel_data::table::{Scaling, Table};
use bilevel_data::{Dataset, TrainValidation};

/// Units of the hidden layer of the network.
const HIDDEN: usize = 32;

/// A problem at its start.
pub struct StartedProblem {
    /// One batch per call; all calls are counted except those for measurements.
    pub oracle: Counted<Box<dyn Oracle>>,
    /// The same with test rows instead of validation rows.
    pub test: Option<Box<dyn Oracle>>,
    /// x in the middle of the box.
    pub x: Vector,
    /// Where every training starts.
    pub y: Vector,
    /// Adam on x with a learning rate.
    pub adam: Adam,
}

type Adam = Box<dyn Fn(f64) -> Result<Box<dyn UpperStep>, Error>>;

impl StartedProblem {
    /// The problem of `settings` on `data`.
    ///
    /// # Errors
    /// If the data cannot be divided into batches, or a loss is not finite at the start.
    pub fn new(settings: &Settings, data: &Data, device: &Device) -> Result<Self, BenchError> {
        device.seed(settings.common.seed);
        let middle = (settings.low + settings.high) / 2.0;
        let penalties = |n| Values::new(&vec![middle; n], device);
        match data {
            Data::Digits(parts) => {
                let rows = |set: &Dataset| images(set, device);
                let (lower, test) = (rows(&parts.train), rows(&parts.test));
                let data = FullBatch { upper: rows(&parts.validation), lower: lower.clone() };
                let test = Some(FullBatch { upper: test, lower });
                let widths = vec![parts.train.features(), HIDDEN, parts.train.classes()];
                let y = MlpConfig::new(widths).init(device);
                match settings.problem {
                    ProblemName::Rates => {
                        pose(Training, Rates::new(middle, middle, device), &y, data, test)
                    }
                    _ => pose(Decay(Penalties::Layer), penalties(2), &y, data, test),
                }
            }
            Data::Drawn([train, validation, test]) => {
                let rows = |set: &[_]| measurements(set, device);
                let data = FullBatch { upper: rows(validation), lower: rows(train) };
                let test = FullBatch { upper: rows(test), lower: rows(train) };
                let y = Values::new(&[0.0; FEATURES], device);
                pose(Ridge, penalties(FEATURES), &y, data, Some(test))
            }
            Data::Table(table, scaling, parts) => {
                let [train, validation, test] =
                    parts.each_ref().map(|rows| of_table(table, scaling, rows, device));
                let data = FullBatch { upper: validation, lower: train.clone() };
                let test = FullBatch { upper: test, lower: train };
                let (features, classes) = (table.features.len(), table.classes.len());
                let of = settings.penalties();
                let (widths, n) = match of {
                    Penalties::Feature => (vec![features, classes], features),
                    Penalties::Class => (vec![features, classes], classes),
                    Penalties::Layer => (vec![features, HIDDEN, classes], 2),
                };
                let y = MlpConfig::new(widths).init(device);
                pose(Decay(of), penalties(n), &y, data, Some(test))
            }
            Data::Rows(parts, test) => {
                let (size, seed) = (settings.batch.get(), settings.common.seed);
                let features = parts.train.rows().features();
                let Some(test) = test else {
                    let data = DenseBatches::new(parts, size, seed, device)?;
                    let y = Values::new(&vec![0.0; features], device);
                    return pose(FeaturePenalties, penalties(features), &y, data, None);
                };
                let classes = parts.train.labels().len();
                let batches = |parts| SparseBatches::new(parts, size, seed, device.clone());
                let judged =
                    TrainValidation { train: parts.train.clone(), validation: test.clone() };
                let (data, test) = (batches(parts.clone())?, batches(judged)?);
                let y = ClassWeights::zeros(features, classes, device);
                pose(ClassPenalties, penalties(classes), &y, data, Some(test))
            }
        }
    }
}

fn pose<P, D>(
    problem: P,
    x: P::Upper,
    y: &P::Lower,
    data: D,
    test: Option<D>,
) -> Result<StartedProblem, BenchError>
where
    P: BilevelProblem + Copy + 'static,
    D: bilevel_core::Data<P::Batch> + 'static,
{
    let oracle = |data| AutodiffOracle::new(problem, &x, y, data);
    let counted = oracle(data)?;
    let test = test.map(oracle).transpose()?;
    let (start, y) = (counted.upper_start(), counted.lower_start());
    let adam: Adam = Box::new(move |learning_rate| {
        Ok(Box::new(BurnOptimizer::new(AdamConfig::new().build(), &x, learning_rate)?))
    });
    Ok(StartedProblem {
        oracle: Counted::new(Box::new(counted)),
        test: test.map(|test| Box::new(test) as Box<dyn Oracle>),
        x: start,
        y,
        adam,
    })
}

fn of_table(table: &Table, scaling: &Scaling, rows: &[usize], device: &Device) -> LabelledRows {
    let shape = [rows.len(), table.features.len()];
    let inputs = TensorData::new(scaling.inputs(table, rows), shape);
    let classes: Vec<i32> = rows.iter().map(|&row| table.labels[row] as i32).collect();
    LabelledRows {
        inputs: Tensor::from_data(inputs, device),
        classes: Tensor::from_data(TensorData::new(classes, [rows.len()]), device),
    }
}

fn images(set: &Dataset, device: &Device) -> LabelledRows {
    let inputs = TensorData::new(set.images().to_vec(), [set.len(), set.features()]);
    let classes: Vec<i32> = set.labels().iter().map(|&label| label as i32).collect();
    LabelledRows {
        inputs: Tensor::from_data(inputs, device),
        classes: Tensor::from_data(TensorData::new(classes, [set.len()]), device),
    }
}

fn measurements(rows: &[(Vec<f64>, f64)], device: &Device) -> Measurements {
    let inputs: Vec<f64> = rows.iter().flat_map(|(features, _)| features.clone()).collect();
    let targets: Vec<f64> = rows.iter().map(|(_, target)| *target).collect();
    Measurements {
        inputs: Tensor::from_data(TensorData::new(inputs, [rows.len(), FEATURES]), device),
        targets: Tensor::from_data(TensorData::new(targets, [rows.len()]), device),
    }
}
