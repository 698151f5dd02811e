//! Derivatives of a scalar loss in the variables of a module: `grad`, `jvp`, `hvp` and their kin.
//!
//! Each takes a module as one trains it (on `Autodiff<B>`, where Burn knows which parameters are
//! trainable) and the loss as a closure on the level it is evaluated at.

use burn::module::AutodiffModule;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorPrimitive};
use burn_autodiff::Autodiff;

use crate::vector::read_scalar;
use crate::{
    Dual, ForwardOverReverse, Gradients, Layout, ReverseOverForward, Track, Vector, lift_forward,
    lift_forward_over_reverse, lift_reverse, lift_reverse_over_forward,
};

/// The gradient of `loss` in the variables of `module`.
pub fn grad<B, M>(module: &M, loss: impl FnOnce(&M) -> Tensor<Autodiff<B>, 1>) -> Vector<B>
where
    B: Backend,
    M: AutodiffModule<Autodiff<B>>,
{
    value_and_grad(module, loss).1
}

/// The loss and its gradient in the variables of `module`.
pub fn value_and_grad<B, M>(
    module: &M,
    loss: impl FnOnce(&M) -> Tensor<Autodiff<B>, 1>,
) -> (f64, Vector<B>)
where
    B: Backend,
    M: AutodiffModule<Autodiff<B>>,
{
    let (template, point) = point(module);
    let lifted = lift_reverse::<B, M>(&template, &point, Track::Leaves);
    let loss = loss(&lifted.module);
    let value = read_scalar::<B>(loss.clone().inner().into_primitive().tensor());
    (value, lifted.gradient(&mut Gradients::of(loss)))
}

/// The value of `f` and its derivative along `direction`, by one forward pass.
///
/// `f` may have an output of any shape: `(f(y), J v)` with `J = df/dy`.
pub fn jvp<B, M, F, const D: usize>(
    module: &M,
    direction: &Vector<B>,
    f: impl FnOnce(&F) -> Tensor<Dual<B>, D>,
) -> (Tensor<B, D>, Tensor<B, D>)
where
    B: Backend,
    M: AutodiffModule<Autodiff<B>>,
    F: AutodiffModule<Dual<B>, InnerModule = M::InnerModule>,
{
    let (template, point) = point(module);
    let lifted = lift_forward::<B, F>(&template, &point, Some(direction));
    let (value, tangent) = f(&lifted).into_primitive().tensor().into_parts();
    let value = Tensor::from_primitive(TensorPrimitive::Float(value));
    let tangent = match tangent {
        Some(tangent) => Tensor::from_primitive(TensorPrimitive::Float(tangent)),
        None => Tensor::zeros_like(&value),
    };
    (value, tangent)
}

/// The derivatives of `f` along several directions: `J v` for each.
///
/// One evaluation of `f` a direction: a tangent holds one direction, and nothing is shared between
/// them. For all directions of a small module see [`jacobian`]; for an output much smaller than the
/// number of directions, one [`vjp`] an output is cheaper.
pub fn jvps<B, M, F, const D: usize>(
    module: &M,
    directions: &[Vector<B>],
    f: impl Fn(&F) -> Tensor<Dual<B>, D>,
) -> Vec<Tensor<B, D>>
where
    B: Backend,
    M: AutodiffModule<Autodiff<B>>,
    F: AutodiffModule<Dual<B>, InnerModule = M::InnerModule>,
{
    directions.iter().map(|v| jvp::<B, M, F, D>(module, v, &f).1).collect()
}

/// The value of `f` and `J' u` for a cotangent `u`, by one backward pass.
///
/// `f` may have an output of any shape, and `u` has that shape: the result is the gradient of
/// `<u, f(y)>`, zeros where `f` depends on no variable.
///
/// # Panics
/// If `cotangent` has another shape than the output.
pub fn vjp<B, M, const D: usize>(
    module: &M,
    cotangent: Tensor<B, D>,
    f: impl FnOnce(&M) -> Tensor<Autodiff<B>, D>,
) -> (Tensor<B, D>, Vector<B>)
where
    B: Backend,
    M: AutodiffModule<Autodiff<B>>,
{
    let (template, point) = point(module);
    let lifted = lift_reverse::<B, M>(&template, &point, Track::Leaves);
    let output = f(&lifted.module);
    assert_eq!(output.shape(), cotangent.shape(), "a cotangent has the shape of the output");
    let value = output.clone().inner();
    let paired = (output * Tensor::from_inner(cotangent)).sum();
    (value, lifted.gradient(&mut Gradients::of(paired)))
}

/// The Jacobian of `f`, dense: `jacobian[i][j] = d f_i / d y_j`, outputs and variables in row-major
/// order, the variables as in [`Vector::to_vec`].
///
/// For small problems: one [`jvp`] a variable, `n` evaluations of `f` for `n` numbers in the module,
/// and the whole matrix on the host.
pub fn jacobian<B, M, F, const D: usize>(
    module: &M,
    f: impl Fn(&F) -> Tensor<Dual<B>, D>,
) -> Vec<Vec<f64>>
where
    B: Backend,
    M: AutodiffModule<Autodiff<B>>,
    F: AutodiffModule<Dual<B>, InnerModule = M::InnerModule>,
{
    let column = |v: Vector<B>| -> Vec<f64> {
        jvp::<B, M, F, D>(module, &v, &f).1.into_data().iter::<f64>().collect()
    };
    let columns: Vec<_> = units(module).map(column).collect();
    let outputs = columns.first().map_or(0, Vec::len);
    (0..outputs).map(|i| columns.iter().map(|column| column[i]).collect()).collect()
}

/// The Hessian of `loss`, dense: `hessian[i][j] = d^2 f / d y_i d y_j`, the variables in the order of
/// [`Vector::to_vec`].
///
/// For small problems: one [`hvp`] a variable, and the whole matrix on the host. It is not made
/// symmetric: how far it is from that shows the rounding.
pub fn hessian<B, M, L>(
    module: &M,
    loss: impl Fn(&L) -> Tensor<ReverseOverForward<B>, 1>,
) -> Vec<Vec<f64>>
where
    B: Backend,
    M: AutodiffModule<Autodiff<B>>,
    L: AutodiffModule<ReverseOverForward<B>, InnerModule = M>,
{
    units(module).map(|v| hvp::<B, M, L>(module, &v, &loss).to_vec()).collect()
}

/// The Hessian of `loss` in the variables of `module`, times `direction`.
///
/// Reverse over forward: one evaluation with tangents and one backward pass over the tangent of the
/// loss, `d/dy <grad f(y), v> = f_yy v`. Exact up to rounding.
pub fn hvp<B, M, L>(
    module: &M,
    direction: &Vector<B>,
    loss: impl FnOnce(&L) -> Tensor<ReverseOverForward<B>, 1>,
) -> Vector<B>
where
    B: Backend,
    M: AutodiffModule<Autodiff<B>>,
    L: AutodiffModule<ReverseOverForward<B>, InnerModule = M>,
{
    let (template, point) = point(module);
    let lifted =
        lift_reverse_over_forward::<B, M, L>(&template, &point, Some(direction), Track::Leaves);
    let mut grads = Gradients::of_tangent(loss(&lifted.module));
    lifted.gradient(&mut grads)
}

/// The second-order products of a loss `f(x, y)` along a direction `v` of `y`.
#[derive(Clone, Debug)]
pub struct SecondOrder<B: Backend> {
    /// `d/dx <f_y, v>`, in the variables of the first module.
    pub xy: Vector<B>,
    /// `f_yy v`, in the variables of the second module.
    pub yy: Vector<B>,
}

/// `f_yy v` and `d/dx <f_y, v>` of a loss in two modules, in one reverse-over-forward pass.
pub fn second_order<B, X, Y, LX, LY>(
    x: &X,
    y: &Y,
    direction: &Vector<B>,
    loss: impl FnOnce(&LX, &LY) -> Tensor<ReverseOverForward<B>, 1>,
) -> SecondOrder<B>
where
    B: Backend,
    X: AutodiffModule<Autodiff<B>>,
    Y: AutodiffModule<Autodiff<B>>,
    LX: AutodiffModule<ReverseOverForward<B>, InnerModule = X>,
    LY: AutodiffModule<ReverseOverForward<B>, InnerModule = Y>,
{
    let ((x, at_x), (y, at_y)) = (point(x), point(y));
    let x = lift_reverse_over_forward::<B, X, LX>(&x, &at_x, None, Track::Leaves);
    let y = lift_reverse_over_forward::<B, Y, LY>(&y, &at_y, Some(direction), Track::Leaves);
    let mut grads = Gradients::of_tangent(loss(&x.module, &y.module));
    SecondOrder { xy: x.gradient(&mut grads), yy: y.gradient(&mut grads) }
}

/// The gradient of `loss` and the Hessian times `direction`, in one forward-over-reverse pass.
///
/// Where both are wanted at one point this is cheaper than [`grad`] and [`hvp`] one after the other.
/// A loss that detaches a value should take those: `detach` does not stop the tangent here, Burn's
/// `Autodiff` never tells its inner backend.
pub fn grad_and_hvp<B, M, F, L>(
    module: &M,
    direction: &Vector<B>,
    loss: impl FnOnce(&L) -> Tensor<ForwardOverReverse<B>, 1>,
) -> (Vector<B>, Vector<B>)
where
    B: Backend,
    M: AutodiffModule<Autodiff<B>>,
    F: AutodiffModule<Dual<B>, InnerModule = M::InnerModule>,
    L: AutodiffModule<ForwardOverReverse<B>, InnerModule = F>,
{
    let (template, point) = point(module);
    let lifted =
        lift_forward_over_reverse::<B, F, L>(&template, &point, Some(direction), Track::Leaves);
    let mut grads = Gradients::of(loss(&lifted.module));
    lifted.gradient_and_tangent(&mut grads)
}

/// The module on the plain backend and the values of its variables.
fn point<B: Backend, M: AutodiffModule<Autodiff<B>>>(module: &M) -> (M::InnerModule, Vector<B>) {
    let layout = Layout::of(module);
    let template = module.valid();
    let point = Vector::from_module(&layout, &template);
    (template, point)
}

/// The unit vectors of the variables of `module`.
fn units<B, M>(module: &M) -> impl Iterator<Item = Vector<B>>
where
    B: Backend,
    M: AutodiffModule<Autodiff<B>>,
{
    let (_, point) = point::<B, M>(module);
    let (size, device) = (point.layout().size(), point.device());
    (0..size).map(move |j| {
        let mut values = vec![0.0; size];
        values[j] = 1.0;
        Vector::from_slice(point.layout(), &values, &device)
    })
}
