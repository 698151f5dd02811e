//! Self-tuning networks.

use bilevel_program::Vector;

use super::perturbation::Scale;
use super::{Hypernetwork, RankOneAffine, Region};
use crate::joint::{Iterate, JointMethod, Seen};
use crate::{Error, Oracle, Rates, Snapshot};

/// `stn`: a structured response, affine in x and of rank one per unit, learned near x.
///
/// ```text
/// Psi(x) = w_e + (V x) *_unit w_h
/// x~ = x + eps,   eps ~ N(0, sigma^2)
/// theta' = theta - a (dPsi/dtheta)' f_y(x~, Psi(x~)),   theta = (w_e, w_h, V)
/// x' = x - b (F_x + (dPsi/dx)' F_y)   at y = Psi(x)
/// ```
///
/// With a learned sigma the last line is taken at `x + eps` and y at `Psi(x + eps)`, and sigma moves too, as [`Scale`]
/// says. With `sigma = 0` the pair `w_e`, V is not determined: y becomes right but `dPsi/dx` stays wrong. All
/// perturbations of one step are the same for the whole batch; the source draws one per example, which a loss that is
/// one function of x cannot represent.
///
/// Needs no second derivatives of f. Memory: theta, two numbers per entry of y and m per unit. Cost: one gradient of f
/// for each training step, one of F; a value of F instead during the warm-up.
///
/// Source: M. MacKay et al., "Self-tuning networks: bilevel optimization of hyperparameters using structured
/// best-response functions", 2019, Sections 3.2 and 3.3, Alg. 1.
#[derive(Clone, Debug)]
pub struct Stn {
    inner: Hypernetwork<RankOneAffine>,
}

impl Stn {
    /// `response` trained by the lower step sizes of `rates`, at perturbations by `scale`; the same seed gives the same
    /// draws.
    pub fn new(response: RankOneAffine, rates: Rates, scale: Scale, seed: u64) -> Self {
        Self { inner: Hypernetwork::new(response, rates, Region::local(scale), seed) }
    }

    /// With `steps` steps of theta for one of x.
    ///
    /// # Errors
    /// If `steps` is 0.
    pub fn with_training_steps(self, steps: usize) -> Result<Self, Error> {
        Ok(Self { inner: self.inner.with_training_steps(steps)? })
    }

    /// With x held fixed during the first `steps` steps.
    pub fn with_warm_up(self, steps: usize) -> Self {
        Self { inner: self.inner.with_warm_up(steps) }
    }

    /// The response as trained so far.
    pub fn response(&self) -> &RankOneAffine {
        self.inner.proxy()
    }

    /// The learned standard deviations of the perturbation, if they are learned and were used.
    pub fn scales(&self) -> Option<Vector> {
        self.inner.scales()
    }
}

impl JointMethod for Stn {
    fn name(&self) -> &'static str {
        "stn"
    }

    fn describe(&self) -> String {
        format!("stn({})", self.inner.settings())
    }

    fn check(&self, oracle: &dyn Oracle) -> Result<(), Error> {
        self.inner.check(oracle)
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        self.inner.step(k, at)
    }

    fn save(&self, to: &mut Snapshot) {
        self.inner.save(to);
    }

    fn restore(&mut self, from: &mut Snapshot, at: &Iterate<'_>) -> Result<(), Error> {
        self.inner.restore(from, at)
    }
}
