//! What a solution is, and how it was found.

use std::fmt::{Display, Formatter};

use bilevel_program::Vector;

use super::reduced::{Evaluated, Reduced};
use super::{FEASIBLE, Search};
use crate::minimise::Stop;
use crate::oracle::Rescaled;
use crate::{AutodiffOracle, BilevelProblem, Cost, Counted, Data};

/// What [`solve`](crate::solve) came to.
#[derive(Clone, Debug)]
pub struct Answer<X, Y> {
    /// The upper variable, as the module that it was given as.
    pub x: X,
    /// The lower variable: a solution of the lower level at x.
    pub y: Y,
    /// F there.
    pub upper_loss: f64,
    /// f there.
    pub lower_loss: f64,
    /// The largest violation of a constraint of either level.
    pub violation: f64,
    /// How far the lower level is from the conditions of an optimum of f. Where lower solutions are not
    /// [isolated](Account::isolated), y is one of `f + 1e-5 F`, and this about `1e-5 norm(F_y)`. In the
    /// [units](Account::units) that were chosen.
    pub lower_residual: f64,
    /// What the point is.
    pub end: Conclusion,
    /// What was done.
    pub account: Account,
}

/// What the end of a search is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Conclusion {
    /// All constraints hold, y solves the lower level, and the gradient of `F(x, y*(x))`, less what the active upper
    /// constraints take up, is about 0.
    Stationary {
        /// The norm of what is left.
        gradient: f64,
    },
    /// All constraints hold, y solves the lower level, and no step lowers F, whose gradient is not 0: there `y*(x)` has a
    /// kink, where a lower constraint becomes active, or jumps to another solution.
    Kink {
        /// The norm of the gradient of one side.
        gradient: f64,
    },
    /// All constraints hold and y solves the lower level; the steps, or the rounds of multipliers, were used up.
    StepLimit {
        /// The norm of the gradient.
        gradient: f64,
    },
    /// A constraint does not hold.
    Infeasible {
        /// By how much.
        violation: f64,
    },
    /// The lower level could not be solved, or F or its gradient not computed: one is not finite, or a linear system was
    /// not solved.
    Unsolved,
}

impl Conclusion {
    /// Whether it is a local solution, as far as can be seen.
    pub fn is_ok(self) -> bool {
        matches!(self, Self::Stationary { .. } | Self::Kink { .. })
    }
}

impl Display for Conclusion {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stationary { gradient } => write!(f, "stationary (gradient {gradient:.1e})"),
            Self::Kink { gradient } => write!(
                f,
                "no step lowers F, which has a kink or a jump there (gradient of one side {gradient:.1e})"
            ),
            Self::StepLimit { gradient } => write!(
                f,
                "the steps were used up at a gradient of {gradient:.1e}: start again from there, or scale x"
            ),
            Self::Infeasible { violation } => write!(
                f,
                "a constraint is violated by {violation:.1e}: start where the constraints hold, or check that they can"
            ),
            Self::Unsolved => f.write_str(
                "the lower level could not be solved, or the gradient of F not computed: start where F, f, the \
                 constraints and their derivatives are finite, and check that the lower level is bounded and its \
                 constraints can hold",
            ),
        }
    }
}

/// How an answer was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// The constraints of the upper and of the lower level.
    pub constraints: [usize; 2],
    /// Whether the lower level seems convex: at points spread over the region it was.
    pub convex: bool,
    /// Whether lower solutions were isolated: if not, F chose among them.
    pub isolated: bool,
    /// The lower solutions that were followed.
    pub followed: usize,
    /// The descents of x.
    pub descents: usize,
    /// How often the lower level was solved.
    pub solves: usize,
    /// The least and the largest unit in which numbers of x, and of y, were measured; 1 where none was needed.
    pub units: [[f64; 2]; 2],
    /// Oracle calls.
    pub cost: Cost,
}

impl Display for Account {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let [upper, lower] = self.constraints;
        let shape = if self.convex { "seems convex" } else { "is not convex" };
        write!(
            f,
            "{upper} upper and {lower} lower constraints; the lower level {shape}; solutions followed: {}, lower solves: {}, \
             descents of x: {}, oracle calls: {}, of which products: {}",
            self.followed,
            self.solves,
            self.descents,
            self.cost.total(),
            self.cost.products()
        )?;
        for ([least, largest], name) in self.units.iter().zip(["x", "y"]) {
            if (*least, *largest) != (1.0, 1.0) {
                write!(f, "; {name} in units of {least:.1e} to {largest:.1e}")?;
            }
        }
        if !self.isolated {
            f.write_str("; lower solutions are not isolated: F chose among them")?;
        }
        Ok(())
    }
}

fn range(v: &Vector) -> [f64; 2] {
    let numbers = v.to_vec();
    let of = |pick: fn(f64, f64) -> f64, from: f64| numbers.iter().copied().fold(from, pick);
    [of(f64::min, f64::INFINITY), of(f64::max, 0.0)]
}

/// A gradient is about 0 below this share of F.
const STATIONARY: f64 = 1e-4;

pub(super) fn answer<P: BilevelProblem, D: Data<P::Batch>>(
    counted: &Counted<AutodiffOracle<P, D>>,
    oracle: &Rescaled<'_>,
    search: &Search<'_>,
    (x, stop): (Vector, Stop),
) -> Answer<P::Upper, P::Lower> {
    let reduced = &search.reduced;
    let found = reduced.evaluate(&x);
    let y = found.as_ref().map(|here| here.lower.at.y.clone());
    let y = y.unwrap_or_else(|| reduced.branches.borrow()[0].y.clone());
    let (mut end, mut numbers) = (Conclusion::Unsolved, [f64::NAN; 4]);
    if let Some(here) = found {
        end = conclude(reduced, &x, &here, stop);
        let lower_residual = reduced.lower_residual(&x, &here.lower.at);
        numbers = [here.upper_loss, reduced.lower_loss(&x, &y), here.violation, lower_residual];
    }
    let [upper_loss, lower_loss, violation, lower_residual] = numbers;
    let account = Account {
        constraints: [reduced.upper.count(), reduced.lower.count()],
        convex: reduced.convex,
        isolated: reduced.select.get() == 0.0,
        followed: reduced.branches.borrow().len(),
        descents: search.descents.get(),
        solves: reduced.solves.get(),
        units: oracle.units().map(range),
        cost: counted.cost(),
    };
    let (x, y) = oracle.old(&x, &y);
    let (x, y) = (counted.upper_module(&x), counted.lower_module(&y));
    Answer { x, y, upper_loss, lower_loss, violation, lower_residual, end, account }
}

fn conclude(reduced: &Reduced<'_>, x: &Vector, here: &Evaluated, stop: Stop) -> Conclusion {
    if here.violation > FEASIBLE {
        return Conclusion::Infeasible { violation: here.violation };
    }
    let enough = STATIONARY * here.upper_loss.abs().max(1.0);
    let gradient = reduced.stationarity(x, here, enough);
    match gradient.filter(|gradient| gradient.is_finite() && here.upper_loss.is_finite()) {
        None => Conclusion::Unsolved,
        Some(gradient) if gradient <= enough => Conclusion::Stationary { gradient },
        Some(gradient) => match stop {
            Stop::NoDescent => Conclusion::Kink { gradient },
            Stop::StepLimit | Stop::Converged => Conclusion::StepLimit { gradient },
            Stop::NotFinite => Conclusion::Unsolved,
        },
    }
}
