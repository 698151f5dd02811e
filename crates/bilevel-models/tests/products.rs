//! First and second derivatives of every network of this crate, in f64 on flex: against finite differences,
//! against each other, and against exact values where these are known.

use std::sync::Once;

use bilevel_models::*;
use bilevel_program::{
    Layout, Tolerances, TraceError, Vector, check_within, grad, grad_and_hvp, hvp, jvp,
    second_order, stop_gradient, value_and_grad,
};
use burn::module::{Module, Param};
use burn::nn;
use burn::tensor::{Device, FloatDType, Int, IntDType, Tensor, TensorData, activation};

// ---- the table: a new network is one line ---------------------------------------------------------

fn networks() -> Vec<(&'static str, Network)> {
    let device = &device();
    let softmax = SoftmaxRegressionConfig::new(PIXELS, CLASSES);
    let mlp = MlpConfig::new(vec![PIXELS, 9, 7, CLASSES]);
    let tanh = mlp.clone().with_activation(Activation::Tanh);
    // Wide within, so that its layers are multiplied with each other first.
    let linear = MlpConfig::new(vec![PIXELS, 40, 30, CLASSES]);
    let linear = linear.with_activation(Activation::Identity);
    let cnn = CnnConfig::new(IMAGE, CLASSES).with_channels(vec![2, 3]).with_hidden(5);
    let convnet = ConvNetConfig::new(IMAGE, CLASSES).with_channels(vec![4, 5]);
    let cifar = ResNetConfig::resnet20(IMAGE[0], CLASSES).with_blocks(vec![1; 3]).with_width(2);
    let resnet = ResNetConfig::resnet18(IMAGE[0], CLASSES).with_blocks(vec![1; 4]).with_width(2);
    // At 0 most derivatives vanish.
    let resnet = resnet.with_last_gamma(0.7);
    let bottlenecks =
        ResNetConfig::resnet50(IMAGE[0], CLASSES).with_blocks(vec![1; 2]).with_width(2);
    let bottlenecks = bottlenecks.with_last_gamma(0.7);
    let wrn = WideResNetConfig::wrn_28_10(IMAGE[0], CLASSES);
    let resnet12 = ResNet12Config::new(IMAGE[0], CLASSES).with_width(2).with_blocks(2);
    let wrn = wrn.with_blocks(1).with_widening(2).with_width(1);

    let edge = |from, operation| CellEdge::new(from, 2, vec![operation]);
    let cell = vec![edge(0, Operation::Separable3), edge(1, Operation::AveragePool)];
    let cell = CellGraph::new(1, cell);
    let cells = CellNetworkConfig::new(IMAGE[0], CLASSES, cell.clone(), cell);
    let cells = cells.with_channels(4).with_stages(1).with_cells(1);

    let flat = |config: ClassifierConfig| ImageClassifierConfig::Flat(config);
    let image = |config: ImageClassifierConfig| Network::Image(config.init(device));
    vec![
        ("softmax regression", image(flat(ClassifierConfig::Softmax(softmax)))),
        ("relu mlp", image(flat(ClassifierConfig::Mlp(mlp)))),
        ("tanh mlp", image(flat(ClassifierConfig::Mlp(tanh)))),
        ("linear mlp", image(flat(ClassifierConfig::Mlp(linear)))),
        ("cnn", image(ImageClassifierConfig::Cnn(cnn))),
        ("convnet", image(ImageClassifierConfig::ConvNet(convnet))),
        ("resnet of three stages", image(ImageClassifierConfig::ResNet(cifar))),
        ("resnet of four stages", image(ImageClassifierConfig::ResNet(resnet))),
        ("resnet12", image(ImageClassifierConfig::ResNet12(resnet12))),
        ("resnet of bottlenecks", image(ImageClassifierConfig::ResNet(bottlenecks))),
        ("wide resnet", image(ImageClassifierConfig::WideResNet(wrn))),
        ("cells", image(ImageClassifierConfig::Cells(cells))),
        ("vnet", Network::Weights(VNetConfig::new().with_hidden(6).init(device))),
        (
            "batch normalisation",
            Network::Normal(Normal {
                norm: BatchNormConfig::new(IMAGE[0]).init(device),
                head: nn::LinearConfig::new(PIXELS, CLASSES).init(device),
            }),
        ),
    ]
    .into_iter()
    .map(|(name, network)| {
        let direction = random(&point(&network), 4);
        let half_a_parameter = 0.5 * (direction.layout().size() as f64).sqrt();
        (name, at(&network, &direction.scale(half_a_parameter)))
    })
    .collect()
}

/// Any network, so that each check is compiled once.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "one is made a line of the table")]
enum Network {
    Image(ImageClassifier),
    Weights(VNet),
    Normal(Normal),
}

/// Batch normalisation in a network without kinks.
#[derive(Module, Debug)]
struct Normal {
    norm: BatchNorm,
    head: nn::Linear,
}

impl Network {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        match self {
            Self::Image(network) => network.forward(images),
            // The first pixels, interpreted as losses.
            Self::Weights(network) => {
                let losses = images.flatten::<2>(1, 3).narrow(1, 0, CLASSES).reshape([-1]);
                network.forward(losses).reshape([-1, CLASSES as i32])
            }
            Self::Normal(Normal { norm, head }) => {
                head.forward(activation::tanh(norm.forward(images)).flatten(1, 3))
            }
        }
    }
}

// ---- the losses -----------------------------------------------------------------------------------

const IMAGE: [usize; 3] = [2, 6, 5];
const PIXELS: usize = IMAGE[0] * IMAGE[1] * IMAGE[2];
const CLASSES: usize = 4;
const SAMPLES: usize = 7;

/// A vector as a module.
#[derive(Module, Debug)]
struct Values {
    values: Param<Tensor<1>>,
}

fn sample_weights() -> Values {
    Values { values: Param::from_tensor(tensor(numbers(2, SAMPLES), [SAMPLES], &device())) }
}

fn images(device: &Device) -> Tensor<4> {
    tensor(numbers(3, SAMPLES * PIXELS), [SAMPLES, IMAGE[0], IMAGE[1], IMAGE[2]], device)
}

/// The cross-entropy of each sample.
fn losses(network: &Network) -> Tensor<1> {
    let device = &network.devices()[0];
    let labels: Vec<i64> = (0..SAMPLES).map(|i| (i * i % CLASSES) as i64).collect();
    let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [SAMPLES]), device);
    cross_entropy(network.forward(images(device)), labels)
}

fn loss(network: &Network) -> Tensor<1> {
    losses(network).mean()
}

/// One weight per sample, as in hyper-cleaning.
fn weighted(x: &Values, network: &Network) -> Tensor<1> {
    (activation::sigmoid(x.values.val()) * losses(network)).mean()
}

// ---- the checks -----------------------------------------------------------------------------------

/// Close enough to the point that no kink of ReLU or max-pooling interferes, and that every network is as
/// smooth as the finite differences and the orders of the Taylor remainders require.
const NEAR: Tolerances = Tolerances { step: 1e-5, reach: 2e-3, ..Tolerances::F64 };

#[test]
fn every_network_passes_the_gradient_check() {
    for (name, network) in networks() {
        let report = check_within(&network, loss, &NEAR).unwrap();
        println!("{name}\n{report}");
        report.assert_ok();
        for (test, order) in [("order 2", 2.0), ("order 3", 3.0)] {
            let slope = report.findings().iter().find(|finding| finding.test == test).unwrap();
            let off = (slope.measured - order).abs();
            assert!(off <= 0.1, "{name}: {test} is {}", slope.measured);
        }
    }
}

#[test]
fn one_program_gives_the_gradient_and_the_same_product() {
    for (name, network) in networks() {
        let v = random(&point(&network), 5);
        let (gradient, product) = grad_and_hvp(&network, &v, loss).unwrap();
        check(name, "gradient", off(&gradient, &grad(&network, loss).unwrap()), 1e-12);
        check(name, "product", off(&product, &hvp(&network, &v, loss).unwrap()), 1e-10);
    }
}

#[test]
fn mixed_products_agree_with_differences_of_both_gradients() {
    let x = sample_weights();
    for (name, network) in networks() {
        let start = point(&network);
        let v = random(&start, 5);
        let found = second_order(&x, &network, &v, weighted).unwrap();
        // One function of x and y, moved along v in y.
        let moved = |h| at(&network, &start.axpy(h, &v));
        let xy = slope(|h| {
            let y = moved(h);
            second_gradients(&x, &y).0
        });
        let yy = slope(|h| second_gradients(&x, &moved(h)).1);
        check(name, "f_xy v", off(&found.xy, &xy), 1e-7);
        check(name, "f_yy v", off(&found.yy, &yy), 1e-7);
        // The same derivatives in the opposite order: <u, f_xy v> = d/dx <f_y, v> along u.
        let (start, u) = (point(&x), random(&point(&x), 6));
        let mixed = slope(|h| {
            let x = at(&x, &start.axpy(h, &u));
            second_gradients(&x, &network).1
        });
        let (left, right) = (u.dot(&found.xy), v.dot(&mixed));
        check(name, "f_xy' u", (left - right).abs() / left.abs(), 1e-7);
    }
}

/// Both gradients of the weighted loss, as the gradient in a pair of modules.
fn second_gradients(x: &Values, y: &Network) -> (Vector, Vector) {
    let both = (x.clone(), y.clone());
    let gradient = grad(&both, |(x, y)| weighted(x, y)).unwrap();
    let (of_x, of_y) = (Layout::of(x), Layout::of(y));
    (gradient.only(&of_x), gradient.only(&of_y))
}

#[test]
fn jvp_agrees_with_differences() {
    for (name, network) in networks() {
        let start = point(&network);
        let v = random(&start, 5);
        let (values, found) = jvp(&network, &v, losses).unwrap();
        let samples = point(&sample_weights());
        let as_vector = |t: Tensor<1>| Vector::from_slice(samples.layout(), &read(t), &device());
        let at_step = |h| as_vector(losses(&at(&network, &start.axpy(h, &v))));
        check(name, "values", off(&as_vector(values), &at_step(0.0)), 1e-14);
        check(name, "jvp against differences", off(&as_vector(found), &slope(at_step)), 1e-7);
    }
}

// ---- exact zeros ----------------------------------------------------------------------------------

#[test]
fn linear_losses_and_zero_directions_have_products_that_are_exactly_zero() {
    let x = sample_weights();
    let v = random(&point(&x), 5);
    let zeros = vec![0.0; SAMPLES];

    let linear = |x: &Values| x.values.val().sum() * 3;
    assert_eq!(hvp(&x, &v, linear).unwrap().to_vec(), zeros);
    let (gradient, product) = grad_and_hvp(&x, &v, linear).unwrap();
    assert_eq!((gradient.to_vec(), product.to_vec()), (vec![3.0; SAMPLES], zeros.clone()));

    let constant = |x: &Values| Tensor::<1>::ones([1], &x.values.device());
    let (value, gradient) = value_and_grad(&x, constant).unwrap();
    assert_eq!((value, gradient.to_vec()), (1.0, zeros.clone()));
    assert_eq!(hvp(&x, &v, constant).unwrap().to_vec(), zeros);
    assert_eq!(read(jvp(&x, &v, constant).unwrap().1), [0.0]);
    let (gradient, product) = grad_and_hvp(&x, &v, constant).unwrap();
    assert_eq!((gradient.to_vec(), product.to_vec()), (zeros.clone(), zeros.clone()));

    let bilinear = |x: &Values, y: &Values| (x.values.val() * y.values.val()).sum();
    let y =
        Values { values: Param::from_tensor(tensor(numbers(7, SAMPLES), [SAMPLES], &device())) };
    let v = random(&point(&y), 5);
    let found = second_order(&x, &y, &v, bilinear).unwrap();
    assert_eq!((found.xy.to_vec(), found.yy.to_vec()), (v.to_vec(), zeros));

    for (name, network) in networks() {
        let zero = point(&network).zeros_like();
        assert_eq!(hvp(&network, &zero, loss).unwrap().norm(), 0.0, "{name}");
        assert_eq!(second_order(&x, &network, &zero, weighted).unwrap().xy.norm(), 0.0, "{name}");
    }
}

#[test]
fn what_is_held_constant_stops_both_derivatives_and_detach_is_refused() {
    let x = sample_weights();
    let v = random(&point(&x), 5);
    let half = |x: &Values| (x.values.val() * stop_gradient(x.values.val())).sum();
    assert_eq!(grad(&x, half).unwrap().to_vec(), point(&x).to_vec());
    assert_eq!(hvp(&x, &v, half).unwrap().norm(), 0.0);
    let (gradient, product) = grad_and_hvp(&x, &v, half).unwrap();
    assert_eq!((gradient.to_vec(), product.norm()), (point(&x).to_vec(), 0.0));
    let detached = |x: &Values| (x.values.val() * x.values.val().detach()).sum();
    assert!(matches!(grad(&x, detached), Err(TraceError::Detached { .. })));
}

#[test]
fn a_loss_that_forgot_its_mean_has_no_derivative() {
    let (_, network) = networks().remove(0);
    let expected = TraceError::NotOneNumber { shape: vec![7] };
    assert_eq!(grad(&network, losses).unwrap_err(), expected);
    assert_eq!(hvp(&network, &point(&network), losses).unwrap_err(), expected);
}

// ---- Burn's own modules ---------------------------------------------------------------------------

/// Layers of burn-nn, with running statistics; the first layer is frozen.
#[derive(Module, Debug)]
struct Mixed {
    body: nn::Linear,
    norm: nn::BatchNorm,
    head: nn::Linear,
}

fn mixed() -> Mixed {
    let device = &device();
    Mixed {
        body: nn::LinearConfig::new(PIXELS, 6).init(device).freeze(),
        norm: nn::BatchNormConfig::new(6).init(device),
        head: nn::LinearConfig::new(6, 1).init(device),
    }
}

fn squares(network: &Mixed) -> Tensor<1> {
    let images = images(&network.head.weight.device()).flatten::<2>(1, 3);
    let hidden = network.norm.forward(network.body.forward(images));
    network.head.forward(activation::tanh(hidden)).powi_scalar(2).mean()
}

#[test]
fn frozen_parameters_and_running_statistics_are_no_variables() {
    let network = mixed();
    let start = point(&network);
    let paths: Vec<_> = start.layout().leaves().iter().map(|leaf| leaf.path.as_str()).collect();
    assert_eq!(paths, ["norm.gamma", "norm.beta", "head.weight", "head.bias"]);
    let v = random(&start, 5);
    let expected = slope(|h| grad(&at(&network, &start.axpy(h, &v)), squares).unwrap());
    check("burn-nn", "hvp of the rest", off(&hvp(&network, &v, squares).unwrap(), &expected), 1e-7);
}

#[test]
fn products_leave_the_running_statistics_of_the_user_alone() {
    let network = mixed();
    let x = sample_weights();
    let v = random(&point(&network), 5);
    let statistics = |network: &Mixed| {
        let norm = &network.norm;
        [read(norm.running_mean.value_sync()), read(norm.running_var.value_sync())]
    };
    let before = statistics(&network);
    grad(&network, squares).unwrap();
    hvp(&network, &v, squares).unwrap();
    grad_and_hvp(&network, &v, squares).unwrap();
    jvp(&network, &v, squares).unwrap();
    second_order(&x, &network, &v, |_: &Values, y: &Mixed| squares(y)).unwrap();
    assert_eq!(statistics(&network), before);
    let training = network.train();
    squares(&training);
    assert_ne!(statistics(&training), before, "training itself does move them");
}

// ---- tools ----------------------------------------------------------------------------------------

/// Burn fixes the element types of a device once per process.
fn device() -> Device {
    static F64: Once = Once::new();
    F64.call_once(|| Device::flex().configure((FloatDType::F64, IntDType::I64)).unwrap());
    Device::flex()
}

/// Pseudo-random numbers in [-1, 1], the same on every platform.
fn numbers(seed: u64, n: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..n + 4).map(|_| next()).skip(4).collect()
}

fn tensor<const D: usize>(values: Vec<f64>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn read(tensor: Tensor<1>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

fn point<M: Module>(module: &M) -> Vector {
    Vector::from_module(&Layout::of(module), module)
}

/// `module` moved to `point`.
fn at<M: Module>(module: &M, point: &Vector) -> M {
    point.write_into(module.clone())
}

/// A direction of length 1.
fn random(like: &Vector, seed: u64) -> Vector {
    let values = numbers(seed, like.layout().size());
    let direction = Vector::from_slice(like.layout(), &values, &device());
    direction.scale(1.0 / direction.norm())
}

/// The derivative of `f` at 0, by a five-point formula.
fn slope(f: impl Fn(f64) -> Vector) -> Vector {
    let h = 1e-4;
    let difference = |steps: f64| f(steps * h).sub(&f(-steps * h));
    difference(1.0).scale(8.0).sub(&difference(2.0)).scale(1.0 / (12.0 * h))
}

/// The distance of `found` from `expected`, relative to the latter.
fn off(found: &Vector, expected: &Vector) -> f64 {
    found.sub(expected).norm() / expected.norm()
}

#[track_caller]
fn check(network: &str, what: &str, error: f64, tolerance: f64) {
    println!("{network}, {what}: {error:.1e}");
    assert!(error <= tolerance, "{network}, {what}: off {error:e}, at most {tolerance:e}");
}
