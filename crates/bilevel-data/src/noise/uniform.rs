use rand::Rng;

use super::{Corrupted, NoiseError, check};

/// Replaces each label, with `probability` and independently, by a class drawn uniformly from all, including its own: a
/// fraction `probability (1 - 1 / classes)` is wrong on average.
///
/// The "uniform noise" of the literature on noisy labels. Source: NSGame, Appendix C.1; J. Shu et al.,
/// "Meta-Weight-Net", 2019, Section 4.2.
///
/// # Errors
/// If `probability` is not in `[0, 1]`, a label is not less than `classes`, or there are fewer than two
/// classes and `probability` is not 0.
pub fn uniform(
    labels: &[u32],
    classes: usize,
    probability: f64,
    rng: &mut impl Rng,
) -> Result<Corrupted, NoiseError> {
    check(labels, classes, probability)?;
    let draw = |&label: &u32| match rng.random_bool(probability) {
        true => rng.random_range(0..classes) as u32,
        false => label,
    };
    Ok(Corrupted::of(labels.iter().map(draw).collect(), labels))
}
