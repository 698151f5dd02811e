//! Products of matrices with few terms, which a pass on Flex computes where it reads them.
//!
//! The gradient of a layer with few outputs, `D W'`, has as many entries as the layer has inputs, and each is a sum of few
//! terms: to write it and read it again takes longer than to compute it.

use std::mem::take;
use std::ops::RangeInclusive;

use burn::backend::ir::{FloatOperationIr as Float, MatmulOpIr, OperationIr};
use burn::tensor::DType;

use super::Elementwise;
use crate::program::number;
use crate::small::LARGEST;

/// The terms of such a product: for fewer, `gemm` rounds products and sums separately.
const TERMS: RangeInclusive<usize> = 3..=16;

/// The fewest columns: they are computed side by side.
const COLUMNS: usize = 32;

/// A large product of two matrices with few terms.
pub(super) fn few_terms(operation: &OperationIr) -> Option<&MatmulOpIr> {
    let OperationIr::Float(_, Float::Matmul(product)) = operation else { return None };
    let &[rows, terms] = product.lhs.shape.as_slice() else { return None };
    let &[_, columns] = product.rhs.shape.as_slice() else { return None };
    let has_kernel = matches!(product.out.dtype, DType::F32 | DType::F64);
    // A single row is a product with a vector for `gemm`.
    let is_large = rows * columns > LARGEST && columns >= COLUMNS && rows > 1;
    (has_kernel && is_large && TERMS.contains(&terms)).then_some(product)
}

/// A group of operations that follow each other.
pub(crate) struct Group<'a> {
    /// Products of few terms that only the others read.
    pub(crate) products: Vec<&'a OperationIr>,
    pub(crate) operations: Vec<&'a OperationIr>,
}

impl<'a> Group<'a> {
    /// All operations, in order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &'a OperationIr> {
        self.products.iter().chain(&self.operations).copied()
    }
}

/// Takes each product of few terms to the elementwise group that reads it, if no other does; `uses` says how often each
/// tensor is read.
pub(crate) fn with_products<'a>(groups: &[Vec<&'a OperationIr>], uses: &[usize]) -> Vec<Group<'a>> {
    let reader = |product: &MatmulOpIr| {
        let tensor = number(&product.out);
        let reads = |group: &Vec<&OperationIr>| {
            let inputs = group.iter().flat_map(|operation| operation.inputs());
            let count = inputs.filter(|input| number(input) == tensor).count();
            count > 0 && count == uses[tensor]
        };
        let is_elementwise = |group: &[&OperationIr]| {
            group.iter().all(|operation| Elementwise::of(operation).is_some())
        };
        groups.iter().position(reads).filter(|at| is_elementwise(&groups[*at]))
    };
    let mut products = vec![Vec::new(); groups.len()];
    let mut kept = Vec::new();
    for (at, group) in groups.iter().enumerate() {
        let reader = match group.as_slice() {
            [one] => few_terms(one).and_then(reader),
            _ => None,
        };
        match reader {
            Some(reader) => products[reader].push(group[0]),
            None => kept.push(at),
        }
    }
    let with =
        |at: usize| Group { products: take(&mut products[at]), operations: groups[at].clone() };
    kept.into_iter().map(with).collect()
}
