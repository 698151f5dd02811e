//! The Hessian at a point, as a program in two parts.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::{DispatchTensor, TensorMetadata};

use super::selected::{Selected, moving, selected};
use super::{Derived, Inputs, leaves, part, partials};
use crate::optimise::Split;
use crate::program::Program;
use crate::{Direction, Layout, Partials, Wrt};

/// A gradient, and products, in two parts.
pub struct Parts {
    pub split: Split,
    /// The variables that the products are in.
    pub wrt: Selected,
    /// The second part for some of the variables.
    pub late: Mutex<Vec<(Selected, Arc<Program>)>>,
}

/// The Hessian at a point, for products with directions. What depends only on the point was computed with the gradient
/// there.
pub struct Linearized {
    pub(super) derived: Arc<Derived>,
    pub(super) left: Vec<DispatchTensor>,
    pub(super) along: Selected,
    pub(super) upper: Arc<Layout>,
    pub(super) lower: Arc<Layout>,
}

impl Parts {
    /// The second part, for these variables.
    fn late(&self, wrt: &Selected, sizes: [usize; 2]) -> Arc<Program> {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = late.iter().find(|(key, _)| key == wrt) {
            return found.clone();
        }
        let all = self.wrt.positions(sizes);
        let place = |at: &usize| {
            let found = all.iter().position(|other| other == at);
            found.expect("products are asked for in the variables of the linearisation")
        };
        let places: Vec<_> = wrt.positions(sizes).iter().map(place).collect();
        let made = Arc::new(self.split.late.only(&places));
        late.push((wrt.clone(), made.clone()));
        made
    }
}

impl Linearized {
    /// The Hessian at the point times a direction, in the requested variables.
    ///
    /// # Panics
    /// If the direction has other parts, or the product other variables, than those named.
    pub fn product(&self, along: Direction<'_>, wrt: Wrt<'_>) -> Partials {
        let Derived::Parts(parts) = self.derived.as_ref() else {
            unreachable!("a linearisation has two parts")
        };
        let moving = moving(&self.lower, along);
        assert!(
            moving == self.along,
            "the direction has other parts than those that the linearisation was made for"
        );
        let selected = selected(&self.lower, wrt);
        let late = parts.late(&selected, [self.upper.leaves().len(), self.lower.leaves().len()]);
        let inputs: Inputs<'_> = self.left.iter().chain(leaves(along)).collect();
        let mut outputs = late.replay().run(&inputs).into_iter();
        partials(&selected, [&self.upper, &self.lower], part(wrt), &mut outputs)
    }

    /// Bytes that are kept until it is dropped.
    pub fn bytes(&self) -> usize {
        let bytes = |tensor: &DispatchTensor| tensor.shape().num_elements() * tensor.dtype().size();
        self.left.iter().map(bytes).sum()
    }
}
