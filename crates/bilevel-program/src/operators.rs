//! Derivatives in the variables of a module: `grad`, `jvp`, `hvp` and related operators.
//!
//! Each takes a module and a function of it, records the function once, differentiates the program and runs it.

use burn::backend::DispatchTensor;
use burn::module::Module;
use burn::tensor::{Tensor, TensorData};

use crate::function::{Again, Function};
use crate::optimise::merged;
use crate::{Direction, Recorded, TraceError, Vector, Wrt};

/// The gradient of a loss in the variables of `module`: `f_y`.
///
/// A parameter is a module too, so that this serves plain tensors:
///
/// ```
/// use bilevel_program::grad;
/// use burn::module::Param;
/// use burn::tensor::{Device, Tensor};
///
/// let y = Param::from_tensor(Tensor::<1>::from_floats([1.0, 2.0], &Device::flex()));
/// let gradient = grad(&y, |y| y.val().powi_scalar(3).sum())?;
/// assert_eq!(gradient.to_vec(), [3.0, 12.0]);
/// # Ok::<_, bilevel_program::TraceError>(())
/// ```
///
/// # Errors
/// If the loss cannot be recorded or differentiated, or the module has no variables: see [`TraceError`].
pub fn grad<M: Module>(module: &M, loss: impl Fn(&M) -> Tensor<1>) -> Result<Vector, TraceError> {
    Ok(value_and_grad(module, loss)?.1)
}

/// A loss and its gradient in the variables of `module`: `f` and `f_y`.
///
/// # Errors
/// If the loss cannot be recorded or differentiated, or the module has no variables: see [`TraceError`].
pub fn value_and_grad<M: Module>(
    module: &M,
    loss: impl Fn(&M) -> Tensor<1>,
) -> Result<(f64, Vector), TraceError> {
    let function = Function::loss(module, &loss, Again::InDebug)?;
    Ok(function.number_and_vector(function.run(&function.gradient()?, &[])?))
}

/// The value of `f` and its derivative along `direction`: `f` and `J v` with `J = df/dy`.
///
/// `f` may have an output of any shape; both results have it.
///
/// # Errors
/// If `f` cannot be recorded or differentiated, or the module has no variables: see [`TraceError`].
///
/// # Panics
/// If the direction is of another module.
pub fn jvp<M: Module, const D: usize>(
    module: &M,
    direction: &Vector,
    f: impl Fn(&M) -> Tensor<D>,
) -> Result<(Tensor<D>, Tensor<D>), TraceError> {
    let function = of_any_shape(module, &f)?;
    let outputs = function.run(&function.forward(&function.program.only(&[0]))?, &[direction])?;
    let [value, tangent] = outputs.try_into().expect("a value and its tangent");
    Ok((Tensor::from_dispatch(value), Tensor::from_dispatch(tangent)))
}

/// The derivatives of `f` along several directions: `J v` for each.
///
/// `f` is recorded once and the program is run once per direction. For all directions of a small module see
/// [`jacobian`]; for an output much smaller than the number of directions, one [`vjp`] per output is cheaper.
///
/// # Errors
/// If `f` cannot be recorded or differentiated, or the module has no variables: see [`TraceError`].
///
/// # Panics
/// If a direction is of another module.
pub fn jvps<M: Module, const D: usize>(
    module: &M,
    directions: &[Vector],
    f: impl Fn(&M) -> Tensor<D>,
) -> Result<Vec<Tensor<D>>, TraceError> {
    let function = of_any_shape(module, &f)?;
    let program = function.forward(&function.program.only(&[0]))?.only(&[1]);
    let tangent = |v| Ok(Tensor::from_dispatch(function.run(&program, &[v])?.remove(0)));
    directions.iter().map(tangent).collect()
}

/// The value of `f` and the gradient of `<u, f(y)>` for a cotangent `u`: `f` and `J' u`.
///
/// `f` may have an output of any shape, and `u` has that shape and its element type.
///
/// # Errors
/// If `f` cannot be recorded or differentiated, or the module has no variables: see [`TraceError`].
///
/// # Panics
/// If `cotangent` has another shape than the output.
pub fn vjp<M: Module, const D: usize>(
    module: &M,
    cotangent: Tensor<D>,
    f: impl Fn(&M) -> Tensor<D>,
) -> Result<(Tensor<D>, Vector), TraceError> {
    let shape = cotangent.shape();
    let paired = |module: &M, u: &Tensor<D>| {
        let output = f(module);
        // A different shape is refused below.
        let fits = output.shape() == u.shape();
        let sum = if fits { (output.clone() * u.clone()).sum() } else { output.clone().sum() };
        Ok(vec![output.into_dispatch(), sum.into_dispatch()])
    };
    let function = Function::of(module, &cotangent.without_autodiff(), &paired, Again::InDebug)?;
    assert_eq!(function.program.outputs[0].shape, shape, "a cotangent has the shape of the output");
    let mut kept = vec![0];
    kept.extend(function.after(2));
    let program = function.reverse(&function.program, 1)?.only(&kept);
    let mut outputs = function.run(&program, &[])?;
    let leaves = outputs.split_off(1);
    Ok((Tensor::from_dispatch(outputs.remove(0)), function.vector(leaves)))
}

/// The Jacobian of `f`, dense: `jacobian[i][j] = d f_i / d y_j`, outputs and variables in row-major order, the variables
/// as in [`Vector::to_vec`].
///
/// For small problems: one product `J v` per number in the module, and the whole matrix on the host.
///
/// # Errors
/// If `f` cannot be recorded or differentiated, or the module has no variables: see [`TraceError`].
pub fn jacobian<M: Module, const D: usize>(
    module: &M,
    f: impl Fn(&M) -> Tensor<D>,
) -> Result<Vec<Vec<f64>>, TraceError> {
    let function = of_any_shape(module, &f)?;
    let program = function.forward(&function.program.only(&[0]))?.only(&[1]);
    let column = |v: Vector| Ok(numbers(function.run(&program, &[&v])?.remove(0)));
    let columns = units(&function.point).map(column).collect::<Result<Vec<_>, TraceError>>()?;
    let outputs = columns[0].len();
    Ok((0..outputs).map(|i| columns.iter().map(|column| column[i]).collect()).collect())
}

/// The Hessian of a loss times `direction`: `f_yy v`, exact up to rounding and without the Hessian.
///
/// Reverse over forward: the gradient of the derivative along `v`, `d/dy <f_y, v>`. Each call records the loss; in a
/// loop use a [`Recorded`], which records once and whose [`Recorded::linearize`] shares among the products at one point
/// what depends only on the point.
///
/// # Errors
/// If the loss cannot be recorded or differentiated twice, or the module has no variables: see [`TraceError`].
///
/// # Panics
/// If the direction is of another module.
pub fn hvp<M: Module>(
    module: &M,
    direction: &Vector,
    loss: impl Fn(&M) -> Tensor<1>,
) -> Result<Vector, TraceError> {
    let function = Function::loss(module, &loss, Again::InDebug)?;
    let program = function.product()?.only(&function.after(1));
    Ok(function.vector(function.run(&program, &[direction])?))
}

/// The gradient of a loss and its Hessian times `direction`: `f_y` and `f_yy v`.
///
/// One program, in which shared subexpressions are computed once: cheaper than [`grad`] and [`hvp`] one after the
/// other.
///
/// # Errors
/// If the loss cannot be recorded or differentiated twice, or the module has no variables: see [`TraceError`].
///
/// # Panics
/// If the direction is of another module.
pub fn grad_and_hvp<M: Module>(
    module: &M,
    direction: &Vector,
    loss: impl Fn(&M) -> Tensor<1>,
) -> Result<(Vector, Vector), TraceError> {
    let function = Function::loss(module, &loss, Again::InDebug)?;
    let own = function.after(1);
    let program = merged(&function.gradient()?.only(&own), &function.product()?.only(&own));
    let mut gradient = function.run(&program, &[direction])?;
    let product = gradient.split_off(own.len());
    Ok((function.vector(gradient), function.vector(product)))
}

/// The second-order products of a loss `f(x, y)` along a direction `v` of `y`.
#[derive(Clone, Debug)]
pub struct SecondOrder {
    /// `d/dx <f_y, v>`, in the variables of the first module.
    pub xy: Vector,
    /// `f_yy v`, in the variables of the second module.
    pub yy: Vector,
}

/// The Hessian products of a loss in two modules, `d/dx <f_y, v>` and `f_yy v`, in one program.
///
/// # Errors
/// If the loss cannot be recorded or differentiated twice, or neither module has variables: see [`TraceError`].
///
/// # Panics
/// If the direction is of another module than `y`.
pub fn second_order<X: Module, Y: Module>(
    x: &X,
    y: &Y,
    direction: &Vector,
    loss: impl Fn(&X, &Y) -> Tensor<1>,
) -> Result<SecondOrder, TraceError> {
    let recorded = Recorded::new(x, y)?;
    let at_x = Vector::from_module(recorded.upper_layout(), x);
    let at_y = Vector::from_module(recorded.lower_layout(), y);
    at_y.check_same(direction);
    let loss = |x: &X, y: &Y, (): &()| loss(x, y);
    let products =
        recorded.product(&at_x, &at_y, &(), Direction::in_y(direction), Wrt::Both, &loss)?;
    let (xy, yy) = products.into_both();
    Ok(SecondOrder { xy, yy })
}

/// The Hessian of a loss, dense: `hessian[i][j] = d^2 f / d y_i d y_j`, the variables in the order of
/// [`Vector::to_vec`].
///
/// For small problems: one product per number in the module, and the whole matrix on the host. It is not symmetrised:
/// its asymmetry shows the rounding.
///
/// # Errors
/// If the loss cannot be recorded or differentiated twice, or the module has no variables: see [`TraceError`].
pub fn hessian<M: Module>(
    module: &M,
    loss: impl Fn(&M) -> Tensor<1>,
) -> Result<Vec<Vec<f64>>, TraceError> {
    let function = Function::loss(module, &loss, Again::InDebug)?;
    let product = function.product()?.only(&function.after(1));
    let known = function.program.inputs.len();
    let parts = product.split(|input| input >= known, 0);
    let at_point = function.run(&parts.early, &[])?;
    let row = |v: Vector| {
        let inputs: Vec<_> = at_point.iter().chain(v.leaves()).collect();
        Ok(function.vector(parts.late.run(&inputs)?).to_vec())
    };
    units(&function.point).map(row).collect()
}

/// The third derivative of a loss along two directions: the gradient of `<u, f_yy v>`.
///
/// Forward mode twice, along `v` and along `u`, then reverse mode.
///
/// # Errors
/// If the loss cannot be recorded or differentiated three times, or the module has no variables: see [`TraceError`].
///
/// # Panics
/// If a direction is of another module.
pub fn third_order<M: Module>(
    module: &M,
    u: &Vector,
    v: &Vector,
    loss: impl Fn(&M) -> Tensor<1>,
) -> Result<Vector, TraceError> {
    let function = Function::loss(module, &loss, Again::InDebug)?;
    let curvature = function.forward(&function.slope()?)?.only(&[1]);
    let program = function.reverse(&curvature, 0)?.only(&function.after(1));
    Ok(function.vector(function.run(&program, &[v, u])?))
}

/// `f`, and a weighted sum of it in which no entries cancel.
fn of_any_shape<M: Module, const D: usize>(
    module: &M,
    f: &dyn Fn(&M) -> Tensor<D>,
) -> Result<Function, TraceError> {
    let outputs = |module: &M, (): &()| {
        let output = f(module);
        let shape = output.shape();
        let weights: Vec<f64> =
            (0..shape.num_elements()).map(|i| (1.7 * i as f64 + 0.3).sin()).collect();
        let weights =
            Tensor::from_data(TensorData::new(weights, shape), (&output.device(), output.dtype()));
        let sum = (output.clone() * weights).sum();
        Ok(vec![output.into_dispatch(), sum.into_dispatch()])
    };
    Function::of(module, &(), &outputs, Again::InDebug)
}

/// The unit vectors of the space of `point`.
fn units(point: &Vector) -> impl Iterator<Item = Vector> {
    let (size, device) = (point.layout().size(), point.device());
    (0..size).map(move |j| {
        let mut values = vec![0.0; size];
        values[j] = 1.0;
        Vector::from_slice(point.layout(), &values, &device)
    })
}

fn numbers(tensor: DispatchTensor) -> Vec<f64> {
    crate::float::read(tensor).iter::<f64>().collect()
}
