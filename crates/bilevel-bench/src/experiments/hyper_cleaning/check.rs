//! The gradient check of this experiment's losses.

use bilevel_core::Objective;
use bilevel_program::Tolerances;

use super::{HyperCleaning, Labelled, NetworkName, Prepared, SampleWeights};
use crate::backend::flex_in_f64;
use crate::error::BenchError;
use crate::experiments::Checked;
use crate::experiments::derivatives::{BETWEEN_KINKS, derivatives};

impl Prepared {
    /// Checks the derivatives of both losses in x and y together, at a random point, in f64 on flex.
    ///
    /// # Errors
    /// If this process has already computed in f32 on flex: Burn fixes the precision once per process. If a loss cannot
    /// be recorded.
    pub(super) fn derivatives(&self) -> Result<Checked, BenchError> {
        let device = flex_in_f64()?;
        let (parts, settings) = (&self.parts, &self.settings);
        let x = SampleWeights::new(vec![0.0; parts.train.len()], &device);
        let y = settings.network.config(&parts.train).init(&device);
        let tolerances = match settings.network {
            NetworkName::Softmax | NetworkName::Linear => Tolerances::F64,
            NetworkName::Mlp => BETWEEN_KINKS,
        };
        let batch = |level, device: &_| match level {
            Objective::Upper => Labelled::new(&parts.validation, device),
            Objective::Lower => Labelled::new(&parts.train, device),
        };
        let problem = HyperCleaning { decay: settings.decay.get() };
        derivatives(&problem, (x, y), batch, settings.common.seed, &tolerances)
    }
}
