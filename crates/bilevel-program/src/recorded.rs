//! A loss that is recorded once and differentiated as a program.

mod linearized;
mod selected;

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::{DispatchTensor, TensorMetadata};
use burn::module::Module;
use burn::tensor::{DType, Tensor};
use smallvec::SmallVec;

pub use linearized::Linearized;

use crate::agree::agrees;
use crate::optimise::merged;
use crate::program::Program;
use crate::record::{Defaults, Meta};
use crate::trace::trace;
use crate::{Batch, Direction, Layout, Leaf, Partials, Tensors, TraceError, Vector, Wrt};
use linearized::Parts;
use selected::{Selected, moving, selected};

/// A loss of two modules and a batch.
pub type Loss<'a, X, Y, D> = dyn Fn(&X, &Y, &D) -> Tensor<1> + 'a;

/// A scalar function of the variables of two modules and of a batch, recorded once for each combination of shapes and
/// differentiated as a program.
///
/// Each call takes the loss, and evaluates it only to record it: it must be the same function at every call.
pub struct Recorded<X, Y, D> {
    x: X,
    y: Y,
    upper: Arc<Layout>,
    lower: Arc<Layout>,
    traces: Mutex<Vec<Arc<Trace>>>,
    batch: PhantomData<fn(D)>,
}

/// The programs for batches of one shape.
struct Trace {
    batch: Vec<Meta>,
    variants: Vec<usize>,
    defaults: Defaults,
    loss: Program,
    derived: Mutex<Vec<(What, Arc<Derived>)>>,
}

/// A derivative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derivative {
    /// The loss itself.
    Value,
    /// The loss and its gradient.
    Gradient,
    /// The Hessian times a direction.
    Product,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    Gradient(Selected),
    Product { along: Selected, wrt: Selected },
    Linear { gradient: Selected, along: Selected, wrt: Selected },
}

enum Derived {
    Whole(Program),
    Parts(Parts),
}

impl<X: Module, Y: Module, D: Batch> Recorded<X, Y, D> {
    /// A function of the variables of modules like `x` and `y`: their trainable parameters.
    ///
    /// # Errors
    /// If neither has variables, or they are of several element types.
    pub fn new(x: &X, y: &Y) -> Result<Self, TraceError> {
        let (upper, lower) = (Layout::of(x), Layout::of(y));
        if upper.leaves().is_empty() && lower.leaves().is_empty() {
            return Err(TraceError::NoVariables);
        }
        one_type(&upper, &lower)?;
        Ok(Self {
            x: x.clone(),
            y: y.clone(),
            upper,
            lower,
            traces: Mutex::default(),
            batch: PhantomData,
        })
    }

    /// The variables of x.
    pub fn upper_layout(&self) -> &Arc<Layout> {
        &self.upper
    }

    /// The variables of y.
    pub fn lower_layout(&self) -> &Arc<Layout> {
        &self.lower
    }

    /// The module x, of which the function also uses what is not a variable.
    pub fn x(&self) -> &X {
        &self.x
    }

    /// The module y, of which the function also uses what is not a variable.
    pub fn y(&self) -> &Y {
        &self.y
    }

    /// The loss.
    ///
    /// # Errors
    /// If it cannot be recorded.
    pub fn value(
        &self,
        x: &Vector,
        y: &Vector,
        batch: &D,
        loss: &Loss<'_, X, Y, D>,
    ) -> Result<DispatchTensor, TraceError> {
        let (trace, tensors) = self.at(x, y, batch, loss)?;
        Ok(first(trace.loss.run(&inputs(x, y, &tensors))?))
    }

    /// The loss and its gradient in the requested variables.
    ///
    /// # Errors
    /// If the loss cannot be recorded or differentiated.
    pub fn gradient(
        &self,
        x: &Vector,
        y: &Vector,
        batch: &D,
        wrt: Wrt<'_>,
        loss: &Loss<'_, X, Y, D>,
    ) -> Result<(DispatchTensor, Partials), TraceError> {
        let (trace, tensors) = self.at(x, y, batch, loss)?;
        let selected = self.selected(wrt);
        let derived = trace.derived(What::Gradient(selected.clone()), self)?;
        let mut outputs = derived.whole().run(&inputs(x, y, &tensors))?.into_iter();
        let value = outputs.next().expect("a loss has a value");
        Ok((value, partials(&selected, [&self.upper, &self.lower], part(wrt), &mut outputs)))
    }

    /// The Hessian times a direction, in the requested variables.
    ///
    /// # Errors
    /// If the loss cannot be recorded or differentiated twice.
    pub fn product(
        &self,
        x: &Vector,
        y: &Vector,
        batch: &D,
        along: Direction<'_>,
        wrt: Wrt<'_>,
        loss: &Loss<'_, X, Y, D>,
    ) -> Result<Partials, TraceError> {
        let (trace, tensors) = self.at(x, y, batch, loss)?;
        for direction in [along.x, along.y].into_iter().flatten() {
            direction.layout().check_types(direction)?;
        }
        let (moving, selected) = (self.moving(along), self.selected(wrt));
        let what = What::Product { along: moving, wrt: selected.clone() };
        let derived = trace.derived(what, self)?;
        let mut inputs = inputs(x, y, &tensors);
        inputs.extend(leaves(along));
        let mut outputs = derived.whole().run(&inputs)?.into_iter();
        Ok(partials(&selected, [&self.upper, &self.lower], part(wrt), &mut outputs))
    }

    /// The loss, its gradient in the variables `gradient`, and its Hessian at the point: for products in the variables
    /// `wrt`, along directions with the parts of `along`, whose values do not matter.
    ///
    /// # Errors
    /// If the loss cannot be recorded or differentiated twice.
    #[allow(clippy::too_many_arguments)]
    pub fn linearize(
        &self,
        x: &Vector,
        y: &Vector,
        batch: &D,
        gradient: Option<Wrt<'_>>,
        along: Direction<'_>,
        wrt: Wrt<'_>,
        loss: &Loss<'_, X, Y, D>,
    ) -> Result<(DispatchTensor, Partials, Linearized), TraceError> {
        let (trace, tensors) = self.at(x, y, batch, loss)?;
        let none = Selected { x: None, y: None };
        let selected = gradient.map_or(none, |gradient| self.selected(gradient));
        let along = self.moving(along);
        let wrt = self.selected(wrt);
        let what = What::Linear { gradient: selected.clone(), along: along.clone(), wrt };
        let derived = trace.derived(what, self)?;
        let Derived::Parts(parts) = derived.as_ref() else {
            unreachable!("a linearisation has two parts")
        };
        let inputs = inputs(x, y, &tensors);
        parts.split.late.fits(&inputs)?;
        let mut outputs = parts.split.early.run(&inputs)?;
        let left = outputs.split_off(parts.split.known);
        let mut outputs = outputs.into_iter();
        let value = outputs.next().expect("a loss has a value");
        let partials =
            partials(&selected, [&self.upper, &self.lower], gradient.and_then(part), &mut outputs);
        let (upper, lower) = (self.upper.clone(), self.lower.clone());
        Ok((value, partials, Linearized { derived, left, along, upper, lower }))
    }

    /// The program of a derivative in all variables, along directions in all of them, to print or count it.
    ///
    /// # Errors
    /// If the loss cannot be recorded or differentiated.
    pub fn program(
        &self,
        what: Derivative,
        x: &Vector,
        y: &Vector,
        batch: &D,
        loss: &Loss<'_, X, Y, D>,
    ) -> Result<Program, TraceError> {
        let (trace, _) = self.at(x, y, batch, loss)?;
        let all = self.selected(Wrt::Both);
        Ok(match what {
            Derivative::Value => trace.loss.clone(),
            Derivative::Gradient => trace.derived(What::Gradient(all), self)?.whole().clone(),
            Derivative::Product => {
                trace.derived(What::Product { along: all.clone(), wrt: all }, self)?.whole().clone()
            }
        })
    }

    /// The programs for these shapes, and the tensors of the batch.
    fn at(
        &self,
        x: &Vector,
        y: &Vector,
        batch: &D,
        loss: &Loss<'_, X, Y, D>,
    ) -> Result<(Arc<Trace>, Tensors), TraceError> {
        self.upper.check_types(x)?;
        self.lower.check_types(y)?;
        let tensors = Tensors::of(batch);
        let device = x.leaves().first().or(y.leaves().first()).map(TensorMetadata::device);
        let defaults = Defaults::on(&device.unwrap_or_default());
        let fits = |trace: &&Arc<Trace>| trace.fits(&tensors, defaults);
        let known =
            self.traces.lock().unwrap_or_else(PoisonError::into_inner).iter().find(fits).cloned();
        let trace = match known {
            Some(trace) => trace,
            None => {
                let inputs = inputs(x, y, &tensors);
                let trace = Arc::new(self.recorded(batch, &tensors, defaults, &inputs, loss)?);
                self.traces.lock().unwrap_or_else(PoisonError::into_inner).push(trace.clone());
                trace
            }
        };
        Ok((trace, tensors))
    }

    fn recorded(
        &self,
        batch: &D,
        tensors: &Tensors,
        defaults: Defaults,
        inputs: &[&DispatchTensor],
        loss: &Loss<'_, X, Y, D>,
    ) -> Result<Trace, TraceError> {
        let variables = self.upper.leaves().iter().chain(self.lower.leaves());
        let variables = variables.map(|leaf| Meta { shape: leaf.shape.clone(), dtype: leaf.dtype });
        let data: Vec<_> = tensors.tensors.iter().map(meta).collect();
        let metas: Vec<_> = variables.chain(data.iter().cloned()).collect();
        let (of_x, of_y) = ((&self.x, &*self.upper), (&self.y, &*self.lower));
        let traced = trace(of_x, of_y, batch, &metas, defaults, loss)
            .map_err(|error| several_types(error, &metas))?;
        if cfg!(debug_assertions) {
            let again = trace(of_x, of_y, batch, &metas, defaults, loss)?;
            if let Some(place) = traced.loss.differs(&again.loss) {
                return Err(TraceError::DependsOnValues { place });
            }
        }
        let trace = Trace {
            batch: data,
            variants: tensors.variants.clone(),
            defaults,
            loss: traced.loss,
            derived: Mutex::default(),
        };
        self.agrees(&trace, &traced.by_burn, inputs)?;
        Ok(trace)
    }

    /// Whether the gradient of the recording is the one that Burn computes.
    fn agrees(
        &self,
        trace: &Trace,
        by_burn: &Program,
        inputs: &[&DispatchTensor],
    ) -> Result<(), TraceError> {
        let variables = by_burn.outputs.len();
        let all: Vec<_> = (0..variables).collect();
        let outputs: Vec<_> = (1..=variables).collect();
        let gradient = trace.gradient(&all)?.only(&outputs);
        agrees(&gradient, by_burn, inputs, self.upper.leaves().iter().chain(self.lower.leaves()))
    }

    fn selected(&self, wrt: Wrt<'_>) -> Selected {
        selected(&self.lower, wrt)
    }

    fn moving(&self, along: Direction<'_>) -> Selected {
        moving(&self.lower, along)
    }
}

impl Trace {
    fn fits(&self, tensors: &Tensors, defaults: Defaults) -> bool {
        self.defaults == defaults
            && self.variants == tensors.variants
            && self.batch.len() == tensors.tensors.len()
            && self
                .batch
                .iter()
                .zip(&tensors.tensors)
                .all(|(meta, tensor)| meta.dtype == tensor.dtype() && meta.shape == tensor.shape())
    }

    fn derived<X, Y, D>(
        &self,
        what: What,
        of: &Recorded<X, Y, D>,
    ) -> Result<Arc<Derived>, TraceError> {
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = derived.iter().find(|(key, _)| *key == what) {
            return Ok(found.clone());
        }
        let sizes = [of.upper.leaves().len(), of.lower.leaves().len()];
        let made = Arc::new(match &what {
            What::Gradient(wrt) => Derived::Whole(self.gradient(&wrt.positions(sizes))?),
            What::Product { along, wrt } => {
                Derived::Whole(self.product(&along.positions(sizes), &wrt.positions(sizes))?)
            }
            What::Linear { gradient, along, wrt } => {
                let gradient = self.gradient(&gradient.positions(sizes))?;
                let product = self.product(&along.positions(sizes), &wrt.positions(sizes))?;
                let (late, known) = (gradient.inputs.len(), gradient.outputs.len());
                let split = merged(&gradient, &product).split(|input| input >= late, known);
                Derived::Parts(Parts { split, wrt: wrt.clone(), late: Mutex::default() })
            }
        });
        derived.push((what, made.clone()));
        Ok(made)
    }

    fn gradient(&self, wrt: &[usize]) -> Result<Program, TraceError> {
        self.loss.reverse(0, wrt, self.defaults)
    }

    fn product(&self, along: &[usize], wrt: &[usize]) -> Result<Program, TraceError> {
        let products = self.loss.product(along, wrt, self.defaults)?;
        Ok(products.only(&(1..=wrt.len()).collect::<Vec<_>>()))
    }
}

impl Derived {
    fn whole(&self) -> &Program {
        match self {
            Derived::Whole(program) => program,
            Derived::Parts(_) => unreachable!("a program in one part"),
        }
    }
}

fn partials(
    wrt: &Selected,
    [upper, lower]: [&Arc<Layout>; 2],
    part: Option<&Arc<Layout>>,
    outputs: &mut dyn Iterator<Item = DispatchTensor>,
) -> Partials {
    let mut vector = |layout: &Arc<Layout>| {
        let leaves = outputs.take(layout.leaves().len()).collect();
        Vector::new(layout.clone(), leaves)
    };
    let x = wrt.x.is_some().then(|| vector(upper));
    let y = wrt.y.is_some().then(|| vector(part.unwrap_or(lower)));
    Partials { x, y }
}

fn part<'a>(wrt: Wrt<'a>) -> Option<&'a Arc<Layout>> {
    match wrt {
        Wrt::Part(part) => Some(part),
        _ => None,
    }
}

/// The inputs of a program.
type Inputs<'a> = SmallVec<[&'a DispatchTensor; 32]>;

fn inputs<'a>(x: &'a Vector, y: &'a Vector, batch: &'a Tensors) -> Inputs<'a> {
    x.leaves().iter().chain(y.leaves()).chain(&batch.tensors).collect()
}

fn leaves<'a>(along: Direction<'a>) -> impl Iterator<Item = &'a DispatchTensor> {
    [along.x, along.y].into_iter().flatten().flat_map(Vector::leaves)
}

pub(crate) fn meta(tensor: &DispatchTensor) -> Meta {
    Meta { shape: tensor.shape(), dtype: tensor.dtype() }
}

fn first(outputs: Vec<DispatchTensor>) -> DispatchTensor {
    outputs.into_iter().next().expect("a loss has a value")
}

/// Burn's capture panics where two float operands have several element types, and does not say which.
fn several_types(error: TraceError, metas: &[Meta]) -> TraceError {
    let TraceError::Panic { message } = &error else { return error };
    if !message.contains("DTypeMismatch") {
        return error;
    }
    let mut types: Vec<_> = metas.iter().map(|meta| meta.dtype).filter(DType::is_float).collect();
    types.dedup();
    let types: Vec<_> = types.iter().map(|dtype| format!("{dtype:?}")).collect();
    TraceError::Operation {
        operation: "an operation of several tensors".into(),
        reason: format!(
            "its operands have several of the element types {}: pass the batch in the element type of the \
             parameters, or `cast` in the loss",
            types.join(" and ")
        ),
    }
}

/// # Errors
/// If variables have several element types.
pub(crate) fn one_type(upper: &Layout, lower: &Layout) -> Result<(), TraceError> {
    let alone = upper.leaves().is_empty() || lower.leaves().is_empty();
    let path = |module: &str, leaf: &Leaf| match (alone, leaf.path.is_empty()) {
        (true, _) => leaf.path.clone(),
        (false, true) => module.to_owned(),
        (false, false) => format!("{module}.{}", leaf.path),
    };
    let of_x = upper.leaves().iter().map(|leaf| ("x", leaf));
    let leaves: Vec<_> = of_x.chain(lower.leaves().iter().map(|leaf| ("y", leaf))).collect();
    let Some((module, first)) = leaves.first() else { return Ok(()) };
    match leaves.iter().find(|(_, leaf)| leaf.dtype != first.dtype) {
        Some((other_module, other)) => Err(TraceError::MixedTypes {
            path: path(other_module, other),
            found: format!("{:?}", other.dtype),
            first: path(module, first),
            expected: format!("{:?}", first.dtype),
        }),
        None => Ok(()),
    }
}
