//! The operators over functions of any shape, dense matrices and third order, in f64 on flex. The products of networks
//! are in `bilevel-models/tests/products.rs`.

use std::sync::{Arc, Once};

use bilevel_program::{
    Layout, TraceError, Vector, check, grad, grad_and_hvp, hessian, hvp, jacobian, jvp, jvps,
    second_order, third_order, value_and_grad, vjp,
};
use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::{softmax, tanh};
use burn::tensor::{DType, Device, FloatDType, IntDType, Tensor, TensorData};

#[derive(Module, Debug)]
struct Mlp {
    first: Linear,
    second: Linear,
}

/// Numbers in [-1, 1] in a fixed irregular order.
fn list(count: usize, phase: f64) -> Vec<f64> {
    (0..count).map(|i| (1.7 * i as f64 + phase).sin()).collect()
}

fn tensor<const D: usize>(shape: [usize; D], phase: f64, device: &Device) -> Tensor<D> {
    let data = TensorData::new(list(shape.iter().product(), phase), shape);
    Tensor::from_data(data, device)
}

fn output(net: &Mlp) -> Tensor<2> {
    let input = tensor([3, 2], 0.3, &net.first.weight.device());
    net.second.forward(tanh(net.first.forward(input)))
}

fn loss(net: &Mlp) -> Tensor<1> {
    output(net).sin().mean()
}

fn device() -> Device {
    // Burn fixes the element types of a device once per process.
    static F64: Once = Once::new();
    F64.call_once(|| Device::flex().configure((FloatDType::F64, IntDType::I64)).unwrap());
    Device::flex()
}

fn net() -> Mlp {
    let device = device();
    let net = Mlp {
        first: LinearConfig::new(2, 3).init(&device),
        second: LinearConfig::new(3, 2).init(&device),
    };
    let layout = Layout::of(&net);
    assert_eq!(layout.size(), 17);
    direction(&layout, 0.9).write_into(net)
}

fn direction(layout: &Arc<Layout>, phase: f64) -> Vector {
    Vector::from_slice(layout, &list(layout.size(), phase), &device())
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[track_caller]
fn close(a: &[f64], b: &[f64], bound: f64) {
    assert_eq!(a.len(), b.len());
    let error = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(error <= bound, "{a:?} is not {b:?}: {error:e}");
}

/// The derivative of `f` at 0 by five points.
fn slope(f: impl Fn(f64) -> Vector) -> Vector {
    const H: f64 = 1e-3;
    let near = f(H).sub(&f(-H)).scale(8.0);
    let far = f(2.0 * H).sub(&f(-2.0 * H));
    near.sub(&far).scale(1.0 / (12.0 * H))
}

// ---- first order ---------------------------------------------------------------------------------

#[test]
fn vjp_is_the_adjoint_of_jvp_at_the_same_value() {
    let net = net();
    let v = direction(&Layout::of(&net), 0.1);
    let u = tensor([3, 2], 0.7, &device());
    let (forward, jv) = jvp(&net, &v, output).unwrap();
    let (reverse, ju) = vjp(&net, u.clone(), output).unwrap();
    assert_eq!(values(forward.clone()), values(reverse));
    assert_eq!(values(forward), values(output(&net)));
    close(&[dot(&values(u), &values(jv))], &[ju.dot(&v)], 1e-14);
}

#[test]
fn vjp_of_a_scalar_along_one_is_its_gradient() {
    let net = net();
    let (value, gradient) = value_and_grad(&net, loss).unwrap();
    let (same, product) = vjp(&net, Tensor::ones([1], &device()), loss).unwrap();
    assert_eq!((vec![value], gradient.to_vec()), (values(same), product.to_vec()));
}

#[test]
fn derivatives_of_constants_are_zero() {
    let net = net();
    let constant = |net: &Mlp| tensor([4], 0.2, &net.first.weight.device());
    let elsewhere = |_: &Mlp| tensor([4], 0.2, &device());
    let (value, product) = vjp(&net, Tensor::ones([4], &device()), constant).unwrap();
    assert_eq!((values(value), product.norm()), (list(4, 0.2), 0.0));
    let v = direction(&Layout::of(&net), 0.1);
    for (value, tangent) in [jvp(&net, &v, constant).unwrap(), jvp(&net, &v, elsewhere).unwrap()] {
        assert_eq!((values(value), values(tangent)), (list(4, 0.2), vec![0.0; 4]));
    }
    assert_eq!(grad(&net, |net| constant(net).sum()).unwrap().norm(), 0.0);
    assert_eq!(hvp(&net, &v, |net| constant(net).sum()).unwrap().norm(), 0.0);
    assert_eq!(third_order(&net, &v, &v, |net| constant(net).sum()).unwrap().norm(), 0.0);
}

#[test]
#[should_panic(expected = "a cotangent has the shape of the output")]
fn vjp_wants_a_cotangent_of_the_shape_of_the_output() {
    vjp(&net(), Tensor::ones([3, 1], &device()), output).ok();
}

#[test]
fn jvps_are_the_jvp_of_each_direction() {
    let net = net();
    let layout = Layout::of(&net);
    let directions = [0.1, 0.2, 0.3].map(|phase| direction(&layout, phase));
    let together = jvps(&net, &directions, output).unwrap();
    assert_eq!(together.len(), 3);
    for (v, product) in directions.iter().zip(together) {
        let alone = jvp(&net, v, output).unwrap().1;
        assert_eq!(values(product), values(alone));
    }
}

#[test]
fn rows_of_a_jacobian_are_products_with_unit_cotangents() {
    let net = net();
    let jacobian = jacobian(&net, output).unwrap();
    assert_eq!(jacobian.len(), 6);
    for (i, row) in jacobian.iter().enumerate() {
        let mut unit = vec![0.0; 6];
        unit[i] = 1.0;
        let unit = Tensor::from_data(TensorData::new(unit, [3, 2]), &device());
        close(row, &vjp(&net, unit, output).unwrap().1.to_vec(), 1e-15);
    }
}

#[test]
fn a_parameter_alone_is_a_module() {
    let y = Param::from_tensor(tensor::<2>([2, 2], 0.4, &device()));
    let cubes = |y: &Param<Tensor<2>>| y.val().powi_scalar(3).sum();
    let point = list(4, 0.4);
    let expected: Vec<_> = point.iter().map(|y| 3.0 * y * y).collect();
    close(&grad(&y, cubes).unwrap().to_vec(), &expected, 1e-15);
    let v = direction(&Layout::of(&y), 0.6);
    let expected: Vec<_> = point.iter().zip(v.to_vec()).map(|(y, v)| 6.0 * y * v).collect();
    close(&hvp(&y, &v, cubes).unwrap().to_vec(), &expected, 1e-15);
    let several = vec![y.clone(), Param::from_tensor(tensor::<2>([2, 2], 0.8, &device()))];
    let gradient = grad(&several, |several| (several[0].val() * several[1].val()).sum()).unwrap();
    assert_eq!(gradient.to_vec(), [list(4, 0.8), point].concat());
}

// ---- second order --------------------------------------------------------------------------------

#[test]
fn a_hessian_times_a_vector_is_hvp_and_it_is_symmetric() {
    let net = net();
    let v = direction(&Layout::of(&net), 0.1);
    let hessian = hessian(&net, loss).unwrap();
    let product: Vec<_> = hessian.iter().map(|row| dot(row, &v.to_vec())).collect();
    close(&product, &hvp(&net, &v, loss).unwrap().to_vec(), 1e-14);
    for i in 0..hessian.len() {
        let column: Vec<_> = hessian.iter().map(|row| row[i]).collect();
        close(&hessian[i], &column, 1e-15);
    }
}

#[test]
fn a_product_is_the_difference_of_gradients() {
    let net = net();
    let layout = Layout::of(&net);
    let (point, v) = (Vector::from_module(&layout, &net), direction(&layout, 0.1));
    let differences = slope(|t| grad(&point.axpy(t, &v).write_into(net.clone()), loss).unwrap());
    let product = hvp(&net, &v, loss).unwrap();
    close(&product.to_vec(), &differences.to_vec(), 1e-10);
    let (gradient, same) = grad_and_hvp(&net, &v, loss).unwrap();
    close(&same.to_vec(), &product.to_vec(), 1e-15);
    close(&gradient.to_vec(), &grad(&net, loss).unwrap().to_vec(), 1e-15);
}

#[test]
fn a_hessian_of_a_linear_loss_is_zero() {
    let y = Param::from_tensor(tensor::<1>([3], 0.4, &device()));
    let found = hessian(&y, |y| y.val().sum()).unwrap();
    assert_eq!(found, vec![vec![0.0; 3]; 3]);
}

#[test]
fn second_order_is_taken_in_both_modules() {
    let x = Param::from_tensor(tensor::<1>([3], 0.4, &device()));
    let y = Param::from_tensor(tensor::<1>([3], 0.8, &device()));
    let v = direction(&Layout::of(&y), 0.1);
    type One = Param<Tensor<1>>;
    let found =
        second_order(&x, &y, &v, |x: &One, y: &One| (x.val() * y.val().powi_scalar(2)).sum());
    let found = found.unwrap();
    let (x, y, v) = (list(3, 0.4), list(3, 0.8), v.to_vec());
    let expected = |of: &dyn Fn(usize) -> f64| (0..3).map(of).collect::<Vec<_>>();
    close(&found.xy.to_vec(), &expected(&|i| 2.0 * y[i] * v[i]), 1e-15);
    close(&found.yy.to_vec(), &expected(&|i| 2.0 * x[i] * v[i]), 1e-15);
}

// ---- third order ---------------------------------------------------------------------------------

#[test]
fn the_third_derivative_is_that_of_a_closed_form() {
    // d^3/ds^3 of s sin(s) is -3 sin s - s cos s.
    let y = Param::from_tensor(tensor::<1>([4], 0.4, &device()));
    let one = Vector::from_slice(&Layout::of(&y), &[1.0; 4], &device());
    let third = third_order(&y, &one, &one, |y| (y.val().sin() * y.val()).sum()).unwrap();
    let closed: Vec<_> = list(4, 0.4).iter().map(|s| -3.0 * s.sin() - s * s.cos()).collect();
    close(&third.to_vec(), &closed, 1e-14);
}

#[test]
fn the_third_derivative_is_that_of_products() {
    let net = net();
    let layout = Layout::of(&net);
    let (u, v) = (direction(&layout, 0.1), direction(&layout, 0.2));
    let point = Vector::from_module(&layout, &net);
    let third = third_order(&net, &u, &v, loss).unwrap();
    let moved = |t: f64| point.axpy(t, &u).write_into(net.clone());
    let differences = slope(|t| hvp(&moved(t), &v, loss).unwrap());
    assert!(third.norm() > 1e-2, "the third derivative is not zero");
    close(&third.to_vec(), &differences.to_vec(), 1e-10);
    // It is symmetric in its directions.
    let turned = third_order(&net, &v, &u, loss).unwrap();
    close(&third.to_vec(), &turned.to_vec(), 1e-14);
}

// ---- where and in what ---------------------------------------------------------------------------

#[test]
fn a_module_that_tracks_no_gradients_has_the_derivatives_of_one_that_does() {
    let net = net();
    let v = direction(&Layout::of(&net), 0.1);
    let training = net.clone().train();
    assert_eq!(grad(&training, loss).unwrap().to_vec(), grad(&net, loss).unwrap().to_vec());
    assert_eq!(hvp(&training, &v, loss).unwrap().to_vec(), hvp(&net, &v, loss).unwrap().to_vec());
    let u = tensor([3, 2], 0.7, &device()).autodiff();
    let (value, product) = vjp(&training, u.clone(), output).unwrap();
    assert!(!value.is_autodiff());
    assert_eq!(product.to_vec(), vjp(&net, u, output).unwrap().1.to_vec());
}

#[test]
fn derivatives_are_of_the_element_type_of_the_variables() {
    for (dtype, bound) in
        [(DType::F64, 1e-15), (DType::F32, 1e-6), (DType::F16, 1e-2), (DType::BF16, 0.1)]
    {
        let y = Param::from_tensor(tensor::<1>([4], 0.4, &device()).cast(dtype));
        let layout = Layout::of(&y);
        let v = direction(&layout, 0.6);
        let product = hvp(&y, &v, |y| y.val().powi_scalar(3).sum()).unwrap();
        assert!(product.to_data().iter().all(|data| data.dtype() == dtype));
        let expected = list(4, 0.4).into_iter().zip(list(4, 0.6)).map(|(y, v)| 6.0 * y * v);
        close(&product.to_vec(), &expected.collect::<Vec<_>>(), bound);
    }
}

// ---- what is refused -----------------------------------------------------------------------------

#[test]
fn data_of_another_device_comes_to_that_of_the_variables() {
    let net = net();
    let input = tensor::<2>([3, 2], 0.3, &device());
    let here = |net: &Mlp| {
        let input = input.clone().to_device(&net.first.weight.device());
        net.second.forward(tanh(net.first.forward(input)))
    };
    let v = direction(&Layout::of(&net), 0.1);
    let (value, tangent) = jvp(&net, &v, here).unwrap();
    let (expected, along) = jvp(&net, &v, output).unwrap();
    assert_eq!(values(value), values(expected));
    assert_eq!(values(tangent), values(along));
    let elsewhere = |net: &Mlp| net.first.forward(input.clone());
    let error = jvp(&net, &v, elsewhere).err().unwrap();
    assert!(matches!(error, TraceError::Panic { .. }), "{error}");
}

#[test]
fn a_detached_entry_is_refused_though_the_sum_has_no_derivative() {
    // The entries of a softmax sum to one.
    let y = Param::from_tensor(tensor::<1>([4], 0.4, &device()));
    let v = direction(&Layout::of(&y), 0.1);
    let (_, tangent) = jvp(&y, &v, |y| softmax(y.val(), 0)).unwrap();
    assert!(values(tangent).iter().any(|entry| entry.abs() > 0.01));
    let error = jvp(&y, &v, |y| softmax(y.val(), 0).detach() + y.val() * 0.0).err().unwrap();
    assert!(matches!(error, TraceError::Detached { .. }), "{error}");
}

#[test]
fn a_loss_that_forgot_its_mean_is_refused() {
    let net = net();
    let many = |net: &Mlp| output(net).flatten::<1>(0, 1);
    let error = grad(&net, many).err().unwrap();
    assert_eq!(error, TraceError::NotOneNumber { shape: vec![6] });
    let v = direction(&Layout::of(&net), 0.1);
    assert_eq!(hvp(&net, &v, many).err().unwrap(), error);
}

/// Not a gradient of no numbers, along which an optimiser would move nothing.
#[test]
fn every_operator_refuses_a_module_without_variables() {
    let frozen = net().freeze();
    let empty = direction(&Layout::of(&frozen), 0.1);
    let u = tensor([3, 2], 0.7, &device());
    let refused: [(&str, Option<TraceError>); 12] = [
        ("grad", grad(&frozen, loss).err()),
        ("value_and_grad", value_and_grad(&frozen, loss).err()),
        ("jvp", jvp(&frozen, &empty, output).err()),
        ("jvps", jvps(&frozen, &[], output).err()),
        ("vjp", vjp(&frozen, u, output).err()),
        ("jacobian", jacobian(&frozen, output).err()),
        ("hvp", hvp(&frozen, &empty, loss).err()),
        ("grad_and_hvp", grad_and_hvp(&frozen, &empty, loss).err()),
        ("hessian", hessian(&frozen, loss).err()),
        ("second_order", second_order(&frozen, &frozen, &empty, |_, y| loss(y)).err()),
        ("third_order", third_order(&frozen, &empty, &empty, loss).err()),
        ("check", check(&frozen, loss).err()),
    ];
    for (name, error) in refused {
        assert_eq!(error, Some(TraceError::NoVariables), "{name}");
    }
}
