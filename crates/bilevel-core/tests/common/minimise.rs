//! Minimisers end at their tolerance, without a step size, and report it.

use std::sync::Arc;

use bilevel_core::minimise::{
    Armijo, Bfgs, Differentiable, Fista, Lbfgs, LowerLoss, Minimiser, Newton, Product, Stop,
    TwiceDifferentiable,
};
use bilevel_core::{
    Ball, Bounds, Cg, FixedPoint, Gd, HypergradientMethod, Implicit, LowerProblem, Objective,
    Oracle, Projected, Projection, Samples, Status,
};
use bilevel_program::{Layout, Vector};

use crate::common::*;
use crate::device;

/// Every minimiser. A new one is one line.
fn minimisers(steps: usize, tolerance: f64) -> Vec<Arc<dyn Minimiser>> {
    vec![
        Arc::new(Newton::new(steps, tolerance).unwrap()),
        Arc::new(Lbfgs::new(steps, tolerance).unwrap()),
        Arc::new(Bfgs::new(steps, tolerance).unwrap()),
        Arc::new(Armijo::new(steps, tolerance).unwrap()),
        Arc::new(Fista::new(steps, tolerance).unwrap()),
    ]
}

/// Those that keep y in a set.
fn minimisers_onto<P: Projection + Clone + 'static>(
    set: &P,
    steps: usize,
    tolerance: f64,
) -> Vec<Arc<dyn Minimiser>> {
    vec![
        Arc::new(Armijo::new(steps, tolerance).unwrap().onto(set.clone())),
        Arc::new(Fista::new(steps, tolerance).unwrap().onto(set.clone())),
    ]
}

/// A function of two numbers with its gradient and its Hessian.
struct Plane {
    value: fn(f64, f64) -> f64,
    gradient: fn(f64, f64) -> [f64; 2],
    hessian: fn(f64, f64) -> [f64; 3],
}

/// A curved valley, whose minimum is at (1, 1).
const ROSENBROCK: Plane = Plane {
    value: |a, b| (1.0 - a).powi(2) + 10.0 * (b - a * a).powi(2),
    gradient: |a, b| [-2.0 * (1.0 - a) - 40.0 * a * (b - a * a), 20.0 * (b - a * a)],
    hessian: |a, b| [2.0 + 120.0 * a * a - 40.0 * b, -40.0 * a, 20.0],
};

/// A saddle in the middle, minima of -1/4 at (1, 0) and (-1, 0).
const TWO_WELLS: Plane = Plane {
    value: |a, b| a.powi(4) / 4.0 - a * a / 2.0 + b * b,
    gradient: |a, b| [a.powi(3) - a, 2.0 * b],
    hessian: |a, _| [3.0 * a * a - 1.0, 0.0, 2.0],
};

/// A kink along the diagonal, the minimum at (0, 0) on it.
const KINK: Plane = Plane {
    value: |a, b| (a - b).abs() * 3.0 + a * a + b * b + a,
    gradient: |a, b| {
        let sign = (a - b).signum() * 3.0;
        [sign + 2.0 * a + 1.0, -sign + 2.0 * b]
    },
    hessian: |_, _| [2.0, 0.0, 2.0],
};

/// A bowl 100 times as long as wide.
const BOWL: Plane = Plane {
    value: |a, b| (a * a + 1e4 * b * b) / 2.0,
    gradient: |a, b| [a, 1e4 * b],
    hessian: |_, _| [1.0, 0.0, 1e4],
};

fn pair(at: &Vector) -> (f64, f64) {
    let at = at.to_vec();
    (at[0], at[1])
}

impl Differentiable for Plane {
    fn value(&self, at: &Vector) -> f64 {
        let (a, b) = pair(at);
        (self.value)(a, b)
    }

    fn gradient(&self, at: &Vector) -> (f64, Vector) {
        let (a, b) = pair(at);
        let gradient = Vector::from_slice(at.layout(), &(self.gradient)(a, b), &device());
        ((self.value)(a, b), gradient)
    }
}

impl TwiceDifferentiable for Plane {
    fn hessian<'a>(&'a self, at: &Vector) -> Product<'a> {
        let (a, b) = pair(at);
        let [aa, ab, bb] = (self.hessian)(a, b);
        Box::new(move |v| {
            let (p, q) = pair(v);
            Vector::from_slice(v.layout(), &[aa * p + ab * q, ab * p + bb * q], &device())
        })
    }
}

fn at(a: f64, b: f64) -> Vector {
    Vector::from_slice(&Layout::of(&Values::new(&[0.0; 2], &device())), &[a, b], &device())
}

#[test]
fn minimisers_end_at_a_minimum() {
    for minimiser in minimisers(3000, 1e-9) {
        let name = minimiser.describe();
        let valley = minimiser.minimise(&ROSENBROCK, &at(-1.2, 1.0), minimiser.tolerance());
        assert_eq!(valley.stop, Stop::Converged, "{name}: {valley:?}");
        assert!(valley.gradient_norm <= 1e-9, "{name}: {valley:?}");
        assert_close(&name, &valley.at.to_vec(), &[1.0, 1.0], 1e-8);
        let rough = minimiser.minimise(&ROSENBROCK, &at(-1.2, 1.0), 0.1);
        assert_eq!(rough.stop, Stop::Converged, "{name}: {rough:?}");
        assert!(rough.gradient_norm <= 0.1 && rough.steps < valley.steps, "{name}: {rough:?}");
        let well = minimiser.minimise(&TWO_WELLS, &at(0.1, 1.0), 1e-9);
        assert_eq!(well.stop, Stop::Converged, "{name}: {well:?}");
        assert!((well.value + 0.25).abs() < 1e-12, "{name}: {well:?}");
    }
}

#[test]
fn minimisers_say_why_they_stopped() {
    for minimiser in minimisers(2, 1e-9) {
        let name = minimiser.describe();
        let short = minimiser.minimise(&ROSENBROCK, &at(-1.2, 1.0), 1e-9);
        assert_eq!((short.stop, short.steps), (Stop::StepLimit, 2), "{name}");
        assert!(short.gradient_norm > 1e-9 && short.value <= (ROSENBROCK.value)(-1.2, 1.0));
        let nowhere = minimiser.minimise(&ROSENBROCK, &at(f64::NAN, 1.0), 1e-9);
        assert_eq!(nowhere.stop, Stop::NotFinite, "{name}");
        let there = minimiser.minimise(&ROSENBROCK, &at(1.0, 1.0), 1e-9);
        assert_eq!((there.stop, there.steps), (Stop::Converged, 0), "{name}");
    }
}

#[test]
fn bfgs_ends_at_a_kink() {
    // On the diagonal 2 a^2 + a is minimal at a = -1/4.
    let found = Bfgs::new(200, 1e-9).unwrap().descend(&KINK, &at(0.9, -0.7));
    assert_eq!(found.stop, Stop::NoDescent, "{found:?}");
    assert!((found.value + 0.125).abs() < 1e-9, "{found:?}");
}

#[test]
fn newton_takes_few_steps_on_a_lower_loss() {
    let oracle = penalties(Fit::Logistic, &device());
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let loss = LowerLoss::new(LowerProblem::new(&oracle, &x, Samples::default()));
    let newton = Newton::new(50, 1e-12).unwrap();
    let found = newton.minimise(&loss, &y, 1e-12);
    assert_eq!(found.stop, Stop::Converged, "{found:?}");
    assert!(found.steps <= 8, "{found:?}");
    let slow = Armijo::new(2000, 1e-9).unwrap().minimise(&loss, &y, 1e-9);
    assert_eq!(slow.stop, Stop::Converged, "{slow:?}");
    assert_close("minima", &found.at.to_vec(), &slow.at.to_vec(), 1e-7);
}

/// `F(x, y*(x))` with the level solved by the same minimiser at each x.
#[test]
fn hypergradients_after_minimisers_are_differences_of_the_solved_level() {
    let oracle = penalties(Fit::Logistic, &device());
    let (x, start) = (oracle.upper_start(), oracle.lower_start());
    for minimiser in minimisers(5000, 1e-12) {
        let name = minimiser.describe();
        let reduced = |x: &[f64]| {
            let at = Vector::from_slice(oracle.upper_layout(), x, &device());
            let problem = LowerProblem::new(&oracle, &at, Samples::default());
            let found = minimiser.minimise(&LowerLoss::new(problem), &start, 1e-12);
            assert!(found.gradient_norm <= 1e-11, "{name}: {found:?}");
            problem.value(Objective::Upper, &found.at).read()
        };
        let expected = five_point(&x.to_vec(), reduced);
        let solver = Cg::new(100, 1e-13).unwrap();
        let mut method = Implicit::new(minimiser.clone(), solver);
        let problem = LowerProblem::new(&oracle, &x, Samples::default());
        let found = method.hypergradient(problem, &start).unwrap();
        assert!(found.status.is_ok(), "{name}: {}", found.status);
        assert_close(&name, &found.gradient.to_vec(), &expected, 1e-7);
    }
}

#[test]
fn minimisers_keep_to_a_set() {
    let from = at(1.7, -3.0);
    // At a = 1/2 the valley leaves the box; nearest to (1, 1) it leaves the ball where its gradient points outwards.
    for minimiser in minimisers_onto(&Bounds::new(-2.0, 0.5).unwrap(), 3000, 1e-10) {
        let name = minimiser.describe();
        let found = minimiser.minimise(&ROSENBROCK, &from, 1e-10);
        assert_eq!(found.stop, Stop::Converged, "{name}: {found:?}");
        assert_close(&name, &found.at.to_vec(), &[0.5, 0.25], 1e-9);
        assert!(found.at.to_vec().iter().all(|y| (-2.0..=0.5).contains(y)), "{name}: {found:?}");
    }
    for minimiser in minimisers_onto(&Ball::new(0.5).unwrap(), 3000, 1e-10) {
        let name = minimiser.describe();
        let found = minimiser.minimise(&ROSENBROCK, &from, 1e-10);
        assert_eq!(found.stop, Stop::Converged, "{name}: {found:?}");
        let (_, slope) = ROSENBROCK.gradient(&found.at);
        assert!((found.at.norm() - 0.5).abs() < 1e-9, "{name}: {found:?}");
        let outwards = -slope.dot(&found.at) / (slope.norm() * found.at.norm());
        assert!((outwards - 1.0).abs() < 1e-9, "{name}: {found:?}, {outwards}");
    }
    // A minimum inside is that without a set.
    for minimiser in minimisers_onto(&Bounds::new(-2.0, 2.0).unwrap(), 3000, 1e-10) {
        let name = minimiser.describe();
        let found = minimiser.minimise(&ROSENBROCK, &from, 1e-10);
        assert_close(&name, &found.at.to_vec(), &[1.0, 1.0], 1e-8);
    }
}

#[test]
fn accelerated_steps_grow_with_the_root_of_the_condition() {
    let found = Fista::new(10_000, 1e-9).unwrap().descend(&BOWL, &at(1.0, 1.0));
    assert_eq!(found.stop, Stop::Converged, "{found:?}");
    // The root is 100, and the error falls by 1e9 = e^20.7; gradient descent takes 1e5.
    assert!(found.steps <= 2000, "{found:?}");
}

/// A chain of n springs: `<y, A y> / 2 - 0.01 sum y` with A tridiagonal, whose minimum value is not 0.
struct Chain;

impl Differentiable for Chain {
    fn value(&self, at: &Vector) -> f64 {
        let y = at.to_vec();
        let pulled = spring(&y).iter().zip(&y).map(|(a, y)| a * y / 2.0).sum::<f64>();
        pulled - 0.01 * y.iter().sum::<f64>()
    }

    fn gradient(&self, at: &Vector) -> (f64, Vector) {
        let slope: Vec<_> = spring(&at.to_vec()).iter().map(|a| a - 0.01).collect();
        (self.value(at), Vector::from_slice(at.layout(), &slope, &device()))
    }
}

/// `A y`
fn spring(y: &[f64]) -> Vec<f64> {
    let at = |i: usize| y.get(i).copied().unwrap_or(0.0);
    (0..y.len()).map(|i| 2.0 * y[i] - at(i.wrapping_sub(1)) - at(i + 1)).collect()
}

/// Where f differs by rounding only, gradients decide on steps and restarts.
#[test]
fn accelerated_steps_converge_below_the_rounding_of_the_value() {
    let layout = Layout::of(&Values::new(&[0.0; 100], &device()));
    let start = Vector::from_slice(&layout, &[0.0; 100], &device());
    let found = Fista::new(3000, 1e-9).unwrap().descend(&Chain, &start);
    assert_eq!(found.stop, Stop::Converged, "{}, {}", found.gradient_norm, found.steps);
    // y_i = 0.01 i (101 - i) / 2
    let expected: Vec<_> = (1..=100).map(|i| 0.005 * f64::from(i * (101 - i))).collect();
    assert_close("chain", &found.at.to_vec(), &expected, 1e-5);
}

/// Some entries at a bound, the fixed point of a projected step at the end of the minimiser.
#[test]
fn hypergradients_on_a_set_are_differences_of_the_solved_level() {
    let oracle = penalties(Fit::Logistic, &device());
    let (x, start) = (oracle.upper_start(), oracle.lower_start());
    let set = Bounds::new(-0.2, 0.2).unwrap();
    for minimiser in minimisers_onto(&set, 5000, 1e-12) {
        let name = minimiser.describe();
        let solve = |x: &Vector| {
            let problem = LowerProblem::new(&oracle, x, Samples::default());
            minimiser.minimise(&LowerLoss::new(problem), &start, 1e-12)
        };
        let reduced = |x: &[f64]| {
            let at = Vector::from_slice(oracle.upper_layout(), x, &device());
            let found = solve(&at);
            assert!(found.gradient_norm <= 1e-11, "{name}: {found:?}");
            let problem = LowerProblem::new(&oracle, &at, Samples::default());
            problem.value(Objective::Upper, &found.at).read()
        };
        let expected = five_point(&x.to_vec(), reduced);
        let y = solve(&x).at.to_vec();
        let held = y.iter().filter(|y| y.abs() == 0.2).count();
        assert!(0 < held && held < y.len(), "{name}: {y:?}");
        let problem = LowerProblem::new(&oracle, &x, Samples::default());
        let after = |minimiser: Arc<dyn Minimiser>| {
            let step = Projected::new(Gd::new(0.1).unwrap(), set);
            let mut method = FixedPoint::minimised(minimiser, step, 5000, 1e-12).unwrap();
            method.hypergradient(problem, &start).unwrap()
        };
        let found = after(minimiser);
        assert!(found.status.is_ok(), "{name}: {}", found.status);
        assert_close(&name, &found.gradient.to_vec(), &expected, 1e-7);
        // A minimiser that misses its tolerance, or whose point is none of the step, says so.
        let found = after(Arc::new(Armijo::new(1, 1e-12).unwrap().onto(set)));
        assert!(matches!(found.status, Status::LowerLimit { .. }), "{}", found.status);
        let found = after(Arc::new(Fista::new(5000, 1e-12).unwrap()));
        assert!(!found.status.is_ok(), "{}", found.status);
    }
}
