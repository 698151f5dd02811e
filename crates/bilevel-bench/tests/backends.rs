//! The same hypergradient, and the same steps of every method, on every backend, in f32.
//!
//! wgpu is skipped with a message if there is no graphics adapter; with `BILEVEL_REQUIRE_GPU` set that is a failure.

use bilevel_bench::backend::{BackendName, run_on};
use bilevel_bench::compare::{Contender, ProblemName, solver};
use bilevel_bench::settings::Offered;
use bilevel_core::{
    Adam, AutodiffOracle, Batch, BiCgStab, BilevelProblem, Bounds, Cg, Dense, Descent, Dynamics,
    Fad, FixedPoint, FullBatch, Gd, Gmres, HypergradientMethod, Iaptt, Implicit, LinearSolver,
    LowerProblem, Momentum, Nesterov, Neumann, NormalCg, Plan, Projected, RmsProp, Samples,
    Unrolled,
};
use bilevel_models::{ConvNet, ConvNetConfig, Mlp, MlpConfig, cross_entropy};
use bilevel_program::{Layout, Vector, grad_and_hvp};
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};

/// Largest difference between two backends, relative to the largest entry of the hypergradient.
const TOLERANCE: f64 = 1e-4;

#[derive(Module, Debug)]
struct Weights {
    logits: Param<Tensor<1>>,
}

#[derive(Clone, Debug, Batch)]
struct Images {
    pixels: Tensor<4>,
    labels: Tensor<1, Int>,
}

/// Either network, as one type.
#[allow(clippy::large_enum_variant, reason = "there is one value of it")]
#[derive(Module, Debug)]
enum Network {
    Mlp(Mlp),
    Conv(ConvNet),
}

impl Network {
    fn losses(&self, batch: &Images) -> Tensor<1> {
        let logits = match self {
            Self::Mlp(net) => net.forward(batch.pixels.clone().flatten(1, 3)),
            Self::Conv(net) => net.forward(batch.pixels.clone()),
        };
        cross_entropy(logits, batch.labels.clone())
    }
}

/// Hyper-cleaning on a small scale.
struct Cleaning;

impl BilevelProblem for Cleaning {
    type Upper = Weights;
    type Lower = Network;
    type Batch = Images;

    fn upper_loss(&self, _: &Weights, net: &Network, batch: &Images) -> Tensor<1> {
        net.losses(batch).mean()
    }

    fn lower_loss(&self, x: &Weights, net: &Network, batch: &Images) -> Tensor<1> {
        (activation::sigmoid(x.logits.val()) * net.losses(batch)).mean()
    }
}

const SIDE: usize = 6;
const SAMPLES: usize = 8;
const CLASSES: usize = 3;

/// Numbers in [-1, 1], the same on every backend.
fn numbers(seed: u32, n: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn hypergradient(device: &Device, conv: bool, method: &str) -> Vec<f64> {
    let images = |seed| Images {
        pixels: Tensor::from_data(
            TensorData::new(numbers(seed, SAMPLES * SIDE * SIDE), [SAMPLES, 1, SIDE, SIDE]),
            device,
        ),
        labels: Tensor::from_data(
            TensorData::new((0..SAMPLES as i32).map(|i| i % 3).collect(), [SAMPLES]),
            device,
        ),
    };
    let data = FullBatch { upper: images(1), lower: images(2) };
    let logits = TensorData::new(numbers(3, SAMPLES), [SAMPLES]);
    let x = Weights { logits: Param::from_tensor(Tensor::from_data(logits, device)) };
    let net = if conv {
        let config = ConvNetConfig::new([1, SIDE, SIDE], CLASSES).with_channels(vec![4, 3]);
        Network::Conv(config.init(device))
    } else {
        Network::Mlp(MlpConfig::new(vec![SIDE * SIDE, 7, CLASSES]).init(device))
    };
    let oracle = AutodiffOracle::new(Cleaning, &x, &net, data).unwrap();
    // Backends draw different initial values: use our own numbers.
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let values: Vec<f64> =
        numbers(4, y.layout().size()).into_iter().map(|v| 0.3 * f64::from(v)).collect();
    let y = Vector::from_slice(y.layout(), &values, device);
    let gd = || Descent::new(Gd::new(0.2).unwrap(), 5).unwrap();
    let heavy = || Descent::new(Momentum::new(0.1, 0.5).unwrap(), 5).unwrap();
    let cg = || Cg::new(5, 1e-6).unwrap().with_damping(1.0).unwrap();
    let mut method: Box<dyn HypergradientMethod> = match method {
        "rad" => Box::new(Unrolled::rad(gd())),
        "rad through momentum" => Box::new(Unrolled::rad(heavy())),
        _ => Box::new(Implicit::new(gd(), cg())),
    };
    method
        .hypergradient(LowerProblem::new(&oracle, &x, Samples::default()), &y)
        .unwrap()
        .gradient
        .to_vec()
}

#[derive(Module, Debug)]
struct Values {
    values: Param<Tensor<1>>,
}

#[derive(Clone, Debug, Batch)]
struct Points {
    inputs: Tensor<2>,
    targets: Tensor<1>,
}

/// `f = fit(y) + sum exp(x) y^2 / 2`, `F = fit(y)` on other points: a problem so small that the comparison is between
/// methods.
struct Ridge;

fn fit(y: &Values, points: &Points) -> Tensor<1> {
    let found = points.inputs.clone().matmul(y.values.val().unsqueeze_dim(1)).squeeze_dim(1);
    (found - points.targets.clone()).powi_scalar(2).mean() / 2
}

impl BilevelProblem for Ridge {
    type Upper = Values;
    type Lower = Values;
    type Batch = Points;

    fn upper_loss(&self, _: &Values, y: &Values, points: &Points) -> Tensor<1> {
        fit(y, points)
    }

    fn lower_loss(&self, x: &Values, y: &Values, points: &Points) -> Tensor<1> {
        let penalty = x.values.val().exp() * y.values.val().powi_scalar(2);
        fit(y, points) + penalty.sum() / 2
    }
}

const FEATURES: usize = 4;
const POINTS: usize = 12;
const STEPS: usize = 12;

type Named = (&'static str, Box<dyn HypergradientMethod>);

/// The methods that give the same number on every backend. A new one is one line.
fn methods() -> Vec<Named> {
    fn after(dynamics: impl Dynamics + 'static) -> Descent {
        Descent::new(dynamics, STEPS).unwrap()
    }
    fn implicit(solver: impl LinearSolver + 'static) -> Box<Implicit> {
        Box::new(Implicit::new(after(Gd::new(0.4).unwrap()), solver))
    }
    let gd = || after(Gd::new(0.4).unwrap());
    let adam = Adam::new(0.1).unwrap().with_epsilon(0.01).unwrap();
    let rms_prop = RmsProp::new(0.1).unwrap().with_epsilon(0.01).unwrap();
    let bounds = Bounds::new(-0.1, 0.1).unwrap();
    vec![
        ("rad", Box::new(Unrolled::rad(gd()))),
        ("rad, square root of the states", Box::new(Unrolled::rad(gd()).with_plan(Plan::Sqrt))),
        ("rad, three states", Box::new(Unrolled::rad(gd()).with_plan(Plan::binomial(3).unwrap()))),
        ("rad through momentum", Box::new(Unrolled::rad(after(Momentum::new(0.2, 0.5).unwrap())))),
        ("rad through nesterov", Box::new(Unrolled::rad(after(Nesterov::standard(0.3).unwrap())))),
        ("rad through adam", Box::new(Unrolled::rad(after(adam)))),
        ("rad through rms-prop", Box::new(Unrolled::rad(after(rms_prop)))),
        (
            "rad in a box",
            Box::new(Unrolled::rad(after(Projected::new(Gd::new(0.4).unwrap(), bounds)))),
        ),
        ("trad", Box::new(Unrolled::trad(gd(), 7).unwrap())),
        ("fad", Box::new(Fad::new(gd()).with_block(3).unwrap())),
        ("ia-gm", Box::new(Unrolled::ia_gm(gd()))),
        ("iaptt", Box::new(Iaptt::new(gd()))),
        ("cg", implicit(Cg::new(8, 1e-6).unwrap())),
        ("normal-cg", implicit(NormalCg::new(16, 1e-6).unwrap())),
        ("gmres", implicit(Gmres::new(8, 1e-6).unwrap())),
        ("bicgstab", implicit(BiCgStab::new(8, 1e-6).unwrap())),
        ("neumann", implicit(Neumann::new(0.4, 20, 1e-6).unwrap())),
        ("dense", implicit(Dense::new())),
        ("fixed-point", Box::new(FixedPoint::new(gd(), 20, 1e-6).unwrap())),
    ]
}

/// Every method on [`Ridge`]: its gradient in x, and in the start where it gives one.
fn of_methods(device: &Device) -> Vec<(String, Vec<f64>)> {
    let points = |seed| Points {
        inputs: Tensor::from_data(
            TensorData::new(numbers(seed, POINTS * FEATURES), [POINTS, FEATURES]),
            device,
        ),
        targets: Tensor::from_data(TensorData::new(numbers(seed + 10, POINTS), [POINTS]), device),
    };
    let data = FullBatch { upper: points(1), lower: points(2) };
    let values = |seed| {
        let half: Vec<_> = numbers(seed, FEATURES).iter().map(|v| v / 2.0).collect();
        let values = Tensor::from_data(TensorData::new(half, [FEATURES]), device);
        Values { values: Param::from_tensor(values) }
    };
    let oracle = AutodiffOracle::new(Ridge, &values(3), &values(4), data).unwrap();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let run = |(name, mut method): Named| {
        let problem = LowerProblem::new(&oracle, &x, Samples::default());
        let found = method.hypergradient(problem, &y).unwrap();
        let mut numbers = found.gradient.to_vec();
        numbers.extend(found.start.iter().flat_map(|start| start.to_vec()));
        (name.to_owned(), numbers)
    };
    methods().into_iter().map(run).collect()
}

/// A few steps of everything that `bilevel compare` offers.
fn of_contenders(device: &Device) -> Vec<(String, Vec<f64>)> {
    const STEPS: usize = 3;
    let problem = ProblemName::Quadratic;
    let setup = problem.setup(0, None, device).unwrap();
    let run = |contender: Contender| {
        let oracle = setup.oracle(&contender, None).unwrap();
        let mut solver = solver(&contender, problem, (&setup, &oracle), 0).unwrap();
        for k in 0..STEPS {
            solver.step(k).unwrap();
        }
        let numbers = [solver.x().to_vec(), solver.y().to_vec()].concat();
        (contender.name(), numbers)
    };
    Contender::all().into_iter().map(run).collect()
}

#[track_caller]
fn assert_agree(what: &str, found: &[f64], expected: &[f64]) {
    let scale = expected.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    assert!(scale > 1e-6, "{what}: the hypergradient is not zero");
    assert_eq!(found.len(), expected.len(), "{what}");
    for (f, e) in found.iter().zip(expected) {
        let off = (f - e).abs() / scale;
        assert!(off <= TOLERANCE, "{what}: {f:e} for {e:e}");
    }
}

/// The gradient and a Hessian-vector product of sum_i (x at place i)^4 / 4, where thousands of places repeat.
fn at_repeated_places(device: &Device) -> Vec<(&'static str, Vec<f64>)> {
    const PLACES: i32 = 3;
    const ROWS: i32 = 4096;
    let values = TensorData::new(vec![0.5_f32, -1.0, 0.8, 0.3, 0.9, -0.6], [PLACES as usize, 2]);
    let x = Param::from_tensor(Tensor::<2>::from_data(values, device));
    let rows: Vec<i32> = (0..ROWS).map(|i| i * i % 7 % PLACES).collect();
    let rows = TensorData::new(rows, [ROWS as usize, 1]);
    let loss = |x: &Param<Tensor<2>>| {
        let rows = Tensor::<2, Int>::from_data(rows.clone(), &x.device());
        let read: Tensor<2> = x.val().gather_nd(rows);
        read.powi_scalar(4).sum() / 4
    };
    let direction = Vector::from_module(&Layout::of(&x), &x);
    let (gradient, product) = grad_and_hvp(&x, &direction, loss).unwrap();
    vec![("the gradient", gradient.to_vec()), ("the product", product.to_vec())]
}

fn agree(backend: BackendName) {
    let expected = run_on(BackendName::Flex, |device| at_repeated_places(&device)).unwrap();
    let found = run_on(backend, |device| at_repeated_places(&device)).unwrap();
    for ((name, found), (_, expected)) in found.iter().zip(&expected) {
        assert_agree(&format!("{backend:?}, {name} at repeated places"), found, expected);
    }
    for conv in [false, true] {
        for method in ["rad", "rad through momentum", "cg"] {
            let expected =
                run_on(BackendName::Flex, |device| hypergradient(&device, conv, method)).unwrap();
            let found = run_on(backend, |device| hypergradient(&device, conv, method)).unwrap();
            assert_agree(&format!("{backend:?}, {method}, conv {conv}"), &found, &expected);
        }
    }
    let mut expected = run_on(BackendName::Flex, |device| of_methods(&device)).unwrap();
    let mut found = run_on(backend, |device| of_methods(&device)).unwrap();
    expected.extend(run_on(BackendName::Flex, |device| of_contenders(&device)).unwrap());
    found.extend(run_on(backend, |device| of_contenders(&device)).unwrap());
    for ((name, found), (_, expected)) in found.iter().zip(&expected) {
        assert_agree(&format!("{backend:?}, {name}"), found, expected);
    }
}

#[test]
fn ndarray_agrees_with_flex() {
    if cfg!(feature = "ndarray") {
        agree(BackendName::Ndarray);
    } else {
        eprintln!("skipped: this build is without ndarray");
    }
}

#[test]
fn wgpu_agrees_with_flex() {
    match BackendName::Wgpu.resolve() {
        Ok(_) => agree(BackendName::Wgpu),
        Err(error) => {
            assert!(std::env::var_os("BILEVEL_REQUIRE_GPU").is_none(), "{error}");
            eprintln!("skipped: {error}");
        }
    }
}
