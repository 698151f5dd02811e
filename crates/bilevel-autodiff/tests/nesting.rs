//! What Burn 0.21's own nesting, `Autodiff<Autodiff<B>>`, gets wrong, and that `Dual<Autodiff<B>>` does
//! not: the claims of `docs/NESTING.md`, one test each, in f64 on flex.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use bilevel_autodiff::{Dual, DualTensor};
use burn::backend::Autodiff;
use burn::tensor::activation::{relu, softmax};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::ops::{ConvOptions, InterpolateMode, InterpolateOptions};
use burn::tensor::{
    FloatDType, Int, IntDType, Tensor, TensorData, TensorPrimitive, module, set_default_dtypes,
};
use burn_flex::{Flex, FlexDevice};

type Single = Autodiff<Flex>;
type Nested = Autodiff<Single>;
type Ours = Dual<Single>;

/// Numbers in [-1, 1] in a fixed irregular order.
fn numbers<B: Backend, const D: usize>(shape: [usize; D], phase: f64) -> Tensor<B, D> {
    // Burn fixes the element types of a device once a process.
    static F64: Once = Once::new();
    F64.call_once(|| {
        set_default_dtypes::<Flex>(&FlexDevice, FloatDType::F64, IntDType::I64).unwrap();
    });
    let values = (0..shape.iter().product()).map(|i: usize| (1.7 * i as f64 + phase).sin());
    Tensor::from_data(TensorData::new(values.collect::<Vec<_>>(), shape), &B::Device::default())
}

fn values<B: Backend, const D: usize>(x: Tensor<B, D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

// ---- the Hessian of f at `point`, times `direction`, in two ways ---------------------------------------

fn point<B: Backend, const D: usize>(shape: [usize; D]) -> Tensor<B, D> {
    numbers(shape, 0.3)
}

fn direction<B: Backend, const D: usize>(shape: [usize; D]) -> Tensor<B, D> {
    numbers(shape, 0.8)
}

fn nested<const D: usize>(
    shape: [usize; D],
    f: fn(Tensor<Nested, D>) -> Tensor<Nested, 1>,
) -> Vec<f64> {
    let inner = point::<Single, D>(shape).require_grad();
    let outer = Tensor::<Nested, D>::from_inner(inner.clone()).require_grad();
    let gradient = outer.grad(&f(outer.clone()).backward()).unwrap();
    let grads = (gradient * direction(shape)).sum().backward();
    values(inner.grad(&grads).unwrap())
}

fn ours<const D: usize>(shape: [usize; D], f: fn(Tensor<Ours, D>) -> Tensor<Ours, 1>) -> Vec<f64> {
    let x = point::<Single, D>(shape).require_grad();
    let (value, tangent) = (x.clone().into_primitive(), direction::<Single, D>(shape));
    let dual = DualTensor::new(value.tensor(), tangent.into_primitive().tensor());
    let loss = f(Tensor::from_primitive(TensorPrimitive::Float(dual)));
    let tangent = loss.into_primitive().tensor().into_parts().1.unwrap();
    let grads = <Single as AutodiffBackend>::backward(tangent);
    values(x.grad(&grads).unwrap())
}

/// The same by five-point differences of gradients.
fn differences<const D: usize>(
    shape: [usize; D],
    f: fn(Tensor<Single, D>) -> Tensor<Single, 1>,
) -> Vec<f64> {
    const H: f64 = 1e-3;
    let gradient = |t: f64| {
        let x = (point(shape) + direction::<Single, D>(shape) * (t * H)).detach().require_grad();
        x.grad(&f(x.clone()).backward()).unwrap()
    };
    let near = (gradient(1.0) - gradient(-1.0)) * 8.0;
    values((near - (gradient(2.0) - gradient(-2.0))) * (1.0 / (12.0 * H)))
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

// ---- it panics ---------------------------------------------------------------------------------------

/// Burn's nesting panics with `message`; ours is right.
macro_rules! panics {
    ($($name:ident($shape:expr): $f:expr, $message:literal;)*) => {$(
        #[test]
        fn $name() {
            fn f<B: Backend>(x: Tensor<B, { $shape.len() }>) -> Tensor<B, 1> {
                let f: fn(Tensor<B, { $shape.len() }>) -> Tensor<B, 1> = $f;
                f(x)
            }
            let error = distance(&ours($shape, f), &differences($shape, f));
            assert!(error < 1e-8, "ours is off by {error:e}");
            let panic = catch_unwind(AssertUnwindSafe(|| nested($shape, f))).unwrap_err();
            let message = panic.downcast_ref::<&str>().map(|text| text.to_string());
            assert_eq!(message.or(panic.downcast_ref::<String>().cloned()).unwrap(), $message);
        }
    )*};
}

panics! {
    nn_linear([2, 3]): |x| module::linear(x, numbers([3, 4], 0.1), None).powi_scalar(3).sum(),
        "Can't differentiate linear_x_backward.";
    nn_linear_in_its_weight([3, 4]): |w| module::linear(numbers([2, 3], 0.1), w, None).powi_scalar(3).sum(),
        "Can't differentiate linear_weight_backward.";
    avg_pool2d([1, 1, 4, 4]): |x| module::avg_pool2d(x, [2, 2], [2, 2], [0, 0], true, false).powi_scalar(3).sum(),
        "Can't differentiate avg pool 2d backward.";
    max_pool2d([1, 1, 4, 4]): |x| module::max_pool2d(x, [2, 2], [2, 2], [0, 0], [1, 1], false).powi_scalar(3).sum(),
        "Can't differentiate max pool2d with indices backward.";
    adaptive_avg_pool2d([1, 1, 4, 4]): |x| module::adaptive_avg_pool2d(x, [2, 2]).powi_scalar(3).sum(),
        "Can't differentiate adaptive avg pool2d backward.";
    interpolate([1, 1, 3, 3]): |x| {
        let options = InterpolateOptions::new(InterpolateMode::Nearest);
        module::interpolate(x, [6, 6], options).powi_scalar(3).sum()
    }, "Can't differentiate interpolate backward.";
    embedding([4, 2]): |w| {
        let indices = Tensor::<_, 2, Int>::from_data([[0, 2, 3]], &Default::default());
        module::embedding(w, indices).powi_scalar(3).sum()
    }, "Can't differentiate embedding backward.";
}

// ---- it is silently wrong ------------------------------------------------------------------------------

fn pooled<B: Backend>(x: Tensor<B, 3>) -> Tensor<B, 1> {
    cubes(x.clone()) + module::max_pool1d(x, 2, 2, 0, 1, false).powi_scalar(3).sum()
}

fn cubes<B: Backend>(x: Tensor<B, 3>) -> Tensor<B, 1> {
    x.powi_scalar(3).sum()
}

#[test]
fn max_pool1d_contributes_nothing_to_a_second_derivative() {
    let shape = [1, 1, 6];
    let truth = differences(shape, pooled);
    assert!(distance(&ours(shape, pooled), &truth) < 1e-8);
    let nested = nested(shape, pooled);
    assert!(distance(&nested, &truth) > 1.0, "{nested:?} is {truth:?}");
    assert!(distance(&nested, &ours(shape, cubes)) < 1e-12, "the pooled term is missing, no more");
}

/// A constant where it is differentiated, as `detach` promises: the Hessian is that of `x^3`.
fn detached<B: Backend>(x: Tensor<B, 3>) -> Tensor<B, 1> {
    cubes(x.clone()) + (x.clone().detach() * x).sum()
}

#[test]
fn detach_does_not_stop_the_second_derivative() {
    let shape = [1, 1, 4];
    let (truth, v) = (ours(shape, cubes), values(direction::<Flex, 3>(shape)));
    assert!(distance(&ours(shape, detached), &truth) < 1e-12);
    let extra: Vec<_> = nested(shape, detached).iter().zip(&truth).map(|(a, b)| a - b).collect();
    assert!(distance(&extra, &v) < 1e-12, "{extra:?}");
}

// ---- first order, where both decorators stand on it ----------------------------------------------------

#[test]
fn repeat_dim_of_a_dimension_longer_than_one_has_a_wrong_gradient() {
    let x = point::<Single, 1>([2]).require_grad();
    let weights = Tensor::from_data([1.0, 2.0, 3.0, 4.0], &FlexDevice);
    let grads = (x.clone().repeat_dim(0, 2) * weights).sum().backward();
    // The repetition is [a, b, a, b], and so the gradient (1 + 3, 2 + 4).
    assert_eq!(values(x.grad(&grads).unwrap()), [3.0, 7.0]);
}

#[test]
fn the_gradient_of_a_division_by_a_number_is_rounded_to_f32() {
    let x = point::<Single, 1>([1]).require_grad();
    let grads = (x.clone() / 0.7).sum().backward();
    let error = (values(x.grad(&grads).unwrap())[0] - 1.0 / 0.7).abs();
    assert!((1e-9..1e-7).contains(&error), "{error:e}");
}

// ---- where it works, both agree ------------------------------------------------------------------------

fn dense<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 1> {
    let hidden = relu(x.matmul(numbers([3, 4], 0.1)));
    softmax(hidden.matmul(numbers([4, 2], 0.5)), 1).log().slice([0..2, 0..1]).sum()
}

fn convolved<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 1> {
    let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    module::conv2d(x, numbers([2, 1, 3, 3], 0.1), None, options).powi_scalar(3).sum()
}

#[test]
fn products_and_convolutions_agree() {
    let (shape, image) = ([2, 3], [1, 1, 4, 4]);
    assert!(distance(&nested(shape, dense), &ours(shape, dense)) < 1e-12);
    assert!(distance(&nested(image, convolved), &ours(image, convolved)) < 1e-12);
}
