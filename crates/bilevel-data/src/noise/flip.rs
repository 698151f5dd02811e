use rand::Rng;
use rand::seq::{IndexedRandom, index};

use super::{Corrupted, NoiseError, check};

/// The classes with which each class is confused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flips {
    targets: Vec<Vec<u32>>,
}

impl Flips {
    /// `targets` other classes for each of `classes`, drawn uniformly. Two is the noise of Meta-Weight-Net
    /// (J. Shu et al., 2019, Section 4.2) and NSGame (Appendix C.1), one that of D. Hendrycks et al., "Using
    /// trusted data to train deep networks on labels corrupted by severe noise", 2018.
    ///
    /// # Errors
    /// If there are not that many other classes, or none is asked for.
    pub fn new(classes: usize, targets: usize, rng: &mut impl Rng) -> Result<Self, NoiseError> {
        if classes < 2 {
            return Err(NoiseError::Classes(classes));
        }
        if targets == 0 || targets >= classes {
            return Err(NoiseError::Targets { found: targets, classes });
        }
        let of = |class: usize| {
            let others = index::sample(rng, classes - 1, targets).into_iter();
            others.map(|turn| ((class + 1 + turn) % classes) as u32).collect()
        };
        Ok(Self { targets: (0..classes).map(of).collect() })
    }

    /// The classes with which `class` is confused.
    ///
    /// # Panics
    /// If there is no such class, as a slice does.
    pub fn of(&self, class: usize) -> &[u32] {
        &self.targets[class]
    }

    /// `T[i][j]`, the probability of label i if j is correct: the reference for a learned transition matrix. Row-major,
    /// its columns sum to 1.
    pub fn transition(&self, probability: f64) -> Vec<f64> {
        let classes = self.targets.len();
        let mut matrix = vec![0.0; classes * classes];
        for (right, targets) in self.targets.iter().enumerate() {
            matrix[right * classes + right] = 1.0 - probability;
            for &target in targets {
                matrix[target as usize * classes + right] = probability / targets.len() as f64;
            }
        }
        matrix
    }
}

/// Replaces each label, with `probability` and independently, by one of the classes with which its class is confused,
/// with equal probability: always a wrong one.
///
/// # Errors
/// If `probability` is not in `[0, 1]`, or a label is of no class of `flips`.
pub fn flip(
    labels: &[u32],
    flips: &Flips,
    probability: f64,
    rng: &mut impl Rng,
) -> Result<Corrupted, NoiseError> {
    check(labels, flips.targets.len(), probability)?;
    let draw = |&label: &u32| match rng.random_bool(probability) {
        true => flips.of(label as usize).choose(rng).copied().unwrap_or(label),
        false => label,
    };
    Ok(Corrupted::of(labels.iter().map(draw).collect(), labels))
}
