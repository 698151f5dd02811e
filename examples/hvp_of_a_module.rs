//! A Hessian-vector product of an ordinary Burn module: the sharpest direction of a loss, by power
//! iteration, without ever forming the Hessian.
//!
//! `cargo run --release -p bilevel-examples --example hvp_of_a_module`

use bilevel_autodiff::{grad, hvp};
use burn::backend::Autodiff;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, activation};
use burn_flex::Flex;

#[derive(Module, Debug)]
struct Net<B: Backend> {
    hidden: Linear<B>,
    output: Linear<B>,
}

/// Written once; autodiff evaluates it on the level it needs.
fn loss<B: Backend>(net: &Net<B>) -> Tensor<B, 1> {
    let inputs = [[0.1, 0.9], [0.8, 0.2], [0.5, 0.4], [0.3, 0.7]];
    let targets = [[0.0], [1.0], [0.6], [0.2]];
    let inputs = Tensor::<B, 2>::from_floats(inputs, &Default::default());
    let targets = Tensor::<B, 2>::from_floats(targets, &Default::default());
    let outputs = net.output.forward(activation::tanh(net.hidden.forward(inputs)));
    (outputs - targets).powi_scalar(2).mean()
}

/// Returns the largest eigenvalue of the Hessian and how far `H v = value v` is from true.
pub fn run() -> (f64, f64) {
    let device = Default::default();
    Flex::seed(&device, 0);
    let net = Net::<Autodiff<Flex>> {
        hidden: LinearConfig::new(2, 8).init(&device),
        output: LinearConfig::new(8, 1).init(&device),
    };
    let mut v = grad(&net, loss);
    println!("{} variables, gradient norm {:.4}", v.layout().size(), v.norm());
    for _ in 0..100 {
        v = v.scale(1.0 / v.norm());
        v = hvp(&net, &v, loss);
    }
    v = v.scale(1.0 / v.norm());
    let product = hvp(&net, &v, loss);
    let value = v.dot(&product);
    let residual = product.axpy(-value, &v).norm() / value;
    println!("largest eigenvalue {value:.4}, relative residual {residual:.1e}");
    (value, residual)
}

fn main() {
    run();
}
