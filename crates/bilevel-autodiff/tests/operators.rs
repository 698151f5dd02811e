//! The operators over functions of any shape, dense matrices and third order, in f64 on flex. The
//! products of networks are in `bilevel-models/tests/products.rs`.

use std::sync::{Arc, Once};

use bilevel_autodiff::{
    Dual, DualTensor, Gradients, Layout, ReverseOverForward, Track, Vector, hessian, hvp, jacobian,
    jvp, jvps, lift_forward, lift_reverse, lift_reverse_over_forward, value_and_grad, vjp,
};
use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Module};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::tanh;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensorOps;
use burn::tensor::{FloatDType, IntDType, Tensor, TensorData, TensorPrimitive, set_default_dtypes};
use burn_flex::{Flex, FlexDevice};

type B = Flex;
type Net = Mlp<Autodiff<B>>;

#[derive(Module, Debug)]
struct Mlp<B: Backend> {
    first: Linear<B>,
    second: Linear<B>,
}

/// Numbers in [-1, 1] in a fixed irregular order.
fn list(count: usize, phase: f64) -> Vec<f64> {
    (0..count).map(|i| (1.7 * i as f64 + phase).sin()).collect()
}

fn tensor<B: Backend, const D: usize>(shape: [usize; D], phase: f64) -> Tensor<B, D> {
    let data = TensorData::new(list(shape.iter().product(), phase), shape);
    Tensor::from_data(data, &B::Device::default())
}

fn output<B: Backend>(net: &Mlp<B>) -> Tensor<B, 2> {
    net.second.forward(tanh(net.first.forward(tensor([3, 2], 0.3))))
}

fn loss<B: Backend>(net: &Mlp<B>) -> Tensor<B, 1> {
    output(net).sin().mean()
}

fn net() -> Net {
    // Burn fixes the element types of a device once a process.
    static F64: Once = Once::new();
    F64.call_once(|| {
        set_default_dtypes::<Flex>(&FlexDevice, FloatDType::F64, IntDType::I64).unwrap();
    });
    let net = Mlp::<Autodiff<B>> {
        first: LinearConfig::new(2, 3).init(&FlexDevice),
        second: LinearConfig::new(3, 2).init(&FlexDevice),
    };
    let layout = Layout::of(&net);
    assert_eq!(layout.size(), 17);
    at(&net, &direction(&layout, 0.9))
}

/// `net` with its variables at `point`.
fn at(net: &Net, point: &Vector<B>) -> Net {
    lift_reverse::<B, Net>(&net.valid(), point, Track::Leaves).module
}

fn direction(layout: &Arc<Layout>, phase: f64) -> Vector<B> {
    Vector::from_slice(layout, &list(layout.size(), phase), &FlexDevice)
}

fn values<const D: usize>(x: Tensor<B, D>) -> Vec<f64> {
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

// ---- first order ---------------------------------------------------------------------------------

#[test]
fn vjp_is_the_adjoint_of_jvp_at_the_same_value() {
    let net = net();
    let v = direction(&Layout::of(&net), 0.1);
    let u = tensor([3, 2], 0.7);
    let (forward, jv) = jvp::<B, _, Mlp<Dual<B>>, 2>(&net, &v, output);
    let (reverse, ju) = vjp(&net, u.clone(), output);
    assert_eq!(values(forward), values(reverse));
    close(&[dot(&values(u), &values(jv))], &[ju.dot(&v)], 1e-14);
}

#[test]
fn vjp_of_a_scalar_along_one_is_its_gradient() {
    let net = net();
    let (value, gradient) = value_and_grad(&net, loss);
    let (same, product) = vjp(&net, Tensor::ones([1], &FlexDevice), loss);
    assert_eq!((vec![value], gradient.to_vec()), (values(same), product.to_vec()));
}

#[test]
fn vjp_of_a_constant_is_zero() {
    let (_, product) =
        vjp::<B, Net, 1>(&net(), Tensor::ones([4], &FlexDevice), |_| tensor([4], 0.2));
    assert_eq!(product.norm(), 0.0);
}

#[test]
#[should_panic(expected = "a cotangent has the shape of the output")]
fn vjp_wants_a_cotangent_of_the_shape_of_the_output() {
    vjp(&net(), Tensor::ones([3, 1], &FlexDevice), output);
}

#[test]
fn jvps_are_the_jvp_of_each_direction() {
    let net = net();
    let layout = Layout::of(&net);
    let directions = [0.1, 0.2, 0.3].map(|phase| direction(&layout, phase));
    let together = jvps::<B, _, Mlp<Dual<B>>, 2>(&net, &directions, output);
    assert_eq!(together.len(), 3);
    for (v, product) in directions.iter().zip(together) {
        let alone = jvp::<B, _, Mlp<Dual<B>>, 2>(&net, v, output).1;
        assert_eq!(values(product), values(alone));
    }
}

#[test]
fn rows_of_a_jacobian_are_products_with_unit_cotangents() {
    let net = net();
    let jacobian = jacobian::<B, _, Mlp<Dual<B>>, 2>(&net, output);
    assert_eq!(jacobian.len(), 6);
    for (i, row) in jacobian.iter().enumerate() {
        let mut unit = vec![0.0; 6];
        unit[i] = 1.0;
        let unit = Tensor::from_data(TensorData::new(unit, [3, 2]), &FlexDevice);
        close(row, &vjp(&net, unit, output).1.to_vec(), 1e-15);
    }
}

// ---- second order --------------------------------------------------------------------------------

#[test]
fn a_hessian_times_a_vector_is_hvp_and_it_is_symmetric() {
    let net = net();
    let v = direction(&Layout::of(&net), 0.1);
    let hessian = hessian::<B, _, Mlp<Dual<Autodiff<B>>>>(&net, loss);
    let product: Vec<_> = hessian.iter().map(|row| dot(row, &v.to_vec())).collect();
    close(&product, &hvp(&net, &v, loss::<Dual<Autodiff<B>>>).to_vec(), 1e-14);
    for i in 0..hessian.len() {
        let column: Vec<_> = hessian.iter().map(|row| row[i]).collect();
        close(&hessian[i], &column, 1e-15);
    }
}

// ---- third order ---------------------------------------------------------------------------------

#[test]
fn three_levels_give_the_third_derivative() {
    net();
    // d^3/dt^3 of sin(x + t) * (x + t): with s = x, -3 sin s - s cos s.
    type B1 = Dual<B>;
    type B2 = Dual<B1>;
    type B3 = Dual<B2>;
    let x = tensor::<B, 1>([4], 0.4).into_primitive().tensor();
    let one = Tensor::<B, 1>::ones([4], &FlexDevice).into_primitive().tensor();
    let x1 = DualTensor::<B>::new(x.clone(), one.clone());
    let one1 = DualTensor::<B>::constant(one);
    let x2 = DualTensor::<B1>::new(x1, one1.clone());
    let one2 = DualTensor::<B1>::constant(one1);
    let x3 = DualTensor::<B2>::new(x2, one2);
    let y = B3::float_mul(B3::float_sin(x3.clone()), x3);
    let third = y.tangent().and_then(|d| d.tangent()).and_then(|d| d.tangent()).unwrap();
    let third = Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(third.clone()));
    let closed: Vec<_> = list(4, 0.4).iter().map(|s| -3.0 * s.sin() - s * s.cos()).collect();
    close(&values(third), &closed, 1e-15);
}

#[test]
fn dual_of_dual_gives_the_curvature_that_hvp_gives() {
    let net = net();
    let layout = Layout::of(&net);
    let (u, v) = (direction(&layout, 0.1), direction(&layout, 0.2));
    let point = Vector::from_module(&layout, &net.valid());
    let along = |at: &Vector<B>, by: Option<&Vector<B>>| {
        let lifted = lift_forward::<B, Mlp<Dual<B>>>(&net.valid(), at, by);
        Vector::from_module(&layout, &lifted)
    };
    let (moving, still) = (along(&point, Some(&u)), along(&v, None));
    let template = Mlp::<Dual<B>>::from_inner(net.valid());
    let net2 = lift_forward::<Dual<B>, Mlp<Dual<Dual<B>>>>(&template, &moving, Some(&still));
    let value = loss(&net2).into_primitive().tensor();
    let curvature = value.tangent().and_then(|d| d.tangent()).cloned().unwrap();
    let curvature = Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(curvature));
    let product = hvp(&net, &v, loss::<Dual<Autodiff<B>>>);
    close(&values(curvature), &[u.dot(&product)], 1e-15);
}

#[test]
fn reverse_over_forward_over_forward_is_the_derivative_of_hvp() {
    type Second = ReverseOverForward<B>;
    let net = net();
    let layout = Layout::of(&net);
    let (u, v) = (direction(&layout, 0.1), direction(&layout, 0.2));
    let point = Vector::from_module(&layout, &net.valid());

    // d/dy of <u, H(y) v>: the outermost level moves along v, the one below it along u.
    let inner = lift_reverse_over_forward::<B, Net, Mlp<Second>>(
        &net.valid(),
        &point,
        Some(&u),
        Track::Leaves,
    );
    let moving = Vector::from_module(&layout, &inner.module);
    let still =
        lift_reverse_over_forward::<B, Net, Mlp<Second>>(&net.valid(), &v, None, Track::Constants);
    let still = Vector::from_module(&layout, &still.module);
    let outer = lift_forward::<Second, Mlp<Dual<Second>>>(&inner.module, &moving, Some(&still));
    let along_v = loss(&outer).into_primitive().tensor().into_parts().1.unwrap();
    let along_v = Tensor::from_primitive(TensorPrimitive::Float(along_v));
    let third = inner.gradient(&mut Gradients::of_tangent(along_v));

    let product = |t: f64| hvp(&at(&net, &point.axpy(t, &u)), &v, loss::<Second>);
    const H: f64 = 1e-3;
    let near = product(H).sub(&product(-H)).scale(8.0);
    let far = product(2.0 * H).sub(&product(-2.0 * H));
    let differences = near.sub(&far).scale(1.0 / (12.0 * H));
    assert!(third.norm() > 1e-2, "the third derivative is not zero");
    close(&third.to_vec(), &differences.to_vec(), 1e-10);
}
