//! Reading the data, and selecting the attack.

use bilevel_core::Error;
use bilevel_models::{
    ClassifierConfig, ImageClassifier, ImageClassifierConfig, SoftmaxRegressionConfig,
};
use burn::tensor::{Device, Int, Tensor};

use super::clean_label::CleanLabel;
use super::untargeted::Untargeted;
use super::{Attack, Settings};
use crate::backend::Array;
use crate::error::BenchError;
use crate::experiments::images::{Read, divide, read, train};
use crate::experiments::{Experiment, Run};
use crate::report::MethodReport;
use crate::settings::refuse;
use bilevel_data::Dataset;
use bilevel_data::Digest;
use bilevel_data::loader::ImageBatch;
use bilevel_data::mnist::listed;
use bilevel_data::split::Parts;

/// The maximal number of samples from which a representation is learned.
const OTHERS: usize = 5000;

/// The experiment and its data.
pub struct Prepared {
    pub(super) settings: Settings,
    pub(super) parts: Parts,
    /// The last of the training samples, from which untargeted poisons start.
    pub(super) bases: Option<Dataset>,
    /// Samples of the classes that clean-label does not attack, from which its representation is learned.
    pub(super) others: Option<Dataset>,
}

impl Experiment for Prepared {
    const NAME: &'static str = "poisoning";
    const ABOUT: &'static str =
        "Add samples to a training set so that a classifier trained on it errs";
    const DEFAULTS: &'static str = include_str!("../../../assets/presets/poisoning.toml");
    type Settings = Settings;

    fn read(settings: Settings) -> Result<Self, BenchError> {
        let Read { set, test, labels } = read(settings.common.data_dir.as_deref())?;
        if set.classes() < 2 {
            let found = "a folder of images of one class";
            return Err(refuse("--data-dir", found, "two classes at least", "take other data"));
        }
        let (train, validation) = (settings.split.train.get(), settings.split.validation.get());
        let (poisons, seed) = (settings.poisons(), settings.common.seed);
        let (parts, bases, others) = match settings.attack {
            Attack::Untargeted => {
                let beside = train.saturating_add(validation);
                let left = set.len() - usize::from(test.is_none());
                let most = left.saturating_sub(beside);
                if beside <= left && poisons > most {
                    let found = format!(
                        "{poisons}, beside {train} samples for training and {validation} for validation"
                    );
                    let expected = format!("{most} at most, of the samples that are left");
                    return Err(refuse("--poisons", found, &expected, "ask for fewer of these"));
                }
                let all = train.saturating_add(poisons);
                let mut parts = divide((set, test), all, validation, seed)?;
                let last: Vec<usize> = (train..all).collect();
                let bases = parts.train.select(&last)?;
                parts.train = parts.train.select(&(0..train).collect::<Vec<_>>())?;
                (parts, Some(bases), None)
            }
            Attack::CleanLabel => {
                let classes = named(&labels, settings.two_classes())?;
                settings.network.check(&set)?;
                let others = of_other_classes(&set, classes)?;
                let two = |set: Dataset| of_classes(&set, classes);
                let sets = (two(set)?, test.map(two).transpose()?);
                (divide(sets, train, validation, seed)?, None, Some(others))
            }
        };
        Ok(Self { settings, parts, bases, others })
    }

    fn feed(&self, to: &mut blake3::Hasher) {
        self.parts.feed(to);
        self.bases.feed(to);
        self.others.feed(to);
    }

    fn arrays(&self) -> Vec<Array> {
        let Parts { train, validation, .. } = &self.parts;
        let features = train.features();
        let poisons = self.bases.as_ref().map_or(1, Dataset::len);
        let mut arrays = vec![
            Array::new("the training samples and poisons", [train.len() + poisons, features]),
            Array::new("the validation samples", [validation.len(), features]),
        ];
        if self.settings.attack == Attack::CleanLabel {
            let hidden = self.settings.network.hidden(train);
            for (what, set) in [
                ("the hidden layers of the training samples", train),
                ("the hidden layers of the validation samples", validation),
            ] {
                arrays.push(Array::new(what, [set.len(), hidden]));
            }
        }
        arrays
    }

    fn run(&self, device: Device, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        match self.settings.attack {
            Attack::Untargeted => Untargeted::new(self, device)?.run(run),
            Attack::CleanLabel => CleanLabel::new(self, device)?.run(run),
        }
    }
}

/// The classes of these labels of the data.
fn named(labels: &[u32], two: [u32; 2]) -> Result<[u32; 2], BenchError> {
    let class = |label: u32| {
        labels.binary_search(&label).map(|class| class as u32).map_err(|_| {
            let expected = format!("labels of the data, {}", listed(labels));
            refuse("--classes", label, &expected, "choose two that have samples")
        })
    };
    Ok([class(two[0])?, class(two[1])?])
}

/// The samples of two classes, which become 0 and 1.
fn of_classes(set: &Dataset, classes: [u32; 2]) -> Result<Dataset, BenchError> {
    let counts = set.class_counts();
    if let Some(none) =
        classes.iter().find(|&&class| counts.get(class as usize).is_none_or(|&n| n == 0))
    {
        let expected = format!("classes of {}, 0 to {}", set.name(), counts.len() - 1);
        return Err(refuse("--classes", none, &expected, "choose two that have samples"));
    }
    let chosen = (0..set.len()).filter(|&at| classes.contains(&set.labels()[at]));
    let chosen = set.select(&chosen.collect::<Vec<_>>())?;
    let labels = chosen.labels().iter().map(|&label| u32::from(label == classes[1])).collect();
    Ok(Dataset::new(chosen.name(), chosen.images().to_vec(), labels, chosen.shape(), 2)?)
}

/// The samples of all classes but two.
fn of_other_classes(set: &Dataset, two: [u32; 2]) -> Result<Dataset, BenchError> {
    let others = (0..set.len()).filter(|&at| !two.contains(&set.labels()[at]));
    let others: Vec<usize> = others.take(OTHERS).collect();
    if others.is_empty() {
        let found = format!("{}, that has no others", set.name());
        return Err(refuse("--classes", found, "two of three or more", "take another --data-dir"));
    }
    Ok(set.select(&others)?)
}

/// Steps of Adam of a newly trained classifier, and their learning rate.
const RETRAINING: (usize, f64) = (500, 0.05);

/// Softmax regression of `classes`, trained from zeros on `features`, `[n, features]`.
///
/// # Errors
/// See [`train`].
pub(super) fn retrained(
    features: Tensor<2>,
    labels: Tensor<1, Int>,
    classes: usize,
    decay: f64,
) -> Result<ImageClassifier, Error> {
    let (n, width, device) = (features.dims()[0], features.dims()[1], features.device());
    let config = ClassifierConfig::Softmax(SoftmaxRegressionConfig::new(width, classes));
    let network = ImageClassifierConfig::Flat(config).init(&device);
    let all = ImageBatch { images: features.reshape([n, width, 1, 1]), labels };
    train(network, &[all], RETRAINING, decay)
}
