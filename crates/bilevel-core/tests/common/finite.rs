//! Numbers that are not finite are reported with their cause.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bilevel_core::*;
use bilevel_program::Vector;
use burn::tensor::Tensor;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::common::*;
use crate::device;

/// Losses with a derivative that is infinite at 0.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sharp {
    /// `f = sum |y - x|^1.5`, whose gradient is 0 where its second derivatives are infinite.
    Power,
    /// `f = norm(y - x)`, whose gradient is 0 / 0.
    Norm,
    /// `F = sum sqrt(|y - x|)`, and f a square.
    UpperRoot,
    /// `f = log(1 - sum |y - x|)`.
    Undefined,
    /// `f = sum (|y|^1.5 - (x + 1) y)`, which leads away from where its second derivative in y is infinite.
    Start,
    /// `f = sum (y - x)^2`, with nothing wrong.
    Square,
}

impl BilevelProblem for Sharp {
    type Upper = Values;
    type Lower = Values;
    type Batch = ();

    fn upper_loss(&self, x: &Values, y: &Values, (): &()) -> Tensor<1> {
        match self {
            Self::UpperRoot => (y.values.val() - x.values.val()).abs().sqrt().sum(),
            _ => (y.values.val() - 1.0).powi_scalar(2).sum(),
        }
    }

    fn lower_loss(&self, x: &Values, y: &Values, (): &()) -> Tensor<1> {
        let apart = y.values.val() - x.values.val();
        match self {
            Self::Power => apart.abs().powf_scalar(1.5).sum(),
            Self::Start => {
                let y = y.values.val();
                (y.clone().abs().powf_scalar(1.5) - (x.values.val() + 1.0) * y).sum()
            }
            Self::Norm => apart.powi_scalar(2).sum().sqrt(),
            Self::UpperRoot | Self::Square => apart.powi_scalar(2).sum(),
            Self::Undefined => (-apart.abs().sum() + 1.0).log(),
        }
    }
}

fn sharp(problem: Sharp) -> AutodiffOracle<Sharp, FullBatch<()>> {
    let values = || Values::new(&[0.0; 2], &device());
    AutodiffOracle::new(problem, &values(), &values(), FullBatch { upper: (), lower: () }).unwrap()
}

type Named = (&'static str, Box<dyn HypergradientMethod>);

fn methods() -> Vec<Named> {
    let gd = || descent(Gd::new(0.1), 3);
    let cg = || Cg::new(5, 1e-9).unwrap();
    vec![
        ("rad", Box::new(Unrolled::rad(gd()))),
        ("fad", Box::new(Fad::new(gd()))),
        ("trad", Box::new(Unrolled::trad(gd(), 2).unwrap())),
        ("one-stage", Box::new(OneStage::new(Gd::new(0.1).unwrap()))),
        ("ia-gm", Box::new(Unrolled::ia_gm(gd()))),
        ("iaptt", Box::new(Iaptt::new(gd()))),
        ("rtho", Box::new(OnlineFad::new(gd()))),
        ("cg", Box::new(Implicit::new(gd(), cg()))),
        ("identity", Box::new(Implicit::new(gd(), Identity))),
        ("dense", Box::new(Implicit::new(gd(), Dense::new()))),
        ("fixed-point", Box::new(FixedPoint::new(gd(), 5, 1e-9).unwrap())),
        ("rad in a box", {
            let boxed: Box<dyn HypergradientMethod> = Box::new(Unrolled::rad(gd()));
            Box::new(boxed)
        }),
    ]
}

#[test]
fn an_infinite_second_derivative_is_named_by_every_method() {
    for (name, mut method) in methods() {
        let oracle = sharp(Sharp::Power);
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let found =
            method.hypergradient(LowerProblem::new(&oracle, &x, Samples::default()), &y).unwrap();
        assert!(!found.gradient.all_finite(), "{name}: the problem is one");
        let cause = Infinite { loss: Objective::Lower, order: 2, of: Variable::Y, variable: 0 };
        assert_eq!(found.status, Status::NotFinite { cause: Some(cause) }, "{name}");
        assert!(!found.status.is_ok());
        let text = found.status.to_string();
        assert!(text.contains("second derivative of the lower loss"), "{name}: {text}");
        assert!(text.contains("variable 0 of y") && text.contains("smooth the loss"), "{text}");

        let upper = GradientStep::new(0.1).unwrap();
        let mut solver = HypergradientSolver::new(&oracle, method, upper, x, y);
        let error = solver.step(0).unwrap_err();
        assert!(matches!(error, Error::HypergradientNotFinite { step: 1, .. }), "{name}: {error}");
        let text = error.to_string();
        assert!(text.contains("`values` of y") && !text.contains("step size"), "{name}: {text}");
    }
}

#[test]
fn an_infinite_derivative_is_found_at_either_end_and_in_the_gradient_of_the_start() {
    let infinite = |loss, order| Infinite { loss, order, of: Variable::Y, variable: 0 };
    let rows = [
        // The hypergradient in x is finite, and that in the start is not.
        (Sharp::Start, 0.0, 0.1, infinite(Objective::Lower, 2)),
        // The step ends where F has no gradient.
        (Sharp::UpperRoot, 1.0, 0.5, infinite(Objective::Upper, 1)),
    ];
    for (problem, start, step, cause) in rows {
        let oracle = sharp(problem);
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let y = Vector::from_slice(y.layout(), &[start; 2], &device());
        let mut method = Unrolled::ia_gm(descent(Gd::new(step), 1));
        let problem_at = LowerProblem::new(&oracle, &x, Samples::default());
        let found = method.hypergradient(problem_at, &y).unwrap();
        assert_eq!(found.gradient.all_finite(), problem == Sharp::Start, "{problem:?}");
        assert!(!found.start.unwrap().all_finite(), "{problem:?}");
        assert_eq!(found.status, Status::NotFinite { cause: Some(cause) }, "{problem:?}");
    }
}

#[test]
fn a_climb_is_a_rise_by_more_than_a_thousandth() {
    let oracle = sharp(Sharp::Square);
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let y = Vector::from_slice(y.layout(), &[0.7; 2], &device());
    // `f' = (1 - 2 s)^2 f`
    for (step, climbs) in [(1.1, true), (1.001, true), (1.0001, false), (0.9, false)] {
        let mut rad = Unrolled::rad(descent(Gd::new(step), 1));
        let problem = LowerProblem::new(&oracle, &x, Samples::default());
        let status = rad.hypergradient(problem, &y).unwrap().status;
        let named = matches!(status, Status::NoDescent { .. });
        assert_eq!(named, climbs, "step size {step}: {status}");
    }
}

#[test]
fn an_infinite_first_derivative_is_named() {
    let oracle = sharp(Sharp::UpperRoot);
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let mut rad = Unrolled::rad(descent(Gd::new(0.1), 3));
    let found = rad.hypergradient(LowerProblem::new(&oracle, &x, Samples::default()), &y).unwrap();
    let Status::NotFinite { cause: Some(cause) } = found.status else { panic!("{}", found.status) };
    assert_eq!((cause.loss, cause.order), (Objective::Upper, 1));
    assert!(found.status.to_string().contains("first derivative of the upper loss"));
}

#[test]
fn what_is_not_finite_before_the_first_step_is_no_matter_of_the_step_size() {
    for (sharpness, y) in [(Sharp::Norm, 0.0), (Sharp::Undefined, 2.0)] {
        for (name, mut method) in methods() {
            let oracle = sharp(sharpness);
            let x = oracle.upper_start();
            let start = oracle.lower_start();
            let start = Vector::from_slice(start.layout(), &[y; 2], &device());
            let problem = LowerProblem::new(&oracle, &x, Samples::default());
            let error = method.hypergradient(problem, &start).unwrap_err();
            let named = matches!(error, Error::LowerDiverged { step: 0, .. });
            assert!(named, "{sharpness:?}, {name}: {error}");
            let text = error.to_string();
            assert!(!text.contains("step size:") && !text.contains("reduce"), "{text}");
            assert!(text.contains("at the start") && text.contains("look for NaN"), "{text}");
        }
    }
}

/// The hypergradient of a few steps from where `f = sum (y - x)^2` is at rest.
fn at_rest(method: &mut dyn HypergradientMethod, start: f64) -> Vec<f64> {
    let oracle = sharp(Sharp::Square);
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let y = Vector::from_slice(y.layout(), &[start; 2], &device());
    let found =
        method.hypergradient(LowerProblem::new(&oracle, &x, Samples::default()), &y).unwrap();
    found.gradient.to_vec()
}

#[test]
fn the_slope_of_adaptive_steps_at_rest_is_what_eps_says() {
    let s = 0.1;
    // y' = y - s g r(g) with g = 2 (y - x), and F_y = -2.
    let slopes = |r: f64| [-2.0 * s * 2.0 * r; 2];
    let adam = || Adam::new(s).unwrap();
    // Its first moment starts with (1 - b1) g, and its correction takes that back.
    let rows: Vec<(Box<dyn Dynamics>, f64)> = vec![
        (Box::new(adam()), 1e6),
        (Box::new(adam().with_epsilon(1e-2).unwrap()), 10.0),
        (Box::new(adam().with_epsilon_outside(1e-2).unwrap()), 100.0),
        (Box::new(RmsProp::new(s).unwrap().with_epsilon(1e-2).unwrap()), 10.0),
        (Box::new(RmsProp::new(s).unwrap().with_epsilon_outside(1e-2).unwrap()), 100.0),
    ];
    for (dynamics, r) in rows {
        let name = dynamics.describe();
        let found = at_rest(&mut Unrolled::rad(Descent::new(dynamics, 1).unwrap()), 0.0);
        assert_close(&name, &found, &slopes(r), 1e-9);
    }
}

/// Counts warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicUsize>);

impl Subscriber for Warnings {
    fn enabled(&self, at: &Metadata<'_>) -> bool {
        *at.level() == tracing::Level::WARN
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn adaptive_steps_at_rest_are_warned_of_once_a_descent() {
    let adam = |steps| descent(Adam::new(0.1), steps);
    let outside = Adam::new(0.1).and_then(|adam| adam.with_epsilon_outside(1e-8));
    let boxed: Box<dyn Dynamics> = Box::new(RmsProp::new(0.1).unwrap());
    let ball = Ball::new(10.0).unwrap();
    // After one step the second moment is g^2, g = 2 (y - x), and eps is what a root is held against: 0.01 in
    // these, and its square where it is outside.
    let first_step = |dynamics| Box::new(Unrolled::rad(descent(dynamics, 1)));
    let inside = || Adam::new(0.1)?.with_epsilon(0.01);
    let beside = || Adam::new(0.1)?.with_epsilon_outside(0.01);
    let rows: Vec<(Box<dyn HypergradientMethod>, f64, usize)> = vec![
        (first_step(inside()), 0.045, 1),
        (first_step(inside()), 0.055, 0),
        (first_step(beside()), 0.0045, 1),
        (first_step(beside()), 0.0055, 0),
        (Box::new(Unrolled::rad(adam(3))), 0.0, 1),
        (Box::new(Fad::new(adam(3))), 0.0, 1),
        (Box::new(Unrolled::rad(descent(outside, 3))), 0.0, 1),
        (Box::new(Unrolled::rad(descent(Ok(Projected::new(boxed, ball)), 3))), 0.0, 1),
        (Box::new(Unrolled::rad(adam(3))), 0.7, 0),
        (Box::new(Unrolled::rad(descent(Gd::new(0.1), 3))), 0.0, 0),
        // Not differentiated through.
        (Box::new(Implicit::new(adam(3), Identity)), 0.0, 0),
    ];
    for (mut method, start, expected) in rows {
        let warnings = Warnings::default();
        tracing::subscriber::with_default(warnings.clone(), || {
            for _ in 0..2 {
                at_rest(method.as_mut(), start);
            }
        });
        assert_eq!(warnings.0.load(Ordering::Relaxed), expected, "{}", method.describe());
    }
}

/// An oracle that panics at its fourth gradient of f.
struct Panicking<O> {
    inner: O,
    gradients: AtomicUsize,
    says: &'static str,
}

impl<O: Oracle> Oracle for Panicking<O> {
    forward_oracle!(inner: upper_layout, lower_layout, value, product);

    fn gradient(&self, objective: Objective, at: Point<'_>, wrt: Wrt) -> (Loss, Partials) {
        let before = self.gradients.fetch_add(1, Ordering::Relaxed);
        assert!(before != 3, "{}", self.says);
        self.inner.gradient(objective, at, wrt)
    }
}

#[test]
fn a_device_that_fails_is_an_error_of_the_step_and_no_other_panic_is() {
    let run = |says| {
        let inner = sharp(Sharp::Square);
        let (x, y) = (inner.upper_start(), inner.lower_start());
        let oracle = Panicking { inner, gradients: AtomicUsize::new(0), says };
        let method = FirstOrder::new(descent(Gd::new(0.1), 1));
        let upper = GradientStep::new(0.1).unwrap();
        let mut solver = HypergradientSolver::new(&oracle, method, upper, x, y);
        let run = || Executor::new(5).unwrap().run(&mut solver);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).map_err(drop)
    };
    // A step takes a gradient of f and one of F.
    for says in ["the device failed while a tensor was read: no memory", "wgpu error: no memory"] {
        let error = run(says).unwrap().unwrap_err();
        assert_eq!(error, Error::Device { step: 2, cause: says.into() });
        let text = error.to_string();
        assert!(text.contains("no memory; check the driver") && text.contains("flex"), "{text}");
    }
    assert_eq!(run("an index out of bounds"), Err(()));
}

/// `F = f = sum (y - x)^2`, whose recording panics on batches of three numbers, as where a constant is read.
struct Unrecorded(&'static str);

impl BilevelProblem for Unrecorded {
    type Upper = Values;
    type Lower = Values;
    type Batch = Tensor<1>;

    fn upper_loss(&self, x: &Values, y: &Values, batch: &Tensor<1>) -> Tensor<1> {
        assert!(batch.dims() != [3], "{}", self.0);
        (y.values.val() - x.values.val()).powi_scalar(2).sum()
    }

    fn lower_loss(&self, x: &Values, y: &Values, batch: &Tensor<1>) -> Tensor<1> {
        self.upper_loss(x, y, batch)
    }
}

#[test]
fn a_device_that_fails_while_a_loss_is_recorded_is_no_fault_of_the_loss() {
    let device = device();
    let start = || Values::new(&[1.0, 2.0], &device);
    let oracle = |says, sizes: [usize; 2]| {
        let batches = || sizes.iter().map(|&n| Tensor::ones([n], &device)).collect();
        let data = Batches::new(batches(), batches()).unwrap();
        AutodiffOracle::new(Unrecorded(says), &start(), &start(), data)
    };
    for says in [
        "the device failed while a tensor was read: no memory",
        "Error while reading data: no memory",
        "Failed to read tensor during cross-backend transfer: no memory",
        "wgpu error: no memory",
    ] {
        let error = oracle(says, [3, 2]).map(drop).unwrap_err();
        assert_eq!(error, Error::Device { step: 0, cause: says.into() });
        assert!(error.to_string().starts_with("before the first upper step: "), "{error}");
        // The batch of the second step.
        let oracle = oracle(says, [2, 3]).unwrap();
        let method = FirstOrder::new(descent(Gd::new(0.1), 1));
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let upper = GradientStep::new(0.1).unwrap();
        let mut solver = HypergradientSolver::new(&oracle, method, upper, x, y);
        let error = Executor::new(5).unwrap().run(&mut solver).unwrap_err();
        assert_eq!(error, Error::Device { step: 2, cause: says.into() });
    }
    let error = oracle("an index out of bounds", [3, 2]).map(drop).unwrap_err();
    assert!(matches!(&error, Error::Trace { error: TraceError::Panic { .. }, .. }), "{error}");
}
