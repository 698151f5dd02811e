//! The variables of a module.

use std::sync::Arc;

use burn::backend::TensorMetadata;
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Shape, Tensor};

use crate::{TraceError, Vector};

/// One variable: a trainable parameter of a module.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    /// The identity Burn gave the parameter.
    pub id: ParamId,
    /// Its path in the module, such as `layer.weight`.
    pub path: String,
    /// Its shape.
    pub shape: Shape,
    /// Its element type.
    pub dtype: DType,
}

/// The variables of a module, in the order in which Burn visits them.
///
/// Frozen parameters (`no_grad`) and running statistics are not variables. A parameter that occurs at several places of
/// the module is one variable: its value is that of the first place, and it is set at all of them.
#[derive(Debug, PartialEq)]
pub struct Layout {
    leaves: Vec<Leaf>,
}

impl Layout {
    /// The trainable parameters of `module`, initialising the lazy ones.
    pub fn of<M: Module>(module: &M) -> Arc<Self> {
        struct Collect {
            path: Vec<String>,
            leaves: Vec<Leaf>,
        }
        impl ModuleVisitor for Collect {
            fn enter_module(&mut self, name: &str, _: &str) {
                self.path.push(name.to_owned());
            }
            fn exit_module(&mut self, _: &str, _: &str) {
                self.path.pop();
            }
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                // Parameters are shared if one tensor serves two layers: one variable, once.
                if is_trainable(param) && self.leaves.iter().all(|leaf| leaf.id != param.id) {
                    let value = param.base();
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

    /// The dimension of a vector of this layout.
    pub fn size(&self) -> usize {
        self.leaves.iter().map(|leaf| leaf.shape.num_elements()).sum()
    }

    /// The bytes of one vector of this layout.
    pub fn bytes(&self) -> usize {
        self.leaves.iter().map(|leaf| leaf.shape.num_elements() * leaf.dtype.size()).sum()
    }

    /// The positions of the variables at or below the path `prefix`; all of them for `""`.
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
    /// If a position is not in this layout.
    pub fn part(&self, positions: &[usize]) -> Arc<Self> {
        Arc::new(Self { leaves: positions.iter().map(|&at| self.leaves[at].clone()).collect() })
    }

    /// # Panics
    /// If a variable of `part` is not in this layout.
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

    /// Whether the variables have several element types.
    pub fn is_mixed(&self) -> bool {
        self.leaves.windows(2).any(|pair| pair[0].dtype != pair[1].dtype)
    }

    pub(crate) fn check_shape(&self, at: usize, found: &Shape) {
        let leaf = &self.leaves[at];
        assert!(
            leaf.shape == *found,
            "`{}` has the shape {found:?}, expected {:?}: take the layout from this module",
            leaf.path,
            leaf.shape
        );
    }

    pub(crate) fn check_type(&self, at: usize, found: DType) {
        let leaf = &self.leaves[at];
        assert!(
            leaf.dtype == found,
            "`{}` has the element type {found:?}, expected {:?}: take the layout from this module, or `cast` the module \
             back",
            leaf.path,
            leaf.dtype
        );
    }

    /// # Errors
    /// If a tensor of `vector`, which is of these variables, has another element type than its variable.
    pub(crate) fn check_types(&self, vector: &Vector) -> Result<(), TraceError> {
        let mut pairs = self.leaves.iter().zip(vector.leaves());
        match pairs.find(|(leaf, tensor)| leaf.dtype != tensor.dtype()) {
            Some((leaf, tensor)) => Err(TraceError::ElementType {
                path: leaf.path.clone(),
                found: format!("{:?}", tensor.dtype()),
                expected: format!("{:?}", leaf.dtype),
            }),
            None => Ok(()),
        }
    }

    /// The position of a parameter among the variables.
    pub fn position(&self, id: ParamId) -> Option<usize> {
        self.leaves.iter().position(|leaf| leaf.id == id)
    }
}

/// Whether a parameter is trainable. Burn remembers it on devices without gradients too, and restores it when a module
/// moves to one with gradients.
fn is_trainable<const D: usize>(param: &Param<Tensor<D>>) -> bool {
    param.clone().valid().train().is_require_grad()
}
