//! Separate data for each step.

use std::sync::Arc;

use bilevel_program::Vector;
use burn::tensor::Tensor;

use super::{Adjoint, Dynamics, State, Tangent, Update, inherit};
use crate::{Error, Objective, Sampler, Samples, WeightedSum};

/// A dynamics whose steps draw their data: step t of T of hypergradient k uses draw `k T + t` of each level.
#[derive(Clone, Debug)]
pub(super) struct Sampled {
    pub inner: Arc<dyn Dynamics>,
    pub sampler: Arc<Sampler>,
    /// T
    pub steps: usize,
}

impl Dynamics for Sampled {
    fn describe(&self) -> String {
        let [upper, lower] =
            [Objective::Upper, Objective::Lower].map(|objective| self.sampler.batches(objective));
        let of = match self.objective(0).upper {
            0.0 => format!("{lower}"),
            _ => format!("{upper} and {lower}"),
        };
        format!("{} with one of {of} batches per step", self.inner.describe())
    }

    inherit!(check objective start query at_rest steady optimality update);

    // Each step has a different function, and the one at both ends need not decrease.
    fn lowers_f(&self) -> bool {
        false
    }

    fn samples(&self, t: usize, given: Samples) -> Samples {
        let steps = self.steps as u64;
        // The number of a step that was restored may be any.
        let draw = given.index.wrapping_mul(steps).wrapping_add(t as u64 % steps);
        let of = |objective| self.sampler.at(objective, draw);
        Samples { upper: of(Objective::Upper), lower: of(Objective::Lower), ..given }
    }
}
