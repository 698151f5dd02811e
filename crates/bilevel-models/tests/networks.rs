//! Sizes and shapes of the networks, and evaluation with gathered statistics, in f32 on flex.

use bilevel_models::*;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Distribution, Tensor};

// ---- sizes ----------------------------------------------------------------------------------------

/// Counts parameters by their shapes, without allocating them.
#[derive(Default)]
struct Size {
    parameters: usize,
    layers: usize,
}

impl ModuleVisitor for Size {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let shape = param.lazy_shape();
        self.parameters += shape.num_elements();
        self.layers += usize::from(D > 1);
    }
}

/// The number of layers with a matrix, and the number of parameters.
fn size(network: &impl Module) -> (usize, usize) {
    let mut size = Size::default();
    network.visit(&mut size);
    (size.layers, size.parameters)
}

#[test]
fn residual_networks_have_the_parameters_that_are_published() {
    // The networks, the 1x1 convolutions of their shortcuts, and the parameters: those with option A of the
    // source plus, for networks of three stages, the shortcuts that option B adds.
    let option_b = (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64);
    for (config, layers, shortcuts, parameters) in [
        (ResNetConfig::resnet20(3, 10), 20, 2, 269_722 + option_b),
        (ResNetConfig::resnet32(3, 10), 32, 2, 464_154 + option_b),
        (ResNetConfig::resnet18(3, 10), 18, 3, 11_173_962),
        (ResNetConfig::resnet34(3, 10), 34, 3, 21_282_122),
        (ResNetConfig::resnet50(3, 10), 50, 4, 23_520_842),
        (ResNetConfig::resnet101(3, 10), 101, 4, 42_512_970),
        (ResNetConfig::resnet152(3, 10), 152, 4, 58_156_618),
    ] {
        let found = size(&config.init(&Device::flex()));
        assert_eq!(found, (layers + shortcuts, parameters), "ResNet-{layers}");
    }
    let wrn = WideResNetConfig::wrn_28_10(3, 10).init(&Device::flex());
    assert_eq!(
        size(&wrn),
        (28 + 1, 36_479_194),
        "28 convolutions, three of them shortcuts, and fc"
    );
}

#[test]
fn the_other_networks_have_the_parameters_of_their_layers() {
    assert_eq!(size(&VNetConfig::new().init(&Device::flex())), (2, 301));
    let cnn = CnnConfig::new([1, 28, 28], 10).init(&Device::flex());
    let convs = (25 * 32 + 32) + (25 * 32 * 64 + 64);
    assert_eq!(size(&cnn), (4, convs + (7 * 7 * 64 * 128 + 128) + 1290));
    let convnet = ConvNetConfig::new([1, 28, 28], 5).init(&Device::flex());
    let blocks = (9 * 64 + 64 + 128) + 3 * (9 * 64 * 64 + 64 + 128);
    assert_eq!(size(&convnet), (5, blocks + 64 * 5 + 5));
}

// ---- shapes ---------------------------------------------------------------------------------------

const CLASSES: usize = 4;

/// Networks of every kind, with the width of their features on images with two channels and 9x8 pixels.
fn networks() -> Vec<(&'static str, ImageClassifierConfig, usize)> {
    let resnet = |config: ResNetConfig| ImageClassifierConfig::ResNet(config.with_width(2));
    let mlp = MlpConfig::new(vec![2 * 9 * 8, 6, CLASSES]);
    let wrn = WideResNetConfig::wrn_28_10(2, CLASSES).with_width(1).with_widening(2);
    let cnn = CnnConfig::new([2, 9, 8], CLASSES).with_channels(vec![3, 5]).with_hidden(7);
    let convnet = ConvNetConfig::new([2, 9, 8], CLASSES).with_channels(vec![3, 5]);
    vec![
        ("mlp", ImageClassifierConfig::Flat(ClassifierConfig::Mlp(mlp)), 6),
        ("cnn", ImageClassifierConfig::Cnn(cnn), 7),
        ("convnet", ImageClassifierConfig::ConvNet(convnet), 5 * 2 * 2),
        ("resnet20", resnet(ResNetConfig::resnet20(2, CLASSES)), 8),
        ("resnet32", resnet(ResNetConfig::resnet32(2, CLASSES)), 8),
        ("resnet18", resnet(ResNetConfig::resnet18(2, CLASSES)), 16),
        ("resnet34", resnet(ResNetConfig::resnet34(2, CLASSES)), 16),
        ("resnet50", resnet(ResNetConfig::resnet50(2, CLASSES)), 64),
        ("resnet101", resnet(ResNetConfig::resnet101(2, CLASSES)), 64),
        ("resnet152", resnet(ResNetConfig::resnet152(2, CLASSES)), 64),
        ("wrn_28_10", ImageClassifierConfig::WideResNet(wrn), 8),
    ]
}

fn images(n: usize, [height, width]: [usize; 2]) -> Tensor<4> {
    let wave = |(at, _): (usize, ())| (0.7 * (at * at % 101) as f32).sin();
    let values: Vec<f32> =
        std::iter::repeat_n((), n * 2 * height * width).enumerate().map(wave).collect();
    Tensor::<1>::from_floats(values.as_slice(), &Device::flex()).reshape([n, 2, height, width])
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

#[test]
fn every_network_is_a_head_on_features_of_these_shapes() {
    for (name, config, features) in networks() {
        let network = config.init(&Device::flex());
        let found = network.features(images(3, [9, 8]));
        assert_eq!(found.dims(), [3, features], "{name}");
        let logits = network.forward(images(3, [9, 8]));
        assert_eq!(logits.dims(), [3, CLASSES], "{name}");
        assert_eq!(read(logits), read(network.head(found)), "{name}");
    }
}

#[test]
fn layers_without_activations_are_one_linear_map_for_any_number_of_samples() {
    let config = MlpConfig::new(vec![2 * 9 * 8, 40, 30, CLASSES]);
    let network = config.with_activation(Activation::Identity).init(&Device::flex());
    // For the last two, the product of the layers takes fewer multiplications than the layers.
    for samples in [1, 20, 50] {
        let input: Tensor<2> = images(samples, [9, 8]).flatten(1, 3);
        let layers = network.head(network.features(input.clone()));
        close("linear layers", &read(network.forward(input)), &read(layers), 1e-5);
    }
}

#[test]
fn residual_networks_take_images_of_any_height_and_width() {
    for (name, config, features) in networks() {
        let sizeless = matches!(
            config,
            ImageClassifierConfig::ResNet(_) | ImageClassifierConfig::WideResNet(_)
        );
        if sizeless {
            let network = config.init(&Device::flex());
            for size in [[1, 1], [7, 4]] {
                assert_eq!(network.features(images(3, size)).dims(), [3, features], "{name}");
            }
        }
    }
}

#[test]
fn weights_of_samples_lie_between_0_and_1_and_depend_on_their_own_loss_alone() {
    let network = VNetConfig::new().init(&Device::flex());
    let losses = Tensor::random([50], Distribution::Uniform(0.0, 8.0), &Device::flex());
    let weights = network.forward(losses.clone());
    assert!(
        read(weights.clone()).iter().all(|weight| (0.0..1.0).contains(weight) && *weight > 0.0)
    );
    for at in [0, 17, 49] {
        let alone = network.forward(losses.clone().narrow(0, at, 1));
        close("its weight", &read(alone), &read(weights.clone().narrow(0, at, 1)), 1e-6);
    }
}

// ---- statistics -----------------------------------------------------------------------------------

#[track_caller]
fn close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= tolerance, "{what}: {found} for {expected}");
    }
}

#[test]
fn statistics_of_one_batch_evaluate_as_training_does_and_sample_by_sample() {
    for (name, config, _) in networks() {
        let network = config.init(&Device::flex());
        let trained = read(network.forward(images(6, [9, 8])));
        let mut statistics = Statistics::default();
        let gathered = network.forward_with(images(6, [9, 8]), Mode::Gather(&mut statistics));
        assert_eq!(read(gathered), trained, "{name}");
        let evaluate = |images| read(network.forward_with(images, Mode::Evaluate(&statistics)));
        close(name, &evaluate(images(6, [9, 8])), &trained, 1e-4);
        for at in [0, 5] {
            let alone = evaluate(images(6, [9, 8]).narrow(0, at, 1));
            close(name, &alone, &trained[CLASSES * at..CLASSES * (at + 1)], 1e-4);
        }
    }
}

#[test]
fn statistics_of_several_batches_are_those_of_all_their_samples() {
    let norm = BatchNormConfig::new(2).init(&Device::flex());
    let all: Tensor<4> = images(9, [3, 5]) * 3.0 + 7.0;
    let mut statistics = Statistics::default();
    for (start, length) in [(0, 2), (2, 6), (8, 1)] {
        norm.forward_with(all.clone().narrow(0, start, length), &mut Mode::Gather(&mut statistics));
    }
    let found = norm.forward_with(all.clone(), &mut Mode::Evaluate(&statistics));
    close("normalised", &read(found), &read(norm.forward(all)), 1e-5);
}

#[test]
fn gradients_stop_at_statistics() {
    let device = Device::flex().autodiff();
    let norm = BatchNormConfig::new(2).init(&device);
    let mut statistics = Statistics::default();
    let input = images(4, [3, 5]).autodiff().require_grad();
    norm.forward_with(input.clone(), &mut Mode::Gather(&mut statistics));
    let found = norm.forward_with(images(4, [3, 5]), &mut Mode::Evaluate(&statistics));
    assert!(input.grad(&found.powi_scalar(3).sum().backward()).is_none());
}

#[test]
fn statistics_gathered_in_training_evaluate_on_any_device() {
    let network = ResNetConfig::resnet20(2, CLASSES).with_width(2);
    let network = network.init(&Device::flex().autodiff());
    let mut statistics = Statistics::default();
    let trained = network.forward_with(images(6, [9, 8]), Mode::Gather(&mut statistics));
    let trained = read(trained);
    for network in [network.valid(), network] {
        let found = network.forward_with(images(6, [9, 8]), Mode::Evaluate(&statistics));
        close("evaluated", &read(found), &trained, 1e-4);
    }
}

/// The shapes and the values of the trained parameters.
#[derive(Default)]
struct Parameters {
    shapes: Vec<Vec<usize>>,
    numbers: Vec<f64>,
}

impl ModuleVisitor for Parameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.shapes.push(param.val().dims().to_vec());
        self.numbers.extend(read(param.val()));
    }
}

#[test]
fn statistics_are_no_variables_and_gathering_moves_no_parameter() {
    let network = ResNetConfig::resnet20(2, CLASSES).with_width(2).init(&Device::flex());
    let parameters = |network: &ResNet| {
        let mut parameters = Parameters::default();
        network.visit(&mut parameters);
        (parameters.shapes, parameters.numbers)
    };
    let before = parameters(&network);
    let output = read(network.forward(images(3, [9, 8])));
    let mut statistics = Statistics::default();
    network.forward_with(images(3, [9, 8]), Mode::Gather(&mut statistics));
    network.forward_with(images(3, [9, 8]), Mode::Evaluate(&statistics));
    assert_eq!(parameters(&network), before);
    assert_eq!(read(network.forward(images(3, [9, 8]))), output);
}

#[test]
#[should_panic(expected = "gather some with `Mode::Gather` before `Mode::Evaluate`")]
fn a_network_without_statistics_is_not_evaluated() {
    let network = ResNetConfig::resnet20(2, CLASSES).with_width(1).init(&Device::flex());
    network.forward_with(images(3, [9, 8]), Mode::Evaluate(&Statistics::default()));
}

// ---- starts ---------------------------------------------------------------------------------------

/// The mean square of a kernel's weights times the number of weights that contribute to one output.
#[derive(Default)]
struct Spread(Vec<f64>);

impl ModuleVisitor for Spread {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if D == 4 {
            let fan_in: usize = param.val().dims()[1..].iter().product();
            let squares = param.val().powi_scalar(2).mean().into_data();
            self.0.push(fan_in as f64 * squares.iter::<f64>().next().unwrap());
        }
    }
}

#[test]
fn convolutions_start_with_a_variance_of_two_over_their_inputs() {
    Device::flex().seed(1);
    let resnet = ResNetConfig::resnet20(3, CLASSES).init(&Device::flex());
    let wide = WideResNetConfig::wrn_28_10(3, CLASSES).with_blocks(1).with_widening(1);
    let mut spread = Spread::default();
    resnet.visit(&mut spread);
    wide.init(&Device::flex()).visit(&mut spread);
    assert!(spread.0.len() > 25);
    // The smallest kernel has 432 weights: the standard error of its mean square is 7 %.
    for found in spread.0 {
        assert!((found / 2.0 - 1.0).abs() < 0.3, "{found}, expected about 2");
    }
}

/// Vectors of zeros.
#[derive(Default)]
struct Zeros(usize);

impl ModuleVisitor for Zeros {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0 += usize::from(D == 1 && read(param.val()).iter().all(|&number| number == 0.0));
    }
}

#[test]
fn the_blocks_of_networks_of_four_stages_start_as_their_shortcuts() {
    let zeros = |config: &ResNetConfig| {
        let mut zeros = Zeros::default();
        config.clone().with_width(2).init(&Device::flex()).visit(&mut zeros);
        zeros.0
    };
    for (config, blocks) in [
        (ResNetConfig::resnet20(2, CLASSES), 0),
        (ResNetConfig::resnet32(2, CLASSES), 0),
        (ResNetConfig::resnet18(2, CLASSES), 2 + 2 + 2 + 2),
        (ResNetConfig::resnet34(2, CLASSES), 3 + 4 + 6 + 3),
        (ResNetConfig::resnet152(2, CLASSES), 3 + 8 + 36 + 3),
    ] {
        // Every beta is zero too.
        let betas = zeros(&config.clone().with_last_gamma(1.0));
        assert_eq!(zeros(&config) - betas, blocks, "{:?}", config.blocks);
    }
}
