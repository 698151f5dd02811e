//! What single precision must not change, on flex.

use bilevel_core::linear::{Cg, LinearSolver, LinearStatus, NormalCg, Operator, System};
use bilevel_core::{
    Ball, Descent, Dynamics, FixedPoint, Gd, HypergradientMethod, Implicit, Lbfgs, LowerProblem,
    Proximal, Samples, Status, WeightDecay,
};
use bilevel_program::{Layout, Vector};
use burn::module::Param;
use burn::nn::LinearConfig;
use burn::tensor::{DType, Device, Tensor};

fn device() -> Device {
    Device::flex()
}

#[expect(dead_code, reason = "the answers are for double precision")]
mod common;
#[path = "common/parallel.rs"]
mod parallel;
#[path = "common/resume.rs"]
mod resume;

#[test]
fn normal_cg_finds_a_system_without_solution() {
    let module = LinearConfig::new(4, 1).with_bias(false).init(&device());
    let layout = Layout::of(&module);
    let point = |values: &[f64]| Vector::from_slice(&layout, values, &device());
    // `P diag(scale) P`, P the projection on what u is orthogonal to.
    let (u, scale) = ([0.3, -0.7, 1.1, 0.4], [0.5, 0.9, 1.3, 1.7]);
    let square: f64 = u.iter().map(|u| u * u).sum();
    let project = |v: &[f64]| -> Vec<f64> {
        let along = v.iter().zip(u).map(|(v, u)| v * u).sum::<f64>() / square;
        v.iter().zip(u).map(|(v, u)| v - along * u).collect()
    };
    let product = |v: &Vector| {
        let scaled: Vec<_> = project(&v.to_vec()).iter().zip(scale).map(|(v, s)| v * s).collect();
        point(&project(&scaled))
    };
    let operator = Operator::symmetric(&product);
    let rhs = point(&[1.0, 0.2, 0.5, -0.6]);
    let found = NormalCg::new(500, 1e-6).unwrap().solve(&System::new(&operator, &rhs)).unwrap();
    assert_eq!(found.status, LinearStatus::Singular, "residual {:?}", found.residual);
    assert!(found.products < 50, "{}", found.products);
}

/// Squares of its right-hand side leave the range of f16.
#[test]
fn cg_in_half_precision_ended_at_0() {
    let module = Param::from_tensor(Tensor::<1>::zeros([2000], &device()).cast(DType::F16));
    let layout = Layout::of(&module);
    let rhs = Vector::from_slice(&layout, &[100.0; 2000], &device());
    let product = |v: &Vector| v.scale(2.0);
    let operator = Operator::symmetric(&product);
    let found = Cg::new(20, 1e-2).unwrap().solve(&System::new(&operator, &rhs)).unwrap();
    assert_eq!(found.status, LinearStatus::Converged, "residual {:?}", found.residual);
    assert!(found.q.to_vec().iter().all(|q| (q - 50.0).abs() < 0.5), "{:?}", found.q.to_vec());
}

#[test]
fn the_solution_of_f_was_taken_for_that_with_a_small_decay() {
    let oracle = common::penalties(common::Fit::Squares, &device());
    let (x, start) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let lbfgs = || Lbfgs::new(200, 1e-6).unwrap();
    let gd = || Gd::new(0.03).unwrap();
    let decay = WeightDecay::new(gd(), 1e-2).unwrap();
    let maps: [(Box<dyn Dynamics>, bool); 2] = [(Box::new(gd()), false), (Box::new(decay), true)];
    for (map, other) in maps {
        let mut method = FixedPoint::minimised(lbfgs(), map, 4000, 1e-4).unwrap();
        let status = method.hypergradient(problem, &start).unwrap().status;
        assert_eq!(matches!(status, Status::NotFixedPoint { .. }), other, "{status}");
    }
    // By steps: with a decay below the root of the roundoff too.
    for weight in [None, Some(1e-2), Some(1e-4), Some(1e-5)] {
        let steps: Box<dyn Dynamics> = match weight {
            None => Box::new(Gd::new(0.3).unwrap()),
            Some(weight) => Box::new(WeightDecay::new(Gd::new(0.3).unwrap(), weight).unwrap()),
        };
        let lower = Descent::new(steps, 400).unwrap();
        let mut method = Implicit::new(lower, Cg::new(50, 1e-4).unwrap());
        let status = method.hypergradient(problem, &start).unwrap().status;
        let told = matches!(status, Status::Composite { .. });
        assert_eq!((told, status.is_ok()), (weight.is_some(), weight.is_none()), "{status}");
    }
    let mut method = Implicit::new(lbfgs(), Cg::new(50, 1e-4).unwrap());
    let status = method.hypergradient(problem, &start).unwrap().status;
    assert!(!matches!(status, Status::Composite { .. }), "{status}");
}

#[test]
fn a_ball_holds_numbers_whose_squares_leave_the_range() {
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let module = Param::from_tensor(Tensor::<1>::zeros([4], &device()).cast(dtype));
        let layout = Layout::of(&module);
        let point = |values: [f64; 4]| Vector::from_slice(&layout, &values, &device());
        let large = if dtype == DType::F16 { 3e4 } else { 1e30 };
        let ball = Ball::new(10.0).unwrap();
        let y = point([large; 4]);
        for found in ball.apply(&y).to_vec() {
            assert!((found - 5.0).abs() < 0.05, "{dtype:?}: {found}");
        }
        // Along the point nothing moves, across it the step is scaled.
        for found in ball.derivative(&y, &point([1.0; 4])).to_vec() {
            assert!(found.abs() < 0.01, "{dtype:?}: {found}");
        }
        let scale = 5.0 / large;
        let across = point([large, -large, large, -large]);
        for found in ball.derivative(&y, &across).to_vec() {
            assert!((found.abs() - scale * large).abs() < 0.1, "{dtype:?}: {found}");
        }
    }
}
