//! A program: what a derivative computes, as a flat list of operations.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, OnceLock};

use burn::backend::ir::{OperationIr, TensorId, TensorIr};
use burn::backend::{DispatchTensor, TensorMetadata};
use burn::tensor::{DType, Shape, TensorData};

use crate::TraceError;
use crate::execute::name;
use crate::optimise;
use crate::replay::Replay;

/// A function of tensors, as the operations of Burn that compute it.
///
/// Every tensor has a number and is written once: the inputs come first, then the constants, then the results of the
/// operations in their order.
#[derive(Clone)]
pub struct Program {
    pub(crate) operations: Vec<OperationIr>,
    /// How many tensors there are.
    pub(crate) tensors: usize,
    pub(crate) inputs: Vec<TensorIr>,
    pub(crate) constants: Vec<Constant>,
    pub(crate) outputs: Vec<Output>,
    replay: Arc<OnceLock<Replay>>,
}

/// A tensor whose numbers are part of a program.
#[derive(Clone)]
pub(crate) struct Constant {
    pub(crate) tensor: usize,
    pub(crate) data: Arc<TensorData>,
}

/// A result of a program.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Output {
    /// The tensor; none means an exact zero.
    pub(crate) tensor: Option<usize>,
    pub(crate) shape: Shape,
    pub(crate) dtype: DType,
}

/// The recording, with the ids that Burn drew.
pub(crate) struct Recording {
    pub(crate) operations: Vec<OperationIr>,
    pub(crate) inputs: Vec<TensorIr>,
    pub(crate) values: BTreeMap<TensorId, TensorData>,
    pub(crate) outputs: Vec<Recorded>,
}

/// An output as recorded: none means zero.
pub(crate) struct Recorded {
    pub(crate) id: Option<TensorId>,
    pub(crate) shape: Shape,
    pub(crate) dtype: DType,
}

/// What a program costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Count {
    /// The number of operations that compute.
    pub operations: usize,
    /// Bytes that they write.
    pub bytes: u64,
    /// Multiplications and additions of matrix products and convolutions.
    pub flops: u64,
}

impl Program {
    /// The program of a recording, optimised.
    pub(crate) fn of(recording: Recording) -> Self {
        optimise::program(recording)
    }

    pub(crate) fn new(
        operations: Vec<OperationIr>,
        tensors: usize,
        inputs: Vec<TensorIr>,
        constants: Vec<Constant>,
        outputs: Vec<Output>,
    ) -> Self {
        Self { operations, tensors, inputs, constants, outputs, replay: Arc::default() }
    }

    /// Its executable form, made once.
    pub(crate) fn replay(&self) -> &Replay {
        self.replay.get_or_init(|| Replay::of(self))
    }

    /// The outputs, on the device of the inputs.
    ///
    /// # Errors
    /// If it cannot hold a tensor of the program in one piece; nothing is computed then.
    ///
    /// # Panics
    /// See [`Replay::run`].
    pub(crate) fn run(
        &self,
        inputs: &[&DispatchTensor],
    ) -> Result<Vec<DispatchTensor>, TraceError> {
        self.fits(inputs)?;
        Ok(self.replay().run(inputs))
    }

    /// # Errors
    /// If the device of the inputs cannot hold a tensor of the program in one piece.
    pub(crate) fn fits(&self, inputs: &[&DispatchTensor]) -> Result<(), TraceError> {
        match (self.replay().largest(), inputs.first()) {
            (Some(largest), Some(input)) => largest.fits(&TensorMetadata::device(*input)),
            _ => Ok(()),
        }
    }

    /// Which tensors depend on the inputs that `of` names.
    pub(crate) fn depends(&self, of: impl Fn(usize) -> bool) -> Vec<bool> {
        let mut depends = vec![false; self.tensors];
        for (at, input) in self.inputs.iter().enumerate() {
            depends[number(input)] = of(at);
        }
        for operation in &self.operations {
            if operation.inputs().any(|tensor| depends[number(tensor)]) {
                operation.outputs().for_each(|tensor| depends[number(tensor)] = true);
            }
        }
        depends
    }

    /// Where the program computes something different from `other`, as text.
    pub(crate) fn differs(&self, other: &Self) -> Option<String> {
        let pairs = self.operations.iter().zip(&other.operations);
        let place = pairs.map(|(a, b)| (a != b).then(|| name(a))).find_map(|place| place);
        let lengths = self.operations.len() != other.operations.len();
        let constants = || {
            let all = self.constants.iter().zip(&other.constants);
            all.into_iter().any(|(a, b)| a.tensor != b.tensor || a.data != b.data)
        };
        place
            .or_else(|| lengths.then(|| "its end".into()))
            .or_else(|| constants().then(|| "a constant".into()))
    }

    /// The shapes of the inputs.
    pub fn input_shapes(&self) -> impl Iterator<Item = &Shape> {
        self.inputs.iter().map(|input| &input.shape)
    }

    /// The shapes of the outputs.
    pub fn output_shapes(&self) -> impl Iterator<Item = &Shape> {
        self.outputs.iter().map(|output| &output.shape)
    }

    /// Whether an output is zero whatever the inputs are.
    pub fn is_zero(&self, output: usize) -> bool {
        self.outputs[output].tensor.is_none()
    }

    /// Counts what it computes.
    pub fn count(&self) -> Count {
        let mut count = Count { operations: self.operations.len(), ..Count::default() };
        for operation in &self.operations {
            let bytes =
                |tensor: &TensorIr| (tensor.shape.num_elements() * tensor.dtype.size()) as u64;
            count.bytes += operation.outputs().map(bytes).sum::<u64>();
            count.flops += crate::count::flops(operation);
        }
        count
    }

    /// A graph of the operations in the language of Graphviz.
    pub fn dot(&self) -> String {
        use std::fmt::Write;
        let mut text =
            String::from("digraph program {\n  node [shape=box, fontname=\"sans-serif\"];\n");
        for input in &self.inputs {
            let _ = writeln!(
                text,
                "  t{} [label=\"input {:?}\", shape=oval];",
                input.id.value(),
                input.shape.as_slice()
            );
        }
        for constant in &self.constants {
            let shape = constant.data.shape();
            let _ = writeln!(
                text,
                "  t{} [label=\"constant {:?}\", shape=oval, style=dashed];",
                constant.tensor,
                shape.as_slice()
            );
        }
        for (at, operation) in self.operations.iter().enumerate() {
            let shapes: Vec<_> =
                operation.outputs().map(|out| format!("{:?}", out.shape.as_slice())).collect();
            let _ = writeln!(text, "  o{at} [label=\"{} {}\"];", name(operation), shapes.join(" "));
            for out in operation.outputs() {
                let _ = writeln!(text, "  o{at} -> t{0};\n  t{0} [shape=point];", out.id.value());
            }
            for input in operation.inputs() {
                let _ = writeln!(text, "  t{} -> o{at};", input.id.value());
            }
        }
        for (at, output) in self.outputs.iter().enumerate() {
            let _ = writeln!(text, "  out{at} [label=\"output {at}\", shape=oval];");
            if let Some(tensor) = output.tensor {
                let _ = writeln!(text, "  t{tensor} -> out{at};");
            }
        }
        text.push_str("}\n");
        text
    }
}

/// One line per input, constant, operation and output.
impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let list = |tensors: &mut dyn Iterator<Item = &TensorIr>| -> String {
            tensors.map(|tensor| format!("%{}", number(tensor))).collect::<Vec<_>>().join(", ")
        };
        for input in &self.inputs {
            writeln!(f, "%{} = input {}", number(input), typed(&input.shape, input.dtype))?;
        }
        for constant in &self.constants {
            let data = &constant.data;
            writeln!(f, "%{} = constant {}", constant.tensor, typed(data.shape(), data.dtype()))?;
        }
        for operation in &self.operations {
            let results = list(&mut operation.outputs());
            let arguments = list(&mut operation.inputs());
            let types: Vec<_> =
                operation.outputs().map(|out| typed(&out.shape, out.dtype)).collect();
            writeln!(f, "{results} = {}({arguments}) {}", name(operation), types.join(", "))?;
        }
        for output in &self.outputs {
            let which = output.tensor.map_or("zero".into(), |tensor| format!("%{tensor}"));
            writeln!(f, "output {which} {}", typed(&output.shape, output.dtype))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

fn typed(shape: &Shape, dtype: DType) -> String {
    format!("{dtype:?} {:?}", shape.as_slice())
}

/// The number of a tensor.
pub(crate) fn number(tensor: &TensorIr) -> usize {
    tensor.id.value() as usize
}
