//! The data of a loss, as the tensors that it consists of.

use std::collections::VecDeque;

use burn::backend::{DispatchTensor, TensorMetadata};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::kind::Basic;
use burn::tensor::{Bool, Int, Tensor};

/// The data of one evaluation of a loss: a structure of tensors, all of them constants.
///
/// Implemented for tensors, tuples, lists, options, and by `#[derive(Batch)]` for structs and enums of these;
/// [`Frozen`] makes a batch of a module.
///
/// ```
/// use bilevel_program::Batch;
/// use burn::tensor::{Int, Tensor};
///
/// #[derive(Clone, Debug, Batch)]
/// struct Labelled {
///     images: Tensor<4>,
///     labels: Tensor<1, Int>,
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the data of a loss",
    label = "not a tensor, nor made of tensors",
    note = "for a struct of tensors: `#[derive(Clone, Batch)]`; a field that holds none: `#[batch(skip)]`",
    note = "a module that is not trained here: `Frozen`"
)]
pub trait Batch: Clone {
    /// Passes on its tensors, in a fixed order.
    fn write_tensors(&self, to: &mut Tensors);

    /// The same structure, with the tensors of `from` in the order of [`Batch::write_tensors`].
    fn read_tensors(&self, from: &mut Tensors) -> Self;
}

/// The tensors of a [`Batch`], in order, and which variants its enums have.
#[derive(Clone, Debug, Default)]
pub struct Tensors {
    pub(crate) tensors: VecDeque<DispatchTensor>,
    pub(crate) variants: Vec<usize>,
}

impl Tensors {
    /// Those of `batch`.
    pub fn of(batch: &impl Batch) -> Self {
        let mut tensors = Self::default();
        batch.write_tensors(&mut tensors);
        tensors
    }

    /// The shapes of the tensors, then the variants of the enums: they determine the shapes of a function of the batch.
    pub fn shapes(&self) -> Vec<Vec<usize>> {
        let shapes = self.tensors.iter().map(|tensor| tensor.shape().to_vec());
        shapes.chain([self.variants.clone()]).collect()
    }

    /// Adds a tensor.
    pub fn push<const D: usize, K: Basic>(&mut self, tensor: Tensor<D, K>) {
        self.tensors.push_back(tensor.into_dispatch());
    }

    /// Takes the next tensor.
    ///
    /// # Panics
    /// If there is none: [`Batch::read_tensors`] requests more than [`Batch::write_tensors`] gave.
    pub fn pop<const D: usize, K: Basic>(&mut self) -> Tensor<D, K> {
        let tensor = self.tensors.pop_front();
        Tensor::from_dispatch(
            tensor.expect("a batch takes the tensors that it gave, in their order"),
        )
    }

    /// Notes the variant of an enum, or the length of a list: losses may branch on it.
    pub fn variant(&mut self, which: usize) {
        self.variants.push(which);
    }
}

impl<const D: usize, K: Basic> Batch for Tensor<D, K> {
    fn write_tensors(&self, to: &mut Tensors) {
        to.push(self.clone());
    }

    fn read_tensors(&self, from: &mut Tensors) -> Self {
        from.pop()
    }
}

impl<T: Batch> Batch for Vec<T> {
    fn write_tensors(&self, to: &mut Tensors) {
        to.variant(self.len());
        self.iter().for_each(|part| part.write_tensors(to));
    }

    fn read_tensors(&self, from: &mut Tensors) -> Self {
        self.iter().map(|part| part.read_tensors(from)).collect()
    }
}

impl<T: Batch> Batch for Option<T> {
    fn write_tensors(&self, to: &mut Tensors) {
        to.variant(usize::from(self.is_some()));
        self.iter().for_each(|part| part.write_tensors(to));
    }

    fn read_tensors(&self, from: &mut Tensors) -> Self {
        self.as_ref().map(|part| part.read_tensors(from))
    }
}

impl<T: Batch, const N: usize> Batch for [T; N] {
    fn write_tensors(&self, to: &mut Tensors) {
        self.iter().for_each(|part| part.write_tensors(to));
    }

    fn read_tensors(&self, from: &mut Tensors) -> Self {
        self.each_ref().map(|part| part.read_tensors(from))
    }
}

macro_rules! tuples {
    ($(($($part:ident)*))*) => {$(
        #[allow(non_snake_case, unused_variables, clippy::unused_unit)]
        impl<$($part: Batch),*> Batch for ($($part,)*) {
            fn write_tensors(&self, to: &mut Tensors) {
                let ($($part,)*) = self;
                $($part.write_tensors(to);)*
            }

            fn read_tensors(&self, from: &mut Tensors) -> Self {
                let ($($part,)*) = self;
                ($($part.read_tensors(from),)*)
            }
        }
    )*};
}

tuples! { () (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) }

/// A module whose parameters are data: a network that is trained elsewhere.
#[derive(Clone, Debug)]
pub struct Frozen<M>(pub M);

impl<M: Module> Batch for Frozen<M> {
    fn write_tensors(&self, to: &mut Tensors) {
        struct Give<'a>(&'a mut Tensors);
        impl ModuleVisitor for Give<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.0.push(param.val().without_autodiff());
            }
            fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
                self.0.push(param.val());
            }
            fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
                self.0.push(param.val());
            }
        }
        self.0.visit(&mut Give(to));
    }

    fn read_tensors(&self, from: &mut Tensors) -> Self {
        struct Take<'a>(&'a mut Tensors);
        impl ModuleMapper for Take<'_> {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                Param::initialized(param.id, self.0.pop())
            }
            fn map_int<const D: usize>(
                &mut self,
                param: Param<Tensor<D, Int>>,
            ) -> Param<Tensor<D, Int>> {
                Param::initialized(param.id, self.0.pop())
            }
            fn map_bool<const D: usize>(
                &mut self,
                param: Param<Tensor<D, Bool>>,
            ) -> Param<Tensor<D, Bool>> {
                Param::initialized(param.id, self.0.pop())
            }
        }
        Self(self.0.clone().map(&mut Take(from)))
    }
}
