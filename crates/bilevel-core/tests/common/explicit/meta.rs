//! Methods that differentiate in the start, or start at x.

use super::plans::plans;
use super::*;

#[test]
fn maml_is_the_derivative_in_x_as_the_start() {
    for (name, make) in DYNAMICS {
        for steps in [1, 2, 7] {
            let name = format!("{name}, {steps} steps");
            let oracle = bent();
            let expected = five_point(&X, |x| unrolled(&oracle, &make(steps), x, x));
            assert_close(&name, &gradient(&oracle, Maml::new(make(steps))), &expected, 1e-8);
            // The rates and the start of one module: the first five numbers of x and the last five.
            let oracle = adapted();
            let at = [X, Y].concat();
            let value = |x: &[f64]| unrolled(&oracle, &make(steps), x, &x[FEATURES..]);
            let expected = five_point(&at, value);
            let maml = || Maml::new(make(steps)).with_part("initial");
            let found = gradient(&oracle, maml());
            assert_close(&name, &found, &expected, 1e-8);
            let checkpointed = maml().with_plan(Plan::Binomial(2));
            assert_eq!(gradient(&oracle, checkpointed), found, "{name}");
        }
    }
}

#[test]
fn fomaml_is_maml_without_second_derivatives() {
    let oracle = adapted();
    let part = "initial";
    let error = |s| {
        let exact = gradient(&oracle, Maml::new(gd(s, 5)).with_part(part));
        distance(&gradient(&oracle, Fomaml::new(gd(s, 5)).with_part(part)), &exact)
    };
    assert!((error(2e-5) / error(1e-5) - 2.0).abs() < 1e-2, "{}", error(2e-5) / error(1e-5));
    // F_x in the rates, F_y in the start.
    let (x, start) = (oracle.upper_start(), oracle.lower_start());
    let start = Vector::from_slice(start.layout(), &Y, &device());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let end = gd(0.05, 5).run(&problem, &start).unwrap().state.y;
    let (along_x, along_y) = problem.gradient(Objective::Upper, &end, Wrt::Both).1.into_both();
    let expected = [&along_x.to_vec()[..FEATURES], &along_y.to_vec()].concat();
    assert_eq!(gradient(&oracle, Fomaml::new(gd(0.05, 5)).with_part(part)), expected);
}

#[test]
fn reptile_goes_to_the_end_of_the_lower_steps() {
    let oracle = adapted();
    let (s, scale) = (0.05, 0.2);
    let found = run(&oracle, &mut Reptile::new(gd(s, 3), scale).unwrap().with_part("initial"));
    assert_eq!(found.status, Status::Approximate);
    let (rates, way) = (&found.gradient.to_vec()[..FEATURES], &found.gradient.to_vec()[FEATURES..]);
    assert_eq!(rates, [0.0; FEATURES]);
    let moved: Vec<_> = Y.iter().zip(way).map(|(start, way)| start - scale * way).collect();
    assert_close("a step against it", &moved, &found.lower.to_vec(), 1e-14);
    // Divided by the step size: the sum of the lower gradients. From x itself, here y's first.
    let oracle = bent();
    let found = gradient(&oracle, Reptile::new(gd(s, 1), s).unwrap());
    let x = oracle.upper_start();
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let start = Vector::from_slice(oracle.lower_layout(), &X, &device());
    let slope = problem.gradient(Objective::Lower, &start, Wrt::Y).1.into_y();
    assert_close("one step", &found, &slope.to_vec(), 1e-12);
}

#[test]
fn a_start_in_x_that_does_not_fit_is_refused_before_anything_runs() {
    let oracle = adapted();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let before = oracle.cost();
    let descent = || gd(0.05, 2);
    let reptile = Reptile::new(descent(), 1.0).unwrap();
    let methods: [(&str, Box<dyn HypergradientMethod>); 4] = [
        ("x has the variables [\"rates.values [5] F64\", ", Box::new(Maml::new(descent()))),
        ("x has the variables [\"rates.values [5] F64\", ", Box::new(Fomaml::new(descent()))),
        ("x has the variables [\"rates.values [5] F64\", ", Box::new(reptile)),
        ("the part `init` of x has the", Box::new(Maml::new(descent()).with_part("init"))),
    ];
    for (text, mut method) in methods {
        let error = method.hypergradient(problem, &y).unwrap_err();
        assert!(matches!(error, Error::StartShapes { .. }), "{error}");
        assert!(error.to_string().starts_with(text), "{error}");
    }
    assert_eq!(oracle.cost(), before);
}

#[test]
fn ia_gm_is_the_derivative_in_x_and_in_the_start() {
    let oracle = bent();
    for (name, make) in DYNAMICS {
        for steps in [1, 7, 30] {
            let name = format!("{name}, {steps} steps");
            let found = run(&oracle, &mut Unrolled::ia_gm(make(steps)));
            assert_eq!(
                found.gradient.to_vec(),
                gradient(&oracle, Unrolled::rad(make(steps))),
                "{name}"
            );
            let expected = five_point(&Y, |y| unrolled(&oracle, &make(steps), &X, y));
            assert_close(&name, &found.start.clone().unwrap().to_vec(), &expected, 1e-8);
            let checkpointed = Unrolled::ia_gm(make(steps)).with_plan(Plan::Sqrt);
            assert_eq!(bits(&run(&oracle, &mut { checkpointed })), bits(&found), "{name}");
        }
    }
}

#[test]
fn iaptt_is_ia_gm_through_the_steps_to_the_top_of_the_upper_loss() {
    let oracle = small(Small::Hill);
    let x = oracle.upper_start();
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    // y_k / x = 1 - 0.7^k (1 - y_0 / x): the nearest to 1/2 is the top.
    // From x itself no step moves: all are worst, and the first counts.
    let cases = [
        (0.0, 8, 2),
        (0.0, 3, 2),
        (0.0, 1, 1),
        (0.0, 2, 2),
        (-1.0, 8, 4),
        (0.5, 8, 1),
        (1.0, 8, 1),
    ];
    for (from, steps, worst) in cases {
        let name = format!("from {from} x, {steps} steps");
        let start = Vector::from_slice(oracle.lower_layout(), &X.map(|x| from * x), &device());
        let expected = Unrolled::ia_gm(gd(0.3, worst)).hypergradient(problem, &start).unwrap();
        for plan in plans(steps) {
            let mut iaptt = Iaptt::new(gd(0.3, steps)).with_plan(plan);
            let before = oracle.cost();
            let found = iaptt.hypergradient(problem, &start).unwrap();
            assert_eq!(bits(&found), bits(&expected), "{name}, {plan:?}");
            let cost = Cost {
                lower_gradients: steps as u64,
                lower_products: worst as u64,
                lower_values: if worst < steps { 2 } else { 1 },
                upper_gradients: 1,
                upper_values: steps as u64,
                ..Cost::default()
            };
            if plan == Plan::Trajectory {
                assert_eq!(oracle.cost() - before, cost, "{name}");
            }
            assert_eq!(found.status, Status::Exact);
        }
    }
}

#[test]
fn iaptt_does_not_pass_over_a_loss_that_is_no_number() {
    let oracle = small(Small::Gap);
    let x = oracle.upper_start();
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    // From 0 by halves: y_1 = x/2.
    let start = x.zeros_like();
    let start = Vector::from_slice(oracle.lower_layout(), &start.to_vec(), &device());
    let found = Iaptt::new(gd(0.5, 3)).hypergradient(problem, &start).unwrap();
    assert!(matches!(found.status, Status::NotFinite { .. }), "{}", found.status);
}
