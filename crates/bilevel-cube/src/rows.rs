//! Operations on the rows of matrices.

use bilevel_flex::fused;
use burn_cubecl::cubecl::prelude::CubeDim;
use burn_cubecl::tensor::CubeTensor;

use crate::Kernel;
use crate::kernel::{Argument, Code, Instruction as Step, Kind, Output as Written, Plan};
use crate::lower::{Constants, positions};

/// The largest number of columns: each unit reads its row for each reduction.
pub const MOST_COLUMNS: usize = 64;

/// Units of a cube, at most.
const UNITS: usize = 256;

/// How an argument is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// One number for each entry.
    Entries,
    /// A mask, one for each entry.
    Mask,
    /// One number for each row.
    Column,
    /// The position of a column for each row, an integer of 32 or 64 bits; all indices have one type.
    Index,
    /// One number for each column.
    Row,
    /// One number.
    Number,
}

/// An operation on matrices and on columns, which have one number for each row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operation {
    /// Of the entries.
    Entry(fused::Operation),
    /// The sum of each row.
    Sum,
    /// The largest entry of each row; NaN if one is NaN.
    Max,
    /// The entry of each row at an index, the second value; 0 if there is none.
    Gather,
    /// The first value, with the third, a column, added to the entry of each row at an index, the second.
    ScatterAdd,
}

/// One operation. Values are numbered: the arguments first, then the results of the steps in order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Instruction {
    /// What is computed.
    pub operation: Operation,
    /// Of which values; an operation of fewer arguments ignores the rest.
    pub of: [usize; 3],
}

/// A result.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Which value it is, and how it is written.
    pub result: fused::Output,
    /// Whether it is a column: then its entries do not depend on those of a row but by a reduction or an index.
    pub is_column: bool,
}

/// Operations on matrices of one size in f32, row by row: entries, reductions of rows, and what is computed of these.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Rows and columns, neither of them 0.
    pub size: [usize; 2],
    /// How the arguments are read.
    pub arguments: Vec<Reading>,
    /// The operations.
    pub steps: Vec<Instruction>,
    /// Which of the values are results.
    pub results: Vec<Output>,
}

impl Kernel {
    /// These operations. None if they cannot be one kernel: if rows are longer than [`MOST_COLUMNS`], a constant is not
    /// finite, or a result is a column and a mask.
    ///
    /// # Panics
    /// If a step or a result reads a value that is not yet computed.
    pub fn of_rows(rows: &Rows) -> Option<Self> {
        let [count, columns] = rows.size;
        let is_mask = |output: &Output| output.result.dtype.is_bool();
        let has_mask_of_rows = rows.results.iter().any(|each| each.is_column && is_mask(each));
        if columns == 0 || count == 0 || columns > MOST_COLUMNS || has_mask_of_rows {
            return None;
        }
        let mut next = positions();
        let argument = |reading: &Reading| {
            let (kind, run, wraps, len) = match reading {
                Reading::Entries => (Kind::Number, 1, false, count * columns),
                Reading::Mask => (Kind::Mask, 1, false, count * columns),
                Reading::Column => (Kind::Number, columns, false, count),
                Reading::Index => (Kind::Index, columns, false, count),
                Reading::Row => (Kind::Number, 1, true, columns),
                Reading::Number => (Kind::Number, 1, true, 1),
            };
            Argument { kind, at: next(kind), run, wraps, len }
        };
        let arguments: Vec<_> = rows.arguments.iter().map(argument).collect();
        let operations = rows.steps.iter().filter_map(|step| match step.operation {
            Operation::Entry(operation) => Some(operation),
            _ => None,
        });
        let mut constants = Constants::of(arguments.len(), operations)?;
        let zero = constants.add(0.0)?;
        let mut steps: Vec<Step> = Vec::new();
        let first = arguments.len() + constants.len();
        let mut push = |code, of| {
            steps.push(Step { code, of });
            first + steps.len() - 1
        };
        let mut values: Vec<usize> = (0..arguments.len()).collect();
        for step in &rows.steps {
            let [a, b, c] = step.of.map(|of| values[of]);
            let mut chosen = |index| {
                let column = push(Code::Column, [index; 3]);
                push(Code::Equal, [column, index, index])
            };
            let value = match step.operation {
                Operation::Entry(operation) => {
                    let (code, of) = constants.placed(operation, [a, b, c]);
                    push(code, of)
                }
                Operation::Sum => push(Code::Sum, [a; 3]),
                Operation::Max => push(Code::Max, [a; 3]),
                Operation::Gather => {
                    let mask = chosen(b);
                    let alone = push(Code::Select, [zero, mask, a]);
                    push(Code::Sum, [alone; 3])
                }
                Operation::ScatterAdd => {
                    let mask = chosen(b);
                    let alone = push(Code::Select, [zero, mask, c]);
                    push(Code::Add, [a, alone, a])
                }
            };
            values.push(value);
        }
        let mut next = positions();
        let results = rows.results.iter().map(|output| {
            let mask = is_mask(output);
            let at = next(if mask { Kind::Mask } else { Kind::Number });
            Written { value: values[output.result.value], mask, per_row: output.is_column, at }
        });
        let plan = Plan {
            len: count * columns,
            columns,
            together: (UNITS / columns).clamp(1, count),
            arguments,
            results: results.collect(),
            constants: constants.bits(),
            steps,
        };
        let shapes = rows.results.iter().map(|output| &output.result);
        Some(Self::from_plan(plan, shapes))
    }
}

/// The size of the cubes for a plan of rows, and for how many units they are.
pub(crate) fn cubes(plan: &Plan) -> (CubeDim, usize) {
    let units = plan.together * plan.columns;
    let cubes = (plan.len / plan.columns).div_ceil(plan.together);
    (CubeDim::new_1d(units as u32), cubes * units)
}

/// Whether the device of this tensor has cubes for this plan.
pub(crate) fn fits(plan: &Plan, tensor: &CubeTensor) -> bool {
    let hardware = &tensor.client.properties().hardware;
    let units = plan.together * plan.columns;
    units <= hardware.max_units_per_cube as usize
        && units <= hardware.max_cube_dim.0 as usize
        && units * size_of::<f32>() <= hardware.max_shared_memory_size
}
