//! Linear solvers on matrices with known inverses.

#[path = "linear_limits.rs"]
mod limits;

use super::*;

const N: usize = 6;

type Matrix = Vec<Vec<f64>>;
pub(super) type Solver = Box<dyn LinearSolver>;

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
    // Of one module: vectors of two modules do not combine.
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

/// The status of a solver on a system, and its distance from the minimum-norm solution, if it reports one.
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
    // `A (A + d I)` is indefinite where the system is.
    let damped_gd = gd(0.2).with_damping(0.9).unwrap();
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
            damping: 0.9,
            ..row("approx-grad damped", Box::new(damped_gd), false, exact, exact, exact)
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

/// What is said of the residual is true.
fn assert_residual(name: &str, (matrix, damping): (&Matrix, f64), b: &[f64], found: &Solution) {
    let Some(residual) = found.residual else { return };
    let q = found.q.to_vec();
    let image: Vec<_> = times(matrix, &q).iter().zip(&q).map(|(a, q)| a + damping * q).collect();
    let error = (residual - off(&image, b)).abs();
    assert!(error <= 1e-9, "{name}: residual {residual:e}, off {error:e}");
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
            assert_eq!(found.residual.is_none(), row.name == "identity");
            assert_residual(&name, (&matrix, row.damping), &b, &found);
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

/// A solver that misreports its result.
#[derive(Debug)]
pub(super) struct Careless;

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
        assert_residual(row.name, (&matrix, 0.0), &b, &found);
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
    // Products without rounding, and b with a part in the null space: what is left of it is a direction whose curvature
    // is only rounding.
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
            // The residuals of bicgstab are not minimised: it may stop far away.
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
