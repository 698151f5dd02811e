//! What counts as correct, up to rounding.

use burn::tensor::DType;

use crate::Layout;

/// How far derivatives may be off, and the steps with which they are measured.
///
/// Errors are relative, after subtracting what rounding explains. Directions have norm 1, so that a step is a distance
/// in the space of all variables: if a loss varies on a shorter scale, shorten the steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerances {
    /// The relative rounding error of a loss, several units in the last place.
    pub rounding: f64,
    /// The step of the five-point differences.
    pub step: f64,
    /// The longest step of the Taylor remainders, which is then halved four times.
    pub reach: f64,
    /// A gradient against differences of values.
    pub gradient: f64,
    /// A Hessian-vector product against differences of gradients.
    pub hessian: f64,
    /// `<grad, v>` against the derivative along `v` by forward mode.
    pub adjoint: f64,
    /// `<u, H v>` against `<v, H u>`.
    pub symmetry: f64,
    /// By how much the order of a Taylor remainder may fall short.
    pub slope: f64,
}

impl Tolerances {
    /// For losses computed in f64: these decide whether a derivative is correct.
    pub const F64: Self = Self {
        rounding: 16.0 * f64::EPSILON,
        step: 1e-3,
        reach: 2e-2,
        gradient: 1e-7,
        hessian: 1e-7,
        adjoint: 1e-11,
        symmetry: 1e-10,
        slope: 0.1,
    };

    /// For losses computed in f32: these find what is clearly wrong.
    pub const F32: Self = Self {
        rounding: 16.0 * f32::EPSILON as f64,
        step: 5e-2,
        reach: 0.25,
        gradient: 2e-2,
        hessian: 2e-2,
        adjoint: 1e-4,
        symmetry: 1e-3,
        slope: 0.3,
    };

    /// Those for the variables of `layout`: [`Self::F64`] if all of them are in f64.
    pub fn of(layout: &Layout) -> Self {
        let double = layout.leaves().iter().all(|leaf| leaf.dtype == DType::F64);
        if double { Self::F64 } else { Self::F32 }
    }
}
