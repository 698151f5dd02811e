//! Plans: states that are stored and states that are recomputed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const LENGTHS: [usize; 7] = [1, 2, 3, 7, 16, 30, 37];

pub(super) fn plans(steps: usize) -> [Plan; 7] {
    let binomial = |states| Plan::binomial(states).unwrap();
    let few = [Plan::Trajectory, Plan::Sqrt, Plan::logarithmic(steps)];
    [few[0], few[1], few[2], binomial(1), binomial(2), binomial(3), Plan::Results(1 << 20)]
}

/// The most states that a plan may hold.
fn promised_states(plan: Plan, steps: usize) -> usize {
    let root = (steps as f64).sqrt().ceil() as usize;
    match plan {
        Plan::Trajectory | Plan::Results(_) => steps,
        Plan::Sqrt => 2 * root,
        Plan::Binomial(states) => states,
    }
}

/// The maximal number of steps that a plan makes, forward and backward. For the binomial one it is the minimum
/// possible, `r l - C(c + r, c + 1)` to reverse l = T + 1 steps, the last of which is F's own.
fn promised_steps(plan: Plan, steps: usize) -> usize {
    match plan {
        Plan::Trajectory | Plan::Results(_) => steps,
        Plan::Sqrt => 2 * steps,
        Plan::Binomial(c) => {
            let l = steps + 1;
            let r = (1..).find(|r| choose(c + r, c) >= l).unwrap();
            r * l - choose(c + r, c + 1)
        }
    }
}

#[test]
fn every_plan_gives_the_same_bits() {
    let oracle = bent();
    for (name, make) in DYNAMICS {
        for steps in LENGTHS {
            let expected = bits(&run(&oracle, &mut Unrolled::rad(make(steps))));
            for plan in plans(steps) {
                let found = bits(&run(&oracle, &mut Unrolled::rad(make(steps)).with_plan(plan)));
                assert_eq!(found, expected, "{name}, {steps} steps, {plan:?}");
            }
        }
    }
}

#[test]
fn a_plan_keeps_and_makes_again_what_it_promises() {
    let oracle = bent();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    for steps in LENGTHS {
        for plan in plans(steps) {
            for tail in [steps, steps.div_ceil(2)] {
                let before = oracle.cost();
                let descent = gd(0.05, steps);
                let (_, mut tape) = descent.record(&problem, &y, plan, tail).unwrap();
                let mut peak = tape.kept();
                let mut visited = Vec::new();
                while let Some((t, _)) = tape.pop() {
                    visited.push(t);
                    peak = peak.max(tape.kept());
                }
                let made = (oracle.cost() - before).lower_gradients as usize;
                let name = format!("the last {tail} of {steps} steps, {plan:?}");
                let expected: Vec<_> = (steps - tail..steps).rev().collect();
                assert_eq!(visited, expected, "{name}");
                let states = promised_states(plan, tail);
                assert!(peak <= states, "{name}: {peak} states, promised {states}");
                let most = steps - tail + promised_steps(plan, tail);
                match plan {
                    Plan::Sqrt => assert!(made <= most, "{name}: {made} steps, promised {most}"),
                    _ => assert_eq!(made, most, "{name}"),
                }
            }
        }
    }
}

/// F falls all along, so that the first step is the worst: a step of two is taken back, or several are.
#[test]
fn every_plan_gives_the_same_bits_where_steps_are_taken_back() {
    let oracle = louder(-1.0);
    for steps in [2, 3, 7] {
        let iaptt = || Iaptt::new(gd(0.05, steps));
        let expected = bits(&run(&oracle, &mut iaptt().with_plan(Plan::Trajectory)));
        for plan in plans(steps) {
            let found = bits(&run(&oracle, &mut iaptt().with_plan(plan)));
            assert_eq!(found, expected, "{steps} steps, {plan:?}");
        }
    }
}

/// An oracle whose Hessians hold ten bytes each, and the most that there were at a time.
struct Holding<O> {
    inner: O,
    held: Arc<()>,
    most: AtomicUsize,
    /// How many there were when the backward pass began.
    at_end: AtomicUsize,
}

impl<O: Oracle> Oracle for Holding<O> {
    forward_oracle!(inner: upper_layout, lower_layout, value, product);

    fn gradient(&self, objective: Objective, at: Point<'_>, wrt: Wrt<'_>) -> (Loss, Partials) {
        if objective == Objective::Upper {
            self.at_end.store(Arc::strong_count(&self.held) - 1, Ordering::Relaxed);
        }
        self.inner.gradient(objective, at, wrt)
    }

    fn linearize<'a>(
        &'a self,
        objective: Objective,
        at: Point<'_>,
        gradient: Option<Wrt<'_>>,
        along: Wrt<'_>,
        wrt: Wrt<'_>,
    ) -> Linearization<'a> {
        let found = self.inner.linearize(objective, at, gradient, along, wrt);
        let (held, hessian) = (self.held.clone(), found.hessian);
        self.most.fetch_max(Arc::strong_count(&held) - 2, Ordering::Relaxed);
        let product = move |along: Direction<'_>, wrt: Wrt<'_>| {
            let _ = &held;
            hessian.product(along, wrt)
        };
        Linearization { hessian: Hessian::new(product, 10), ..found }
    }
}

#[test]
fn results_that_are_kept_take_no_more_bytes_than_the_plan_says() {
    let results = Plan::Results;
    for (plan, most, at_end) in [
        (results(0), 0, 1),
        (results(9), 0, 1),
        (results(35), 3, 3),
        (results(1000), 11, 12),
        (Plan::Trajectory, 0, 1),
        (Plan::Sqrt, 0, 1),
        (Plan::Binomial(2), 0, 1),
    ] {
        let (held, [most_held, held_at_end]) = (Arc::default(), [0, 0].map(AtomicUsize::new));
        let oracle = Holding { inner: bent(), held, most: most_held, at_end: held_at_end };
        let (x, y) = (oracle.inner.upper_start(), oracle.inner.lower_start());
        let problem = LowerProblem::new(&oracle, &x, Samples::default());
        let rad = || Unrolled::rad(gd(0.05, 12));
        let found = rad().with_plan(plan).hypergradient(problem, &y).unwrap();
        assert_eq!(bits(&found), bits(&run(&bent(), &mut rad())), "{plan:?}");
        // Beside the one that is being computed.
        assert_eq!(oracle.most.into_inner(), most, "{plan:?}");
        assert_eq!(oracle.at_end.into_inner(), at_end, "{plan:?}");
    }
}

#[test]
fn reverse_is_forward_in_blocks_of_any_size() {
    let check = |name: &str, rad: Vec<f64>, fads: [Vec<f64>; 3]| {
        assert_close(name, &fads[0], &rad, 1e-10);
        assert_eq!(fads[1], fads[0], "{name}, blocks of 2");
        assert_eq!(fads[2], fads[0], "{name}, blocks of 1");
    };
    let blocks = |descent: &dyn Fn() -> Descent| {
        let fad = || Fad::new(descent());
        [fad(), fad().with_block(2).unwrap(), fad().with_block(1).unwrap()]
    };
    for (name, make) in DYNAMICS {
        for steps in [1, 2, 7, 30] {
            let name = format!("{name}, {steps} steps");
            for fit in [Fit::Squares, Fit::Logistic] {
                let oracle = penalties(fit, &device());
                let fads = blocks(&|| make(steps)).map(|fad| gradient(&oracle, fad));
                check(&name, gradient(&oracle, Unrolled::rad(make(steps))), fads);
            }
            let oracle = bent();
            let fads = blocks(&|| make(steps)).map(|fad| gradient(&oracle, fad));
            check(&name, gradient(&oracle, Unrolled::rad(make(steps))), fads);
        }
    }
    assert!(matches!(Fad::new(gd(0.1, 1)).with_block(0), Err(Error::InvalidSetting { .. })));
}
