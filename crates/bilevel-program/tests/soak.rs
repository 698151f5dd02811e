//! Ten thousand derivatives of each kind do not increase the memory of the process.

#[path = "common/memory.rs"]
mod memory;

use std::cell::Cell;

use bilevel_program::{
    Derivative, Direction, Recorded, Vector, Wrt, check, grad, grad_and_hvp, hessian, hvp,
    jacobian, jvp, jvps, second_order, third_order, value_and_grad, vjp,
};
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::tanh;
use burn::tensor::{Device, Tensor};
use memory::keeps_memory;

#[derive(Module, Debug)]
struct Mlp {
    first: Linear,
    second: Linear,
}

fn loss(net: &Mlp) -> Tensor<1> {
    let input =
        Tensor::<2>::from_floats([[1.0, 2.0, 0.5], [3.0, -1.0, 0.1]], &net.first.weight.device());
    net.second.forward(tanh(net.first.forward(input))).powi_scalar(2).mean()
}

/// A loss in two modules, the first of which scales the output of the second.
fn scaled(scale: &Linear, net: &Mlp) -> Tensor<1> {
    scale.weight.val().powi_scalar(2).sum() * loss(net)
}

/// A loss without curvature: its tangent has no graph, and nothing goes back through that of its value.
fn straight(net: &Mlp) -> Tensor<1> {
    net.first.weight.val().sum() + net.second.weight.val().sum()
}

fn constant(net: &Mlp) -> Tensor<1> {
    Tensor::ones([1], &net.first.weight.device())
}

const PRODUCTS: usize = 10_000;

/// Each records its loss anew.
const OPERATORS: usize = 1_000;

fn modules() -> (Linear, Mlp) {
    let device = Device::flex();
    let net = Mlp {
        first: LinearConfig::new(3, 8).init(&device),
        second: LinearConfig::new(8, 1).init(&device),
    };
    (LinearConfig::new(1, 1).init(&device), net)
}

/// One test, as memory belongs to the process.
#[test]
fn derivatives_do_not_pile_up_memory() {
    recorded();
    operators();
}

fn recorded() {
    let (scale, net) = modules();
    let recorded = Recorded::new(&scale, &net).unwrap();
    let x = Vector::from_module(recorded.upper_layout(), &scale);
    let y = Vector::from_module(recorded.lower_layout(), &net);
    let loss = |scale: &Linear, net: &Mlp, (): &()| scaled(scale, net);
    let value = || drop(recorded.value(&x, &y, &(), &loss).unwrap());
    let gradient = || drop(recorded.gradient(&x, &y, &(), Wrt::Both, &loss).unwrap());
    let along = Direction { x: Some(&x), y: Some(&y) };
    let product = || drop(recorded.product(&x, &y, &(), along, Wrt::Both, &loss).unwrap());
    let program = || drop(recorded.program(Derivative::Product, &x, &y, &(), &loss).unwrap());
    let linearize = || {
        let (gradient, along) = (Some(Wrt::Y), Direction::in_y(&y));
        recorded.linearize(&x, &y, &(), gradient, along, Wrt::Both, &loss).unwrap().2
    };
    let linear = linearize();
    let again = || drop(linear.product(Direction::in_y(&y), Wrt::Both));
    let linearized = || drop(linearize());
    let turn = Cell::new(0);
    let mixed = || {
        turn.set(turn.get() + 1);
        let kinds: [&dyn Fn(); 6] = [&value, &gradient, &product, &linearized, &again, &program];
        kinds[turn.get() % kinds.len()]();
    };
    keeps_memory("a recorded value", PRODUCTS, &value);
    keeps_memory("a recorded gradient", PRODUCTS, &gradient);
    keeps_memory("a recorded product", PRODUCTS, &product);
    keeps_memory("a product at a linearised point", PRODUCTS, &again);
    keeps_memory("a linearisation", PRODUCTS, &linearized);
    keeps_memory("a program", PRODUCTS, &program);
    keeps_memory("each of them", PRODUCTS, &mixed);
}

fn operators() {
    let (scale, net) = modules();
    let v = grad(&net, loss).unwrap();
    let kinds: [&dyn Fn(); 14] = [
        &|| drop(value_and_grad(&net, loss).unwrap()),
        &|| drop(jvp(&net, &v, loss).unwrap()),
        &|| drop(hvp(&net, &v, loss).unwrap()),
        &|| drop(grad_and_hvp(&net, &v, loss).unwrap()),
        &|| drop(second_order(&scale, &net, &v, scaled).unwrap()),
        &|| drop(hvp(&net, &v, straight).unwrap()),
        &|| drop(hvp(&net, &v, constant).unwrap()),
        &|| drop(grad(&net, constant).unwrap()),
        &|| drop(jvps(&net, &[v.clone(), v.scale(2.0)], loss).unwrap()),
        &|| drop(vjp(&net, Tensor::ones([1], &Device::flex()), loss).unwrap()),
        &|| drop(third_order(&net, &v, &v, loss).unwrap()),
        &|| drop(hessian(&scale, |scale| scale.weight.val().powi_scalar(3).sum()).unwrap()),
        &|| drop(jacobian(&scale, |scale| scale.weight.val()).unwrap()),
        &|| drop(check(&scale, |scale| scale.weight.val().powi_scalar(2).sum())),
    ];
    let turn = Cell::new(0);
    keeps_memory("an operator", OPERATORS, &|| {
        turn.set(turn.get() + 1);
        kinds[turn.get() % kinds.len()]();
    });
}
