//! Hypergradients of lower levels with constraints, against differences of the solved problem.

use bilevel_core::catalogue::{self, At, Made, Settings};
use bilevel_core::constrained::{ActiveSet, Degenerate, Level, Multiplied, Residual, Solved};
use bilevel_core::*;
use bilevel_program::Vector;
use burn::module::Param;
use burn::tensor::{DType, Tensor};

use crate::common::*;
use crate::device;

/// A lower level with a curved constraint, a bound and an equality, all of which depend on x; the start decides which
/// are active.
///
/// ```text
/// f = norm(y - (x0, x1, x0 x1))^2 / 2 + sum y^4 / 10 + y0 y1 / 3,   F = norm(y - 1)^2 + norm(x)^2 / 2 + x0 y2
/// G = x0 y1 - 2
/// g = (y0^2 + y1^2 - x0^2 / 2 - 1/2, y2 - x1, -5 - y0),   h = y0 + y1 + y2 - sin(x0) - x1
/// ```
#[derive(Clone, Copy)]
struct Coupled;

impl BilevelProblem for Coupled {
    type Upper = Values;
    type Lower = Values;
    type Batch = ();

    fn upper_loss(&self, x: &Values, y: &Values, (): &()) -> Tensor<1> {
        let (x, y) = (x.values.val(), y.values.val());
        let cross = x.clone().slice(0..1) * y.clone().slice(2..3);
        (y - 1.0).powi_scalar(2).sum() + x.powi_scalar(2).sum() * 0.5 + cross
    }

    fn lower_loss(&self, x: &Values, y: &Values, (): &()) -> Tensor<1> {
        let (x, y) = (x.values.val(), y.values.val());
        let target = Tensor::cat(vec![x.clone(), x.clone().slice(0..1) * x.slice(1..2)], 0);
        let cross = y.clone().slice(0..1) * y.clone().slice(1..2);
        let quartic = y.clone().powi_scalar(4).sum() * 0.1;
        (y - target).powi_scalar(2).sum() * 0.5 + quartic + cross * (1.0 / 3.0)
    }

    fn constraints(&self, level: Objective, x: &Values, y: &Values, (): &()) -> Conditions {
        let (x, y) = (x.values.val(), y.values.val());
        let at = |v: &Tensor<1>, i: usize| v.clone().slice(i..i + 1);
        if level == Objective::Upper {
            return Conditions::at_most_zero(at(&x, 0) * at(&y, 1) - 2.0);
        }
        let disc = y.clone().slice(0..2).powi_scalar(2).sum();
        let g = Tensor::cat(
            vec![
                disc - at(&x, 0).powi_scalar(2) * 0.5 - 0.5,
                at(&y, 2) - at(&x, 1),
                -at(&y, 0) - 5.0,
            ],
            0,
        );
        Conditions::at_most_zero(g).and_zero(y.sum() - at(&x, 0).sin() - at(&x, 1))
    }
}

type Oracle = AutodiffOracle<Coupled, FullBatch<()>>;

/// The problem at x.
fn coupled(x: &[f64]) -> Oracle {
    let (x, y) = (Values::new(x, &device()), Values::new(&[0.1, -0.2, 0.0], &device()));
    AutodiffOracle::new(Coupled, &x, &y, FullBatch { upper: (), lower: () }).unwrap()
}

fn exact() -> AugmentedLagrangian {
    AugmentedLagrangian::new(40, 1e-11).unwrap()
}

/// `F(x, y*(x))`, from a cold start.
fn reduced(x: &[f64]) -> f64 {
    let oracle = coupled(x);
    let at = oracle.upper_start();
    let problem = LowerProblem::new(&oracle, &at, Samples::default());
    let level = Level::new(problem);
    let Solved { at: solved, residual, .. } =
        exact().solve(&level, &oracle.lower_start(), None).unwrap();
    assert!(residual.largest() <= 1e-11, "{residual:?} at {x:?}");
    problem.value(Objective::Upper, &solved.y).read()
}

fn by_kkt(x: &[f64], lower: AugmentedLagrangian) -> (Vec<f64>, Status, Vec<f64>) {
    let oracle = coupled(x);
    let (at, y) = (oracle.upper_start(), oracle.lower_start());
    let mut method = Kkt::new(lower);
    let problem = LowerProblem::new(&oracle, &at, Samples::default());
    let found = method.hypergradient(problem, &y).unwrap();
    let multipliers = method.multipliers().unwrap().to_vec();
    (found.gradient.to_vec(), found.status, multipliers)
}

#[test]
fn kkt_is_the_derivative_of_the_solved_level() {
    // Which inequalities are active at the solution.
    for (x, active) in [
        ([0.4, 0.9], [false, false]),
        ([1.5, 0.2], [false, true]),
        ([0.6, 1.6], [true, false]),
        ([0.3, -1.5], [true, true]),
    ] {
        let expected = five_point(&x, reduced);
        let krylov = Minres::new(200, 1e-13).unwrap();
        for lower in [exact(), exact().with_linear_solver(krylov)] {
            let (found, status, multipliers) = by_kkt(&x, lower);
            assert!(status.is_ok(), "{x:?}: {status}");
            assert_eq!(
                [multipliers[0] > 1e-6, multipliers[1] > 1e-6],
                active,
                "{x:?}: {multipliers:?}"
            );
            assert_close(&format!("{x:?}"), &found, &expected, 1e-7);
        }
    }
}

/// By a barrier of weight mu.
fn by_barrier(x: &[f64], mu: f64) -> (Hypergradient, Residual) {
    let oracle = coupled(x);
    let (at, y) = (oracle.upper_start(), oracle.lower_start());
    let (newton, cg) = (Newton::new(300, 1e-10).unwrap(), Cg::new(100, 1e-13).unwrap());
    let mut method = Barrier::new(mu, 1e-9, Implicit::new(newton, cg)).unwrap();
    let problem = LowerProblem::new(&oracle, &at, Samples::default());
    let found = method.hypergradient(problem, &y).unwrap();
    let residual = method.residual(problem, &found.lower);
    (found, residual)
}

#[test]
fn calls_of_constraints_are_counted() {
    let oracle = Counted::new(coupled(&[1.5, 0.2]));
    let (at, y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &at, Samples::default());
    let (newton, cg) = (Newton::new(300, 1e-10).unwrap(), Cg::new(100, 1e-13).unwrap());
    let mut barrier = Barrier::new(1e-2, 1e-9, Implicit::new(newton, cg)).unwrap();
    barrier.hypergradient(problem, &y).unwrap();
    let cost = oracle.cost();
    assert!(cost.lower_products > 0 && cost.constraint_values > 0, "{cost:?}");
    assert_eq!(cost.constraint_products, cost.lower_products, "{cost:?}");
    let gradients = cost.lower_gradients + cost.lower_products;
    assert_eq!(cost.constraint_gradients, gradients, "{cost:?}");

    let before = oracle.cost();
    Kkt::new(exact()).hypergradient(problem, &y).unwrap();
    let cost = oracle.cost() - before;
    assert!(cost.constraint_products > 0 && cost.constraint_gradients > 0, "{cost:?}");
    assert_eq!(
        cost.total(),
        cost.products()
            + cost.lower_gradients
            + cost.lower_values
            + cost.upper_gradients
            + cost.constraint_values
            + cost.constraint_gradients
    );
}

#[test]
fn a_barrier_is_differentiated_exactly_and_tends_to_the_constraints() {
    for x in [[0.4, 0.9], [1.5, 0.2], [0.6, 1.6], [0.3, -1.5]] {
        let (exact, _, _) = by_kkt(&x, exact());
        let mut off = Vec::new();
        for mu in [0.3, 3e-3, 3e-5] {
            let (found, residual) = by_barrier(&x, mu);
            assert!(found.status.is_ok(), "{x:?}: {}", found.status);
            // The minimum of f with the barrier, as close to the KKT conditions as mu is small.
            assert!(residual.stationarity <= 2e-10, "{residual:?}");
            // Of the order of the root where a constraint is about to become active.
            assert!(residual.largest() <= 3.0 * mu.sqrt(), "{residual:?} at {mu}");
            let gradient = found.gradient.to_vec();
            if mu > 1e-4 {
                let expected = five_point(&x, |x| by_barrier(x, mu).0.upper_loss.read());
                assert_close(&format!("{x:?} at {mu}"), &gradient, &expected, 1e-7);
            }
            let parts = gradient.iter().zip(&exact).map(|(a, b)| (a - b).powi(2));
            off.push(parts.sum::<f64>().sqrt());
        }
        println!("{x:?}: off by {off:?}");
        // At the first x a constraint is nearly active.
        assert!(off[1] < off[0] && off[2] < 0.12 * off[1] && off[2] < 0.03, "{x:?}: {off:?}");
    }
}

/// Methods by name, on losses with barriers of both levels.
#[test]
fn any_method_differentiates_barriers() {
    let x = [1.5, 0.2];
    let settings = Settings {
        lower_steps: 60,
        step_size: 0.05,
        solver_iterations: 100,
        tolerance: 1e-11,
        ..Settings::default()
    };
    for name in ["rad", "fad", "newton"] {
        let at = |x: &[f64]| {
            let oracle = coupled(x);
            let smooth = BarrierOracle::new(&oracle, 0.3).unwrap();
            let (x, y) = (oracle.upper_start(), oracle.lower_start());
            let entry = catalogue::find(name).unwrap();
            let made = entry.make(&settings, &At { x: &x, y: &y, seed: 0 }).unwrap();
            let Made::Hypergradient(mut method) = made else { unreachable!() };
            let problem = LowerProblem::new(&smooth, &x, Samples::default());
            let found = method.hypergradient(problem, &y).unwrap();
            let bare = LowerProblem::new(&oracle, &x, Samples::default());
            let of_upper = bare.value(Objective::Upper, &found.lower).read();
            assert!((found.upper_loss.read() - of_upper).abs() > 1e-3, "G has a barrier");
            (found.upper_loss.read(), found.gradient.to_vec())
        };
        let expected = five_point(&x, |x| at(x).0);
        assert_close(name, &at(&x).1, &expected, 1e-7);
    }
}

/// `f = norm(y - x)^2 / 2` with `y <= 0`, and once more with the same constraint twice.
fn clipped(x: f64, twice: bool) -> (Vec<f64>, Status) {
    struct Clipped(bool);
    impl BilevelProblem for Clipped {
        type Upper = Values;
        type Lower = Values;
        type Batch = ();

        fn upper_loss(&self, _: &Values, y: &Values, (): &()) -> Tensor<1> {
            y.values.val().sum()
        }

        fn lower_loss(&self, x: &Values, y: &Values, (): &()) -> Tensor<1> {
            (y.values.val() - x.values.val()).powi_scalar(2).sum() * 0.5
        }

        fn constraints(&self, level: Objective, _: &Values, y: &Values, (): &()) -> Conditions {
            let y = y.values.val();
            match level {
                Objective::Upper => Conditions::default(),
                Objective::Lower if self.0 => {
                    Conditions::at_most_zero(Tensor::cat(vec![y.clone(), y], 0))
                }
                Objective::Lower => Conditions::at_most_zero(y),
            }
        }
    }
    let (x, y) = (Values::new(&[x], &device()), Values::new(&[-1.0], &device()));
    let data = FullBatch { upper: (), lower: () };
    let oracle = AutodiffOracle::new(Clipped(twice), &x, &y, data).unwrap();
    let (at, start): (Vector, _) = (oracle.upper_start(), oracle.lower_start());
    let mut method = Kkt::new(exact());
    let problem = LowerProblem::new(&oracle, &at, Samples::default());
    let found = method.hypergradient(problem, &start).unwrap();
    (found.gradient.to_vec(), found.status)
}

#[test]
fn a_degenerate_active_set_is_said_to_be_one() {
    assert_close("inactive", &clipped(-0.5, false).0, &[1.0], 1e-12);
    let (active, status) = clipped(0.5, false);
    assert!(active[0].abs() < 1e-12 && status.is_ok(), "{active:?} {status}");

    let (_, status) = clipped(0.0, false);
    assert_eq!(status, Status::Degenerate(Degenerate::Weak(0)));
    let text = status.to_string();
    assert!(text.contains("kink") && text.contains("move x"), "{text}");

    let (_, status) = clipped(0.5, true);
    assert!(matches!(status, Status::Degenerate(_)) && !status.is_ok(), "{status}");
    assert!(status.to_string().contains("multiplier"), "{status}");
}

#[test]
fn kkt_resumes_with_its_multipliers() {
    let oracle = coupled(&[1.5, 0.2]);
    crate::resume::assert_resumes("kkt", &|| {
        let method = Kkt::new(exact());
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let upper = GradientStep::new(0.05).unwrap();
        Box::new(HypergradientSolver::new(&oracle, method, upper, x, y))
    });
}

#[test]
fn equalities_are_added_to_those_before() {
    let numbers = |v: &[f64]| vector(v, &device());
    let both = Conditions::zero(numbers(&[1.0])).and_zero(numbers(&[2.0, 3.0]));
    let found: Vec<f64> = both.zero.unwrap().into_data().iter().collect();
    assert_eq!(found, [1.0, 2.0, 3.0]);
}

/// `f = (y - x)^2`, an F of y, and `sqrt(x - 1) <= 9`, which is NaN for x below 1.
struct Rooted(fn(Tensor<1>) -> Tensor<1>);

impl BilevelProblem for Rooted {
    type Upper = Values;
    type Lower = Values;
    type Batch = ();

    fn upper_loss(&self, _: &Values, y: &Values, (): &()) -> Tensor<1> {
        (self.0)(y.values.val())
    }

    fn lower_loss(&self, x: &Values, y: &Values, (): &()) -> Tensor<1> {
        (y.values.val() - x.values.val()).powi_scalar(2)
    }

    fn constraints(&self, level: Objective, x: &Values, _: &Values, (): &()) -> Conditions {
        match level {
            Objective::Upper => Conditions::at_most_zero((x.values.val() - 1.0).sqrt() - 9.0),
            Objective::Lower => Conditions::default(),
        }
    }
}

#[test]
fn solve_takes_no_nan_for_a_solution() {
    let at = |v: f64| Values::new(&[v], &device());
    let data = FullBatch { upper: (), lower: () };
    // Less than 1 would be better, were NaN at most 0.
    let found = solve(Rooted(|y| y.powi_scalar(2)), &at(2.0), &at(0.5), data.clone()).unwrap();
    let x: f64 = found.x.values.val().into_scalar();
    assert!((1.0..1.1).contains(&x) && found.violation <= 1e-6, "{found:?}");
    assert!(matches!(found.end, Conclusion::Kink { .. }), "{}", found.end);
    // The derivative of a root at 0 times 0.
    let found = solve(Rooted(|y| (y.clone() * 0.0).sqrt() + y), &at(2.0), &at(0.5), data.clone());
    let end = found.unwrap().end;
    assert!(end == Conclusion::Unsolved && !end.is_ok(), "{end}");

    let single = |v| Values { values: Param::from_tensor(at(v).values.val().cast(DType::F32)) };
    let error = solve(Rooted(|y| y), &single(2.0), &single(0.5), data).unwrap_err();
    assert!(error.to_string().contains("F32 of `values`, expected F64"), "{error}");
}

#[test]
fn numbers_that_are_not_finite_end_a_linear_system() {
    let oracle = coupled(&[1.5, 0.2]);
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let level = Level::new(problem);
    let constraints = &level.constraints;
    let at = Multiplied { y: y.clone(), multipliers: vec![0.0; 4] };
    let set = |at: &Multiplied| ActiveSet::at(level.clone(), at, &constraints.values(&x, &y), None);
    let found = set(&at).respond(&y.scale(f64::NAN), &[0.0; 4], 1e-9).unwrap();
    assert_eq!(found.status, LinearStatus::NotFinite);
    let nowhere = Multiplied { y: y.scale(f64::NAN), ..at.clone() };
    let found = set(&nowhere).respond(&y, &[0.0; 4], 1e-9).unwrap();
    assert_eq!(found.status, LinearStatus::NotFinite);
    assert!(!level.residual(&nowhere).largest().is_finite());
    assert_eq!(level.residual(&nowhere).violation, f64::INFINITY);
}
