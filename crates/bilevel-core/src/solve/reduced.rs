//! `F(x, y*(x))` as a function of x.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use bilevel_program::Vector;

use super::Reading;
use crate::constrained::{
    ActiveSet, AugmentedLagrangian, Level, Multiplied, Multipliers, Solved, Terms, larger,
    violation,
};
use crate::linear::LinearStatus;
use crate::minimise::Differentiable;
use crate::{Constraints, LowerProblem, Objective, Oracle, PulledBack, Samples, WeightedSum, Wrt};

/// `F(x, y*(x))`, and as a function of x its augmented Lagrangian with the upper constraints, where y* is the best of
/// several lower solutions that are followed from x to x: the one of least f, and among equals as F is read.
pub(super) struct Reduced<'a> {
    pub oracle: &'a dyn Oracle,
    pub lower: &'a dyn Constraints,
    pub upper: &'a dyn Constraints,
    pub reading: Reading,
    pub solver: AugmentedLagrangian,
    /// Whether the lower level seems convex.
    pub convex: bool,
    /// Those of the upper constraints.
    pub multipliers: RefCell<Multipliers>,
    /// The weight of F in the lower level, which chooses among lower solutions that are not isolated.
    pub select: Cell<f64>,
    /// Where lower solutions were found last.
    pub branches: RefCell<Vec<Multiplied>>,
    /// The x that were seen last, each with its lower solution.
    pub seen: RefCell<VecDeque<(Vector, Multiplied)>>,
    /// Whether the conditions of a lower solution were singular somewhere.
    pub singular: Cell<bool>,
    /// How often the lower level was solved.
    pub solves: Cell<usize>,
}

/// The problem at an x.
pub(super) struct Evaluated {
    pub lower: Solved,
    /// F
    pub upper_loss: f64,
    /// G, then H.
    pub values: Vec<f64>,
    /// The largest of either level.
    pub violation: f64,
}

/// The most x that are remembered.
const SEEN: usize = 64;

/// The most lower solutions that are followed.
const BRANCHES: usize = 4;

/// Two lower losses that differ by less, relatively, are the same.
const SAME: f64 = 1e-9;

impl<'a> Reduced<'a> {
    fn problem<'b>(&'b self, x: &'b Vector) -> LowerProblem<'b> {
        LowerProblem::new(self.oracle, x, Samples::default())
    }

    fn level<'b>(&'b self, x: &'b Vector) -> Level<'b> {
        let mut level = Level::new(self.problem(x));
        level.loss.of = WeightedSum { upper: self.select.get(), lower: 1.0 };
        level
    }

    /// f alone.
    pub fn lower_loss(&self, x: &Vector, y: &Vector) -> f64 {
        self.problem(x).value(Objective::Lower, y).read()
    }

    /// How far a lower solution is from the conditions of an optimum of f alone.
    pub fn lower_residual(&self, x: &Vector, at: &Multiplied) -> f64 {
        Level::new(self.problem(x)).residual(at).largest()
    }

    /// The lower level from one start; none where it is not solved.
    fn solve_from(&self, x: &Vector, start: &Multiplied) -> Option<Solved> {
        self.solves.set(self.solves.get() + 1);
        let level = self.level(x);
        let solver = self.solver.clone();
        // With a multiple of F it need not be convex.
        let convex = self.convex && self.select.get() == 0.0;
        let solver = if convex { solver.convex() } else { solver };
        let found = solver.solve(&level, &start.y, Some(&start.multipliers)).ok()?;
        let residual = found.residual;
        let enough = residual.largest() <= TOLERATED && found.loss.is_finite();
        enough.then_some(found)
    }

    /// Looks for lower solutions at x from other starts, and follows the best from here on. Whether one is better than
    /// those before.
    pub fn search(&self, x: &Vector, starts: impl Iterator<Item = Vector>) -> bool {
        let branches = self.branches.borrow().clone();
        let mut found: Vec<Solved> = Vec::new();
        // Those that are not there at this x may be at another.
        let mut lost = Vec::new();
        for branch in branches {
            let solved = self.solve_from(x, &branch);
            match solved.filter(|s| !found.iter().any(|other| near(&other.at.y, &s.at.y))) {
                Some(solved) => found.push(solved),
                None => lost.push(branch),
            }
        }
        let least = |found: &[Solved]| found.iter().map(|s| s.loss).fold(f64::INFINITY, f64::min);
        let before = least(&found);
        for y in starts {
            let start = Multiplied { multipliers: vec![0.0; self.lower.count()], y };
            let solved = self.solve_from(x, &start);
            found.extend(solved.filter(|s| !found.iter().any(|other| near(&other.at.y, &s.at.y))));
        }
        found.sort_by(|a, b| a.loss.total_cmp(&b.loss));
        let after = least(&found);
        let next = found.into_iter().map(|solved| solved.at).chain(lost);
        self.branches.replace(next.take(BRANCHES).collect());
        after < before - SAME * before.abs().max(1.0) || before.is_infinite() && after.is_finite()
    }

    /// The problem at x; none where the lower level is not solved.
    pub fn evaluate(&self, x: &Vector) -> Option<Evaluated> {
        let mut found: Vec<Evaluated> = Vec::new();
        let mut add = |start: &Multiplied| {
            let solved = self.solve_from(x, start)?;
            let known = found.iter().any(|other| near(&other.lower.at.y, &solved.at.y));
            let at = solved.at.clone();
            if !known {
                found.push(self.see(x, solved));
            }
            (!known).then_some(at)
        };
        let (nearest, distance) = self.nearest(x);
        if let Some(here) = nearest.as_ref().filter(|_| distance == 0.0) {
            add(here);
        }
        let branches = self.branches.borrow().clone();
        for (k, branch) in branches.iter().enumerate() {
            if let Some(at) = add(branch) {
                self.branches.borrow_mut()[k] = at;
            }
        }
        if let Some(near) = nearest.filter(|_| found.is_empty()) {
            found.extend(self.solve_from(x, &near).map(|solved| self.see(x, solved)));
        }
        let least = found.iter().map(|e| e.lower.loss).fold(f64::INFINITY, f64::min);
        let enough = least + SAME * least.abs().max(1.0);
        let optimal = found.into_iter().filter(|e| e.lower.loss <= enough);
        let rank = |e: &Evaluated| self.reading.sign() * self.merit(e);
        let best = optimal.min_by(|a, b| rank(a).total_cmp(&rank(b)))?;
        if distance > 0.0 {
            let mut seen = self.seen.borrow_mut();
            seen.push_front((x.clone(), best.lower.at.clone()));
            seen.truncate(SEEN);
        }
        Some(best)
    }

    /// The lower solution at the nearest x that was seen, and how far that is.
    fn nearest(&self, x: &Vector) -> (Option<Multiplied>, f64) {
        let seen = self.seen.borrow();
        let all = seen.iter().map(|(at, lower)| (lower, at.sub(x).norm()));
        let nearest = all.min_by(|a, b| a.1.total_cmp(&b.1));
        nearest.map_or((None, f64::INFINITY), |(lower, distance)| (Some(lower.clone()), distance))
    }

    fn see(&self, x: &Vector, lower: Solved) -> Evaluated {
        let y = &lower.at.y;
        let upper_loss = self.problem(x).value(Objective::Upper, y).read();
        let values = self.upper.values(x, y);
        let of_upper = violation(&values, self.upper.equalities());
        let violation = larger(lower.residual.violation, of_upper);
        Evaluated { upper_loss, values, violation, lower }
    }

    /// The augmented Lagrangian; infinite where F or a constraint is NaN.
    fn merit(&self, here: &Evaluated) -> f64 {
        let merit = here.upper_loss + self.multipliers.borrow().sum(&here.values);
        if here.violation.is_finite() && !merit.is_nan() { merit } else { f64::INFINITY }
    }

    /// A step of the multipliers. Whether they have come to rest, and the constraints hold; or can make none where a
    /// constraint is not finite.
    pub fn move_multipliers(&self, here: &Evaluated) -> bool {
        if !here.violation.is_finite() {
            return true;
        }
        let mut multipliers = self.multipliers.borrow_mut();
        multipliers.step(&here.values);
        multipliers.excess <= HOLDS
    }

    fn slopes<'b>(&'b self, x: &'b Vector, here: &'b Evaluated) -> Slopes<'b> {
        let (problem, y) = (self.problem(x), &here.lower.at.y);
        let values = self.lower.values(x, y);
        let solver = self.solver.linear_solver();
        let set = ActiveSet::at(self.level(x), &here.lower.at, &values, solver);
        let (_, sides) = problem.gradient(Objective::Upper, y, Wrt::Both);
        Slopes { reduced: self, x, y, values, set, upper: sides.into_both() }
    }

    /// How far the gradient of F is from what the active upper constraints take up, with the multipliers that the search
    /// has left; where that is more than `enough`, with those of least squares, if few constraints are active.
    pub fn stationarity(&self, x: &Vector, here: &Evaluated, enough: f64) -> Option<f64> {
        let (slopes, multipliers) = (self.slopes(x, here), self.multipliers.borrow());
        let is_active = |j: usize| !multipliers.is_bound(j) || here.values[j] > -ACTIVE;
        let moved = multipliers.moved(&here.values).into_iter().enumerate();
        let weights: Vec<_> = moved.map(|(j, l)| if is_active(j) { l } else { 0.0 }).collect();
        let mut rest = slopes.total(&weights)?;
        let active: Vec<_> = (0..weights.len()).filter(|j| is_active(*j)).collect();
        if rest.norm() <= enough || active.len() > FEW_ACTIVE {
            return Some(rest.norm());
        }
        let mut rows = Vec::new();
        for j in active {
            let row = slopes.of_constraint(j)?;
            let square = row.dot(&row);
            if square > 0.0 {
                rows.push((!multipliers.is_bound(j), row, square, weights[j]));
            }
        }
        // Multipliers one after the other, those of inequalities at least 0.
        for _ in 0..200 * rows.len() {
            for (free, row, square, multiplier) in &mut rows {
                let moved = *multiplier - rest.dot(row) / *square;
                let moved = if *free { moved } else { moved.max(0.0) };
                rest = rest.axpy(moved - *multiplier, row);
                *multiplier = moved;
            }
        }
        Some(rest.norm())
    }
}

/// The derivatives of both levels at an x, and the system that carries those in y to x.
struct Slopes<'a> {
    reduced: &'a Reduced<'a>,
    x: &'a Vector,
    y: &'a Vector,
    /// The values of the lower constraints.
    values: Vec<f64>,
    set: ActiveSet<'a>,
    /// `F_x` and `F_y`
    upper: (Vector, Vector),
}

impl Slopes<'_> {
    /// The gradient of F and of the upper constraints with `weights` in x, by way of y too; none where its linear system is
    /// not solved.
    fn total(&self, weights: &[f64]) -> Option<Vector> {
        let (mut direct, mut along) = self.upper.clone();
        if weights.iter().any(|w| *w != 0.0) {
            let PulledBack { x: in_x, y: in_y, .. } =
                self.reduced.upper.weighted(self.x, self.y, weights);
            (direct, along) = (direct.add(&in_x), along.add(&in_y));
        }
        self.carry(direct, &along)
    }

    /// The gradient of an upper constraint alone.
    fn of_constraint(&self, j: usize) -> Option<Vector> {
        let mut weights = vec![0.0; self.reduced.upper.count()];
        weights[j] = 1.0;
        let pulled = self.reduced.upper.weighted(self.x, self.y, &weights);
        self.carry(pulled.x, &pulled.y)
    }

    fn carry(&self, direct: Vector, along: &Vector) -> Option<Vector> {
        let found = self.set.respond(along, &self.values, self.reduced.solver.tolerance()).ok()?;
        if found.status == LinearStatus::Singular && self.set.is_isolated() != Some(true) {
            self.reduced.singular.set(true);
        }
        let solved = found.status.is_ok() || found.status == LinearStatus::Singular;
        let near = found.residual.is_some_and(|residual| residual <= SOLVED);
        (solved || near).then(|| direct.add(&found.gradient))
    }
}

/// What a residual of the lower level may come to.
const TOLERATED: f64 = 1e-7;

/// The multipliers of the upper level have come to rest where constraints are that near to holding.
const HOLDS: f64 = 1e-7;

/// The relative residual that a linear system is solved to, whatever its solver stopped at.
const SOLVED: f64 = 1e-4;

/// How near to 0 an upper constraint is active.
const ACTIVE: f64 = 1e-6;

/// The most active upper constraints whose gradients are taken one by one.
const FEW_ACTIVE: usize = 50;

fn near(a: &Vector, b: &Vector) -> bool {
    a.sub(b).norm() <= 1e-6 * a.norm().max(1.0)
}

impl Differentiable for Reduced<'_> {
    fn value(&self, x: &Vector) -> f64 {
        self.evaluate(x).map_or(f64::INFINITY, |here| self.merit(&here))
    }

    fn gradient(&self, x: &Vector) -> (f64, Vector) {
        let found = self.evaluate(x).and_then(|here| {
            let weights = self.multipliers.borrow().moved(&here.values);
            Some((self.merit(&here), self.slopes(x, &here).total(&weights)?))
        });
        found.unwrap_or_else(|| (f64::INFINITY, x.zeros_like()))
    }
}
