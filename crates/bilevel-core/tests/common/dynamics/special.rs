//! Properties of single dynamics.

use std::sync::Arc;

use bilevel_core::lower::{State, Update};
use bilevel_core::*;
use bilevel_program::{Layout, Vector};
use burn::module::Param;
use burn::tensor::{Tensor, TensorData};

use super::tuning::*;
use crate::common::*;
use crate::device;

/// y after this many steps, from the start of `oracle`.
pub fn end(oracle: &TuningOracle, x: &Vector, dynamics: &dyn Dynamics, steps: usize) -> Vec<f64> {
    let problem = LowerProblem::new(oracle, x, Samples::default());
    let start = dynamics.start(&oracle.lower_start());
    (0..steps).fold(start, |state, t| advance(&problem, dynamics, t, &state)).y.to_vec()
}

#[test]
fn an_upper_weight_of_zero_is_gd() {
    let oracle = tuning(Fit::Logistic, false);
    let oracle = Counted::new(oracle);
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    for weight in [Weight::Constant(0.0), Weight::Decaying(0.0)] {
        let none = Aggregated::new(0.7, 0.3, weight).unwrap();
        let gd = Gd::new(0.3).unwrap();
        assert_eq!(end(&oracle, &x, &none, 9), end(&oracle, &x, &gd, 9));
        let before = oracle.cost();
        let mut rad = Unrolled::rad(Descent::new(none, 9).unwrap());
        let problem = LowerProblem::new(&oracle, &x, Samples::default());
        let found = rad.hypergradient(problem, &y).unwrap().gradient.to_vec();
        let spent = oracle.cost() - before;
        assert_eq!((spent.upper_gradients, spent.upper_products), (1, 0));
        let mut rad = Unrolled::rad(Descent::new(gd, 9).unwrap());
        let expected = rad.hypergradient(problem, &y).unwrap().gradient.to_vec();
        assert_close("a = 0", &found, &expected, 1e-13);
    }
    assert_eq!([0, 1, 4].map(|t| Weight::Decaying(0.5).at(t)), [0.5, 0.25, 0.1]);
    // Theorem 2 of BDA: 2 g / (1 - b) above 1.
    let capped = Weight::Capped { c: 4.0, most: 0.9 };
    assert_eq!([0, 3, 7].map(|t| capped.at(t)), [0.9, 0.9, 0.5]);
}

#[test]
fn nesterov_extrapolates_by_its_sequence() {
    let (printed, standard) = (Nesterov::new(0.1).unwrap(), Nesterov::standard(0.1).unwrap());
    assert_eq!([0, 1].map(|k| printed.extrapolation(k)), [0.0, 0.0]);
    assert_eq!([0, 1].map(|k| standard.extrapolation(k)), [0.0, 0.0]);
    // t_1 = (1 + sqrt 2) / 2, t_2 = (1 + sqrt(1 + t_1^2)) / 2; and t_1 = (1 + sqrt 5) / 2.
    let t = (1.0 + 2.0_f64.sqrt()) / 2.0;
    let expected = (t - 1.0) / ((1.0 + (1.0 + t * t).sqrt()) / 2.0);
    assert_eq!(printed.extrapolation(2), expected);
    let golden = (1.0 + 5.0_f64.sqrt()) / 2.0;
    let expected = (golden - 1.0) / ((1.0 + (1.0 + 4.0 * golden * golden).sqrt()) / 2.0);
    assert_eq!(standard.extrapolation(2), expected);
    assert!((printed.extrapolation(99) - 0.25).abs() < 1e-12);
    assert!((standard.extrapolation(999) - (1.0 - 3.0 / 999.0)).abs() < 1e-4);
}

#[test]
fn adam_has_a_derivative_where_the_gradient_is_zero() {
    let y = tuning(Fit::Squares, false).lower_start();
    let adam = Adam::new(0.1).unwrap().with_epsilon(1e-4).unwrap();
    let state = adam.start(&y);
    let zero = || y.zeros_like();
    let at = Update::new(0, &y, &state, &zero);
    let lambda = State { y: random(&y, 5), memory: state.memory.clone() };
    let found = Dynamics::adjoint(&adam, &at, lambda.clone()).gradient.to_vec();
    // y' = y - s g / sqrt(g^2 + eps) in the first step.
    assert_close("at g = 0", &found, &lambda.y.scale(-0.1 / 1e-2).to_vec(), 1e-12);
    assert_eq!(adam.step(&at).y.to_vec(), y.to_vec());
}

#[test]
fn a_t_net_is_gd_and_its_step_is_preconditioned_by_its_layer() {
    let oracle = tuning(Fit::Squares, true);
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let gd = || Gd::new(0.3).unwrap();
    let warp = x.layout().leaves().iter().position(|leaf| leaf.path == "warp").unwrap();

    // The hypergradient in the layer, against differences.
    let along = only(&random(&x, 61), warp);
    let descent = Descent::new(gd(), 4).unwrap();
    let value = |x: &Vector| {
        let problem = LowerProblem::new(&oracle, x, Samples::default());
        problem.value(Objective::Upper, &descent.run(&problem, &y).unwrap().state.y).read()
    };
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let mut rad = Unrolled::rad(Descent::new(gd(), 4).unwrap());
    let found = rad.hypergradient(problem, &y).unwrap().gradient.dot(&along);
    let expected = slope(|h| value(&x.axpy(h, &along)));
    assert_close("warp", &[found], &[expected], 1e-8);

    // V = W T moves like V by gd with the preconditioner R = T'T.
    let product = |a: &[f64], b: [f64; 4]| -> Vec<f64> {
        let row = |r: &[f64]| [r[0] * b[0] + r[1] * b[2], r[0] * b[1] + r[1] * b[3]];
        a.chunks(2).flat_map(row).collect()
    };
    let read = |v: &Vector, at: usize| {
        let sizes = |at: usize| v.layout().leaves()[at].shape.num_elements();
        let from: usize = (0..at).map(sizes).sum();
        v.to_vec()[from..from + sizes(at)].to_vec()
    };
    let t: [f64; 4] = read(&x, warp).try_into().unwrap();
    let gram = product(&[t[0], t[2], t[1], t[3]], t);
    let weights = FEATURES * FEATURES_OUT;
    let effective = |y: &[f64]| [product(&y[..weights], t), y[weights..].to_vec()].concat();
    let expected = effective(&end(&oracle, &x, &gd(), 5));

    let mut plain = x.to_vec();
    let size = plain.len();
    let identity = |n: usize| (0..n * n).map(move |i| f64::from(i % (n + 1) == 0));
    // x ends with L, R and T.
    plain.truncate(size - FEATURES * FEATURES - 8);
    plain.extend(identity(FEATURES).chain(gram).chain(identity(2)));
    let plain = Vector::from_slice(x.layout(), &plain, &x.device());
    let kronecker = Preconditioned::new(gd(), Kronecker::new("curvature"));
    let problem = LowerProblem::new(&oracle, &plain, Samples::default());
    let start = Vector::from_slice(y.layout(), &effective(&y.to_vec()), &y.device());
    let start = Dynamics::start(&kronecker, &start);
    let found = (0..5).fold(start, |state, t| advance(&problem, &kronecker, t, &state));
    assert_close("V", &found.y.to_vec(), &expected, 1e-12);
}

/// Meta-Curvature's third factor: its derivatives against each other and against differences.
#[test]
fn kronecker_takes_the_windows_of_convolutions() {
    let tensor = |shape: Vec<usize>, seed| {
        let n = shape.iter().product();
        TensorData::new(numbers(seed, n), shape)
    };
    let kernel = Param::<Tensor<4>>::from_data(tensor(vec![3, 2, 2, 2], 1), &device());
    let lower = Layout::of(&kernel);
    let sides = Kronecker::factors_of(&lower);
    assert_eq!(sides, [3, 2, 4]);
    let square = |n: usize| Param::<Tensor<2>>::from_data(tensor(vec![n, n], n as u64), &device());
    let factors: Vec<_> = sides.into_iter().map(square).collect();
    let upper = Layout::of(&factors);
    let map = Kronecker::new("");
    Preconditioner::check(&map, &upper, &lower).unwrap();
    let x = Vector::from_module(&upper, &factors);
    let like = |layout: &Arc<Layout>, seed| {
        Vector::from_slice(layout, &numbers(seed, layout.size()), &device())
    };
    let (g, lambda, dx) = (like(&lower, 5), like(&lower, 6), like(&upper, 7));
    let dot = |a: &Vector, b: &Vector| -> f64 {
        a.to_vec().iter().zip(b.to_vec()).map(|(a, b)| a * b).sum()
    };
    let applied = |x: &Vector| dot(&lambda, &map.apply(x, &g));
    assert_close("P'", &[dot(&map.transpose(&x, &lambda), &g)], &[applied(&x)], 1e-12);
    let adjoint = map.adjoint(&x, &g, &lambda);
    let along = dot(&lambda, &map.tangent(&x, &dx, &g));
    assert_close("tangent", &[along], &[dot(&adjoint, &dx)], 1e-12);
    let value = |x: &[f64]| applied(&Vector::from_slice(&upper, x, &device()));
    assert_close("adjoint", &adjoint.to_vec(), &five_point(&x.to_vec(), value), 1e-8);
}

#[test]
fn variables_that_x_does_not_have_are_refused_before_anything_runs() {
    let oracle = tuning(Fit::Squares, false);
    let oracle = Counted::new(oracle);
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let gd = || Gd::new(0.3).unwrap();
    let wrong: Vec<Box<dyn Dynamics>> = vec![
        Box::new(Gd::new(Coefficient::exp("speed")).unwrap()),
        Box::new(Gd::new(Coefficient::exp("penalties")).unwrap()),
        Box::new(Momentum::new(0.1, Coefficient::sigmoid("rates")).unwrap()),
        Box::new(Nesterov::new(Coefficient::exp("factors")).unwrap()),
        Box::new(Adam::new(Coefficient::exp("")).unwrap()),
        Box::new(Projected::new(
            Gd::new(Coefficient::exp("speed")).unwrap(),
            Ball::new(1.0).unwrap(),
        )),
        Box::new(Projected::new(gd(), SoftThreshold::new(Coefficient::exp("weight")).unwrap())),
        Box::new(Preconditioned::new(gd(), Diagonal::new("factor"))),
        Box::new(Preconditioned::new(gd(), Diagonal::new("curvature"))),
        Box::new(Preconditioned::new(gd(), Kronecker::new("factors"))),
        Box::new(Preconditioned::new(
            Gd::new(Coefficient::exp("speed")).unwrap(),
            Diagonal::new("factors"),
        )),
    ];
    let before = oracle.cost();
    for dynamics in wrong {
        let name = dynamics.describe();
        let mut rad = Unrolled::rad(Descent::new(dynamics, 2).unwrap());
        let error = rad.hypergradient(problem, &y).unwrap_err();
        assert!(matches!(error, Error::UpperVariable { .. }), "{name}: {error}");
    }
    assert_eq!(oracle.cost(), before);
    let error = Dynamics::check(&Gd::new(Coefficient::exp("penalties")).unwrap(), &x, &y);
    assert_eq!(
        error.unwrap_err().to_string(),
        "lower step size: the upper variable has `penalties` of shape [5], expected a variable \
         `penalties` of shape [1]: name a variable that x has, or give the upper module this parameter"
    );
    for refused in [
        Gd::new(0.0).is_err(),
        Gd::new(f64::NAN).is_err(),
        Momentum::new(0.1, 1.0).is_err(),
        Adam::new(0.1).unwrap().with_decay(0.9, 1.0).is_err(),
        Adam::new(0.1).unwrap().with_epsilon(0.0).is_err(),
        Aggregated::new(0.0, 0.1, Weight::Constant(0.5)).is_err(),
        Aggregated::new(0.1, 0.1, Weight::Decaying(1.1)).is_err(),
        Aggregated::new(0.1, 0.1, Weight::Capped { c: 4.0, most: 1.1 }).is_err(),
        Simplex::each(0.0).is_err(),
        SoftThreshold::new(-1.0).is_err(),
        SoftThreshold::new(1.0).unwrap().times(0.0).is_err(),
        Adam::new(0.1).unwrap().with_epsilon_outside(0.0).is_err(),
        RmsProp::new(0.1).unwrap().with_epsilon_outside(-1.0).is_err(),
    ] {
        assert!(refused);
    }
}

#[test]
fn costs_are_what_the_documentation_says() {
    let oracle = tuning(Fit::Logistic, false);
    let oracle = Counted::new(oracle);
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let steps = 5;
    let gd = || Gd::new(0.3).unwrap();
    let adam = || Adam::new(0.1).unwrap();
    // The gradients of f that a backward step costs, and the products of F.
    let table: [(Box<dyn Dynamics>, u64, u64); 10] = [
        (Box::new(gd()), 0, 0),
        (Box::new(Gd::new(Coefficient::exp("rate")).unwrap()), 1, 0),
        (Box::new(Momentum::new(0.1, 0.9).unwrap()), 0, 0),
        (Box::new(Nesterov::new(0.1).unwrap()), 0, 0),
        (Box::new(adam()), 1, 0),
        (Box::new(RmsProp::new(0.1).unwrap()), 1, 0),
        (Box::new(Projected::new(adam(), Ball::new(1.0).unwrap())), 1, 0),
        (Box::new(Preconditioned::new(gd(), Diagonal::new("factors"))), 1, 0),
        (Box::new(Preconditioned::new(adam(), Kronecker::new("curvature"))), 1, 0),
        (Box::new(Aggregated::new(0.1, 0.1, Weight::Constant(0.5)).unwrap()), 0, 1),
    ];
    for (dynamics, gradients, upper) in table {
        let name = dynamics.describe();
        let before = oracle.cost();
        let mut rad = Unrolled::rad(Descent::new(dynamics, steps).unwrap());
        rad.hypergradient(problem, &y).unwrap();
        let steps = steps as u64;
        let expected = Cost {
            lower_values: 1,
            lower_gradients: steps * (1 + gradients),
            lower_products: steps,
            upper_gradients: 1 + steps * upper,
            upper_products: steps * upper,
            ..Cost::default()
        };
        assert_eq!(oracle.cost() - before, expected, "{name}");
    }
}

#[test]
fn a_rise_of_f_is_a_warning_where_f_is_descended() {
    let oracle = tuning(Fit::Squares, false);
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let solution = Descent::new(Gd::new(0.3).unwrap(), 300).unwrap().run(&problem, &y).unwrap();
    let up = || Aggregated::pessimistic(2.0, 1e-3, Weight::Constant(0.9)).unwrap();
    let boxed: Box<dyn Dynamics> = Box::new(up());
    let small = Ball::new(0.1).unwrap();
    // Gradient descent stays at a solution, whatever its step size.
    let table: [(Box<dyn Dynamics>, bool); 5] = [
        (Box::new(up()), false),
        (Box::new(boxed), false),
        (Box::new(Preconditioned::new(up(), Diagonal::new("factors"))), false),
        (Box::new(Projected::new(Gd::new(0.3).unwrap(), small)), false),
        (Box::new(Gd::new(30.0).unwrap()), true),
    ];
    for (dynamics, expected) in table {
        let name = dynamics.describe();
        let mut rad = Unrolled::rad(Descent::new(dynamics, 3).unwrap());
        let start = if expected { &y } else { &solution.state.y };
        let found = rad.hypergradient(problem, start).unwrap();
        assert!(found.lower_loss > 1.01 * problem.value(Objective::Lower, start).read(), "{name}");
        assert_eq!(matches!(found.status, Status::NoDescent { .. }), expected, "{name}");
    }
}
