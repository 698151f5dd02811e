//! What every hypergradient must satisfy, on the device of the binary that includes this file.

use std::ops::ControlFlow;

use bilevel_core::*;
use bilevel_program::{Layout, Vector};
use burn::module::Module;

use crate::common::*;
use crate::device;

#[test]
fn ridge_agrees_with_its_closed_form() {
    for (name, mut method) in exact_methods() {
        let oracle = penalties(Fit::Squares, &device());
        let (found, status) = hypergradient(&oracle, method.as_mut());
        assert!(status.is_ok(), "{name}: {status}");
        assert_close(name, &found, &ridge_closed_form(), 1e-8);
    }
}

#[test]
fn logistic_regression_agrees_with_differences_of_the_solved_problem() {
    let oracle = penalties(Fit::Logistic, &device());
    let expected = differences(&oracle, &descent(Gd::new(0.5), 600));
    for (name, mut method) in exact_methods() {
        let (found, status) = hypergradient(&oracle, method.as_mut());
        assert!(status.is_ok(), "{name}: {status}");
        assert_close(name, &found, &expected, 1e-8);
    }
}

#[test]
fn costs_are_what_the_documentation_says() {
    let steps = 9;
    let oracle = penalties(Fit::Squares, &device());
    hypergradient(&oracle, &mut Rad::new(descent(Gd::new(0.3), steps)));
    let rad = oracle.cost();
    let expected = Cost {
        lower_gradients: steps as u64,
        lower_products: steps as u64,
        upper_gradients: 1,
        lower_values: 1,
        ..Cost::default()
    };
    assert_eq!(rad, expected);
    let cg = Cg::new(3, 1e-13).unwrap();
    hypergradient(&oracle, &mut Implicit::new(descent(Gd::new(0.3), steps), cg));
    assert_eq!(
        oracle.cost() - rad,
        Cost { lower_products: 4, lower_gradients: 1 + steps as u64, ..expected }
    );
}

#[test]
fn a_divergence_names_its_first_step() {
    let oracle = penalties(Fit::Squares, &device());
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let mut rad = Rad::new(descent(Gd::new(1e200), 100));
    let error = rad.hypergradient(Stage::new(&oracle, &x, Samples::default()), &y).unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, Error::LowerDiverged { step: 1..=3, steps: 100, .. }),
        "unexpected: {text}"
    );
    assert!(text.ends_with("reduce the lower step size"), "{text}");
}

#[test]
fn steps_that_lead_up_are_named() {
    let device = device();
    let x = upper_module(&device);
    let oracle = penalties_at(Fit::Squares, &x, &device);
    let rad = Rad::new(descent(Gd::new(3.0), 10));
    let upper = BurnOptimizer::new(burn::optim::SgdConfig::new().build(), &x, 1e-9).unwrap();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let mut solver = HypergradientSolver::new(&oracle, rad, upper, x, y);
    let outcome = Executor::new(2).unwrap().run(&mut solver).unwrap();
    assert_eq!(outcome.warnings, 2);
    let text = outcome.status.to_string();
    assert!(text.starts_with("the lower steps raised the lower loss"), "{text}");
    assert!(text.ends_with("reduce the lower step size"), "{text}");
}

#[test]
fn a_run_descends_repeats_itself_and_respects_its_constraint() {
    fn run(limit: f64) -> (Vec<f64>, Vec<f64>, Outcome) {
        let device = device();
        let x = upper_module(&device);
        let oracle = penalties_at(Fit::Squares, &x, &device);
        let adam = burn::optim::AdamConfig::new().build();
        let upper = BurnOptimizer::new(adam, &x, 0.05).unwrap();
        let rad = Rad::new(descent(Gd::new(0.5), 30));
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let mut solver = HypergradientSolver::new(&oracle, rad, upper, x, y)
            .with_projection(Bounds::new(-limit, limit).unwrap());
        let mut losses = Vec::new();
        let outcome = Executor::new(40)
            .unwrap()
            .observe(|progress: &Progress<'_>| {
                losses.push(progress.seen.upper_loss);
                ControlFlow::Continue(())
            })
            .run(&mut solver)
            .unwrap();
        let x = solver.x().to_vec();
        drop(solver);
        (losses, x, outcome)
    }
    let (losses, x, outcome) = run(1.25);
    assert_eq!((outcome.ending, outcome.steps, outcome.warnings), (Ending::StepLimit, 40, 0));
    assert!(losses[39] < losses[0], "{losses:?}");
    assert!(x.iter().all(|v| v.abs() <= 1.25) && x.contains(&-1.25), "{x:?}");
    let again = run(1.25);
    assert_eq!((losses, x), (again.0, again.1), "a run repeats bit by bit");
}

/// Runs `executor` on ridge regression by rad, x moved by plain gradient descent.
fn descend(
    executor: Executor<'_>,
    start: Start,
    projection: impl Projection + 'static,
) -> (Outcome, Vec<f64>) {
    let device = device();
    let x = upper_module(&device);
    let oracle = penalties_at(Fit::Squares, &x, &device);
    let upper = BurnOptimizer::new(burn::optim::SgdConfig::new().build(), &x, 0.5).unwrap();
    let rad = Rad::new(descent(Gd::new(0.5), 5));
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let mut solver = HypergradientSolver::new(&oracle, rad, upper, x, y)
        .with_start(start)
        .with_projection(projection);
    let outcome = executor.run(&mut solver).unwrap();
    (outcome, solver.x().to_vec())
}

#[test]
fn a_run_ends_for_the_reason_it_names() {
    let steps = |n| Executor::new(n).unwrap();
    let free = || Bounds::new(f64::NEG_INFINITY, f64::INFINITY).unwrap();
    let ending = |executor| {
        let outcome = descend(executor, Start::Fixed, free()).0;
        (outcome.ending, outcome.steps)
    };
    assert_eq!(ending(steps(3)), (Ending::StepLimit, 3));
    let at_once = std::time::Duration::ZERO;
    assert_eq!(ending(steps(3).with_time_limit(at_once)), (Ending::TimeLimit, 1));
    assert_eq!(ending(steps(3).with_tolerance(1e9).unwrap()), (Ending::Stationary, 1));
    let until_two = |progress: &Progress<'_>| {
        if progress.step == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    assert_eq!(ending(steps(3).observe(until_two)), (Ending::Observer, 2));
}

#[test]
fn a_ball_keeps_x_and_a_warm_start_goes_further() {
    let ball = Ball::new(1.5).unwrap();
    let x = descend(Executor::new(3).unwrap(), Start::Fixed, ball).1;
    let norm = x.iter().map(|v| v * v).sum::<f64>().sqrt();
    assert!((norm - 1.5).abs() < 1e-12, "{norm}");
    let last_loss = |start| {
        let mut losses = Vec::new();
        let watch = |progress: &Progress<'_>| {
            losses.push(progress.seen.lower_loss);
            ControlFlow::Continue(())
        };
        let free = Bounds::new(-9.0, 9.0).unwrap();
        descend(Executor::new(5).unwrap().observe(watch), start, free);
        losses[4]
    };
    assert!(last_loss(Start::Warm) < last_loss(Start::Fixed));
}

#[test]
fn a_value_is_that_of_the_loss_that_is_differentiated() {
    // Batch normalisation takes the statistics of the batch where gradients can be tracked.
    let device = device();
    let x = upper_module(&device);
    let y = burn::nn::BatchNormConfig::new(FEATURES).init(&device);
    let inputs = || vector(&numbers(3, 4 * FEATURES), &device).reshape([4, FEATURES]);
    let data = FullBatch { upper: inputs(), lower: inputs() };
    let oracle = AutodiffOracle::new(Normalised, &x, &y, data).unwrap();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let at = Point { x: &x, y: &y, sample: Sample(0) };
    for level in [Level::Upper, Level::Lower] {
        let value = oracle.value(level, at).read();
        assert_eq!(value, oracle.gradient(level, at, Wrt::Both).0.read());
    }
    // Another loss than that of inference.
    let (x, y) = (oracle.upper_module(&x), oracle.lower_module(&y));
    let inference = Loss::new(Normalised.lower_loss(&x, &y, &inputs())).read();
    let value = oracle.value(Level::Lower, at).read();
    assert!((value - inference).abs() > 0.1, "{value} {inference}");
}

#[test]
fn a_module_without_trainable_parameters_is_refused() {
    let device = device();
    let data = || FullBatch { upper: vector(&X, &device), lower: vector(&X, &device) };
    for frozen in [Level::Upper, Level::Lower] {
        let module = |level| {
            let module = upper_module(&device);
            if level == frozen { module.no_grad() } else { module }
        };
        let (x, y) = (module(Level::Upper), module(Level::Lower));
        let error = AutodiffOracle::new(Refused::NotFinite, &x, &y, data()).map(drop).unwrap_err();
        assert_eq!(error, Error::NoVariables { level: frozen });
    }
}

#[test]
fn an_optimiser_moves_a_parameter_at_all_its_places() {
    let one = upper_module(&device());
    let twice = vec![one.clone(), one];
    let x = Vector::from_module(&Layout::of(&twice), &twice);
    let sgd = burn::optim::SgdConfig::new().build();
    let mut upper = BurnOptimizer::new(sgd, &twice, 0.5).unwrap();
    let moved = upper.step(&x, &x.scale(2.0)).write_into(twice);
    for module in moved {
        let values: Vec<f64> = module.values.val().into_data().iter().collect();
        assert_close("x - x", &values, &[0.0; FEATURES], 1e-12);
    }
}

#[test]
fn a_loss_that_is_not_one_number_or_not_finite_is_refused() {
    let device = device();
    let (x, y) = (upper_module(&device), upper_module(&device));
    let new = |problem| {
        let data = FullBatch { upper: vector(&X, &device), lower: vector(&X, &device) };
        AutodiffOracle::new(problem, &x, &y, data).map(drop).unwrap_err()
    };
    let error = new(Refused::NotScalar);
    assert_eq!(error, Error::NotScalar { level: Level::Lower, found: vec![FEATURES] });
    let error = new(Refused::Reads);
    assert!(matches!(error, Error::Trace { .. }), "{error}");
    assert!(error.to_string().starts_with("the lower loss: "), "{error}");
    let error = new(Refused::NotFinite);
    assert!(matches!(error, Error::NotFiniteAtStart { level: Level::Lower, .. }), "{error}");
}

#[test]
#[should_panic(expected = "the upper variable is a vector of another module")]
fn a_point_of_another_module_is_refused() {
    let device = device();
    let oracle = penalties(Fit::Squares, &device);
    let (other, y) = (penalties(Fit::Squares, &device).upper_start(), oracle.lower_start());
    oracle.value(Level::Upper, Point { x: &other, y: &y, sample: Sample(0) });
}
