//! What every implicit method must satisfy, on the device of the binary that includes this file.

#[path = "implicit/levels.rs"]
mod levels;
#[path = "implicit/linear.rs"]
mod linear;
#[path = "implicit/status.rs"]
mod status;

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use bilevel_core::linear::{Operator, Solution, System};
use bilevel_core::*;
use bilevel_program::{Layout, Vector};
use burn::nn::BatchNormConfig;
use burn::tensor::Tensor;

use self::linear::Solver;
use crate::common::*;
use crate::device;

/// A descent that is far from the solution, so that a wrong formula is not hidden by a zero.
fn short() -> Descent {
    descent(Gd::new(0.3), 3)
}

/// `y_T` of [`short`], and the gradients of F and f there.
fn at_the_end(oracle: &PenaltiesOracle) -> (Vector, Partials, Partials) {
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(oracle, &x, Samples::default());
    let y = short().run(&problem, &y).unwrap().state.y;
    let gradient = |objective| problem.gradient(objective, &y, Wrt::Both).1;
    let (upper, lower) = (gradient(Objective::Upper), gradient(Objective::Lower));
    (y, upper, lower)
}

/// Whether the linear system was solved, wherever the lower level ended.
fn solved(status: Status) -> bool {
    matches!(status, Status::Implicit { solver, .. } if solver.is_ok())
}

#[test]
fn identity_and_iga_equal_their_formulas() {
    for fit in [Fit::Squares, Fit::Logistic] {
        let oracle = penalties(fit, &device());
        let (y, upper, lower) = at_the_end(&oracle);
        let x = oracle.upper_start();
        let (f_x, f_y) = upper.into_both();
        let problem = LowerProblem::new(&oracle, &x, Samples::default());
        let mixed = problem.product(Objective::Lower, &y, Direction::in_y(&f_y), Wrt::X).into_x();
        let expected = f_x.sub(&mixed).to_vec();
        let (found, status) = hypergradient(&oracle, &mut Implicit::new(short(), Identity));
        assert!(
            solved(status) && status.to_string().contains("approximated by design"),
            "{status}"
        );
        assert_close("identity", &found, &expected, 1e-12);

        let (in_x, in_y) = lower.into_both();
        let (in_x, in_y, f_x, f_y) = (in_x.to_vec(), in_y.to_vec(), f_x.to_vec(), f_y.to_vec());
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let weight = dot(&f_y, &in_y) / dot(&in_y, &in_y);
        let expected: Vec<_> =
            f_x.iter().zip(&in_x).map(|(direct, f)| direct - weight * f).collect();
        let (found, status) = hypergradient(&oracle, &mut Iga::new(short()));
        assert_close("iga", &found, &expected, 1e-12);
        let Status::Implicit { stationarity, .. } = status else { panic!("{status}") };
        assert_close("iga", &[stationarity], &[dot(&in_y, &in_y).sqrt()], 1e-12);
    }
}

#[test]
fn fixed_point_equals_dense_wherever_it_is_taken() {
    for fit in [Fit::Squares, Fit::Logistic] {
        let oracle = penalties(fit, &device());
        let gd = || descent(Gd::new(0.4), 3);
        let heavy = || descent(Momentum::new(0.3, 0.5), 3);
        for descent in [gd as fn() -> Descent, heavy] {
            let (expected, _) = hypergradient(&oracle, &mut Implicit::new(descent(), Dense::new()));
            let mut method = FixedPoint::new(descent(), 2000, 1e-12).unwrap();
            let (found, status) = hypergradient(&oracle, &mut method);
            assert!(solved(status), "{status}");
            assert_close(&method.describe(), &found, &expected, 1e-9);
        }
    }
}

#[test]
fn a_fixed_point_of_gd_is_the_neumann_series() {
    let oracle = penalties(Fit::Logistic, &device());
    // The map is the last of the three steps made.
    let falling = Schedule::power(0.4, 0.5);
    let cases = [0.4.into(), falling].into_iter().flat_map(|s: Schedule| [1, 2, 5].map(|k| (s, k)));
    for (steps, k) in cases {
        let gd = || descent(Gd::new(steps), 3);
        let neumann = Neumann::new(steps.at(2), k, 1e-12).unwrap();
        let (expected, series) = hypergradient(&oracle, &mut Implicit::new(gd(), neumann));
        let mut method = FixedPoint::new(gd(), k, 1e-12).unwrap();
        let (found, status) = hypergradient(&oracle, &mut method);
        assert_close("fixed-point", &found, &expected, 1e-12);
        let residual = |status| match status {
            Status::Implicit { solver: LinearStatus::IterationLimit, residual, .. } => residual,
            other => panic!("unexpected: {other}"),
        };
        let (found, expected) = (residual(status).unwrap(), residual(series).unwrap());
        assert!((found - expected).abs() < 1e-12, "{found:e} {expected:e}");
    }
}

#[test]
fn a_fixed_point_that_does_not_contract_diverges_by_name() {
    // A step beyond 2 / L that does not increase f yet, as the gradient is not along the steepest curvature.
    let oracle = penalties(Fit::Logistic, &device());
    let mut method = FixedPoint::new(descent(Gd::new(1.3), 1), 500, 1e-12).unwrap();
    let (_, status) = hypergradient(&oracle, &mut method);
    assert!(
        matches!(status, Status::Implicit { solver: LinearStatus::Diverged, .. }),
        "unexpected: {status}"
    );
}

/// `f = sum x y^2`, `F = sum (y - 1)^2`: at y = 0 the lower level is already stationary.
struct Still;

impl BilevelProblem for Still {
    type Upper = Values;
    type Lower = Values;
    type Batch = Tensor<1>;

    fn upper_loss(&self, _: &Values, y: &Values, _: &Tensor<1>) -> Tensor<1> {
        (y.values.val() - 1.0).powi_scalar(2).sum()
    }

    fn lower_loss(&self, x: &Values, y: &Values, _: &Tensor<1>) -> Tensor<1> {
        (x.values.val() * y.values.val().powi_scalar(2)).sum()
    }
}

#[test]
fn iga_without_a_lower_gradient_is_called_singular() {
    let device = device();
    let values = |v: f64| Values::new(&[v; 3], &device);
    let data = FullBatch { upper: vector(&X, &device), lower: vector(&X, &device) };
    let oracle = AutodiffOracle::new(Still, &values(1.0), &values(0.0), data).unwrap();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let found = Iga::new(short()).hypergradient(problem, &y).unwrap();
    assert!(
        matches!(found.status, Status::Implicit { solver: LinearStatus::Singular, .. }),
        "unexpected: {}",
        found.status
    );
    assert_eq!(found.gradient.to_vec(), [0.0; 3]);
}

#[test]
fn imaml_agrees_with_differences_of_the_regularised_problem() {
    let mu = 0.8;
    let mut imaml =
        Imaml::new(Implicit::new(descent(Gd::new(0.3), 150), Cg::new(50, 1e-13).unwrap()), mu)
            .unwrap();
    for fit in [Fit::Squares, Fit::Logistic] {
        let oracle = penalties(fit, &device());
        let mut at = |x: &[f64]| {
            let start = oracle.upper_start();
            let x = Vector::from_slice(start.layout(), x, &start.device());
            let problem = LowerProblem::new(&oracle, &x, Samples::default());
            let found = imaml.hypergradient(problem, &oracle.lower_start()).unwrap();
            // The lower point is stationary for f + mu/2 norm(y - x)^2.
            let slope =
                problem.gradient(Objective::Lower, &found.lower, Wrt::Y).1.into_y().to_vec();
            for ((slope, y), x) in slope.iter().zip(found.lower.to_vec()).zip(x.to_vec()) {
                assert!((slope + mu * (y - x)).abs() < 1e-10);
            }
            let away: f64 =
                found.lower.to_vec().iter().zip(x.to_vec()).map(|(y, x)| (y - x).powi(2)).sum();
            let f = problem.value(Objective::Lower, &found.lower).read();
            assert!((found.lower_loss - f - mu / 2.0 * away).abs() < 1e-12);
            found
        };
        let found = at(&X);
        assert!(found.status.is_ok(), "{}", found.status);
        let h = 1e-3;
        let slope = |j: usize| {
            let mut value = |steps: f64| {
                let mut x = X;
                x[j] += steps * h;
                at(&x).upper_loss.read()
            };
            let near = value(1.0) - value(-1.0);
            (8.0 * near - (value(2.0) - value(-2.0))) / (12.0 * h)
        };
        let expected: Vec<_> = (0..FEATURES).map(slope).collect();
        assert_close("imaml", &found.gradient.to_vec(), &expected, 1e-8);
    }
}

#[test]
fn imaml_refuses_an_x_that_is_not_shaped_like_y() {
    let device = device();
    let x = upper_module(&device);
    let y = BatchNormConfig::new(FEATURES).init(&device);
    let inputs = || vector(&numbers(3, 4 * FEATURES), &device).reshape([4, FEATURES]);
    let data = FullBatch { upper: inputs(), lower: inputs() };
    let oracle = AutodiffOracle::new(Normalised, &x, &y, data).unwrap();
    let oracle = Counted::new(&oracle);
    let cost = oracle.cost();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let implicit = Implicit::new(short(), Cg::new(5, 1e-3).unwrap());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let error = Imaml::new(implicit, 1.0).unwrap().hypergradient(problem, &y).unwrap_err();
    assert!(matches!(error, Error::StartShapes { .. }), "{error}");
    assert_eq!(oracle.cost(), cost);
}

/// The products of f that `method` takes at `X`, x moved by `shift`.
fn products(oracle: &PenaltiesOracle, method: &mut dyn HypergradientMethod, shift: f64) -> u64 {
    let before = oracle.cost();
    let start = oracle.upper_start();
    let x = Vector::from_slice(start.layout(), &X.map(|x| x + shift), &start.device());
    let problem = LowerProblem::new(oracle, &x, Samples::default());
    method.hypergradient(problem, &oracle.lower_start()).unwrap();
    (oracle.cost() - before).lower_products
}

#[test]
fn a_warm_q_needs_fewer_products() {
    let oracle = penalties(Fit::Squares, &device());
    let new = || Implicit::new(descent(Gd::new(0.5), 100), Neumann::new(0.5, 500, 1e-6).unwrap());
    let mut warm = new().with_warm_start();
    let first = products(&oracle, &mut warm, 0.0);
    // The same system: one product for the residual of the guess, one for g.
    assert_eq!(products(&oracle, &mut warm, 0.0), 2);
    let moved = products(&oracle, &mut warm, 1e-4);
    assert!(2 < moved && 2 * moved < first, "{moved} of {first}");
    let mut cold = new();
    assert_eq!(products(&oracle, &mut cold, 0.0), first);
    assert_eq!(products(&oracle, &mut cold, 0.0), first);
}

#[test]
fn with_falling_tolerances_the_descent_and_the_solver_work_harder() {
    // At one and the same x.
    let oracle = penalties(Fit::Squares, &device());
    let neumann = Neumann::new(0.5, 500, 1e-13).unwrap();
    let mut method = Implicit::new(descent(Gd::new(0.5), 500), neumann)
        .with_tolerances(Schedule::geometric(0.1, 0.01))
        .unwrap();
    let costs = [(); 3].map(|()| {
        let before = oracle.cost().lower_gradients;
        (products(&oracle, &mut method, 0.0), oracle.cost().lower_gradients - before)
    });
    let growing = costs.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
    assert!(growing, "{costs:?}");
}

#[test]
fn with_falling_tolerances_costs_grow_and_the_run_converges() {
    let device = device();
    let x = upper_module(&device);
    let run = |tolerances: Schedule| {
        let oracle = penalties_at(Fit::Squares, &x, &device);
        let solver = Neumann::new(0.5, 1000, 1e-13).unwrap();
        let method =
            Implicit::new(descent(Gd::new(0.5), 1000), solver).with_tolerances(tolerances).unwrap();
        let upper = BurnOptimizer::new(burn::optim::SgdConfig::new().build(), &x, 3.0).unwrap();
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let mut solver =
            HypergradientSolver::new(&oracle, method, upper, x, y).with_start(Start::Warm).unwrap();
        let mut seen: Vec<(u64, f64)> = Vec::new();
        let watch = |progress: &Progress<'_>| {
            seen.push((progress.cost.lower_products, progress.seen.gradient_norm));
            ControlFlow::Continue(())
        };
        let outcome = Executor::new(40).unwrap().observe(watch).run(&mut solver).unwrap();
        assert_eq!(outcome.warnings, [], "{}", outcome.status);
        seen
    };
    let falling = run(Schedule::power(0.1, 2.0));
    let exact = run(Schedule::Constant(1e-10));
    let spent = |from: usize, to: usize| falling[to].0 - falling[from].0;
    assert!(spent(0, 13) < spent(13, 26) && spent(13, 26) < spent(26, 39), "{falling:?}");
    assert!(2 * falling[39].0 < exact[39].0, "{} of {}", falling[39].0, exact[39].0);
    // As close to the optimum as with exact hypergradients.
    assert!(falling[39].1 < 1.05 * exact[39].1 + 1e-4, "{:?} {:?}", falling[39], exact[39]);
    assert!(falling[39].1 < 0.2 * falling[0].1, "{falling:?}");
}

#[test]
fn implicit_costs_are_what_the_documentation_says() {
    let steps = 3;
    let fixed = |k| FixedPoint::new(short(), k, 1e-13).unwrap();
    let implicit = |solver: Solver| Implicit::new(short(), solver);
    let rows: Vec<(Box<dyn HypergradientMethod>, u64)> = vec![
        (Box::new(implicit(Box::new(Identity))), 1),
        (Box::new(implicit(Box::new(Dense::new()))), 1 + FEATURES as u64),
        (Box::new(implicit(Box::new(Nystrom::new(2, 0.1, 0).unwrap()))), 4),
        (Box::new(implicit(Box::new(NormalCg::new(2, 1e-13).unwrap()))), 5),
        (Box::new(fixed(4)), 5),
        (Box::new(Iga::new(short())), 0),
        (Box::new(Imaml::new(implicit(Box::new(Cg::new(2, 1e-13).unwrap())), 1.0).unwrap()), 3),
    ];
    for (mut method, lower_products) in rows {
        let oracle = penalties(Fit::Squares, &device());
        hypergradient(&oracle, method.as_mut());
        let expected = Cost {
            lower_gradients: steps + 1,
            lower_values: 1,
            upper_gradients: 1,
            lower_products,
            ..Cost::default()
        };
        assert_eq!(oracle.cost(), expected, "{}", method.describe());
    }
}
