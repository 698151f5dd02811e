//! How much an operation computes.

use burn::backend::ir::{FloatOperationIr, ModuleOperationIr, OperationIr, TensorIr};

/// Multiplications and additions of a matrix product or a convolution; 0 for operations that pass over their arguments
/// once.
pub(crate) fn flops(operation: &OperationIr) -> u64 {
    let last = |tensor: &TensorIr| tensor.shape.last().copied().unwrap_or(1);
    let numbers = |tensor: &TensorIr| tensor.shape.num_elements();
    // Each number of the output of a convolution takes a kernel of inputs; so do both of its backward passes.
    let convolution = |out: usize, weight: &TensorIr| {
        out * numbers(weight) / weight.shape.first().copied().unwrap_or(1).max(1)
    };
    let products = match operation {
        OperationIr::Float(_, FloatOperationIr::Matmul(d)) => numbers(&d.out) * last(&d.lhs),
        OperationIr::Module(module) => match module {
            ModuleOperationIr::Linear(d) => numbers(&d.out) * last(&d.x),
            ModuleOperationIr::LinearXBackward(d) => numbers(&d.out) * last(&d.output_grad),
            ModuleOperationIr::LinearWeightBackward(d) => numbers(&d.x) * last(&d.output_grad),
            ModuleOperationIr::Conv1d(d) => convolution(numbers(&d.out), &d.weight),
            ModuleOperationIr::Conv2d(d) => convolution(numbers(&d.out), &d.weight),
            ModuleOperationIr::Conv3d(d) => convolution(numbers(&d.out), &d.weight),
            ModuleOperationIr::Conv2dXBackward(d) => {
                convolution(numbers(&d.output_grad), &d.weight)
            }
            ModuleOperationIr::Conv2dWeightBackward(d) => {
                convolution(numbers(&d.output_grad), &d.weight)
            }
            _ => 0,
        },
        _ => 0,
    };
    2 * products as u64
}
