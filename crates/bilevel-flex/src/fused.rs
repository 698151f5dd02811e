//! Several elementwise operations in one pass over memory.
//!
//! A [`Fused`] computes blocks of a few kilobytes, one operation after another, so that intermediate results stay in the
//! cache of the processor and take no memory of their own. Each operation is the one that [`FastFlex`](crate::FastFlex)
//! computes alone, on the same numbers in the same precision.
//!
//! Results are written to memory that was not zeroed first, which would be a pass of its own: this is the reason for the
//! `unsafe` code here.

#![allow(unsafe_code)]

mod operation;
mod part;

use std::cell::RefCell;

use burn::backend::{Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};
use pulp::Arch;
use rayon::prelude::*;

use crate::buffer::CHUNK;
use crate::elementwise::is_whole;
use crate::slices::Real;

pub use operation::Operation;
use part::{Blocks, Few, Part, Source, Target};

/// Bytes of a block: with the operands of a few operations it fits into the first cache.
const BLOCK: usize = 4096;

/// How an argument is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading {
    /// One entry for each entry of the result.
    Each,
    /// The same, of a mask.
    Mask,
    /// All entries, cyclically: a row over a matrix, or one number.
    Repeated,
    /// Each entry this many times in a row: a column over a matrix.
    Runs(usize),
    /// The entries of a product of two matrices, of sizes `[n, terms]` and `[terms, columns]`: two tensors, one after the
    /// other. Each entry is computed where it is read, by multiply-adds in the order of the terms.
    Product {
        /// The terms of each sum.
        terms: usize,
        /// The columns of the second matrix.
        columns: usize,
    },
}

impl Reading {
    /// How many tensors are read.
    fn tensors(self) -> usize {
        if matches!(self, Self::Product { .. }) { 2 } else { 1 }
    }
}

/// One operation of a [`Fused`]. Values are numbered: the arguments first, then the results of the steps in order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Instruction {
    /// What is computed.
    pub operation: Operation,
    /// Of which values; an operation of fewer arguments ignores the rest.
    pub of: [usize; 3],
}

/// A result of a [`Fused`].
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Which value it is.
    pub value: usize,
    /// Its shape.
    pub shape: Shape,
    /// The element type of the steps, or that of a mask of one byte an entry.
    pub dtype: DType,
}

/// Elementwise operations that are computed together.
#[derive(Debug)]
pub struct Fused {
    len: usize,
    dtype: DType,
    arguments: Vec<Reading>,
    steps: Vec<Instruction>,
    results: Vec<Output>,
    /// The block buffer of each value, if it has one.
    buffers: Vec<usize>,
    count: usize,
}

/// A value without a buffer: an argument that is read in place.
const NONE: usize = usize::MAX;

impl Fused {
    /// Operations on tensors of `len` entries, in f32 or f64.
    ///
    /// # Panics
    /// If the type is another, a step reads a value that is not yet computed, or a result is not that of a step.
    pub fn new(
        len: usize,
        dtype: DType,
        arguments: Vec<Reading>,
        steps: Vec<Instruction>,
        results: Vec<Output>,
    ) -> Self {
        assert!(matches!(dtype, DType::F32 | DType::F64), "f32 or f64, not {dtype:?}");
        let values = arguments.len() + steps.len();
        let mut last = vec![0; values];
        for (at, step) in steps.iter().enumerate() {
            for &of in step.operation.arguments(&step.of) {
                assert!(of < arguments.len() + at, "step {at} reads a value that is there");
                last[of] = at;
            }
        }
        for result in &results {
            assert!((arguments.len()..values).contains(&result.value), "a result is one of a step");
            last[result.value] = usize::MAX;
        }
        let mut buffers = vec![NONE; values];
        let (mut free, mut count) = (Vec::new(), 0);
        let mut give = |free: &mut Vec<usize>| {
            free.pop().unwrap_or_else(|| {
                count += 1;
                count - 1
            })
        };
        for (argument, reading) in arguments.iter().enumerate() {
            if *reading != Reading::Each {
                buffers[argument] = give(&mut free);
            }
        }
        // Rows and columns are read once per block, before the first step: their buffers are freed as others are.
        for (at, step) in steps.iter().enumerate() {
            buffers[arguments.len() + at] = give(&mut free);
            let read = step.operation.arguments(&step.of);
            for (place, &of) in read.iter().enumerate() {
                if last[of] == at && buffers[of] != NONE && !read[..place].contains(&of) {
                    free.push(buffers[of]);
                }
            }
        }
        Self { len, dtype, arguments, steps, results, buffers, count }
    }

    /// Entries of each result.
    pub fn entries(&self) -> usize {
        self.len
    }

    /// The type of the numbers.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// How the arguments are read.
    pub fn arguments(&self) -> &[Reading] {
        &self.arguments
    }

    /// The operations.
    pub fn steps(&self) -> &[Instruction] {
        &self.steps
    }

    /// Which of the values are results.
    pub fn results(&self) -> &[Output] {
        &self.results
    }

    /// The results.
    ///
    /// # Panics
    /// If the tensors are not those of the arguments, by number, size and type.
    pub fn run(&self, tensors: Vec<FlexTensor>) -> Vec<FlexTensor> {
        match self.dtype {
            DType::F32 => self.run_in::<f32>(tensors),
            _ => self.run_in::<f64>(tensors),
        }
    }

    /// The results for arguments in memory, on one thread. There masks are numbers, 1 and 0, and read as such.
    ///
    /// # Panics
    /// If the slices are not those of the arguments and results, by number, size and type.
    pub fn run_on<T: Real>(&self, arguments: &[&[T]], results: &mut [&mut [T]]) {
        assert!(arguments.len() == self.arguments.len() && results.len() == self.results.len());
        let mut sources = Few::new();
        for (reading, &all) in self.arguments.iter().zip(arguments) {
            sources.push(match reading {
                Reading::Each => Source::Each(all),
                Reading::Mask => panic!("masks in memory are numbers, read as they are"),
                Reading::Product { .. } => panic!("products in memory are computed on their own"),
                Reading::Repeated => Source::Repeated(all),
                Reading::Runs(run) => Source::Runs(all, *run),
            });
        }
        let targets = results.iter_mut().map(|all| Target::Old(all)).collect();
        let part = Part { start: 0, len: self.len, sources, targets };
        part.check();
        self.compute(part);
    }

    fn run_in<T: Real>(&self, tensors: Vec<FlexTensor>) -> Vec<FlexTensor> {
        // Where the tensors of each argument begin.
        let mut count = 0;
        let begin = |reading: &Reading| {
            count += reading.tensors();
            count - reading.tensors()
        };
        let first: Few<usize> = self.arguments.iter().map(begin).collect();
        assert_eq!(tensors.len(), count, "as many tensors as the arguments read");
        let dense = |tensor: FlexTensor| match tensor.layout().contiguous_offsets() {
            Some(_) => tensor,
            None => tensor.to_contiguous(),
        };
        let mut tensors: Vec<_> = tensors.into_iter().map(dense).collect();
        // A result reuses the memory of an argument without other owners.
        let mut own: Vec<Option<usize>> = Vec::with_capacity(self.results.len());
        let mut new: Vec<Memory<T>> = Vec::new();
        let mut shared = Vec::with_capacity(self.results.len());
        for (at, result) in self.results.iter().enumerate() {
            let same = self.results[..at]
                .iter()
                .position(|other| other.value == result.value && other.dtype == result.dtype);
            shared.push(same);
            let mut free = |argument: usize| {
                let tensor = &mut tensors[first[argument]];
                self.arguments[argument] == Reading::Each
                    && !own.contains(&Some(argument))
                    && is_whole::<T>(tensor)
                    && tensor.try_storage_mut::<T>().is_some()
            };
            let mask = result.dtype != self.dtype;
            let argument = match mask || same.is_some() {
                true => None,
                false => (0..self.arguments.len()).find(|argument| free(*argument)),
            };
            own.push(argument);
            new.push(match (argument, same, mask) {
                (None, None, false) => Memory::Numbers(Vec::with_capacity(self.len)),
                (None, None, true) => Memory::Mask(Vec::with_capacity(self.len)),
                _ => Memory::None,
            });
        }
        self.fill::<T>(&mut tensors, &own, &mut new);
        let mut results: Vec<FlexTensor> = Vec::with_capacity(self.results.len());
        for (at, (result, memory)) in self.results.iter().zip(new).enumerate() {
            let layout = Layout::contiguous(result.shape.clone());
            let tensor = match (memory, shared[at], own[at]) {
                (Memory::Numbers(numbers), ..) => {
                    FlexTensor::new(Bytes::from_elems(numbers), layout, result.dtype)
                }
                (Memory::Mask(bytes), ..) => {
                    FlexTensor::new(Bytes::from_elems(bytes), layout, result.dtype)
                }
                (Memory::None, Some(same), _) => results[same].clone().with_layout(layout),
                (Memory::None, None, argument) => {
                    let argument = argument.expect("memory of its own, or of an argument");
                    let empty = FlexTensor::empty(Shape::new([0]), self.dtype);
                    std::mem::replace(&mut tensors[first[argument]], empty).with_layout(layout)
                }
            };
            results.push(tensor);
        }
        results
    }

    /// Computes all results, on all threads if there is enough work.
    fn fill<T: Real>(
        &self,
        tensors: &mut [FlexTensor],
        own: &[Option<usize>],
        new: &mut [Memory<T>],
    ) {
        let mut part = Part { start: 0, len: self.len, sources: Few::new(), targets: Few::new() };
        let mut tensors = tensors.iter_mut();
        for (argument, reading) in self.arguments.iter().enumerate() {
            let tensor = tensors.next().expect("each argument has its tensors");
            part.sources.push(match *reading {
                Reading::Mask => {
                    let (start, end) =
                        tensor.layout().contiguous_offsets().expect("it was made dense");
                    Source::Mask(&tensor.bytes()[start..end])
                }
                Reading::Each if own.contains(&Some(argument)) => {
                    Source::Own(tensor.try_storage_mut::<T>().expect("nobody else holds it"))
                }
                Reading::Each => Source::Each(tensor.as_slice::<T>().expect("its type and dense")),
                Reading::Repeated => {
                    Source::Repeated(tensor.as_slice::<T>().expect("its type and dense"))
                }
                Reading::Runs(run) => {
                    Source::Runs(tensor.as_slice::<T>().expect("its type and dense"), run)
                }
                Reading::Product { terms, columns } => {
                    let second = tensors.next().expect("a product has two");
                    let [a, b] = [tensor, second]
                        .map(|factor| factor.as_slice::<T>().expect("its type and dense"));
                    Source::Product { a, b, terms, columns }
                }
            });
        }
        part.check();
        for (memory, own) in new.iter_mut().zip(own) {
            part.targets.push(match (memory, own) {
                (Memory::Numbers(numbers), _) => {
                    Target::Numbers(&mut numbers.spare_capacity_mut()[..self.len])
                }
                (Memory::Mask(bytes), _) => {
                    Target::Mask(&mut bytes.spare_capacity_mut()[..self.len])
                }
                (Memory::None, Some(argument)) => Target::Own(*argument),
                (Memory::None, None) => Target::None,
            });
        }
        if self.len <= 2 * CHUNK {
            self.compute(part);
        } else {
            part.split(CHUNK).into_par_iter().for_each(|part| self.compute(part));
        }
        for memory in new {
            // SAFETY: the parts cover `0..len`, the blocks of a part cover it, and each block writes every entry of
            // every target: `write_copy_of_slice` and the loop over a mask panic if lengths differ.
            unsafe {
                match memory {
                    Memory::Numbers(numbers) => numbers.set_len(self.len),
                    Memory::Mask(bytes) => bytes.set_len(self.len),
                    Memory::None => {}
                }
            }
        }
    }

    fn compute<T: Real>(&self, mut part: Part<'_, T>) {
        thread_local! {
            /// Block buffers, kept between calls. As f64, so that they are aligned for either type.
            static BUFFERS: RefCell<Vec<Box<[f64]>>> = const { RefCell::new(Vec::new()) };
        }
        BUFFERS.with_borrow_mut(|buffers| {
            while buffers.len() < self.count {
                buffers.push(vec![0.0; BLOCK / size_of::<f64>()].into_boxed_slice());
            }
            let mut at = 0;
            Arch::new().dispatch(Blocks { fused: self, part: &mut part, buffers, at: &mut at });
        });
    }
}

/// Memory of a result.
enum Memory<T> {
    Numbers(Vec<T>),
    Mask(Vec<u8>),
    /// That of an argument or of another result.
    None,
}

#[cfg(test)]
mod tests;
