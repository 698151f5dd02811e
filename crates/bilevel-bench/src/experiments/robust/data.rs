//! The given training set, the clean set, and the test set.

use std::path::Path;

use super::settings::{NoiseKind, Settings};
use crate::error::BenchError;
use crate::settings::Offered;
use bilevel_data::Digest;
use bilevel_data::augment::Augmentation;
use bilevel_data::noise::{Corrupted, Flips, flip, human, uniform};
use bilevel_data::split::{at_most, hold_out};
use bilevel_data::{Images, Purpose, cifar, digits, idx, long_tail, stream};

/// Digits of each class that are kept for the test set.
const DIGITS_TEST: usize = 50;

/// The sets of a run.
pub(super) struct Sets {
    /// The data of f: corrupted as the settings say.
    pub train: Images,
    /// Which of its labels are wrong: for the report only.
    pub wrong: Vec<bool>,
    /// `[i][j]`, row-major: the fraction of label i among training samples of class j.
    pub transition: Vec<f64>,
    /// The data of F.
    pub clean: Images,
    /// The test set of the report.
    pub test: Images,
    /// The augmentation of the training set.
    pub augmentation: Augmentation,
}

impl Sets {
    /// Feeds all images and labels to a hash.
    pub fn feed(&self, to: &mut blake3::Hasher) {
        [&self.train, &self.clean, &self.test].into_iter().for_each(|set| set.feed(to));
    }
}

/// Reads the images, holds out the clean ones, thins the classes and corrupts the labels, in this order.
///
/// # Errors
/// If the data or a setting cannot be used.
pub(super) fn read<M: Offered>(settings: &Settings<M>) -> Result<Sets, BenchError> {
    let seed = settings.common.seed;
    let rng = &mut stream(seed, Purpose::Split);
    let (all, test, origin, augmentation) = match &settings.common.data_dir {
        None => {
            let set = digits::load()?.to_bytes();
            let (test, train) = hold_out(&set, DIGITS_TEST, rng)?;
            let (all, test) = (set.select(&train)?, set.select(&test)?);
            let origin = (0..all.len()).collect();
            (all, test, origin, Augmentation::NONE)
        }
        Some(dir) => {
            let cifar::Cifar { train, test, origin } = cifar::read_dir(dir)?;
            (train, test, origin, Augmentation::CIFAR)
        }
    };
    let test = match settings.test {
        Some(most) => at_most(test, most.get(), rng)?,
        None => test,
    };
    let (clean, rest) = hold_out(&all, settings.clean.get(), rng)?;
    let clean = all.select(&clean)?;
    let kept = {
        let rest_set = all.select(&rest)?;
        let rng = &mut stream(seed, Purpose::LongTail);
        let kept = long_tail::long_tail(&rest_set, settings.imbalance.get(), rng)?;
        kept.into_iter().map(|i| rest[i]).collect::<Vec<_>>()
    };
    let train = all.select(&kept)?;
    let origin: Vec<usize> = kept.iter().map(|&i| origin[i]).collect();
    let right = train.labels().to_vec();
    let Corrupted { labels, wrong } = spoil(settings, &right, &origin, train.classes())?;
    let transition = shares(&labels, &right, train.classes());
    let train = train.with_labels(labels)?;
    Ok(Sets { train, wrong, transition, clean, test, augmentation })
}

fn spoil<M: Offered>(
    settings: &Settings<M>,
    right: &[u32],
    origin: &[usize],
    classes: usize,
) -> Result<Corrupted, BenchError> {
    let rng = &mut stream(settings.common.seed, Purpose::Noise);
    let rate = settings.noise.get();
    Ok(match settings.noise_kind {
        NoiseKind::None => uniform(right, classes, 0.0, rng)?,
        NoiseKind::Uniform => uniform(right, classes, rate, rng)?,
        NoiseKind::Flip => flip(right, &Flips::new(classes, 2, rng)?, rate, rng)?,
        NoiseKind::FlipToOne => flip(right, &Flips::new(classes, 1, rng)?, rate, rng)?,
        NoiseKind::Human => {
            let path = settings.human_labels.as_deref().unwrap_or(Path::new(""));
            let said = idx::read(path)?.into_labels();
            let said =
                said.map_err(|fault| bilevel_data::DataError::Idx { path: path.into(), fault })?;
            human(&said, origin, right, classes)?
        }
    })
}

/// How often each label is given to each class.
fn shares(given: &[u32], right: &[u32], classes: usize) -> Vec<f64> {
    let mut counts = vec![0.0; classes * classes];
    let mut totals = vec![0.0; classes];
    for (&given, &right) in given.iter().zip(right) {
        counts[given as usize * classes + right as usize] += 1.0;
        totals[right as usize] += 1.0;
    }
    for (at, count) in counts.iter_mut().enumerate() {
        let total: f64 = totals[at % classes];
        *count /= total.max(1.0);
    }
    counts
}
