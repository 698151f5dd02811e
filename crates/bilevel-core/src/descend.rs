//! Descending along hypergradients, in one call.

use std::ops::ControlFlow;

use crate::{
    AutodiffOracle, BilevelProblem, Data, Error, Executor, HypergradientMethod,
    HypergradientSolver, Outcome, Progress, Solver, UpperStep,
};

/// The result of [`descend`].
#[derive(Clone, Debug)]
pub struct Solution<X, Y> {
    /// The upper variable, as a module of the type that was given.
    pub x: X,
    /// The lower variable of the last hypergradient.
    pub y: Y,
    /// `F` and `f` at each upper step, before x was moved.
    pub losses: Vec<(f64, f64)>,
    /// How the run ended: the status of the last hypergradient, the steps with warnings, oracle calls and time.
    pub outcome: Outcome,
}

/// Descends `F(x, y*(x))` from the modules x and y, `steps` times: a hypergradient by `method`, along which `upper`
/// moves x. The lower level starts at y each time.
///
/// For a problem without a step size to choose, see [`solve`](crate::solve); for projections, other starts, observers,
/// limits or checkpoints, use [`HypergradientSolver`] and [`Executor`], on which this is built.
///
/// # Errors
/// If a loss cannot be recorded or differentiated, a setting does not fit the problem, or a level diverges.
///
/// ```
/// use bilevel_core::*;
/// use burn::module::Param;
/// use burn::tensor::Tensor;
///
/// /// Which penalty exp(x) makes a fit y to 3 come out as 1?
/// struct Penalty;
///
/// impl BilevelProblem for Penalty {
///     type Upper = Param<Tensor<1>>;
///     type Lower = Param<Tensor<1>>;
///     type Batch = Tensor<1>;
///
///     fn upper_loss(&self, _: &Self::Upper, y: &Self::Lower, target: &Tensor<1>) -> Tensor<1> {
///         (y.val() - target.clone()).powi_scalar(2)
///     }
///
///     fn lower_loss(&self, x: &Self::Upper, y: &Self::Lower, target: &Tensor<1>) -> Tensor<1> {
///         (y.val() - target.clone()).powi_scalar(2) + x.val().exp() * y.val().powi_scalar(2)
///     }
/// }
///
/// # fn main() -> Result<(), Error> {
/// let device = Default::default();
/// let (x, y) = (Param::from_data([0.0], &device), Param::from_data([0.0], &device));
/// let target = |value: f32| Tensor::from_data([value], &device);
/// let data = FullBatch { upper: target(1.0), lower: target(3.0) };
/// let method = Unrolled::rad(Descent::new(Gd::new(0.1)?, 50)?);
/// let solution = descend(Penalty, &x, &y, data, method, GradientStep::new(0.5)?, 100)?;
/// assert!(solution.outcome.status.is_ok());
/// let exp: f32 = solution.x.val().exp().into_scalar();
/// assert!((exp - 2.0).abs() < 0.01);
/// # Ok(())
/// # }
/// ```
pub fn descend<P: BilevelProblem, D: Data<P::Batch>>(
    problem: P,
    x: &P::Upper,
    y: &P::Lower,
    data: D,
    method: impl HypergradientMethod + 'static,
    upper: impl UpperStep,
    steps: usize,
) -> Result<Solution<P::Upper, P::Lower>, Error> {
    let oracle = AutodiffOracle::new(problem, x, y, data)?;
    let (start, y) = (oracle.upper_start(), oracle.lower_start());
    let mut solver = HypergradientSolver::new(&oracle, method, upper, start, y);
    let mut losses = Vec::with_capacity(steps);
    let outcome = Executor::new(steps)?
        .observe(|progress: &Progress<'_>| {
            losses.push((progress.seen.upper_loss, progress.seen.lower_loss));
            ControlFlow::Continue(())
        })
        .run(&mut solver)?;
    let (x, y) = (oracle.upper_module(solver.x()), oracle.lower_module(solver.y()));
    Ok(Solution { x, y, losses, outcome })
}
