//! The properties of every tangent rule, checked for each line of [`table`].
//!
//! The backend is `Inner` of the including test binary, and `SUITE` describes its precision. A case draws
//! shapes, values, a direction `v` for some of the inputs (the others are constants, which take other
//! branches of a rule) and a weight `u` for the outputs. Then, with `J` the Jacobian and `s(x) = <u, f(x)>`:
//!
//! * the value is bitwise that of the inner backend, with and without tangents;
//! * `J v` agrees with five-point finite differences;
//! * `<u, J v> = <J' u, v>`, where `J' u` comes from `Autodiff`;
//! * `J (a v + b w) = a J v + b J w`;
//! * the second-order products `s''(x) v` of `Dual<Autodiff<B>>` and of `Autodiff<Dual<B>>` agree with each
//!   other, and with finite differences of the gradient of s.
//!
//! A backend that records its operations instead of executing them (`Suite::record`) has no values. There the
//! first and second derivatives of a case are recorded, which panics if a rule reads a value, and must keep
//! their shape and element type, which is not the default one.

mod draw;
mod table;

use std::any::Any;
use std::cell::RefCell;
use std::sync::OnceLock;

use bilevel_autodiff::{Dual, DualTensor};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, BackendTypes, FloatDType, IntDType, Shape, TensorData,
    TensorMetadata, read_sync,
};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use self::draw::{Dice, Input};
use crate::{Inner, SUITE};

type TestResult<T = ()> = std::result::Result<T, TestCaseError>;
type Apply<B> = fn(Vec<FloatTensor<B>>) -> FloatTensor<B>;

/// One line of the table: an operation, written once for every level at which it is checked.
pub(crate) struct Case {
    inputs: fn(&mut Dice) -> Vec<Input>,
    plain: Apply<Inner>,
    dual: Apply<Dual<Inner>>,
    reverse: Apply<Autodiff<Inner>>,
    second_order: Option<SecondOrder>,
    bounds: Bounds,
}

/// The operation at the levels of second-order products.
#[derive(Clone, Copy)]
pub(crate) struct SecondOrder {
    reverse_over_forward: Apply<Dual<Autodiff<Inner>>>,
    forward_over_reverse: Apply<Autodiff<Dual<Inner>>>,
}

/// The differences between the including test binaries.
#[derive(Clone, Copy)]
pub(crate) struct Suite {
    pub(crate) float: FloatDType,
    pub(crate) int: IntDType,
    /// Generated cases per line of the table.
    pub(crate) cases: u32,
    /// The step of the finite differences.
    pub(crate) step: f64,
    /// Lower limits on all bounds, given by the precision of the backend.
    pub(crate) digits: Bounds,
    /// The backend, whose gaps and errors are known.
    pub(crate) on: On,
    /// Whether second-order products are checked. They take most of the compile time.
    pub(crate) second_order: bool,
    /// Calls a function with a device on which it may record.
    pub(crate) record: Option<Recorder>,
}

pub(crate) type Recorder = fn(&dyn Fn(InnerDevice));
pub(crate) type InnerDevice = <Inner as BackendTypes>::Device;

#[derive(Clone, Copy, PartialEq)]
#[allow(dead_code, reason = "a suite is on one backend")]
pub(crate) enum On {
    Flex,
    NdArray,
    Wgpu,
    Capture,
}

/// Strict enough to decide whether a rule is correct.
#[allow(dead_code, reason = "a suite is in one precision")]
pub(crate) const DOUBLE: Suite = Suite {
    float: FloatDType::F64,
    int: IntDType::I64,
    cases: 64,
    step: 1e-3,
    digits: STRICT,
    on: On::Flex,
    second_order: true,
    record: None,
};

/// Detects gross errors, on a backend that is slow to launch each operation.
#[allow(dead_code, reason = "a suite is in one precision")]
pub(crate) const SINGLE: Suite = Suite {
    float: FloatDType::F32,
    int: IntDType::I32,
    cases: 2,
    step: 2e-3,
    digits: Bounds {
        value: 0.0,
        differences: 5e-3,
        linear: 1e-5,
        adjoint: 1e-5,
        second: 1e-4,
        curvature: 1e-2,
        reach: Reach::Both,
    },
    on: On::Wgpu,
    second_order: false,
    record: None,
};

/// The required agreement of a case: relative errors, at the scale of `max(1, |.|)`. Every deviation from
/// [`STRICT`] has its reason next to it.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// The value of `Dual` against the inner backend; zero requires equal bits.
    value: f64,
    /// `J v` against finite differences.
    differences: f64,
    /// Linearity in the direction.
    linear: f64,
    /// `J v` against Burn's backward pass.
    adjoint: f64,
    /// One second-order product against the other.
    second: f64,
    /// A second-order product against finite differences of Burn's gradient.
    curvature: f64,
    /// How many derivatives `Autodiff` supports.
    reach: Reach,
}

#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub(crate) enum Reach {
    /// The backend itself does not support the operation.
    Nothing,
    /// The backend supports it, but without a backward pass.
    Forward,
    /// One backward pass, but no tangent through it.
    Reverse,
    Both,
}

pub(crate) const STRICT: Bounds = Bounds {
    value: 0.0,
    differences: 1e-7,
    linear: 1e-12,
    adjoint: 1e-12,
    second: 1e-10,
    curvature: 1e-6,
    reach: Reach::Both,
};

/// The backend computes the operation in f32 although its tensors are f64.
pub(crate) const F32: Bounds = Bounds {
    differences: 1e-3,
    linear: 1e-6,
    adjoint: 1e-6,
    second: 1e-6,
    curvature: 1e-2,
    ..STRICT
};

/// Bounds for NdArray; the others keep the strict ones.
pub(crate) const fn on_ndarray(bounds: Bounds) -> Bounds {
    if matches!(SUITE.on, On::NdArray) { bounds } else { STRICT }
}

/// Bounds for wgpu; the others keep the strict ones.
pub(crate) const fn on_wgpu(bounds: Bounds) -> Bounds {
    if matches!(SUITE.on, On::Wgpu) { bounds } else { STRICT }
}

/// Bounds for backends that use Burn's default instead of a kernel like that of Flex.
pub(crate) const fn but_on_flex(bounds: Bounds) -> Bounds {
    if matches!(SUITE.on, On::Flex) { STRICT } else { bounds }
}

impl Bounds {
    const fn at_least(self, other: Self) -> Self {
        Self {
            value: self.value.max(other.value),
            differences: self.differences.max(other.differences),
            linear: self.linear.max(other.linear),
            adjoint: self.adjoint.max(other.adjoint),
            second: self.second.max(other.second),
            curvature: self.curvature.max(other.curvature),
            reach: self.reach,
        }
    }
}

/// Whether the backend can run here. Sets it up once: Burn fixes its element types once per process.
fn ready() -> bool {
    static READY: OnceLock<bool> = OnceLock::new();
    *READY.get_or_init(crate::set_up)
}

pub(crate) fn check(case: Case) {
    if case.bounds.reach == Reach::Nothing || !ready() {
        return;
    }
    let config = Config { cases: SUITE.cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let run = runner.run(&draw::dice(), |dice| match SUITE.record {
        None => check_once(&case, dice),
        Some(record) => {
            record(&|device| case.record(device, dice.clone()));
            Ok(())
        }
    });
    if let Err(error) = run {
        panic!("{error}");
    }
}

thread_local! {
    static RECORDS: RefCell<Option<InnerDevice>> = const { RefCell::new(None) };
}

/// The device of all tensors: the one that is recording, or the default.
pub(crate) fn device<B: Backend>() -> B::Device {
    let same = |device: &InnerDevice| (device as &dyn Any).downcast_ref().cloned();
    RECORDS.with_borrow(|device| device.as_ref().and_then(same)).unwrap_or_default()
}

fn check_once(case: &Case, mut dice: Dice) -> TestResult {
    let bounds = case.bounds.at_least(SUITE.digits);
    let inputs = (case.inputs)(&mut dice);
    let x: Vec<Array> = inputs.iter().map(|input| dice.values(input)).collect();
    let moves = dice.some_of(x.len());
    let v = dice.direction(&x, &moves);
    let w = dice.direction(&x, &moves);

    let y = case.value(&x);
    let u = dice.like(&y);

    let (same, jv) = case.jvp(&x, &v);
    close(&y, &same, bounds.value, "the value under tangents")?;
    close(&y, &case.constant(&x)?, bounds.value, "the value of constants")?;

    let slope = differences(&x, &v, |x| case.value(x));
    close(&jv, &slope, bounds.differences, "J v against differences")?;

    let (a, b) = (0.7, -1.3);
    let mix: Vec<Array> = v.iter().zip(&w).map(|(v, w)| v.axpby(a, w, b)).collect();
    let sum = jv.axpby(a, &case.jvp(&x, &w).1, b);
    close(&case.jvp(&x, &mix).1, &sum, bounds.linear, "the tangent is linear in its seed")?;

    if bounds.reach < Reach::Reverse {
        return Ok(());
    }
    let gradient = case.gradient(&x, &u);
    let left = u.dot(&jv);
    let right: f64 = gradient.iter().zip(&v).map(|(g, v)| g.dot(v)).sum();
    let scale = u.abs_dot(&jv).max(1.0);
    ensure((left - right).abs() <= bounds.adjoint * scale, || {
        format!("<u, J v> = {left:e}, <J' u, v> = {right:e}")
    })?;

    let Some(twice) = case.second_order.filter(|_| bounds.reach == Reach::Both) else {
        return Ok(());
    };
    let forward_over_reverse = twice.forward_over_reverse(&x, &v, &u);
    let reverse_over_forward = twice.reverse_over_forward(&x, &v, &u);
    for (i, (f, r)) in forward_over_reverse.iter().zip(&reverse_over_forward).enumerate() {
        close(f, r, bounds.second, "the two second-order products agree")?;
        let curve = differences(&x, &v, |x| case.gradient(x, &u)[i].clone());
        close(r, &curve, bounds.curvature, "s'' v against differences of s'")?;
    }
    Ok(())
}

impl Case {
    /// The derivatives, without reading them.
    fn record(&self, device: InnerDevice, mut dice: Dice) {
        RECORDS.set(Some(device));
        let x: Vec<Array> =
            (self.inputs)(&mut dice).iter().map(|input| dice.values(input)).collect();
        let moves = dice.some_of(x.len());
        let v = dice.direction(&x, &moves);
        let y = (self.dual)(lift::<Inner>(&x, &v));
        assert_eq!(y.dtype(), SUITE.float.into());
        if let Some(dy) = y.tangent() {
            assert_eq!((dy.dtype(), dy.shape()), (y.dtype(), y.shape()));
        }
        let Some(twice) = self.second_order.filter(|_| self.bounds.reach == Reach::Both) else {
            return;
        };
        let u = Array::zeros(y.shape().to_vec());
        for gradient in twice.record(&x, &v, &u) {
            assert_eq!(gradient.dtype(), SUITE.float.into());
        }
    }

    fn value(&self, x: &[Array]) -> Array {
        Array::from::<Inner>((self.plain)(x.iter().map(Array::to::<Inner>).collect()))
    }

    /// The value without tangents; the result then has no tangent either.
    fn constant(&self, x: &[Array]) -> TestResult<Array> {
        let y = (self.dual)(x.iter().map(|x| DualTensor::constant(x.to::<Inner>())).collect());
        let (y, dy) = y.into_parts();
        ensure(dy.is_none(), || "a tangent out of nothing".into())?;
        Ok(Array::from::<Inner>(y))
    }

    fn jvp(&self, x: &[Array], v: &[Array]) -> (Array, Array) {
        let (y, dy) = (self.dual)(lift::<Inner>(x, v)).into_parts();
        let zeros = Array::zeros(y.shape().to_vec());
        let dy = dy.map_or(zeros, Array::from::<Inner>);
        let y = Array::from::<Inner>(y);
        assert_eq!(y.shape, dy.shape, "a tangent has the shape of its primal");
        (y, dy)
    }

    /// `J' u`.
    fn gradient(&self, x: &[Array], u: &Array) -> Vec<Array> {
        let leaves = leaves::<Inner>(x.iter().map(Array::to::<Inner>).collect());
        let y = (self.reverse)(leaves.clone());
        let grads = backward::<Inner>(&leaves, y, u.to::<Inner>());
        let zeros = x.iter().map(|x| Array::zeros(x.shape.clone()));
        grads.into_iter().zip(zeros).map(|(g, zero)| g.map_or(zero, Array::from::<Inner>)).collect()
    }
}

impl SecondOrder {
    /// Both products, unless they are identically zero.
    fn record(&self, x: &[Array], v: &[Array], u: &Array) -> Vec<FloatTensor<Inner>> {
        let leaves_dual = leaves::<Dual<Inner>>(lift::<Inner>(x, v));
        let y = (self.forward_over_reverse)(leaves_dual.clone());
        let u_dual = DualTensor::constant(u.to::<Inner>());
        let grads = backward::<Dual<Inner>>(&leaves_dual, y, u_dual).into_iter().flatten();
        let mut products: Vec<_> = grads.filter_map(|g| g.into_parts().1).collect();

        let leaves = leaves::<Inner>(x.iter().map(Array::to::<Inner>).collect());
        let inputs =
            leaves.iter().zip(v).map(|(x, v)| dual::<Autodiff<Inner>>(x.clone(), v)).collect();
        if let Some(dy) = (self.reverse_over_forward)(inputs).into_parts().1 {
            let grads = backward::<Inner>(&leaves, dy, u.to::<Inner>());
            products.extend(grads.into_iter().flatten());
        }
        products
    }

    /// The gradient of the tangent of s.
    fn reverse_over_forward(&self, x: &[Array], v: &[Array], u: &Array) -> Vec<Array> {
        type A = Autodiff<Inner>;
        let leaves = leaves::<Inner>(x.iter().map(Array::to::<Inner>).collect());
        let zeros: Vec<Array> = x.iter().map(|x| Array::zeros(x.shape.clone())).collect();
        let inputs = leaves.iter().zip(v).map(|(x, v)| dual::<A>(x.clone(), v)).collect();
        let Some(dy) = (self.reverse_over_forward)(inputs).into_parts().1 else {
            return zeros;
        };
        let grads = backward::<Inner>(&leaves, dy, u.to::<Inner>());
        grads.into_iter().zip(zeros).map(|(g, zero)| g.map_or(zero, Array::from::<Inner>)).collect()
    }

    /// The tangent of the gradient of s.
    fn forward_over_reverse(&self, x: &[Array], v: &[Array], u: &Array) -> Vec<Array> {
        let leaves = leaves::<Dual<Inner>>(lift::<Inner>(x, v));
        let y = (self.forward_over_reverse)(leaves.clone());
        let grads = backward::<Dual<Inner>>(&leaves, y, DualTensor::constant(u.to::<Inner>()));
        let tangents = grads.into_iter().map(|g| g.and_then(|g| g.into_parts().1));
        let zeros = x.iter().map(|x| Array::zeros(x.shape.clone()));
        tangents.zip(zeros).map(|(t, zero)| t.map_or(zero, Array::from::<Inner>)).collect()
    }
}

/// The inputs with their tangents; a direction that is identically zero becomes a missing tangent.
fn lift<B: Backend>(x: &[Array], v: &[Array]) -> Vec<DualTensor<B>> {
    x.iter().zip(v).map(|(x, v)| dual::<B>(x.to::<B>(), v)).collect()
}

fn dual<B: Backend>(x: FloatTensor<B>, v: &Array) -> DualTensor<B> {
    if v.data.iter().all(|v| *v == 0.0) {
        DualTensor::constant(x)
    } else {
        DualTensor::new(x, v.to::<B>())
    }
}

fn leaves<B: Backend>(x: Vec<FloatTensor<B>>) -> Vec<FloatTensor<Autodiff<B>>> {
    x.into_iter()
        .map(|x| Autodiff::<B>::float_set_require_grad(Autodiff::<B>::from_inner(x), true))
        .collect()
}

/// The gradient of `<u, y>` at the leaves.
fn backward<B: Backend>(
    leaves: &[FloatTensor<Autodiff<B>>],
    y: FloatTensor<Autodiff<B>>,
    u: FloatTensor<B>,
) -> Vec<Option<FloatTensor<B>>> {
    type A<B> = Autodiff<B>;
    let s = A::<B>::float_sum(A::<B>::float_mul(y, A::<B>::from_inner(u)));
    // `backward` panics on a value that depends on no leaf; adding zero times each leaf avoids this.
    let s = leaves.iter().fold(s, |s, x| {
        let nothing = A::<B>::float_sum(A::<B>::float_mul_scalar(x.clone(), 0.into()));
        A::<B>::float_add(s, nothing)
    });
    let grads = A::<B>::backward(s);
    leaves.iter().map(|x| A::<B>::grad(x, &grads)).collect()
}

/// `f'(x) v` by a five-point formula.
fn differences(x: &[Array], v: &[Array], f: impl Fn(&[Array]) -> Array) -> Array {
    let h = SUITE.step;
    let at = |t: f64| f(&x.iter().zip(v).map(|(x, v)| x.axpby(1.0, v, t * h)).collect::<Vec<_>>());
    let near = at(1.0).axpby(8.0, &at(-1.0), -8.0);
    let far = at(2.0).axpby(1.0, &at(-2.0), -1.0);
    near.axpby(1.0 / (12.0 * h), &far, -1.0 / (12.0 * h))
}

// ---- arrays on the host --------------------------------------------------------------------------

#[derive(Clone, Debug)]
pub(crate) struct Array {
    shape: Vec<usize>,
    data: Vec<f64>,
}

impl Array {
    fn zeros(shape: Vec<usize>) -> Self {
        let data = vec![0.0; shape.iter().product()];
        Self { shape, data }
    }

    fn to<B: Backend>(&self) -> FloatTensor<B> {
        let data = TensorData::new(self.data.clone(), Shape::from(self.shape.clone()));
        B::float_from_data(data.convert_dtype(SUITE.float.into()), &device::<B>())
    }

    fn from<B: Backend>(x: FloatTensor<B>) -> Self {
        let data = read_sync(B::float_into_data(x)).expect("the backend computes");
        assert_eq!(data.dtype(), SUITE.float.into(), "the table is in one element type");
        Self { shape: data.shape().to_vec(), data: data.iter().collect() }
    }

    fn axpby(&self, a: f64, other: &Self, b: f64) -> Self {
        let data = self.data.iter().zip(&other.data).map(|(x, y)| a * x + b * y).collect();
        Self { shape: self.shape.clone(), data }
    }

    fn dot(&self, other: &Self) -> f64 {
        self.data.iter().zip(&other.data).map(|(x, y)| x * y).sum()
    }

    fn abs_dot(&self, other: &Self) -> f64 {
        self.data.iter().zip(&other.data).map(|(x, y)| (x * y).abs()).sum()
    }
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> TestResult {
    if holds { Ok(()) } else { Err(TestCaseError::fail(message())) }
}

fn close(a: &Array, b: &Array, bound: f64, what: &str) -> TestResult {
    let scale = a.data.iter().chain(&b.data).fold(1.0_f64, |m, v| m.max(v.abs()));
    let error = a.axpby(1.0, b, -1.0).data.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let sound = a.shape == b.shape && a.data.iter().chain(&b.data).all(|v| v.is_finite());
    ensure(sound && error <= bound * scale, || {
        format!("{what}: error {error:e} at scale {scale}\n{a:?}\n{b:?}")
    })
}

// ---- what finite differences cannot detect -------------------------------------------------------

#[test]
fn float_detach() {
    if SUITE.record.is_some() || !ready() {
        return;
    }
    type D = Dual<Inner>;
    let x = Array { shape: vec![3], data: vec![1.0, -2.0, 0.5] };
    let moving = dual::<Inner>(x.to::<Inner>(), &x);
    assert!(D::float_detach(moving.clone()).tangent().is_none(), "a tangent outlives `detach`");
    // d (c x) = c dx, where c is a constant with the value of x.
    let product = D::float_mul(D::float_detach(moving.clone()), moving).into_parts().1.unwrap();
    assert_eq!(Array::from::<Inner>(product).data, [1.0, 4.0, 0.25]);
}
