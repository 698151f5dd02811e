//! Dual tensors: a value and an optional directional derivative.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, DType, Shape, TensorMetadata};

/// A float tensor `x` with its tangent `dx`, the derivative of `x` along one direction.
///
/// `tangent = None` is an exact zero: it costs neither time nor memory, and every rule propagates it. A
/// tangent has the shape and dtype of its primal.
#[derive(Clone, Debug)]
pub struct DualTensor<B: Backend> {
    pub(crate) primal: FloatTensor<B>,
    pub(crate) tangent: Option<FloatTensor<B>>,
}

impl<B: Backend> TensorMetadata for DualTensor<B> {
    type Device = B::Device;

    fn dtype(&self) -> DType {
        self.primal.dtype()
    }

    fn shape(&self) -> Shape {
        self.primal.shape()
    }

    fn rank(&self) -> usize {
        self.primal.rank()
    }

    fn device(&self) -> B::Device {
        self.primal.device()
    }

    fn can_mut(&self) -> bool {
        self.primal.can_mut() && self.tangent.as_ref().is_none_or(TensorMetadata::can_mut)
    }
}

impl<B: Backend> DualTensor<B> {
    /// A constant: its tangent is an exact zero.
    pub fn constant(primal: FloatTensor<B>) -> Self {
        Self { primal, tangent: None }
    }

    /// A value with its tangent.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn new(primal: FloatTensor<B>, tangent: FloatTensor<B>) -> Self {
        assert_eq!(primal.shape(), tangent.shape(), "a tangent has the shape of its primal");
        Self { primal, tangent: Some(tangent) }
    }

    /// The value.
    pub fn primal(&self) -> &FloatTensor<B> {
        &self.primal
    }

    /// The directional derivative; `None` is an exact zero.
    pub fn tangent(&self) -> Option<&FloatTensor<B>> {
        self.tangent.as_ref()
    }

    /// The value and the directional derivative.
    pub fn into_parts(self) -> (FloatTensor<B>, Option<FloatTensor<B>>) {
        (self.primal, self.tangent)
    }
}

// ---- the four forms of nearly every tangent rule -------------------------------------------------

/// A linear map: `d f(x) = f(dx)`.
pub(crate) fn linear<B: Backend>(
    x: DualTensor<B>,
    f: impl Fn(FloatTensor<B>) -> FloatTensor<B>,
) -> DualTensor<B> {
    DualTensor { primal: f(x.primal), tangent: x.tangent.map(f) }
}

/// An elementwise (or otherwise nonlinear) map of one tensor.
///
/// `push(x, y, dx)` receives the input, the output and the input's tangent, and is called only if there is a
/// tangent; without one the input is passed to `f` unshared, so that it may be overwritten.
pub(crate) fn unary<B: Backend>(
    x: DualTensor<B>,
    f: impl FnOnce(FloatTensor<B>) -> FloatTensor<B>,
    push: impl FnOnce(FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) -> FloatTensor<B>,
) -> DualTensor<B> {
    match x.tangent {
        None => DualTensor::constant(f(x.primal)),
        Some(dx) => {
            let y = f(x.primal.clone());
            let dy = push(x.primal, y.clone(), dx);
            DualTensor { primal: y, tangent: Some(dy) }
        }
    }
}

/// A map linear in each of its two arguments: `d f(x, y) = f(dx, y) + f(x, dy)`.
pub(crate) fn bilinear<B: Backend>(
    x: DualTensor<B>,
    y: DualTensor<B>,
    f: impl Fn(FloatTensor<B>, FloatTensor<B>) -> FloatTensor<B>,
) -> DualTensor<B> {
    let left = x.tangent.map(|dx| f(dx, y.primal.clone()));
    let right = y.tangent.map(|dy| f(x.primal.clone(), dy));
    DualTensor { primal: f(x.primal, y.primal), tangent: sum::<B>(left, right) }
}

/// A map linear in its two arguments jointly: `d f(x, y) = f(dx, dy)`, where a missing tangent is zero.
pub(crate) fn jointly_linear<B: Backend>(
    x: DualTensor<B>,
    y: DualTensor<B>,
    f: impl Fn(FloatTensor<B>, FloatTensor<B>) -> FloatTensor<B>,
) -> DualTensor<B> {
    let tangent = match (x.tangent, y.tangent) {
        (None, None) => None,
        (dx, dy) => Some(f(
            dx.unwrap_or_else(|| zeros_like::<B>(&x.primal)),
            dy.unwrap_or_else(|| zeros_like::<B>(&y.primal)),
        )),
    };
    DualTensor { primal: f(x.primal, y.primal), tangent }
}

/// `a + b`, where a missing term is zero. Both have the same shape.
pub(crate) fn sum<B: Backend>(
    a: Option<FloatTensor<B>>,
    b: Option<FloatTensor<B>>,
) -> Option<FloatTensor<B>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(B::float_add(a, b)),
        (a, b) => a.or(b),
    }
}

/// Zeros with the shape, dtype and device of a tensor.
pub(crate) fn zeros_like<B: Backend>(x: &FloatTensor<B>) -> FloatTensor<B> {
    B::float_zeros(x.shape(), &x.device(), x.dtype().into())
}

/// The value of a tensor that must not have a tangent.
///
/// # Panics
/// With the operation's name if it has one: a tangent is never dropped silently.
#[track_caller]
pub(crate) fn no_tangent<B: Backend>(x: DualTensor<B>, operation: &str) -> FloatTensor<B> {
    match x.tangent {
        None => x.primal,
        Some(_) => panic!(
            "Dual<B> has no tangent rule for `{operation}`: detach its input, or write it with \
             operations that have one"
        ),
    }
}
