//! Whether Burn's gradient is that of the recording.

use burn::backend::DispatchTensor;
use burn::tensor::DType;

use crate::norm::norm;
use crate::program::Program;
use crate::{Leaf, TraceError, float};

/// Whether the gradient of the recording is the one that Burn computes: the same operations, or else the same numbers
/// at the current point.
///
/// # Errors
/// If it is not, with the first variable in which it differs.
pub(crate) fn agrees<'a>(
    gradient: &Program,
    by_burn: &Program,
    inputs: &[&DispatchTensor],
    leaves: impl Iterator<Item = &'a Leaf>,
) -> Result<(), TraceError> {
    if gradient.differs(by_burn).is_none() {
        return Ok(());
    }
    let ours = gradient.run(inputs)?;
    let burns = by_burn.run(inputs)?;
    // Cancellation in one variable is of the size of the rounding errors of all.
    let scale = norm(&burns);
    for ((ours, burns), leaf) in ours.into_iter().zip(burns).zip(leaves) {
        let (tolerance, rounding) = match leaf.dtype {
            DType::F64 => (1e-6, 1e-12),
            DType::F32 => (1e-2, 1e-6),
            _ => (0.2, 1e-2),
        };
        let apart = norm(&[float::sub(ours.clone(), burns.clone())]);
        let (found, expected) = (norm(&[ours]), norm(&[burns]));
        // Values that are not finite are reported elsewhere.
        if apart > tolerance * found.max(expected) && apart > rounding * scale {
            return Err(TraceError::Detached { path: leaf.path.clone(), found, expected });
        }
    }
    Ok(())
}
