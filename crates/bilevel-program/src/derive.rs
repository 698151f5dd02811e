//! Derivatives of programs, which are programs.
//!
//! A program is evaluated on a backend that differentiates on top of one that records: on `Dual` for forward mode, on
//! Burn's `Autodiff` for reverse mode. The result is a program again, so that derivatives compose: the Hessian times a
//! vector is the reverse mode of a forward mode.

use bilevel_autodiff::{Dual, DualTensor};
use burn::backend::ir::{HandleKind, OperationIr};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::backend::{AutodiffBackend, Backend, Capture, TensorMetadata};
use burn_autodiff::Autodiff;
use burn_capture::CaptureDevice;

use crate::TraceError;
use crate::execute::{Slots, execute};
use crate::power::power;
use crate::program::Program;
use crate::record::{Defaults, Meta, Symbol, record};
use crate::stop::{mark, stops};

type Reverse = Autodiff<Capture>;
type Forward = Dual<Capture>;

impl Program {
    /// Forward mode: the inputs are those of the program, then a tangent for each input at the positions `along`; the
    /// outputs are those of the program, then the tangent of each.
    ///
    /// # Errors
    /// If an operation has no tangent rule.
    pub(crate) fn forward(&self, along: &[usize], defaults: Defaults) -> Result<Self, TraceError> {
        let inputs = self.metas().chain(along.iter().map(|&at| self.meta(at))).collect::<Vec<_>>();
        record(&inputs, defaults, |mut values, device| {
            let tangents = values.split_off(self.inputs.len());
            let mut tangents: Vec<_> = along.iter().zip(tangents).collect();
            let lift = |(at, value): (usize, Symbol)| match value {
                HandleKind::Float(value) => {
                    let tangent = tangents.iter().position(|(along, _)| **along == at);
                    HandleKind::<Forward>::Float(
                        match tangent.map(|found| tangents.swap_remove(found).1) {
                            Some(HandleKind::Float(tangent)) => DualTensor::new(value, tangent),
                            _ => DualTensor::constant(value),
                        },
                    )
                }
                other => same_kind(other),
            };
            let values = values.into_iter().enumerate().map(lift).collect();
            let value = |dual: FloatTensor<Forward>| dual.into_parts().0;
            let ordinary = |_: &OperationIr, _: &mut Slots<Forward>| false;
            let results = self.evaluate(values, device, (DualTensor::constant, value), ordinary);
            let (mut outputs, mut moved) = (Vec::new(), Vec::new());
            for (output, result) in self.outputs.iter().zip(results) {
                let zero = Meta { shape: output.shape.clone(), dtype: output.dtype };
                match result {
                    Some(HandleKind::Float(dual)) => {
                        let (value, tangent) = dual.into_parts();
                        outputs.push(Ok(HandleKind::Float(value)));
                        moved.push(tangent.map(HandleKind::Float).ok_or(zero));
                    }
                    Some(other) => {
                        outputs.push(Ok(same_kind(other)));
                        moved.push(Err(zero));
                    }
                    None => {
                        outputs.push(Err(zero.clone()));
                        moved.push(Err(zero));
                    }
                }
            }
            outputs.append(&mut moved);
            Ok(outputs)
        })
        .map_err(TraceError::of_derivative)
    }

    /// Reverse mode: the outputs are those of the program, then the gradient of the sum of output `of` in each input at
    /// the positions `wrt`.
    ///
    /// # Errors
    /// If an operation has no backward pass.
    pub(crate) fn reverse(
        &self,
        of: usize,
        wrt: &[usize],
        defaults: Defaults,
    ) -> Result<Self, TraceError> {
        let inputs: Vec<_> = self.metas().collect();
        record(&inputs, defaults, |values, device| {
            let mut leaves = Vec::new();
            let lift = |(at, value): (usize, Symbol)| match value {
                HandleKind::Float(value) => {
                    let mut value = Reverse::from_inner(value);
                    if wrt.contains(&at) {
                        value = Reverse::float_set_require_grad(value, true);
                        leaves.push((at, value.clone()));
                    }
                    HandleKind::<Reverse>::Float(value)
                }
                other => same_kind(other),
            };
            let values = values.into_iter().enumerate().map(lift).collect();
            let moving = self.depends(|input| wrt.contains(&input));
            let by_rule = |operation: &OperationIr, slots: &mut Slots<Reverse>| {
                power(operation, slots, |tensor| moving[tensor])
            };
            let level = (Reverse::from_inner, Reverse::inner);
            let results = self.evaluate(values, device, level, by_rule);
            let source = results[of].clone();
            let mut outputs = Vec::new();
            for (output, result) in self.outputs.iter().zip(results) {
                outputs.push(match result {
                    Some(HandleKind::Float(value)) => Ok(HandleKind::Float(Reverse::inner(value))),
                    Some(other) => Ok(same_kind(other)),
                    None => Err(Meta { shape: output.shape.clone(), dtype: output.dtype }),
                });
            }
            let reached = self.reaches(of, wrt);
            let mut grads = match source {
                Some(HandleKind::Float(source)) if reached => {
                    Some(Reverse::backward(tracked(source, device)))
                }
                _ => None,
            };
            for &at in wrt {
                let leaf = leaves.iter().find(|(of, _)| *of == at);
                let gradient = grads
                    .as_mut()
                    .zip(leaf)
                    .and_then(|(grads, (_, leaf))| Reverse::grad_remove(leaf, grads));
                outputs.push(gradient.map(HandleKind::Float).ok_or_else(|| self.meta(at)));
            }
            Ok(outputs)
        })
        .map_err(TraceError::of_derivative)
    }

    /// The derivative of a loss along a direction, which has an additional input for each position of `along`, and the
    /// gradient of this derivative in each input at the positions `wrt`: products with the Hessian.
    ///
    /// # Errors
    /// If an operation has no tangent rule or no backward pass.
    pub(crate) fn product(
        &self,
        along: &[usize],
        wrt: &[usize],
        defaults: Defaults,
    ) -> Result<Self, TraceError> {
        let slope = self.forward(along, defaults)?.only(&[1]);
        Ok(crate::optimise::second_derivative(&slope.reverse(0, wrt, defaults)?))
    }

    /// The program without the outputs that are not at the positions `kept`.
    pub(crate) fn only(&self, kept: &[usize]) -> Self {
        crate::optimise::kept(self, kept)
    }

    fn reaches(&self, output: usize, from: &[usize]) -> bool {
        let depends = self.depends(|input| from.contains(&input));
        self.outputs[output].tensor.is_some_and(|tensor| depends[tensor])
    }

    fn meta(&self, input: usize) -> Meta {
        let input = &self.inputs[input];
        Meta { shape: input.shape.clone(), dtype: input.dtype }
    }

    pub(crate) fn metas(&self) -> impl Iterator<Item = Meta> {
        (0..self.inputs.len()).map(|at| self.meta(at))
    }

    /// The outputs on a level above the backend that records: how a tensor is lifted as a constant, and lowered to a
    /// value; and operations with a rule of their own, which says whether it applied.
    fn evaluate<B>(
        &self,
        inputs: Vec<HandleKind<B>>,
        device: &CaptureDevice,
        (constant, value): (
            impl Fn(FloatTensor<Capture>) -> FloatTensor<B>,
            impl Fn(FloatTensor<B>) -> FloatTensor<Capture>,
        ),
        by_rule: impl Fn(&OperationIr, &mut Slots<B>) -> bool,
    ) -> Vec<Option<HandleKind<B>>>
    where
        B: Backend<
                Device = CaptureDevice,
                IntTensorPrimitive = IntTensor<Capture>,
                BoolTensorPrimitive = BoolTensor<Capture>,
            >,
    {
        use burn::backend::ops::{BoolTensorOps, IntTensorOps};
        let mut slots = Slots::<B>::new(self.tensors);
        for (input, value) in self.inputs.iter().zip(inputs) {
            slots.set(input.id.value() as usize, value);
        }
        for each in &self.constants {
            let data = (*each.data).clone();
            let dtype = data.dtype();
            slots.set(
                each.tensor,
                if dtype.is_float() {
                    HandleKind::Float(constant(Capture::float_from_data(data, device)))
                } else if dtype.is_bool() {
                    HandleKind::Bool(Capture::bool_from_data(data, device))
                } else {
                    HandleKind::Int(Capture::int_from_data(data, device))
                },
            );
        }
        for operation in &self.operations {
            match stops(operation) {
                None if by_rule(operation, &mut slots) => {}
                None => execute::<B>(operation, &mut slots, device),
                Some((argument, result)) => {
                    let Some(HandleKind::Float(argument)) = slots.get(argument.id.value() as usize)
                    else {
                        unreachable!("derivatives stop at floats that were computed")
                    };
                    let marked = HandleKind::Float(constant(mark(value(argument))));
                    slots.set(result.id.value() as usize, marked);
                }
            }
        }
        self.outputs
            .iter()
            .map(|output| output.tensor.and_then(|tensor| slots.get(tensor)))
            .collect()
    }
}

/// A loss may depend on its variables without a derivative, for example through a comparison; `backward` requires a
/// graph.
fn tracked(source: FloatTensor<Reverse>, device: &CaptureDevice) -> FloatTensor<Reverse> {
    let zeros = Capture::float_zeros(source.shape(), device, source.dtype().into());
    let leaf = Reverse::float_set_require_grad(Reverse::from_inner(zeros), true);
    Reverse::float_add(source, leaf)
}

/// Integers and booleans are the same on every level.
fn same_kind<A: Backend, B>(value: HandleKind<A>) -> HandleKind<B>
where
    B: Backend<
            IntTensorPrimitive = A::IntTensorPrimitive,
            BoolTensorPrimitive = A::BoolTensorPrimitive,
        >,
{
    match value {
        HandleKind::Int(value) => HandleKind::Int(value),
        HandleKind::Bool(value) => HandleKind::Bool(value),
        HandleKind::Float(_) | HandleKind::Quantized(_) => unreachable!("floats are lifted"),
    }
}
