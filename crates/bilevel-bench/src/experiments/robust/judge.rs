//! Evaluations of a network for the report only.

use bilevel_models::{ImageClassifier, cross_entropy};
use burn::tensor::Device;

use super::data::Sets;
use crate::experiments::images::{share_right_with, statistics};
use bilevel_data::Images;
use bilevel_data::augment::Normalisation;
use bilevel_data::loader::ImageBatch;

/// Evaluates networks on the sets of a run.
pub(super) struct Judge<'a> {
    pub sets: &'a Sets,
    pub normalisation: &'a Normalisation,
    /// Images at once.
    pub batch: usize,
    pub device: Device,
}

impl Judge<'_> {
    /// The fraction of the test set that is classified correctly, normalised with statistics of the training set.
    pub fn test_accuracy(&self, network: &ImageClassifier) -> f64 {
        let statistics = statistics(network, self.batches(&self.sets.train));
        share_right_with(network, &statistics, self.batches(&self.sets.test))
    }

    /// The loss of each training image, normalised as in training: the input of the weights.
    pub fn training_losses(&self, network: &ImageClassifier) -> Vec<f32> {
        let losses = self.batches(&self.sets.train).flat_map(|batch| {
            let losses = cross_entropy(network.forward(batch.images), batch.labels).into_data();
            losses.iter::<f32>().collect::<Vec<_>>()
        });
        losses.collect()
    }

    /// The images of `set`, unchanged.
    fn batches(&self, set: &Images) -> impl Iterator<Item = ImageBatch> {
        let indices: Vec<usize> = (0..set.len()).collect();
        let parts: Vec<Vec<usize>> = indices.chunks(self.batch).map(<[usize]>::to_vec).collect();
        parts
            .into_iter()
            .map(move |part| ImageBatch::new(set, &part, self.normalisation, &self.device))
    }
}

/// The probability that a correct label has a larger weight than a wrong one, a tie counting as one half; none if all
/// labels are of one kind.
pub(super) fn separation(weights: &[f32], wrong: &[bool]) -> Option<f64> {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&i, &j| weights[i].total_cmp(&weights[j]));
    let (mut below, mut won) = (0.0, 0.0);
    for same in order.chunk_by(|&i, &j| weights[i] == weights[j]) {
        let bad = same.iter().filter(|&&i| wrong[i]).count() as f64;
        won += (same.len() as f64 - bad) * (below + 0.5 * bad);
        below += bad;
    }
    let pairs = below * (weights.len() as f64 - below);
    (pairs > 0.0).then(|| won / pairs)
}

#[cfg(test)]
mod tests {
    use super::separation;

    #[test]
    fn separation_is_the_share_of_pairs() {
        let wrong = [true, false, true, false];
        assert_eq!(separation(&[0.1, 0.2, 0.3, 0.4], &wrong), Some(0.75));
        assert_eq!(separation(&[0.1, 0.3, 0.2, 0.4], &wrong), Some(1.0));
        assert_eq!(separation(&[0.5; 4], &wrong), Some(0.5));
        assert_eq!(separation(&[0.5; 4], &[false; 4]), None);
    }
}
