//! Counting the work of a method.

use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

use crate::Objective;

/// Numbers of oracle calls, the unit in which methods are compared.
///
/// On a network a value costs one forward pass, a gradient about three and a product about four.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Evaluations of F alone.
    pub upper_values: u64,
    /// Evaluations of f alone.
    pub lower_values: u64,
    /// Gradients of F.
    pub upper_gradients: u64,
    /// Gradients of f.
    pub lower_gradients: u64,
    /// Second-order products of F.
    pub upper_products: u64,
    /// Second-order products of f.
    pub lower_products: u64,
    /// Evaluations of the constraints of a level, all of them at once.
    pub constraint_values: u64,
    /// Their weighted gradients, `c' w`.
    pub constraint_gradients: u64,
    /// Their second-order products.
    pub constraint_products: u64,
}

impl Cost {
    /// All calls together.
    pub fn total(&self) -> u64 {
        self.upper_values
            + self.lower_values
            + self.upper_gradients
            + self.lower_gradients
            + self.products()
            + self.constraint_values
            + self.constraint_gradients
    }

    /// All second-order products together.
    pub fn products(&self) -> u64 {
        self.upper_products + self.lower_products + self.constraint_products
    }

    pub(crate) fn count_value(&mut self, objective: Objective) {
        match objective {
            Objective::Upper => self.upper_values += 1,
            Objective::Lower => self.lower_values += 1,
        }
    }

    pub(crate) fn count_gradient(&mut self, objective: Objective) {
        match objective {
            Objective::Upper => self.upper_gradients += 1,
            Objective::Lower => self.lower_gradients += 1,
        }
    }

    pub(crate) fn count_product(&mut self, objective: Objective) {
        match objective {
            Objective::Upper => self.upper_products += 1,
            Objective::Lower => self.lower_products += 1,
        }
    }

    fn zip(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            upper_values: f(self.upper_values, other.upper_values),
            lower_values: f(self.lower_values, other.lower_values),
            upper_gradients: f(self.upper_gradients, other.upper_gradients),
            lower_gradients: f(self.lower_gradients, other.lower_gradients),
            upper_products: f(self.upper_products, other.upper_products),
            lower_products: f(self.lower_products, other.lower_products),
            constraint_values: f(self.constraint_values, other.constraint_values),
            constraint_gradients: f(self.constraint_gradients, other.constraint_gradients),
            constraint_products: f(self.constraint_products, other.constraint_products),
        }
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
}

impl Sub for Cost {
    type Output = Self;

    /// The calls since `earlier`.
    fn sub(self, earlier: Self) -> Self {
        self.zip(earlier, |a, b| a - b)
    }
}
