//! Powers with an exponent that is differentiated.

use burn::backend::Capture;
use burn::backend::ir::{FloatOperationIr, HandleKind, OperationIr};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{AutodiffBackend, TensorMetadata, get_or_init_device_settings};
use burn_autodiff::Autodiff;

use crate::execute::Slots;
use crate::program::number;

type Reverse = Autodiff<Capture>;

/// Computes `x^y` for reverse mode in y, if the operation is that, as
///
/// ```text
/// x^c + x^c log(x) (y - c),   c = y as a constant
/// ```
///
/// with 1 in place of x in the logarithm where x is 0, and in the power where y is 0. Burn's backward pass has 0 times
/// infinity there, which is NaN, where the derivatives are 0. The tangent has the same rule.
pub(crate) fn power(
    operation: &OperationIr,
    slots: &mut Slots<Reverse>,
    is_moving: impl Fn(usize) -> bool,
) -> bool {
    let OperationIr::Float(_, FloatOperationIr::Powf(power)) = operation else { return false };
    if !is_moving(number(&power.rhs)) {
        return false;
    }
    let (Some(HandleKind::Float(x)), Some(HandleKind::Float(y))) =
        (slots.get(number(&power.lhs)), slots.get(number(&power.rhs)))
    else {
        return false;
    };
    let spread = |tensor: FloatTensor<Reverse>| match tensor.shape() == power.out.shape {
        true => tensor,
        false => Reverse::float_expand(tensor, power.out.shape.clone()),
    };
    let still = |tensor: &FloatTensor<Reverse>| Reverse::from_inner(Reverse::inner(tensor.clone()));
    let (x, y) = (spread(x), spread(y));
    let bools = get_or_init_device_settings::<Reverse>(&TensorMetadata::device(&x)).bool_dtype;
    let one_where_zero = |tensor: FloatTensor<Reverse>, test: FloatTensor<Reverse>| {
        let zero = Reverse::float_equal_elem(test, 0.0.into(), bools);
        Reverse::float_mask_fill(tensor, zero, 1.0.into())
    };
    let value = Reverse::float_powf(one_where_zero(x.clone(), y.clone()), still(&y));
    let log = Reverse::float_log(one_where_zero(still(&x), x));
    let slope = Reverse::float_mul(still(&value), log);
    let moved = Reverse::float_mul(slope, Reverse::float_sub(y.clone(), still(&y)));
    slots.set(number(&power.out), HandleKind::Float(Reverse::float_add(value, moved)));
    true
}
