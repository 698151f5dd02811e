//! Programs of small tensors on Flex, in memory that is kept from call to call.
//!
//! A tensor of Flex costs four allocations, which is more than the arithmetic where it has a few hundred entries. So here
//! the results of operations are numbers in registers, buffers of the calling thread: passes of elementwise operations and
//! products of matrices read and write them, reshaping and transposing give them another name. Any other operation is
//! executed on tensors that are made for it. Masks are numbers, 1 and 0, outside of such operations. The results have the
//! bits of single operations on tensors.

use std::cell::Cell;
use std::collections::HashMap;
use std::mem::take;

use bilevel_flex::fused::Fused;
use bilevel_flex::slices::{self, Factor, Real};
use bilevel_flex::{FastFlex, FlexDevice, FlexTensor};
use burn::backend::ir::{
    BaseOperationIr as Base, FloatOperationIr as Float, HandleKind, IrVisitorMut, OperationIr,
    TensorId, TensorIr, TensorStatus,
};
use burn::tensor::{DType, Shape};
use smallvec::SmallVec;

use crate::execute::Slots;
use crate::fuse::{self, Masks, Pass};
use crate::program::{Output, number};
use crate::replay::perform;
use crate::stop::stops;

/// The largest tensor that is small: larger ones are worth all threads.
const LARGEST: usize = 1 << 16;

/// The largest product of matrices, in multiplications.
const LARGEST_PRODUCT: usize = 1 << 20;

/// A program as actions on registers.
pub(crate) struct Small {
    dtype: DType,
    /// How the tensors from outside are used: the inputs, then those that depend on no input.
    outside: Vec<Use>,
    actions: Vec<Action>,
    /// The length of each register.
    registers: Vec<usize>,
    /// How many tensors there are at most that are not numbers.
    slots: usize,
    results: Vec<Result>,
}

/// How a tensor from outside is used.
#[derive(Clone, Copy, Debug)]
enum Use {
    Not,
    /// This many numbers.
    Numbers(usize),
    /// A mask, of which a register has the numbers.
    Mask(usize),
    /// A tensor, in this slot.
    Tensor(usize),
}

/// Numbers: where they are, and how many.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    place: Place,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Outside(usize),
    Register(usize),
}

/// What is done at once.
#[allow(clippy::large_enum_variant, reason = "a few dozen, that are kept")]
enum Action {
    Pass {
        fused: Fused,
        arguments: Vec<Numbers>,
        results: Vec<usize>,
        len: usize,
    },
    /// Of matrices of sizes `[m, k]` and `[k, n]`, or their transposes.
    Product {
        a: (Numbers, bool),
        b: (Numbers, bool),
        out: usize,
        sizes: [usize; 3],
    },
    /// An operation on tensors, of which some are made for it, and some become numbers.
    Other {
        operation: OperationIr,
        made: Vec<(TensorIr, Numbers)>,
        kept: Vec<(TensorIr, usize)>,
    },
}

enum Result {
    Numbers(Numbers),
    Tensor(usize),
    Zero,
}

impl Small {
    /// The program in registers, if all its tensors are small and some are of f32 or f64.
    pub(crate) fn of(
        outside: &[&TensorIr],
        groups: &[Vec<&OperationIr>],
        outputs: &[Output],
    ) -> Option<Self> {
        let made = || groups.iter().flatten().flat_map(|operation| operation.outputs());
        let all = || outside.iter().copied().chain(made());
        if all().any(|tensor| tensor.shape.num_elements() > LARGEST) {
            return None;
        }
        let dtypes = || all().map(|tensor| tensor.dtype);
        let dtype = dtypes().find(|dtype| matches!(dtype, DType::F32 | DType::F64))?;
        let mut builder = Builder::new(dtype, groups, outputs);
        builder.enter(outside);
        let items = std::mem::take(&mut builder.items);
        items.into_iter().for_each(|item| builder.act(item));
        Some(builder.done(outputs))
    }

    /// The results, or none if a tensor is not dense or of another type than was recorded.
    pub(crate) fn run<'a>(
        &self,
        outside: &[&FlexTensor],
        outputs: impl Iterator<Item = &'a Output>,
        device: &FlexDevice,
    ) -> Option<Vec<FlexTensor>> {
        match self.dtype {
            DType::F32 => self.run_in::<f32>(outside, outputs, device),
            _ => self.run_in::<f64>(outside, outputs, device),
        }
    }

    fn run_in<'a, T: Real>(
        &self,
        outside: &[&FlexTensor],
        outputs: impl Iterator<Item = &'a Output>,
        device: &FlexDevice,
    ) -> Option<Vec<FlexTensor>> {
        thread_local! {
            static REGISTERS: Cell<Vec<Vec<f64>>> = const { Cell::new(Vec::new()) };
        }
        let mut numbers: Few<&[T]> = Few::with_capacity(outside.len());
        for (tensor, usage) in outside.iter().zip(&self.outside) {
            numbers.push(match usage {
                Use::Numbers(len) => {
                    slices::entries::<T>(tensor).filter(|all| all.len() == *len)?
                }
                Use::Mask(_) => slices::mask_entries(tensor).map(|_| &[][..])?,
                Use::Not | Use::Tensor(_) => &[],
            });
        }
        let mut registers = REGISTERS.take();
        if registers.len() < self.registers.len() {
            registers.resize_with(self.registers.len(), Vec::new);
        }
        for (register, &len) in registers.iter_mut().zip(&self.registers) {
            let words = (len * size_of::<T>()).div_ceil(size_of::<f64>());
            if register.len() < words {
                register.resize(words, 0.0);
            }
        }
        let mut memory = Memory::<T> { outside: numbers, registers };
        let mut slots = Slots::new(self.slots);
        for (tensor, usage) in outside.iter().zip(&self.outside) {
            match usage {
                Use::Not | Use::Numbers(_) => {}
                Use::Mask(register) => memory.unmask(tensor, *register)?,
                Use::Tensor(slot) => slots.set(*slot, handle((*tensor).clone())),
            }
        }
        for action in &self.actions {
            action.run(&mut memory, &mut slots, device);
        }
        let results = self.results.iter().zip(outputs).map(|(result, output)| match result {
            Result::Numbers(of) => memory.tensor(*of, output.shape.clone(), output.dtype),
            Result::Tensor(slot) => flex(slots.get(*slot).expect("an output was computed")),
            Result::Zero => FlexTensor::zeros(output.shape.clone(), output.dtype),
        });
        let results = results.collect();
        REGISTERS.set(memory.registers);
        Some(results)
    }
}

/// Lists that are mostly short.
type Few<T> = SmallVec<[T; 16]>;

/// The numbers of a call.
struct Memory<'a, T> {
    outside: Few<&'a [T]>,
    registers: Vec<Vec<f64>>,
}

impl<T: Real> Memory<'_, T> {
    fn of(&self, numbers: Numbers) -> &[T] {
        let all = match numbers.place {
            Place::Outside(at) => self.outside[at],
            Place::Register(at) => slices::numbers(&self.registers[at]),
        };
        &all[..numbers.len]
    }

    /// Changes some numbers of a register, seeing the others.
    fn change(&mut self, register: usize, len: usize, change: impl FnOnce(&Self, &mut [T])) {
        let mut buffer = take(&mut self.registers[register]);
        change(self, &mut slices::numbers_mut(&mut buffer)[..len]);
        self.registers[register] = buffer;
    }

    fn tensor(&self, of: Numbers, shape: Shape, dtype: DType) -> FlexTensor {
        match dtype.is_bool() {
            true => slices::mask(self.of(of), shape, dtype),
            false => slices::tensor(self.of(of), shape),
        }
    }

    fn unmask(&mut self, mask: &FlexTensor, register: usize) -> Option<()> {
        let mask = slices::mask_entries(mask)?;
        self.change(register, mask.len(), |_, out| slices::unmask(out, mask));
        Some(())
    }
}

impl Action {
    fn run<T: Real>(
        &self,
        memory: &mut Memory<'_, T>,
        slots: &mut Slots<FastFlex>,
        device: &FlexDevice,
    ) {
        match self {
            Self::Pass { fused, arguments, results, len } => {
                let mut buffers: Few<Vec<f64>> =
                    results.iter().map(|result| take(&mut memory.registers[*result])).collect();
                let arguments: Few<&[T]> = arguments.iter().map(|of| memory.of(*of)).collect();
                let mut into: Few<&mut [T]> = buffers
                    .iter_mut()
                    .map(|buffer| &mut slices::numbers_mut(buffer)[..*len])
                    .collect();
                fused.run_on(&arguments, &mut into);
                drop((arguments, into));
                for (result, buffer) in results.iter().zip(buffers) {
                    memory.registers[*result] = buffer;
                }
            }
            Self::Product { a, b, out, sizes } => {
                memory.change(*out, sizes[0] * sizes[2], |memory, out| {
                    let factor = |(of, transposed): (Numbers, bool)| Factor {
                        entries: memory.of(of),
                        transposed,
                    };
                    slices::product(out, factor(*a), factor(*b), *sizes);
                });
            }
            Self::Other { operation, made, kept } => {
                for (tensor, numbers) in made {
                    let made = memory.tensor(*numbers, tensor.shape.clone(), tensor.dtype);
                    slots.set(number(tensor), handle(made));
                }
                perform(operation, slots, device);
                for (tensor, _) in made {
                    slots.take(number(tensor));
                }
                for (tensor, register) in kept {
                    let result = flex(slots.take(number(tensor)).expect("it was computed"));
                    let result =
                        if result.is_contiguous() { result } else { result.to_contiguous() };
                    if tensor.dtype.is_bool() {
                        memory.unmask(&result, *register).expect("a dense mask of bytes");
                    } else {
                        let numbers = slices::entries::<T>(&result).expect("dense, of this type");
                        memory.change(*register, numbers.len(), |_, out| {
                            out.copy_from_slice(numbers)
                        });
                    }
                }
            }
        }
    }
}

fn handle(tensor: FlexTensor) -> HandleKind<FastFlex> {
    match tensor.dtype() {
        dtype if dtype.is_float() => HandleKind::Float(tensor),
        dtype if dtype.is_bool() => HandleKind::Bool(tensor),
        _ => HandleKind::Int(tensor),
    }
}

fn flex(value: HandleKind<FastFlex>) -> FlexTensor {
    match value {
        HandleKind::Float(tensor) | HandleKind::Int(tensor) | HandleKind::Bool(tensor) => tensor,
        HandleKind::Quantized(_) => unreachable!("programs have no quantised tensors"),
    }
}

/// A part of the program before its tensors have places.
#[allow(clippy::large_enum_variant, reason = "a few dozen, that are kept")]
enum Item {
    Pass(Pass),
    One(OperationIr),
    /// An operation whose result is its argument in another shape, or the transpose.
    View,
}

/// Where a tensor is.
#[derive(Clone, Copy, Debug)]
enum Home {
    Numbers(Place),
    Slot(usize),
}

struct Builder {
    dtype: DType,
    items: Vec<Item>,
    /// Tensors that are others: their numbers, and whether they are those of the transpose.
    views: HashMap<usize, (usize, bool)>,
    /// How often each tensor is still read.
    uses: HashMap<usize, usize>,
    homes: HashMap<usize, Home>,
    outside: Vec<Use>,
    actions: Vec<Action>,
    registers: Vec<usize>,
    free: Vec<usize>,
    slots: usize,
}

impl Builder {
    fn new(dtype: DType, groups: &[Vec<&OperationIr>], outputs: &[Output]) -> Self {
        let mut reads: HashMap<usize, usize> = HashMap::new();
        for tensor in groups.iter().flatten().flat_map(|operation| operation.inputs()) {
            *reads.entry(number(tensor)).or_default() += 1;
        }
        outputs.iter().filter_map(|output| output.tensor).for_each(|tensor| {
            *reads.entry(tensor).or_default() += 1;
        });
        let mut builder = Self {
            dtype,
            items: Vec::with_capacity(groups.len()),
            views: HashMap::new(),
            uses: HashMap::new(),
            homes: HashMap::new(),
            outside: Vec::new(),
            actions: Vec::new(),
            registers: Vec::new(),
            free: Vec::new(),
            slots: 0,
        };
        for group in groups {
            let inside = |tensor: usize| {
                let read = group.iter().flat_map(|operation| operation.inputs());
                read.filter(|input| number(input) == tensor).count()
            };
            let is_used =
                |tensor: usize| reads.get(&tensor).is_some_and(|all| *all > inside(tensor));
            let pass = fuse::pass(group, Masks::Numbers, is_used);
            match pass.filter(|pass| pass.arguments.iter().all(|tensor| builder.is_numbers(tensor)))
            {
                Some(pass) => builder.items.push(Item::Pass(pass)),
                None => builder.items.extend(group.iter().map(|&one| Item::One(one.clone()))),
            }
        }
        builder.find_views(groups, outputs);
        builder.count(outputs);
        builder
    }

    /// Whether a tensor is kept as numbers.
    fn is_numbers(&self, tensor: &TensorIr) -> bool {
        tensor.dtype == self.dtype || fuse::is_mask(tensor)
    }

    fn find_views(&mut self, groups: &[Vec<&OperationIr>], outputs: &[Output]) {
        let mut of_products: HashMap<usize, bool> = HashMap::new();
        for operation in groups.iter().flatten() {
            let product = self.sizes_of_product(operation).is_some();
            for input in operation.inputs() {
                *of_products.entry(number(input)).or_insert(true) &= product;
            }
        }
        outputs.iter().filter_map(|output| output.tensor).for_each(|tensor| {
            of_products.insert(tensor, false);
        });
        for item in &mut self.items {
            let Item::One(operation) = &*item else { continue };
            let (of, out, transposed) = match operation {
                OperationIr::BaseFloat(Base::Reshape(d))
                | OperationIr::BaseBool(Base::Reshape(d)) => (&d.input, &d.out, false),
                OperationIr::BaseFloat(Base::SwapDims(d))
                    if d.input.shape.num_dims() == 2
                        && d.dim1 != d.dim2
                        && of_products.get(&number(&d.out)) == Some(&true) =>
                {
                    (&d.input, &d.out, true)
                }
                operation => match stops(operation) {
                    Some((of, out)) => (of, out, false),
                    None => continue,
                },
            };
            let (root, turned) = *self.views.get(&number(of)).unwrap_or(&(number(of), false));
            let numbers = of.dtype == self.dtype || fuse::is_mask(of);
            // The entries of a transpose are read by products alone, in the order of what it is the transpose of.
            if numbers && (!turned || transposed) {
                self.views.insert(number(out), (root, turned != transposed));
                *item = Item::View;
            }
        }
    }

    /// How often each tensor is read by what has been found.
    fn count(&mut self, outputs: &[Output]) {
        let mut read = Vec::new();
        for item in &self.items {
            match item {
                Item::Pass(pass) => read.extend(pass.arguments.iter().map(number)),
                Item::One(operation) => read.extend(operation.inputs().map(number)),
                Item::View => {}
            }
        }
        read.extend(outputs.iter().filter_map(|output| output.tensor));
        for tensor in read {
            let (root, _) = self.root(tensor);
            *self.uses.entry(root).or_default() += 1;
        }
    }

    fn root(&self, tensor: usize) -> (usize, bool) {
        *self.views.get(&tensor).unwrap_or(&(tensor, false))
    }

    fn enter(&mut self, outside: &[&TensorIr]) {
        for (at, tensor) in outside.iter().enumerate() {
            let (id, len) = (number(tensor), tensor.shape.num_elements());
            let used = self.uses.contains_key(&id);
            let usage = match (used, tensor.dtype == self.dtype, fuse::is_mask(tensor)) {
                (false, ..) => Use::Not,
                (_, true, _) => {
                    self.homes.insert(id, Home::Numbers(Place::Outside(at)));
                    Use::Numbers(len)
                }
                (_, _, true) => Use::Mask(self.give(tensor)),
                _ => {
                    self.homes.insert(id, Home::Slot(self.slots));
                    self.slots += 1;
                    Use::Tensor(self.slots - 1)
                }
            };
            self.outside.push(usage);
        }
    }

    /// A register for a tensor.
    fn give(&mut self, tensor: &TensorIr) -> usize {
        let len = tensor.shape.num_elements();
        // The smallest that is large enough, or else the largest.
        let fits = |register: &usize| {
            let has = self.registers[*register];
            if has >= len { (0, has - len) } else { (1, len - has) }
        };
        let best = (0..self.free.len()).min_by_key(|at| fits(&self.free[*at]));
        let register = match best {
            Some(at) => self.free.swap_remove(at),
            None => {
                self.registers.push(0);
                self.registers.len() - 1
            }
        };
        self.registers[register] = self.registers[register].max(len);
        self.homes.insert(number(tensor), Home::Numbers(Place::Register(register)));
        register
    }

    /// The numbers of a tensor, and whether they are those of its transpose.
    fn numbers(&self, tensor: &TensorIr) -> (Numbers, bool) {
        let (root, transposed) = self.root(number(tensor));
        match self.homes[&root] {
            Home::Numbers(place) => {
                (Numbers { place, len: tensor.shape.num_elements() }, transposed)
            }
            Home::Slot(_) => unreachable!("tensors of this type and masks are numbers"),
        }
    }

    /// One reading less of each tensor: the registers of those that are not needed any more are free.
    fn read(&mut self, tensors: impl Iterator<Item = usize>) {
        for tensor in tensors {
            let (root, _) = self.root(tensor);
            let uses = self.uses.get_mut(&root).expect("it was counted");
            *uses -= 1;
            if *uses == 0
                && let Some(Home::Numbers(Place::Register(register))) = self.homes.get(&root)
            {
                self.free.push(*register);
            }
        }
    }

    /// The registers of results that nothing reads.
    fn unused<'a>(&mut self, results: impl Iterator<Item = &'a TensorIr>) {
        for result in results {
            if !self.uses.contains_key(&number(result))
                && let Some(Home::Numbers(Place::Register(register))) =
                    self.homes.get(&number(result))
            {
                self.free.push(*register);
            }
        }
    }

    fn act(&mut self, item: Item) {
        match item {
            Item::View => {}
            Item::Pass(pass) => {
                let arguments: Vec<_> =
                    pass.arguments.iter().map(|tensor| self.numbers(tensor).0).collect();
                let results = pass.results.iter().map(|tensor| self.give(tensor)).collect();
                let len = pass.results[0].shape.num_elements();
                self.actions.push(Action::Pass { fused: pass.fused, arguments, results, len });
                self.read(pass.arguments.iter().map(number));
                self.unused(pass.results.iter());
            }
            Item::One(operation) => {
                let action = self.product(&operation);
                let action = action.unwrap_or_else(|| self.other(operation.clone()));
                self.actions.push(action);
                self.read(operation.inputs().map(number));
                self.unused(operation.outputs());
            }
        }
    }

    /// `[m, k, n]` of a product of two small matrices.
    fn sizes_of_product(&self, operation: &OperationIr) -> Option<[usize; 3]> {
        let OperationIr::Float(_, Float::Matmul(d)) = operation else { return None };
        let [m, k] = *d.lhs.shape.as_slice() else { return None };
        let [inner, n] = *d.rhs.shape.as_slice() else { return None };
        let small = m * k * n > 0 && m * k * n < LARGEST_PRODUCT && k == inner;
        (small && d.out.dtype == self.dtype).then_some([m, k, n])
    }

    fn product(&mut self, operation: &OperationIr) -> Option<Action> {
        let sizes = self.sizes_of_product(operation)?;
        let OperationIr::Float(_, Float::Matmul(d)) = operation else { return None };
        let (a, b) = (self.numbers(&d.lhs), self.numbers(&d.rhs));
        Some(Action::Product { a, b, out: self.give(&d.out), sizes })
    }

    fn other(&mut self, mut operation: OperationIr) -> Action {
        let (mut made, mut kept) = (Vec::new(), Vec::new());
        // Slots of tensors that live as long as the operation, behind those of the others.
        let mut at = Vec::new();
        for tensor in operation.inputs() {
            let (root, _) = self.root(number(tensor));
            if let Home::Slot(slot) = self.homes[&root] {
                at.push((number(tensor), slot));
            } else if !at.iter().any(|(met, _)| *met == number(tensor)) {
                at.push((number(tensor), self.slots));
                let slot = TensorId::new(self.slots as u64);
                made.push((TensorIr { id: slot, ..tensor.clone() }, self.numbers(tensor).0));
                self.slots += 1;
            }
        }
        for tensor in operation.outputs() {
            at.push((number(tensor), self.slots));
            if self.is_numbers(tensor) {
                let slot = TensorId::new(self.slots as u64);
                kept.push((TensorIr { id: slot, ..tensor.clone() }, number(tensor)));
            } else {
                self.homes.insert(number(tensor), Home::Slot(self.slots));
            }
            self.slots += 1;
        }
        let kept = kept.into_iter().map(|(slot, tensor)| {
            let register =
                self.give(&TensorIr { id: TensorId::new(tensor as u64), ..slot.clone() });
            (slot, register)
        });
        let kept = kept.collect();
        struct Slot(Vec<(usize, usize)>);
        impl IrVisitorMut for Slot {
            fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
                let (_, slot) =
                    self.0.iter().find(|(of, _)| *of == number(tensor)).expect("it has a slot");
                tensor.id = TensorId::new(*slot as u64);
                tensor.status = TensorStatus::ReadOnly;
            }
        }
        operation.visit_mut(&mut Slot(at));
        Action::Other { operation, made, kept }
    }

    fn done(self, outputs: &[Output]) -> Small {
        let result = |output: &Output| {
            let Some(tensor) = output.tensor else { return Result::Zero };
            match self.homes[&self.root(tensor).0] {
                Home::Numbers(place) => {
                    Result::Numbers(Numbers { place, len: output.shape.num_elements() })
                }
                Home::Slot(slot) => Result::Tensor(slot),
            }
        };
        Small {
            dtype: self.dtype,
            results: outputs.iter().map(result).collect(),
            outside: self.outside,
            actions: self.actions,
            registers: self.registers,
            slots: self.slots,
        }
    }
}
