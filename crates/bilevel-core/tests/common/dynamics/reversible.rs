//! Reversible steps, on the device of the binary that includes this file.

use std::sync::atomic::{AtomicU32, Ordering};

use bilevel_core::lower::State;
use bilevel_core::*;
use bilevel_program::{Vector, float};
use burn::tensor::Tensor;

use crate::common::*;
use crate::device;

const MOMENTUM: f64 = 0.9;

fn bits(state: &State) -> Vec<u64> {
    let memory = state.memory.iter().flat_map(Vector::to_vec);
    state.y.to_vec().into_iter().chain(memory).map(f64::to_bits).collect()
}

#[test]
fn a_thousand_steps_are_undone_to_the_last_bit() {
    let oracle = penalties(Fit::Logistic, &device());
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let steps = 1000;
    let momentum = ReversibleMomentum::new(0.05, MOMENTUM).unwrap();
    let (mut trajectory, mut most) = (Vec::new(), 0);
    let (descended, mut tape) = momentum
        .record(&problem, &y, steps, |tape| {
            trajectory.push(bits(&tape.state()));
            most = most.max(tape.information_bits());
        })
        .unwrap();
    assert_eq!((trajectory.len(), descended.steps), (steps + 1, steps));
    assert!(descended.end_loss < descended.start_loss);
    // The information that the multiplications by 9/10 cut off: log2(10/9) = 0.152 bits, and what the
    // last 64 have free.
    let each = most as f64 / (steps * FEATURES) as f64;
    println!("{each} bits a step and entry");
    assert!((0.152..=0.152 + 0.064).contains(&each), "{each} bits a step and entry");
    assert_eq!(trajectory.pop(), Some(bits(&descended.state)));
    for t in (0..steps).rev() {
        let (found, state) = tape.pop().unwrap();
        assert_eq!(found, t);
        assert_eq!(trajectory.pop(), Some(bits(&state)), "the state before step {t}");
    }
    assert!(tape.pop().is_none());
    assert_eq!(tape.information_bits(), 64 * FEATURES);
}

#[test]
fn its_hypergradient_is_that_of_momentum() {
    for (fit, steps) in [(Fit::Squares, 1), (Fit::Squares, 300), (Fit::Logistic, 1000)] {
        let oracle = penalties(fit, &device());
        let dynamics = ReversibleMomentum::new(0.05, MOMENTUM).unwrap();
        assert_eq!(dynamics.momentum(), MOMENTUM);
        let before = oracle.cost();
        let mut reversible = ReversibleRad::new(dynamics, steps).unwrap();
        let (found, status) = hypergradient(&oracle, &mut reversible);
        assert_eq!(status, Status::Exact);
        let expected = Cost {
            upper_gradients: 1,
            lower_values: 2,
            lower_gradients: 2 * steps as u64,
            lower_products: steps as u64,
            ..Cost::default()
        };
        assert_eq!(oracle.cost() - before, expected);
        let mut stored = Unrolled::rad(descent(Momentum::new(0.05, MOMENTUM), steps));
        let (expected, _) = hypergradient(&oracle, &mut stored);
        assert_close(&format!("{fit:?}, {steps} steps"), &found, &expected, 1e-11);
    }
}

#[test]
fn settings_and_numbers_that_fixed_point_does_not_take_are_refused() {
    for momentum in [0.0, 1.0, f64::NAN] {
        let error = ReversibleMomentum::new(0.1, momentum).unwrap_err();
        assert!(matches!(error, Error::InvalidSetting { .. }), "{error}");
    }
    let dynamics = |step| ReversibleMomentum::new(step, MOMENTUM).unwrap();
    assert!(ReversibleRad::new(dynamics(0.1), 0).is_err());
    let oracle = penalties(Fit::Squares, &device());
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    for step in [1e3, 1e200] {
        let mut rad = ReversibleRad::new(dynamics(step), 100).unwrap();
        let error = rad.hypergradient(problem, &y).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::FixedPoint { step: 1..=9, .. }), "{text}");
        assert!(text.ends_with("keep states by a plan"), "{text}");
    }
    for far in [1e5, f64::NAN] {
        let start = bilevel_program::Vector::from_slice(y.layout(), &[far; FEATURES], &y.device());
        let mut rad = ReversibleRad::new(dynamics(0.1), 3).unwrap();
        let error = rad.hypergradient(problem, &start).unwrap_err();
        let first = matches!(
            error,
            Error::FixedPoint { step: 0, .. } | Error::LowerDiverged { step: 0, .. }
        );
        assert!(first, "{error}");
    }
}

/// `f = norm(y - x)^2 / 2`, `F = <x, y>`.
struct Bowl;

impl BilevelProblem for Bowl {
    type Upper = Values;
    type Lower = Values;
    type Batch = ();

    fn upper_loss(&self, x: &Values, y: &Values, (): &()) -> Tensor<1> {
        (x.values.val() * y.values.val()).sum()
    }

    fn lower_loss(&self, x: &Values, y: &Values, (): &()) -> Tensor<1> {
        (y.values.val() - x.values.val()).powi_scalar(2).sum() / 2
    }
}

/// A lower loss whose gradient differs at each evaluation: its noise grows with the number of evaluations.
struct Restless<O> {
    inner: O,
    evaluations: AtomicU32,
    noise: fn(u32) -> f64,
}

impl<O: Oracle> Oracle for Restless<O> {
    forward_oracle!(inner: upper_layout, lower_layout, value, product);

    fn gradient(&self, objective: Objective, at: Point<'_>, wrt: Wrt) -> (Loss, Partials) {
        let (loss, mut partials) = self.inner.gradient(objective, at, wrt);
        if objective == Objective::Lower {
            let noise = (self.noise)(self.evaluations.fetch_add(1, Ordering::Relaxed));
            partials.y = partials.y.map(|y| y.map(|leaf| float::add_scalar(leaf, noise)));
        }
        (loss, partials)
    }
}

#[test]
fn a_gradient_that_does_not_repeat_is_named() {
    let values = |v: &[f64]| Values::new(v, &device());
    type Row = (fn(u32) -> f64, f64, f64, usize, bool);
    let rows: [Row; 4] = [
        (|_| 0.0, 0.05, MOMENTUM, 300, true),
        (|k| 1e-9 * f64::from(k), 0.05, MOMENTUM, 3, false),
        (|k| 1e-3 * f64::from(k), 0.05, MOMENTUM, 2000, false),
        // The way back misses the start with the velocity 0: a step of 1 goes to the minimum from anywhere.
        (|k| if k == 2 { 0.125 } else { 0.0 }, 1.0, 0.5, 2, false),
    ];
    for (which, (noise, step, momentum, steps, undone)) in rows.into_iter().enumerate() {
        let data = FullBatch { upper: (), lower: () };
        let (x, y) = (values(&[0.25, -0.5]), values(&[1.0, 2.0]));
        let inner = AutodiffOracle::new(Bowl, &x, &y, data).unwrap();
        let (x, y) = (inner.upper_start(), inner.lower_start());
        let oracle = Restless { inner, evaluations: AtomicU32::new(0), noise };
        let problem = LowerProblem::new(&oracle, &x, Samples::default());
        let dynamics = ReversibleMomentum::new(step, momentum).unwrap();
        let found = ReversibleRad::new(dynamics, steps).unwrap().hypergradient(problem, &y);
        match found {
            Ok(_) => assert!(undone, "noise {which}"),
            Err(error) => {
                assert!(!undone && matches!(error, Error::NotUndone { .. }), "{error}");
                assert!(error.to_string().contains("deterministic"), "{error}");
            }
        }
    }
}
