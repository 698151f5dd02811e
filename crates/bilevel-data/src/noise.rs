//! Label noise, and how well a method detects wrong labels.
//!
//! | | corrupts | a wrong label is |
//! |---|---|---|
//! | [`corrupt_labels`] | a fraction, exactly | any other class |
//! | [`uniform`] | each with the same probability | drawn from all classes, so sometimes correct |
//! | [`flip`] | each with the same probability | one of the few classes with which its class is confused |
//! | [`human`] | the errors of annotators | the annotators' label |

mod flip;
mod human;
mod uniform;

pub use flip::{Flips, flip};
pub use human::human;
pub use uniform::uniform;

use rand::{Rng, seq::index};
use serde::{Deserialize, Serialize};

/// Labels with a known set of wrong ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corrupted {
    /// The labels to train on.
    pub labels: Vec<u32>,
    /// Which of them are wrong. For [`Detection`] only; never shown to a method.
    pub wrong: Vec<bool>,
}

/// Why labels cannot be corrupted, or a detection cannot be evaluated.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NoiseError {
    /// A number that is not a fraction.
    #[error("{0} of the labels to be made wrong, expected 0 to 1; give a fraction such as 0.5")]
    Fraction(f64),
    /// No other class for a wrong label.
    #[error("{0} classes, expected at least 2 to make labels wrong; take other data or no noise")]
    Classes(usize),
    /// A label that no class has.
    #[error("label {found} of sample {index}, expected 0 to {}; check the labels", classes.saturating_sub(1))]
    Label {
        /// Sample, from 0.
        index: usize,
        /// Its label.
        found: u32,
        /// Number of classes.
        classes: usize,
    },
    /// No classes to confuse with.
    #[error("flips to {found} other classes, expected 1 to {}; two are common", classes.saturating_sub(1))]
    Targets {
        /// Number of other classes.
        found: usize,
        /// Number of classes.
        classes: usize,
    },
    /// An image beyond the end of a file of labels.
    #[error(
        "{labels} human labels, none for image {image} (from 0); take those of the whole training set"
    )]
    Human {
        /// Number of labels.
        labels: usize,
        /// The image.
        image: usize,
    },
    /// Weights and labels differ in number.
    #[error(
        "{found} weights, expected {expected}, one per label; pass the weights of the same samples"
    )]
    Length {
        /// Number of weights.
        found: usize,
        /// Number of labels.
        expected: usize,
    },
    /// A weight that is not finite.
    #[error("weight {found} of sample {index}, expected a finite number; lower the step size")]
    Weight {
        /// Sample, from 0.
        index: usize,
        /// Its weight.
        found: f32,
    },
}

/// Corrupts exactly `fraction * n` labels (rounded to the nearest, half up).
///
/// The samples are drawn uniformly without replacement; each gets one of the `classes - 1` other labels,
/// uniformly.
///
/// # Errors
/// If `fraction` is not in `[0, 1]`, a label is not less than `classes`, or there are fewer than two
/// classes and a label is to be made wrong.
pub fn corrupt_labels(
    labels: &[u32],
    classes: usize,
    fraction: f64,
    rng: &mut impl Rng,
) -> Result<Corrupted, NoiseError> {
    check(labels, classes, fraction)?;
    let n = labels.len();
    let amount = ((fraction * n as f64).round() as usize).min(n);
    let mut corrupted = Corrupted { labels: labels.to_vec(), wrong: vec![false; n] };
    for index in index::sample(rng, n, amount) {
        // A rotation by 1 to classes - 1 reaches every other class once, and never the same one.
        let turn = rng.random_range(1..classes);
        corrupted.labels[index] = ((labels[index] as usize + turn) % classes) as u32;
        corrupted.wrong[index] = true;
    }
    Ok(corrupted)
}

fn check(labels: &[u32], classes: usize, fraction: f64) -> Result<(), NoiseError> {
    if !(0.0..=1.0).contains(&fraction) {
        return Err(NoiseError::Fraction(fraction));
    }
    if classes < 2 && fraction > 0.0 {
        return Err(NoiseError::Classes(classes));
    }
    match labels.iter().position(|&label| label as usize >= classes) {
        Some(index) => Err(NoiseError::Label { index, found: labels[index], classes }),
        None => Ok(()),
    }
}

impl Corrupted {
    /// `labels` beside the true ones.
    fn of(labels: Vec<u32>, right: &[u32]) -> Self {
        let wrong = labels.iter().zip(right).map(|(label, right)| label != right).collect();
        Self { labels, wrong }
    }
}

/// How well the wrong labels were detected; a positive is a rejected sample.
///
/// A ratio of 0 to 0 counts as 1 if no mistake was made and as 0 otherwise: to find nothing is perfect if nothing is
/// wrong, but not otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Fraction of the samples that are classified correctly.
    pub accuracy: f64,
    /// Fraction of wrong labels among the rejected samples.
    pub precision: f64,
    /// Fraction of the wrong labels that are rejected.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// The same with kept samples as the positives, and correct labels as the target.
    #[serde(default)]
    pub f1_clean: f64,
    /// Rejected samples.
    pub found: usize,
    /// Samples whose label is wrong.
    pub wrong: usize,
}

impl Detection {
    /// Evaluates weights, one per sample: a sample below `threshold` is rejected.
    ///
    /// # Errors
    /// If `weights` and `wrong` differ in length, or a weight is not finite.
    pub fn from_weights(
        weights: &[f32],
        wrong: &[bool],
        threshold: f32,
    ) -> Result<Self, NoiseError> {
        if weights.len() != wrong.len() {
            return Err(NoiseError::Length { found: weights.len(), expected: wrong.len() });
        }
        if let Some(index) = weights.iter().position(|weight| !weight.is_finite()) {
            return Err(NoiseError::Weight { index, found: weights[index] });
        }
        let thrown_out = weights.iter().map(|&weight| weight < threshold);
        let (mut hits, mut found, mut right) = (0, 0, 0);
        for (out, &wrong) in thrown_out.zip(wrong) {
            hits += usize::from(out && wrong);
            found += usize::from(out);
            right += usize::from(out == wrong);
        }
        let n = wrong.len();
        let wrong = wrong.iter().filter(|&&wrong| wrong).count();
        let ratio = |part: usize, whole: usize| match whole {
            0 => f64::from(u8::from(right == n)),
            whole => part as f64 / whole as f64,
        };
        Ok(Self {
            accuracy: ratio(right, n),
            precision: ratio(hits, found),
            recall: ratio(hits, wrong),
            f1: ratio(2 * hits, found + wrong),
            f1_clean: ratio(2 * (right - hits), 2 * n - found - wrong),
            found,
            wrong,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(weights: &[f32], wrong: &[bool]) -> [f64; 4] {
        let found = Detection::from_weights(weights, wrong, 0.5).unwrap();
        [found.accuracy, found.precision, found.recall, found.f1]
    }

    #[test]
    fn detection_counts_wrong_labels_as_positives() {
        let weights = [0.1, 0.2, 0.9, 0.8, 0.3, 0.5];
        let wrong = [true, true, true, false, false, false];
        assert_eq!(judge(&weights, &wrong), [4.0 / 6.0, 2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0]);
    }

    #[test]
    fn detection_is_defined_without_positives() {
        assert_eq!(judge(&[0.9, 0.9], &[false, false]), [1.0, 1.0, 1.0, 1.0]);
        assert_eq!(judge(&[0.9, 0.9], &[true, false]), [0.5, 0.0, 0.0, 0.0]);
        assert_eq!(judge(&[0.1, 0.9], &[false, false]), [0.5, 0.0, 0.0, 0.0]);
        assert_eq!(judge(&[], &[]), [1.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn refuses_with_cause_and_cure() {
        let rng = &mut crate::stream(0, crate::Purpose::Noise);
        let mut refusal = |labels: &[u32], classes, fraction| {
            corrupt_labels(labels, classes, fraction, rng).unwrap_err().to_string()
        };
        assert_eq!(
            refusal(&[0, 1], 2, 50.0),
            "50 of the labels to be made wrong, expected 0 to 1; give a fraction such as 0.5"
        );
        assert!(refusal(&[0, 1], 2, f64::NAN).starts_with("NaN of the labels"));
        assert_eq!(
            refusal(&[0], 1, 0.5),
            "1 classes, expected at least 2 to make labels wrong; take other data or no noise"
        );
        assert_eq!(
            refusal(&[0, 7], 2, 0.5),
            "label 7 of sample 1, expected 0 to 1; check the labels"
        );
        assert_eq!(
            Detection::from_weights(&[0.5], &[], 0.5).unwrap_err().to_string(),
            "1 weights, expected 0, one per label; pass the weights of the same samples"
        );
        assert_eq!(
            Detection::from_weights(&[f32::NAN], &[true], 0.5).unwrap_err().to_string(),
            "weight NaN of sample 0, expected a finite number; lower the step size"
        );
    }
}
