//! Training, validation and test parts of a pooled set, balanced by class.
//!
//! BDA's protocol for hyper-cleaning of MNIST takes training and validation sets of 7000 each from the pooled 70000,
//! and the remaining 56000 for testing: [`SplitSizes::BDA_MNIST`].
//! Source: R. Liu, P. Mu, X. Yuan, S. Zeng, J. Zhang, "A generic first-order algorithmic framework for
//! bi-level programming beyond lower-level singleton", ICML 2020.

use rand::Rng;
use rand::seq::SliceRandom;
use rand::seq::index;

use super::{DataError, Dataset, Purpose, stream};

/// The sizes of the chosen parts; the test part is the rest.
///
/// Of `m` samples over `C` classes, class `c` gives `m / C` rounded down, and one more where
/// `c < m mod C`: no two classes differ by more than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitSizes {
    /// Training samples.
    pub train: usize,
    /// Validation samples.
    pub validation: usize,
}

impl SplitSizes {
    /// BDA's protocol for MNIST, which leaves 56000 for testing.
    pub const BDA_MNIST: Self = Self { train: 7000, validation: 7000 };
    /// For the embedded digits; leaves 797 for testing.
    pub const DIGITS: Self = Self { train: 500, validation: 500 };

    /// Samples of class `class` (of `classes`) in training and validation.
    fn of_class(self, class: usize, classes: usize) -> (usize, usize) {
        let share = |size: usize| size / classes + usize::from(class < size % classes);
        (share(self.train), share(self.validation))
    }
}

/// Indices into the pooled set, which they partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Training samples, in random order.
    pub train: Vec<usize>,
    /// Validation samples, in random order.
    pub validation: Vec<usize>,
    /// All others, ascending.
    pub test: Vec<usize>,
}

/// The three parts as separate sets.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    /// Training part.
    pub train: Dataset,
    /// Validation part.
    pub validation: Dataset,
    /// Test part.
    pub test: Dataset,
}

/// Why a split is impossible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// A class has too few samples.
    #[error(
        "class {class} has {found} samples, a split of {train} training and {validation} validation samples \
         over {classes} classes needs {needed} of it; ask for smaller parts"
    )]
    Class {
        /// The class.
        class: usize,
        /// Its samples.
        found: usize,
        /// The samples required of it.
        needed: usize,
        /// Number of classes.
        classes: usize,
        /// Training samples requested.
        train: usize,
        /// Validation samples requested.
        validation: usize,
    },
    /// A long tail that does not decrease.
    #[error("an imbalance factor of {0}, expected a finite number of at least 1; 100 is common")]
    Factor(String),
    /// A part would be empty.
    #[error(
        "{train} training, {validation} validation and {test} test samples, expected at least 1 each; \
         ask for other sizes"
    )]
    Empty {
        /// Training samples.
        train: usize,
        /// Validation samples.
        validation: usize,
        /// What is left for testing.
        test: usize,
    },
}

/// Draws a class-balanced split of `set` by `seed`.
///
/// # Errors
/// If a class has too few samples for its share, or a part would be empty.
pub fn split(set: &Dataset, sizes: SplitSizes, seed: u64) -> Result<Split, SplitError> {
    let SplitSizes { train, validation } = sizes;
    let test = set.len().saturating_sub(train.saturating_add(validation));
    if train == 0 || validation == 0 {
        return Err(SplitError::Empty { train, validation, test });
    }
    let classes = set.classes();
    let mut rng = stream(seed, Purpose::Split);
    let mut split = Split { train: Vec::new(), validation: Vec::new(), test: Vec::new() };
    for (class, mut indices) in set.members().into_iter().enumerate() {
        let (to_train, to_validation) = sizes.of_class(class, classes);
        let needed = to_train.saturating_add(to_validation);
        let found = indices.len();
        if found < needed {
            return Err(SplitError::Class { class, found, needed, classes, train, validation });
        }
        indices.shuffle(&mut rng);
        split.test.extend(indices.drain(needed..));
        split.validation.extend(indices.drain(to_train..));
        split.train.append(&mut indices);
    }
    if split.test.is_empty() {
        return Err(SplitError::Empty { train, validation, test: 0 });
    }
    // A mini-batch from the front must contain all classes.
    split.train.shuffle(&mut rng);
    split.validation.shuffle(&mut rng);
    split.test.sort_unstable();
    Ok(split)
}

/// At most `most` samples of `set`, drawn uniformly, not by class, in random order; all of it, as it is, where `most` is
/// not smaller. For a large test set on which networks are judged many times.
///
/// # Errors
/// If `most` is 0: [`DataError::Empty`].
pub fn at_most<P: Copy>(
    set: Dataset<P>,
    most: usize,
    rng: &mut impl Rng,
) -> Result<Dataset<P>, DataError> {
    if most >= set.len() {
        return Ok(set);
    }
    set.select(&index::sample(rng, set.len(), most).into_vec())
}

/// Takes `per_class` samples of each class out of `set`, drawn uniformly: these, in random order, and all others,
/// ascending. For a small clean set beside a large one.
///
/// # Errors
/// If a class has fewer, or a part would be empty.
pub fn hold_out<P: Copy>(
    set: &Dataset<P>,
    per_class: usize,
    rng: &mut impl Rng,
) -> Result<(Vec<usize>, Vec<usize>), SplitError> {
    let classes = set.classes();
    let train = set.len().saturating_sub(classes * per_class);
    let (mut chosen, mut others) = (Vec::new(), Vec::new());
    for (class, mut indices) in set.members().into_iter().enumerate() {
        let found = indices.len();
        if found < per_class {
            let validation = classes * per_class;
            return Err(SplitError::Class {
                class,
                found,
                needed: per_class,
                classes,
                train,
                validation,
            });
        }
        indices.shuffle(rng);
        others.extend(indices.drain(per_class..));
        chosen.append(&mut indices);
    }
    if chosen.is_empty() || others.is_empty() {
        let (train, validation) = (others.len(), chosen.len());
        return Err(SplitError::Empty { train, validation, test: 0 });
    }
    chosen.shuffle(rng);
    others.sort_unstable();
    Ok((chosen, others))
}

impl Split {
    /// The three parts of `set`, which must be the set that was split.
    ///
    /// # Errors
    /// If an index is beyond the end of `set`.
    pub fn apply(&self, set: &Dataset) -> Result<Parts, DataError> {
        Ok(Parts {
            train: set.select(&self.train)?,
            validation: set.select(&self.validation)?,
            test: set.select(&self.test)?,
        })
    }
}
