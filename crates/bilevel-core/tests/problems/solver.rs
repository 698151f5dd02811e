//! What the solver of joint methods refuses, and what stops its runs.

use bilevel_core::*;
use bilevel_problems::{Constrained, Instance, Values};

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

#[test]
fn a_constraint_that_is_not_a_number_is_not_satisfied() {
    let start = [-0.5; Constrained::SIZE];
    let (x, y) = (Values::new(&start, &device()), Values::new(&start, &device()));
    let instance = Instance::new(Constrained, &x, &y, ()).unwrap();
    let log = || {
        let h = |_: &Values, y: &Values| y.val().log();
        ModuleConstraints::new(&x, &y, h).unwrap()
    };
    let penalty =
        Penalty::new(rates(0.05, 0.1), PenaltySettings { steps: 2, gamma: 1.0, tolerance: 1.0 })
            .unwrap()
            .with_inequalities(log());
    let gap = Gap::new(rates(0.05, 0.1), 0.3, (2.0, 1.0), 1.0).unwrap();
    let gap = gap.with_constraints(log(), 10.0).unwrap();
    let methods: [Box<dyn JointMethod>; 2] = [Box::new(penalty), Box::new(gap)];
    for method in methods {
        let (x, y) = (instance.x.clone(), instance.y.clone());
        let mut solver = JointSolver::new(&instance.oracle, method, x, y).unwrap();
        assert!(matches!(solver.step(0), Err(Error::NotFinite { what: "constraint", .. })));
    }
}

/// One inequality constraint, and one equality constraint between the first two entries.
#[test]
fn inequalities_and_equalities_hold_together() {
    let start = [0.2; Constrained::SIZE];
    let (x, y) = (Values::new(&start, &device()), Values::new(&start, &device()));
    let instance = Instance::new(Constrained, &x, &y, ()).unwrap();
    let sum = |_: &Values, y: &Values| y.val().sum() - 1.0;
    let same = |_: &Values, y: &Values| {
        let y = y.val();
        y.clone().narrow(0, 0, 1) - y.narrow(0, 1, 1)
    };
    let method =
        Penalty::new(rates(0.05, 0.1), PenaltySettings { steps: 5, gamma: 2.0, tolerance: 1.0 })
            .unwrap()
            .with_multipliers();
    let method = method
        .with_factors(1.001, 0.5)
        .unwrap()
        .with_inequalities(ModuleConstraints::new(&x, &y, sum).unwrap())
        .with_equalities(ModuleConstraints::new(&x, &y, same).unwrap());
    let (_, y) = run(&instance, method, Sampler::full(), 2000);
    assert!(Constrained::violation(&y.0).abs() < 1e-7, "{y:?}");
    assert!((y.0[0] - y.0[1]).abs() < 1e-7, "{y:?}");
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
