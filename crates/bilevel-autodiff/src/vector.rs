//! Points and directions in the parameter space of a module.

use std::sync::Arc;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::ops::{Device, FloatTensor};
use burn::tensor::{
    DType, Scalar, Shape, Tensor, TensorData, TensorMetadata, TensorPrimitive, read_sync,
};

/// One variable: a trainable parameter of a module.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    /// The identity Burn gave the parameter.
    pub id: ParamId,
    /// Where it stands in the module, as `layer.weight`.
    pub path: String,
    /// Its shape.
    pub shape: Shape,
    /// Its element type.
    pub dtype: DType,
}

/// The variables of a module, in the order in which Burn visits them.
///
/// Taken once, where gradients are tracked ([`Layout::of`]): on a plain backend Burn forgets which
/// parameters are trainable. Frozen parameters (`no_grad`) and running statistics are not variables.
#[derive(Debug, PartialEq)]
pub struct Layout {
    leaves: Vec<Leaf>,
}

impl Layout {
    /// The trainable parameters of `module`, initialising the lazy ones.
    pub fn of<B: AutodiffBackend, M: Module<B>>(module: &M) -> Arc<Self> {
        struct Collect {
            path: Vec<String>,
            leaves: Vec<Leaf>,
        }
        impl<B: AutodiffBackend> ModuleVisitor<B> for Collect {
            fn enter_module(&mut self, name: &str, _: &str) {
                self.path.push(name.to_owned());
            }
            fn exit_module(&mut self, _: &str, _: &str) {
                self.path.pop();
            }
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
                let value = param.val();
                // Parameters are shared where one tensor serves two layers: one variable, once.
                if value.is_require_grad() && self.leaves.iter().all(|leaf| leaf.id != param.id) {
                    self.leaves.push(Leaf {
                        id: param.id,
                        path: self.path.join("."),
                        shape: value.shape(),
                        dtype: value.dtype(),
                    });
                }
            }
        }
        let mut collect = Collect { path: Vec::new(), leaves: Vec::new() };
        module.visit(&mut collect);
        Arc::new(Self { leaves: collect.leaves })
    }

    /// The variables.
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// How many numbers a vector of this layout holds.
    pub fn size(&self) -> usize {
        self.leaves.iter().map(|leaf| leaf.shape.num_elements()).sum()
    }

    /// Bytes that one vector of this layout takes.
    pub fn bytes(&self) -> usize {
        self.leaves.iter().map(|leaf| leaf.shape.num_elements() * leaf.dtype.size()).sum()
    }

    /// The positions of the variables at the path `prefix` or below it; all of them for `""`.
    pub fn under(&self, prefix: &str) -> Vec<usize> {
        let below = |path: &str| {
            let rest = path.strip_prefix(prefix);
            prefix.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        (0..self.leaves.len()).filter(|&at| below(&self.leaves[at].path)).collect()
    }

    /// The variables at `positions` as a layout of their own: for gradients in some of the variables and
    /// directions along them.
    ///
    /// # Panics
    /// If a position is not one of this layout's.
    pub fn part(&self, positions: &[usize]) -> Arc<Self> {
        Arc::new(Self { leaves: positions.iter().map(|&at| self.leaves[at].clone()).collect() })
    }

    /// # Panics
    /// If a variable of `part` is not one of this layout's.
    pub(crate) fn check_part(&self, part: &Self) {
        for leaf in &part.leaves {
            let own = self.position(leaf.id).map(|at| &self.leaves[at].shape);
            assert!(
                own == Some(&leaf.shape),
                "`{}` with the shape {:?} is not a variable of this module, expected one of the {} that \
                 it has: take the part from its layout",
                leaf.path,
                leaf.shape,
                self.leaves.len()
            );
        }
    }

    /// The position of a parameter among the variables.
    pub fn position(&self, id: ParamId) -> Option<usize> {
        self.leaves.iter().position(|leaf| leaf.id == id)
    }
}

/// A point or a direction in the parameter space of a module: one tensor a variable.
///
/// Tensors are shared, so that a clone is cheap and never copies data. Binary operations want vectors
/// of one module and panic, naming both sizes, on any other.
#[derive(Clone, Debug)]
pub struct Vector<B: Backend> {
    layout: Arc<Layout>,
    leaves: Vec<FloatTensor<B>>,
}

impl<B: Backend> Vector<B> {
    pub(crate) fn new(layout: Arc<Layout>, leaves: Vec<FloatTensor<B>>) -> Self {
        debug_assert_eq!(layout.leaves.len(), leaves.len());
        Self { layout, leaves }
    }

    /// The values that the variables of `layout` have in `module`.
    ///
    /// # Panics
    /// If `module` lacks one of the variables: it is another module.
    pub fn from_module<M: Module<B>>(layout: &Arc<Layout>, module: &M) -> Self {
        struct Read<'a, B: Backend> {
            layout: &'a Layout,
            leaves: Vec<Option<FloatTensor<B>>>,
        }
        impl<B: Backend> ModuleVisitor<B> for Read<'_, B> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
                if let Some(at) = self.layout.position(param.id) {
                    self.leaves[at] = Some(param.val().into_primitive().tensor());
                }
            }
        }
        let mut read = Read { layout, leaves: vec![None; layout.leaves.len()] };
        module.visit(&mut read);
        let leaves = read.leaves.into_iter().zip(&layout.leaves).map(|(value, leaf)| {
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
    /// Parameters are replaced, never written through: other clones of the module keep their values.
    pub fn write_into<M: Module<B>>(&self, module: M) -> M {
        module.map(&mut Replace::new(&self.layout, self.leaves.clone()))
    }

    /// The values in one list, leaf by leaf, each in row-major order.
    pub fn to_vec(&self) -> Vec<f64> {
        let mut values = Vec::with_capacity(self.layout.size());
        for leaf in &self.leaves {
            values.extend(read_data::<B>(leaf.clone()).iter::<f64>());
        }
        values
    }

    /// A vector from a list in the order of [`Vector::to_vec`].
    ///
    /// # Panics
    /// If the list has another length than the layout.
    pub fn from_slice(layout: &Arc<Layout>, values: &[f64], device: &Device<B>) -> Self {
        assert_eq!(
            values.len(),
            layout.size(),
            "a vector of this module has {} values",
            layout.size()
        );
        let mut rest = values;
        let leaves = layout.leaves.iter().map(|leaf| {
            let (head, tail) = rest.split_at(leaf.shape.num_elements());
            rest = tail;
            let data = TensorData::new(head.to_vec(), leaf.shape.clone()).convert_dtype(leaf.dtype);
            B::float_from_data(data, device)
        });
        Self { leaves: leaves.collect(), layout: layout.clone() }
    }

    /// The values bit for bit, one list a variable.
    pub fn to_data(&self) -> Vec<TensorData> {
        self.leaves.iter().cloned().map(read_data::<B>).collect()
    }

    /// A vector from what [`Vector::to_data`] gave.
    ///
    /// # Panics
    /// If the shapes or element types are not those of the layout.
    pub fn from_data(layout: &Arc<Layout>, data: Vec<TensorData>, device: &Device<B>) -> Self {
        let found = data.iter().map(|data| (&data.shape, data.dtype));
        assert!(
            found.eq(layout.leaves.iter().map(|leaf| (&leaf.shape, leaf.dtype))),
            "the lists of this layout have its shapes and element types"
        );
        let leaves = data.into_iter().map(|data| B::float_from_data(data, device));
        Self { leaves: leaves.collect(), layout: layout.clone() }
    }

    /// The variables this vector has a value for.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The tensors, one a variable.
    pub fn leaves(&self) -> &[FloatTensor<B>] {
        &self.leaves
    }

    /// The device of the first variable.
    pub fn device(&self) -> Device<B> {
        self.leaves.first().map(B::float_device).unwrap_or_default()
    }

    /// The variables at `positions`, as a vector of another layout whose variables have their shapes, in
    /// order.
    ///
    /// # Panics
    /// If the shapes are others, or a position is not one of this vector's.
    pub fn part(&self, positions: &[usize], layout: &Arc<Layout>) -> Self {
        let leaves: Vec<_> = positions.iter().map(|&at| self.leaves[at].clone()).collect();
        let shapes = leaves.iter().map(|leaf| leaf.shape());
        assert!(
            shapes.eq(layout.leaves.iter().map(|leaf| leaf.shape.clone())),
            "a part of a vector takes a layout of the same shapes"
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
            leaves[at] = B::float_add(leaves[at].clone(), added.clone());
        }
        Self { layout: self.layout.clone(), leaves }
    }

    /// The variables of a [part](Layout::part) of this vector's layout.
    ///
    /// # Panics
    /// If a variable of `part` is not one of this vector's.
    pub fn only(&self, part: &Arc<Layout>) -> Self {
        let at = |leaf: &Leaf| self.layout.position(leaf.id).expect("a part of the same layout");
        let leaves = part.leaves.iter().map(|leaf| self.leaves[at(leaf)].clone());
        Self { leaves: leaves.collect(), layout: part.clone() }
    }

    /// `self + a * part`, `part` being zero in the variables that it lacks.
    ///
    /// # Panics
    /// If a variable of `part` is not one of this vector's.
    pub fn axpy_part(&self, a: f64, part: &Self) -> Self {
        let at = |leaf: &Leaf| self.layout.position(leaf.id).expect("a part of the same layout");
        let positions: Vec<_> = part.layout.leaves.iter().map(at).collect();
        self.add_part(&positions, &part.scale(a))
    }

    // ---- algebra ---------------------------------------------------------------------------------

    /// Applies `f` to every leaf.
    pub fn map(&self, f: impl FnMut(FloatTensor<B>) -> FloatTensor<B>) -> Self {
        Self { layout: self.layout.clone(), leaves: self.leaves.iter().cloned().map(f).collect() }
    }

    /// Applies `f` to every pair of leaves.
    pub fn zip(
        &self,
        other: &Self,
        mut f: impl FnMut(FloatTensor<B>, FloatTensor<B>) -> FloatTensor<B>,
    ) -> Self {
        self.check_same(other);
        let pairs = self.leaves.iter().cloned().zip(other.leaves.iter().cloned());
        Self { layout: self.layout.clone(), leaves: pairs.map(|(a, b)| f(a, b)).collect() }
    }

    /// Zeros.
    pub fn zeros_like(&self) -> Self {
        self.map(|leaf| B::float_zeros(leaf.shape(), &B::float_device(&leaf), leaf.dtype().into()))
    }

    /// `self + other`.
    pub fn add(&self, other: &Self) -> Self {
        self.zip(other, B::float_add)
    }

    /// `self - other`.
    pub fn sub(&self, other: &Self) -> Self {
        self.zip(other, B::float_sub)
    }

    /// `a * self`.
    pub fn scale(&self, a: f64) -> Self {
        self.map(|leaf| B::float_mul_scalar(leaf, Scalar::Float(a)))
    }

    /// `self + a * other`.
    pub fn axpy(&self, a: f64, other: &Self) -> Self {
        if a == 1.0 {
            return self.add(other);
        }
        self.zip(other, |x, d| B::float_add(x, B::float_mul_scalar(d, Scalar::Float(a))))
    }

    /// The inner product, summed on the device and read once.
    pub fn dot(&self, other: &Self) -> f64 {
        self.check_same(other);
        let pairs = self.leaves.iter().cloned().zip(other.leaves.iter().cloned());
        read_sum::<B>(pairs.map(|(a, b)| B::float_sum(B::float_mul(a, b))))
    }

    /// The Euclidean norm.
    pub fn norm(&self) -> f64 {
        self.dot(self).sqrt()
    }

    /// Whether no entry is NaN or infinite.
    pub fn all_finite(&self) -> bool {
        // 0 * x is 0 for every finite x and NaN for the others.
        let spoilt = self
            .leaves
            .iter()
            .cloned()
            .map(|leaf| B::float_sum(B::float_mul_scalar(leaf, Scalar::Float(0.0))));
        read_sum::<B>(spoilt).is_finite()
    }

    pub(crate) fn check_same(&self, other: &Self) {
        assert!(
            Arc::ptr_eq(&self.layout, &other.layout) || self.layout == other.layout,
            "vectors of two modules do not combine: one has {} variables with {} values, the other \
             {} with {}",
            self.layout.leaves.len(),
            self.layout.size(),
            other.layout.leaves.len(),
            other.layout.size(),
        );
    }
}

/// Sets the variables of a module; the rest of it stays as it is.
pub(crate) struct Replace<'a, B: Backend> {
    layout: &'a Layout,
    leaves: Vec<FloatTensor<B>>,
}

impl<'a, B: Backend> Replace<'a, B> {
    pub(crate) fn new(layout: &'a Layout, leaves: Vec<FloatTensor<B>>) -> Self {
        Self { layout, leaves }
    }
}

impl<B: Backend> ModuleMapper<B> for Replace<'_, B> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let Some(at) = self.layout.position(param.id) else {
            return param;
        };
        let value = TensorPrimitive::Float(self.leaves[at].clone());
        Param::initialized(param.id, Tensor::from_primitive(value))
    }
}

/// The sum of one-element tensors; 0 for none.
fn read_sum<B: Backend>(terms: impl Iterator<Item = FloatTensor<B>>) -> f64 {
    terms.reduce(B::float_add).map_or(0.0, read_scalar::<B>)
}

/// The value of a one-element tensor. Waits for the device.
pub(crate) fn read_scalar<B: Backend>(tensor: FloatTensor<B>) -> f64 {
    read_data::<B>(tensor).iter::<f64>().next().unwrap_or(f64::NAN)
}

fn read_data<B: Backend>(tensor: FloatTensor<B>) -> TensorData {
    read_sync(B::float_into_data(tensor))
        .unwrap_or_else(|error| panic!("the device failed while a tensor was read: {error}"))
}
