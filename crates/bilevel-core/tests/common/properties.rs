//! What every hypergradient must satisfy, on the device of the binary that includes this file.

use std::ops::ControlFlow;

use bilevel_core::*;
use burn::module::Module;
use burn::tensor::Tensor;

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
    hypergradient(&oracle, &mut Unrolled::rad(descent(Gd::new(0.3), steps)));
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
    let mut rad = Unrolled::rad(descent(Gd::new(1e200), 100));
    let error =
        rad.hypergradient(LowerProblem::new(&oracle, &x, Samples::default()), &y).unwrap_err();
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
    let rad = Unrolled::rad(descent(Gd::new(3.0), 10));
    let upper = BurnOptimizer::new(burn::optim::SgdConfig::new().build(), &x, 1e-9).unwrap();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let mut solver = HypergradientSolver::new(&oracle, rad, upper, x, y);
    let outcome = Executor::new(2).unwrap().run(&mut solver).unwrap();
    assert_eq!(outcome.warnings.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [1, 2]);
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
        let rad = Unrolled::rad(descent(Gd::new(0.5), 30));
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
    assert_eq!((outcome.ending, outcome.steps, outcome.warnings), (Ending::StepLimit, 40, vec![]));
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
    let rad = Unrolled::rad(descent(Gd::new(0.5), 5));
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let mut solver = HypergradientSolver::new(&oracle, rad, upper, x, y)
        .with_start(start)
        .unwrap()
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
    for objective in [Objective::Upper, Objective::Lower] {
        let value = oracle.value(objective, at).read();
        assert_eq!(value, oracle.gradient(objective, at, Wrt::Both).0.read());
    }
    // A different loss than at inference.
    let (x, y) = (oracle.upper_module(&x), oracle.lower_module(&y));
    let inference = Loss::new(Normalised.lower_loss(&x, &y, &inputs())).read();
    let value = oracle.value(Objective::Lower, at).read();
    assert!((value - inference).abs() > 0.1, "{value} {inference}");
}

#[test]
fn a_module_without_trainable_parameters_is_refused() {
    let device = device();
    let data = || FullBatch { upper: vector(&X, &device), lower: vector(&X, &device) };
    for frozen in [Variable::X, Variable::Y] {
        let module = |variable| {
            let module = upper_module(&device);
            if variable == frozen { module.no_grad() } else { module }
        };
        let (x, y) = (module(Variable::X), module(Variable::Y));
        let error = AutodiffOracle::new(Refused::NotFinite, &x, &y, data()).map(drop).unwrap_err();
        assert_eq!(error, Error::NoVariables { variable: frozen });
    }
    // An optimiser that would move nothing.
    let sgd = burn::optim::SgdConfig::new().build();
    let error = BurnOptimizer::new(sgd, &upper_module(&device).no_grad(), 0.1).err().unwrap();
    assert_eq!(error, Error::NoVariables { variable: Variable::X });
}

/// The scale of a fit, by a parameter that occurs at two places: `f = (y - a b)^2 / 2` with `a = b`.
struct Tied;

impl BilevelProblem for Tied {
    type Upper = Vec<Values>;
    type Lower = Values;
    type Batch = ();

    fn upper_loss(&self, _: &Vec<Values>, y: &Values, (): &()) -> Tensor<1> {
        (y.values.val() - 0.5).powi_scalar(2).sum() / 2
    }

    fn lower_loss(&self, x: &Vec<Values>, y: &Values, (): &()) -> Tensor<1> {
        let product = x[0].values.val() * x[1].values.val();
        (y.values.val() - product).powi_scalar(2).sum() / 2
    }
}

#[test]
fn an_optimiser_moves_a_parameter_at_all_its_places() {
    let one = upper_module(&device());
    let tied = || vec![one.clone(), one.clone()];
    let y = Values::new(&[0.0; FEATURES], &device());
    let oracle =
        AutodiffOracle::new(Tied, &tied(), &y, FullBatch { upper: (), lower: () }).unwrap();
    assert_eq!(oracle.upper_layout().size(), FEATURES);
    let sgd = || burn::optim::SgdConfig::new().build();
    let momentum = || {
        let config = burn::optim::momentum::MomentumConfig::new().with_dampening(0.0);
        burn::optim::SgdConfig::new().with_momentum(Some(config.with_momentum(0.9))).build()
    };
    let adam = || burn::optim::AdamConfig::new().with_epsilon(1e-5).build();
    let rate = 0.1;
    let steps: [&dyn Fn() -> Box<dyn UpperStep>; 4] = [
        &|| Box::new(GradientStep::new(rate).unwrap()),
        &|| Box::new(BurnOptimizer::new(sgd(), &tied(), rate).unwrap()),
        &|| Box::new(BurnOptimizer::new(momentum(), &tied(), rate).unwrap()),
        &|| Box::new(BurnOptimizer::new(adam(), &tied(), rate).unwrap()),
    ];
    // y = x^2 after one step of 1, so that dF/dx = 2 x (x^2 - 1/2).
    let slope = |x: f64| 2.0 * x * (x * x - 0.5);
    let expected = |rule: usize| {
        X.map(|x| {
            let (mut x, mut m, mut v) = (x.clamp(-1.5, 1.5), 0.0, 0.0);
            for k in 1..=3 {
                let g = slope(x);
                let moved = match rule {
                    0 | 1 => g,
                    2 => {
                        m = 0.9 * m + g;
                        m
                    }
                    _ => {
                        m = 0.9 * m + 0.1 * g;
                        v = 0.999 * v + 0.001 * g * g;
                        let root = (v / (1.0 - 0.999_f64.powi(k))).sqrt();
                        m / (1.0 - 0.9_f64.powi(k)) / (root + 1e-5)
                    }
                };
                x = (x - rate * moved).clamp(-1.5, 1.5);
            }
            x
        })
    };
    for (rule, step) in steps.iter().enumerate() {
        let new = || {
            let method = Unrolled::rad(descent(Gd::new(1.0), 1));
            let (x, y) = (oracle.upper_start(), oracle.lower_start());
            HypergradientSolver::new(&oracle, method, step(), x, y)
                .with_projection(Bounds::new(-1.5, 1.5).unwrap())
        };
        let mut solver = new();
        solver.step(0).unwrap();
        solver.step(1).unwrap();
        // Its memory is that of one parameter too.
        let mut again = new();
        again.restore(solver.save()).unwrap();
        solver.step(2).unwrap();
        again.step(2).unwrap();
        assert_close("x", &solver.x().to_vec(), &expected(rule), 1e-5);
        assert_eq!(again.x().to_vec(), solver.x().to_vec(), "rule {rule}");
        let modules = oracle.upper_module(solver.x());
        for module in modules {
            let values: Vec<f64> = module.values.val().into_data().iter().collect();
            assert_eq!(values, solver.x().to_vec(), "rule {rule}, at both places");
        }
    }
}

#[test]
fn an_optimiser_of_another_module_is_refused() {
    let device = device();
    let oracle = penalties(Fit::Squares, &device);
    let others = [Values::new(&[0.0; 3], &device), Values::new(&[0.0; FEATURES], &device)];
    for (other, fits) in [(&others[0], false), (&others[1], true)] {
        let sgd = burn::optim::SgdConfig::new().build();
        let upper = BurnOptimizer::new(sgd, other, 0.1).unwrap();
        let rad = Unrolled::rad(descent(Gd::new(0.5), 2));
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let boxed: Box<dyn UpperStep> = Box::new(upper);
        let before = oracle.cost();
        let stepped = HypergradientSolver::new(&oracle, rad, boxed, x, y).step(0);
        assert_eq!(stepped.is_ok(), fits);
        if let Err(error) = stepped {
            assert!(matches!(error, Error::UpperVariable { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains("[5]") && text.contains("[3]"), "{text}");
            assert!(text.contains("build the optimiser on the module"), "{text}");
            assert_eq!(oracle.cost(), before, "before anything runs");
        }
    }
}

#[test]
fn several_element_types_are_refused_where_the_oracle_is_built() {
    let device = device();
    let single = |values: &[f64]| {
        let tensor = vector(values, &device).cast(burn::tensor::DType::F32);
        Values { values: burn::module::Param::from_tensor(tensor) }
    };
    let double = |values: &[f64]| Values::new(values, &device);
    let target = || vector(&[0.0; FEATURES], &device);
    let data = |of: &dyn Fn() -> Tensor<1>| FullBatch { upper: of(), lower: of() };
    let new = |x: &Values, y: &Values, data| {
        AutodiffOracle::new(Pulled, x, y, data).map(drop).unwrap_err().to_string()
    };
    let text = new(&single(&X), &double(&X), data(&target));
    assert!(text.contains("`y.values` has the element type F64, `x.values` has F32"), "{text}");
    assert!(text.contains("cast the parameters to one element type"), "{text}");
    let text = new(&double(&X), &single(&X), data(&target));
    assert!(text.contains("`y.values` has the element type F32"), "{text}");
    // Data in another element type than the parameters.
    let text = new(&single(&X), &single(&X), data(&target));
    assert!(text.contains("F32 and F64") && text.contains("pass the batch"), "{text}");
    let mixed = vec![double(&X), single(&X)];
    let y = double(&X);
    let text = AutodiffOracle::new(Tied, &mixed, &y, FullBatch { upper: (), lower: () })
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(text.contains("`x.1.values` has the element type F32, `x.0.values` has F64"), "{text}");
}

/// `f = sum (y - x - batch)^2`.
struct Pulled;

impl BilevelProblem for Pulled {
    type Upper = Values;
    type Lower = Values;
    type Batch = Tensor<1>;

    fn upper_loss(&self, x: &Values, y: &Values, batch: &Tensor<1>) -> Tensor<1> {
        self.lower_loss(x, y, batch)
    }

    fn lower_loss(&self, x: &Values, y: &Values, batch: &Tensor<1>) -> Tensor<1> {
        (y.values.val() - x.values.val() - batch.clone()).powi_scalar(2).sum()
    }
}

/// A lower loss with dropout.
struct Dropped;

impl BilevelProblem for Dropped {
    type Upper = Values;
    type Lower = Values;
    type Batch = ();

    fn upper_loss(&self, _: &Values, y: &Values, (): &()) -> Tensor<1> {
        y.values.val().powi_scalar(2).sum()
    }

    fn lower_loss(&self, x: &Values, y: &Values, (): &()) -> Tensor<1> {
        let dropout = burn::nn::DropoutConfig::new(0.5).init();
        (dropout.forward(y.values.val()) - x.values.val()).powi_scalar(2).sum()
    }
}

#[test]
fn a_random_lower_loss_is_refused_with_its_cure() {
    let (x, y) = (upper_module(&device()), upper_module(&device()));
    let error = AutodiffOracle::new(Dropped, &x, &y, FullBatch { upper: (), lower: () });
    let text = error.map(drop).unwrap_err().to_string();
    assert!(
        text.starts_with("the lower loss: ") && text.contains("draws random numbers"),
        "{text}"
    );
    assert!(text.contains("pass them in the batch") && text.contains("dropout"), "{text}");
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
    assert_eq!(error, Error::NotScalar { objective: Objective::Lower, found: vec![FEATURES] });
    let error = new(Refused::Reads);
    assert!(matches!(error, Error::Trace { .. }), "{error}");
    assert!(error.to_string().starts_with("the lower loss: "), "{error}");
    let error = new(Refused::NotFinite);
    assert!(
        matches!(error, Error::NotFiniteAtStart { objective: Objective::Lower, .. }),
        "{error}"
    );
}

#[test]
#[should_panic(expected = "x is a vector of another module")]
fn a_point_of_another_module_is_refused() {
    let device = device();
    let oracle = penalties(Fit::Squares, &device);
    let (other, y) = (penalties(Fit::Squares, &device).upper_start(), oracle.lower_start());
    oracle.value(Objective::Upper, Point { x: &other, y: &y, sample: Sample(0) });
}
