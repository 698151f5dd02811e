//! Where batches come from.

use crate::Level;

/// A handle to one draw of data: the same handle gives the same batch, whenever it is asked for.
///
/// Methods that reduce variance evaluate one sample at two points; resumed runs draw what the
/// interrupted one would have drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sample(pub u64);

/// A source of batches for both levels.
pub trait Data<T> {
    /// The batch of `sample` for the loss of `level`. Must depend on the arguments alone.
    fn batch(&self, level: Level, sample: Sample) -> T;
}

/// The whole data at every evaluation.
#[derive(Clone, Debug)]
pub struct FullBatch<T> {
    /// What F sees: validation data.
    pub upper: T,
    /// What f sees: training data.
    pub lower: T,
}

impl<T: Clone> Data<T> for FullBatch<T> {
    fn batch(&self, level: Level, _: Sample) -> T {
        match level {
            Level::Upper => self.upper.clone(),
            Level::Lower => self.lower.clone(),
        }
    }
}
