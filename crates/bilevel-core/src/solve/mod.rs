//! A bilevel problem, solved without a setting.

mod answer;
mod convex;
mod reduced;
mod region;
mod units;

pub use answer::{Account, Answer, Conclusion};

use std::cell::{Cell, RefCell};

use bilevel_program::Vector;
use burn::tensor::DType;

use crate::constrained::{AugmentedLagrangian, Multiplied, Multipliers};
use crate::minimise::{Bfgs, Differentiable, Lbfgs, Minimum, Stop};
use crate::oracle::Rescaled;
use crate::{
    AutodiffOracle, BilevelProblem, Constraints, Counted, Data, Error, Objective, Oracle, Sample,
    Unconstrained,
};
use convex::seems_convex;
use reduced::Reduced;
use region::Region;
use units::units;

/// The residual that the lower level is solved to.
const LOWER: f64 = 1e-9;

/// The norm of the gradient of F that a descent ends at, relative to F.
const UPPER: f64 = 1e-7;

/// What the constraints may be violated by.
pub(crate) const FEASIBLE: f64 = 1e-6;

/// The weight of F in a lower level whose solutions are not isolated.
const SELECT: f64 = 1e-5;

/// Rounds of the augmented Lagrangian.
const ROUNDS: usize = 12;

/// The largest x whose inverse Hessian is written out.
const MATRIX: usize = 200;

/// Starts of y where the lower level is not convex.
const LOWER_STARTS: usize = 6;

/// How often a descent goes on where upper constraints do not hold or another lower solution is better.
const AGAIN: usize = 12;

/// Steps of a descent that looks where it leads.
const FEW: usize = 8;

/// How much worse a descent may end, relatively, than its start promised, before the next start is tried.
const KEPT: f64 = 1e-2;

/// Steps of the descent that goes on from the best.
const MANY: usize = 100;

/// Solves `min_x F(x, y*(x))` with the [constraints](BilevelProblem::constraints) of both levels, from the modules x and
/// y, on the data of the first sample: the optimistic solution, the best of the lower solutions where there are several.
///
/// 1. Where a curvature is above 1e4 or below 1e-4 at the start, variables are measured in [units](Account::units) in which
///    curvatures are alike, and linear variables in units in which first derivatives are. Tolerances, residuals and
///    gradients are in these units.
/// 2. The lower level is solved to a residual of 1e-9 by an [`AugmentedLagrangian`] with [`Newton`](crate::Newton) steps, by Newton's
///    method on its conditions from the solution before, and differentiated by them, as [`Kkt`](crate::Kkt) does.
/// 3. Where the lower level is not convex, it is solved from several starts, and the solutions are followed from x to x.
///    Where its solutions are not isolated, a small multiple of F chooses among them.
/// 4. x descends by [`Bfgs`], or by [`Lbfgs`] if it is large, on the augmented Lagrangian of `F(x, y*(x))` and the upper
///    constraints, from the given x and from the best of others spread over the region that the constraints leave.
/// 5. [`Answer::end`] says what the point is, by the gradient of F and the multipliers of G; [`Answer::account`] what was
///    done.
///
/// A minimum that no other start improved on need not be global. For steps, learning rates or methods of one's own, see
/// [`descend`](crate::descend).
///
/// # Errors
/// If a loss or a constraint cannot be recorded or differentiated, or x and y are not in f64, whose digits the tolerances
/// need: configure the device, as below, before they are made.
///
/// ```standalone_crate
/// use bilevel_core::*;
/// use burn::module::Param;
/// use burn::tensor::{Device, DeviceConfig, FloatDType, IntDType, Tensor};
///
/// /// A leader that makes x, and a follower that makes y, at least 4, for the price `10 - x - y`.
/// struct Duopoly;
///
/// impl BilevelProblem for Duopoly {
///     type Upper = Param<Tensor<1>>;
///     type Lower = Param<Tensor<1>>;
///     type Batch = ();
///
///     fn upper_loss(&self, x: &Self::Upper, y: &Self::Lower, (): &()) -> Tensor<1> {
///         -x.val() * (-x.val() - y.val() + 10.0)
///     }
///
///     fn lower_loss(&self, x: &Self::Upper, y: &Self::Lower, (): &()) -> Tensor<1> {
///         -y.val() * (-x.val() - y.val() + 10.0)
///     }
///
///     fn constraints(&self, level: Objective, _: &Self::Upper, y: &Self::Lower, (): &()) -> Conditions {
///         match level {
///             Objective::Upper => Conditions::default(),
///             Objective::Lower => Conditions::at_most_zero(-y.val() + 4.0),
///         }
///     }
/// }
///
/// # fn main() -> Result<(), Error> {
/// let mut device = Device::flex();
/// device.configure((FloatDType::F64, IntDType::I64)).unwrap();
/// let (x, y) = (Param::from_data([1.0], &device), Param::from_data([1.0], &device));
/// let answer = solve(Duopoly, &x, &y, FullBatch { upper: (), lower: () })?;
/// let x: f64 = answer.x.val().into_scalar();
/// // At y = 4 the leader earns x (6 - x).
/// assert!(answer.end.is_ok() && (x - 3.0).abs() < 1e-4);
/// # Ok(())
/// # }
/// ```
pub fn solve<P: BilevelProblem, D: Data<P::Batch>>(
    problem: P,
    x: &P::Upper,
    y: &P::Lower,
    data: D,
) -> Result<Answer<P::Upper, P::Lower>, Error> {
    solve_as(Reading::Optimistic, problem, x, y, data)
}

/// [`solve`], for the pessimistic solution: x counts with the worst of the lower solutions,
///
/// ```text
/// min_x max_y F(x, y)   with y in argmin_y f(x, y)
/// ```
///
/// Among those that are followed it is the one of greatest F, and where they are not isolated a small multiple of F is taken
/// from f: F must be bounded above among the lower solutions.
///
/// # Errors
/// Those of [`solve`].
pub fn solve_pessimistic<P: BilevelProblem, D: Data<P::Batch>>(
    problem: P,
    x: &P::Upper,
    y: &P::Lower,
    data: D,
) -> Result<Answer<P::Upper, P::Lower>, Error> {
    solve_as(Reading::Pessimistic, problem, x, y, data)
}

/// Which of several lower solutions x counts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// That of the least F.
    Optimistic,
    /// That of the greatest.
    Pessimistic,
}

impl Reading {
    /// What F is multiplied with where the least is chosen.
    fn sign(self) -> f64 {
        match self {
            Self::Optimistic => 1.0,
            Self::Pessimistic => -1.0,
        }
    }
}

fn solve_as<P: BilevelProblem, D: Data<P::Batch>>(
    reading: Reading,
    problem: P,
    x: &P::Upper,
    y: &P::Lower,
    data: D,
) -> Result<Answer<P::Upper, P::Lower>, Error> {
    let counted = Counted::new(AutodiffOracle::new(problem, x, y, data)?);
    let (start, y) = (counted.upper_start(), counted.lower_start());
    check_type(&start)?;
    check_type(&y)?;
    let oracle = Rescaled::new(&counted, units(&counted, &start, &y));
    let (start, y) = oracle.new_of(&start, &y);
    let constraints = |level| -> Box<dyn Constraints + '_> {
        let found = oracle.constraints(level, Sample::default());
        found.unwrap_or_else(|| Box::new(Unconstrained))
    };
    let (lower, upper) = (constraints(Objective::Lower), constraints(Objective::Upper));
    let region = Region::of(&start, &y, &[&lower, &upper]);
    let convex = seems_convex(&oracle, &lower, &region, (&start, &y));
    let reduced = Reduced {
        reading,
        solver: lower_solver(&y, &lower)?,
        convex,
        oracle: &oracle,
        lower: &lower,
        upper: &upper,
        multipliers: RefCell::new(Multipliers::new(&upper, vec![0.0; upper.count()])),
        select: Cell::new(0.0),
        branches: RefCell::new(vec![Multiplied {
            multipliers: vec![0.0; lower.count()],
            y: y.clone(),
        }]),
        seen: RefCell::default(),
        singular: Cell::new(false),
        solves: Cell::new(0),
    };
    let search = Search { reduced, region, y, descents: Cell::new(0) };
    let (at, stop) = search.run(&start)?;
    Ok(answer::answer(&counted, &oracle, &search, (at, stop)))
}

/// Refuses vectors that are not in f64.
fn check_type(v: &Vector) -> Result<(), Error> {
    let Some(leaf) = v.layout().leaves().iter().find(|leaf| leaf.dtype != DType::F64) else {
        return Ok(());
    };
    Err(Error::InvalidSetting {
        setting: "the element type of x and y",
        found: format!("{:?} of `{}`", leaf.dtype, leaf.path),
        expected: "F64, whose digits the tolerances of `solve` need",
        cure: "call `device.configure((FloatDType::F64, IntDType::I64))` before x and y are made, on a device \
               that has F64, as `Device::flex()`; in F32 use `descend`",
    })
}

fn lower_solver(y: &Vector, lower: &dyn Constraints) -> Result<AugmentedLagrangian, Error> {
    let size = y.layout().size() + lower.count();
    AugmentedLagrangian::new(ROUNDS, LOWER)?.for_size(size)
}

/// What ends of descents are compared by: first whether constraints hold, then F. Values of the augmented Lagrangian
/// are of the multipliers of their time.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
struct Rank {
    /// 0 where the constraints hold.
    violation: f64,
    /// F
    upper_loss: f64,
}

/// What is looked for, and where.
struct Search<'a> {
    reduced: Reduced<'a>,
    region: Region,
    /// The start of y.
    y: Vector,
    /// The descents of x so far.
    descents: Cell<usize>,
}

impl Search<'_> {
    /// Starts of y spread over the region.
    fn lower_starts(&self) -> impl Iterator<Item = Vector> {
        (0..LOWER_STARTS).map(|k| self.region.y(k, &self.y)).chain([self.y.clone()])
    }

    fn search(&self, x: &Vector) -> bool {
        !self.reduced.convex && self.reduced.search(x, self.lower_starts())
    }

    /// The best end of several descents, and why it was one.
    fn run(&self, start: &Vector) -> Result<(Vector, Stop), Error> {
        let n = start.layout().size();
        let others =
            (0..if n <= MATRIX { 6 + 2 * n.min(5) } else { 0 }).map(|k| self.region.x(k, start));
        self.search(start);
        let mut starts: Vec<(f64, Vector)> = [start.clone()]
            .into_iter()
            .chain(others)
            .map(|x| (self.reduced.value(&x), x))
            .filter(|(merit, _)| merit.is_finite())
            .collect();
        if starts.is_empty() {
            return Ok((start.clone(), Stop::NotFinite));
        }
        // The given start first, then the best.
        let given = (starts[0].1.sub(start).norm() == 0.0).then(|| starts.remove(0));
        starts.sort_by(|a, b| a.0.total_cmp(&b.0));
        let chosen = given.into_iter().chain(starts);
        // A few steps from each, and all that are needed from the best.
        let mut ends = Vec::new();
        for (_, x) in chosen {
            self.search(&x);
            ends.push(self.minimise(&x, FEW)?);
        }
        ends.sort_by(|a, b| a.value.total_cmp(&b.value));
        let mut best: Option<(Rank, Minimum)> = None;
        for end in ends {
            let found = self.descend(&end.at)?;
            let rank = self.rank(&found.at);
            let promised = end.value + KEPT * end.value.abs().max(1.0);
            let kept = rank.violation == 0.0 && rank.upper_loss <= promised;
            if best.as_ref().is_none_or(|(least, _)| rank < *least) {
                best = Some((rank, found));
            }
            // Unless what a few steps had seen could not be kept up, as where constraints did not hold yet.
            if kept {
                break;
            }
        }
        let (_, best) = best.expect("there is a start");
        Ok((best.at, best.stop))
    }

    fn rank(&self, x: &Vector) -> Rank {
        let Some(here) = self.reduced.evaluate(x) else {
            return Rank { violation: f64::INFINITY, upper_loss: f64::INFINITY };
        };
        let violation = if here.violation > FEASIBLE { here.violation } else { 0.0 };
        Rank { violation, upper_loss: here.upper_loss }
    }

    /// One descent, again where constraints do not hold, another lower solution is better, or lower solutions are not
    /// isolated.
    fn descend(&self, from: &Vector) -> Result<Minimum, Error> {
        self.search(from);
        let mut found = self.minimise(from, MANY)?;
        for _ in 0..AGAIN {
            let first = self.reduced.singular.replace(false) && self.reduced.select.get() == 0.0;
            if first {
                self.reduced.select.set(self.reduced.reading.sign() * SELECT);
            }
            if !first && !self.search(&found.at) {
                let here = self.reduced.evaluate(&found.at);
                if here.is_none_or(|here| self.reduced.move_multipliers(&here)) {
                    break;
                }
            }
            found = self.minimise(&found.at, MANY)?;
        }
        Ok(found)
    }

    fn minimise(&self, from: &Vector, steps: usize) -> Result<Minimum, Error> {
        self.descents.set(self.descents.get() + 1);
        let tolerance = UPPER * self.reduced.value(from).abs().clamp(1.0, 1e6);
        Ok(if from.layout().size() <= MATRIX {
            Bfgs::new(steps, tolerance)?.descend(&self.reduced, from)
        } else {
            Lbfgs::new(5 * steps, tolerance)?.descend(&self.reduced, from)
        })
    }
}
