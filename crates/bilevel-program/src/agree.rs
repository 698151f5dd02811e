//! Whether what was recorded is what Burn differentiates.

use burn::backend::DispatchTensor;
use burn::tensor::DType;

use crate::norm::norm;
use crate::program::Program;
use crate::{Leaf, TraceError, float};

/// Whether the gradient of what was recorded is the one that Burn computes, operation by operation or else in numbers
/// at the point at hand.
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
    // What cancels in one variable is of the size of the rounding in all.
    let scale = norm(&burns);
    for ((ours, burns), leaf) in ours.into_iter().zip(burns).zip(leaves) {
        let (tolerance, rounding) = match leaf.dtype {
            DType::F64 => (1e-6, 1e-12),
            DType::F32 => (1e-2, 1e-6),
            _ => (0.2, 1e-2),
        };
        let apart = norm(&[float::sub(ours.clone(), burns.clone())]);
        let (found, expected) = (norm(&[ours]), norm(&[burns]));
        // What is not finite is told by others.
        if apart > tolerance * found.max(expected) && apart > rounding * scale {
            return Err(TraceError::Detached { path: leaf.path.clone(), found, expected });
        }
    }
    Ok(())
}
