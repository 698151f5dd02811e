//! Points and directions in the parameter space of a module.

use std::sync::Arc;

use burn::backend::{DispatchTensor, TensorMetadata};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use crate::layout::{Layout, Leaf};
use crate::{float, norm};

/// A point or a direction in the parameter space of a module: one tensor per variable.
///
/// Tensors are shared, so that a clone is cheap and never copies data. Binary operations require vectors of one module
/// and panic, naming both sizes, on any others.
#[derive(Clone, Debug)]
pub struct Vector {
    layout: Arc<Layout>,
    leaves: Vec<DispatchTensor>,
}

impl Vector {
    pub(crate) fn new(layout: Arc<Layout>, leaves: Vec<DispatchTensor>) -> Self {
        debug_assert_eq!(layout.leaves().len(), leaves.len());
        Self { layout, leaves }
    }

    /// The values that the variables of `layout` have in `module`.
    ///
    /// # Panics
    /// If `module` lacks one of the variables, or has it in another shape or element type: it is another module.
    pub fn from_module<M: Module>(layout: &Arc<Layout>, module: &M) -> Self {
        struct Read<'a> {
            layout: &'a Layout,
            leaves: Vec<Option<DispatchTensor>>,
        }
        impl ModuleVisitor for Read<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let Some(at) = self.layout.position(param.id) else { return };
                self.leaves[at].get_or_insert_with(|| {
                    self.layout.check_shape(at, &param.base().shape());
                    self.layout.check_type(at, param.base().dtype());
                    param.base().without_autodiff().into_dispatch()
                });
            }
        }
        let mut read = Read { layout, leaves: vec![None; layout.leaves().len()] };
        module.visit(&mut read);
        let leaves = read.leaves.into_iter().zip(layout.leaves()).map(|(value, leaf)| {
            value.unwrap_or_else(|| {
                panic!(
                    "the module has no parameter `{}`: take the layout from this module",
                    leaf.path
                )
            })
        });
        Self { layout: layout.clone(), leaves: leaves.collect() }
    }

    /// `module` with its variables set to this vector.
    ///
    /// Parameters are replaced, never modified: other clones of the module keep their values. They stay trainable, and
    /// on a device that tracks gradients they are leaves of a graph of their own.
    ///
    /// # Panics
    /// If `module` has one of the variables in another shape.
    pub fn write_into<M: Module>(&self, module: M) -> M {
        module.map(&mut Replace::new(&self.layout, self.leaves.clone()))
    }

    /// The values in one list, variable by variable, each in row-major order.
    pub fn to_vec(&self) -> Vec<f64> {
        let mut values = Vec::with_capacity(self.layout.size());
        for leaf in &self.leaves {
            values.extend(float::read(leaf.clone()).iter::<f64>());
        }
        values
    }

    /// A vector from a list in the order of [`Vector::to_vec`].
    ///
    /// # Panics
    /// If the length of the list is not that of the layout.
    pub fn from_slice(layout: &Arc<Layout>, values: &[f64], device: &Device) -> Self {
        assert_eq!(
            values.len(),
            layout.size(),
            "a vector of this module has {} values",
            layout.size()
        );
        let device = device.clone().without_autodiff();
        let mut rest = values;
        let leaves = layout.leaves().iter().map(|leaf| {
            let (head, tail) = rest.split_at(leaf.shape.num_elements());
            rest = tail;
            let data = TensorData::new(head.to_vec(), leaf.shape.clone()).convert_dtype(leaf.dtype);
            float::write(data, &device)
        });
        Self { leaves: leaves.collect(), layout: layout.clone() }
    }

    /// The values bit for bit, one list per variable.
    pub fn to_data(&self) -> Vec<TensorData> {
        self.leaves.iter().cloned().map(float::read).collect()
    }

    /// A vector from the result of [`Vector::to_data`].
    ///
    /// # Panics
    /// If the shapes or element types are not those of the layout.
    pub fn from_data(layout: &Arc<Layout>, data: Vec<TensorData>, device: &Device) -> Self {
        let found = data.iter().map(|data| (data.shape(), data.dtype()));
        assert!(
            found.eq(layout.leaves().iter().map(|leaf| (&leaf.shape, leaf.dtype))),
            "the lists of this layout have its shapes and element types"
        );
        let device = device.clone().without_autodiff();
        let leaves = data.into_iter().map(|data| float::write(data, &device));
        Self { leaves: leaves.collect(), layout: layout.clone() }
    }

    /// The variables this vector has a value for.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The tensors, one per variable.
    pub fn leaves(&self) -> &[DispatchTensor] {
        &self.leaves
    }

    /// The device of the first variable.
    pub fn device(&self) -> Device {
        self.leaves.first().map(|leaf| Device::new(leaf.device())).unwrap_or_default()
    }

    /// The variables at `positions`, as a vector of another layout whose variables have their shapes, in
    /// order.
    ///
    /// # Panics
    /// If the shapes differ, or a position is not in this vector.
    pub fn part(&self, positions: &[usize], layout: &Arc<Layout>) -> Self {
        let leaves: Vec<_> = positions.iter().map(|&at| self.leaves[at].clone()).collect();
        let shapes = leaves.iter().map(|leaf| leaf.shape());
        assert!(
            shapes.eq(layout.leaves().iter().map(|leaf| leaf.shape.clone())),
            "a part of a vector takes a layout of the same shapes"
        );
        Self { layout: layout.clone(), leaves }
    }

    /// The variables of several vectors, one after the other, as a vector of another layout whose variables have their
    /// shapes: the inverse of [`Vector::part`].
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn join(layout: &Arc<Layout>, parts: &[&Self]) -> Self {
        let leaves: Vec<_> = parts.iter().flat_map(|part| part.leaves.iter().cloned()).collect();
        let shapes = leaves.iter().map(|leaf| leaf.shape());
        assert!(
            shapes.eq(layout.leaves().iter().map(|leaf| leaf.shape.clone())),
            "vectors are joined in a layout of their shapes"
        );
        Self { layout: layout.clone(), leaves }
    }

    /// This vector with `part` added to the variables at `positions`: from zero, the adjoint of
    /// [`Vector::part`].
    ///
    /// # Panics
    /// If there is not one position for each variable of `part`, of the same shape.
    pub fn add_part(&self, positions: &[usize], part: &Self) -> Self {
        assert_eq!(
            positions.len(),
            part.leaves.len(),
            "one position for each variable of the part"
        );
        let mut leaves = self.leaves.clone();
        for (&at, added) in positions.iter().zip(&part.leaves) {
            assert_eq!(leaves[at].shape(), added.shape(), "a part has the shapes of its place");
            leaves[at] = float::sum_of(&leaves[at], added);
        }
        Self { layout: self.layout.clone(), leaves }
    }

    /// The variables of a [part](Layout::part) of this vector's layout.
    ///
    /// # Panics
    /// If a variable of `part` is not in this vector.
    pub fn only(&self, part: &Arc<Layout>) -> Self {
        let at = |leaf: &Leaf| self.layout.position(leaf.id).expect("a part of the same layout");
        let leaves = part.leaves().iter().map(|leaf| self.leaves[at(leaf)].clone());
        Self { leaves: leaves.collect(), layout: part.clone() }
    }

    /// `self + a * part`, where `part` is zero in the variables that it lacks.
    ///
    /// # Panics
    /// If a variable of `part` is not in this vector.
    pub fn axpy_part(&self, a: f64, part: &Self) -> Self {
        let at = |leaf: &Leaf| self.layout.position(leaf.id).expect("a part of the same layout");
        let positions: Vec<_> = part.layout.leaves().iter().map(at).collect();
        self.add_part(&positions, &part.scale(a))
    }

    // ---- algebra ---------------------------------------------------------------------------------

    /// Applies `f` to every leaf.
    pub fn map(&self, f: impl FnMut(DispatchTensor) -> DispatchTensor) -> Self {
        Self { layout: self.layout.clone(), leaves: self.leaves.iter().cloned().map(f).collect() }
    }

    /// Applies `f` to every pair of leaves.
    pub fn zip(
        &self,
        other: &Self,
        mut f: impl FnMut(DispatchTensor, DispatchTensor) -> DispatchTensor,
    ) -> Self {
        self.check_same(other);
        let pairs = self.leaves.iter().cloned().zip(other.leaves.iter().cloned());
        Self { layout: self.layout.clone(), leaves: pairs.map(|(a, b)| f(a, b)).collect() }
    }

    /// Zeros.
    pub fn zeros_like(&self) -> Self {
        self.map(|leaf| float::zeros_like(&leaf))
    }

    /// `self + other`.
    pub fn add(&self, other: &Self) -> Self {
        self.axpy(1.0, other)
    }

    /// `self - other`.
    pub fn sub(&self, other: &Self) -> Self {
        self.axpy(-1.0, other)
    }

    /// `a * self`.
    pub fn scale(&self, a: f64) -> Self {
        let leaves = float::scale_all(a, &self.leaves);
        Self { layout: self.layout.clone(), leaves }
    }

    /// `self + a * other`.
    pub fn axpy(&self, a: f64, other: &Self) -> Self {
        self.check_same(other);
        let leaves = float::axpy_all(&self.leaves, a, &other.leaves);
        Self { layout: self.layout.clone(), leaves }
    }

    /// The inner product, in double precision where the tensors are in host memory, and without overflow where the
    /// entries are finite.
    pub fn dot(&self, other: &Self) -> f64 {
        self.check_same(other);
        let pairs = self.leaves.iter().cloned().zip(other.leaves.iter().cloned());
        norm::dot(&pairs.collect::<Vec<_>>())
    }

    /// The Euclidean norm, as [`Vector::dot`].
    pub fn norm(&self) -> f64 {
        norm::norm(&self.leaves)
    }

    /// Whether no entry is NaN or infinite.
    pub fn all_finite(&self) -> bool {
        Self::all_are_finite([self])
    }

    /// Whether no entry of any of these vectors is NaN or infinite. Waits for the device once.
    pub fn all_are_finite<'a>(vectors: impl IntoIterator<Item = &'a Self>) -> bool {
        norm::all_finite(vectors.into_iter().flat_map(|vector| &vector.leaves))
    }

    /// The first variable with an entry that is NaN or infinite, by its position. Waits for the device once per
    /// variable.
    pub fn first_not_finite(&self) -> Option<usize> {
        self.leaves.iter().position(|leaf| !norm::all_finite([leaf]))
    }

    pub(crate) fn check_same(&self, other: &Self) {
        assert!(
            Arc::ptr_eq(&self.layout, &other.layout) || self.layout == other.layout,
            "vectors of two modules do not combine: one has {} variables with {} values, the other \
             {} with {}",
            self.layout.leaves().len(),
            self.layout.size(),
            other.layout.leaves().len(),
            other.layout.size(),
        );
    }
}

/// Sets the variables of a module; the rest of it is unchanged.
pub(crate) struct Replace<'a> {
    layout: &'a Layout,
    leaves: Vec<DispatchTensor>,
}

impl<'a> Replace<'a> {
    pub(crate) fn new(layout: &'a Layout, leaves: Vec<DispatchTensor>) -> Self {
        Self { layout, leaves }
    }
}

impl ModuleMapper for Replace<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(at) = self.layout.position(param.id) else {
            return param;
        };
        self.layout.check_shape(at, &param.lazy_shape());
        let value = Tensor::from_dispatch(self.leaves[at].clone());
        param.map(|old| match old.gradient_checkpointing_strategy() {
            Some(strategy) if !value.is_autodiff() => value
                .autodiff()
                .with_gradient_checkpointing_strategy(strategy)
                .set_require_grad(old.is_require_grad()),
            _ => value,
        })
    }
}

/// `module` without the connection of its tensors to gradients: on a plain device, with its training flags and the
/// information which parameters are trainable.
pub fn plain<M: Module>(module: M) -> M {
    struct Plain;
    impl ModuleMapper for Plain {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(Tensor::without_autodiff)
        }
        fn map_int<const D: usize>(
            &mut self,
            param: Param<Tensor<D, Int>>,
        ) -> Param<Tensor<D, Int>> {
            param.map(Tensor::without_autodiff)
        }
        fn map_bool<const D: usize>(
            &mut self,
            param: Param<Tensor<D, Bool>>,
        ) -> Param<Tensor<D, Bool>> {
            param.map(Tensor::without_autodiff)
        }
    }
    module.map(&mut Plain)
}
