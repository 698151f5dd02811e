//! Passes on GPUs: one kernel each.

use bilevel_cube::Kernel;
use burn::backend::Cube;
use burn::backend::ir::{HandleKind, TensorIr};

use super::Passes;
use crate::cube::{converted, is_cube};
use crate::execute::Slots;
use crate::fuse::{Pass, RowPass};
use crate::program::number;

/// Passes on GPUs.
pub(super) fn passes() -> Passes<Cube> {
    Passes { run: run_pass, with_products: false, keeps_zeros: true, run_rows }
}

fn run_pass(pass: &Pass, slots: &mut Slots<Cube>) -> bool {
    let kernel = pass.kernel.get_or_init(|| {
        let entries = pass.arguments.iter().map(|argument| argument.shape.num_elements());
        Kernel::new(&pass.fused, &entries.collect::<Vec<_>>())
    });
    kernel.as_ref().is_some_and(|kernel| run(kernel, &pass.arguments, &pass.results, slots))
}

fn run_rows(pass: &RowPass, slots: &mut Slots<Cube>) -> bool {
    let kernel = pass.kernel.get_or_init(|| Kernel::of_rows(&pass.rows));
    kernel.as_ref().is_some_and(|kernel| run(kernel, &pass.arguments, &pass.results, slots))
}

/// Runs a kernel, if the device can; whether it was run. With Burn's own fusion, that executes the operations.
fn run(
    kernel: &Kernel,
    arguments: &[TensorIr],
    results: &[TensorIr],
    slots: &mut Slots<Cube>,
) -> bool {
    let first = arguments.first().and_then(|first| slots.peek(number(first)));
    let fits = match first {
        Some(HandleKind::Float(tensor)) => is_cube(tensor).is_some_and(|first| kernel.fits(first)),
        Some(HandleKind::Bool(tensor)) => is_cube(tensor).is_some_and(|first| kernel.fits(first)),
        Some(HandleKind::Int(tensor)) => is_cube(tensor).is_some_and(|first| kernel.fits(first)),
        _ => false,
    };
    if !fits {
        return false;
    }
    let arguments = arguments.iter().map(|argument| match slots.read(argument) {
        Some(HandleKind::Float(tensor)) => converted(tensor),
        Some(HandleKind::Bool(tensor)) => converted(tensor),
        Some(HandleKind::Int(tensor)) => converted(tensor),
        _ => panic!("a tensor is written before it is read"),
    });
    let made = kernel.run(arguments.collect());
    for (result, tensor) in results.iter().zip(made) {
        let value = match result.dtype.is_bool() {
            true => HandleKind::Bool(converted(tensor)),
            false => HandleKind::Float(converted(tensor)),
        };
        slots.set(number(result), value);
    }
    true
}
