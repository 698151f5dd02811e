//! What every explicit method must satisfy, on the device of the binary that includes this file.

use bilevel_core::lower::{Adjoint, State, Tangent, Update};
use bilevel_core::*;
use bilevel_program::Vector;
use burn::module::Module;
use burn::tensor::Tensor;

use crate::common::*;
use crate::device;

/// Small problems whose F looks at x too. The batch is a list of targets c.
enum Small {
    /// `f = sum exp(x) (y^2/2 + y^4/4) + (sum y)^2 / 2 - c y`, `F = sum (y - c)^2 / 2 + sin(x) y`
    Bent,
    /// `f = norm(y - x)^2 / 2`, `F = -norm(y - x/2)^2 / 2`: descents that pass the top of F.
    Hill,
    /// The same f, `F = sum (y - x/2)^2 / (y - x/2)`: no number at x/2.
    Gap,
}

impl BilevelProblem for Small {
    type Upper = Values;
    type Lower = Values;
    type Batch = Tensor<1>;

    fn upper_loss(&self, x: &Values, y: &Values, c: &Tensor<1>) -> Tensor<1> {
        let (x, y) = (x.values.val(), y.values.val());
        match self {
            Self::Bent => (y.clone() - c.clone()).powi_scalar(2).sum() / 2 + (x.sin() * y).sum(),
            Self::Hill => (y - x / 2).powi_scalar(2).sum() / -2,
            Self::Gap => {
                let from = y - x / 2;
                (from.clone() * from.clone() / from).sum()
            }
        }
    }

    fn lower_loss(&self, x: &Values, y: &Values, c: &Tensor<1>) -> Tensor<1> {
        let (x, y) = (x.values.val(), y.values.val());
        match self {
            Self::Bent => {
                let wells = y.clone().powi_scalar(2) / 2 + y.clone().powi_scalar(4) / 4;
                let coupled = y.clone().sum().powi_scalar(2) / 2;
                (x.exp() * wells).sum() + coupled - (c.clone() * y).sum()
            }
            Self::Hill | Self::Gap => (y - x).powi_scalar(2).sum() / 2,
        }
    }
}

/// A start and the rates of a penalty, both learned.
#[derive(Module, Debug)]
struct Learned {
    rates: Values,
    initial: Values,
}

/// [`Small::Bent`] with the rates for x.
struct Adapted;

impl BilevelProblem for Adapted {
    type Upper = Learned;
    type Lower = Values;
    type Batch = Tensor<1>;

    fn upper_loss(&self, x: &Learned, y: &Values, c: &Tensor<1>) -> Tensor<1> {
        Small::Bent.upper_loss(&x.rates, y, c)
    }

    fn lower_loss(&self, x: &Learned, y: &Values, c: &Tensor<1>) -> Tensor<1> {
        Small::Bent.lower_loss(&x.rates, y, c)
    }
}

const Y: [f64; FEATURES] = [0.5, -0.8, 0.3, 1.1, -0.2];

type SmallOracle = Counted<AutodiffOracle<Small, FullBatch<Tensor<1>>>>;

fn targets() -> FullBatch<Tensor<1>> {
    let targets = |seed| vector(&numbers(seed, FEATURES), &device());
    FullBatch { upper: targets(5), lower: targets(6) }
}

/// A small problem at x = `X`, y = `Y`.
fn small(problem: Small) -> SmallOracle {
    let (x, y) = (upper_module(&device()), Values::new(&Y, &device()));
    Counted::new(AutodiffOracle::new(problem, &x, &y, targets()).unwrap())
}

fn bent() -> SmallOracle {
    small(Small::Bent)
}

/// [`Adapted`] with rates `X` and the start `Y`; y itself begins elsewhere.
fn adapted() -> Counted<AutodiffOracle<Adapted, FullBatch<Tensor<1>>>> {
    let (rates, initial) = (upper_module(&device()), Values::new(&Y, &device()));
    let y = Values::new(&[9.0; FEATURES], &device());
    Counted::new(AutodiffOracle::new(Adapted, &Learned { rates, initial }, &y, targets()).unwrap())
}

fn ridge() -> PenaltiesOracle {
    penalties(Fit::Squares, &device())
}

fn gd(step_size: f64, steps: usize) -> Descent {
    descent(Gd::new(step_size), steps)
}

fn heavy(steps: usize) -> Descent {
    descent(Momentum::new(0.04, 0.8), steps)
}

/// `y' = 7/8 y + m/8 - s_t f_y`, `m' = y`: steps of different sizes, and a memory that starts from y too.
#[derive(Clone, Copy, Debug)]
struct Lagged;

impl Lagged {
    fn step_size(t: usize) -> f64 {
        0.1 / (1 + t) as f64
    }
}

impl Dynamics for Lagged {
    fn describe(&self) -> String {
        "lagged".to_owned()
    }

    fn start(&self, y: &Vector) -> State {
        State { y: y.clone(), memory: vec![y.clone()] }
    }

    fn start_adjoint(&self, adjoint: State) -> Vector {
        adjoint.y.add(&adjoint.memory[0])
    }

    fn step(&self, at: &Update<'_>) -> State {
        self.tangent(at, Tangent { x: None, state: at.state, gradient: at.gradient() })
    }

    fn tangent(&self, at: &Update<'_>, along: Tangent<'_>) -> State {
        let State { y, memory } = along.state;
        let mixed = y.scale(0.875).axpy(0.125, &memory[0]);
        State { y: mixed.axpy(-Self::step_size(at.t), along.gradient), memory: vec![y.clone()] }
    }

    fn adjoint(&self, at: &Update<'_>, adjoint: State) -> Adjoint {
        let State { y, memory } = adjoint;
        let state = State { y: y.scale(0.875).add(&memory[0]), memory: vec![y.scale(0.125)] };
        Adjoint { x: None, gradient: y.scale(-Self::step_size(at.t)), state }
    }
}

type Make = fn(usize) -> Descent;

/// Dynamics that descend every problem here.
const DYNAMICS: [(&str, Make); 3] = [
    ("gd", |steps| gd(0.05, steps)),
    ("momentum", heavy),
    ("lagged", |steps| descent(Ok(Lagged), steps)),
];

fn run<P: BilevelProblem, D: Data<P::Batch>>(
    oracle: &Counted<AutodiffOracle<P, D>>,
    method: &mut dyn HypergradientMethod,
) -> Hypergradient {
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    method.hypergradient(LowerProblem::new(oracle, &x, Samples::default()), &y).unwrap()
}

fn gradient<P: BilevelProblem, D: Data<P::Batch>>(
    oracle: &Counted<AutodiffOracle<P, D>>,
    mut method: impl HypergradientMethod,
) -> Vec<f64> {
    run(oracle, &mut method).gradient.to_vec()
}

/// All numbers of a hypergradient.
fn bits(found: &Hypergradient) -> Vec<f64> {
    let mut all = found.gradient.to_vec();
    all.extend(found.start.iter().flat_map(Vector::to_vec));
    all.extend(found.lower.to_vec());
    all.extend([found.upper_loss.read(), found.lower_loss]);
    all
}

/// `F(x, y_T)` from `x` and `y`.
fn unrolled<P: BilevelProblem, D: Data<P::Batch>>(
    oracle: &Counted<AutodiffOracle<P, D>>,
    descent: &Descent,
    x: &[f64],
    y: &[f64],
) -> f64 {
    let x = Vector::from_slice(oracle.upper_layout(), x, &device());
    let y = Vector::from_slice(oracle.lower_layout(), y, &device());
    let problem = LowerProblem::new(oracle, &x, Samples::default());
    let end = descent.run(&problem, &y).unwrap();
    problem.value(Objective::Upper, &end.state.y).read()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

fn choose(n: usize, k: usize) -> usize {
    (1..=k).fold(1, |product, i| product * (n + 1 - i) / i)
}

const LENGTHS: [usize; 7] = [1, 2, 3, 7, 16, 30, 37];

fn plans(steps: usize) -> [Plan; 7] {
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

/// The most steps that a plan may make, down and back. For the binomial one it is the least number that
/// is possible, `r l - C(c + r, c + 1)` to reverse l = T + 1 steps, the last of which is F's own.
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

#[test]
fn rad_differentiates_an_upper_loss_that_looks_at_x() {
    let oracle = bent();
    for (name, make) in DYNAMICS {
        for steps in [1, 7, 30] {
            let expected = five_point(&X, |x| unrolled(&oracle, &make(steps), x, &Y));
            let found = gradient(&oracle, Unrolled::rad(make(steps)));
            assert_close(&format!("{name}, {steps} steps"), &found, &expected, 1e-8);
        }
    }
}

#[test]
fn the_online_form_carries_on_where_it_was() {
    let oracle = bent();
    for (name, make) in DYNAMICS {
        let mut online = OnlineFad::new(make(1));
        for steps in 1..=7 {
            let found = bits(&run(&oracle, &mut online));
            let expected = bits(&run(&oracle, &mut Fad::new(make(steps))));
            assert_eq!(found, expected, "{name}, {steps} calls");
        }
        let first = bits(&run(&oracle, &mut Fad::new(make(1))));
        online.restart();
        let again = run(&oracle, &mut online);
        assert_eq!((bits(&again), again.status), (first, Status::Exact), "{name}, after a restart");
        assert_eq!(run(&oracle, &mut online).status, Status::Approximate, "{name}");
    }
    // Nothing is carried to variables of another kind.
    let mut online = OnlineFad::new(gd(0.05, 1));
    run(&oracle, &mut online);
    let found = bits(&run(&adapted(), &mut online));
    assert_eq!(found, bits(&run(&adapted(), &mut Fad::new(gd(0.05, 1)))));
}

#[test]
fn the_error_of_truncation_decays_at_the_rate_of_the_contraction() {
    let (steps, s) = (300, 0.4);
    let oracle = ridge();
    let exact = run(&oracle, &mut Unrolled::rad(gd(s, steps)));
    let trad = |last| run(&oracle, &mut Unrolled::trad(gd(s, steps), last).unwrap());
    let whole = trad(steps);
    assert_eq!(bits(&whole), bits(&exact));
    assert_eq!((whole.status, trad(9).status), (Status::Exact, Status::Approximate));

    // The largest eigenvalue of I - s f_yy, by the power method.
    let x = oracle.upper_start();
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let mut v = exact.lower.clone();
    let mut rate = 0.0;
    for _ in 0..300 {
        let along = Direction::in_y(&v);
        let curved = problem.product(Objective::Lower, &exact.lower, along, Wrt::Y).into_y();
        let next = v.axpy(-s, &curved);
        rate = next.norm() / v.norm();
        v = next.scale(1.0 / next.norm());
    }

    let error = |last| trad(last).gradient.sub(&exact.gradient).norm().ln();
    let (from, to) = (60, 120);
    let slope = (error(to) - error(from)) / (to - from) as f64;
    assert!((slope / rate.ln() - 1.0).abs() < 1e-3, "{slope} is not {}", rate.ln());
    assert!(error(5) > error(20) && error(20) > error(60));
}

#[test]
fn truncation_is_within_the_steps() {
    for last in [0, 8] {
        let error = Unrolled::trad(gd(0.1, 7), last).unwrap_err().to_string();
        let expected = format!(
            "back-propagated steps is {last} of 7 lower steps, expected at least 1 and at most all \
             lower steps: give a count of the last steps, or use rad for all"
        );
        assert_eq!(error, expected);
    }
}

#[test]
fn one_stage_is_rad_with_one_step() {
    let oracle = bent();
    let exact = bits(&run(&oracle, &mut Unrolled::rad(gd(0.05, 1))));
    assert_eq!(bits(&run(&oracle, &mut OneStage::new(Gd::new(0.05).unwrap()))), exact);
    let exact = bits(&run(&oracle, &mut Unrolled::rad(heavy(1))));
    let heavy = Momentum::new(0.04, 0.8).unwrap();
    assert_eq!(bits(&run(&oracle, &mut OneStage::new(heavy))), exact);
}

#[test]
fn differences_in_one_stage_are_of_second_order() {
    let oracle = bent();
    let gd = || Gd::new(0.3).unwrap();
    let exact = gradient(&oracle, OneStage::new(gd()));
    let at = |r| gradient(&oracle, OneStageFd::new(gd()).with_distance(r).unwrap());
    let error = |r| distance(&at(r), &exact);
    // f_x is of fourth order in y: the error is r^2 and nothing else.
    assert!((error(0.1) / error(0.05) - 4.0).abs() < 1e-6, "{:e} {:e}", error(0.1), error(0.05));
    assert!(error(0.1) > 1e-5);
    let found = run(&oracle, &mut OneStageFd::new(gd()));
    assert_eq!((found.gradient.to_vec(), found.status), (at(0.01), Status::Approximate));
    assert_close("at the distance 0.01", &found.gradient.to_vec(), &exact, 1e-4);
    assert!(OneStageFd::new(gd()).with_distance(0.0).is_err());
}

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
                upper_products: 0,
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

#[test]
fn first_order_is_the_derivative_of_the_upper_loss_alone() {
    let oracle = bent();
    let found = run(&oracle, &mut FirstOrder::new(gd(0.05, 7)));
    let expected: Vec<_> = X.iter().zip(found.lower.to_vec()).map(|(x, y)| x.cos() * y).collect();
    assert_close("first-order", &found.gradient.to_vec(), &expected, 1e-12);
}

/// Every explicit method, with T = `steps` and what it costs on `Small::Bent`.
fn methods(s: f64, steps: usize) -> Vec<(&'static str, Box<dyn HypergradientMethod>, Cost)> {
    let (down, n) = (steps as u64, FEATURES as u64);
    let descent = || gd(s, steps);
    let dynamics = || Gd::new(s).unwrap();
    let rad = Cost {
        lower_gradients: down,
        lower_products: down,
        lower_values: 1,
        upper_gradients: 1,
        ..Cost::default()
    };
    let first_order = Cost { lower_products: 0, ..rad };
    let fad = Cost { lower_products: n * down, ..rad };
    let blocks = Cost { lower_gradients: 3 * down, lower_values: 3, ..fad };
    let one = Cost { lower_gradients: 1, lower_products: 1, ..rad };
    let reptile = Cost { upper_values: 1, upper_gradients: 0, ..first_order };
    // F rises all along: the last step is the worst.
    let iaptt = Cost { upper_values: down, ..rad };
    let fad_in_blocks = Fad::new(descent()).with_block(2).unwrap();
    vec![
        ("rad", Box::new(Unrolled::rad(descent())), rad),
        (
            "trad",
            Box::new(Unrolled::trad(descent(), 2).unwrap()),
            Cost { lower_products: 2, ..rad },
        ),
        ("fad", Box::new(Fad::new(descent())), fad),
        ("fad in blocks", Box::new(fad_in_blocks), blocks),
        ("rtho", Box::new(OnlineFad::new(descent())), fad),
        ("one-stage", Box::new(OneStage::new(dynamics())), one),
        (
            "one-stage-fd",
            Box::new(OneStageFd::new(dynamics())),
            Cost { lower_gradients: 3, lower_products: 0, ..one },
        ),
        ("first-order", Box::new(FirstOrder::new(descent())), first_order),
        ("maml", Box::new(Maml::new(descent())), rad),
        ("fomaml", Box::new(Fomaml::new(descent())), first_order),
        ("reptile", Box::new(Reptile::new(descent(), 1.0).unwrap()), reptile),
        ("ia-gm", Box::new(Unrolled::ia_gm(descent())), rad),
        ("iaptt", Box::new(Iaptt::new(descent())), iaptt),
    ]
}

#[test]
fn explicit_methods_cost_what_the_documentation_says() {
    let oracle = bent();
    for (name, mut method, expected) in methods(0.05, 9) {
        let before = oracle.cost();
        let found = run(&oracle, method.as_mut());
        assert_eq!(oracle.cost() - before, expected, "{name}");
        let approximate = ["trad", "one-stage-fd", "first-order", "fomaml", "reptile"];
        let status = if approximate.contains(&name) { Status::Approximate } else { Status::Exact };
        assert_eq!(found.status, status, "{name}");
        assert_eq!(found.start.is_some(), method.differentiates_start(), "{name}");
        assert!(method.describe().starts_with(name.split(' ').next().unwrap()), "{name}");
    }
}

#[test]
fn a_description_tells_what_is_not_the_default() {
    let descent = || descent(Gd::new(0.1), 3);
    let sqrt = Plan::Sqrt;
    let rows: [(Box<dyn HypergradientMethod>, &str); 8] = [
        (Box::new(Unrolled::rad(descent())), "rad(3 steps of gd(step size 0.1))"),
        (Box::new(Unrolled::rad(descent()).with_plan(sqrt)), ", plan sqrt)"),
        (
            Box::new(Unrolled::trad(descent(), 2).unwrap().with_plan(Plan::Binomial(2))),
            "binomial(2))",
        ),
        (Box::new(Unrolled::ia_gm(descent()).with_plan(sqrt)), ", plan sqrt)"),
        (Box::new(Iaptt::new(descent()).with_plan(sqrt)), ", plan sqrt)"),
        (Box::new(Maml::new(descent()).with_part("a").with_plan(sqrt)), ", start a, plan sqrt)"),
        (Box::new(Reptile::new(descent(), 1.0).unwrap().with_part("a")), "scale 1, start a)"),
        (Box::new(Fad::new(descent()).with_block(2).unwrap()), ", blocks of 2)"),
    ];
    for (method, end) in rows {
        assert!(method.describe().ends_with(end), "{}", method.describe());
    }
}

#[test]
fn a_loss_that_is_not_finite_at_the_start_is_step_0() {
    let oracle = bent();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let far = vec![1e300; y.layout().size()];
    let far = Vector::from_slice(y.layout(), &far, &y.device());
    for (name, mut method, _) in methods(0.05, 9) {
        if ["maml", "fomaml", "reptile"].iter().any(|in_x| name.starts_with(in_x)) {
            continue;
        }
        let error = method.hypergradient(problem, &far).unwrap_err();
        assert!(matches!(error, Error::LowerDiverged { step: 0, .. }), "{name}: {error}");
    }
}

#[test]
fn every_explicit_method_names_a_divergence() {
    let oracle = bent();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    for (name, mut method, _) in methods(1e200, 9) {
        let error = method.hypergradient(problem, &y).unwrap_err();
        assert!(matches!(error, Error::LowerDiverged { step: 1..=3, .. }), "{name}: {error}");
    }
}

#[test]
fn every_explicit_method_names_a_climb() {
    let oracle = bent();
    for (name, mut method, _) in methods(0.9, 2) {
        let status = run(&oracle, method.as_mut()).status;
        assert!(
            matches!(status, Status::NoDescent { start, end } if start < end),
            "{name}: {status}"
        );
    }
}

/// `x' = x - 0.1 g`.
struct Plain;

impl UpperStep for Plain {
    fn step(&mut self, x: &Vector, gradient: &Vector) -> Vector {
        x.axpy(-0.1, gradient)
    }

    fn save(&self, _: &mut Snapshot) {}
}

/// A run on `Small::Bent`, its start learned.
fn solver<'a>(
    oracle: &'a SmallOracle,
    method: impl HypergradientMethod + 'static,
    step_size: f64,
) -> Result<HypergradientSolver<'a>, Error> {
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    HypergradientSolver::new(oracle, method, Plain, x, y).with_start(Start::Learned { step_size })
}

#[test]
fn a_learned_start_goes_down_its_gradient() {
    let oracle = bent();
    let along = run(&oracle, &mut Unrolled::ia_gm(gd(0.05, 3))).start.unwrap();
    let expected = oracle.lower_start().axpy(-0.7, &along);
    let mut free = solver(&oracle, Unrolled::ia_gm(gd(0.05, 3)), 0.7).unwrap();
    free.step(0).unwrap();
    assert_eq!(free.lower_start().to_vec(), expected.to_vec());
    let mut bounded = solver(&oracle, Unrolled::ia_gm(gd(0.05, 3)), 0.7)
        .unwrap()
        .with_start_projection(Bounds::new(-0.9, 0.9).unwrap());
    let clamped = Y.map(|v| v.clamp(-0.9, 0.9));
    assert_eq!(bounded.lower_start().to_vec(), clamped);
    for k in 0..3 {
        bounded.step(k).unwrap();
    }
    let z = bounded.lower_start().to_vec();
    assert!(z.iter().all(|v| v.abs() <= 0.9) && z != clamped, "{z:?}");
    // With x it brings F further down than x alone.
    let last = |start| {
        let solver = solver(&oracle, Iaptt::new(gd(0.05, 3)), 0.3).unwrap();
        let mut solver = solver.with_start(start).unwrap();
        let mut last = f64::NAN;
        for k in 0..20 {
            last = solver.step(k).unwrap().upper_loss;
        }
        last
    };
    assert!(last(Start::Learned { step_size: 0.3 }) < last(Start::Fixed));
}

#[test]
fn a_start_that_cannot_be_learned_is_refused_where_it_is_given() {
    let oracle = bent();
    let before = oracle.cost();
    let error = solver(&oracle, Unrolled::rad(gd(0.05, 3)), 0.7).err().unwrap();
    let method = "rad(3 steps of gd(step size 0.05))".to_owned();
    assert_eq!(error, Error::NoStartGradient { method });
    let error = solver(&oracle, Unrolled::ia_gm(gd(0.05, 3)), -1.0).err().unwrap();
    assert!(matches!(error, Error::InvalidSetting { .. }), "{error}");
    assert_eq!(oracle.cost(), before);
    let error =
        solver(&oracle, Unrolled::ia_gm(gd(0.05, 3)), f64::MAX).unwrap().step(0).unwrap_err();
    assert!(matches!(error, Error::NotFinite { what: "lower start", .. }), "{error}");
}

#[test]
fn a_start_is_drawn_anew_at_each_upper_step() {
    let oracle = bent();
    let draw = |k: u64| {
        let values = numbers(100 + k, FEATURES);
        oracle.lower_vector(&Values::new(&values, &device())).unwrap()
    };
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let solver = || {
        let rad = Unrolled::rad(gd(0.05, 3));
        let solver = HypergradientSolver::new(&oracle, rad, Plain, x.clone(), y.clone());
        solver.with_drawn_start(draw).unwrap()
    };
    let (mut whole, mut first, mut second) = (solver(), solver(), solver());
    let mut at = x.clone();
    for k in 0..4 {
        let problem = LowerProblem::new(&oracle, &at, Samples::default());
        let along = Unrolled::rad(gd(0.05, 3)).hypergradient(problem, &draw(k)).unwrap().gradient;
        whole.step(k as usize).unwrap();
        assert_eq!(whole.lower_start().to_vec(), numbers(100 + k, FEATURES));
        at = at.axpy(-0.1, &along);
        assert_eq!(whole.x().to_vec(), at.to_vec());
    }
    for k in 0..2 {
        first.step(k).unwrap();
    }
    second.restore(first.save()).unwrap();
    for k in 2..4 {
        second.step(k).unwrap();
    }
    assert_eq!(second.save(), whole.save());
    let error = HypergradientSolver::new(&oracle, Unrolled::rad(gd(0.05, 3)), Plain, x.clone(), y)
        .with_drawn_start(|_| x.clone());
    assert!(matches!(error.err().unwrap(), Error::StartShapes { .. }));
    let short = oracle.lower_vector(&Values::new(&[1.0], &device())).unwrap_err();
    assert!(matches!(short, Error::StartShapes { .. }), "{short}");
}

#[test]
fn other_functions_of_x_are_differentiated_beside_the_solver() {
    let oracle = bent();
    let x = oracle.upper_start();
    let expected: Vec<_> = X.iter().map(|x| 2.0 * x).collect();
    let squares = |x: &Values| x.values.val().powi_scalar(2).sum();
    // As a vector like the hypergradient, to be added to it.
    let penalty = bilevel_program::grad(&oracle.upper_module(&x), squares).unwrap();
    let whole = run(&oracle, &mut Unrolled::rad(gd(0.05, 3))).gradient.add(&penalty);
    assert_eq!(whole.layout(), x.layout());
    assert_close("by grad", &penalty.to_vec(), &expected, 1e-14);
    // By Burn itself.
    let tracked = oracle.upper_module(&x).train();
    let gradients = squares(&tracked).backward();
    let by_burn = tracked.values.val().grad(&gradients).unwrap().into_data();
    assert_close("by Burn", &by_burn.iter::<f64>().collect::<Vec<_>>(), &expected, 1e-14);
}
