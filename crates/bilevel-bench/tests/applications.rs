//! The hypergradients of the applications compared with each other and with closed forms, in f64 on flex.

use std::sync::OnceLock;

use bilevel_bench::backend::flex_in_f64;
use bilevel_bench::experiments::actor_critic::{Gain, Moves, QuadraticCritic, Regulator, System};
use bilevel_bench::experiments::denoising::{Correction, Denoising, Images, Potential, Prior};
use bilevel_bench::experiments::dictionary::{Codes, Dictionary, Goal, Learned, Signals};
use bilevel_bench::experiments::nas::Search;
use bilevel_core::catalogue::{self, At, Made, Settings};
use bilevel_core::{
    Alternating, AutodiffOracle, BilevelProblem, Descent, FixedPoint, FullBatch, Gd, GradientStep,
    HypergradientMethod, HypergradientSolver, JointSolver, LowerProblem, Objective, Oracle,
    Projected, Rates, Sample, Samples, SoftThreshold, Solver, Start, Unrolled, Wrt,
};
use bilevel_data::loader::ImageBatch;
use bilevel_models::{
    Architecture, CellGraph, CellNetworkConfig, ClassifierConfig, ImageClassifierConfig,
    SoftmaxRegressionConfig,
};
use bilevel_program::Vector;
use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use nalgebra::DMatrix;

/// Burn fixes the precision at the first use of a device.
fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| flex_in_f64().unwrap()).clone()
}

fn numbers(vector: &Vector) -> Vec<f64> {
    vector.to_vec()
}

/// The hypergradient of a method of the catalogue.
fn hypergradient(
    name: &str,
    settings: &Settings,
    oracle: &dyn Oracle,
    x: &Vector,
    y: &Vector,
) -> Vec<f64> {
    let entry = catalogue::find(name).unwrap();
    let made = entry.make(settings, &At { x, y, seed: 0 }).unwrap();
    let Made::Hypergradient(mut method) = made else { panic!("{name} gives no gradient") };
    let found = method.hypergradient(LowerProblem::new(oracle, x, Samples::default()), y).unwrap();
    assert!(found.status.is_ok(), "{name}: {}", found.status);
    numbers(&found.gradient)
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied())
}

/// From a solved lower level the implicit formula, reverse mode and the fixed point give the same derivative.
#[test]
fn denoising_has_one_hypergradient() {
    let device = device();
    let side = 10;
    let pixels = |shift: usize| -> Tensor<4> {
        let values: Vec<f64> =
            (0..side * side).map(|at| ((at * at * 7 + at * shift) % 23) as f64 / 8.0).collect();
        Tensor::from_data(TensorData::new(values, [1, 1, side, side]), &device)
    };
    let images = Images { noisy: pixels(3), clean: pixels(5) };
    for potential in [Potential::Abs, Potential::Root, Potential::Log] {
        let problem = Denoising { potential, smoothing: 1.5, border: 2 };
        let prior = Prior::new(3, 0.05, true, &device);
        let y = Correction::none([1, 1, side, side], &device);
        let data = FullBatch { upper: images.clone(), lower: images.clone() };
        let oracle = AutodiffOracle::new(problem, &prior, &y, data).unwrap();
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let settings = Settings {
            lower_steps: 150,
            step_size: 0.4,
            solver_iterations: 200,
            tolerance: 1e-10,
            ..Settings::default()
        };
        let of = |name| hypergradient(name, &settings, &oracle, &x, &y);
        let expected = of("cg");
        assert!(expected.iter().any(|number| number.abs() > 1e-4), "{potential:?}");
        for name in ["rad", "fixed-point"] {
            let found = distance(&of(name), &expected);
            assert!(found < 1e-6, "{potential:?}, {name}: {found}");
        }
    }
}

/// `min_x max_y x y`: F = x y, f = -x y, whose equilibrium is (0, 0).
struct Bilinear;

impl BilevelProblem for Bilinear {
    type Upper = Param<Tensor<1>>;
    type Lower = Param<Tensor<1>>;
    type Batch = ();

    fn upper_loss(&self, x: &Self::Upper, y: &Self::Lower, (): &()) -> Tensor<1> {
        x.val() * y.val()
    }

    fn lower_loss(&self, x: &Self::Upper, y: &Self::Lower, (): &()) -> Tensor<1> {
        x.val() * y.val() * -1.0
    }
}

/// Alternating steps of size s keep `x^2 + y^2 - s x y` and cycle; unrolled ones contract to the equilibrium.
#[test]
fn unrolling_ends_the_cycle_of_the_bilinear_game() {
    let device: Device = device();
    let start = |value: f64| Param::from_tensor(Tensor::from_data([value], &device));
    let data = FullBatch { upper: (), lower: () };
    let oracle = AutodiffOracle::new(Bilinear, &start(1.0), &start(0.5), data).unwrap();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let s = 0.1;
    let at = |solver: &dyn Solver| (numbers(solver.x())[0], numbers(solver.y())[0]);
    let kept = |(x, y): (f64, f64)| x * x + y * y - s * x * y;
    let begin = kept((1.0, 0.5));

    let rates = Rates::new(s, s).unwrap();
    let mut alternating =
        JointSolver::new(&oracle, Alternating::new(rates), x.clone(), y.clone()).unwrap();
    let (mut crossings, mut before) = (0, 1.0);
    for k in 0..400 {
        alternating.step(k).unwrap();
        let now = at(&alternating);
        assert!((kept(now) / begin - 1.0).abs() < 1e-10, "step {k}: {now:?}");
        crossings += usize::from(now.0 * before < 0.0);
        before = now.0;
    }
    // 400 steps of about 0.1 are some 40 radians.
    assert!((11..=14).contains(&crossings), "{crossings}");

    for (steps, least) in [(1, 0.2), (5, 1e-3)] {
        let method = Unrolled::rad(Descent::new(Gd::new(s).unwrap(), steps).unwrap());
        let upper = GradientStep::new(s).unwrap();
        let mut unrolled = HypergradientSolver::new(&oracle, method, upper, x.clone(), y.clone())
            .with_start(Start::Warm)
            .unwrap();
        for k in 0..400 {
            unrolled.step(k).unwrap();
        }
        let (x, y) = at(&unrolled);
        assert!(x.hypot(y) < least, "{steps} steps: {x} {y}");
    }
}

/// The critic of the regulator is Lyapunov's, the hypergradient the policy gradient, and both end at Riccati's gain.
#[test]
fn the_regulator_has_its_closed_forms() {
    let device = device();
    let system = System::masses();
    let moves = Moves::draw(&system, 60, 3, Sample(0), &device);
    let states: Vec<f64> = moves.states.clone().into_data().iter::<f64>().collect();
    let states = DMatrix::from_row_slice(60, 4, &states);
    let covariance = states.transpose() * &states / 60.0;
    let data = FullBatch { upper: moves.clone(), lower: moves };
    let (gain, critic) = (Gain::none(&device), QuadraticCritic::zero(&device));
    let oracle = AutodiffOracle::new(Regulator(system.clone()), &gain, &critic, data).unwrap();
    let (upper, lower) = (oracle.upper_start(), oracle.lower_start());
    let flat = |m: &DMatrix<f64>| m.transpose().as_slice().to_vec();
    for share in [0.0, 0.4, 1.0] {
        let gain = system.optimal() * share;
        let x = Vector::from_slice(upper.layout(), &flat(&gain), &device);
        let exact = QuadraticCritic::of_form(&system.critic(&gain));
        let y = Vector::from_slice(lower.layout(), &exact, &device);
        let stage = LowerProblem::new(&oracle, &x, Samples::default());
        let slope = stage.gradient(Objective::Lower, &y, Wrt::Y).1.into_y();
        assert!(slope.norm() < 1e-8 * y.norm(), "share {share}: {}", slope.norm());

        // From the exact critic one more step does not move.
        let settings = Settings {
            lower_steps: 1,
            step_size: 1e-3,
            solver_iterations: 200,
            tolerance: 1e-12,
            ..Settings::default()
        };
        let expected = flat(&system.policy_gradient(&gain, &covariance));
        let size = expected.iter().map(|g| g * g).sum::<f64>().sqrt();
        for name in ["cg", "dense"] {
            let found = hypergradient(name, &settings, &oracle, &x, &y);
            if share < 1.0 {
                let found = distance(&found, &expected);
                assert!(size > 1e-2 && found < 1e-6, "{name}, share {share}: {found}");
            } else {
                assert!(found.iter().all(|g| g.abs() < 1e-7), "{name} at the optimum: {found:?}");
            }
        }
    }
}

/// Through proximal steps the fixed point and reverse mode give the closed form on the active set: with
/// `H = D_A D_A' + l2 I`, `b = H^-1 F_y` there, and `r = D' y - u`, the gradient in atom k is `-(b_k r + y_k D_A' b)`,
/// minus its part along the atom, whose norm is fixed.
#[test]
fn sparse_codes_have_the_gradient_of_their_active_set() {
    let device = device();
    let (n, atoms, features, ridge, sparsity) = (3, 7, 5, 0.05, 0.1);
    let wave = |at: usize, k: f64| ((at as f64 + 1.0) * k).sin();
    let unit = |rows: usize, k: f64| -> DMatrix<f64> {
        let mut m = DMatrix::from_fn(rows, features, |i, j| wave(i * features + j, k));
        m.row_iter_mut().for_each(|mut row| row /= row.norm());
        m
    };
    let (d, u) = (unit(atoms, 1.7), unit(n, 2.3));
    let rows = |m: &DMatrix<f64>| -> Tensor<2> {
        let data = TensorData::new(m.transpose().as_slice().to_vec(), [m.nrows(), m.ncols()]);
        Tensor::from_data(data, &device)
    };
    let classifier = ImageClassifierConfig::Flat(ClassifierConfig::Softmax(
        SoftmaxRegressionConfig::new(atoms, 2),
    ));
    let x = Learned::new(rows(&d), classifier.init(&device));
    let labels = Tensor::from_data([0, 1, 1], &device);
    let signals = Signals { images: rows(&u), labels, laplacian: None };
    let problem = Dictionary { goal: Goal::Classify, ridge, laplacian: 0.0, decay: 0.0 };
    let data = FullBatch { upper: signals.clone(), lower: signals };
    let oracle = AutodiffOracle::new(problem, &x, &Codes::zero(n, atoms, &device), data).unwrap();
    let (mut x, y) = (oracle.upper_start().to_vec(), oracle.lower_start());
    // A classifier that is not zero, where F would not depend on the codes.
    for (at, weight) in x.iter_mut().enumerate().skip(atoms * features) {
        *weight = wave(at, 0.9);
    }
    let x = Vector::from_slice(oracle.upper_layout(), &x, &device);
    let descent = || {
        let threshold = SoftThreshold::new(sparsity).unwrap().times(0.2).unwrap();
        Descent::new(Projected::new(Gd::new(0.2).unwrap(), threshold), 2000).unwrap()
    };
    let stage = LowerProblem::new(&oracle, &x, Samples::default());
    let y = descent().run(&stage, &y).unwrap().state.y;
    let (codes, slope) =
        (y.to_vec(), stage.gradient(Objective::Upper, &y, Wrt::Y).1.into_y().to_vec());

    let mut expected = DMatrix::zeros(atoms, features);
    for i in 0..n {
        let of = |v: &[f64]| DMatrix::from_row_slice(1, atoms, &v[i * atoms..(i + 1) * atoms]);
        let (code, slope) = (of(&codes), of(&slope));
        let active: Vec<usize> = (0..atoms).filter(|&k| code[k] != 0.0).collect();
        assert!((1..atoms).contains(&active.len()), "{active:?}");
        let d_a = d.select_rows(&active);
        let h = &d_a * d_a.transpose() + DMatrix::identity(active.len(), active.len()) * ridge;
        let b = h.try_inverse().unwrap() * slope.select_columns(&active).transpose();
        let r = &code * &d - u.rows(i, 1);
        let back = b.transpose() * &d_a;
        for (at, &k) in active.iter().enumerate() {
            let mut g = -(&r * b[at] + &back * code[k]);
            g -= d.rows(k, 1) * g.dot(&d.rows(k, 1));
            let row = expected.rows(k, 1) + g;
            expected.rows_mut(k, 1).copy_from(&row);
        }
    }
    let expected = expected.transpose().as_slice().to_vec();
    let methods: [Box<dyn HypergradientMethod>; 2] = [
        Box::new(Unrolled::rad(descent())),
        Box::new(FixedPoint::new(descent(), 2000, 1e-12).unwrap()),
    ];
    for mut method in methods {
        let found = method.hypergradient(stage, &y).unwrap().gradient.to_vec();
        let away = distance(&found[..atoms * features], &expected);
        assert!(away < 1e-6, "{}: {away}", method.describe());
    }
}

/// Along random directions of the logits, in a network with both kinds of cells, partial channels and logits of edges.
#[test]
fn the_hypergradient_of_a_cell_is_that_of_differences() {
    let device = device();
    let images = |n: usize, shift: usize| {
        let pixels: Vec<f64> =
            (0..n * 36).map(|at| ((at * at * 5 + at * shift) % 17) as f64 / 8.0 - 1.0).collect();
        let labels: Vec<i64> = (0..n).map(|at| (at % 3) as i64).collect();
        ImageBatch {
            images: Tensor::from_data(TensorData::new(pixels, [n, 1, 6, 6]), &device),
            labels: Tensor::from_data(TensorData::new(labels, [n]), &device),
        }
    };
    let mixed = || CellGraph::mixed(1);
    let config = CellNetworkConfig::new(1, 3, mixed(), mixed()).with_channels(2).with_partial(2);
    device.seed(0);
    let network = config.with_stages(2).with_cells(1).with_affine(false).init(&device);
    let architecture = Architecture::uniform(1, true, true, &device);
    let data = FullBatch { upper: images(4, 3), lower: images(5, 7) };
    let oracle =
        AutodiffOracle::new(Search { decay: 0.01 }, &architecture, &network, data).unwrap();
    let (layout, y) = (oracle.upper_start().layout().clone(), oracle.lower_start());
    let vector = |seed: usize, scale: f64| {
        let numbers: Vec<f64> = (0..layout.size())
            .map(|at| scale * (((at * 29 + seed * 7) % 31) as f64 / 15.0 - 1.0))
            .collect();
        Vector::from_slice(&layout, &numbers, &device)
    };
    let x = vector(1, 0.8);
    for (name, lower_steps) in [("rad", 2), ("one-stage", 1)] {
        let settings = Settings { lower_steps, step_size: 0.1, ..Settings::default() };
        let found = hypergradient(name, &settings, &oracle, &x, &y);
        let descent = settings.descent().unwrap();
        let loss = |x: &Vector| {
            let problem = LowerProblem::new(&oracle, x, Samples::default());
            let end = descent.run(&problem, &y).unwrap();
            problem.value(Objective::Upper, &end.state.y).read()
        };
        for seed in [2, 3] {
            // So short that no kink of ReLU or max-pooling lies within.
            let (along, h) = (vector(seed, 1.0), 1e-6);
            let expected = (loss(&x.axpy(h, &along)) - loss(&x.axpy(-h, &along))) / (2.0 * h);
            let slope: f64 = found.iter().zip(numbers(&along)).map(|(a, b)| a * b).sum();
            let off = (slope - expected).abs() / expected.abs();
            assert!(expected.abs() > 1e-3 && off < 1e-5, "{name}: {slope} for {expected}");
        }
    }
}
