//! Several operations in one kernel, on any GPU of CubeCL.
//!
//! A [`Kernel`] is one dispatch: each entry of its results is computed from the entries on which it depends, and
//! intermediate values take no memory. It is made of elementwise operations, a [`Fused`], or of operations on the
//! [rows](Rows) of matrices, which may reduce them. It is compiled once for the same operations on tensors of the same
//! sizes.

mod kernel;
mod lower;
mod order;
mod rows;
mod vectors;

use std::sync::Arc;

use bilevel_flex::fused::{self, Fused, Reading};
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::ir::{ElemType, FloatKind, IntKind, UIntKind};
use cubecl::prelude::*;

use kernel::{Argument, Instruction, Kind, Output, Plan};
use lower::{Constants, positions};
use order::Order;

pub use rows::{
    Instruction as RowInstruction, MOST_COLUMNS, Operation as RowOperation, Output as RowOutput,
    Reading as RowReading, Rows,
};
pub use vectors::{axpy, not_finite, products, scale};

/// Tensors as an argument of a kernel; the type of their elements is its own.
macro_rules! sequence {
    ($tensors:ident) => {{
        let mut sequence = SequenceArg::new();
        $tensors.into_iter().for_each(|tensor| sequence.push(tensor.into_buffer_arg()));
        sequence
    }};
}
pub(crate) use sequence;

/// The number of bindings that CubeCL reserves, of those that a device gives to a kernel.
const RESERVED: usize = 2;

/// Operations as one kernel.
#[derive(Debug)]
pub struct Kernel {
    /// Shared: it names the compiled kernel at each launch.
    plan: Arc<Plan>,
    /// The shapes and types of the results.
    results: Vec<fused::Output>,
}

impl Kernel {
    /// Elementwise operations, for arguments with these numbers of entries. None if this cannot be one kernel: if the
    /// numbers are not f32, or a constant of the operations is not finite, which shaders cannot express.
    ///
    /// # Panics
    /// If there are fewer lengths than arguments.
    pub fn new(fused: &Fused, entries: &[usize]) -> Option<Self> {
        Some(Self::from_plan(plan(fused, entries)?, fused.results().iter()))
    }

    fn from_plan<'a>(plan: Plan, results: impl Iterator<Item = &'a fused::Output>) -> Self {
        Self { plan: Arc::new(plan), results: results.cloned().collect() }
    }

    /// Whether the device of this tensor can bind as many tensors to a kernel, and has cubes for its rows.
    pub fn fits(&self, tensor: &CubeTensor) -> bool {
        let most = tensor.client.properties().hardware.max_bindings;
        let bindings = self.plan.arguments.len() + self.plan.results.len();
        bindings + RESERVED <= most as usize && rows::fits(&self.plan, tensor)
    }

    /// The results for tensors that are the arguments, of their sizes and types, on one device. In memory, results of
    /// elementwise operations have the order of axes that all arguments of their shape share, others that of the shape.
    ///
    /// # Panics
    /// If there are not as many tensors as arguments, or none.
    pub fn run(&self, tensors: Vec<CubeTensor>) -> Vec<CubeTensor> {
        let plan = &*self.plan;
        assert_eq!(tensors.len(), plan.arguments.len(), "as many tensors as arguments");
        let (client, device) = (tensors[0].client.clone(), tensors[0].device.clone());
        let order = self.order(&tensors);
        let made: Vec<_> = self
            .results
            .iter()
            .map(|result| {
                let (client, device) = (client.clone(), device.clone());
                let empty =
                    |shape| empty_device_contiguous_dtype(client, device, shape, result.dtype);
                match &order {
                    Some(order) => order.back(empty(order.permuted(&result.shape).into())),
                    None => empty(result.shape.clone()),
                }
            })
            .collect();
        let mut store = ElemType::UInt(UIntKind::U32);
        let mut index = ElemType::Int(IntKind::I32);
        let (mut numbers, mut masks, mut indices) = (Vec::new(), Vec::new(), Vec::new());
        for (argument, tensor) in plan.arguments.iter().zip(tensors) {
            let stays = order.is_some() && argument.is_each();
            let tensor = if stays { tensor } else { into_contiguous(tensor) };
            match argument.kind {
                Kind::Number => numbers.push(tensor),
                Kind::Mask => {
                    store = mask_store(&tensor);
                    masks.push(tensor);
                }
                Kind::Index => {
                    let long = tensor.dtype.size() == 8;
                    index = ElemType::Int(if long { IntKind::I64 } else { IntKind::I32 });
                    indices.push(tensor);
                }
            }
        }
        let (mut number_results, mut mask_results) = (Vec::new(), Vec::new());
        for (result, tensor) in plan.results.iter().zip(&made) {
            if result.mask {
                store = mask_store(tensor);
                mask_results.push(tensor.clone());
            } else {
                number_results.push(tensor.clone());
            }
        }
        let float = ElemType::Float(FloatKind::F32);
        if plan.columns > 0 {
            let (dimension, units) = rows::cubes(plan);
            kernel::rows::launch(
                &client,
                calculate_cube_count_elemwise(&client, units, dimension),
                dimension,
                sequence!(numbers),
                sequence!(masks),
                sequence!(indices),
                sequence!(number_results),
                sequence!(mask_results),
                self.plan.clone(),
                [float, store, index],
            );
        } else {
            let dimension = CubeDim::new(&client, plan.len);
            kernel::pass::launch(
                &client,
                calculate_cube_count_elemwise(&client, plan.len, dimension),
                dimension,
                sequence!(numbers),
                sequence!(masks),
                sequence!(number_results),
                sequence!(mask_results),
                self.plan.clone(),
                Arc::new(order.map_or_else(Vec::new, |order| order.axes())),
                [float, store],
            );
        }
        made
    }

    /// The order of axes in memory that all tensors share which have an entry for each entry of the results, if it is not
    /// that of the shape: results get it too, and nothing is copied.
    fn order(&self, tensors: &[CubeTensor]) -> Option<Order> {
        if self.plan.columns > 0 {
            return None;
        }
        let arguments = self.plan.arguments.iter().zip(tensors);
        let mut each = arguments.filter(|(argument, _)| argument.is_each());
        let (_, first) = each.next()?;
        let order = Order::of(first)?;
        let shape = first.meta.shape();
        let same = self.results.iter().all(|result| result.shape == *shape)
            && each.all(|(_, tensor)| {
                tensor.meta.shape() == shape && Order::of(tensor).as_ref() == Some(&order)
            });
        (same && !order.is_row_major()).then_some(order)
    }
}

/// How a device holds masks.
fn mask_store(mask: &CubeTensor) -> ElemType {
    let bytes = mask.dtype.size() == 1;
    ElemType::UInt(if bytes { UIntKind::U8 } else { UIntKind::U32 })
}

fn plan(fused: &Fused, entries: &[usize]) -> Option<Plan> {
    if fused.dtype().size() != 4 {
        return None;
    }
    let mut next = positions();
    let arguments = fused.arguments().iter().zip(entries).map(|(reading, &len)| {
        let (kind, run, wraps) = match reading {
            Reading::Each => (Kind::Number, 1, false),
            Reading::Mask => (Kind::Mask, 1, false),
            Reading::Repeated => (Kind::Number, 1, true),
            Reading::Runs(run) => (Kind::Number, *run, false),
            Reading::Product { .. } => return None,
        };
        Some(Argument { kind, at: next(kind), run, wraps, len })
    });
    let arguments = arguments.collect::<Option<Vec<_>>>()?;
    assert_eq!(arguments.len(), fused.arguments().len(), "as many lengths as arguments");
    let operations = fused.steps().iter().map(|step| step.operation);
    let mut constants = Constants::of(arguments.len(), operations)?;
    let count = constants.len();
    let value = |of: usize| if of < arguments.len() { of } else { of + count };
    let steps = fused.steps().iter().map(|step| {
        let (code, of) = constants.placed(step.operation, step.of.map(value));
        Instruction { code, of }
    });
    let steps = steps.collect();
    let mut next = positions();
    let results = fused.results().iter().map(|result| {
        let mask = result.dtype != fused.dtype();
        let at = next(if mask { Kind::Mask } else { Kind::Number });
        Output { value: value(result.value), mask, per_row: false, at }
    });
    let results = results.collect();
    let (len, constants) = (fused.entries(), constants.bits());
    Some(Plan { len, columns: 0, together: 0, arguments, constants, steps, results })
}
