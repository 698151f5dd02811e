//! What every implicit method must satisfy, on the device of the binary that includes this file.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use bilevel_core::linear::{Operator, Solution, System};
use bilevel_core::*;
use bilevel_program::{Layout, Vector};
use burn::nn::BatchNormConfig;
use burn::tensor::Tensor;

use crate::common::*;
use crate::device;

// ---- linear solvers --------------------------------------------------------------------------------

const N: usize = 6;

type Matrix = Vec<Vec<f64>>;
type Solver = Box<dyn LinearSolver>;

/// The symmetric matrix with these eigenvalues: `H diag H`, H a reflection.
fn with_spectrum(eigenvalues: [f64; N]) -> Matrix {
    let u = numbers(4, N);
    let square: f64 = u.iter().map(|v| v * v).sum();
    let h = |i: usize, j: usize| f64::from(i == j) - 2.0 * u[i] * u[j] / square;
    let entry = |i, j| (0..N).map(|k| h(i, k) * eigenvalues[k] * h(k, j)).sum();
    (0..N).map(|i| (0..N).map(|j| entry(i, j)).collect()).collect()
}

const DEFINITE: [f64; N] = [0.5, 0.8, 1.0, 1.3, 1.7, 2.0];
const INDEFINITE: [f64; N] = [-1.5, -0.7, 0.6, 1.0, 1.4, 2.0];
const SINGULAR: [f64; N] = [0.0, 0.0, 0.6, 1.0, 1.4, 2.0];

/// The pseudo-inverse of such a matrix, the eigenvalues shifted.
fn inverse(eigenvalues: [f64; N], shift: f64) -> Matrix {
    with_spectrum(eigenvalues.map(|e| if e + shift == 0.0 { 0.0 } else { 1.0 / (e + shift) }))
}

fn times(matrix: &Matrix, v: &[f64]) -> Vec<f64> {
    matrix.iter().map(|row| row.iter().zip(v).map(|(a, v)| a * v).sum()).collect()
}

fn point(values: &[f64]) -> Vector {
    // Of one module: vectors of two do not combine.
    static LAYOUT: OnceLock<Arc<Layout>> = OnceLock::new();
    let module = || Values::new(&[0.0; N], &device());
    Vector::from_slice(LAYOUT.get_or_init(|| Layout::of(&module())), values, &device())
}

fn solve_by(
    solver: &dyn LinearSolver,
    matrix: &Matrix,
    b: &[f64],
    guess: Option<&[f64]>,
) -> Solution {
    let product = |v: &Vector| point(&times(matrix, &v.to_vec()));
    let symmetric = (0..N).all(|i| (0..N).all(|j| (matrix[i][j] - matrix[j][i]).abs() < 1e-12));
    let operator =
        if symmetric { Operator::symmetric(&product) } else { Operator::general(&product) };
    let (b, guess) = (point(b), guess.map(point));
    let solution = solver.solve(&System::new(&operator, &b).with_guess(guess.as_ref())).unwrap();
    assert_eq!(solution.products, operator.products(), "products are counted");
    solution
}

/// What a solver says of a system, and how near it comes to the solution of least norm, if it does.
type Claim = (LinearStatus, Option<f64>);

struct Row {
    name: &'static str,
    solver: Solver,
    /// The damping of the system that it solves.
    damping: f64,
    definite: Claim,
    indefinite: Claim,
    /// On a singular system that has solutions.
    singular: Claim,
    /// Whether it takes operators that are not symmetric.
    general: bool,
}

/// Every linear solver. A new one is one entry.
fn solvers() -> Vec<Row> {
    use LinearStatus::*;
    let row = |name, solver: Solver, general, definite, indefinite, singular| {
        let damping = 0.0;
        Row { name, solver, damping, definite, indefinite, singular, general }
    };
    let exact = (Converged, Some(1e-9));
    let tolerance = 1e-11;
    let damped = || Cg::new(20, tolerance).unwrap().with_damping(0.7).unwrap();
    let rough = (Converged, Some(1e-2));
    let adam = ApproxGrad::adam(0.003, 3000, 1e-3).unwrap();
    let gd = |rho| Box::new(ApproxGrad::gd(rho, 4000, tolerance).unwrap());
    let minres = Minres::new(50, tolerance).unwrap().with_damping(0.3).unwrap();
    let nystrom = Box::new(Nystrom::new(N, 0.3, 1).unwrap());
    let gmres = |m| Box::new(Gmres::new(200, tolerance).unwrap().with_restart(m).unwrap());
    vec![
        row(
            "cg",
            Box::new(Cg::new(20, tolerance).unwrap()),
            false,
            exact,
            (Indefinite, None),
            exact,
        ),
        Row {
            damping: 0.7,
            ..row("cg damped", Box::new(damped()), false, exact, (Indefinite, None), exact)
        },
        row(
            "normal-cg",
            Box::new(NormalCg::new(50, tolerance).unwrap()),
            false,
            exact,
            exact,
            exact,
        ),
        row("minres", Box::new(Minres::new(50, tolerance).unwrap()), false, exact, exact, exact),
        Row { damping: 0.3, ..row("minres damped", Box::new(minres), false, exact, exact, exact) },
        row("gmres", gmres(30), true, exact, exact, exact),
        row("gmres restarted", gmres(4), true, exact, exact, exact),
        row("bicgstab", Box::new(BiCgStab::new(50, tolerance).unwrap()), true, exact, exact, exact),
        row(
            "neumann",
            Box::new(Neumann::new(0.6, 300, tolerance).unwrap()),
            true,
            exact,
            (Diverged, None),
            exact,
        ),
        row("approx-grad", gd(0.3), false, exact, exact, exact),
        Row {
            damping: 0.3,
            ..row(
                "approx-grad damped",
                Box::new(gd(0.3).with_damping(0.3).unwrap()),
                false,
                exact,
                exact,
                exact,
            )
        },
        row(
            "approx-grad, too long a step",
            gd(0.6),
            false,
            (Diverged, None),
            (Diverged, None),
            (Diverged, None),
        ),
        row("approx-grad by adam", Box::new(adam), false, rough, rough, (Converged, None)),
        row(
            "identity",
            Box::new(Identity),
            true,
            (Approximate, None),
            (Approximate, None),
            (Approximate, None),
        ),
        Row {
            damping: 0.3,
            ..row(
                "nystrom",
                nystrom,
                false,
                (Approximate, Some(1e-9)),
                (Indefinite, None),
                (Approximate, Some(1e-9)),
            )
        },
        row("dense", Box::new(Dense::new()), true, exact, exact, (Singular, Some(1e-9))),
    ]
}

fn off(found: &[f64], expected: &[f64]) -> f64 {
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
    norm(&mut found.iter().zip(expected).map(|(f, e)| f - e)) / norm(&mut expected.iter().copied())
}

#[test]
fn linear_solvers_solve_what_they_claim_and_say_so_where_they_do_not() {
    for row in solvers() {
        let cases = [
            ("definite", DEFINITE, row.definite),
            ("indefinite", INDEFINITE, row.indefinite),
            ("singular", SINGULAR, row.singular),
        ];
        for (kind, spectrum, (status, tolerance)) in cases {
            let name = format!("{} on a {kind} system", row.name);
            let matrix = with_spectrum(spectrum);
            let b = times(&matrix, &numbers(5, N));
            let found = solve_by(row.solver.as_ref(), &matrix, &b, None);
            assert_eq!(found.status, status, "{name}, residual {:?}", found.residual);
            let q = found.q.to_vec();
            assert!(q.iter().all(|v| v.is_finite()), "{name}: {q:?}");
            if let Some(tolerance) = tolerance {
                let error = off(&q, &times(&inverse(spectrum, row.damping), &b));
                assert!(error <= tolerance, "{name}: off {error:e}");
            }
            // What is said of the residual is true.
            let image: Vec<_> =
                times(&matrix, &q).iter().zip(&q).map(|(a, q)| a + row.damping * q).collect();
            if let Some(residual) = found.residual {
                let error = (residual - off(&image, &b)).abs();
                assert!(error <= 1e-9, "{name}: residual {residual:e}, off {error:e}");
            } else {
                assert_eq!(row.name, "identity");
            }
        }
    }
}

#[test]
fn an_operator_that_is_not_symmetric_is_solved_or_refused() {
    let mut matrix = with_spectrum(DEFINITE);
    for (i, row) in matrix.iter_mut().enumerate() {
        for (j, entry) in row.iter_mut().enumerate() {
            *entry += 0.2 * (i as f64 - j as f64);
        }
    }
    let b = numbers(6, N);
    let expected = eliminate(matrix.clone(), b.clone());
    for row in solvers() {
        let product = |v: &Vector| point(&times(&matrix, &v.to_vec()));
        let operator = Operator::general(&product);
        let b = point(&b);
        let found = row.solver.solve(&System::new(&operator, &b));
        assert_eq!(found.is_ok(), row.general, "{}", row.name);
        match found {
            Ok(found) if ["gmres", "gmres restarted", "bicgstab", "dense"].contains(&row.name) => {
                assert_eq!(found.status, LinearStatus::Converged, "{}", row.name);
                assert_close(row.name, &found.q.to_vec(), &expected, 1e-9);
            }
            Ok(_) => {}
            Err(error) => {
                assert!(matches!(error, Error::NotSymmetric { .. }), "{error}");
                assert!(error.to_string().contains("use gmres"), "{error}");
                assert_eq!(operator.products(), 0, "refused before it runs");
            }
        }
    }
}

#[test]
fn no_linear_solver_hides_numbers_that_are_not_finite() {
    let matrix = with_spectrum(DEFINITE);
    let mut broken = matrix.clone();
    broken[2][2] = f64::NAN;
    let product = |v: &Vector| point(&times(&broken, &v.to_vec()));
    for row in solvers() {
        let solved_by = |b: &[f64]| {
            let operator = Operator::symmetric(&product);
            row.solver.solve(&System::new(&operator, &point(b))).unwrap()
        };
        let found = solved_by(&[1.0; N]);
        let expected = if row.name == "identity" {
            LinearStatus::Approximate
        } else {
            LinearStatus::NotFinite
        };
        assert_eq!(found.status, expected, "{}", row.name);
        let found = solved_by(&[f64::INFINITY; N]);
        assert_eq!((found.status, found.products), (LinearStatus::NotFinite, 0), "{}", row.name);
        assert_eq!(found.q.to_vec(), [0.0; N]);
        let found = solved_by(&[0.0; N]);
        assert_eq!((found.status, found.products), (LinearStatus::Converged, 0), "{}", row.name);
        assert_eq!(found.q.to_vec(), [0.0; N]);
    }
}

/// A solver that is wrong about what it found.
#[derive(Debug)]
struct Careless;

impl LinearSolver for Careless {
    fn name(&self) -> &'static str {
        "careless"
    }

    fn describe(&self) -> String {
        "careless".into()
    }

    fn run(&self, system: &System<'_>) -> Solution {
        Solution::new(system.rhs().scale(f64::NAN), LinearStatus::Converged, Some(0.0))
    }
}

#[test]
fn a_solver_from_outside_cannot_hide_them_either() {
    let found = solve_by(&Careless, &with_spectrum(DEFINITE), &[1.0; N], None);
    assert_eq!(found.status, LinearStatus::NotFinite);
    let oracle = penalties(Fit::Squares, &device());
    let (_, status) = hypergradient(&oracle, &mut Implicit::new(short(), Careless));
    assert!(!status.is_ok() && status.to_string().contains("not finite"), "{status}");
}

#[test]
fn a_system_without_solution_is_never_called_solved() {
    let matrix = with_spectrum(SINGULAR);
    let b = numbers(7, N);
    for row in solvers().into_iter().filter(|row| row.damping == 0.0 && row.name != "identity") {
        let found = solve_by(row.solver.as_ref(), &matrix, &b, None);
        assert!(!found.status.is_ok(), "{}: {}", row.name, found.status);
        assert!(found.q.all_finite(), "{}", row.name);
        // Those that find the least-squares solution say why it is no more.
        if ["normal-cg", "minres", "gmres", "dense"].contains(&row.name) {
            assert_eq!(found.status, LinearStatus::Singular, "{}", row.name);
            let q = found.q.to_vec();
            let image = times(&matrix, &q);
            let projected = times(&matrix, &times(&inverse(SINGULAR, 0.0), &b));
            assert_close(row.name, &image, &projected, 1e-6);
        }
    }
}

#[test]
fn a_singular_diagonal_is_named_by_every_solver() {
    // Products without rounding, and b with a part in the null space: what is left of it is a direction whose
    // curvature is made of rounding.
    let diagonal = |entries: [f64; N]| -> Matrix {
        (0..N).map(|i| (0..N).map(|j| if i == j { entries[i] } else { 0.0 }).collect()).collect()
    };
    let null = [0.0, 1.0, 0.0, 0.0, 0.0, 0.0];
    let systems = [
        (diagonal([1.0, 0.0, 2.0, 1.0, 2.0, 1.0]), [1.0; N]),
        (diagonal([1.0, 0.0, 2.0, 1.0, 2.0, 1.0]), [0.3, 0.7, -0.2, 0.1, 0.9, -0.4]),
        (diagonal([1.0, 0.0, 2.0, 3.0, 5.0, 0.1]), [0.3, 1e-3, -0.2, 0.1, 0.9, -0.4]),
        (diagonal([1.0, 0.0, 2.0, 1.0, 2.0, 1.0]), null),
        (diagonal([1e-6, 0.0, 2e-6, 1e-6, 2e-6, 1e-6]), [1e5; N]),
    ];
    for row in solvers().into_iter().filter(|row| row.damping == 0.0 && row.name != "identity") {
        for (at, (matrix, b)) in systems.iter().enumerate() {
            let found = solve_by(row.solver.as_ref(), matrix, b, None);
            let name = format!("{} on system {at}", row.name);
            assert!(!found.status.is_ok(), "{name}: {}", found.status);
            let scale = b.iter().map(|b| b.abs()).fold(0.0, f64::max) / matrix[0][0];
            let largest = found.q.to_vec().iter().map(|q| q.abs()).fold(0.0, f64::max);
            // The residuals of bicgstab are minimised over nothing: it may stop far out.
            let bound = if row.name == "bicgstab" { 1e10 } else { 1e5 };
            assert!(largest < bound * scale, "{name}: {largest:e}, {}", found.status);
            if ["cg", "normal-cg", "minres", "gmres", "dense"].contains(&row.name) {
                assert_eq!(found.status, LinearStatus::Singular, "{name}");
                let text = found.status.to_string();
                assert!(["damping", "normal-cg", "gmres"].iter().all(|cure| text.contains(cure)));
            }
        }
    }
}

#[test]
fn cg_solves_what_is_ill_conditioned_and_not_singular() {
    let spectrum = [1e-10, 0.8, 1.0, 1.3, 1.7, 2.0];
    let matrix = with_spectrum(spectrum);
    let b = times(&matrix, &numbers(5, N));
    let found = solve_by(&Cg::new(100, 1e-12).unwrap(), &matrix, &b, None);
    assert_eq!(found.status, LinearStatus::Converged, "{:?}", found.residual);
}

#[test]
fn a_guess_that_solves_the_system_takes_one_product_and_a_bad_one_is_dropped() {
    let matrix = with_spectrum(DEFINITE);
    let b = numbers(5, N);
    let iterative = [
        "cg",
        "cg damped",
        "normal-cg",
        "minres",
        "minres damped",
        "gmres",
        "bicgstab",
        "neumann",
        "approx-grad",
        "approx-grad damped",
    ];
    for row in solvers().into_iter().filter(|row| iterative.contains(&row.name)) {
        let expected = times(&inverse(DEFINITE, row.damping), &b);
        let found = solve_by(row.solver.as_ref(), &matrix, &b, Some(&expected));
        assert_eq!((found.status, found.products), (LinearStatus::Converged, 1), "{}", row.name);
        let cold = solve_by(row.solver.as_ref(), &matrix, &b, None);
        let found = solve_by(row.solver.as_ref(), &matrix, &b, Some(&[1e9; N]));
        assert_eq!(found.products, cold.products + 1, "{}", row.name);
        // One of another module is none.
        let other = Values::new(&[0.1; N], &device());
        let other = Vector::from_slice(&Layout::of(&other), &expected, &device());
        let product = |v: &Vector| point(&times(&matrix, &v.to_vec()));
        let (operator, b) = (Operator::symmetric(&product), point(&b));
        let found = row.solver.solve(&System::new(&operator, &b).with_guess(Some(&other)));
        assert_eq!(found.unwrap().products, cold.products, "{}", row.name);
    }
}

#[test]
fn the_iteration_limit_and_the_products_are_what_the_documentation_says() {
    // One product an iteration, or two; and no iteration more than the limit.
    let tolerance = 1e-14;
    let rows: Vec<(Solver, usize)> = vec![
        (Box::new(Cg::new(3, tolerance).unwrap()), 3),
        (Box::new(NormalCg::new(3, tolerance).unwrap()), 6),
        (Box::new(Gmres::new(3, tolerance).unwrap()), 3),
        (Box::new(Gmres::new(3, tolerance).unwrap().with_restart(1).unwrap()), 5),
        (Box::new(BiCgStab::new(3, tolerance).unwrap()), 6),
        (Box::new(Neumann::new(0.4, 3, tolerance).unwrap()), 3),
        (Box::new(ApproxGrad::gd(0.2, 3, tolerance).unwrap()), 6),
        (Box::new(ApproxGrad::adam(0.1, 3, tolerance).unwrap()), 6),
    ];
    for (solver, products) in rows {
        let name = solver.describe();
        let found = solve_by(solver.as_ref(), &with_spectrum(DEFINITE), &numbers(5, N), None);
        assert_eq!(
            (found.status, found.products),
            (LinearStatus::IterationLimit, products),
            "{name}"
        );
    }
    // Of a later system on the same operator, its own.
    let matrix = with_spectrum(DEFINITE);
    let product = |v: &Vector| point(&times(&matrix, &v.to_vec()));
    let (operator, b) = (Operator::symmetric(&product), point(&numbers(5, N)));
    let cg = Cg::new(3, tolerance).unwrap();
    let solved = [(); 2].map(|()| cg.solve(&System::new(&operator, &b)).unwrap().products);
    assert_eq!(solved, [3, 3]);
    let rows: Vec<(Solver, usize)> = vec![
        (Box::new(Nystrom::new(4, 0.1, 0).unwrap()), 5),
        (Box::new(Dense::new()), N),
        (Box::new(Identity), 0),
    ];
    for (solver, products) in rows {
        let found = solve_by(solver.as_ref(), &with_spectrum(DEFINITE), &numbers(5, N), None);
        assert_eq!(found.products, products, "{}", solver.describe());
    }
}

#[test]
fn the_error_of_neumann_falls_at_the_rate_of_its_contraction() {
    let (matrix, b) = (with_spectrum(DEFINITE), numbers(5, N));
    let expected = times(&inverse(DEFINITE, 0.0), &b);
    let points: Vec<_> = (20..60)
        .map(|terms| {
            let neumann = Neumann::new(0.4, terms, 1e-300).unwrap();
            let found = solve_by(&neumann, &matrix, &b, None);
            (terms as f64, off(&found.q.to_vec(), &expected).ln())
        })
        .collect();
    let n = points.len() as f64;
    let mean = |f: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / n;
    let (t, e) = (mean(&|p| p.0), mean(&|p| p.1));
    let slope = mean(&|p| (p.0 - t) * (p.1 - e)) / mean(&|p| (p.0 - t).powi(2));
    // rho(I - 0.4 A) = 1 - 0.4 * 0.5
    assert!((slope / 0.8_f64.ln() - 1.0).abs() < 1e-2, "{slope}");
}

#[test]
fn the_error_of_nystrom_falls_with_its_columns() {
    let spectrum = [8.0, 2.0, 0.5, 0.1, 0.02, 0.004];
    let (matrix, b) = (with_spectrum(spectrum), numbers(5, N));
    let expected = times(&inverse(spectrum, 0.1), &b);
    let error = |columns| {
        let of_seed = |seed| {
            let nystrom = Nystrom::new(columns, 0.1, seed).unwrap();
            let found = solve_by(&nystrom, &matrix, &b, None);
            assert_eq!(found.status, LinearStatus::Approximate);
            let again = solve_by(&nystrom, &matrix, &b, None);
            assert_eq!(found.q.to_vec(), again.q.to_vec(), "the seed decides");
            off(&found.q.to_vec(), &expected)
        };
        let errors: Vec<_> = (0..8).map(of_seed).collect();
        let same = errors.iter().all(|error| (error - errors[0]).abs() < 1e-9);
        assert_eq!(same, columns == N, "{columns} columns, {errors:?}");
        errors.iter().sum::<f64>() / 8.0
    };
    let errors = [1, 2, 4, N].map(error);
    assert!(errors.windows(2).all(|pair| pair[1] < pair[0]), "{errors:?}");
    assert!(errors[3] < 1e-9, "{errors:?}");
}

#[test]
fn dense_refuses_what_is_too_large_before_anything_runs() {
    let oracle = penalties(Fit::Squares, &device());
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let mut method = Implicit::new(descent(Gd::new(0.3), 5), Dense::up_to(FEATURES - 1).unwrap());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let error = method.hypergradient(problem, &y).unwrap_err();
    assert_eq!(error, Error::TooLarge { solver: "dense", found: FEATURES, limit: FEATURES - 1 });
    assert!(error.to_string().contains("use cg"), "{error}");
    assert_eq!(oracle.cost(), Cost::default());
    let mut method = Implicit::new(descent(Gd::new(0.3), 5), Dense::up_to(FEATURES).unwrap());
    method.hypergradient(problem, &y).unwrap();
}

#[test]
fn a_status_names_its_cause_and_its_cure() {
    use LinearStatus::*;
    let texts = [
        (Approximate, "by design", "compare"),
        (IterationLimit, "iteration limit", "allow more"),
        (Indefinite, "not positive definite", "regularise"),
        (Singular, "singular", "regularise"),
        (Breakdown, "broke down", "use"),
        (Diverged, "diverged", "reduce"),
        (NotFinite, "not finite", "look for NaN"),
    ];
    for (solver, cause, cure) in texts {
        let (residual, relative) = (None, None);
        let status = Status::Implicit { solver, residual, stationarity: 1.0, relative };
        let text = status.to_string();
        let (before, after) = text.split_once(": ").unwrap();
        assert!(before.contains(cause) && after.contains(cure), "{text}");
        assert!(text.contains("residual unknown"), "{text}");
        assert_eq!(status.is_ok(), solver == Approximate, "{text}");
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    let zero = "at least 1";
    let rows: Vec<(Result<Solver, Error>, &str)> = vec![
        (Cg::new(0, 1e-3).map(|s| Box::new(s) as Solver), zero),
        (NormalCg::new(1, 0.0).map(|s| Box::new(s) as Solver), "above 0"),
        (Gmres::new(1, 1.0).and_then(|s| s.with_restart(0)).map(|s| Box::new(s) as Solver), zero),
        (BiCgStab::new(1, f64::NAN).map(|s| Box::new(s) as Solver), "above 0"),
        (Neumann::new(-1.0, 1, 1.0).map(|s| Box::new(s) as Solver), "above 0"),
        (ApproxGrad::gd(0.0, 1, 1.0).map(|s| Box::new(s) as Solver), "above 0"),
        (Nystrom::new(1, 0.0, 0).map(|s| Box::new(s) as Solver), "above 0"),
        (Nystrom::new(0, 1.0, 0).map(|s| Box::new(s) as Solver), zero),
        (Dense::up_to(0).map(|s| Box::new(s) as Solver), zero),
    ];
    for (result, expected) in rows {
        let text = result.map(|solver| solver.describe()).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
    let rising = Implicit::new(short(), Identity).with_tolerances(Schedule::geometric(1.0, 1.1));
    assert!(rising.unwrap_err().to_string().contains("(0, 1)"));
}

// ---- hypergradients --------------------------------------------------------------------------------

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
    // The map is the last step that was made, of three.
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
    // A step beyond 2 / L that does not climb yet, as the gradient is not along the steepest curvature.
    let oracle = penalties(Fit::Logistic, &device());
    let mut method = FixedPoint::new(descent(Gd::new(1.3), 1), 500, 1e-12).unwrap();
    let (_, status) = hypergradient(&oracle, &mut method);
    assert!(
        matches!(status, Status::Implicit { solver: LinearStatus::Diverged, .. }),
        "unexpected: {status}"
    );
}

/// `f = sum x y^2`, `F = sum (y - 1)^2`: from y = 0 the lower level has nowhere to go.
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
    // As near to the optimum as with exact hypergradients.
    assert!(falling[39].1 < 1.05 * exact[39].1 + 1e-4, "{:?} {:?}", falling[39], exact[39]);
    assert!(falling[39].1 < 0.2 * falling[0].1, "{falling:?}");
}

#[test]
fn a_lower_level_that_misses_its_tolerance_is_named() {
    let oracle = penalties(Fit::Squares, &device());
    let solver = Cg::new(20, 1e-9).unwrap();
    let mut method = Implicit::new(short(), solver).with_tolerances(1e-9).unwrap();
    let (_, status) = hypergradient(&oracle, &mut method);
    assert!(matches!(status, Status::LowerLimit { .. }) && !status.is_ok(), "{status}");
    assert!(status.to_string().contains("allow more lower steps"), "{status}");
    // One tolerance a call, and never less than the least.
    let falling = Schedule::geometric(1e-9, 0.1);
    let cg = || Cg::new(20, 1e-9).unwrap();
    let falling = Implicit::new(short(), cg()).with_tolerances(falling).unwrap();
    let mut falling = falling.with_least_tolerance(1e-11).unwrap();
    let seen = [(); 4].map(|()| match hypergradient(&oracle, &mut falling).1 {
        Status::LowerLimit { tolerance, .. } => tolerance,
        other => panic!("unexpected: {other}"),
    });
    assert_close("tolerances", &seen, &[1e-9, 1e-10, 1e-11, 1e-11], 1e-12);
    // One that is met says all there is to say.
    let mut loose = Implicit::new(short(), cg()).with_tolerances(1e9).unwrap();
    let (_, status) = hypergradient(&oracle, &mut loose);
    assert!(matches!(status, Status::Implicit { relative: None, .. }), "{status}");
}

#[test]
fn an_implicit_formula_far_from_stationary_is_a_warning() {
    let oracle = penalties(Fit::Squares, &device());
    let made: [&dyn Fn(usize) -> Box<dyn HypergradientMethod>; 3] = [
        &|steps| {
            let cg = Cg::new(50, 1e-13).unwrap();
            Box::new(Implicit::new(descent(Gd::new(0.1), steps), cg))
        },
        &|steps| Box::new(FixedPoint::new(descent(Gd::new(0.1), steps), 5000, 1e-9).unwrap()),
        &|steps| {
            let cg = Cg::new(50, 1e-13).unwrap();
            Box::new(Imaml::new(Implicit::new(descent(Gd::new(0.1), steps), cg), 0.5).unwrap())
        },
    ];
    for make in made {
        let (mut few, mut many) = (make(4), make(400));
        let (_, status) = hypergradient(&oracle, few.as_mut());
        let text = status.to_string();
        assert!(!status.is_ok() && text.contains("allow more lower steps"), "{text}");
        let Status::Implicit { relative: Some(relative), .. } = status else { panic!("{text}") };
        assert!(relative > Status::STATIONARY && relative < 1.0, "{text}");
        let (_, status) = hypergradient(&oracle, many.as_mut());
        assert!(status.is_ok(), "{status}");
    }
    // A warm start is near already: where the first one began counts. So does a start that is a solution.
    let (x, mut y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let mut method = made[0](4);
    let statuses = [(); 30].map(|()| {
        let found = method.hypergradient(problem, &y).unwrap();
        y = found.lower;
        found.status.is_ok()
    });
    assert_eq!((statuses[0], statuses[29]), (false, true));
    let solved = descent(Gd::new(0.5), 600).run(&problem, &y).unwrap().state.y;
    for make in made.iter().take(2) {
        let found = make(4).hypergradient(problem, &solved).unwrap();
        assert!(found.status.is_ok(), "{}", found.status);
    }
}

#[test]
fn a_descent_that_ends_early_and_not_at_its_tolerance_is_named_too() {
    let oracle = penalties(Fit::Squares, &device());
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let (steps, mut early) = (2000, [0, 0]);
    for k in 0..60 {
        let tolerance = 0.8_f64.powi(k);
        let heavy_ball = || descent(Momentum::new(0.5, 0.9), steps);
        let ended = heavy_ball().run_until(&problem, &y, tolerance).unwrap();
        let slope = problem.gradient(Objective::Lower, &ended.state.y, Wrt::Y).1.into_y().norm();
        let mut method = Implicit::new(heavy_ball(), Cg::new(50, 1e-9).unwrap())
            .with_tolerances(tolerance)
            .unwrap();
        let (_, status) = hypergradient(&oracle, &mut method);
        let named = matches!(status, Status::LowerLimit { .. });
        assert_eq!(named, slope > tolerance && !ended.climbed(), "{tolerance}: {status}");
        early[usize::from(named)] += usize::from(ended.steps < steps);
    }
    assert!(early[0] > 0 && early[1] > 0, "{early:?}");
}

#[test]
fn a_solver_that_found_nothing_is_named_where_the_lower_level_climbs_too() {
    let oracle = penalties(Fit::Squares, &device());
    let climbing = || descent(Gd::new(30.0), 2);
    let (_, status) = hypergradient(&oracle, &mut Implicit::new(climbing(), Identity));
    assert!(matches!(status, Status::NoDescent { .. }), "{status}");
    let (_, status) = hypergradient(&oracle, &mut Implicit::new(climbing(), Careless));
    let broken = matches!(status, Status::Implicit { solver: LinearStatus::NotFinite, .. });
    assert!(broken, "{status}");
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
