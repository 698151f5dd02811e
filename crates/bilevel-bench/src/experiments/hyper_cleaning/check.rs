//! The gradient check of this experiment's losses.

use bilevel_core::{BilevelProblem, Error, Objective};
use bilevel_models::Classifier;
use bilevel_program::{Layout, Tolerances, Vector, check_within};
use burn::module::Module;
use rand::Rng;

use super::{HyperCleaning, Labelled, NetworkName, Prepared, SampleWeights};
use crate::backend::flex_in_f64;
use crate::error::BenchError;
use crate::experiments::Checked;
use bilevel_data::{Purpose, stream};

/// x and y as one module, so that the Hessian of a loss holds its mixed derivatives too.
#[derive(Module, Debug)]
struct Both {
    x: SampleWeights,
    y: Classifier,
}

/// Steps so short that hardly ever a kink of ReLU lies within one: there a loss has no derivative.
const BETWEEN_KINKS: Tolerances = Tolerances { step: 1e-6, reach: 2e-5, ..Tolerances::F64 };

impl Prepared {
    /// Checks the derivatives of both losses in x and y together, at a random point, in f64 on flex.
    ///
    /// # Errors
    /// If this process has already computed in f32 on flex: Burn fixes the precision once a process. If a
    /// loss cannot be recorded.
    pub(super) fn derivatives(&self) -> Result<Checked, BenchError> {
        let device = flex_in_f64()?;
        let both = Both {
            x: SampleWeights::new(vec![0.0; self.parts.train.len()], &device),
            y: self.settings.network.config(&self.parts.train).init(&device),
        };
        // Zeros, where softmax regression starts, would hide much: a gradient that is zero there.
        let layout = Layout::of(&both);
        let mut rng = stream(self.settings.common.seed, Purpose::Point);
        let values: Vec<f64> = (0..layout.size()).map(|_| rng.random_range(-0.5..0.5)).collect();
        let point = Vector::from_slice(&layout, &values, &device);
        let both = point.write_into(both);

        let tolerances = match self.settings.network {
            NetworkName::Softmax | NetworkName::Linear => Tolerances::F64,
            NetworkName::Mlp => BETWEEN_KINKS,
        };
        let losses =
            [(Objective::Upper, &self.parts.validation), (Objective::Lower, &self.parts.train)];
        let problem = HyperCleaning { decay: self.settings.decay.get() };
        let [upper, lower] = losses.map(|(objective, samples)| {
            let loss = |Both { x, y }: &Both| {
                let batch = Labelled::new(samples, &x.weights().device());
                match objective {
                    Objective::Upper => problem.upper_loss(x, y, &batch),
                    Objective::Lower => problem.lower_loss(x, y, &batch),
                }
            };
            let report = check_within(&both, loss, &tolerances);
            let what = format!("the {objective} loss");
            Ok::<_, BenchError>((objective, report.map_err(|error| Error::Trace { what, error })?))
        });
        Ok(vec![upper?, lower?])
    }
}
