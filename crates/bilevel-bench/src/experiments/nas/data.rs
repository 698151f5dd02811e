//! The images of a run, and batches of them.

use std::sync::Arc;

use bilevel_core::{Data, Objective, Sample};
use bilevel_data::augment::{Augmentation, Normalisation};
use bilevel_data::loader::{self, ImageBatch, ImageBatches};
use bilevel_data::split::{at_most, hold_out};
use bilevel_data::{DataError, Digest, Images, Purpose, cifar, digits, stream};
use bilevel_models::{ImageClassifier, Mode, Statistics, accuracy};
use burn::tensor::Device;

use super::Settings;
use crate::error::BenchError;

/// Maximal number of training samples for the statistics of test-time normalisation.
const GATHERED: usize = 2000;
/// Samples evaluated at once.
const PART: usize = 500;

/// The images of a run, with equally many of each class in training and validation.
pub struct Sets {
    /// What f sees.
    pub train: Arc<Images>,
    /// What F sees.
    pub validation: Arc<Images>,
    /// Both, for training the network of a chosen cell.
    pub all: Arc<Images>,
    /// The test set.
    pub test: Images,
    augmentation: Augmentation,
    normalisation: Normalisation,
}

impl Sets {
    /// Reads and splits the images.
    ///
    /// # Errors
    /// If they cannot be read, or there are too few.
    pub fn read(settings: &Settings) -> Result<Self, BenchError> {
        let rng = &mut stream(settings.common.seed, Purpose::Split);
        let (set, test, augmentation) = match &settings.common.data_dir {
            None => (digits::load()?.to_bytes(), None, Augmentation::NONE),
            Some(dir) => {
                let read = cifar::read_dir(dir)?;
                (read.train, Some(read.test), Augmentation::CIFAR)
            }
        };
        let of_class = |samples: usize| samples.div_ceil(set.classes());
        let (train, rest) = hold_out(&set, of_class(settings.split.train.get()), rng)?;
        let (train, set_of_rest) = (set.select(&train)?, set.select(&rest)?);
        let validation = of_class(settings.split.validation.get());
        let (validation, rest) = hold_out(&set_of_rest, validation, rng)?;
        let test = match test {
            Some(test) => test,
            None => set_of_rest.select(&rest)?,
        };
        let test = match settings.test {
            Some(most) => at_most(test, most.get(), rng)?,
            None => test,
        };
        let validation = set_of_rest.select(&validation)?;
        let all = train.clone().join(validation.clone())?;
        let normalisation = Normalisation::of(&all);
        Ok(Self {
            train: train.into(),
            validation: validation.into(),
            all: all.into(),
            test,
            augmentation,
            normalisation,
        })
    }

    /// Feeds all images and labels to a hash.
    pub fn feed(&self, to: &mut blake3::Hasher) {
        [&*self.train, &*self.validation, &self.test].into_iter().for_each(|set| set.feed(to));
    }

    fn of(
        &self,
        [upper, lower]: [&Arc<Images>; 2],
        settings: &Settings,
        device: &Device,
    ) -> Result<ImageBatches, DataError> {
        let settings = loader::Settings {
            size: settings.batch.get(),
            augmentation: self.augmentation,
            normalisation: self.normalisation.clone(),
            seed: settings.common.seed,
        };
        ImageBatches::new(upper.clone(), lower.clone(), settings, device.clone())
    }

    /// Batches of a search.
    ///
    /// # Errors
    /// None for sets that were read.
    pub fn searched(
        &self,
        settings: &Settings,
        device: &Device,
    ) -> Result<ImageBatches, DataError> {
        self.of([&self.validation, &self.train], settings, device)
    }

    /// Endless batches for a training.
    ///
    /// # Errors
    /// None for sets that were read.
    pub fn trained(
        &self,
        settings: &Settings,
        device: &Device,
    ) -> Result<impl Iterator<Item = ImageBatch>, DataError> {
        let batches = self.of([&self.all; 2], settings, device)?;
        Ok((0..).map(move |at| batches.batch(Objective::Lower, Sample(at))))
    }

    /// The fraction of the test set that a network classifies correctly, normalised with statistics of its training
    /// set.
    pub fn test_accuracy(&self, network: &ImageClassifier, device: &Device) -> f64 {
        let mut statistics = Statistics::default();
        for batch in self.parts(&self.all, GATHERED, device) {
            network.forward_with(batch.images, Mode::Gather(&mut statistics));
        }
        let right = self.parts(&self.test, self.test.len(), device).map(|batch| {
            let n = batch.labels.dims()[0] as f64;
            let logits = network.forward_with(batch.images, Mode::Evaluate(&statistics));
            n * accuracy(logits, batch.labels)
        });
        right.sum::<f64>() / self.test.len() as f64
    }

    /// The first images of a set, unchanged, as one batch.
    pub fn batch(&self, set: &Images, samples: usize, device: &Device) -> ImageBatch {
        let first: Vec<usize> = (0..samples.min(set.len())).collect();
        ImageBatch::new(set, &first, &self.normalisation, device)
    }

    /// The first images of a set, unchanged.
    fn parts<'a>(
        &'a self,
        set: &'a Images,
        most: usize,
        device: &'a Device,
    ) -> impl Iterator<Item = ImageBatch> + 'a {
        let most = set.len().min(most);
        (0..most).step_by(PART).map(move |from| {
            let part: Vec<usize> = (from..most.min(from + PART)).collect();
            ImageBatch::new(set, &part, &self.normalisation, device)
        })
    }
}
