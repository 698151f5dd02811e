//! Hypergradients in the features that x computes from the data.

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod};
use crate::{Cost, Dynamics, Error, LowerProblem, Snapshot};

/// Any method on a head y that is trained on features, where x is their extractor: the features of both levels' data
/// are computed once, the method runs on them in place of x, and one backward pass takes its hypergradient to x.
///
/// ```text
/// u = features(x),  w = dF(u, y(u))/du by the method,  g = (du/dx)' w
/// ```
///
/// The same gradient as the method's own, at the cost of a lower level on the head alone: two passes forward and one
/// back through the extractor for the data of each level, where `rad` makes T of each. The oracle's calls are those of
/// the head.
///
/// Requires: a [`FeatureOracle`](crate::FeatureOracle). The lower steps do not depend on x: a learned rate is an error,
/// and so are [`Descent::with_sampler`](crate::Descent::with_sampler), whose samples have other features, a start in x,
/// and `rtho`.
#[derive(Clone, Debug)]
pub struct OnFeatures<M> {
    method: M,
    /// A state that was read back: its vectors may be like u, which is known at the next step.
    saved: Option<Snapshot>,
}

impl<M: HypergradientMethod> OnFeatures<M> {
    /// `method` on the features.
    pub fn new(method: M) -> Self {
        Self { method, saved: None }
    }
}

impl<M: HypergradientMethod> HypergradientMethod for OnFeatures<M> {
    // The state is the method's own.
    fn name(&self) -> &'static str {
        self.method.name()
    }

    fn describe(&self) -> String {
        format!("on-features({})", self.method.describe())
    }

    fn differentiates_start(&self) -> bool {
        self.method.differentiates_start()
    }

    fn last_step(&self) -> Option<(usize, &dyn Dynamics)> {
        self.method.last_step()
    }

    fn goes_on(&self) -> bool {
        self.method.goes_on()
    }

    fn kept(&self) -> Option<&Vector> {
        self.method.kept()
    }

    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        if self.method.name() == "rtho" {
            return Err(Error::InvalidSetting {
                setting: "method on features",
                found: self.method.describe(),
                expected: "one that carries no derivatives from call to call: the features move with x",
                cure: "use fad or rad",
            });
        }
        let reduced = problem.oracle.reduced(problem.x, problem.samples).ok_or_else(|| {
            Error::InvalidSetting {
                setting: "oracle",
                found: "one that knows no features".into(),
                expected: "a `FeatureOracle`",
                cure: "implement `FeatureProblem`, or use the method itself",
            }
        })??;
        let inner = LowerProblem { oracle: reduced.oracle.as_ref(), x: &reduced.u, ..problem };
        if let Some(mut saved) = self.saved.take() {
            self.method.restore(&mut saved, &reduced.u, start)?;
            saved.finish()?;
        }
        let found = self.method.run(inner, start)?;
        Ok(Hypergradient { gradient: (reduced.pull_back)(&found.gradient), ..found })
    }

    fn cost_elsewhere(&self) -> Cost {
        self.method.cost_elsewhere()
    }

    fn save(&self, to: &mut Snapshot) {
        match &self.saved {
            Some(saved) => to.put_all(saved.clone()),
            None => self.method.save(to),
        }
    }

    /// A state that is not the method's is an error of the next step.
    fn restore(&mut self, from: &mut Snapshot, _: &Vector, _: &Vector) -> Result<(), Error> {
        self.saved = Some(std::mem::take(from));
        Ok(())
    }
}
