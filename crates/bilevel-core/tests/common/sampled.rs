//! Separate data for each lower step, on the device of the binary that includes this file.

use bilevel_core::lower::{State, pull_back, push_forward};
use bilevel_core::*;
use bilevel_program::Vector;
use burn::tensor::Tensor;

use crate::common::*;
use crate::device;

const BATCHES: usize = 4;
const STEPS: usize = 6;

type Oracle = Counted<AutodiffOracle<Penalties, Batches<Points>>>;

/// Logistic regression on batches of different points.
fn oracle() -> Oracle {
    let (fit, device) = (Fit::Logistic, device());
    let parts = |level| {
        let Points { inputs, targets } = batch(fit, level, &device);
        let size = targets.dims()[0] / BATCHES;
        let part = |i: usize| Points {
            inputs: inputs.clone().slice(i * size..(i + 1) * size),
            targets: targets.clone().slice(i * size..(i + 1) * size),
        };
        (0..BATCHES).map(part).collect()
    };
    let data = Batches::new(parts(Objective::Upper), parts(Objective::Lower)).unwrap();
    let (x, w) = (upper_module(&device), Values::new(&[0.0; FEATURES], &device));
    Counted::new(AutodiffOracle::new(Penalties { fit }, &x, &w, data).unwrap())
}

fn epochs() -> Sampler {
    Sampler::epochs(BATCHES, BATCHES, 3).unwrap()
}

type Make = fn() -> Descent;

/// Dynamics with one sample per step: of f alone, with a memory, of both losses, wrapped around others.
const DYNAMICS: [(&str, Make); 4] = [
    ("gd", || descent(Gd::new(0.5), STEPS)),
    ("nesterov", || descent(Nesterov::new(0.4), STEPS)),
    ("aggregated", || descent(Aggregated::new(0.4, 0.3, Weight::Constant(0.6)), STEPS)),
    ("projected momentum", || {
        let heavy = Momentum::new(0.3, 0.7).unwrap();
        descent(Bounds::new(-0.4, 0.6).map(|bounds| Projected::new(heavy, bounds)), STEPS)
    }),
];

/// The index of the tested hypergradient: its draws begin in the middle of a pass.
const INDEX: u64 = 3;

fn samples() -> Samples {
    Samples { upper: Sample(1), lower: Sample(2), index: INDEX }
}

/// `F(x, y_T)` of steps that are made one by one, each on the sample that the sampler gives.
fn by_hand(oracle: &Oracle, descent: &Descent, x: &Vector, y: &Vector) -> f64 {
    let (dynamics, sampler) = (descent.dynamics(), epochs());
    let mut state = dynamics.start(y);
    for t in 0..STEPS {
        let draw = INDEX * STEPS as u64 + t as u64;
        let of = |level| sampler.at(level, draw);
        let samples =
            Samples { upper: of(Objective::Upper), lower: of(Objective::Lower), index: 0 };
        let problem = LowerProblem::new(oracle, x, samples);
        let slope = || problem.slope(dynamics.objective(t), &dynamics.query(t, &state)).1;
        state = dynamics.step(&bilevel_core::lower::Update::new(t, x, &state, &slope));
    }
    LowerProblem::new(oracle, x, samples()).value(Objective::Upper, &state.y).read()
}

/// Every method that differentiates T steps, or with T of T.
fn explicit(make: impl Fn() -> Descent) -> Vec<Box<dyn HypergradientMethod>> {
    let mut methods: Vec<Box<dyn HypergradientMethod>> = vec![
        Box::new(Unrolled::trad(make(), STEPS).unwrap()),
        Box::new(Fad::new(make())),
        Box::new(Fad::new(make()).with_block(2).unwrap()),
        Box::new(OnlineFad::new(make())),
        Box::new(Unrolled::ia_gm(make())),
    ];
    let plans = [Plan::Trajectory, Plan::Sqrt, Plan::Binomial(2), Plan::Results(1 << 20)];
    methods.extend(plans.map(|plan| -> Box<dyn HypergradientMethod> {
        Box::new(Unrolled::rad(make()).with_plan(plan))
    }));
    methods
}

#[test]
fn each_step_has_its_own_sample_on_the_way_down_and_back() {
    let oracle = oracle();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let at = |x: &[f64]| Vector::from_slice(x_layout(&oracle), x, &device());
    for (name, make) in DYNAMICS {
        let value = |x: &[f64]| by_hand(&oracle, &make(), &at(x), &y);
        let expected = five_point(&x.to_vec(), value);
        for mut method in explicit(|| make().with_sampler(epochs())) {
            let problem = LowerProblem::new(&oracle, &x, samples());
            let found = method.hypergradient(problem, &y).unwrap();
            let what = format!("{name}, {}", method.describe());
            assert_close(&what, &[found.upper_loss.read()], &[value(&x.to_vec())], 1e-13);
            assert_close(&what, &found.gradient.to_vec(), &expected, 1e-8);
        }
    }
    // Other samples give another result.
    let mut whole = Unrolled::rad(DYNAMICS[0].1());
    let other = whole.hypergradient(LowerProblem::new(&oracle, &x, samples()), &y).unwrap();
    let value = by_hand(&oracle, &DYNAMICS[0].1(), &x, &y);
    assert!((other.upper_loss.read() - value).abs() > 1e-4);
}

fn x_layout(oracle: &Oracle) -> &std::sync::Arc<bilevel_program::Layout> {
    bilevel_core::Oracle::upper_layout(oracle)
}

#[test]
fn reversible_steps_have_their_samples_too() {
    let oracle = oracle();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let reversible = ReversibleMomentum::new(0.3, 0.5).unwrap();
    let heavy = descent(Ok(reversible.heavy_ball().clone()), STEPS).with_sampler(epochs());
    let problem = LowerProblem::new(&oracle, &x, samples());
    let expected = Unrolled::rad(heavy).hypergradient(problem, &y).unwrap().gradient.to_vec();
    let mut undone = ReversibleRad::new(reversible, STEPS).unwrap().with_sampler(epochs());
    let found = undone.hypergradient(problem, &y).unwrap().gradient.to_vec();
    assert_close("undone", &found, &expected, 1e-10);
}

#[test]
fn the_tangent_and_the_adjoint_of_a_step_are_of_one_sample() {
    let oracle = oracle();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &x, samples());
    let descent = DYNAMICS[1].1().with_sampler(epochs());
    let dynamics = descent.dynamics();
    let like = |v: &Vector, seed| {
        Vector::from_slice(v.layout(), &numbers(seed, v.layout().size()), &device())
    };
    let start = dynamics.start(&y);
    let random = |seed| State {
        y: like(&y, seed),
        memory: start.memory.iter().map(|m| like(m, seed + 50)).collect(),
    };
    for t in 0..STEPS {
        let (state, tangent, lambda) = (random(1), random(2), random(3));
        let dx = like(&x, 4);
        let forward = push_forward(&problem, dynamics, t, &state, &tangent, Some(&dx));
        let back = pull_back(&problem, dynamics, t, &state, lambda.clone(), Wrt::Both);
        let inner = |a: &State, b: &State| {
            a.memory.iter().zip(&b.memory).map(|(a, b)| a.dot(b)).sum::<f64>() + a.y.dot(&b.y)
        };
        let found = back.x.as_ref().unwrap().dot(&dx) + inner(&back.into_state(), &tangent);
        assert_close("adjoint", &[found], &[inner(&forward, &lambda)], 1e-12);
    }
}

/// Handles that were requested.
#[derive(Default)]
struct Noted(std::sync::Mutex<Vec<(Objective, u64)>>);

impl Data<Tensor<1>> for &Noted {
    fn batch(&self, level: Objective, sample: Sample) -> Tensor<1> {
        self.0.lock().unwrap().push((level, sample.0));
        vector(&[sample.0 as f64 / 100.0; FEATURES], &device())
    }

    fn batches(&self, _: Objective) -> usize {
        BATCHES
    }
}

/// `f = norm(y - c)^2 / 2 + <x, y>`, `F = norm(y)^2 / 2`.
struct Targets;

impl BilevelProblem for Targets {
    type Upper = Values;
    type Lower = Values;
    type Batch = Tensor<1>;

    fn upper_loss(&self, _: &Values, y: &Values, _: &Tensor<1>) -> Tensor<1> {
        y.values.val().powi_scalar(2).sum() / 2
    }

    fn lower_loss(&self, x: &Values, y: &Values, c: &Tensor<1>) -> Tensor<1> {
        let (x, y) = (x.values.val(), y.values.val());
        (y.clone() - c.clone()).powi_scalar(2).sum() / 2 + (x * y).sum()
    }
}

/// The batch of each lower step names an image.
struct Named;

impl Data<Tensor<1>> for Named {
    fn batch(&self, _: Objective, sample: Sample) -> Tensor<1> {
        let named = (0..STEPS as u64).map(|i| f64::from(u8::from(i == sample.0 % STEPS as u64)));
        vector(&named.collect::<Vec<_>>(), &device())
    }

    fn batches(&self, level: Objective) -> usize {
        if level == Objective::Upper { 1 } else { STEPS }
    }
}

/// `f = (y - x_i)^2 / 2` of the image i of the step, `F = y`.
struct Distilled;

impl BilevelProblem for Distilled {
    type Upper = Values;
    type Lower = Values;
    type Batch = Tensor<1>;

    fn upper_loss(&self, _: &Values, y: &Values, _: &Tensor<1>) -> Tensor<1> {
        y.values.val()
    }

    fn lower_loss(&self, x: &Values, y: &Values, named: &Tensor<1>) -> Tensor<1> {
        (y.values.val() - (x.values.val() * named.clone()).sum()).powi_scalar(2) / 2
    }
}

#[test]
fn each_step_trains_on_its_own_distilled_image() {
    let (x, y) = (Values::new(&[0.3; STEPS], &device()), Values::new(&[0.1], &device()));
    let oracle = AutodiffOracle::new(Distilled, &x, &y, Named).unwrap();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    // `y_T = (1 - s)^T y_0 + sum_t s (1 - s)^(T - 1 - t) x_t`
    let expected: Vec<f64> =
        (0..STEPS).map(|t| 0.4 * 0.6_f64.powi((STEPS - 1 - t) as i32)).collect();
    let steps = || descent(Gd::new(0.4), STEPS).with_sampler(Sampler::in_order(1, STEPS).unwrap());
    for mut method in explicit(steps) {
        let problem = LowerProblem::new(&oracle, &x, samples());
        let found = method.hypergradient(problem, &y).unwrap();
        assert_close(&method.describe(), &found.gradient.to_vec(), &expected, 1e-14);
    }
}

#[test]
fn the_draws_of_a_run_are_passes_through_the_data() {
    let noted = Noted::default();
    let (x, y) = (upper_module(&device()), Values::new(&[0.0; FEATURES], &device()));
    let oracle = AutodiffOracle::new(Targets, &x, &y, &noted).unwrap();
    // Linearisations hold what they need of their samples.
    let rad = Unrolled::rad(descent(Gd::new(0.1), STEPS).with_sampler(epochs()))
        .with_plan(Plan::Trajectory);
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let step = GradientStep::new(0.1).unwrap();
    let mut solver = HypergradientSolver::new(&oracle, rad, step, x, y);
    let mut drawn = Vec::new();
    for k in 0..4 {
        noted.0.lock().unwrap().clear();
        solver.step(k).unwrap();
        let seen = noted.0.lock().unwrap().clone();
        let lower: Vec<_> =
            seen.iter().filter(|(level, _)| *level == Objective::Lower).map(|(_, n)| *n).collect();
        // T gradients, two values on the hypergradient's own sample, T - 1 products on the way back: that of the last
        // step is linearised with its gradient.
        let (down, rest) = lower.split_at(STEPS);
        let (ends, back) = rest.split_at(2);
        assert_eq!(ends, [k as u64; 2]);
        assert!(back.iter().eq(down.iter().rev().skip(1)), "{down:?} {back:?}");
        drawn.extend_from_slice(down);
        assert_eq!(solver.samples().lower, Sample(k as u64));
    }
    // 24 draws are six passes, each in its own order.
    let passes: Vec<_> = drawn.chunks(BATCHES).collect();
    for pass in &passes {
        let mut sorted = pass.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3]);
    }
    assert!(passes.windows(2).any(|pair| pair[0] != pair[1]));
}

#[test]
fn a_draw_follows_from_its_number() {
    for make in [Sampler::epochs, Sampler::with_replacement] {
        let sampler = make(5, 3, 9).unwrap();
        let mut drawing = sampler.clone();
        let levels = [Objective::Upper, Objective::Lower];
        let drawn = levels.map(|level| (0..2_500).map(|_| drawing.draw(level)).collect::<Vec<_>>());
        for (level, drawn) in levels.iter().zip(&drawn) {
            for n in (0..2_500).rev().step_by(7).chain([0, 2_499, 1, 1_024, 1_023]) {
                assert_eq!(sampler.at(*level, n as u64), drawn[n], "draw {n}");
            }
        }
        // Levels are independent of each other.
        assert!(drawn[0].iter().zip(&drawn[1]).any(|(a, b)| a.0 % 3 != b.0));
    }
}

/// Draws begin anew in a stream of their own after every million of them, of epochs after the last whole one before.
#[test]
fn draws_are_as_good_and_the_same_by_number_over_the_end_of_a_block_and_far_away() {
    const BLOCK: u64 = 1 << 20;
    let lower = Objective::Lower;
    let next = |sampler: &mut Sampler, n: usize| -> Vec<_> {
        (0..n).map(|_| sampler.draw(lower).0).collect()
    };
    let batches = 3;
    for (make, length) in
        [(Sampler::epochs as fn(_, _, _) -> _, batches), (Sampler::with_replacement, 1024)]
    {
        let mut sampler = make(5, batches as usize, 9).unwrap();
        let first = next(&mut sampler, 3000);
        // One after the other over the end of the first block, and by their numbers.
        let from = BLOCK - 3000;
        next(&mut sampler, from as usize - 3000);
        let over = next(&mut sampler, 6000);
        let fresh = make(5, batches as usize, 9).unwrap();
        let by_number = (from..from + 6000).rev().map(|n| fresh.at(lower, n).0);
        assert_eq!(by_number.rev().collect::<Vec<_>>(), over);
        // Far away the passes are as good as the first ones, and others.
        for n in [BLOCK, 1 << 30, 1 << 40, 1 << 53, u64::MAX - 10_000] {
            let start = n / length * length;
            let found: Vec<_> = (start..start + 3000).map(|n| fresh.at(lower, n).0).collect();
            assert_ne!(found, first, "draws from {n}");
            let of_first = found.iter().filter(|&&batch| batch == 0).count();
            assert!(of_first.abs_diff(1000) < 130, "draws from {n}: {of_first}");
            if length == batches {
                assert!(found.chunks(3).all(|pass| pass.iter().sum::<u64>() == 3), "from {n}");
            }
        }
    }
}

#[test]
fn a_run_on_samples_resumes_and_says_which() {
    let oracle = oracle();
    let make = |with: bool| {
        let rad = Unrolled::rad(descent(Momentum::new(0.3, 0.5), 3).with_sampler(epochs()));
        let step = GradientStep::new(0.5).unwrap();
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let solver =
            HypergradientSolver::new(&oracle, rad, step, x, y).with_start(Start::Warm).unwrap();
        if with {
            solver.with_sampler(Sampler::epochs(BATCHES, BATCHES, 8).unwrap())
        } else {
            solver
        }
    };
    for with in [false, true] {
        let (mut whole, mut first, mut second) = (make(with), make(with), make(with));
        let mut said = Vec::new();
        for k in 0..6 {
            whole.step(k).unwrap();
            said.push(whole.samples());
            if k < 3 {
                first.step(k).unwrap();
            }
        }
        second.restore(first.save()).unwrap();
        for (k, samples) in said.iter().enumerate().skip(3) {
            second.step(k).unwrap();
            assert_eq!(second.samples(), *samples, "step {k}");
        }
        assert_eq!(second.save(), whole.save());
        let own: Vec<_> = said.iter().map(|samples| samples.lower.0).collect();
        assert_eq!(own == [0, 1, 2, 3, 4, 5], !with, "{own:?}");
        assert!(said.iter().zip(0..).all(|(samples, k)| samples.index == k));
    }
}

#[test]
fn a_sampler_of_other_data_is_refused() {
    let oracle = oracle();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let wrong = || Sampler::epochs(BATCHES, BATCHES + 1, 0).unwrap();
    let heavy = ReversibleMomentum::new(0.3, 0.5).unwrap();
    let methods: [Box<dyn HypergradientMethod>; 2] = [
        Box::new(Unrolled::rad(descent(Gd::new(0.5), 3).with_sampler(wrong()))),
        Box::new(ReversibleRad::new(heavy, 3).unwrap().with_sampler(wrong())),
    ];
    for mut method in methods {
        let error = method.hypergradient(LowerProblem::new(&oracle, &x, Samples::default()), &y);
        assert!(matches!(error, Err(Error::Sampler { .. })), "{error:?}");
    }
    let rad = Unrolled::rad(descent(Gd::new(0.5), 3));
    let step = GradientStep::new(0.5).unwrap();
    let mut solver = HypergradientSolver::new(&oracle, rad, step, x, y).with_sampler(wrong());
    assert!(matches!(solver.step(0), Err(Error::Sampler { .. })));
}
