//! The stated solutions, checked against the losses.

#[path = "answers/capacities.rs"]
mod capacities;
#[path = "answers/solve.rs"]
mod solve;
#[path = "answers/suggest.rs"]
mod suggest;

use std::sync::Once;

use bilevel_core::*;
use bilevel_problems::*;
use bilevel_program::Vector;
use burn::tensor::{Device, FloatDType, IntDType};

fn device() -> Device {
    static F64: Once = Once::new();
    F64.call_once(|| Device::flex().configure((FloatDType::F64, IntDType::I64)).unwrap());
    Device::flex()
}

fn lower_problem(instance: &Instance) -> LowerProblem<'_> {
    LowerProblem::new(&instance.oracle, &instance.x, Samples::default())
}

fn lower_slope(instance: &Instance) -> Vec<f64> {
    lower_problem(instance).gradient(Objective::Lower, &instance.y, Wrt::Y).1.into_y().to_vec()
}

fn value(instance: &Instance, objective: Objective) -> f64 {
    lower_problem(instance).value(objective, &instance.y).read()
}

#[track_caller]
fn all_zero(what: &str, values: &[f64], tolerance: f64) {
    assert!(values.iter().all(|v| v.abs() <= tolerance), "{what}: {values:?}");
}

#[test]
fn the_quadratic_agrees_with_rad_and_with_differences() {
    let problem = Quadratic::new(3, 7, 0.2, 1).unwrap();
    let x = [0.3, -0.8, 1.1];
    let instance = problem.at(&x, &[0.0; 7], &device()).unwrap();
    let descent = Descent::new(Gd::new(1.0).unwrap(), 200).unwrap();
    let found =
        Unrolled::rad(descent).hypergradient(lower_problem(&instance), &instance.y).unwrap();
    let expected = problem.hypergradient(&x);
    for (f, e) in found.gradient.to_vec().iter().zip(&expected) {
        assert!((f - e).abs() <= 1e-10, "{f} {e}");
    }
    let y = problem.lower_solution(&x);
    all_zero("f_y at y*", &lower_slope(&problem.at(&x, &y, &device()).unwrap()), 1e-12);
    let h = 1e-4;
    for j in 0..3 {
        let at = |sign: f64| {
            let mut moved = x;
            moved[j] += sign * h;
            let y = problem.lower_solution(&moved);
            value(&problem.at(&moved, &y, &device()).unwrap(), Objective::Upper)
        };
        assert!(((at(1.0) - at(-1.0)) / (2.0 * h) - expected[j]).abs() < 1e-7);
    }
}

/// At these solutions F attains its minimum, 0, and the lower level is stationary.
#[test]
fn answers_with_nothing_left_to_gain() {
    let device = device();
    let one = [1.0; NsgameToy::SIZE];
    let answers = [
        ("bda", BdaCounterexample::at(BdaCounterexample::X, BdaCounterexample::Y, &device)),
        ("ia-gm", IaGmConvex::at(IaGmConvex::ANSWER, IaGmConvex::ANSWER, &device)),
        ("nsgame", NsgameToy::at(&one, [&one, &one], &device)),
    ];
    for (name, instance) in answers {
        let instance = instance.unwrap();
        all_zero(name, &[value(&instance, Objective::Upper)], 1e-12);
        all_zero(name, &lower_slope(&instance), 1e-12);
    }
}

#[test]
fn no_lower_solution_of_iaptt_is_better_than_its_answer() {
    let device = device();
    let answer = IapttNumeric::at(IapttNumeric::X, IapttNumeric::Y, &device).unwrap();
    assert!((value(&answer, Objective::Lower) + 1.0).abs() < 1e-12);
    let best = value(&answer, Objective::Upper);
    let [low, high] = IapttNumeric::UPPER_BOUNDS;
    for step in 0..=9000 {
        let x = low + (high - low) * f64::from(step) / 9000.0;
        // The minima in y satisfy x y = pi/2 + 2 k pi.
        for k in -4..=4 {
            let y = (0.5 + 2.0 * f64::from(k)) * std::f64::consts::PI / x;
            assert!(y.abs() > 2.0 || x + x * y >= best - 1e-9, "({x}, {y})");
        }
    }
}

#[test]
fn the_slope_of_pbgd_is_that_of_its_reduced_loss() {
    let reduced = |x: f64| {
        let instance = PbgdToy::at(x, -x, &device()).unwrap();
        all_zero("f_y on y = -x", &lower_slope(&instance), 1e-12);
        value(&instance, Objective::Upper)
    };
    for x in [0.1, 0.5, 1.3, 2.9] {
        let h = 1e-4;
        let expected = (reduced(x + h) - reduced(x - h)) / (2.0 * h);
        assert!((PbgdToy::slope(x) - expected).abs() < 1e-6, "{x}");
    }
}

#[test]
fn the_distances_of_the_penalty_problems_are_zero_at_answers_alone() {
    let (half, zero) = ([0.5; 10], [0.0; 10]);
    assert_eq!(PenaltySmooth(Variant::A).distance(&half, &half), 0.0);
    assert_eq!(PenaltySmooth(Variant::B).distance(&zero, &zero), 0.0);
    // The solution of the singular problem lies in the range of A'.
    let range = PenaltySingular::range(0).project(&half);
    assert!(PenaltySingular(Variant::A).distance(&PenaltySingular::range(0), &half, &half) > 0.1);
    for (variant, answer) in [(Variant::A, range), (Variant::B, zero.to_vec())] {
        assert!(
            PenaltySingular(variant).distance(&PenaltySingular::range(0), &answer, &answer) < 1e-24
        );
        let at = PenaltySingular(variant).at(1, &device()).unwrap();
        let vector = |like: &Vector| Vector::from_slice(like.layout(), &answer, &device());
        let solved = Instance { x: vector(&at.x), y: vector(&at.y), oracle: at.oracle };
        all_zero("f_y", &lower_slope(&solved), 1e-12);
        all_zero("f", &[value(&solved, Objective::Lower)], 1e-12);
    }
}
