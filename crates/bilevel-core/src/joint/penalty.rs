//! The lower optimality conditions as a growing penalty, minimised alternately over y and x.

use bilevel_program::Vector;

use super::{Iterate, JointMethod, Seen};
use crate::constrained::Residual;
use crate::error::{at_least_one, positive};
use crate::{Direction, Error, Loss, Objective, Rates, Samples, Schedule, Snapshot, Wrt};

/// `penalty`: alternating descent on `F~`, F with penalties for the lower optimality conditions and the upper
/// constraints.
///
/// Without constraints, `F~ = F + g/2 norm(f_y)^2`:
///
/// ```text
/// T times:  y' = y - a_k F~_y,   F~_y = F_y + f_yy (g f_y)
/// x' = x - b_k F~_x,             F~_x = F_x + f_xy' (g f_y)
/// once norm(F~_x)^2 + norm(F~_y)^2 <= e_k^2:   k' = k + 1,  g' = 1.1 g,  e' = 0.9 e
/// ```
///
/// The [constraints](crate::BilevelProblem::constraints) `G <= 0`, `H = 0` of the upper level are penalised by their
/// violation. Where the lower level has `c(x, y) <= 0`, `h(x, y) = 0`, the penalty is that of its KKT conditions, and
/// their multipliers l are a variable beside y, with the same steps, starting at 0:
///
/// ```text
/// F~ = F + g/2 (norm(L_y)^2 + sum p(l_j, c_j)^2 + norm(h)^2 + norm(max(G, 0))^2 + norm(H)^2)
/// L = f + <l, (c, h)>,   p(l, c) = sqrt(l^2 + c^2) - l + c = 0 where l >= 0, c <= 0 and l c = 0
/// ```
///
/// On batches, one sample serves both factors of `f_yy f_y`: what is penalised is then the mean of the squared norms,
/// which vanishes nowhere if the batches disagree.
///
/// There is no lower solve and no inverse: at the minimum of `F~` in y, `F~_x` is the implicit hypergradient. Since
/// `F~` becomes steeper with g, `a_k` should decrease as `1 / g_k` does; the schedules count by k. The tolerance is
/// compared with the gradient with which x was moved. Memory: none that grows. Cost of a step: T + 1 gradients of F and
/// T + 1 gradients and products of f; as many gradients and products of lower constraints, and values and gradients of
/// upper ones.
///
/// Source: [A. Mehra and J. Hamm, "Penalty method for inversion-free deep bilevel optimization",
/// 2021](https://arxiv.org/abs/1911.03432), Alg. 1 and "Improvements", which leave lower constraints to later work; p: A.
/// Fischer, "A special Newton-type optimization method", 1992.
#[derive(Debug)]
pub struct Penalty {
    rates: Rates,
    steps: usize,
    growth: f64,
    decay: f64,
    descent: Option<Schedule>,
    /// Whether by the method of multipliers.
    by_multipliers: bool,
    gamma: f64,
    tolerance: f64,
    k: usize,
    /// l, of the lower constraints.
    l: Vec<f64>,
    nu: Nu,
}

/// The multipliers of the penalised terms; 0 until the first update.
#[derive(Debug, Default)]
struct Nu {
    /// Of `L_y`.
    slope: Option<Vector>,
    /// Of the upper constraints.
    upper: Vec<f64>,
    /// Of the lower conditions p and h.
    lower: Vec<f64>,
}

/// The settings of a [`Penalty`] that have no default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PenaltySettings {
    /// T, the steps of y at each step of x.
    pub steps: usize,
    /// The first g.
    pub gamma: f64,
    /// The first tolerance: below it, g grows.
    pub tolerance: f64,
}

/// `F~` at a point.
struct Penalised {
    upper_loss: Loss,
    lower_loss: Loss,
    along_x: Option<Vector>,
    along_y: Vector,
    along_l: Vec<f64>,
    /// `L_y`
    slope: Vector,
    /// The weights of the gradients of the upper constraints, and of the lower conditions: their next multipliers.
    weights: [Vec<f64>; 2],
}

/// p and its derivatives in l and c; at 0 one of many.
fn complementarity(l: f64, c: f64) -> [f64; 3] {
    let r = l.hypot(c);
    let share = |v: f64| if r > 0.0 { v / r } else { 0.0 };
    [r - l + c, share(l) - 1.0, share(c) + 1.0]
}

fn norm(v: &[f64]) -> f64 {
    v.iter().map(|v| v * v).sum::<f64>().sqrt()
}

impl Penalty {
    /// With the factors 1.1 of g and 0.9 of the tolerance.
    ///
    /// # Errors
    /// If there are no steps, or a number is not positive.
    pub fn new(rates: Rates, settings: PenaltySettings) -> Result<Self, Error> {
        let PenaltySettings { steps, gamma, tolerance } = settings;
        Ok(Self {
            rates,
            steps: at_least_one("lower steps", steps)?,
            growth: 1.1,
            decay: 0.9,
            descent: None,
            by_multipliers: false,
            gamma: positive("penalty", gamma)?,
            tolerance: positive("tolerance", tolerance)?,
            k: 0,
            l: Vec::new(),
            nu: Nu::default(),
        })
    }

    /// With other factors of g, in place of 1.1, and of the tolerance, in place of 0.9.
    ///
    /// # Errors
    /// If the first is not above 1, or the second not in (0, 1).
    pub fn with_factors(mut self, growth: f64, decay: f64) -> Result<Self, Error> {
        if !(growth.is_finite() && growth > 1.0 && decay > 0.0 && decay < 1.0) {
            return Err(Error::InvalidSetting {
                setting: "factors of the penalty and of its tolerance",
                found: format!("{growth} and {decay}"),
                expected: "a finite number above 1 and one in (0, 1)",
                cure: "1.1 and 0.9 are common",
            });
        }
        (self.growth, self.decay) = (growth, decay);
        Ok(self)
    }

    /// With `w_k L` added in the steps of y, L being f without lower constraints, so that among the stationary points
    /// of a non-convex f it prefers minima; w should vanish as k grows.
    ///
    /// # Errors
    /// If w is not positive.
    pub fn with_descent(mut self, w: impl Into<Schedule>) -> Result<Self, Error> {
        self.descent = Some(w.into().positive("weight of the lower loss")?);
        Ok(self)
    }

    /// With the method of multipliers: `nu' L_y` is added to `F~`, and whenever k grows, `nu' = nu + g L_y`. Likewise
    /// for all other penalised terms, and for `G <= 0` by slack variables at their optimal values. The solution is then
    /// reached at a finite g.
    pub fn with_multipliers(mut self) -> Self {
        self.by_multipliers = true;
        self
    }

    /// `g v + nu_j`
    fn weight(&self, v: f64, nu: &[f64], j: usize) -> f64 {
        self.gamma * v + nu.get(j).copied().unwrap_or(0.0)
    }

    /// The weights of the gradients of upper constraints: `g h + nu`, with `max(h, -nu / g)` for an inequality, whose
    /// slack variable is then at its optimal value.
    fn of_upper(&self, h: &[f64], equalities: usize) -> Vec<f64> {
        let inequalities = h.len() - equalities;
        let weight = |(j, h): (usize, &f64)| {
            let weight = self.weight(*h, &self.nu.upper, j);
            if j < inequalities { weight.max(0.0) } else { weight }
        };
        h.iter().enumerate().map(weight).collect()
    }

    /// The gradient of `F~`, in x if requested.
    fn penalised(
        &self,
        k: usize,
        at: &Iterate<'_>,
        samples: Samples,
        wrt: Wrt<'_>,
    ) -> Result<Penalised, Error> {
        let problem = at.problem(samples);
        let (upper_loss, upper) = problem.gradient(Objective::Upper, &at.y, wrt);
        let (lower_loss, mut slope, hessian) =
            problem.gradient_and_hessian(Objective::Lower, &at.y, wrt);
        let lower = problem.constraints(Objective::Lower);
        let mut conditions = Vec::new();
        if let Some(lower) = &lower {
            let pulled = lower.weighted(&at.x, &at.y, &self.l);
            pulled.check(k)?;
            slope = slope.add(&pulled.y);
            let inequalities = lower.count() - lower.equalities();
            let pairs = self.l.iter().zip(&pulled.values).enumerate();
            conditions.extend(pairs.map(|(j, (l, c))| match j < inequalities {
                true => complementarity(*l, *c),
                false => [*c, 0.0, 1.0],
            }));
        }
        let along = slope.scale(self.gamma);
        let along = match &self.nu.slope {
            Some(nu) => along.add(nu),
            None => along,
        };
        let sides = upper + hessian.product(Direction::in_y(&along), wrt);
        let (mut along_x, mut along_y) = (sides.x, sides.y.unwrap_or_else(|| at.y.zeros_like()));
        let (mut along_l, mut weights) = (Vec::new(), [Vec::new(), Vec::new()]);
        let mut add = |x: &Vector, y: &Vector| {
            along_x = along_x.take().map(|along| along.add(x));
            along_y = along_y.add(y);
        };
        if let Some(lower) = &lower {
            let each = conditions.iter().enumerate();
            weights[1] = each.map(|(j, p)| self.weight(p[0], &self.nu.lower, j)).collect();
            let pairs = || conditions.iter().zip(&weights[1]);
            let on_values: Vec<_> = pairs().map(|([_, _, in_c], w)| w * in_c).collect();
            let along = (&on_values[..], Direction::in_y(&along));
            let moved = lower.product(&at.x, &at.y, &self.l, along);
            add(&moved.x, &moved.y);
            along_l =
                pairs().zip(&moved.values).map(|(([_, in_l, _], w), v)| w * in_l + v).collect();
        }
        if let Some(upper) = problem.constraints(Objective::Upper) {
            let equalities = upper.equalities();
            let mut weigh = |h: &[f64]| self.of_upper(h, equalities);
            let pulled = upper.pull_back(&at.x, &at.y, &mut weigh);
            pulled.check(k)?;
            add(&pulled.x, &pulled.y);
            weights[0] = self.of_upper(&pulled.values, equalities);
        }
        Ok(Penalised { upper_loss, lower_loss, along_x, along_y, along_l, slope, weights })
    }

    /// Moves to the next k.
    fn tighten(&mut self, at: Penalised) {
        if self.by_multipliers {
            let slope = at.slope.scale(self.gamma);
            let before = self.nu.slope.take();
            let slope = before.map_or_else(|| slope.clone(), |nu| nu.add(&slope));
            let [upper, lower] = at.weights;
            self.nu = Nu { slope: Some(slope), upper, lower };
        }
        self.gamma *= self.growth;
        self.tolerance *= self.decay;
        self.k += 1;
    }
}

impl JointMethod for Penalty {
    fn name(&self) -> &'static str {
        "penalty"
    }

    fn describe(&self) -> String {
        let Self { rates, steps, gamma, tolerance, .. } = self;
        let descent = self.descent.map(|l| format!(", lower loss by {l}")).unwrap_or_default();
        let multipliers = if self.by_multipliers { ", multipliers" } else { "" };
        format!(
            "penalty({rates}, T = {steps}, gamma {gamma}, tolerance {tolerance}{descent}{multipliers})"
        )
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        if self.l.is_empty() {
            let lower = at.problem(Samples::default()).constraints(Objective::Lower);
            self.l = vec![0.0; lower.map_or(0, |lower| lower.count())];
        }
        for _ in 0..self.steps {
            let samples = at.draw();
            let mut along = self.penalised(k, at, samples, Wrt::Y)?;
            if let Some(descent) = self.descent {
                along.along_y = along.along_y.axpy(descent.at(self.k), &along.slope);
            }
            let rate = self.rates.lower.at(self.k);
            at.move_y(rate, &along.along_y);
            self.l.iter_mut().zip(&along.along_l).for_each(|(l, along)| *l -= rate * along);
        }
        let samples = at.draw();
        let mut seen = self.penalised(k, at, samples, Wrt::Both)?;
        let along_x = seen.along_x.take().unwrap_or_else(|| at.x.zeros_like());
        at.move_x(self.rates.upper.at(self.k), &along_x);
        let (along_y, rest) = (seen.along_y.clone(), norm(&seen.along_l));
        let (upper_loss, lower_loss) = (seen.upper_loss.clone(), seen.lower_loss.clone());
        if along_x.norm().hypot(along_y.norm()).hypot(rest) <= self.tolerance {
            self.tighten(seen);
        }
        Ok(Seen { upper_loss, lower_loss, along_x, along_y, rest })
    }

    /// With the multipliers l.
    fn residual(&self, at: &Iterate<'_>) -> Residual {
        let problem = at.problem(Samples::default());
        match problem.constraints(Objective::Lower) {
            None => at.residual(),
            Some(_) => Residual::of_multipliers(problem, &at.y, &self.l),
        }
    }

    fn save(&self, to: &mut Snapshot) {
        to.put_numbers("gamma", &[self.gamma]);
        to.put_numbers("tolerance", &[self.tolerance]);
        to.put_count("k", self.k);
        to.put_list("l", &self.l);
        if self.by_multipliers {
            to.put_optional_vector("nu", self.nu.slope.as_ref());
            to.put_list("nu-upper", &self.nu.upper);
            to.put_list("nu-lower", &self.nu.lower);
        }
    }

    fn restore(&mut self, from: &mut Snapshot, at: &Iterate<'_>) -> Result<(), Error> {
        self.gamma = from.take_number("gamma")?;
        self.tolerance = from.take_number("tolerance")?;
        self.k = from.take_count("k")?;
        let problem = at.problem(Samples::default());
        let count = |level| problem.constraints(level).map_or(0, |all| all.count());
        let (upper, lower) = (count(Objective::Upper), count(Objective::Lower));
        self.l = from.take_list_of("l", lower)?;
        if self.by_multipliers {
            self.nu = Nu {
                slope: from.take_optional_vector("nu", &at.y)?,
                upper: from.take_list_of("nu-upper", upper)?,
                lower: from.take_list_of("nu-lower", lower)?,
            };
        }
        Ok(())
    }
}
