//! Images that are selected instead of learned.

use bilevel_data::Dataset;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

/// Maximal number of rounds of k-means.
const ROUNDS: usize = 50;

/// Pixels of images as rows, and the label of each.
pub type Chosen = (Vec<f32>, Vec<u32>);

/// The samples of a class.
fn of_class(set: &Dataset, class: u32) -> Vec<usize> {
    (0..set.len()).filter(|&at| set.labels()[at] == class).collect()
}

/// `count` random samples of each class; fewer if a class has fewer.
pub fn samples(set: &Dataset, count: usize, rng: &mut ChaCha8Rng) -> Chosen {
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for class in 0..set.classes() as u32 {
        for &at in of_class(set, class).choose_multiple(rng, count) {
            images.extend_from_slice(set.image(at));
            labels.push(class);
        }
    }
    (images, labels)
}

/// The `count` centres of k-means in each class, from random samples, by Lloyd's rounds.
pub fn centres(set: &Dataset, count: usize, rng: &mut ChaCha8Rng) -> Chosen {
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for class in 0..set.classes() as u32 {
        let of_it = of_class(set, class);
        let chosen = of_it.choose_multiple(rng, count);
        let start: Vec<Vec<f32>> = chosen.map(|&at| set.image(at).to_vec()).collect();
        for centre in lloyd(set, &of_it, start) {
            images.extend(centre);
            labels.push(class);
        }
    }
    (images, labels)
}

fn lloyd(set: &Dataset, samples: &[usize], mut centres: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    let distance = |centre: &[f32], image: &[f32]| -> f32 {
        centre.iter().zip(image).map(|(a, b)| (a - b).powi(2)).sum()
    };
    let mut nearest = vec![usize::MAX; samples.len()];
    for _ in 0..ROUNDS {
        let before = nearest.clone();
        for (near, &at) in nearest.iter_mut().zip(samples) {
            let of = |centre: &usize| distance(&centres[*centre], set.image(at));
            *near = (0..centres.len()).min_by(|a, b| of(a).total_cmp(&of(b))).unwrap_or(0);
        }
        if nearest == before {
            break;
        }
        for (centre, mean) in centres.iter_mut().enumerate() {
            let own = || samples.iter().zip(&nearest).filter(|(_, near)| **near == centre);
            let count = own().count();
            // A centre without samples does not move.
            if count > 0 {
                mean.fill(0.0);
                for (&at, _) in own() {
                    mean.iter_mut().zip(set.image(at)).for_each(|(m, p)| *m += p / count as f32);
                }
            }
        }
    }
    centres
}

#[cfg(test)]
mod tests {
    use super::*;
    use bilevel_data::{Purpose, stream};

    #[test]
    fn centres_are_the_means_of_their_groups() {
        // Two groups in class 0, one sample twice in class 1.
        let images = vec![0.0, 0.1, 0.9, 1.0, 0.5, 0.5];
        let set = Dataset::new("set", images, vec![0, 0, 0, 0, 1, 1], [1, 1, 1], 2).unwrap();
        let (mut centres, labels) = centres(&set, 2, &mut stream(3, Purpose::Generated));
        assert_eq!(labels, [0, 0, 1, 1]);
        centres[..2].sort_by(f32::total_cmp);
        for (found, expected) in centres.iter().zip([0.05, 0.95, 0.5, 0.5]) {
            assert!((found - expected).abs() < 1e-6, "{centres:?}");
        }
        let (images, labels) = samples(&set, 5, &mut stream(3, Purpose::Generated));
        assert_eq!((images.len(), labels.len()), (6, 6), "no more than there are");
    }
}
