//! The register of each tensor of a small program, and the actions on it.

use std::collections::HashMap;

use burn::backend::ir::{
    BaseOperationIr as Base, FloatOperationIr as Float, IrVisitorMut, OperationIr, TensorId,
    TensorIr, TensorStatus,
};
use burn::tensor::DType;

use super::{Action, LARGEST_PRODUCT, OutputSource, Place, Small, Span, Use};
use crate::fuse::{self, Masks, Pass};
use crate::program::{Output, number};
use crate::stop::stops;

/// A part of the program before its tensors have registers.
#[allow(clippy::large_enum_variant, reason = "a few dozen, that are kept")]
pub(super) enum Item {
    Pass(Pass),
    One(OperationIr),
    /// An operation whose result is its argument reshaped, or transposed.
    View,
}

/// The location of a tensor.
#[derive(Clone, Copy, Debug)]
enum Home {
    Numbers(Place),
    Slot(usize),
}

pub(super) struct Builder {
    dtype: DType,
    pub(super) items: Vec<Item>,
    /// Tensors that are others: their numbers, and whether they are those of the transpose.
    views: HashMap<usize, (usize, bool)>,
    /// How often each tensor will still be read.
    uses: HashMap<usize, usize>,
    homes: HashMap<usize, Home>,
    outside: Vec<Use>,
    actions: Vec<Action>,
    registers: Vec<usize>,
    free: Vec<usize>,
    slots: usize,
}

impl Builder {
    pub(super) fn new(dtype: DType, groups: &[Vec<&OperationIr>], outputs: &[Output]) -> Self {
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
            // The entries of a transpose are read only by products, in the order of the original.
            if numbers && (!turned || transposed) {
                self.views.insert(number(out), (root, turned != transposed));
                *item = Item::View;
            }
        }
    }

    /// How often each tensor is read by the parts found.
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

    pub(super) fn enter(&mut self, outside: &[&TensorIr]) {
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
    fn numbers(&self, tensor: &TensorIr) -> (Span, bool) {
        let (root, transposed) = self.root(number(tensor));
        match self.homes[&root] {
            Home::Numbers(place) => (Span { place, len: tensor.shape.num_elements() }, transposed),
            Home::Slot(_) => unreachable!("tensors of this type and masks are numbers"),
        }
    }

    /// One read less of each tensor: the registers of those that are no longer needed are free.
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

    pub(super) fn act(&mut self, item: Item) {
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
        // Slots of tensors that live only during the operation, after those of the others.
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

    pub(super) fn done(self, outputs: &[Output]) -> Small {
        let result = |output: &Output| {
            let Some(tensor) = output.tensor else { return OutputSource::Zero };
            match self.homes[&self.root(tensor).0] {
                Home::Numbers(place) => {
                    OutputSource::Numbers(Span { place, len: output.shape.num_elements() })
                }
                Home::Slot(slot) => OutputSource::Tensor(slot),
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
