//! Operations whose derivatives Burn's `Autodiff` got wrong at some points or in some version, and their derivatives
//! here, in f64 on flex.

use std::sync::Once;

use bilevel_program::{Layout, Vector, check, grad, hvp};
use burn::module::Param;
use burn::tensor::activation::{hard_sigmoid, hard_swish, log_softmax};
use burn::tensor::{Device, FloatDType, IntDType, Tensor};

type Variable = Param<Tensor<1>>;

fn device() -> Device {
    // Burn fixes the element types of a device once per process.
    static F64: Once = Once::new();
    F64.call_once(|| Device::flex().configure((FloatDType::F64, IntDType::I64)).unwrap());
    Device::flex()
}

fn variable(values: &[f64]) -> Variable {
    Param::from_data(values, &device())
}

/// The gradient at these values, and the Hessian times a direction.
fn derivatives(at: &[f64], v: &[f64], loss: impl Fn(&Variable) -> Tensor<1>) -> [Vec<f64>; 2] {
    let y = variable(at);
    let v = Vector::from_slice(&Layout::of(&y), v, &device());
    [grad(&y, &loss).unwrap().to_vec(), hvp(&y, &v, &loss).unwrap().to_vec()]
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let near = (found - expected).abs() <= tolerance * expected.abs().max(1.0);
        assert!(near, "found {found:e}, expected {expected:e}");
    }
}

#[test]
fn the_largest_entries() {
    let loss = |y: &Variable| y.val().topk(2, 0).powi_scalar(3).sum();
    let [gradient, product] = derivatives(&[0.5, -1.5, 2.0, 1.0], &[1.0, 2.0, 3.0, 4.0], loss);
    assert_close(&gradient, &[0.0, 0.0, 12.0, 3.0], 1e-14);
    assert_close(&product, &[0.0, 0.0, 36.0, 24.0], 1e-14);
    check(&variable(&[0.5, -1.5, 2.0, 1.0]), loss).unwrap().assert_ok();
}

#[test]
fn products_of_negative_numbers_and_of_zero() {
    for dim in [true, false] {
        let loss = move |y: &Variable| {
            let product = if dim { y.val().prod_dim(0) } else { y.val().prod() };
            product.sum()
        };
        let [gradient, product] = derivatives(&[-2.0, -3.0, 0.5], &[1.0, 0.0, 0.0], loss);
        assert_close(&gradient, &[-1.5, -1.0, 6.0], 1e-14);
        assert_close(&product, &[0.0, 0.5, -3.0], 1e-14);
        let [gradient, product] = derivatives(&[0.0, -3.0, 0.5], &[1.0, 0.0, 0.0], loss);
        assert_close(&gradient, &[-1.5, 0.0, 0.0], 1e-14);
        assert_close(&product, &[0.0, 0.5, -3.0], 1e-14);
    }
}

#[test]
fn hard_sigmoid_is_of_double_precision() {
    // Numbers that f32 cannot represent, and one beyond the kink.
    let at = [0.1, 1.0 / 3.0, -0.7, 30.0];
    // A product with 1 or -1 is simplified, and one that two hard sigmoids share is computed once.
    for a in [0.2, -0.3, 1.0, -1.0] {
        for sign in [1.0, -1.0] {
            let offsets = [0.35, 0.45];
            let loss = |y: &Variable| {
                let y = if sign < 0.0 { -y.val() } else { y.val() };
                let [first, second] = offsets.map(|b| hard_sigmoid(y.clone(), a, b).powi_scalar(3));
                (first + second).sum()
            };
            // Of `(s a y + b)^3` between the kinks.
            let derivative = |of: fn(f64, f64) -> f64| -> Vec<f64> {
                let term = |y: f64, b: f64| match sign * a * y + b {
                    value if (0.0..1.0).contains(&value) => of(sign * a, value),
                    _ => 0.0,
                };
                at.iter().map(|&y| offsets.map(|b| term(y, b)).iter().sum()).collect()
            };
            let [gradient, product] = derivatives(&at, &[1.0; 4], loss);
            assert_close(&gradient, &derivative(|c, value| 3.0 * c * value * value), 1e-14);
            assert_close(&product, &derivative(|c, value| 6.0 * c * c * value), 1e-14);
        }
    }
    // `x * max(0, min(1, x/6 + 0.5))`
    let swish = |y: &Variable| hard_swish(y.val()).sum();
    let [gradient, product] = derivatives(&at[..3], &[1.0; 3], swish);
    assert_close(&gradient, &at[..3].iter().map(|y| y / 3.0 + 0.5).collect::<Vec<_>>(), 1e-14);
    assert_close(&product, &[1.0 / 3.0; 3], 1e-14);
}

#[test]
fn minus_one_by_a_tensor_lost_its_sign() {
    let loss = |y: &Variable| (-y.val().ones_like() / y.val()).powi_scalar(3).sum();
    let [gradient, product] = derivatives(&[2.0, -0.5], &[1.0, 1.0], loss);
    assert_close(&gradient, &[3.0 / 16.0, 48.0], 1e-14);
    assert_close(&product, &[-12.0 / 32.0, 384.0], 1e-13);
    // By values, which the program has to itself.
    let value = |y: &Variable| (-y.val().ones_like() / y.val()).sum();
    check(&variable(&[2.0, -0.5, 3.0]), value).unwrap().assert_ok();
}

#[test]
fn a_cast_of_ones_own_stays() {
    // Only a complete hard sigmoid is recognised as one.
    use burn::tensor::DType;
    let loss = |y: &Variable| (y.val().cast(DType::F32) * 0.2 + 0.5).cast(DType::F64).sum();
    let rounded = |y: &Variable| y.val() * f64::from(0.2_f32) - y.val() * 0.2;
    let [gradient, _] = derivatives(&[0.1, 0.3], &[1.0; 2], loss);
    let apart = rounded(&variable(&[1.0])).sum().into_scalar::<f64>();
    assert!(gradient.iter().all(|slope| (slope - 0.2).abs() <= apart.abs() + 1e-9), "{gradient:?}");
}

/// Second derivatives write such products as the backward pass of log-softmax does.
#[test]
fn softmax_times_sums() {
    let factors: [fn(Tensor<3>) -> Tensor<3>; 4] = [
        |square| square.sum_dim(2),
        |square| -square.sum_dim(2),
        |square| square.sum_dim(1),
        // Of more entries than softmax.
        |square| square.sum_dim(2).expand([4, 2, 3]),
    ];
    for factor in factors {
        let loss = move |y: &Variable| {
            let logarithm = log_softmax(y.val().reshape([1, 2, 3]), 2);
            let factor = factor(logarithm.clone().powi_scalar(2));
            (factor * logarithm.exp()).powi_scalar(2).sum()
        };
        check(&variable(&[0.3, -1.2, 2.0, 0.5, -0.1, 1.1]), loss).unwrap().assert_ok();
    }
}

#[test]
fn a_learned_exponent_at_base_zero() {
    // x^p at x = 0: the derivatives in p are 0; at x = 2 they are those of the formula.
    let base = || Tensor::<1>::from_data([0.0, 2.0], &device());
    let (p, ln) = (1.7_f64, 2.0_f64.ln());
    let loss = |y: &Variable| {
        let base = base().to_device(&y.device());
        base.powf(y.val().expand([2])).sum()
    };
    let [gradient, product] = derivatives(&[p], &[1.0], loss);
    assert_close(&gradient, &[2.0_f64.powf(p) * ln], 1e-14);
    assert_close(&product, &[2.0_f64.powf(p) * ln * ln], 1e-13);
    // Both learned: x^p + 3 x, x = 0 and p = 2.
    let both = |y: &Variable| {
        let (x, p) = (y.val().slice(0..2), y.val().slice(2..4));
        (x.clone().powf(p) + x * 3.0).sum()
    };
    let [gradient, product] = derivatives(&[0.0, 2.0, 2.0, 3.0], &[1.0; 4], both);
    assert_close(&gradient, &[3.0, 3.0 + 12.0, 0.0, 8.0 * ln], 1e-13);
    let mixed = 4.0 + 3.0 * 4.0 * ln;
    assert_close(&product, &[2.0, 12.0 + mixed, 0.0, 8.0 * ln * ln + mixed], 1e-13);
    check(&variable(&[0.5, 2.0, 2.0, 3.0]), both).unwrap().assert_ok();
}
