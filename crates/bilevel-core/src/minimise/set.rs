//! The set that a minimiser keeps y in.

use std::sync::Arc;

use bilevel_program::Vector;

use crate::Projection;

/// The set; the whole space where there is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Set(Option<Arc<dyn Projection>>);

impl Set {
    pub fn new(projection: impl Projection + 'static) -> Self {
        Self(Some(Arc::new(projection)))
    }

    pub fn describe(&self, minimiser: String) -> String {
        match &self.0 {
            None => minimiser,
            Some(projection) => format!("{minimiser} onto {}", projection.describe()),
        }
    }

    pub fn project(&self, y: Vector) -> Vector {
        match &self.0 {
            None => y,
            Some(projection) => projection.apply(&y),
        }
    }

    /// `P(y + d) - y`: what is left of a step d from a y in the set.
    pub fn step(&self, y: &Vector, d: Vector) -> Vector {
        match &self.0 {
            None => d,
            Some(projection) => projection.apply(&y.add(&d)).sub(y),
        }
    }

    /// The norm of `y - P(y - g)`, of g itself without a set; not finite where g is not.
    pub fn norm(&self, y: &Vector, g: &Vector) -> f64 {
        let norm = g.norm();
        if self.0.is_none() || !norm.is_finite() {
            return norm;
        }
        self.step(y, g.scale(-1.0)).norm()
    }
}
