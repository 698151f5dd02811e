//! Iterations, rates of convergence, limits and refused settings of the linear solvers.

use super::*;

#[test]
fn the_iteration_limit_and_the_products_are_what_the_documentation_says() {
    // One product per iteration, or two; and no iteration beyond the limit.
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
        let (matrix, b) = (with_spectrum(DEFINITE), numbers(5, N));
        let found = solve_by(solver.as_ref(), &matrix, &b, None);
        assert_eq!(
            (found.status, found.products),
            (LinearStatus::IterationLimit, products),
            "{name}"
        );
        assert_residual(&name, (&matrix, 0.0), &b, &found);
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
