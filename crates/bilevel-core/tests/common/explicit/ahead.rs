//! Lower steps that look ahead of those that y keeps.

use super::*;

const STEPS: usize = 5;

fn adam(steps: usize) -> Descent {
    descent(Adam::new(0.02).unwrap().with_decay(0.5, 0.9), steps)
}

/// All dynamics here, and one whose steps depend on their number and on two memories.
fn all_dynamics() -> impl Iterator<Item = (&'static str, Make)> {
    DYNAMICS.into_iter().chain([("adam", adam as Make)])
}

fn from(oracle: &SmallOracle, y: &Vector, method: &mut dyn HypergradientMethod) -> Hypergradient {
    let x = oracle.upper_start();
    method.hypergradient(LowerProblem::new(oracle, &x, Samples::default()), y).unwrap()
}

/// A call, and the y that it moved to.
struct Call {
    found: Hypergradient,
    y: Vector,
}

impl Call {
    fn bits(&self) -> Vec<f64> {
        [bits(&self.found), self.y.to_vec()].concat()
    }
}

/// Calls of `method`, each from the y of the last.
fn calls(oracle: &SmallOracle, count: usize, mut method: impl HypergradientMethod) -> Vec<Call> {
    let mut y = oracle.lower_start();
    let one = |_| {
        let found = from(oracle, &y, &mut method);
        y = method.kept().unwrap_or(&found.lower).clone();
        Call { found, y: y.clone() }
    };
    (0..count).map(one).collect()
}

#[test]
fn y_moves_by_the_steps_that_are_kept_and_x_sees_all() {
    let oracle = bent();
    for (name, make) in all_dynamics() {
        // The first hypergradient is that of all steps, exactly.
        let whole = run(&oracle, &mut Unrolled::rad(make(STEPS)));
        for kept in [1, 2, STEPS] {
            let rad = Unrolled::rad(make(STEPS)).keeping(kept).unwrap();
            let calls_of_rad = calls(&oracle, 4, rad);
            let first = &calls_of_rad[0].found;
            assert_eq!(bits(first), bits(&whole), "{name}, {kept} kept");
            assert_eq!(first.status, Status::Exact, "{name}");
            // y is where one descent is after so many steps: its optimiser never starts over.
            for (count, call) in (1..).zip(&calls_of_rad) {
                let one = run(&oracle, &mut FirstOrder::new(make(count * kept)));
                let at = format!("{name}, {kept} kept, call {count}");
                assert_eq!(call.y.to_vec(), one.lower.to_vec(), "{at}");
            }
            // It looks ahead from there: its lower point and losses are those at the end of all steps of that descent.
            let ahead = run(&oracle, &mut FirstOrder::new(make(3 * kept + STEPS)));
            let values = |found: &Hypergradient| {
                let losses = [found.upper_loss.read(), found.lower_loss];
                [found.lower.to_vec(), losses.to_vec()].concat()
            };
            assert_eq!(values(&calls_of_rad[3].found), values(&ahead), "{name}, {kept} kept");
            let direct = FirstOrder::new(make(STEPS)).keeping(kept).unwrap();
            let direct = calls(&oracle, 4, direct);
            assert_eq!(direct[3].y.to_vec(), calls_of_rad[3].y.to_vec(), "{name}, {kept} kept");
            assert_eq!(bits(&direct[3].found), bits(&ahead), "{name}, {kept} kept");
        }
    }
}

/// Of the steps ahead alone: the y and the memory from which they begin are fixed.
#[test]
fn later_hypergradients_are_those_of_the_steps_ahead() {
    let oracle = bent();
    for (name, make) in all_dynamics() {
        let method = || Unrolled::rad(make(STEPS)).keeping(2).unwrap();
        let mut moved = method();
        run(&oracle, &mut moved);
        let y = moved.kept().unwrap().clone();
        let mut saved = Snapshot::default();
        moved.save(&mut saved);
        let at = |x: &Vector| {
            let mut method = method();
            method.restore(&mut saved.clone(), x, &y).unwrap();
            method.hypergradient(LowerProblem::new(&oracle, x, Samples::default()), &y).unwrap()
        };
        let value = |x: &[f64]| {
            at(&Vector::from_slice(oracle.upper_layout(), x, &device())).upper_loss.read()
        };
        let found = at(&oracle.upper_start());
        assert_close(name, &found.gradient.to_vec(), &five_point(&X, value), 1e-8);
        assert_eq!(bits(&found), bits(&from(&oracle, &y, &mut moved)), "{name}, as restored");
    }
}

/// Whether keeping all steps is the method itself, over several calls.
fn is_kept_whole(make: impl Fn() -> Unrolled) -> bool {
    let oracle = bent();
    let [plain, kept] =
        [make(), make().keeping(STEPS).unwrap()].map(|method| calls(&oracle, 3, method));
    plain.iter().map(Call::bits).eq(kept.iter().map(Call::bits))
}

#[test]
fn all_steps_kept_are_the_method_itself_if_the_steps_have_neither_memory_nor_number() {
    assert!(is_kept_whole(|| Unrolled::rad(gd(0.05, STEPS))));
    assert!(is_kept_whole(|| Unrolled::trad(gd(0.05, STEPS), 2).unwrap()));
    let aggregated = |weight| descent(Aggregated::new(0.05, 0.05, weight), STEPS);
    assert!(is_kept_whole(|| Unrolled::rad(aggregated(Weight::Constant(0.5)))));
    assert!(!is_kept_whole(|| Unrolled::rad(aggregated(Weight::Decaying(0.5)))));
    assert!(!is_kept_whole(|| Unrolled::rad(heavy(STEPS))));
}

/// The optimality conditions are those of the last step of the next call: of f alone once the weight of F is small.
#[test]
fn a_residual_counts_the_steps_that_were_made() {
    let oracle = bent();
    let make = || descent(Aggregated::new(0.05, 0.05, Weight::Decaying(0.5)), STEPS);
    let mut rad = Unrolled::rad(make()).keeping(2).unwrap();
    assert_eq!(rad.last_step().unwrap().0, STEPS - 1);
    run(&oracle, &mut rad);
    run(&oracle, &mut rad);
    assert_eq!(rad.last_step().unwrap().0, 4 + STEPS - 1);
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let longer =
        Unrolled::rad(descent(Aggregated::new(0.05, 0.05, Weight::Decaying(0.5)), 4 + STEPS));
    assert_eq!(rad.residual(problem, &y), longer.residual(problem, &y));
}

#[test]
fn it_starts_warm_or_is_refused() {
    let oracle = bent();
    let solver = || {
        let rad = Unrolled::rad(adam(STEPS)).keeping(1).unwrap();
        let step = GradientStep::new(0.1).unwrap();
        HypergradientSolver::new(&oracle, rad, step, oracle.upper_start(), oracle.lower_start())
    };
    let y = || oracle.lower_start();
    let learned = Start::Learned { step_size: 0.1 };
    assert!(matches!(solver().with_start(learned), Err(Error::NoStartGradient { .. })));
    let starts = [
        ("fixed", solver()),
        ("fixed", solver().with_start(Start::Fixed).unwrap()),
        ("drawn", solver().with_drawn_start(|_| y()).unwrap()),
    ];
    for (start, mut solver) in starts {
        let before = solver.cost();
        let error = solver.step(0).unwrap_err();
        let Error::InvalidSetting { setting: "start of the lower level", found, .. } = &error
        else {
            panic!("{error}")
        };
        assert!(found.starts_with(start), "{error}");
        assert_eq!(solver.cost(), before, "{start}: nothing runs");
    }
    let mut warm = solver().with_start(Start::Warm).unwrap();
    warm.step(0).unwrap();
    let one = run(&oracle, &mut FirstOrder::new(adam(1)));
    assert_eq!(warm.y().to_vec(), one.lower.to_vec(), "y keeps one step");
}

/// `y_0 = -x`, `y_1 = 0`, `y_2 = x/2`, where F is no number.
#[test]
fn a_derivative_at_fault_is_found_at_the_end_of_the_steps_ahead() {
    let oracle = small(Small::Gap);
    let start: Vec<_> = oracle.upper_start().to_vec().iter().map(|x| -x).collect();
    let start = Vector::from_slice(oracle.lower_layout(), &start, &device());
    let found = from(&oracle, &start, &mut Unrolled::rad(gd(0.5, 2)).keeping(1).unwrap());
    let Status::NotFinite { cause: Some(cause) } = found.status else { panic!("{}", found.status) };
    assert_eq!((cause.loss, cause.order), (Objective::Upper, 1));
}

#[test]
fn looking_ahead_costs_no_more_and_keeps_to_its_plan() {
    let oracle = bent();
    let cost = |method: &mut dyn HypergradientMethod| {
        let before = oracle.cost();
        let found = run(&oracle, method);
        (oracle.cost() - before, found.gradient.to_vec())
    };
    let plain = cost(&mut Unrolled::rad(adam(STEPS)));
    let rad = || Unrolled::rad(adam(STEPS)).keeping(1).unwrap();
    assert_eq!(cost(&mut rad()), plain);
    for plan in [Plan::Trajectory, Plan::Sqrt, Plan::Binomial(2)] {
        let expected = calls(&oracle, 3, rad());
        let found = calls(&oracle, 3, rad().with_plan(plan));
        assert!(found.iter().map(Call::bits).eq(expected.iter().map(Call::bits)), "{plan:?}");
    }
    let name = "rad(5 steps of adam(step size 0.02, b1 0.5, b2 0.9, eps 1e-12), the first 1 kept)";
    assert_eq!(rad().describe(), name);
}

#[test]
fn steps_that_cannot_be_kept_are_refused() {
    let refused = [
        Unrolled::rad(adam(STEPS)).keeping(0).err(),
        Unrolled::rad(adam(STEPS)).keeping(STEPS + 1).err(),
        Unrolled::ia_gm(adam(STEPS)).keeping(1).err(),
        FirstOrder::new(adam(STEPS)).keeping(STEPS + 1).err(),
    ];
    for error in refused {
        assert!(matches!(error, Some(Error::InvalidSetting { setting: "kept steps", .. })));
    }
}

/// A memory of other variables is none of the next problem.
#[test]
fn nothing_is_carried_over_to_variables_of_another_kind() {
    let method = || Unrolled::rad(heavy(STEPS)).keeping(1).unwrap();
    let values = |seed| Values::new(&numbers(seed, 3), &device());
    let targets = |seed| vector(&numbers(seed, 3), &device());
    let data = FullBatch { upper: targets(1), lower: targets(2) };
    let other = AutodiffOracle::new(Small::Bent, &values(3), &values(4), data).unwrap();
    let other = Counted::new(other);
    let mut used = method();
    run(&bent(), &mut used);
    assert_eq!(bits(&run(&other, &mut used)), bits(&run(&other, &mut method())));
}
