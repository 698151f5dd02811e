//! What `suggest` measures and chooses, on problems whose curvature is known.

use bilevel_core::catalogue::Settings;
use bilevel_core::linear::{Lanczos, Operator};
use bilevel_core::suggest::{Choice, Shape};
use bilevel_core::*;
use bilevel_problems::{BdaCounterexample, Instance, Quadratic, Values};
use bilevel_program::Vector;
use burn::tensor::Tensor;

use crate::common::*;
use crate::device;

fn on(instance: &Instance, request: &Request) -> Suggestion {
    suggest_on(&instance.oracle, &instance.x, &instance.y, request).unwrap()
}

fn method(suggestion: &Suggestion) -> (&'static str, Settings) {
    match &suggestion.choice {
        Choice::Method { entry, settings, .. } => (entry.name, settings.clone()),
        Choice::Solve => ("solve", Settings::default()),
    }
}

/// `f = (exp(x) y1^2 - y2^2) / 2 + y2^4 / 4`, indefinite where `y2` is small, with a minimum at either `y2 = +-1`.
struct Saddle;

impl BilevelProblem for Saddle {
    type Upper = Values;
    type Lower = Values;
    type Batch = ();

    fn upper_loss(&self, x: &Values, y: &Values, (): &()) -> Tensor<1> {
        ((y.val() - 0.5).powi_scalar(2)).sum() + x.val().powi_scalar(2).sum()
    }

    fn lower_loss(&self, x: &Values, y: &Values, (): &()) -> Tensor<1> {
        let (first, second) = (y.val().narrow(0, 0, 1), y.val().narrow(0, 1, 1));
        let square = second.powi_scalar(2);
        (x.val().exp() * first.powi_scalar(2) - square.clone()) * 0.5 + square.powi_scalar(2) * 0.25
    }
}

/// `f = log(1 + exp(-x y))`, which has no minimum in y for `x > 0`.
struct Separable;

impl BilevelProblem for Separable {
    type Upper = Values;
    type Lower = Values;
    type Batch = ();

    fn upper_loss(&self, x: &Values, y: &Values, (): &()) -> Tensor<1> {
        (y.val() - 1.0).powi_scalar(2).sum() + x.val().powi_scalar(2).sum()
    }

    fn lower_loss(&self, x: &Values, y: &Values, (): &()) -> Tensor<1> {
        ((-(x.val() * y.val())).exp() + 1.0).log()
    }
}

/// `F = (y - 2)^2 + (x + 1)^2 / 10`, `f = (y - x)^2` with `y >= 1`.
struct Floor;

impl BilevelProblem for Floor {
    type Upper = Values;
    type Lower = Values;
    type Batch = ();

    fn upper_loss(&self, x: &Values, y: &Values, (): &()) -> Tensor<1> {
        (y.val() - 2.0).powi_scalar(2) + (x.val() + 1.0).powi_scalar(2) * 0.1
    }

    fn lower_loss(&self, x: &Values, y: &Values, (): &()) -> Tensor<1> {
        (y.val() - x.val()).powi_scalar(2)
    }

    fn constraints(&self, level: Objective, _: &Values, y: &Values, (): &()) -> Conditions {
        match level {
            Objective::Upper => Conditions::default(),
            Objective::Lower => Conditions::at_most_zero(-y.val() + 1.0),
        }
    }
}

fn two(
    problem: impl BilevelProblem<Upper = Values, Lower = Values, Batch = ()> + 'static,
    y: &[f64],
) -> Instance {
    Instance::new(problem, &Values::new(&[1.0], &device()), &Values::new(y, &device()), ()).unwrap()
}

#[test]
fn lanczos_finds_the_ends_of_a_known_spectrum() {
    // A reflection of a diagonal matrix: its eigenvalues are equally spaced from mu to 1.
    for (n, mu, steps, tolerance) in
        [(5, 0.3, 5, 1e-12_f64), (12, 1e-3, 20, 1e-10), (60, 0.01, 30, 2e-3)]
    {
        let instance =
            Quadratic::new(2, n, mu, 3).unwrap().at(&[0.0; 2], &vec![0.0; n], &device()).unwrap();
        let problem = LowerProblem::new(&instance.oracle, &instance.x, Samples::default());
        for shift in [0.0, -0.5] {
            let product = |v: &Vector| {
                let along = Direction::in_y(v);
                problem
                    .product(Objective::Lower, &instance.y, along, Wrt::Y)
                    .into_y()
                    .axpy(shift, v)
            };
            let found = Lanczos::new(steps, 0).unwrap();
            let found = found.run(&Operator::symmetric(&product), &instance.y).unwrap();
            assert!(found.products <= steps.min(n), "{found:?}");
            let (least, greatest) = (mu + shift, 1.0 + shift);
            assert!((found.least - least).abs() <= tolerance.max(found.least_error), "{found:?}");
            assert!((found.greatest - greatest).abs() <= tolerance, "{found:?}");
            // From inside, and from above.
            assert!(
                found.least >= least - 1e-12 && found.greatest <= greatest + 1e-12,
                "{found:?}"
            );
            assert!(found.above() >= greatest - 1e-12, "{found:?}");
        }
    }
    let general = |v: &Vector| v.clone();
    let operator = Operator::general(&general);
    let refused = Lanczos::new(3, 0).unwrap().run(&operator, &instance().y);
    assert_eq!(refused, Err(Error::NotSymmetric { solver: "lanczos" }));
}

#[test]
fn the_shape_and_the_choice_follow_the_problem() {
    let bda = BdaCounterexample::at(0.0, [0.0, 0.0], &device()).unwrap();
    for (name, instance, shape, among) in [
        ("quadratic", instance(), Shape::Convex, &["cg", "newton", "lbfgs"][..]),
        ("a lower constraint", two(Floor, &[3.0]), Shape::Constrained, &["kkt"]),
        ("8 batches", stochastic(8, 0.1), Shape::Batches, &["saba"]),
        ("several solutions", bda, Shape::ManySolutions, &["bda"]),
        ("two minima", two(Saddle, &[0.5, 0.3]), Shape::ManyMinima, &["iaptt"]),
        ("a saddle", two(Saddle, &[0.5, 0.0]), Shape::Unsolved, &["rad", "trad"]),
        ("no minimum", two(Separable, &[0.0]), Shape::Unsolved, &["rad", "trad"]),
    ] {
        let found = on(&instance, &Request::default());
        assert_eq!(found.measured.shape(), shape, "{name}: {found}");
        assert!(among.contains(&method(&found).0), "{name}: {found}");
        // All is text, without an empty line.
        let text = found.to_string();
        assert!(text.lines().count() >= 6 && text.lines().all(|line| !line.trim().is_empty()));
        // The same again.
        let again = on(&instance, &Request::default());
        assert_eq!(found.name(), again.name(), "{name}");
        assert_eq!(found.measured.cost, again.measured.cost, "{name}");
        let mut solver =
            found.solver(&instance.oracle, instance.x.clone(), instance.y.clone()).unwrap();
        for k in 0..40 {
            let step = solver.step(k).unwrap_or_else(|error| panic!("{name}: {error}\n{found}"));
            assert!(step.upper_loss.is_finite(), "{name}");
        }
    }
}

#[test]
fn the_curvature_of_a_quadratic_gives_its_step_size() {
    let found = on(&instance(), &Request::default());
    let measured = &found.measured;
    assert!((measured.curvature() - 1.0).abs() < 1e-10, "{found}");
    assert!((measured.least_curvature().unwrap() - 0.3).abs() < 1e-10, "{found}");
    assert!((measured.end.least - 0.3).abs() < 1e-10);
    let rad = Request { methods: Some(vec!["rad"]), ..Request::default() };
    let (name, settings) = method(&on(&instance(), &rad));
    // 2 / (L + mu), rounded down to two digits.
    assert_eq!((name, settings.step_size), ("rad", 1.5));
    assert_eq!(settings.stored_states, 0);
    let little = Request { memory: 2 * N * 8, ..rad };
    assert_eq!(method(&on(&instance(), &little)).1.stored_states, 2);
}

#[test]
fn what_is_not_on_offer_is_not_chosen() {
    let offer = |methods: &[&'static str]| Request {
        methods: Some(methods.to_vec()),
        ..Request::default()
    };
    let of = |instance: &Instance, methods: &[&'static str]| {
        let found =
            suggest_on(&instance.oracle, &instance.x, &instance.y, &offer(methods)).unwrap();
        method(&found).0
    };
    let batches = stochastic(8, 0.1);
    assert_eq!(of(&batches, &["srba", "cg"]), "srba");
    assert_eq!(of(&batches, &["cg", "rad"]), "cg");
    assert_eq!(of(&two(Separable, &[0.0]), &["cg", "trad"]), "trad");
    let refused = suggest_on(&batches.oracle, &batches.x, &batches.y, &offer(&["meha"]));
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("meha") && text.contains("offer rad"), "{text}");
}

#[test]
fn adaptive_steps_converge_from_any_first_step() {
    let (quadratic, instance) = (problem(), instance());
    let device = instance.x.device();
    let gradient = |x: &Vector| {
        let found = quadratic.hypergradient(&x.to_vec());
        Vector::from_slice(x.layout(), &found, &device)
    };
    let start_norm = gradient(&instance.x).norm();
    for first in [1e-6, 1e-3, 1.0, 100.0] {
        let (mut x, mut step) = (instance.x.clone(), AdaptiveStep::new(first).unwrap());
        for _ in 0..300 {
            x = step.step(&x, &gradient(&x));
        }
        let relative = gradient(&x).norm() / start_norm;
        assert!(relative < 1e-6, "from {first}: the gradient is {relative:e} of that at the start");
    }
    for first in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(AdaptiveStep::new(first), Err(Error::InvalidSetting { .. })));
    }
}
