//! What every explicit method must satisfy, on the device of the binary that includes this file.

#[path = "explicit/ahead.rs"]
mod ahead;
#[path = "explicit/meta.rs"]
mod meta;
#[path = "explicit/plans.rs"]
mod plans;
#[path = "explicit/starts.rs"]
mod starts;

use bilevel_core::lower::{Adjoint, State, Tangent, Update};
use bilevel_core::*;
use bilevel_program::Vector;
use burn::module::Module;
use burn::tensor::Tensor;

use crate::common::*;
use crate::device;

/// Small problems whose F also depends on x. The batch is a list of targets c.
enum Small {
    /// `f = sum exp(x) (y^2/2 + y^4/4) + (sum y)^2 / 2 - c y`, `F = sum (y - c)^2 / 2 + sin(x) y`
    Bent,
    /// `f = norm(y - x)^2 / 2`, `F = -norm(y - x/2)^2 / 2`: descents that pass the maximum of F.
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

/// [`Small::Bent`] with so many times F.
struct Louder(f64);

impl BilevelProblem for Louder {
    type Upper = Values;
    type Lower = Values;
    type Batch = Tensor<1>;

    fn upper_loss(&self, x: &Values, y: &Values, c: &Tensor<1>) -> Tensor<1> {
        Small::Bent.upper_loss(x, y, c) * self.0
    }

    fn lower_loss(&self, x: &Values, y: &Values, c: &Tensor<1>) -> Tensor<1> {
        Small::Bent.lower_loss(x, y, c)
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

fn louder(factor: f64) -> Counted<AutodiffOracle<Louder, FullBatch<Tensor<1>>>> {
    let (x, y) = (upper_module(&device()), Values::new(&Y, &device()));
    Counted::new(AutodiffOracle::new(Louder(factor), &x, &y, targets()).unwrap())
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

/// Dynamics that descend on every problem here.
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
    // Nothing is carried over to variables of another kind.
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
    // f_x is of fourth order in y: the error is exactly of order r^2.
    assert!((error(0.1) / error(0.05) - 4.0).abs() < 1e-6, "{:e} {:e}", error(0.1), error(0.05));
    assert!(error(0.1) > 1e-5);
    let found = run(&oracle, &mut OneStageFd::new(gd()));
    assert_eq!((found.gradient.to_vec(), found.status), (at(0.01), Status::Approximate));
    assert_close("at the distance 0.01", &found.gradient.to_vec(), &exact, 1e-4);
    assert!(OneStageFd::new(gd()).with_distance(0.0).is_err());
}

#[test]
fn a_hypergradient_is_linear_in_the_upper_loss() {
    for ((name, mut quiet, _), (_, mut loud, _)) in
        methods(0.05, 9).into_iter().zip(methods(0.05, 9))
    {
        // It takes F for nothing.
        let factor = if name == "reptile" { 1.0 } else { 1e3 };
        let expected = run(&louder(1.0), quiet.as_mut()).gradient.scale(factor).to_vec();
        let found = run(&louder(1e3), loud.as_mut()).gradient.to_vec();
        assert_close(name, &found, &expected, 1e-10);
    }
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
    // F increases throughout: the last step is the worst.
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
