//! The methods of this experiment.

use bilevel_core::{
    Descent, Error, FirstOrder, FixedPoint, Gd, HypergradientMethod, Projected, SoftThreshold,
    Unrolled,
};
use clap::ValueEnum;

use super::Settings;
use crate::settings::offered;

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// baseline: softmax regression on pixels
    Softmax,
    /// baseline: atoms that reconstruct, and softmax regression on their codes
    Unsupervised,
    /// back through the last proximal step, repeatedly
    FixedPoint,
    /// back through all proximal steps
    Rad,
}

offered!(Method, { Self::FixedPoint => &["solver-iterations", "tolerance"] });

/// Proximal gradient descent: soft thresholding after each step.
///
/// # Errors
/// None for valid settings.
pub fn proximal(settings: &Settings) -> Result<Descent, Error> {
    let step_size = settings.lower.step_size.get();
    let threshold = SoftThreshold::new(settings.sparsity.get())?.times(step_size)?;
    Descent::new(Projected::new(Gd::new(step_size)?, threshold), settings.lower.lower_steps.get())
}

/// The hypergradient of a method; for a baseline only the direct part.
///
/// # Errors
/// None for valid settings.
pub fn hypergradient(
    method: Method,
    settings: &Settings,
) -> Result<Box<dyn HypergradientMethod>, Error> {
    let descent = proximal(settings)?;
    Ok(match method {
        Method::Softmax | Method::Unsupervised => Box::new(FirstOrder::new(descent)),
        Method::Rad => Box::new(Unrolled::rad(descent)),
        Method::FixedPoint => {
            let (iterations, tolerance) = (settings.solver_iterations, settings.tolerance);
            Box::new(FixedPoint::new(descent, iterations.get(), tolerance.get())?)
        }
    })
}
