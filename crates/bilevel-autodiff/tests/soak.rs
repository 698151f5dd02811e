//! Ten thousand products of each kind leave the memory of the process as they found it.

use std::fs::read_to_string;

use bilevel_autodiff::{Dual, grad, hvp, second_order};
use burn::backend::Autodiff;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Tensor;
use burn::tensor::activation::tanh;
use burn::tensor::backend::Backend;
use burn_flex::{Flex, FlexDevice};

type Reverse = Autodiff<Flex>;

#[derive(Module, Debug)]
struct Mlp<B: Backend> {
    first: Linear<B>,
    second: Linear<B>,
}

fn loss<B: Backend>(net: &Mlp<B>) -> Tensor<B, 1> {
    let input =
        Tensor::<B, 2>::from_floats([[1.0, 2.0, 0.5], [3.0, -1.0, 0.1]], &Default::default());
    net.second.forward(tanh(net.first.forward(input))).powi_scalar(2).mean()
}

/// A loss in two modules, the first of which scales the output of the second.
fn scaled<B: Backend>(scale: &Linear<B>, net: &Mlp<B>) -> Tensor<B, 1> {
    scale.weight.val().powi_scalar(2).sum() * loss(net)
}

/// A loss without curvature: its tangent has no graph, and nothing goes back through that of its value.
fn straight<B: Backend>(net: &Mlp<B>) -> Tensor<B, 1> {
    net.first.weight.val().sum() + net.second.weight.val().sum()
}

fn constant<B: Backend>(_: &Mlp<B>) -> Tensor<B, 1> {
    Tensor::ones([1], &Default::default())
}

/// The resident memory of this process in KiB, where the system tells.
fn resident() -> Option<f64> {
    let status = read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

const PRODUCTS: usize = 10_000;

#[test]
fn products_do_not_pile_up_memory() {
    if resident().is_none() {
        eprintln!("skipped: this system has no /proc/self/status");
        return;
    }
    let net = Mlp::<Reverse> {
        first: LinearConfig::new(3, 8).init(&FlexDevice),
        second: LinearConfig::new(8, 1).init(&FlexDevice),
    };
    let scale = LinearConfig::new(1, 1).init::<Reverse>(&FlexDevice);
    let v = grad(&net, loss);
    let products: [(&str, &dyn Fn()); 5] = [
        ("hvp", &|| drop(hvp(&net, &v, loss::<Dual<Reverse>>))),
        ("second_order", &|| drop(second_order(&scale, &net, &v, scaled::<Dual<Reverse>>))),
        ("hvp of a loss without curvature", &|| drop(hvp(&net, &v, straight::<Dual<Reverse>>))),
        ("hvp of a constant", &|| drop(hvp(&net, &v, constant::<Dual<Reverse>>))),
        ("grad of a constant", &|| drop(grad(&net, constant::<Reverse>))),
    ];
    for (name, product) in products {
        let rounds = |count: usize| (0..count).for_each(|_| product());
        rounds(500);
        let before = resident().unwrap();
        rounds(PRODUCTS);
        let grown = (resident().unwrap() - before) / 1024.0;
        let bound = PRODUCTS as f64 / 1000.0;
        eprintln!("{PRODUCTS} times {name}: {grown:+.2} MiB");
        assert!(grown < bound, "{PRODUCTS} times {name} left {grown:.1} MiB behind");
    }
}
