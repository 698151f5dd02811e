//! The errors of Burn 0.22's own nesting, `Autodiff<Autodiff<B>>`, which `Dual<Autodiff<B>>` does not have:
//! the claims of `docs/NESTING.md`, one test each, in f64 on flex.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use bilevel_autodiff::{Dual, DualTensor};
use burn::backend::ops::{ConvOptions, FloatTensorOps, InterpolateMode, InterpolateOptions};
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, BoolDType, FloatDType, IntDType, Slice, TensorData,
    read_sync, set_default_dtypes,
};
use burn_flex::{Flex, FlexDevice};

type Single = Autodiff<Flex>;
type Nested = Autodiff<Single>;
type Ours = Dual<Single>;

/// A scalar function.
type Loss<B> = fn(FloatTensor<B>) -> FloatTensor<B>;

/// Numbers in [-1, 1] in a fixed irregular order.
fn numbers<B: Backend>(shape: &[usize], phase: f64) -> FloatTensor<B> {
    // Burn fixes the element types of a device once per process.
    static F64: Once = Once::new();
    F64.call_once(|| {
        let native = BoolDType::Native;
        set_default_dtypes::<Flex>(&FlexDevice, FloatDType::F64, IntDType::I64, native).unwrap();
    });
    let values = (0..shape.iter().product()).map(|i: usize| (1.7 * i as f64 + phase).sin());
    let data = TensorData::new(values.collect::<Vec<_>>(), shape.to_vec());
    B::float_from_data(data, &B::Device::default())
}

fn values<B: Backend>(x: FloatTensor<B>) -> Vec<f64> {
    read_sync(B::float_into_data(x)).unwrap().iter::<f64>().collect()
}

// ---- the Hessian of f at `point`, times `direction`, computed in two ways ------------------------------

fn point<B: Backend>(shape: &[usize]) -> FloatTensor<B> {
    numbers::<B>(shape, 0.3)
}

fn direction<B: Backend>(shape: &[usize]) -> FloatTensor<B> {
    numbers::<B>(shape, 0.8)
}

fn variable(shape: &[usize]) -> FloatTensor<Single> {
    Single::float_set_require_grad(point::<Single>(shape), true)
}

/// The gradient of `loss` at `x`.
fn gradient<B: AutodiffBackend>(
    x: &FloatTensor<B>,
    loss: FloatTensor<B>,
) -> FloatTensor<B::InnerBackend> {
    B::grad(x, &B::backward(loss)).unwrap()
}

fn nested(shape: &[usize], f: Loss<Nested>) -> Vec<f64> {
    let inner = variable(shape);
    let outer = Nested::float_set_require_grad(Nested::from_inner(inner.clone()), true);
    let first = gradient::<Nested>(&outer, f(outer.clone()));
    let along = Single::float_sum(Single::float_mul(first, direction::<Single>(shape)));
    values::<Flex>(gradient::<Single>(&inner, along))
}

fn ours(shape: &[usize], f: Loss<Ours>) -> Vec<f64> {
    let x = variable(shape);
    let loss = f(DualTensor::new(x.clone(), direction::<Single>(shape)));
    let tangent = loss.into_parts().1.unwrap();
    values::<Flex>(gradient::<Single>(&x, tangent))
}

/// The same by five-point finite differences of gradients.
fn differences(shape: &[usize], f: Loss<Single>) -> Vec<f64> {
    const H: f64 = 1e-3;
    let at = |t: f64| {
        let step = Flex::float_mul_scalar(direction::<Flex>(shape), (t * H).into());
        let x = Single::from_inner(Flex::float_add(point::<Flex>(shape), step));
        let x = Single::float_set_require_grad(x, true);
        values::<Flex>(gradient::<Single>(&x, f(x.clone())))
    };
    let (near, far) = ([at(1.0), at(-1.0)], [at(2.0), at(-2.0)]);
    let difference = |i: usize| 8.0 * (near[0][i] - near[1][i]) - (far[0][i] - far[1][i]);
    (0..near[0].len()).map(|i| difference(i) / (12.0 * H)).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// The sum of the cubes.
fn cubes<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_sum(B::float_powi_scalar(x, 3.into()))
}

// ---- panics ------------------------------------------------------------------------------------------

/// Burn's nesting of `sum f(x)^3` panics with `message`; ours is correct.
macro_rules! panics {
    ($($name:ident($shape:expr): |$x:ident| $f:expr, $message:literal;)*) => {$(
        #[test]
        fn $name() {
            fn f<B: Backend>($x: FloatTensor<B>) -> FloatTensor<B> {
                cubes::<B>($f)
            }
            let error = distance(&ours(&$shape, f::<Ours>), &differences(&$shape, f::<Single>));
            assert!(error < 1e-8, "ours is off by {error:e}");
            let nested = catch_unwind(AssertUnwindSafe(|| nested(&$shape, f::<Nested>)));
            let panic = nested.unwrap_err();
            let message = panic.downcast_ref::<&str>().map(|text| text.to_string());
            assert_eq!(message.or(panic.downcast_ref::<String>().cloned()).unwrap(), $message);
        }
    )*};
}

panics! {
    linear([2, 3]): |x| B::linear(x, numbers::<B>(&[3, 4], 0.1), None),
        "Can't differentiate linear_x_backward.";
    linear_in_its_weight([3, 4]): |w| B::linear(numbers::<B>(&[2, 3], 0.1), w, None),
        "Can't differentiate linear_weight_backward.";
    avg_pool2d([1, 1, 4, 4]): |x| B::avg_pool2d(x, [2, 2], [2, 2], [0, 0], true, false),
        "Can't differentiate avg pool 2d backward.";
    max_pool2d([1, 1, 4, 4]): |x| B::max_pool2d(x, [2, 2], [2, 2], [0, 0], [1, 1], false),
        "Can't differentiate max pool2d with indices backward.";
    adaptive_avg_pool2d([1, 1, 4, 4]): |x| B::adaptive_avg_pool2d(x, [2, 2]),
        "Can't differentiate adaptive avg pool2d backward.";
    adaptive_avg_pool3d([1, 1, 4, 4, 4]): |x| B::adaptive_avg_pool3d(x, [2, 2, 2]),
        "Can't differentiate adaptive avg pool3d backward.";
    batch_norm_train([3, 2, 2]): |x| {
        B::batch_norm_train(x, numbers::<B>(&[2], 0.1), numbers::<B>(&[2], 0.5), 1e-2).output
    }, "Can't differentiate batch norm train backward.";
    interpolate([1, 1, 3, 3]): |x| {
        B::interpolate(x, [6, 6], InterpolateOptions::new(InterpolateMode::Nearest))
    }, "Can't differentiate interpolate backward.";
    embedding([4, 2]): |w| {
        let indices = TensorData::from([[0_i64, 2, 3]]);
        B::embedding(w, B::int_from_data(indices, &B::Device::default()))
    }, "Can't differentiate embedding backward.";
}

// ---- silent errors -------------------------------------------------------------------------------------

fn pooled<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let pooled = B::max_pool1d(x.clone(), 2, 2, 0, 1, false);
    B::float_add(cubes::<B>(x), cubes::<B>(pooled))
}

#[test]
fn max_pool1d_contributes_nothing_to_a_second_derivative() {
    let shape = [1, 1, 6];
    let truth = differences(&shape, pooled::<Single>);
    assert!(distance(&ours(&shape, pooled::<Ours>), &truth) < 1e-8);
    let nested = nested(&shape, pooled::<Nested>);
    assert!(distance(&nested, &truth) > 1.0, "{nested:?} is {truth:?}");
    let rest = ours(&shape, cubes::<Ours>);
    assert!(distance(&nested, &rest) < 1e-12, "the pooled term is missing, no more");
}

/// A constant for every derivative, as `detach` promises: the Hessian is that of `x^3`.
fn detached<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let product = B::float_mul(B::float_detach(x.clone()), x.clone());
    B::float_add(cubes::<B>(x), B::float_sum(product))
}

#[test]
fn detach_does_not_stop_the_second_derivative() {
    let shape = [1, 1, 4];
    let (truth, v) = (ours(&shape, cubes::<Ours>), values::<Flex>(direction::<Flex>(&shape)));
    assert!(distance(&ours(&shape, detached::<Ours>), &truth) < 1e-12);
    let nested = nested(&shape, detached::<Nested>);
    let extra: Vec<_> = nested.iter().zip(&truth).map(|(a, b)| a - b).collect();
    assert!(distance(&extra, &v) < 1e-12, "{extra:?}");
}

// ---- first order ---------------------------------------------------------------------------------------

#[test]
fn the_gradient_of_a_division_by_a_number_is_rounded_to_f32() {
    let x = variable(&[1]);
    let quotient = Single::float_sum(Single::float_div_scalar(x.clone(), 0.7.into()));
    let error = (values::<Flex>(gradient::<Single>(&x, quotient))[0] - 1.0 / 0.7).abs();
    assert!((1e-9..1e-7).contains(&error), "{error:e}");
}

// ---- correct results: both agree -----------------------------------------------------------------------

fn dense<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let hidden = B::relu(B::float_matmul(x, numbers::<B>(&[3, 4], 0.1)));
    let shares = B::softmax(B::float_matmul(hidden, numbers::<B>(&[4, 2], 0.5)), 1);
    B::float_sum(B::float_slice(B::float_log(shares), &[Slice::from(0..2), Slice::from(0..1)]))
}

fn convolved<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    cubes::<B>(B::conv2d(x, numbers::<B>(&[2, 1, 3, 3], 0.1), None, options))
}

#[test]
fn products_and_convolutions_agree() {
    let (shape, image) = ([2, 3], [1, 1, 4, 4]);
    assert!(distance(&nested(&shape, dense::<Nested>), &ours(&shape, dense::<Ours>)) < 1e-12);
    let (nested, ours) = (nested(&image, convolved::<Nested>), ours(&image, convolved::<Ours>));
    assert!(distance(&nested, &ours) < 1e-12);
}
