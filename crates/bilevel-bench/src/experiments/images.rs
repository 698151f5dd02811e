//! Reading images, splitting them and moving them to a device; and training a classifier of them without a bilevel
//! problem.

use std::path::Path;

use bilevel_core::{BurnOptimizer, Error, Schedule, UpperStep, Wrt};
use bilevel_models::{ImageClassifier, Mode, Statistics, accuracy, cross_entropy};
use bilevel_program::{Recorded, Vector};
use burn::optim::AdamConfig;
use burn::optim::decay::WeightDecayConfig;
use burn::tensor::{Device, Int, Tensor, TensorData};

use rand::seq::SliceRandom;

use crate::error::BenchError;
use crate::settings::refuse;
use bilevel_data::loader::ImageBatch;
use bilevel_data::mnist::TrainTest;
use bilevel_data::split::Parts;
use bilevel_data::{DataError, Dataset, Purpose, cifar, digits, mnist, stream};

/// Samples evaluated at once.
const PART: usize = 1000;

/// Training images for the statistics of normalisations.
const GATHERED: usize = 2000;

/// The images as read.
pub struct Read {
    /// The training part, or all.
    pub set: Dataset,
    /// The test part, if there is one.
    pub test: Option<Dataset>,
    /// The label of each class, ascending.
    pub labels: Vec<u32>,
}

/// The training and test part of a folder in CIFAR's or MNIST's format; without a folder, all of the embedded digits as
/// the training part. If labels do not count from 0, a warning lists the label of each class.
///
/// # Errors
/// If the data cannot be read.
pub fn read(folder: Option<&Path>) -> Result<Read, DataError> {
    let Some(folder) = folder else {
        let set = digits::load()?;
        return Ok(Read { labels: (0..set.classes() as u32).collect(), set, test: None });
    };
    if !mnist::is_in(folder)? && cifar::is_in(folder)? {
        let cifar::Cifar { train, test, .. } = cifar::read_dir(folder)?;
        let labels = (0..train.classes() as u32).collect();
        return Ok(Read { set: train.to_numbers(), test: Some(test.to_numbers()), labels });
    }
    let TrainTest { train, test, labels } = mnist::read_dir(folder)?;
    if !labels.iter().copied().eq(0..labels.len() as u32) {
        tracing::warn!(
            "{}: the labels are {}; they are taken for classes 0 to {}, in this order",
            folder.display(),
            mnist::listed(&labels),
            labels.len() - 1
        );
    }
    Ok(Read { set: train, test: Some(test), labels })
}

/// `train` and `validation` samples of a set, at random; if there is no test set, the rest is the test set.
///
/// # Errors
/// If there are too few.
pub fn divide(
    (set, test): (Dataset, Option<Dataset>),
    train: usize,
    validation: usize,
    seed: u64,
) -> Result<Parts, BenchError> {
    let most = set.len() - usize::from(test.is_none());
    let wanted = train.saturating_add(validation);
    if wanted > most {
        let found = format!("{train}, beside {validation} for validation");
        let expected = format!("{most} samples of both at most");
        return Err(refuse("--train", found, &expected, "ask for fewer"));
    }
    let mut order: Vec<usize> = (0..set.len()).collect();
    order.shuffle(&mut stream(seed, Purpose::Split));
    let (chosen, rest) = order.split_at(wanted);
    let (of_validation, of_train) = chosen.split_at(validation);
    Ok(Parts {
        train: set.select(of_train)?,
        validation: set.select(of_validation)?,
        test: test.map_or_else(|| set.select(rest), Ok)?,
    })
}

/// A data set on a device.
pub fn on_device(set: &Dataset, device: &Device) -> ImageBatch {
    let [channels, height, width] = set.shape();
    let images = TensorData::new(set.images().to_vec(), [set.len(), channels, height, width]);
    ImageBatch {
        images: Tensor::from_data(images, device),
        labels: integers(set.labels().iter().map(|&label| label as usize), device),
    }
}

/// A data set in batches of at most `size` samples, in order.
///
/// # Errors
/// If a batch cannot be taken from the set.
pub fn batches(set: &Dataset, size: usize, device: &Device) -> Result<Vec<ImageBatch>, DataError> {
    let all: Vec<usize> = (0..set.len()).collect();
    all.chunks(size).map(|chunk| Ok(on_device(&set.select(chunk)?, device))).collect()
}

/// The cross-entropy of each sample. Shape `[n]`.
pub fn losses(network: &ImageClassifier, batch: &ImageBatch) -> Tensor<1> {
    cross_entropy(network.forward(batch.images.clone()), batch.labels.clone())
}

/// A test set on a device: in parts, since it may exceed the device's largest array, and its hidden layers would be the
/// peak of memory. The parts suit networks without normalisation; the hidden layers of residual ones are larger.
///
/// # Errors
/// None for a set that was read.
pub fn judging(set: &Dataset, device: &Device) -> Result<Vec<ImageBatch>, DataError> {
    batches(set, PART, device)
}

/// The statistics of a network's normalisations on the first of the batches that it was trained on, in all 2000 images
/// or a few more; empty, and free, if it has none.
pub fn statistics(
    network: &ImageClassifier,
    trained_on: impl IntoIterator<Item = ImageBatch>,
) -> Statistics {
    let mut statistics = Statistics::default();
    if network.is_normalised() {
        let mut gathered = 0;
        for ImageBatch { images, .. } in trained_on {
            gathered += images.dims()[0];
            network.forward_with(images, Mode::Gather(&mut statistics));
            if gathered >= GATHERED {
                break;
            }
        }
    }
    statistics
}

/// The fraction of samples that a network without normalisation classifies correctly.
pub fn share_right(network: &ImageClassifier, parts: &[ImageBatch]) -> f64 {
    share_right_with(network, &Statistics::default(), parts.iter().cloned())
}

/// The fraction of samples that a network classifies correctly, normalised with `statistics`.
pub fn share_right_with(
    network: &ImageClassifier,
    statistics: &Statistics,
    parts: impl IntoIterator<Item = ImageBatch>,
) -> f64 {
    let (mut right, mut all) = (0.0, 0);
    for ImageBatch { images, labels } in parts {
        let n = labels.dims()[0];
        let logits = network.forward_with(images, Mode::Evaluate(statistics));
        right += accuracy(logits, labels) * n as f64;
        all += n;
    }
    right / all as f64
}

/// Integers on a device.
pub fn integers(numbers: impl Iterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let numbers: Vec<i32> = numbers.map(|number| number as i32).collect();
    let n = numbers.len();
    Tensor::from_data(TensorData::new(numbers, [n]), device)
}

/// Trains a network by `steps` of Adam, at `learning_rate`, on the mean cross-entropy of one batch after another, plus
/// `decay / 2` times the squared norm of the network.
///
/// # Errors
/// If the learning rate is not positive, or the loss of the network cannot be recorded.
pub fn train(
    network: ImageClassifier,
    batches: &[ImageBatch],
    (steps, learning_rate): (usize, f64),
    decay: f64,
) -> Result<ImageClassifier, Error> {
    train_on(network, batches.iter().cycle().take(steps).cloned(), learning_rate, decay)
}

/// [`train`] with one step for each batch.
///
/// # Errors
/// Those of [`train`].
pub fn train_on(
    network: ImageClassifier,
    batches: impl Iterator<Item = ImageBatch>,
    learning_rate: impl Into<Schedule>,
    decay: f64,
) -> Result<ImageClassifier, Error> {
    let unrecorded = |error| Error::of_recording("the loss of a network", error);
    // Combined with an empty module.
    let loss = |_: &Vec<ImageClassifier>, network: &ImageClassifier, batch: &ImageBatch| {
        losses(network, batch).mean()
    };
    let recorded = Recorded::new(&Vec::new(), &network).map_err(unrecorded)?;
    let nothing = Vector::from_module(recorded.upper_layout(), recorded.x());
    let adam = AdamConfig::new();
    let adam = adam.with_weight_decay((decay > 0.0).then(|| WeightDecayConfig::new(decay as f32)));
    let mut adam = BurnOptimizer::new(adam.build(), &network, learning_rate)?;
    let mut y = Vector::from_module(recorded.lower_layout(), &network);
    for batch in batches {
        let found = recorded.gradient(&nothing, &y, &batch, Wrt::Y, &loss);
        y = adam.step(&y, &found.map_err(unrecorded)?.1.into_y());
    }
    Ok(y.write_into(network))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiments::networks::{Plain, Residual};

    /// The share of right answers does not depend on how the test set is divided, whatever the network.
    #[test]
    fn a_test_image_is_classified_without_the_others() {
        let set = digits::load().unwrap();
        let device = Device::flex();
        let first = |n: usize| set.select(&(0..n).collect::<Vec<_>>()).unwrap();
        let (train, test) = (first(60), first(40));
        let networks = [Residual::ResNet8.config(&set), Residual::Wrn10x2.config(&set)];
        for config in networks.into_iter().chain([Plain::Small.config(&set)]) {
            device.seed(1);
            let network = config.init(&device);
            let statistics = statistics(&network, batches(&train, 20, &device).unwrap());
            let logits = |size: usize| -> Vec<f32> {
                let parts = batches(&test, size, &device).unwrap();
                let of = |part: ImageBatch| {
                    network.forward_with(part.images, Mode::Evaluate(&statistics))
                };
                let logits = parts.into_iter().map(of).collect();
                Tensor::cat(logits, 0).into_data().iter::<f32>().collect()
            };
            for (whole, alone) in logits(40).into_iter().zip(logits(1)) {
                assert!((whole - alone).abs() < 1e-4 * (1.0 + whole.abs()), "{whole} {alone}");
            }
            let share = |size| {
                share_right_with(&network, &statistics, batches(&test, size, &device).unwrap())
            };
            assert_eq!(share(40), share(7));
        }
    }
}
