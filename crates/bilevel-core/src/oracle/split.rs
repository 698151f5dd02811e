//! The oracle of a problem whose lower loss has two stages.

use std::sync::Arc;

use bilevel_program::{Layout, Vector};
use burn::tensor::Tensor;

use super::autodiff::{recorded, trace_error};
use super::{AutodiffOracle, Direction, Loss, Mixed, Oracle, Point, Wrt};
use crate::{Data, Error, Objective, Sample, SplitProblem};

/// Evaluates a [`SplitProblem`] as an [`AutodiffOracle`] does, except for [`Oracle::gradient_and_mixed`]: along a v in
/// variables that only the head uses, the features are constant, so that
///
/// ```text
/// d/dx <f_y, v> = d/dx <d/dy head(x, y, u), v>   at u = features(y)
/// ```
///
/// and u is known from the gradient. Such a product costs one of the head and no pass through the body, in time and in
/// memory; of the body only u is kept for it. Along any other v it is the usual product.
#[derive(Debug)]
pub struct SplitOracle<P: SplitProblem, D> {
    whole: AutodiffOracle<P, D>,
    /// The variables that the features do not depend on.
    head: Arc<Layout>,
}

impl<P: SplitProblem, D: Data<P::Batch>> SplitOracle<P, D> {
    /// The oracle of `problem`, its variables being the trainable parameters of `x` and `y`.
    ///
    /// # Errors
    /// As [`AutodiffOracle::new`]; or if the loss of the head is not the lower loss at the start.
    pub fn new(problem: P, x: &P::Upper, y: &P::Lower, data: D) -> Result<Self, Error> {
        let whole = AutodiffOracle::new(problem, x, y, data)?;
        let (x, y) = (whole.upper_start(), whole.lower_start());
        let at = Point { x: &x, y: &y, sample: Sample::default() };
        let batch = whole.batch(Objective::Lower, at);
        let problem = whole.problem();
        let failed = |error| trace_error(Objective::Lower, error);
        let features = |_: &_, y: &_, batch: &_| problem.features(y, batch).sum();
        let probe = whole.again().map_err(failed)?;
        let [_, body] = probe.reached(&x, &y, &batch, &features).map_err(failed)?;
        let staged = |x: &_, y: &_, batch: &_| -> Tensor<1> {
            problem.head_loss(x, y, problem.features(y, batch), batch)
        };
        let probe = whole.again().map_err(failed)?;
        let loss = probe.value(&x, &y, &batch, &staged).map_err(failed)?;
        let expected =
            whole.recorded(Objective::Lower).value(&x, &y, &batch, &whole.loss(Objective::Lower));
        let expected = Loss::of(expected.map_err(failed)?).read();
        let found = Loss::of(loss).read();
        // Sums in another order are the same function.
        let bytes = whole.lower_layout().leaves().iter().map(|leaf| leaf.dtype.size()).max();
        let near = if bytes == Some(8) { 1e-10 } else { 1e-4 } * expected.abs().max(1e-3);
        if !found.is_finite() || (found - expected).abs() > near {
            return Err(Error::SplitLoss { found, expected });
        }
        let lower = whole.lower_layout();
        let in_head = |at: &usize| body.position(lower.leaves()[*at].id).is_none();
        let head = lower.part(&(0..lower.leaves().len()).filter(in_head).collect::<Vec<_>>());
        Ok(Self { whole, head })
    }

    /// The oracle without the shortcut, which holds the modules.
    pub fn whole(&self) -> &AutodiffOracle<P, D> {
        &self.whole
    }

    /// Whether only the head uses the variables of `part`.
    fn in_head(&self, part: &Layout) -> bool {
        part.leaves().iter().all(|leaf| self.head.position(leaf.id).is_some())
    }
}

impl<P: SplitProblem, D: Data<P::Batch>> Oracle for SplitOracle<P, D> {
    crate::forward_oracle!(whole: upper_layout, lower_layout, value, gradient, product, linearize, constraints, batches, program);

    fn gradient_and_mixed<'a>(&'a self, at: Point<'a>) -> (Loss, Vector, Mixed<'a>) {
        let objective = Objective::Lower;
        let batch = self.whole.batch(objective, at);
        let head = at.y.only(&self.head);
        let found = self.whole.recorded(objective).linearize(
            at.x,
            at.y,
            &batch,
            Some(Wrt::Y),
            Direction::in_y(&head),
            Wrt::X,
            &self.whole.loss(objective),
        );
        let (value, partials, head_products) = recorded(objective, found);
        let mixed = move |v: &Vector| {
            if !self.in_head(v.layout()) {
                return self.product(objective, at, Direction::in_y(v), Wrt::X).into_x();
            }
            let v = head.zeros_like().axpy_part(1.0, v);
            head_products.product(Direction::in_y(&v), Wrt::X).into_x()
        };
        (Loss::of(value), partials.into_y(), Box::new(mixed))
    }
}
