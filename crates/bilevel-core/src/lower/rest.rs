//! Where the steps of a dynamics are at rest, and whether they have another derivative there than steps on f alone.

use bilevel_program::Vector;

use super::{Dynamics, State, Tangent, Update};
use crate::linear::epsilon;
use crate::{Direction, LowerProblem, WeightedSum, Wrt};

/// Step t of a dynamics D from [`Dynamics::steady`]: `D(y) = y - s rest`, and `1 / s`, where `rest` is
/// [`Dynamics::optimality`].
pub(super) fn steady_step(
    dynamics: &dyn Dynamics,
    t: usize,
    (x, y, slope): (&Vector, &Vector, &Vector),
) -> (Vector, f64) {
    let (state, given) = (dynamics.steady(t, x, y, slope), || slope.clone());
    let stepped = dynamics.step(&Update::new(t, x, &state, &given)).y;
    let rest = dynamics.optimality(t, x, y, slope);
    let length = y.sub(&stepped).norm();
    let scale = if length > 0.0 { rest.as_ref().unwrap_or(slope).norm() / length } else { 1.0 };
    (stepped, scale)
}

/// The last lower step at a point.
pub(crate) struct LastStep<'a> {
    dynamics: &'a dyn Dynamics,
    t: usize,
    x: &'a Vector,
    y: &'a Vector,
    of: WeightedSum,
    /// The gradient of F, where the step descends it.
    upper: Option<&'a Vector>,
    /// The gradient that the step takes, of `a F + b f`.
    slope: Vector,
    /// [`Dynamics::optimality`]
    rest: Option<Vector>,
}

impl<'a> LastStep<'a> {
    /// Step t at y, where F and f have the gradients `slopes` in y; that of F may be missing where the step does not
    /// descend it.
    pub fn new(
        (t, dynamics): (usize, &'a dyn Dynamics),
        (x, y): (&'a Vector, &'a Vector),
        (upper, lower): (Option<&'a Vector>, &Vector),
    ) -> Self {
        let of = dynamics.objective(t);
        let slope = if of.lower == 1.0 { lower.clone() } else { lower.scale(of.lower) };
        let upper = upper.filter(|_| of.upper != 0.0);
        let slope = upper.map_or_else(|| slope.clone(), |upper| slope.axpy(of.upper, upper));
        let rest = dynamics.optimality(t, x, y, &slope);
        Self { dynamics, t, x, y, of, upper, slope, rest }
    }

    /// [`Dynamics::optimality`] in units of the gradient of f.
    pub fn optimality(&self) -> Option<Vector> {
        let weight = if self.of.lower > 0.0 { self.of.lower } else { 1.0 };
        Some(self.rest.as_ref()?.scale(1.0 / weight))
    }

    /// How far the derivative of the step is from that of a step on f alone, relative: 0 where the solution q of
    /// `f_yy q = F_y` gives the hypergradient of the steps at rest, `F_x - f_xy' q`.
    ///
    /// With the step `y' = U(y, g; x)`, g being the gradient of `a F + b f`, that is where
    ///
    /// ```text
    /// U_y q = q,   U_x' q = 0,   a F_yy q = 0,   a F_xy' q = 0
    /// ```
    ///
    /// at the gradient at which y is at rest, 0 without a set or a penalty. The hypergradient is the difference of
    /// vectors of at most the norm `size`.
    pub fn deviation(&self, problem: &LowerProblem<'_>, q: &Vector, size: f64) -> f64 {
        let norm = q.norm();
        if norm == 0.0 {
            return 0.0;
        }
        let rounding = epsilon(self.y.layout());
        let above = |share: f64, least: f64| if share > least { share } else { 0.0 };
        let (moved, in_x) = self.without_gradient(q);
        let of_map = above(moved / norm, 4.0 * rounding).max(above(in_x / size, rounding.sqrt()));
        of_map.max(above(self.of_upper(problem, q, size), 4.0 * rounding))
    }

    /// `norm(U_y q - q)`, and the norm of what `U_x' q` would add to the hypergradient.
    fn without_gradient(&self, q: &Vector) -> (f64, f64) {
        let Self { dynamics, t, x, y, slope, rest, .. } = self;
        let zero = y.zeros_like();
        let holding = rest.as_ref().map_or_else(|| zero.clone(), |rest| slope.sub(rest));
        let state = dynamics.steady(*t, x, y, &holding);
        let given = || holding.clone();
        let at = Update::new(*t, x, &state, &given);
        // The memory follows y in one step where it depends on y, as an earlier point does.
        let steps = if state.memory.is_empty() { 1 } else { 2 };
        let moved = (0..steps).fold(dynamics.start(q), |moved, _| {
            let along = State { y: q.clone(), memory: moved.memory };
            dynamics.tangent(&at, Tangent { x: None, state: &along, gradient: &zero })
        });
        let back = dynamics.adjoint(&at, state.of_y(q.clone()));
        // The formula is the adjoint of a step along `q / s`.
        let in_x = back.x.map_or(0.0, |in_x| in_x.norm() * q.norm() / back.gradient.norm());
        (moved.y.sub(q).norm(), in_x)
    }

    /// What the share of F changes.
    fn of_upper(&self, problem: &LowerProblem<'_>, q: &Vector, size: f64) -> f64 {
        let WeightedSum { upper, lower } = self.of;
        let Some(slope) = self.upper else { return 0.0 };
        if lower == 0.0 {
            return f64::INFINITY;
        }
        let share = WeightedSum { upper: upper / lower, lower: 0.0 };
        let product = problem.curvature(share, self.y, Direction::in_y(q), Wrt::Both);
        let (in_x, in_y) = product.into_both();
        (in_y.norm() / slope.norm()).max(in_x.norm() / size)
    }
}
