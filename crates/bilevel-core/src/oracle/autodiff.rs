//! The oracle of a problem written in Burn.

use std::fmt::{Debug, Formatter};
use std::sync::Arc;

use bilevel_program::{Layout, Recorded, TraceError, Vector, plain};
use burn::module::Module;
use burn::tensor::Tensor;

use super::recorded_constraints::{LevelConstraints, OfLevels, of_levels};
use super::{
    Constraints, Derivative, Direction, Hessian, Linearization, Loss, Oracle, Partials, Point,
    Program, Wrt,
};
use crate::check::named;
use crate::error::unrecorded;
use crate::{BilevelProblem, Data, Error, Objective, Sample, Variable};

/// A loss of a problem, recorded.
pub(super) type RecordedLoss<P> = Recorded<
    <P as BilevelProblem>::Upper,
    <P as BilevelProblem>::Lower,
    <P as BilevelProblem>::Batch,
>;

/// Evaluates a [`BilevelProblem`] through its losses as programs: recorded once for the shapes of a batch, and
/// differentiated as programs.
pub struct AutodiffOracle<P: BilevelProblem, D> {
    problem: P,
    upper_loss: RecordedLoss<P>,
    lower_loss: RecordedLoss<P>,
    constraints: OfLevels<P>,
    data: D,
}

impl<P: BilevelProblem, D: Data<P::Batch>> AutodiffOracle<P, D> {
    /// The oracle of `problem`, its variables being the trainable parameters of `x` and `y`.
    ///
    /// # Errors
    /// If a module has no trainable parameters, a loss or the constraints cannot be recorded or differentiated, a loss at the
    /// start is not one finite number, or x and y share a parameter and there are constraints.
    pub fn new(problem: P, x: &P::Upper, y: &P::Lower, data: D) -> Result<Self, Error> {
        let mut oracle = Self::untried(problem, x, y, data)?;
        let modules = (oracle.upper(), oracle.lower());
        oracle.constraints = of_levels(&oracle.problem, modules, &oracle.data)?;
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        for objective in [Objective::Upper, Objective::Lower] {
            oracle.try_at_start(objective, Point { x: &x, y: &y, sample: Sample::default() })?;
        }
        Ok(oracle)
    }

    /// The same without an evaluation of the losses, and without constraints.
    pub(super) fn untried(problem: P, x: &P::Upper, y: &P::Lower, data: D) -> Result<Self, Error> {
        let (x, y) = (plain(x.clone()), plain(y.clone()));
        for (variable, layout) in [(Variable::X, Layout::of(&x)), (Variable::Y, Layout::of(&y))] {
            if layout.leaves().is_empty() {
                return Err(Error::NoVariables { variable });
            }
        }
        let record =
            |objective| Recorded::new(&x, &y).map_err(|error| trace_error(objective, error));
        Ok(Self {
            upper_loss: record(Objective::Upper)?,
            lower_loss: record(Objective::Lower)?,
            constraints: [None, None],
            problem,
            data,
        })
    }

    /// x as it was given.
    pub(super) fn upper(&self) -> &P::Upper {
        self.upper_loss.x()
    }

    /// y as it was given.
    pub(super) fn lower(&self) -> &P::Lower {
        self.lower_loss.y()
    }

    /// Whether everything that may be requested can be computed.
    fn try_at_start(&self, objective: Objective, at: Point<'_>) -> Result<(), Error> {
        let batch = self.data.batch(objective, at.sample);
        let recorded = self.recorded(objective);
        let loss = self.loss(objective);
        let along = Direction { x: Some(at.x), y: Some(at.y) };
        let tried = recorded.value(at.x, at.y, &batch, &loss).and_then(|value| {
            recorded.gradient(at.x, at.y, &batch, Wrt::Both, &loss)?;
            match recorded.product(at.x, at.y, &batch, along, Wrt::Both, &loss) {
                // First-order methods need none.
                Err(TraceError::NotDifferentiable { .. }) | Ok(_) => Ok(value),
                Err(error) => Err(error),
            }
        });
        let value = tried.map_err(|error| trace_error(objective, error))?;
        let found = Loss::of(value).read();
        if !found.is_finite() {
            return Err(Error::NotFiniteAtStart { objective, found });
        }
        Ok(())
    }

    /// The values that x was built with.
    pub fn upper_start(&self) -> Vector {
        Vector::from_module(self.upper_loss.upper_layout(), self.upper_loss.x())
    }

    /// The values that y was built with.
    pub fn lower_start(&self) -> Vector {
        Vector::from_module(self.lower_loss.lower_layout(), self.lower_loss.y())
    }

    /// The values of another module like x, such as a new one or one read from a file.
    ///
    /// # Errors
    /// If its trainable parameters have other paths, shapes or element types.
    pub fn upper_vector(&self, x: &P::Upper) -> Result<Vector, Error> {
        like("a module of x", x, self.upper_layout(), &self.upper_start())
    }

    /// The values of another module like y, such as a new one or one read from a file.
    ///
    /// # Errors
    /// If its trainable parameters have other paths, shapes or element types.
    pub fn lower_vector(&self, y: &P::Lower) -> Result<Vector, Error> {
        like("a module of y", y, self.lower_layout(), &self.lower_start())
    }

    /// x as a module, with the values of `x`. It tracks no gradients; `train` gives one that does.
    pub fn upper_module(&self, x: &Vector) -> P::Upper {
        x.write_into(self.upper_loss.x().clone())
    }

    /// y as a module, with the values of `y`.
    pub fn lower_module(&self, y: &Vector) -> P::Lower {
        y.write_into(self.lower_loss.y().clone())
    }

    /// The problem.
    pub fn problem(&self) -> &P {
        &self.problem
    }

    /// The source of its batches.
    pub fn data(&self) -> &D {
        &self.data
    }

    /// The variables and the batches for another function of them.
    pub(super) fn again(&self) -> Result<RecordedLoss<P>, TraceError> {
        Recorded::new(self.lower_loss.x(), self.lower_loss.y())
    }

    pub(super) fn recorded(&self, objective: Objective) -> &RecordedLoss<P> {
        match objective {
            Objective::Upper => &self.upper_loss,
            Objective::Lower => &self.lower_loss,
        }
    }

    pub(super) fn batch(&self, objective: Objective, at: Point<'_>) -> P::Batch {
        self.check(at);
        self.data.batch(objective, at.sample)
    }

    pub(super) fn loss(
        &self,
        objective: Objective,
    ) -> impl Fn(&P::Upper, &P::Lower, &P::Batch) -> Tensor<1> {
        move |x, y, batch| match objective {
            Objective::Upper => self.problem.upper_loss(x, y, batch),
            Objective::Lower => self.problem.lower_loss(x, y, batch),
        }
    }

    // A vector of another module has different variables, which may have the same shapes.
    fn check(&self, at: Point<'_>) {
        for (variable, start, own, given) in [
            (Variable::X, "upper_start", self.upper_layout(), at.x.layout()),
            (Variable::Y, "lower_start", self.lower_layout(), at.y.layout()),
        ] {
            assert!(
                Arc::ptr_eq(own, given) || own == given,
                "{variable} is a vector of another module, expected one of this oracle's: begin \
                 with its `{start}()`"
            );
        }
    }
}

impl<P: BilevelProblem, D: Data<P::Batch>> Oracle for AutodiffOracle<P, D> {
    fn upper_layout(&self) -> &Arc<Layout> {
        self.upper_loss.upper_layout()
    }

    fn lower_layout(&self) -> &Arc<Layout> {
        self.upper_loss.lower_layout()
    }

    fn value(&self, objective: Objective, at: Point<'_>) -> Loss {
        let batch = self.batch(objective, at);
        let value = self.recorded(objective).value(at.x, at.y, &batch, &self.loss(objective));
        Loss::of(recorded(objective, value))
    }

    fn gradient(&self, objective: Objective, at: Point<'_>, wrt: Wrt) -> (Loss, Partials) {
        let batch = self.batch(objective, at);
        let found =
            self.recorded(objective).gradient(at.x, at.y, &batch, wrt, &self.loss(objective));
        let (value, partials) = recorded(objective, found);
        (Loss::of(value), partials)
    }

    fn product(
        &self,
        objective: Objective,
        at: Point<'_>,
        along: Direction<'_>,
        wrt: Wrt,
    ) -> Partials {
        let batch = self.batch(objective, at);
        let found =
            self.recorded(objective).product(at.x, at.y, &batch, along, wrt, &self.loss(objective));
        recorded(objective, found)
    }

    fn linearize<'a>(
        &'a self,
        objective: Objective,
        at: Point<'_>,
        gradient: Option<Wrt<'_>>,
        along: Wrt<'_>,
        wrt: Wrt<'_>,
    ) -> Linearization<'a> {
        let with_loss = gradient.is_some();
        let batch = self.batch(objective, at);
        let pattern = Direction {
            x: along.includes(Variable::X).then_some(at.x),
            y: along.includes(Variable::Y).then_some(at.y),
        };
        let loss = self.loss(objective);
        let found =
            self.recorded(objective).linearize(at.x, at.y, &batch, gradient, pattern, wrt, &loss);
        let (value, gradient, linear) = recorded(objective, found);
        let (bytes, y) = (linear.bytes(), at.y.clone());
        let product = move |along: Direction<'_>, wrt: Wrt<'_>| match along
            .y
            .filter(|part| part.layout() != y.layout())
        {
            Some(part) => {
                let whole = y.zeros_like().axpy_part(1.0, part);
                linear.product(Direction { x: along.x, y: Some(&whole) }, wrt)
            }
            None => linear.product(along, wrt),
        };
        let loss = with_loss.then(|| Loss::of(value));
        Linearization { loss, gradient, hessian: Hessian::new(product, bytes) }
    }

    fn constraints<'a>(
        &'a self,
        level: Objective,
        sample: Sample,
    ) -> Option<Box<dyn Constraints + 'a>> {
        let recorded = self.constraints[level as usize].as_ref()?;
        Some(Box::new(LevelConstraints { oracle: self, recorded, level, sample }))
    }

    fn batches(&self, objective: Objective) -> usize {
        self.data.batches(objective)
    }

    fn program(&self, objective: Objective, what: Derivative, at: Point<'_>) -> Option<Program> {
        let batch = self.batch(objective, at);
        self.recorded(objective).program(what, at.x, at.y, &batch, &self.loss(objective)).ok()
    }
}

impl<P: BilevelProblem + Debug, D: Debug> Debug for AutodiffOracle<P, D> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AutodiffOracle")
            .field("problem", &self.problem)
            .field("upper", self.upper_loss.upper_layout())
            .field("lower", self.upper_loss.lower_layout())
            .field("data", &self.data)
            .finish_non_exhaustive()
    }
}

/// The values of `module` as a vector like `like`: parameters are identified by their paths.
fn like<M: Module>(
    what: &str,
    module: &M,
    layout: &Layout,
    like: &Vector,
) -> Result<Vector, Error> {
    let own = Layout::of(module);
    if named(&own) != named(layout) {
        return Err(Error::StartShapes {
            part: what.into(),
            found: named(&own),
            expected: named(layout),
        });
    }
    let values = Vector::from_module(&own, &plain(module.clone()));
    let mut leaves = values.leaves().iter().cloned();
    Ok(like.map(|leaf| leaves.next().unwrap_or(leaf)))
}

pub(super) fn trace_error(objective: Objective, error: TraceError) -> Error {
    match error {
        TraceError::NotOneNumber { shape } => Error::NotScalar { objective, found: shape },
        error => Error::of_recording(format!("the {objective} loss"), error),
    }
}

/// The result of a computation. The first evaluation showed that the loss can be recorded: on another batch it may turn
/// out that it depends on shapes in a way that cannot be.
///
/// # Panics
/// If the loss cannot be recorded for this batch.
pub(super) fn recorded<T>(objective: Objective, found: Result<T, TraceError>) -> T {
    found.unwrap_or_else(|error| {
        unrecorded(format_args!("the {objective} loss of this batch"), error)
    })
}
