//! The order of the axes of a tensor in memory: convolutions, for example, put channels last.

use std::cmp::Reverse;

use burn_cubecl::ops::permute;
use burn_cubecl::tensor::CubeTensor;

use crate::kernel::Axis;

/// The axes of a tensor that fills its memory, the slowest first; those of size 1 come before all others.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Order {
    axes: Vec<usize>,
    sizes: Vec<usize>,
}

impl Order {
    /// None if entries share memory, or there are gaps between them.
    pub(crate) fn of(tensor: &CubeTensor) -> Option<Self> {
        let (sizes, strides) = (tensor.meta.shape().to_vec(), tensor.meta.strides().to_vec());
        let mut axes: Vec<_> = (0..sizes.len()).collect();
        // The stride of an axis of size 1 means nothing.
        let stride = |axis| if sizes[axis] == 1 { usize::MAX } else { strides[axis] };
        axes.sort_by_key(|&axis| Reverse(stride(axis)));
        let mut next = 1;
        for &axis in axes.iter().rev().filter(|&&axis| sizes[axis] != 1) {
            if strides[axis] != next {
                return None;
            }
            next *= sizes[axis];
        }
        Some(Self { axes, sizes })
    }

    pub(crate) fn is_row_major(&self) -> bool {
        let large: Vec<_> = self.axes.iter().filter(|&&axis| self.sizes[axis] != 1).collect();
        large.is_sorted()
    }

    /// A shape with its axes in this order.
    pub(crate) fn permuted(&self, shape: &[usize]) -> Vec<usize> {
        self.axes.iter().map(|&axis| shape[axis]).collect()
    }

    /// A tensor whose axes are in this order, with the axes of the shape.
    pub(crate) fn back(&self, tensor: CubeTensor) -> CubeTensor {
        let mut places = vec![0; self.axes.len()];
        for (place, &axis) in self.axes.iter().enumerate() {
            places[axis] = place;
        }
        permute(tensor, &places)
    }

    /// The axes as kernels see them.
    pub(crate) fn axes(&self) -> Vec<Axis> {
        let stride = |axis: usize| self.sizes[axis + 1..].iter().product();
        self.axes
            .iter()
            .map(|&axis| Axis { size: self.sizes[axis], stride: stride(axis) })
            .filter(|axis| axis.size != 1)
            .collect()
    }
}
