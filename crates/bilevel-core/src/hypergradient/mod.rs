//! Hypergradients: `d F(x, y(x)) / dx`.
//!
//! A method is a value that holds its lower dynamics or its linear solver. All are object-safe, so
//! that a registry of names can build them.

mod barrier;
mod columns;
mod fad;
mod first_order;
mod fixed_point;
mod fomaml;
mod iaptt;
mod iga;
mod imaml;
mod implicit;
mod infinite;
mod joint_step;
mod kkt;
mod maml;
mod on_features;
mod one_stage;
mod one_stage_fd;
mod online_fad;
mod reptile;
mod reverse;
mod reversible;
mod start_in_x;
mod stationarity;
mod tasks;
mod unrolled;

pub use barrier::Barrier;
pub use fad::Fad;
pub use first_order::FirstOrder;
pub use fixed_point::FixedPoint;
pub use fomaml::Fomaml;
pub use iaptt::Iaptt;
pub use iga::Iga;
pub use imaml::Imaml;
pub use implicit::Implicit;
pub use infinite::Infinite;
pub use joint_step::JointStep;
pub use kkt::Kkt;
pub use maml::Maml;
pub use on_features::OnFeatures;
pub use one_stage::OneStage;
pub use one_stage_fd::OneStageFd;
pub use online_fad::OnlineFad;
pub use reptile::Reptile;
pub use reversible::ReversibleRad;
pub use tasks::Tasks;
pub use unrolled::Unrolled;

pub(crate) use columns::Columns;
pub(crate) use reverse::{reverse, unroll, unroll_from};
pub(crate) use start_in_x::StartInX;
use stationarity::Stationarity;

use std::fmt::{Debug, Display, Formatter};

use auto_impl::auto_impl;
use bilevel_program::{Layout, Vector};
use serde::{Deserialize, Serialize};

use crate::constrained::{Degenerate, Residual};
use crate::linear::LinearStatus;
use crate::lower::{Descended, LastStep};
use crate::{Cost, Counted, Dynamics, Error, Loss, LowerProblem, Objective, Snapshot, Wrt};

/// A hypergradient and the values seen on the way.
#[derive(Clone, Debug)]
pub struct Hypergradient {
    /// `dF/dx`, in the variables of x.
    pub gradient: Vector,
    /// `dF/dy_0`, in the variables of y, from methods that differentiate in the start.
    pub start: Option<Vector>,
    /// The lower point it was taken at: `y_T`, unless the method says otherwise.
    pub lower: Vector,
    /// F there.
    pub upper_loss: Loss,
    /// f there.
    pub lower_loss: f64,
    /// How far it can be trusted.
    pub status: Status,
}

/// How far a hypergradient can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Status {
    /// The exact derivative of the truncated problem `F(x, y_T(x))`, up to rounding.
    Exact,
    /// An approximation by design, as the method documents it: truncated, of first order, or by differences.
    Approximate,
    /// The lower steps increased f: `f(x, y_T) > f(x, y_0)`.
    NoDescent {
        /// `f(x, y_0)`.
        start: f64,
        /// `f(x, y_T)`.
        end: f64,
    },
    /// The implicit formula, with the linear system solved to a relative residual.
    Implicit {
        /// Why the linear solver stopped.
        solver: LinearStatus,
        /// The solver's residual relative to `norm(F_y)`, of the damped system where there is damping;
        /// none where the solver does not know it.
        residual: Option<f64>,
        /// `norm(f_y(x, y_T))`, with what a set or a penalty of the steps adds to it; or the length of one more step of
        /// a fixed point. The formula requires 0, and its error is of the same order.
        stationarity: f64,
        /// The same relative to the largest value so far at the start of a descent: above [`Status::STATIONARY`] it is
        /// a warning. None where the method has a tolerance for it, or requires no stationary point.
        relative: Option<f64>,
    },
    /// The implicit formula of f alone, where the derivative of the lower solution is that of a composite `f + h`: h is
    /// the indicator of a set, the penalty of a proximal map, weight decay, or a share of F.
    Composite {
        /// As in [`Status::Implicit`].
        stationarity: f64,
        /// How far the derivative of the last step is from that of a step on f alone, relative: the formula requires 0.
        /// After a minimiser that keeps y in a set, the share of `f_y` that the set holds.
        deviation: f64,
    },
    /// The map of [`FixedPoint::minimised`] moves the point where the minimiser ended.
    NotFixedPoint {
        /// `norm(Phi(x, y) - y)`.
        moved: f64,
        /// The norm at which the minimiser ended.
        residual: f64,
    },
    /// The lower solution has no derivative: its constraints are degenerate.
    Degenerate(Degenerate),
    /// The hypergradient is NaN or infinite, and meaningless.
    NotFinite {
        /// The derivative that is not finite; none if those of both losses are finite at both ends of the descent.
        cause: Option<Infinite>,
    },
    /// The implicit formula at a gradient that exceeds the tolerance of this hypergradient.
    LowerLimit {
        /// As in [`Status::Implicit`].
        stationarity: f64,
        /// The tolerance.
        tolerance: f64,
    },
}

impl Status {
    /// The fraction of the initial distance from stationarity that may be left at the end of a descent before the
    /// implicit formula without a warning. The error of the formula is of the order of what is left.
    pub const STATIONARY: f64 = 0.25;

    /// The status of a descent that increased f; none otherwise.
    pub fn of_descent(descended: &Descended) -> Option<Self> {
        let (start, end) = (descended.start_loss, descended.end_loss);
        descended.climbed().then_some(Self::NoDescent { start, end })
    }

    /// This status, or that of a descent that increased f: unless the hypergradient is meaningless, which is worse.
    fn after(self, climbed: Option<Self>) -> Self {
        climbed.filter(|_| !self.is_broken()).unwrap_or(self)
    }

    /// Whether the hypergradient is meaningless.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(
            self,
            Self::NotFinite { .. } | Self::Implicit { solver: LinearStatus::NotFinite, .. }
        )
    }

    /// Returns an error for meaningless hypergradients.
    pub(crate) fn check(&self, k: usize, upper: &Layout, lower: &Layout) -> Result<(), Error> {
        if !self.is_broken() {
            return Ok(());
        }
        let cause = match self {
            Self::NotFinite { cause: Some(cause) } => cause.describe(upper, lower),
            status => status.to_string(),
        };
        Err(Error::HypergradientNotFinite { step: k + 1, cause })
    }

    /// Whether nothing went wrong on the way.
    pub fn is_ok(&self) -> bool {
        match self {
            Self::Exact | Self::Approximate => true,
            Self::Implicit { solver, relative, .. } => {
                solver.is_ok() && relative.is_none_or(|relative| relative <= Self::STATIONARY)
            }
            Self::NoDescent { .. }
            | Self::NotFinite { .. }
            | Self::LowerLimit { .. }
            | Self::Composite { .. }
            | Self::NotFixedPoint { .. }
            | Self::Degenerate(_) => false,
        }
    }
}

impl Display for Status {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact => f.write_str("exact"),
            Self::Approximate => f.write_str("approximate, as the method is"),
            Self::NoDescent { start, end } => write!(
                f,
                "the lower steps raised the lower loss from {start:.3e} to {end:.3e}: reduce the lower \
                 step size"
            ),
            Self::Implicit { solver, residual, stationarity, relative } => {
                if let Some(relative) = relative.filter(|relative| *relative > Self::STATIONARY) {
                    write!(
                        f,
                        "the lower level ended at {relative:.1e} of its initial distance from stationarity, \
                         expected at most {:.1e}: allow more lower steps, start them warm, or use rad; ",
                        Self::STATIONARY
                    )?;
                }
                let residual =
                    residual.map_or("unknown".into(), |residual| format!("{residual:.1e}"));
                write!(
                    f,
                    "linear solver {solver} (relative residual {residual}; distance from stationarity \
                     {stationarity:.1e})"
                )
            }
            Self::Composite { stationarity, deviation } => write!(
                f,
                "a set, a proximal map, weight decay or a share of F changes the derivative of the lower solution by \
                 the share {deviation:.1e}, expected 0 (distance from stationarity {stationarity:.1e}): this implicit \
                 formula knows the lower loss alone; use fixed-point or rad, or write the penalty into the lower loss \
                 and the set as its constraints, for kkt"
            ),
            Self::NotFixedPoint { moved, residual } => write!(
                f,
                "the step that is differentiated moves y by {moved:.1e} where the minimiser ended with the residual \
                 {residual:.1e}: they solve different problems; give both the same set (`Projected`, `Fista::onto`), write \
                 weight decay and smooth penalties into the lower loss, or use `FixedPoint::new`, which runs the steps"
            ),
            Self::Degenerate(Degenerate::Weak(constraint)) => write!(
                f,
                "constraint {constraint} of the lower level is active with the multiplier 0, where y*(x) has a \
                 kink: the hypergradient is one-sided; move x, or end here if F decreases on neither side"
            ),
            Self::Degenerate(Degenerate::Singular(active)) => write!(
                f,
                "the conditions of the lower level are singular with {active} active constraints, so that y or its \
                 multipliers are not unique: drop constraints that follow from others, or add a small multiple of \
                 norm(y)^2 to the lower loss"
            ),
            Self::NotFinite { cause: Some(cause) } => {
                write!(f, "the hypergradient is not finite: {cause}")
            }
            Self::NotFinite { cause: None } => f.write_str(
                "the hypergradient is not finite, though the derivatives of both losses are at both ends of the \
                 descent: use fewer lower steps, steps that contract, or a wider element type, and look for \
                 derivatives that are infinite on the way",
            ),
            Self::LowerLimit { stationarity, tolerance } => write!(
                f,
                "the lower level ended at a gradient of norm {stationarity:.1e}, expected at most \
                 {tolerance:.1e}: allow more lower steps, start them warm, use gd if the dynamics \
                 overshoots, or loosen the tolerances"
            ),
        }
    }
}

/// A method that computes hypergradients.
#[auto_impl(Box)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not compute hypergradients",
    label = "not a hypergradient method",
    note = "through the steps of the lower level: `Unrolled::rad(descent)`; at its solution: `Implicit::new(descent, solver)`",
    note = "the constructors check their arguments and give a `Result`: is a `?` missing?"
)]
pub trait HypergradientMethod: Debug + Send {
    /// The name, such as `cg`, which identifies a saved state.
    fn name(&self) -> &'static str;

    /// The name with the settings.
    fn describe(&self) -> String;

    /// Whether it gives [`Hypergradient::start`], so that the start can be learned.
    fn differentiates_start(&self) -> bool {
        false
    }

    /// The last lower step and its number, where the steps are those of a dynamics: of the next call, if calls
    /// [go on](Self::goes_on).
    fn last_step(&self) -> Option<(usize, &dyn Dynamics)> {
        None
    }

    /// Whether each call goes on from the last one, with what it keeps besides y: the lower level must start
    /// [warm](crate::Start::Warm), at [`kept`](Self::kept).
    fn goes_on(&self) -> bool {
        false
    }

    /// The y to which the last call moved, if the method tells it from [`Hypergradient::lower`].
    fn kept(&self) -> Option<&Vector> {
        None
    }

    /// How far y is from the optimality conditions of the lower level as the method defines it, at the x of `problem`,
    /// and from the constraints of either level: by default a gradient of f on each batch, and one of F where the last
    /// step descends it too.
    fn residual(&self, problem: LowerProblem<'_>, y: &Vector) -> Residual {
        let slope = problem.whole_slope(y);
        let rest = self.last_step().and_then(|(t, dynamics)| {
            let upper = || problem.gradient(Objective::Upper, y, Wrt::Y).1.into_y();
            let upper = (dynamics.objective(t).upper != 0.0).then(upper);
            let slopes = (upper.as_ref(), &slope);
            LastStep::new((t, dynamics), (problem.x, y), slopes).optimality()
        });
        Residual::of_slope(&rest.unwrap_or(slope), &problem, y)
    }

    /// Computes [`HypergradientMethod::hypergradient`], which calls it and checks that the result is finite.
    ///
    /// # Errors
    /// As [`HypergradientMethod::hypergradient`].
    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error>;

    /// The hypergradient at the x of `problem`, the lower level starting at `start`. If it is not finite, its status
    /// says so, with the derivative at fault; only then, finding it takes a few more products and gradients.
    ///
    /// # Errors
    /// If the method does not fit the problem, before anything runs; if the lower level diverges.
    fn hypergradient(
        &mut self,
        problem: LowerProblem<'_>,
        start: &Vector,
    ) -> Result<Hypergradient, Error> {
        let counted = Counted::new(problem.oracle);
        let mut found = self.run(LowerProblem { oracle: &counted, ..problem }, start)?;
        let broken = found.status.is_broken();
        if broken || !Vector::all_are_finite([&found.gradient].into_iter().chain(&found.start)) {
            let cause = Infinite::find(&problem, [start, &found.lower], counted.cost());
            if !broken || cause.is_some() {
                found.status = Status::NotFinite { cause };
            }
        }
        Ok(found)
    }

    /// The oracle calls that other ranks have made for its results so far: none, if it runs on one.
    fn cost_elsewhere(&self) -> Cost {
        Cost::default()
    }

    /// Writes its state between calls: nothing, if there is none.
    fn save(&self, to: &mut Snapshot);

    /// Reads it back. Vectors are like `x` and `y`.
    ///
    /// # Errors
    /// If it is not the state of this method. Entries left in `from` are an error of the solver, so that a method that
    /// saves but does not restore is found.
    fn restore(&mut self, from: &mut Snapshot, x: &Vector, y: &Vector) -> Result<(), Error> {
        let _ = (from, x, y);
        Ok(())
    }
}
