//! Proximal maps, and the projections among them: constraints and non-smooth terms of either level.
//!
//! The upper level takes a [`Projection`] after every step; [`Projected`](crate::Projected) puts any
//! [`Proximal`] map after the steps of a lower dynamics, and differentiates through it.

mod ball;
mod bounds;
mod simplex;
mod soft_threshold;

pub use ball::Ball;
pub use bounds::Bounds;
pub use simplex::Simplex;
pub use soft_threshold::SoftThreshold;

use std::fmt::Debug;

use bilevel_program::Vector;

/// The proximal map of a convex function h:
///
/// ```text
/// P(y) = argmin_u  h(u) + norm(u - y)^2 / 2
/// ```
///
/// P does not expand distances, and so has a derivative almost everywhere; as P is a gradient, the
/// derivative is symmetric. Implement it for a type of your own to use another map.
///
/// Source: J.-J. Moreau, "Proximite et dualite dans un espace hilbertien", 1965.
pub trait Proximal: Debug + Send + Sync {
    /// The name with the settings, as `bounds(-1, 1)`.
    fn describe(&self) -> String;

    /// `P(y)`.
    fn apply(&self, y: &Vector) -> Vector;

    /// `P'(at) direction`; at a kink, that of a neighbouring piece.
    fn derivative(&self, at: &Vector, direction: &Vector) -> Vector;
}

/// A proximal map that is the Euclidean projection onto a convex set: h is 0 in the set and infinite
/// outside.
///
/// A projection of your own implements [`Proximal`], and this trait, which is empty, to say so: what is
/// kept in a set must not be pulled about in it as well.
pub trait Projection: Proximal {}

impl<P: Proximal + ?Sized> Proximal for Box<P> {
    fn describe(&self) -> String {
        (**self).describe()
    }

    fn apply(&self, y: &Vector) -> Vector {
        (**self).apply(y)
    }

    fn derivative(&self, at: &Vector, direction: &Vector) -> Vector {
        (**self).derivative(at, direction)
    }
}

impl<P: Projection + ?Sized> Projection for Box<P> {}
