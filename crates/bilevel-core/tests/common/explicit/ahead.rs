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

/// Calls of `method`, each from the y of the last.
fn calls(
    oracle: &SmallOracle,
    count: usize,
    mut method: impl HypergradientMethod,
) -> Vec<Hypergradient> {
    let mut y = oracle.lower_start();
    let one = |_| {
        let found = from(oracle, &y, &mut method);
        y = found.lower.clone();
        found
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
            let found = calls(&oracle, 4, rad);
            assert_eq!(found[0].gradient.to_vec(), whole.gradient.to_vec(), "{name}, {kept} kept");
            assert_eq!(found[0].upper_loss.read(), whole.upper_loss.read(), "{name}");
            assert_eq!(found[0].status, Status::Exact, "{name}");
            // y is where one descent is after so many steps: its optimiser never starts over.
            for (call, found) in (1..).zip(&found) {
                let one = run(&oracle, &mut FirstOrder::new(make(call * kept)));
                let at = format!("{name}, {kept} kept, call {call}");
                assert_eq!(found.lower.to_vec(), one.lower.to_vec(), "{at}");
            }
            // It looks ahead from there, of F at the end of all steps of that descent.
            let ahead = run(&oracle, &mut FirstOrder::new(make(3 * kept + STEPS)));
            assert_eq!(found[3].upper_loss.read(), ahead.upper_loss.read(), "{name}, {kept} kept");
            let direct = FirstOrder::new(make(STEPS)).keeping(kept).unwrap();
            let direct = calls(&oracle, 4, direct);
            assert_eq!(direct[3].lower.to_vec(), found[3].lower.to_vec(), "{name}, {kept} kept");
            assert_eq!(direct[3].gradient.to_vec(), ahead.gradient.to_vec(), "{name}, {kept} kept");
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
        let y = run(&oracle, &mut moved).lower;
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

#[test]
fn without_a_memory_all_steps_kept_are_the_method_itself() {
    let oracle = bent();
    let gd = || gd(0.05, STEPS);
    let rads = [Unrolled::rad(gd()), Unrolled::rad(gd()).keeping(STEPS).unwrap()];
    let trads = [2, 2].map(|last| Unrolled::trad(gd(), last).unwrap());
    let [trad, kept] = trads;
    for [plain, kept] in [rads, [trad, kept.keeping(STEPS).unwrap()]] {
        let [plain, kept] = [plain, kept].map(|method| calls(&oracle, 3, method));
        assert!(plain.iter().map(bits).eq(kept.iter().map(bits)));
    }
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
        assert!(found.iter().map(bits).eq(expected.iter().map(bits)), "{plan:?}");
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
