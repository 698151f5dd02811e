//! Passes on GPUs: one kernel each.

use std::any::Any;

use bilevel_cube::Kernel;
use burn::backend::Cube;
use burn::backend::ir::HandleKind;
use burn_cubecl::tensor::CubeTensor;

use super::Passes;
use crate::execute::Slots;
use crate::fuse::Pass;
use crate::program::number;

/// Passes on GPUs.
pub(super) fn passes() -> Passes<Cube> {
    Passes { run: one_kernel, with_products: false }
}

/// A pass as one kernel, if possible; whether it was run.
///
/// With Burn's own fusion, which another crate of the build may have enabled, tensors are those of that backend: then
/// it executes the operations.
fn one_kernel(pass: &Pass, slots: &mut Slots<Cube>) -> bool {
    let kernel = pass.kernel.get_or_init(|| {
        let entries = pass.arguments.iter().map(|argument| argument.shape.num_elements());
        Kernel::new(&pass.fused, &entries.collect::<Vec<_>>())
    });
    let Some(kernel) = kernel else { return false };
    let first = pass.arguments.first().and_then(|first| slots.peek(number(first)));
    let fits = match first {
        Some(HandleKind::Float(tensor)) => is_cube(tensor).is_some_and(|first| kernel.fits(first)),
        Some(HandleKind::Bool(tensor)) => is_cube(tensor).is_some_and(|first| kernel.fits(first)),
        _ => false,
    };
    if !fits {
        return false;
    }
    let arguments = pass.arguments.iter().map(|argument| match slots.read(argument) {
        Some(HandleKind::Float(tensor)) => converted(tensor),
        Some(HandleKind::Bool(tensor)) => converted(tensor),
        _ => panic!("a tensor is written before it is read"),
    });
    let results = kernel.run(&pass.fused, arguments.collect());
    for (result, tensor) in pass.results.iter().zip(results) {
        let value = match result.dtype.is_bool() {
            true => HandleKind::Bool(converted(tensor)),
            false => HandleKind::Float(converted(tensor)),
        };
        slots.set(number(result), value);
    }
    true
}

fn is_cube(tensor: &dyn Any) -> Option<&CubeTensor> {
    tensor.downcast_ref()
}

/// The same tensor under the name of its type; they are the same where the first is one of CubeCL.
fn converted<A: 'static, B: 'static>(tensor: A) -> B {
    let mut tensor = Some(tensor);
    let same = (&mut tensor as &mut dyn Any).downcast_mut::<Option<B>>();
    same.and_then(Option::take).expect("all tensors of a backend are of one type")
}
