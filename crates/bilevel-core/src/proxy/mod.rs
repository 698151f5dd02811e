//! Proxies of the best response: a map `Psi_theta(x)` that learns `y*(x)`, through which x descends.
//!
//! ```text
//! theta' = theta - a (dPsi/dtheta)' f_y(x~, Psi(x~)),   x~ drawn near x, or anywhere
//! x' = x - b (F_x + (dPsi/dx)' F_y),                    at y = Psi(x)
//! ```
//!
//! No second derivatives of f, no inner loop: `dPsi/dx` is an estimate of `dy*/dx` because Psi is accurate in a whole
//! neighbourhood, which it learns from the draws of `x~`. They are made on the host, by ChaCha8 from a seed, so that a
//! run is reproducible on any device.
//!
//! | name | type | Psi | learns |
//! |---|---|---|---|
//! | `hypernetwork` | [`Hypernetwork`] | any [`Proxy`]: any Burn module by [`NetworkProxy`] | from draws of a [`Region`] |
//! | `stn` | [`Stn`] | [`RankOneAffine`] | near x |
//! | `delta-stn` | [`DeltaStn`] | `y_c + J (. - x)`, J a [`RankOne`] | `y_c` at x, J near x |
//!
//! If x is kept in a set, points `x~` are projected onto it. A set of y is refused: a response does not stay in it.

mod alternation;
mod delta_stn;
mod hypernetwork;
mod network;
mod networks;
mod perturbation;
mod rank_one;
mod stn;

pub use delta_stn::DeltaStn;
pub use hypernetwork::{Hypernetwork, Region};
pub use network::{NetworkProxy, ResponseNetwork};
pub use networks::{LinearHypernetwork, MlpHypernetwork};
pub use perturbation::Scale;
pub use rank_one::{RankOne, RankOneAffine};
pub use stn::Stn;

use std::fmt::Debug;

use bilevel_program::{Layout, Vector};

use crate::{Error, Oracle};

/// A differentiable function of x whose values are lower variables.
pub trait Response {
    /// `y = Psi(x)`.
    fn respond(&self, x: &Vector) -> Vector;

    /// `(dPsi/dx)' u` at x.
    fn pull_to_x(&self, x: &Vector, cotangent: &Vector) -> Vector;
}

/// A [`Response`] with learned parameters theta. They are a list of vectors, each with its own layout.
pub trait Proxy: Response + Debug + Send {
    /// The name with the settings.
    fn describe(&self) -> String;

    /// Whether it maps the variables of `oracle`.
    ///
    /// # Errors
    /// If it was built for other variables.
    fn check(&self, oracle: &dyn Oracle) -> Result<(), Error>;

    /// theta.
    fn parameters(&self) -> Vec<Vector>;

    /// Sets theta, to vectors of the layouts that [`Proxy::parameters`] gives.
    fn set_parameters(&mut self, parameters: Vec<Vector>);

    /// `(dPsi/dtheta)' u` at x.
    fn pull_to_parameters(&self, x: &Vector, cotangent: &Vector) -> Vec<Vector>;

    /// `theta' = theta - rate * (dPsi/dtheta)' u` at x.
    fn descend(&mut self, rate: f64, x: &Vector, cotangent: &Vector) {
        let along = self.pull_to_parameters(x, cotangent);
        let moved = self.parameters().iter().zip(&along).map(|(p, d)| p.axpy(-rate, d)).collect();
        self.set_parameters(moved);
    }
}

/// Whether the variables of `oracle` are those of `upper` and `lower`.
fn same_variables(oracle: &dyn Oracle, upper: &Layout, lower: &Layout) -> Result<(), Error> {
    let own: [&Layout; 2] = [oracle.upper_layout(), oracle.lower_layout()];
    if own == [upper, lower] {
        return Ok(());
    }
    let [m, n] = own.map(Layout::size);
    Err(Error::InvalidSetting {
        setting: "proxy",
        found: format!(
            "a map of {} numbers to {}, built for other variables than the {m} of x and {n} of y here",
            upper.size(),
            lower.size()
        ),
        expected: "one for the variables of this oracle",
        cure: "build it from its `upper_start()` and `lower_start()`",
    })
}
