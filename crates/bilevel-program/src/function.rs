//! A function of one module, recorded for one point.

use burn::backend::{DispatchTensor, TensorMetadata};
use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::agree::agrees;
use crate::program::Program;
use crate::record::{Defaults, Meta};
use crate::recorded::{meta, one_type};
use crate::trace::{Traced, one_number, trace_outputs};
use crate::{Batch, Layout, Tensors, TraceError, Vector, float};

/// A module without parameters.
const NOTHING: Option<Param<Tensor<1>>> = None;

/// A function of the variables of a module, as a program whose inputs are the variables, then data.
pub(crate) struct Function {
    /// The variables of the module.
    pub(crate) point: Vector,
    /// What was recorded.
    pub(crate) program: Program,
    data: Vec<DispatchTensor>,
    defaults: Defaults,
}

/// A function with any outputs.
type Outputs<'a, M, D> = dyn Fn(&M, &D) -> Result<Vec<DispatchTensor>, TraceError> + 'a;

/// When a second recording is compared with the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Again {
    /// Always.
    Always,
    /// In builds with debug assertions.
    InDebug,
}

impl Function {
    /// A loss.
    ///
    /// # Errors
    /// If it cannot be recorded, or the module has no variables.
    pub(crate) fn loss<M: Module>(
        module: &M,
        loss: &dyn Fn(&M) -> Tensor<1>,
        again: Again,
    ) -> Result<Self, TraceError> {
        Self::of(module, &(), &|module, ()| Ok(vec![one_number(loss(module))?]), again)
    }

    /// A function with any outputs. Its derivatives are compared with those that Burn computes through the last one.
    ///
    /// # Errors
    /// If it cannot be recorded, or the module has no variables.
    pub(crate) fn of<M: Module, D: Batch>(
        module: &M,
        data: &D,
        function: &Outputs<'_, M, D>,
        again: Again,
    ) -> Result<Self, TraceError> {
        let (layout, none) = (Layout::of(module), Layout::of(&NOTHING));
        if layout.leaves().is_empty() {
            return Err(TraceError::NoVariables);
        }
        one_type(&layout, &none)?;
        let point = Vector::from_module(&layout, module);
        let tensors: Vec<_> = Tensors::of(data).tensors.into();
        let defaults = Defaults::on(&TensorMetadata::device(&point.leaves()[0]));
        let variables = layout.leaves().iter();
        let variables = variables.map(|leaf| Meta { shape: leaf.shape.clone(), dtype: leaf.dtype });
        let metas: Vec<_> = variables.chain(tensors.iter().map(meta)).collect();
        let record = || {
            let function =
                |module: &M, _: &Option<Param<Tensor<1>>>, data: &D| function(module, data);
            trace_outputs((module, &layout), (&NOTHING, &none), data, &metas, defaults, &function)
        };
        let Traced { loss: program, by_burn } = record()?;
        if (again == Again::Always || cfg!(debug_assertions))
            && let Some(place) = program.differs(&record()?.loss)
        {
            return Err(TraceError::DependsOnValues { place });
        }
        let function = Self { point, program, data: tensors, defaults };
        let last = function.program.outputs.len() - 1;
        let gradient =
            function.reverse(&function.program.only(&[last]), 0)?.only(&function.after(1));
        let inputs = function.inputs(&function.point, &[]);
        agrees(&gradient, &by_burn, &inputs, layout.leaves().iter())?;
        Ok(function)
    }

    /// The value of a loss and its gradient.
    ///
    /// # Errors
    /// If an operation has no backward pass.
    pub(crate) fn gradient(&self) -> Result<Program, TraceError> {
        self.reverse(&self.program, 0)
    }

    /// The derivative of a loss along a direction, which is an additional input.
    ///
    /// # Errors
    /// If an operation has no tangent rule.
    pub(crate) fn slope(&self) -> Result<Program, TraceError> {
        Ok(self.forward(&self.program)?.only(&[1]))
    }

    /// The derivative of a loss along a direction, which is an additional input, and the Hessian times it.
    ///
    /// # Errors
    /// If an operation has no tangent rule or no backward pass.
    pub(crate) fn product(&self) -> Result<Program, TraceError> {
        let variables = self.variables();
        self.program.product(&variables, &variables, self.defaults)
    }

    /// `program` with the variables moving along a direction, which is an additional input.
    ///
    /// # Errors
    /// If an operation has no tangent rule.
    pub(crate) fn forward(&self, program: &Program) -> Result<Program, TraceError> {
        program.forward(&self.variables(), self.defaults)
    }

    /// `program` with the gradient of its output `of` in each variable.
    ///
    /// # Errors
    /// If an operation has no backward pass.
    pub(crate) fn reverse(&self, program: &Program, of: usize) -> Result<Program, TraceError> {
        program.reverse(of, &self.variables(), self.defaults)
    }

    /// The outputs of `program` at the point of the module, along directions.
    ///
    /// # Errors
    /// If the device of the module cannot hold a tensor of the program.
    ///
    /// # Panics
    /// If a direction is of another module.
    pub(crate) fn run(
        &self,
        program: &Program,
        along: &[&Vector],
    ) -> Result<Vec<DispatchTensor>, TraceError> {
        program.run(&self.inputs(&self.point, along))
    }

    /// The inputs of a program from the variables, the data and directions.
    ///
    /// # Panics
    /// If a direction is of another module.
    pub(crate) fn inputs<'a>(
        &'a self,
        point: &'a Vector,
        along: &[&'a Vector],
    ) -> Vec<&'a DispatchTensor> {
        along.iter().for_each(|direction| point.check_same(direction));
        let directions = along.iter().flat_map(|direction| direction.leaves());
        point.leaves().iter().chain(&self.data).chain(directions).collect()
    }

    /// One tensor per variable.
    pub(crate) fn vector(&self, leaves: Vec<DispatchTensor>) -> Vector {
        Vector::new(self.point.layout().clone(), leaves)
    }

    /// One number, then one tensor per variable.
    pub(crate) fn number_and_vector(&self, mut outputs: Vec<DispatchTensor>) -> (f64, Vector) {
        let leaves = outputs.split_off(1);
        (float::read_numbers(outputs)[0], self.vector(leaves))
    }

    /// The positions of the outputs of one gradient, which begin at `start`.
    pub(crate) fn after(&self, start: usize) -> Vec<usize> {
        (start..start + self.point.leaves().len()).collect()
    }

    fn variables(&self) -> Vec<usize> {
        self.after(0)
    }
}
