//! The oracle of a problem written in Burn.

use std::sync::{Arc, Mutex, PoisonError};

use bilevel_autodiff::{
    Gradients, Layout, Lifted, ReverseOverForward, Track, Vector, lift_reverse,
    lift_reverse_over_forward, reuse,
};
use burn::backend::Autodiff;
use burn::module::AutodiffModule;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::{Cost, Direction, Loss, Oracle, Point, Sides, Wrt};
use crate::problem::{Batch, Lower, Upper};
use crate::{Bilevel, BilevelProblem, Data, Error, Level, Sample};

/// Evaluates a [`Bilevel`] problem by automatic differentiation: gradients by reverse mode, products
/// by reverse over forward in one pass each.
#[derive(Debug)]
pub struct AutodiffOracle<B: Backend, P: Bilevel<B>, D> {
    problem: P,
    x: <P as BilevelProblem<B>>::Upper,
    y: <P as BilevelProblem<B>>::Lower,
    upper: Arc<Layout>,
    lower: Arc<Layout>,
    data: D,
    cost: Mutex<Cost>,
}

/// Both variables as they were lifted, and the loss there.
type Evaluated<P, B> =
    (Lifted<Autodiff<B>, Upper<P, B>>, Lifted<Autodiff<B>, Lower<P, B>>, Tensor<Autodiff<B>, 1>);

impl<B: Backend, P: Bilevel<B>, D: Data<Batch<P, B>>> AutodiffOracle<B, P, D> {
    /// The oracle of `problem`, its variables being the trainable parameters of `x` and `y`.
    ///
    /// # Errors
    /// If a module has no trainable parameters, or a loss at the start is not one finite number.
    pub fn new(problem: P, x: &Upper<P, B>, y: &Lower<P, B>, data: D) -> Result<Self, Error> {
        let oracle = Self {
            upper: Layout::of(x),
            lower: Layout::of(y),
            x: x.valid(),
            y: y.valid(),
            problem,
            data,
            cost: Mutex::default(),
        };
        for (level, layout) in [(Level::Upper, &oracle.upper), (Level::Lower, &oracle.lower)] {
            if layout.leaves().is_empty() {
                return Err(Error::NoVariables { level });
            }
        }
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        for level in [Level::Upper, Level::Lower] {
            let at = Point { x: &x, y: &y, sample: Sample::default() };
            let loss = oracle.evaluate(level, at, None).2.inner();
            let shape = loss.dims();
            if shape != [1] {
                return Err(Error::NotScalar { level, found: shape.to_vec() });
            }
            let found = Loss::new(loss).read();
            if !found.is_finite() {
                return Err(Error::NotFiniteAtStart { level, found });
            }
        }
        Ok(oracle)
    }

    /// The values that x was built with.
    pub fn upper_start(&self) -> Vector<B> {
        Vector::from_module(&self.upper, &self.x)
    }

    /// The values that y was built with.
    pub fn lower_start(&self) -> Vector<B> {
        Vector::from_module(&self.lower, &self.y)
    }

    /// x as a module, with the values of `x`.
    pub fn upper_module(&self, x: &Vector<B>) -> <P as BilevelProblem<B>>::Upper {
        x.write_into(self.x.clone())
    }

    /// y as a module, with the values of `y`.
    pub fn lower_module(&self, y: &Vector<B>) -> <P as BilevelProblem<B>>::Lower {
        y.write_into(self.y.clone())
    }

    /// The problem.
    pub fn problem(&self) -> &P {
        &self.problem
    }

    pub(super) fn evaluate(
        &self,
        level: Level,
        at: Point<'_, B>,
        wrt: Option<Wrt>,
    ) -> Evaluated<P, B> {
        self.evaluate_by(level, at, wrt, |problem, x, y, batch| loss(problem, level, x, y, batch))
    }

    /// Some `loss` at a point, on the batch of a level.
    // Values too: layers that tell training from inference, as batch normalisation, ask whether
    // gradients can be tracked, and a loss must be one function whatever is wanted of it.
    pub(super) fn evaluate_by(
        &self,
        level: Level,
        at: Point<'_, B>,
        wrt: Option<Wrt>,
        loss: impl LossOf<Autodiff<B>, P>,
    ) -> Evaluated<P, B> {
        self.check(at);
        let x = lift_reverse(&self.x, at.x, track(wrt, Level::Upper));
        let y = lift_reverse(&self.y, at.y, track(wrt, Level::Lower));
        let batch = AutodiffModule::from_inner(self.data.batch(level, at.sample));
        let evaluate = || loss(&self.problem, &x.module, &y.module, &batch);
        // Products follow the gradients of the lower level, and neither its values nor the upper level.
        let loss = match (level, wrt) {
            (Level::Lower, Some(_)) => reuse::keeping(evaluate),
            _ => reuse::taking(evaluate),
        };
        (x, y, loss)
    }

    /// The gradient of `loss`, which is that of `level`, however it is computed.
    pub(super) fn gradient_by(
        &self,
        level: Level,
        at: Point<'_, B>,
        wrt: Wrt,
        loss: impl LossOf<Autodiff<B>, P>,
    ) -> (Loss<B>, Sides<B>) {
        self.count(|cost| cost.count_gradient(level));
        let (x, y, loss) = self.evaluate_by(level, at, Some(wrt), loss);
        let value = Loss::new(loss.clone().inner());
        (value, sides(wrt, &x, &y, Gradients::of(loss)))
    }

    /// The Hessian of `loss`, which is that of `level`, times a direction.
    pub(super) fn product_by(
        &self,
        level: Level,
        at: Point<'_, B>,
        along: Direction<'_, B>,
        wrt: Wrt,
        loss: impl LossOf<ReverseOverForward<B>, P>,
    ) -> Sides<B> {
        self.check(at);
        self.count(|cost| cost.count_product(level));
        let x = lift_reverse_over_forward::<
            B,
            Upper<P, B>,
            <P as BilevelProblem<ReverseOverForward<B>>>::Upper,
        >(&self.x, at.x, along.x, track(Some(wrt), Level::Upper));
        let y = lift_reverse_over_forward::<
            B,
            Lower<P, B>,
            <P as BilevelProblem<ReverseOverForward<B>>>::Lower,
        >(&self.y, at.y, along.y, track(Some(wrt), Level::Lower));
        let batch = <<P as BilevelProblem<Autodiff<B>>>::Batch as AutodiffModule<_>>::from_inner(
            self.data.batch(level, at.sample),
        );
        let batch = AutodiffModule::from_inner(batch);
        let loss = reuse::taking(|| loss(&self.problem, &x.module, &y.module, &batch));
        sides(wrt, &x, &y, Gradients::of_tangent(loss))
    }

    // A vector of another module would be lifted as if it were not there: its identities are not found.
    fn check(&self, at: Point<'_, B>) {
        for (level, own, given) in
            [(Level::Upper, &self.upper, at.x.layout()), (Level::Lower, &self.lower, at.y.layout())]
        {
            assert!(
                Arc::ptr_eq(own, given) || own == given,
                "the {level} variable is a vector of another module, expected one of this oracle's: begin \
                 with its `{level}_start()`"
            );
        }
    }

    fn count(&self, count: impl FnOnce(&mut Cost)) {
        count(&mut self.cost.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl<B: Backend, P: Bilevel<B>, D: Data<Batch<P, B>>> Oracle<B> for AutodiffOracle<B, P, D> {
    fn upper_layout(&self) -> &Arc<Layout> {
        &self.upper
    }

    fn lower_layout(&self) -> &Arc<Layout> {
        &self.lower
    }

    fn value(&self, level: Level, at: Point<'_, B>) -> Loss<B> {
        self.count(|cost| cost.count_value(level));
        Loss::new(self.evaluate(level, at, None).2.inner())
    }

    fn gradient(&self, level: Level, at: Point<'_, B>, wrt: Wrt) -> (Loss<B>, Sides<B>) {
        let loss = |problem: &P, x: &_, y: &_, batch: &_| loss(problem, level, x, y, batch);
        self.gradient_by(level, at, wrt, loss)
    }

    fn product(
        &self,
        level: Level,
        at: Point<'_, B>,
        along: Direction<'_, B>,
        wrt: Wrt,
    ) -> Sides<B> {
        let loss = |problem: &P, x: &_, y: &_, batch: &_| loss(problem, level, x, y, batch);
        self.product_by(level, at, along, wrt, loss)
    }

    fn batches(&self, level: Level) -> usize {
        self.data.batches(level)
    }

    fn cost(&self) -> Cost {
        *self.cost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a loss of a problem is computed on the level of differentiation `L`.
pub(super) trait LossOf<L: Backend, P: BilevelProblem<L>>:
    FnOnce(&P, &P::Upper, &P::Lower, &P::Batch) -> Tensor<L, 1>
{
}

impl<L: Backend, P: BilevelProblem<L>, F> LossOf<L, P> for F where
    F: FnOnce(&P, &P::Upper, &P::Lower, &P::Batch) -> Tensor<L, 1>
{
}

fn loss<L: Backend, P: BilevelProblem<L>>(
    problem: &P,
    level: Level,
    x: &P::Upper,
    y: &P::Lower,
    batch: &P::Batch,
) -> Tensor<L, 1> {
    match level {
        Level::Upper => problem.upper_loss(x, y, batch),
        Level::Lower => problem.lower_loss(x, y, batch),
    }
}

fn track(wrt: Option<Wrt<'_>>, level: Level) -> Track<'_> {
    match (wrt, level) {
        (Some(Wrt::Part(part)), Level::Lower) => Track::Part(part),
        (Some(wrt), _) if wrt.includes(level) => Track::Leaves,
        _ => Track::Constants,
    }
}

fn sides<B: Backend, X, Y>(
    wrt: Wrt,
    x: &Lifted<Autodiff<B>, X>,
    y: &Lifted<Autodiff<B>, Y>,
    mut grads: Gradients<Autodiff<B>>,
) -> Sides<B> {
    Sides {
        x: wrt.includes(Level::Upper).then(|| x.gradient(&mut grads)),
        y: wrt.includes(Level::Lower).then(|| y.gradient(&mut grads)),
    }
}
