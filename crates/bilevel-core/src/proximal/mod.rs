//! Proximal maps, and the projections among them: constraints and non-smooth terms of either level.
//!
//! The upper level applies a [`Projection`] after every step; [`Projected`](crate::Projected) applies any [`Proximal`]
//! map after the steps of a lower dynamics, and differentiates through it.

mod ball;
mod bounds;
mod elastic_net;
mod group_lasso;
mod penalty;
mod scaled;
mod simplex;
mod soft_threshold;

pub use ball::Ball;
pub use bounds::Bounds;
pub use elastic_net::ElasticNet;
pub use group_lasso::GroupLasso;
pub use scaled::Scaled;
pub use simplex::Simplex;
pub use soft_threshold::SoftThreshold;

use std::fmt::Debug;

use auto_impl::auto_impl;
use bilevel_program::{Layout, Vector};

use crate::Error;

/// The proximal map of a convex function h:
///
/// ```text
/// P(y) = argmin_u  h(u) + norm(u - y)^2 / 2
/// ```
///
/// P does not increase distances, and so has a derivative almost everywhere; as P is a gradient, the derivative is
/// symmetric. Implement it for your own type to use another map.
///
/// h may depend on x, for example through a learned weight of a penalty: then the methods that end with `at` or `in_x`
/// apply. Sets do not: a [`Projection`] serves both levels, and x is not constrained to a set that depends on it.
///
/// Source: J.-J. Moreau, "Proximite et dualite dans un espace hilbertien", 1965.
#[auto_impl(Box)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no proximal map",
    label = "not a proximal map",
    note = "an interval for each entry: `Bounds::new(low, high)?`; a 1-norm: `SoftThreshold::new(weight)?`",
    note = "the constructors check their arguments and give a `Result`: is a `?` missing?"
)]
pub trait Proximal: Debug + Send + Sync {
    /// The name with the settings, such as `bounds(-1, 1)`.
    fn describe(&self) -> String;

    /// Whether x has the variables by which the map is learned.
    ///
    /// # Errors
    /// If not.
    fn check(&self, upper: &Layout) -> Result<(), Error> {
        let _ = upper;
        Ok(())
    }

    /// `P(y)`.
    ///
    /// # Panics
    /// If the map depends on x.
    fn apply(&self, y: &Vector) -> Vector;

    /// `P'(at) direction`; at a kink, that of an adjacent piece.
    ///
    /// # Panics
    /// If the map depends on x.
    fn derivative(&self, at: &Vector, direction: &Vector) -> Vector;

    /// `P(y; x)`, for a map that may depend on x.
    fn apply_at(&self, x: &Vector, y: &Vector) -> Vector {
        let _ = x;
        self.apply(y)
    }

    /// `P_y(at; x) direction`.
    fn derivative_at(&self, x: &Vector, at: &Vector, direction: &Vector) -> Vector {
        let _ = x;
        self.derivative(at, direction)
    }

    /// `P_x(at; x) dx`; none means zero.
    fn tangent_in_x(&self, x: &Vector, at: &Vector, dx: &Vector) -> Option<Vector> {
        let _ = (x, at, dx);
        None
    }

    /// `P_x(at; x)' lambda`; none means zero.
    fn adjoint_in_x(&self, x: &Vector, at: &Vector, lambda: &Vector) -> Option<Vector> {
        let _ = (x, at, lambda);
        None
    }
}

/// A proximal map that is the Euclidean projection onto a convex set: h is 0 in the set and infinite
/// outside.
///
/// Your own projection implements [`Proximal`], and this empty trait to say that it is one: a constraint must not also
/// move points within its set.
#[auto_impl(Box)]
pub trait Projection: Proximal {}
