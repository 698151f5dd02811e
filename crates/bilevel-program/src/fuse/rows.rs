//! Operations on the rows of matrices, which are one kernel on GPUs.
//!
//! A loss of classes reads matrices of few columns: log-softmax, the entry of each label and their derivatives are short
//! sums along rows and arithmetic between them. There a kernel takes longer to start than to run.

use std::collections::HashMap;
use std::sync::OnceLock;

use bilevel_cube::{
    Kernel, MOST_COLUMNS, RowInstruction, RowOperation, RowOutput, RowReading, Rows,
};
use bilevel_flex::fused::Output;
use burn::backend::ir::{
    BaseOperationIr as Base, NumericOperationIr as Numeric, OperationIr, ReduceDimOpIr, TensorIr,
};
use burn::backend::tensor::IndexingUpdateOp;
use burn::tensor::DType;

use super::{Elementwise, Group, Grouping, LARGEST, is_mask};
use crate::program::number;

/// Rows and columns.
type Size = [usize; 2];

/// An operation on the rows of matrices of one size.
struct Part<'a> {
    /// None reshapes its argument.
    operation: Option<RowOperation>,
    arguments: Vec<(&'a TensorIr, RowReading)>,
    out: &'a TensorIr,
    is_column: bool,
}

/// What is reduced along its last dimension, or indexed there.
fn reduced(operation: &OperationIr) -> Option<(&TensorIr, RowOperation)> {
    let along = |o: &ReduceDimOpIr| o.axis + 1 == o.input.shape.num_dims();
    let last = |tensor: &TensorIr, dim: usize| dim + 1 == tensor.shape.num_dims();
    match operation {
        OperationIr::NumericFloat(_, Numeric::SumDim(o)) if along(o) => {
            Some((&o.input, RowOperation::Sum))
        }
        OperationIr::NumericFloat(_, Numeric::MaxDim(o)) if along(o) => {
            Some((&o.input, RowOperation::Max))
        }
        OperationIr::BaseFloat(Base::Gather(o)) if last(&o.tensor, o.dim) => {
            Some((&o.tensor, RowOperation::Gather))
        }
        OperationIr::BaseFloat(Base::Scatter(o))
            if last(&o.tensor, o.dim) && o.update == IndexingUpdateOp::Add =>
        {
            Some((&o.tensor, RowOperation::ScatterAdd))
        }
        _ => None,
    }
}

/// The size of the matrix whose rows an operation reduces or indexes.
fn size(operation: &OperationIr) -> Option<Size> {
    let (matrix, _) = reduced(operation)?;
    let columns = *matrix.shape.as_slice().last()?;
    let is_short = (2..=MOST_COLUMNS).contains(&columns);
    let rows = if is_short { matrix.shape.num_elements() / columns } else { 0 };
    (rows > 1).then_some([rows, columns]).filter(|size| Part::of(operation, *size).is_some())
}

impl<'a> Part<'a> {
    fn of(operation: &'a OperationIr, size: Size) -> Option<Self> {
        let is_matrix = |tensor: &TensorIr| {
            let [rows, columns] = size;
            let shape = tensor.shape.as_slice();
            shape.last() == Some(&columns) && tensor.shape.num_elements() == rows * columns
        };
        let is_column = |tensor: &TensorIr| {
            let shape = tensor.shape.as_slice();
            tensor.shape.num_elements() == size[0] && (shape.len() == 1 || shape.last() == Some(&1))
        };
        // One entry for each row of a matrix.
        let is_column_of = |tensor: &TensorIr, matrix: &TensorIr| {
            let (column, matrix) = (tensor.shape.as_slice(), matrix.shape.as_slice());
            let rows = matrix.len() - 1;
            column.len() == matrix.len() && column[..rows] == matrix[..rows] && column[rows] == 1
        };
        if let Some((matrix, reduction)) = reduced(operation) {
            let mut arguments = vec![(matrix, RowReading::Entries)];
            let out = match operation {
                OperationIr::NumericFloat(_, Numeric::SumDim(o) | Numeric::MaxDim(o)) => &o.out,
                OperationIr::BaseFloat(Base::Gather(o)) => {
                    arguments.push((&o.indices, RowReading::Index));
                    &o.out
                }
                OperationIr::BaseFloat(Base::Scatter(o)) => {
                    arguments.push((&o.indices, RowReading::Index));
                    arguments.push((&o.value, RowReading::Column));
                    &o.out
                }
                _ => return None,
            };
            let indexes = |(argument, reading): &(&TensorIr, RowReading)| {
                let is_integer = matches!(argument.dtype, DType::I32 | DType::I64);
                is_column_of(argument, matrix) && (*reading != RowReading::Index || is_integer)
            };
            let fits = matrix.dtype == DType::F32
                && is_matrix(matrix)
                && arguments[1..].iter().all(indexes);
            let is_column = out.shape != matrix.shape;
            return fits.then_some(Self { operation: Some(reduction), arguments, out, is_column });
        }
        let Elementwise { operation, arguments, out, size: (_, dtype) } =
            Elementwise::of(operation)?;
        let column = is_column(out);
        if dtype != DType::F32 || !(column || is_matrix(out)) {
            return None;
        }
        let reading = |argument: &TensorIr| {
            let same = argument.shape == out.shape;
            let reshaped = operation.is_none();
            match (column, is_mask(argument)) {
                (false, true) => same.then_some(RowReading::Mask),
                (false, false) if same => Some(RowReading::Entries),
                (false, false) if reshaped => is_matrix(argument).then_some(RowReading::Entries),
                (false, false) if is_column_of(argument, out) => Some(RowReading::Column),
                // A mask that is a column is read only where it is made.
                (true, _) if same || (reshaped && is_column(argument)) => Some(RowReading::Column),
                (_, true) => None,
                _ if argument.shape.num_elements() == 1 => Some(RowReading::Number),
                (false, false) => {
                    let is_row = argument.shape.num_elements() == size[1]
                        && argument.shape.as_slice().last() == Some(&size[1]);
                    is_row.then_some(RowReading::Row)
                }
                (true, false) => None,
            }
        };
        let read = arguments.into_iter().map(|(argument, _)| Some((argument, reading(argument)?)));
        let arguments = read.collect::<Option<_>>()?;
        let operation = operation.map(RowOperation::Entry);
        Some(Self { operation, arguments, out, is_column: column })
    }
}

/// Groups that compute on the rows of matrices of one size and read each other, by their positions, in an order in which
/// they can be computed; all other groups alone.
pub(crate) fn along_rows(groups: &[Group<'_>]) -> Vec<Vec<usize>> {
    let mut sizes: Vec<Option<Size>> = groups
        .iter()
        .map(|group| match group.operations.as_slice() {
            [one] => size(one),
            _ => None,
        })
        .collect();
    let alone = || (0..groups.len()).map(|at| vec![at]).collect();
    if sizes.iter().all(Option::is_none) {
        return alone();
    }
    let mut made = HashMap::new();
    for (at, group) in groups.iter().enumerate() {
        made.extend(group.all().flat_map(|each| each.outputs()).map(|out| (number(out), at)));
    }
    let before = groups.iter().enumerate().map(|(at, group)| {
        let inputs = group.all().flat_map(|each| each.inputs());
        let mut before: Vec<_> =
            inputs.filter_map(|input| made.get(&number(input)).copied()).collect();
        before.sort_unstable();
        before.dedup();
        before.retain(|from| *from != at);
        before
    });
    let mut grouping = Grouping::new(before.collect());
    let count = |members: &[usize]| -> usize {
        members.iter().map(|at| groups[*at].operations.len()).sum()
    };
    let fits = |at: usize, size: Size| {
        let group = &groups[at];
        let mut parts = group.operations.iter().map(|each| Part::of(each, size));
        group.products.is_empty() && parts.all(|part| part.is_some())
    };
    // A group may fit only after what is between it and others has joined.
    loop {
        let mut joined = false;
        for to in 0..groups.len() {
            for from in grouping.before[to].clone() {
                let (a, b) = (grouping.group[from], grouping.group[to]);
                let Some(size) = sizes[a].or(sizes[b]).filter(|_| a != b) else { continue };
                let fits = |group: usize| match sizes[group] {
                    Some(other) => other == size,
                    None => grouping.members[group].iter().all(|at| fits(*at, size)),
                };
                let few = count(&grouping.members[a]) + count(&grouping.members[b]) <= LARGEST;
                if few && fits(a) && fits(b) && grouping.join(from, to) {
                    sizes[grouping.group[to]] = Some(size);
                    joined = true;
                }
            }
        }
        if !joined {
            return grouping.ordered();
        }
    }
}

/// Operations on rows as one kernel.
pub(crate) struct RowPass {
    pub(crate) rows: Rows,
    /// The tensors of its arguments.
    pub(crate) arguments: Vec<TensorIr>,
    /// The tensors of its results.
    pub(crate) results: Vec<TensorIr>,
    /// Once it was requested; none if it cannot be one kernel.
    pub(crate) kernel: OnceLock<Option<Kernel>>,
}

/// One kernel for operations that [`along_rows`] found. `is_used` says which tensors are read after it. None if a mask of
/// one entry a row is read from before or after it, or indices have several types.
pub(crate) fn row_pass(
    operations: &[&OperationIr],
    is_used: impl Fn(usize) -> bool,
) -> Option<RowPass> {
    let size = operations.iter().find_map(|operation| size(operation))?;
    let parts = operations.iter().map(|operation| Part::of(operation, size));
    let parts = parts.collect::<Option<Vec<_>>>()?;
    let is_inside = |tensor: &TensorIr| parts.iter().any(|part| part.out.id == tensor.id);
    let mut read: Vec<(&TensorIr, RowReading)> = Vec::new();
    let same = |(a, how): (&TensorIr, RowReading), (b, other): (&TensorIr, RowReading)| {
        a.id == b.id && how == other
    };
    for argument in parts.iter().flat_map(|part| &part.arguments) {
        let is_met = read.iter().any(|met| same(*met, *argument));
        if !is_inside(argument.0) && !is_met {
            let is_column_mask = is_mask(argument.0) && argument.1 != RowReading::Mask;
            if is_column_mask {
                return None;
            }
            read.push(*argument);
        }
    }
    let mut indices = read.iter().filter(|(_, reading)| *reading == RowReading::Index);
    let first = indices.next().map(|(first, _)| first.dtype);
    if indices.any(|(other, _)| Some(other.dtype) != first) {
        return None;
    }
    let mut values: HashMap<usize, usize> = HashMap::new();
    let (mut steps, mut results, mut tensors) = (Vec::new(), Vec::new(), Vec::new());
    for part in &parts {
        let value = |argument: &(&TensorIr, RowReading)| {
            values.get(&number(argument.0)).copied().unwrap_or_else(|| {
                let at = read.iter().position(|met| same(*met, *argument));
                at.expect("what is not made here is read")
            })
        };
        let of: Vec<_> = part.arguments.iter().map(value).collect();
        let value = match part.operation {
            None => of[0],
            Some(operation) => {
                let at = |place: usize| of.get(place).copied().unwrap_or(of[0]);
                steps.push(RowInstruction { operation, of: [at(0), at(1), at(2)] });
                read.len() + steps.len() - 1
            }
        };
        values.insert(number(part.out), value);
        if is_used(number(part.out)) {
            if part.is_column && is_mask(part.out) {
                return None;
            }
            let (shape, dtype) = (part.out.shape.clone(), part.out.dtype);
            let is_column = part.is_column;
            results.push(RowOutput { result: Output { value, shape, dtype }, is_column });
            tensors.push(part.out.clone());
        }
    }
    Some(RowPass {
        rows: Rows {
            size,
            arguments: read.iter().map(|(_, reading)| *reading).collect(),
            steps,
            results,
        },
        arguments: read.into_iter().map(|(tensor, _)| tensor.clone()).collect(),
        results: tensors,
        kernel: OnceLock::new(),
    })
}
