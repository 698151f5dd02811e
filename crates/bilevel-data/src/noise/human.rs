use super::{Corrupted, NoiseError, check};

/// Human labels: `said` has one for each image of a whole training set, and image i of this set, whose correct label is
/// `right[i]`, is image `origin[i]` of it.
///
/// Source: J. Wei et al., "Learning with noisy labels revisited: a study using real-world human annotations",
/// 2022, whose CIFAR-10N can be read as IDX by [`idx`](crate::idx).
///
/// # Errors
/// If an image has no label, or a label is not less than `classes`.
///
/// # Panics
/// If `right` and `origin` differ in length.
pub fn human(
    said: &[u32],
    origin: &[usize],
    right: &[u32],
    classes: usize,
) -> Result<Corrupted, NoiseError> {
    assert_eq!(right.len(), origin.len(), "one origin an image");
    check(said, classes, 0.0)?;
    let of = |&image: &usize| {
        said.get(image).copied().ok_or(NoiseError::Human { labels: said.len(), image })
    };
    Ok(Corrupted::of(origin.iter().map(of).collect::<Result<_, _>>()?, right))
}
