//! What the solver of joint methods refuses, and what stops its runs.

use bilevel_core::*;
use bilevel_problems::{Formulas, Instance, Values};

use crate::common::*;
use crate::device;

fn rates(upper: f64, lower: f64) -> Rates {
    Rates::new(upper, lower).unwrap()
}

#[test]
fn a_sampler_draws_from_all_batches_or_none() {
    let instance = stochastic(8, 0.1);
    let solver = || {
        let (x, y) = (instance.x.clone(), instance.y.clone());
        JointSolver::new(&instance.oracle, Soba::new(rates(0.02, 0.3)), x, y).unwrap()
    };
    let refused = |found| Err(Error::Sampler { found, expected: [8, 8] });
    assert_eq!(solver().step(0), refused([1, 1]), "no sampler: one batch would stand for all");
    let few = Sampler::epochs(8, 5, 0).unwrap();
    assert_eq!(solver().with_sampler(few).step(0), refused([8, 5]));
    let right = Sampler::with_replacement(8, 8, 0).unwrap();
    assert!(solver().with_sampler(right).step(0).is_ok());
}

/// A problem of formulas with these constraints, from -0.5.
fn with_constraints(constraints: &str) -> Instance {
    let text = format!(
        "F = '(y1 - 2)^2 + (y2 + 1)^2 + (x1 - 1)^2 + x2^2'\nf = '(y1 - x1)^2 / 2 + (y2 - x2)^2 / 2'\n\
         {constraints}\nx = [0, 0]\ny = [0, 0]"
    );
    let start = [(); 2].map(|()| Values::new(&[-0.5; 2], &device()));
    Instance::new(text.parse::<Formulas>().unwrap(), &start[0], &start[1], ()).unwrap()
}

#[test]
fn a_constraint_that_is_not_a_number_is_not_satisfied() {
    let settings = PenaltySettings { steps: 2, gamma: 1.0, tolerance: 1.0 };
    let penalty = || Box::new(Penalty::new(rates(0.05, 0.1), settings).unwrap());
    let gap = Gap::new(rates(0.05, 0.1), 0.3, (2.0, 1.0), 1.0).unwrap();
    let methods: [(&str, Box<dyn JointMethod>); 3] =
        [("G", penalty()), ("g", penalty()), ("g", Box::new(gap))];
    for (level, method) in methods {
        let instance = with_constraints(&format!("{level} = ['ln(y1)']"));
        let (x, y) = (instance.x.clone(), instance.y.clone());
        let mut solver = JointSolver::new(&instance.oracle, method, x, y).unwrap();
        assert!(matches!(solver.step(0), Err(Error::NotFinite { what: "constraint", .. })));
    }
}

/// On one level, and each on a level of its own: with lower constraints in shorter steps, as `F~` is steeper.
#[test]
fn inequalities_and_equalities_hold_together() {
    for (constraints, [upper, lower], tolerance) in [
        ("G = ['y1 + y2 - 1']\nH = ['y1 - 2*y2']", [0.05, 0.1], 1e-7),
        ("g = ['y1 + y2 - 1']\nh = ['y1 - 2*y2']", [0.02, 0.03], 1e-4),
        ("G = ['y1 + y2 - 1']\nh = ['y1 - 2*y2 - x1/10']", [0.02, 0.03], 1e-4),
    ] {
        let instance = with_constraints(constraints);
        let settings = PenaltySettings { steps: 5, gamma: 2.0, tolerance: 1.0 };
        let method = Penalty::new(rates(upper, lower), settings).unwrap().with_multipliers();
        let method = method.with_factors(1.001, 0.5).unwrap();
        let (x, y) = (instance.x.clone(), instance.y.clone());
        let mut solver = JointSolver::new(&instance.oracle, method, x, y).unwrap();
        for k in 0..5000 {
            solver.step(k).unwrap();
        }
        // With lower constraints by the multipliers that the method has found.
        let residual = solver.residual();
        let of_level = if constraints.contains('h') { residual.largest() } else { 0.0 };
        assert!(residual.violation.max(of_level) < tolerance, "{constraints}: {residual:?}");
    }
}

/// A tolerance stops a run when x and y no longer move, but not while a proxy warms up or while the variable
/// v of the linear system still moves.
#[test]
fn a_tolerance_ends_a_run_at_rest() {
    let instance = instance();
    let ended = |method: Box<dyn JointMethod>, tolerance: f64| {
        let (x, y) = (instance.x.clone(), instance.y.clone());
        let mut solver = JointSolver::new(&instance.oracle, method, x, y).unwrap();
        let executor = Executor::new(4000).unwrap().with_tolerance(tolerance).unwrap();
        let outcome = executor.run(&mut solver).unwrap();
        (outcome.ending, outcome.steps, problem().hypergradient(&solver.x().to_vec()))
    };
    const WARM_UP: usize = 500;
    let jacobian = RankOne::new(&instance.x, &instance.y, 0);
    let proxy = DeltaStn::new(jacobian, rates(0.03, 0.5), Scale::fixed(0.3).unwrap(), 0);
    let (ending, steps, _) = ended(Box::new(proxy.with_warm_up(WARM_UP)), 1e-6);
    assert!(ending != Ending::Stationary || steps > WARM_UP, "{steps}");
    let (ending, _, slope) = ended(Box::new(Soba::new(rates(0.01, 0.5))), 1e-5);
    assert_eq!(ending, Ending::Stationary);
    assert!(V(slope).norm() < 1e-3);
}
