//! Classes of unequal size.

use rand::Rng;
use rand::seq::index;

use super::Dataset;
use super::split::SplitError;

/// The samples that a long tail keeps, ascending: of class `i` with `n_i` samples
///
/// ```text
/// round(n_i mu^i),   mu = factor^(-1 / (classes - 1))
/// ```
///
/// drawn uniformly without replacement, and at least one from each nonempty class. In a balanced set the first class is
/// `factor` times as large as the last.
///
/// Source: NSGame, Appendix B.1; Y. Cui et al., "Class-balanced loss based on effective number of samples",
/// 2019, where all `n_i` are the same.
///
/// # Errors
/// [`SplitError::Factor`] if `factor` is below 1 or not finite.
pub fn long_tail<P: Copy>(
    set: &Dataset<P>,
    factor: f64,
    rng: &mut impl Rng,
) -> Result<Vec<usize>, SplitError> {
    if !(factor.is_finite() && factor >= 1.0) {
        return Err(SplitError::Factor(factor.to_string()));
    }
    let classes = set.classes();
    let mut kept = Vec::new();
    for (class, members) in set.members().iter().enumerate() {
        // A single class is the first and the last: nothing decreases.
        let share = factor.powf(-(class as f64) / classes.saturating_sub(1).max(1) as f64);
        let n = members.len();
        let amount = ((n as f64 * share).round() as usize).max(1).min(n);
        kept.extend(index::sample(rng, n, amount).into_iter().map(|i| members[i]));
    }
    kept.sort_unstable();
    Ok(kept)
}
