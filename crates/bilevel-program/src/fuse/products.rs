//! Products of matrices with few terms, which a pass on Flex computes where it reads them.
//!
//! The gradient of a layer with few outputs, `D W'`, has as many entries as the layer has inputs, and each is a sum of few
//! terms: to write it and read it again takes longer than to compute it.

use burn::backend::ir::{FloatOperationIr as Float, MatmulOpIr, OperationIr};
use burn::tensor::DType;

use super::Elementwise;
use crate::program::number;
use crate::small::LARGEST;

/// The most terms of such a product.
const TERMS: usize = 16;

/// The fewest columns: they are computed side by side.
const COLUMNS: usize = 32;

/// A large product of two matrices with few terms.
pub(super) fn few_terms(operation: &OperationIr) -> Option<&MatmulOpIr> {
    let OperationIr::Float(_, Float::Matmul(product)) = operation else { return None };
    let &[rows, terms] = product.lhs.shape.as_slice() else { return None };
    let &[_, columns] = product.rhs.shape.as_slice() else { return None };
    let has_kernel = matches!(product.out.dtype, DType::F32 | DType::F64);
    let is_large = rows * columns > LARGEST && columns >= COLUMNS;
    (has_kernel && is_large && (1..=TERMS).contains(&terms)).then_some(product)
}

/// A group of operations that follow each other.
pub(crate) struct Group<'a> {
    /// Products of few terms that only the others read.
    pub(crate) products: Vec<&'a OperationIr>,
    pub(crate) operations: Vec<&'a OperationIr>,
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
    let of = |group: &Vec<&OperationIr>| match group.as_slice() {
        [one] => few_terms(one).and_then(reader),
        _ => None,
    };
    let readers: Vec<Option<usize>> = groups.iter().map(of).collect();
    let products = |at: usize| {
        let read_there =
            groups.iter().zip(&readers).filter(move |(_, reader)| **reader == Some(at));
        read_there.map(|(product, _)| product[0]).collect()
    };
    let kept = (0..groups.len()).filter(|at| readers[*at].is_none());
    kept.map(|at| Group { products: products(at), operations: groups[at].clone() }).collect()
}
