//! The losses of `mwn` and `mlc` against their formulas in plain numbers, and their derivatives against
//! differences: in f64 on flex.

use std::sync::LazyLock;

use bilevel_bench::backend::flex_in_f64;
use bilevel_bench::experiments::robust::{Corrector, Robust, Training, Transition};
use bilevel_core::{FullBatch, Objective, Oracle, Point, Sample, SplitOracle, Wrt};
use bilevel_data::augment::Normalisation;
use bilevel_data::loader::ImageBatch;
use bilevel_data::{Purpose, digits, stream};
use bilevel_models::{ImageClassifierConfig, ResNetConfig, VNetConfig};
use bilevel_program::Vector;
use burn::tensor::{Device, Tensor};
use rand::Rng;

type RobustOracle = SplitOracle<Robust, FullBatch<ImageBatch>>;

/// Set to f64 before the first tensor.
fn device() -> &'static Device {
    static DEVICE: LazyLock<Device> = LazyLock::new(|| flex_in_f64().unwrap());
    &DEVICE
}

const CLASSES: usize = 10;

fn batch(first: usize) -> ImageBatch {
    let set = digits::load().unwrap().to_bytes();
    let indices: Vec<usize> = (first..first + 16).collect();
    ImageBatch::new(&set, &indices, &Normalisation::of(&set), device())
}

fn weights() -> Corrector {
    Corrector::Weights(VNetConfig::new().init(device()))
}

fn transition() -> Corrector {
    Corrector::Transition(Transition::new(CLASSES, 0.8, device()))
}

fn oracle(training: Training, x: &Corrector) -> RobustOracle {
    let network = ResNetConfig::new(1, CLASSES).with_blocks(vec![1; 3]).with_width(4);
    let y = ImageClassifierConfig::ResNet(network).init(device());
    let data = FullBatch { upper: batch(100), lower: batch(0) };
    SplitOracle::new(Robust { training }, x, &y, data).unwrap()
}

/// Every loss there is.
fn oracles() -> [(&'static str, RobustOracle); 3] {
    [
        ("plain", oracle(Training::Plain, &weights())),
        ("mwn", oracle(Training::Corrected, &weights())),
        ("mlc", oracle(Training::Corrected, &transition())),
    ]
}

/// Of norm 1.
fn direction(like: &Vector, seed: u64) -> Vector {
    let mut rng = stream(seed, Purpose::Point);
    let values: Vec<f64> = (0..like.layout().size()).map(|_| rng.random_range(-1.0..1.0)).collect();
    let drawn = Vector::from_slice(like.layout(), &values, device());
    drawn.scale(1.0 / drawn.norm())
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// The losses and class probabilities of the lower batch, and its labels.
fn seen(oracle: &RobustOracle, y: &Vector) -> (Vec<f64>, Vec<f64>, Vec<usize>) {
    let ImageBatch { images, labels } = batch(0);
    let logits = numbers(oracle.whole().lower_module(y).forward(images));
    let labels: Vec<usize> = labels.into_data().iter::<i64>().map(|label| label as usize).collect();
    let mut shares = Vec::new();
    for row in logits.chunks(CLASSES) {
        let sum: f64 = row.iter().map(|logit| logit.exp()).sum();
        shares.extend(row.iter().map(|logit| logit.exp() / sum));
    }
    let of = |(i, &label): (usize, &usize)| -shares[i * CLASSES + label].ln();
    (labels.iter().enumerate().map(of).collect(), shares, labels)
}

/// f with weights that are those of the losses `weighed`.
fn formula(training: Training, oracle: &RobustOracle, y: &Vector, weighed: &[f64]) -> f64 {
    let (losses, shares, labels) = seen(oracle, y);
    let n = losses.len() as f64;
    let mean = |terms: Vec<f64>| terms.iter().sum::<f64>() / n;
    match (training, oracle.whole().upper_module(&oracle.whole().upper_start())) {
        (Training::Plain, _) => mean(losses),
        (_, Corrector::Weights(network)) => {
            let given = Tensor::from_data(weighed, device());
            let weights = numbers(network.forward(given));
            let sum: f64 = weights.iter().zip(&losses).map(|(w, l)| w * l).sum();
            sum / weights.iter().sum::<f64>()
        }
        (_, Corrector::Transition(transition)) => {
            let t = numbers(transition.matrix());
            let term = |(i, &label): (usize, &usize)| {
                let p = &shares[i * CLASSES..][..CLASSES];
                let given: f64 = (0..CLASSES).map(|j| t[label * CLASSES + j] * p[j]).sum();
                -given.ln()
            };
            mean(labels.iter().enumerate().map(term).collect())
        }
    }
}

#[test]
fn losses_are_their_formulas_and_weights_do_not_feel_y() {
    for (name, oracle) in oracles() {
        let training = oracle.whole().problem().training;
        let (x, y) = (oracle.whole().upper_start(), oracle.whole().lower_start());
        let at = Point { x: &x, y: &y, sample: Sample(0) };
        let losses = seen(&oracle, &y).0;
        let value = oracle.value(Objective::Lower, at).read();
        assert!((value - formula(training, &oracle, &y, &losses)).abs() < 1e-10, "{name}: {value}");

        // Its derivative in y, with the weights held fixed.
        let (v, e) = (direction(&y, 1), 1e-6);
        let side = |e| formula(training, &oracle, &y.axpy(e, &v), &losses);
        let expected = (side(e) - side(-e)) / (2.0 * e);
        let found = oracle.gradient(Objective::Lower, at, Wrt::Y).1.into_y().dot(&v);
        assert!((found - expected).abs() < 1e-7, "{name}: {found}, expected {expected}");
    }
}

#[test]
fn mixed_products_are_differences_of_gradients_through_the_head_and_through_all() {
    for (name, oracle) in oracles().into_iter().skip(1) {
        let (x, y) = (oracle.whole().upper_start(), oracle.whole().lower_start());
        let layout = oracle.lower_layout();
        let head = layout.part(&layout.under("ResNet.fc"));
        let u = direction(&x, 2);
        let whole = direction(&y, 3);
        for (which, v) in [("all of y", whole.clone()), ("the head", whole.only(&head))] {
            let slope = |e: f64| {
                let x = x.axpy(e, &u);
                let at = Point { x: &x, y: &y, sample: Sample(0) };
                let slope = oracle.gradient(Objective::Lower, at, Wrt::Y).1.into_y();
                if which == "the head" { slope.only(&head).dot(&v) } else { slope.dot(&v) }
            };
            let expected = (slope(1e-5) - slope(-1e-5)) / 2e-5;
            let at = Point { x: &x, y: &y, sample: Sample(0) };
            let found = oracle.gradient_and_mixed(at).2(&v).dot(&u);
            let near = 1e-9 + 1e-5 * expected.abs();
            assert!((found - expected).abs() < near, "{name}, {which}: {found}, not {expected}");
            assert!(expected.abs() > 1e-6, "{name}, {which}: {expected} tells nothing");
        }
    }
}

#[test]
fn columns_of_a_transition_are_distributions() {
    let matrix = numbers(Transition::new(CLASSES, 0.8, device()).matrix());
    for (at, share) in matrix.iter().enumerate() {
        let expected = if at / CLASSES == at % CLASSES { 0.8 } else { 0.2 / 9.0 };
        assert!((share - expected).abs() < 1e-6, "{share}, expected {expected}");
    }
}
