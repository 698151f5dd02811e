//! How far a hypergradient at the end of the lower steps can be trusted: what is not right comes with a status that says
//! so.

use bilevel_core::minimise::Minimiser;
use bilevel_core::*;

use super::levels::*;
use super::linear::Careless;
use super::short;
use crate::common::*;
use crate::device;

#[test]
fn a_lower_level_that_misses_its_tolerance_is_named() {
    let oracle = penalties(Fit::Squares, &device());
    let solver = Cg::new(20, 1e-9).unwrap();
    let mut method = Implicit::new(short(), solver).with_tolerances(1e-9).unwrap();
    let (_, status) = hypergradient(&oracle, &mut method);
    assert!(matches!(status, Status::LowerLimit { .. }) && !status.is_ok(), "{status}");
    assert!(status.to_string().contains("allow more lower steps"), "{status}");
    // One tolerance per call, and never less than the minimum.
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
    // A warm start is close already: the start of the first descent counts. So is a start that is a solution.
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
    // And one that is a solution but for rounding.
    for start in [solved.clone(), solved.scale(1.0 + 1e-12)] {
        for make in made.iter().take(2) {
            let found = make(4).hypergradient(problem, &start).unwrap();
            assert!(found.status.is_ok(), "{}", found.status);
        }
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
fn a_hypergradient_is_right_where_its_status_is_ok_and_only_there() {
    let mut seen = [0, 0];
    for x in &POINTS {
        let oracle = entrywise(x, 1.0);
        let (at, y) = (oracle.upper_start(), oracle.lower_start());
        let problem = LowerProblem::new(&oracle, &at, Samples::default());
        for level in LEVELS.iter().chain(&DECAYS).chain(&COMPOSED) {
            for mut method in at_the_solution(level.0) {
                let found = method.hypergradient(problem, &y).unwrap();
                let right = is_right(x, level, &found);
                let (name, status) = (method.describe(), found.status);
                assert_eq!(status.is_ok(), right, "{name} at {x:?}: {status}");
                assert!(right || matches!(status, Status::Composite { .. }), "{name}: {status}");
                seen[usize::from(right)] += 1;
            }
        }
        // A minimiser keeps to the bounds by itself.
        let armijo = || Armijo::new(400, 1e-10).unwrap().onto(bounds());
        let mut method = Implicit::new(armijo(), Cg::new(20, 1e-12).unwrap());
        let found = method.hypergradient(problem, &y).unwrap();
        let right = is_right(x, &LEVELS[1], &found);
        assert_eq!(
            found.status.is_ok(),
            right,
            "{} at {x:?}: {}",
            armijo().describe(),
            found.status
        );
    }
    assert_eq!(seen, [375, 465]);
}

#[test]
fn a_composite_lower_level_is_named_after_few_steps_as_after_many() {
    let cg = || Cg::new(20, 1e-12).unwrap();
    for (x, bound) in [(POINTS[0], false), (POINTS[2], true), (POINTS[3], true)] {
        let oracle = entrywise(&x, 1.0);
        let (at, y) = (oracle.upper_start(), oracle.lower_start());
        let problem = LowerProblem::new(&oracle, &at, Samples::default());
        for steps in [5, 20, 60] {
            let check = |mut method: Implicit, composite: bool| {
                let (name, found) = (method.describe(), method.hypergradient(problem, &y).unwrap());
                let named = matches!(found.status, Status::Composite { .. });
                assert_eq!(named, composite, "{name} at {x:?}: {}", found.status);
            };
            // Of f alone, in a set twice, and with a term that is never 0.
            for (level, composite) in LEVELS.iter().zip([false, bound, bound, true, true, true]) {
                check(Implicit::new(Descent::new(level.0(), steps).unwrap(), cg()), composite);
            }
            for level in &DECAYS {
                check(Implicit::new(Descent::new(level.0(), steps).unwrap(), cg()), true);
            }
            // A share of F that decays is not 0 yet.
            let decaying = Aggregated::new(LENGTH, LENGTH, Weight::Decaying(0.2)).unwrap();
            check(Implicit::new(Descent::new(decaying, steps).unwrap(), cg()), true);
            check(Implicit::new(Armijo::new(steps, 1e-10).unwrap().onto(bounds()), cg()), bound);
            check(Implicit::new(Fista::new(steps, 1e-10).unwrap().onto(bounds()), cg()), bound);
            check(Implicit::new(Fista::new(steps, 1e-10).unwrap(), cg()), false);
        }
    }
}

#[test]
fn a_minimiser_and_a_map_of_different_problems_are_named() {
    fn to<M>(new: fn(usize, f64) -> Result<M, Error>) -> M {
        new(2000, 1e-9).unwrap()
    }
    type Pair<'a> = (fn() -> Box<dyn Minimiser>, &'a Level);
    let [gd, projected, heavy, decay, lasso, aggregated] = &LEVELS;
    let [custom, decoupled] = &DECAYS;
    let narrow: Level = (
        || Box::new(Projected::new(Gd::new(LENGTH).unwrap(), Bounds::new(-3.0, 3.5).unwrap())),
        |_, x| [x.clamp(-3.0, 3.5), f64::from(u8::from((-3.0..3.5).contains(&x))), 0.0],
    );
    // Of the same problem, of another set, and of another penalty.
    let pairs: [Pair<'_>; 16] = [
        (|| Box::new(to(Fista::new)), gd),
        (|| Box::new(to(Lbfgs::new)), gd),
        (|| Box::new(to(Fista::new).onto(bounds())), projected),
        (|| Box::new(to(Armijo::new).onto(bounds())), heavy),
        (|| Box::new(to(Fista::new)), projected),
        (|| Box::new(to(Newton::new)), heavy),
        (|| Box::new(to(Fista::new).onto(bounds())), gd),
        (|| Box::new(to(Armijo::new).onto(bounds())), &narrow),
        (|| Box::new(to(Newton::new)), decay),
        (|| Box::new(to(Lbfgs::new)), decoupled),
        (|| Box::new(to(Bfgs::new)), custom),
        (|| Box::new(to(Fista::new).onto(bounds())), decay),
        (|| Box::new(to(Fista::new)), lasso),
        (|| Box::new(to(Armijo::new).onto(bounds())), lasso),
        (|| Box::new(to(Newton::new)), aggregated),
        (|| Box::new(to(Fista::new).onto(bounds())), aggregated),
    ];
    let mut seen = [0, 0];
    for x in &POINTS {
        let oracle = entrywise(x, 1.0);
        let (at, zero) = (oracle.upper_start(), oracle.lower_start());
        let problem = LowerProblem::new(&oracle, &at, Samples::default());
        // From afar, and from the solution of f.
        let solution = bilevel_program::Vector::from_slice(zero.layout(), x, &device());
        for start in [&zero, &solution] {
            for (minimiser, level) in &pairs {
                let mut method = FixedPoint::minimised(minimiser(), level.0(), 400, 1e-12).unwrap();
                let found = method.hypergradient(problem, start).unwrap();
                let right = is_right(x, level, &found);
                let (name, status) = (method.describe(), found.status);
                assert_eq!(status.is_ok(), right, "{name} at {x:?}: {status}");
                let named = matches!(status, Status::NotFixedPoint { .. });
                assert_eq!(named, !right, "{name} at {x:?}: {status}");
                seen[usize::from(right)] += 1;
            }
        }
    }
    assert_eq!(seen, [112, 80]);
}

/// On a flat f, with steps of length 30, whose gradients are clipped far from the solution.
#[test]
fn a_long_step_and_a_clipped_one_are_of_the_same_problem() {
    const FLAT: f64 = 0.01;
    type Map = fn() -> Box<dyn Dynamics>;
    fn long() -> Gd {
        Gd::new(LENGTH / FLAT).unwrap()
    }
    let maps: [(Map, bool); 6] = [
        (|| Box::new(long()), true),
        (|| Box::new(Clipped::by_norm(long(), 1e-3).unwrap()), true),
        (|| Box::new(Clipped::by_value(long(), 1e-4).unwrap()), true),
        (|| Box::new(Projected::new(Clipped::by_norm(long(), 1e-3).unwrap(), bounds())), true),
        (|| Box::new(WeightDecay::new(long(), 1e-6).unwrap()), false),
        (|| Box::new(Clipped::by_norm(decay_of(long()), 1e-3).unwrap()), false),
    ];
    let minimisers: [fn() -> Box<dyn Minimiser>; 3] = [
        || Box::new(Fista::new(5000, 3e-9).unwrap()),
        || Box::new(Armijo::new(5000, 3e-9).unwrap()),
        || Box::new(Fista::new(5000, 3e-9).unwrap().onto(bounds())),
    ];
    let oracle = entrywise(&POINTS[0], FLAT);
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    for minimiser in minimisers {
        for (map, same) in maps {
            let mut method = FixedPoint::minimised(minimiser(), map(), 400, 1e-12).unwrap();
            let (name, found) = (method.describe(), method.hypergradient(problem, &y).unwrap());
            assert_eq!(found.status.is_ok(), same, "{name}: {}", found.status);
            let right = is_right(&POINTS[0], &LEVELS[0], &found);
            assert!(right || !same, "{name}");
        }
    }
}

#[test]
fn a_run_lists_the_steps_whose_hypergradient_is_not_to_be_trusted() {
    // One entry moves from above its bound to below.
    let oracle = entrywise(&[4.37, 0.5, 0.5, 0.5, 0.5], 1.0);
    let dynamics = Projected::new(Gd::new(LENGTH).unwrap(), bounds());
    let method = Implicit::new(Descent::new(dynamics, 400).unwrap(), Cg::new(20, 1e-12).unwrap());
    let upper = GradientStep::new(0.05).unwrap();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let mut solver = HypergradientSolver::new(&oracle, method, upper, x, y);
    let mut above = Vec::new();
    let watch = |progress: &Progress<'_>| {
        if progress.solver.y().to_vec()[0] == 4.0 {
            above.push(progress.step);
        }
        std::ops::ControlFlow::Continue(())
    };
    let outcome = Executor::new(10).unwrap().observe(watch).run(&mut solver).unwrap();
    let listed: Vec<_> = outcome.warnings.iter().map(|(step, _)| *step).collect();
    assert_eq!(listed, above);
    assert!(!listed.is_empty() && listed.len() < 10, "{listed:?}");
    for (_, status) in &outcome.warnings {
        let Status::Composite { deviation, .. } = status else { panic!("{status}") };
        assert!(*deviation > 0.0 && status.to_string().contains("fixed-point"), "{status}");
    }
    assert!(outcome.status.is_ok(), "{}", outcome.status);
}
