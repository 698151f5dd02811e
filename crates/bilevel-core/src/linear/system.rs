//! An operator, a right-hand side, and options for the solver.

use std::cell::Cell;

use bilevel_program::{Layout, Vector};

use crate::Error;

/// What is known of an operator in advance.
///
/// Whether a symmetric operator is positive definite is not included: for a Hessian it is not known in advance. Solvers
/// that need it watch for directions that prove otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// Nothing.
    General,
    /// `<u, A v> = <A u, v>`, as for Hessians.
    Symmetric,
}

impl Structure {
    /// An error for operators that are not symmetric.
    pub(crate) fn require_symmetric(self, solver: &'static str) -> Result<(), Error> {
        match self {
            Self::Symmetric => Ok(()),
            Self::General => Err(Error::NotSymmetric { solver }),
        }
    }
}

/// A linear operator, given by its products, which it counts.
pub struct Operator<'a> {
    product: &'a dyn Fn(&Vector) -> Vector,
    structure: Structure,
    products: Cell<usize>,
}

impl<'a> Operator<'a> {
    /// Any operator.
    pub fn general(product: &'a dyn Fn(&Vector) -> Vector) -> Self {
        Self { product, structure: Structure::General, products: Cell::new(0) }
    }

    /// One that the caller knows to be symmetric.
    pub fn symmetric(product: &'a dyn Fn(&Vector) -> Vector) -> Self {
        Self { structure: Structure::Symmetric, ..Self::general(product) }
    }

    /// `A v`.
    pub fn apply(&self, v: &Vector) -> Vector {
        self.products.set(self.products.get() + 1);
        (self.product)(v)
    }

    /// `(A + d I) v`.
    pub fn apply_damped(&self, v: &Vector, d: f64) -> Vector {
        let product = self.apply(v);
        if d > 0.0 { product.axpy(d, v) } else { product }
    }

    /// What is known of it.
    pub fn structure(&self) -> Structure {
        self.structure
    }

    /// The products so far.
    pub fn products(&self) -> usize {
        self.products.get()
    }
}

/// The system `A q = b`.
pub struct System<'a> {
    operator: &'a Operator<'a>,
    rhs: &'a Vector,
    norm: f64,
    guess: Option<&'a Vector>,
    tolerance: Option<f64>,
}

impl<'a> System<'a> {
    /// `operator q = rhs`.
    pub fn new(operator: &'a Operator<'a>, rhs: &'a Vector) -> Self {
        Self { operator, rhs, norm: rhs.norm(), guess: None, tolerance: None }
    }

    /// With a point from which iterations start, such as an earlier solution. It costs them one product; a guess of
    /// another module, or one with a larger residual than that of 0, is ignored.
    pub fn with_guess(mut self, guess: Option<&'a Vector>) -> Self {
        self.guess = guess.filter(|guess| guess.layout() == self.rhs.layout());
        self
    }

    /// With a relative residual at which to end instead of the solver's own.
    pub fn with_tolerance(mut self, tolerance: Option<f64>) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// A.
    pub fn operator(&self) -> &Operator<'a> {
        self.operator
    }

    /// b.
    pub fn rhs(&self) -> &Vector {
        self.rhs
    }

    /// `norm(b)`.
    pub fn norm(&self) -> f64 {
        self.norm
    }

    /// The relative residual at which to end, if the system specifies one.
    pub fn tolerance(&self) -> Option<f64> {
        self.tolerance
    }

    /// The unit roundoff of the vectors.
    pub(crate) fn epsilon(&self) -> f64 {
        epsilon(self.rhs.layout())
    }

    /// Where iterations on `A + d I` start: q and `b - (A + d I) q`. Without a guess q is 0, without a product.
    pub fn start(&self, d: f64) -> (Vector, Vector) {
        if let Some(guess) = self.guess {
            let residual = self.rhs.sub(&self.operator.apply_damped(guess, d));
            if residual.norm() < self.norm {
                return (guess.clone(), residual);
            }
        }
        (self.rhs.zeros_like(), self.rhs.clone())
    }
}

/// The unit roundoff of vectors of this layout.
pub(crate) fn epsilon(layout: &Layout) -> f64 {
    let bytes = layout.leaves().iter().map(|leaf| leaf.dtype.size()).min();
    match bytes {
        Some(8) => f64::EPSILON,
        Some(4) => f64::from(f32::EPSILON),
        // bfloat16
        _ => 0.0078125,
    }
}
