//! Sizes and shapes of the networks, and what they evaluate to with statistics, in f32 on flex.

use bilevel_autodiff::{Layout, value_and_grad};
use bilevel_models::*;
use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Module, ModuleVisitor, Param};
use burn::tensor::{Distribution, Int, Tensor, backend::Backend};
use burn_flex::{Flex, FlexDevice};

type B = Flex;

// ---- sizes ----------------------------------------------------------------------------------------

/// Counts parameters by their shapes, without making them.
#[derive(Default)]
struct Size {
    parameters: usize,
    layers: usize,
}

impl<B: Backend> ModuleVisitor<B> for Size {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let shape = param.lazy_shape();
        self.parameters += shape.num_elements();
        self.layers += usize::from(D > 1);
    }
}

/// The layers with a matrix, and the parameters.
fn size(network: &impl Module<B>) -> (usize, usize) {
    let mut size = Size::default();
    network.visit(&mut size);
    (size.layers, size.parameters)
}

#[test]
fn residual_networks_have_the_parameters_that_are_published() {
    // The networks; the 1x1 convolutions of their shortcuts; and the parameters, those of option A of the source
    // and the shortcuts that option B adds where it is of three stages.
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
        let found = size(&config.init::<B>(&FlexDevice));
        assert_eq!(found, (layers + shortcuts, parameters), "ResNet-{layers}");
    }
    let wrn = WideResNetConfig::wrn_28_10(3, 10).init::<B>(&FlexDevice);
    assert_eq!(
        size(&wrn),
        (28 + 1, 36_479_194),
        "28 convolutions, three of them shortcuts, and fc"
    );
}

#[test]
fn the_other_networks_have_the_parameters_of_their_layers() {
    assert_eq!(size(&VNetConfig::new().init::<B>(&FlexDevice)), (2, 301));
    let cnn = CnnConfig::new([1, 28, 28], 10).init::<B>(&FlexDevice);
    let convs = (25 * 32 + 32) + (25 * 32 * 64 + 64);
    assert_eq!(size(&cnn), (4, convs + (7 * 7 * 64 * 128 + 128) + 1290));
    let convnet = ConvNetConfig::new([1, 28, 28], 5).init::<B>(&FlexDevice);
    let blocks = (9 * 64 + 64 + 128) + 3 * (9 * 64 * 64 + 64 + 128);
    assert_eq!(size(&convnet), (5, blocks + 64 * 5 + 5));
}

// ---- shapes ---------------------------------------------------------------------------------------

const CLASSES: usize = 4;

/// Networks of every kind, with the width of their features on images of two channels and 9x8 pixels.
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

fn images<L: Backend>(n: usize, [height, width]: [usize; 2]) -> Tensor<L, 4> {
    let wave = |(at, _): (usize, ())| (0.7 * (at * at % 101) as f32).sin();
    let values: Vec<f32> =
        std::iter::repeat_n((), n * 2 * height * width).enumerate().map(wave).collect();
    Tensor::<L, 1>::from_floats(values.as_slice(), &L::Device::default())
        .reshape([n, 2, height, width])
}

fn read<L: Backend, const D: usize>(tensor: Tensor<L, D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

#[test]
fn every_network_is_a_head_on_features_of_these_shapes() {
    for (name, config, features) in networks() {
        let network = config.init::<B>(&FlexDevice);
        let found = network.features(images(3, [9, 8]));
        assert_eq!(found.dims(), [3, features], "{name}");
        let logits = network.forward(images(3, [9, 8]));
        assert_eq!(logits.dims(), [3, CLASSES], "{name}");
        assert_eq!(read(logits), read(network.head(found)), "{name}");
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
            let network = config.init::<B>(&FlexDevice);
            for size in [[1, 1], [7, 4]] {
                assert_eq!(network.features(images(3, size)).dims(), [3, features], "{name}");
            }
        }
    }
}

#[test]
fn weights_of_samples_lie_between_0_and_1_and_depend_on_their_own_loss_alone() {
    let network = VNetConfig::new().init::<B>(&FlexDevice);
    let losses = Tensor::random([50], Distribution::Uniform(0.0, 8.0), &FlexDevice);
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
        let network = config.init::<B>(&FlexDevice);
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
    let norm = BatchNormConfig::new(2).init::<B>(&FlexDevice);
    let all: Tensor<B, 4> = images(9, [3, 5]) * 3.0 + 7.0;
    let mut statistics = Statistics::default();
    for (start, length) in [(0, 2), (2, 6), (8, 1)] {
        norm.forward_with(all.clone().narrow(0, start, length), &mut Mode::Gather(&mut statistics));
    }
    let found = norm.forward_with(all.clone(), &mut Mode::Evaluate(&statistics));
    close("normalised", &read(found), &read(norm.forward(all)), 1e-5);
}

#[test]
fn gradients_stop_at_statistics() {
    let norm = BatchNormConfig::new(2).init::<Autodiff<B>>(&FlexDevice);
    let mut statistics = Statistics::default();
    let input = images::<Autodiff<B>>(4, [3, 5]).require_grad();
    norm.forward_with(input.clone(), &mut Mode::Gather(&mut statistics));
    let found = norm.forward_with(images(4, [3, 5]), &mut Mode::Evaluate(&statistics));
    assert!(input.grad(&found.powi_scalar(3).sum().backward()).is_none());
}

#[test]
fn statistics_are_no_variables_and_gathering_moves_no_parameter() {
    let network = ResNetConfig::resnet20(2, CLASSES).with_width(2).init::<Autodiff<B>>(&FlexDevice);
    let labels = || Tensor::<Autodiff<B>, 1, Int>::from_ints([0, 1, 2], &FlexDevice);
    let loss = |network: &ResNet<Autodiff<B>>| {
        cross_entropy(network.forward(images(3, [9, 8])), labels()).mean()
    };
    let layout = Layout::of(&network);
    let (value, gradient) = value_and_grad(&network, loss);
    let mut statistics = Statistics::default();
    network.valid().forward_with(images(3, [9, 8]), Mode::Gather(&mut statistics));
    network.valid().forward_with(images(3, [9, 8]), Mode::Evaluate(&statistics));
    assert_eq!(Layout::of(&network), layout);
    let (again, gradient_again) = value_and_grad(&network, loss);
    assert_eq!((again, gradient_again.to_vec()), (value, gradient.to_vec()));
}

#[test]
#[should_panic(expected = "gather some with `Mode::Gather` before `Mode::Evaluate`")]
fn a_network_without_statistics_is_not_evaluated() {
    let network = ResNetConfig::resnet20(2, CLASSES).with_width(1).init::<B>(&FlexDevice);
    network.forward_with(images(3, [9, 8]), Mode::Evaluate(&Statistics::default()));
}
