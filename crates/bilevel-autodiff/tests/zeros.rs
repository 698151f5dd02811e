//! Powers, roots and products at zero, where the textbook rule gives `0 * infinity` or `0 / 0`.

use bilevel_autodiff::{Dual, DualTensor};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Slice, TensorData, read_sync};
use burn_flex::Flex;

fn tensor(values: &[f32]) -> FloatTensor<Flex> {
    let data = TensorData::new(values.to_vec(), [values.len()]);
    Flex::float_from_data(data, &Default::default())
}

fn tangent(y: DualTensor<Flex>) -> Vec<f32> {
    values(y.into_parts().1.expect("an operand moves"))
}

fn values(x: FloatTensor<Flex>) -> Vec<f32> {
    read_sync(Flex::float_into_data(x)).expect("on the host").try_to_vec().unwrap()
}

#[test]
fn a_moving_base_at_zero() {
    let x = DualTensor::new(tensor(&[0.0, 0.0, 0.0, 3.0]), tensor(&[1.0; 4]));
    let y = DualTensor::constant(tensor(&[0.0, 1.0, 2.0, 2.0]));
    assert_eq!(tangent(Dual::<Flex>::float_powf(x, y)), [0.0, 1.0, 0.0, 6.0]);
}

#[test]
fn a_hypotenuse_at_zero() {
    let x = DualTensor::new(tensor(&[0.0, 3.0]), tensor(&[1.0; 2]));
    let y = DualTensor::new(tensor(&[0.0, 4.0]), tensor(&[1.0; 2]));
    assert_eq!(tangent(Dual::<Flex>::float_hypot(x, y)), [0.0, 0.6 + 0.8]);
}

#[test]
fn a_moving_exponent_at_base_zero() {
    let x = DualTensor::constant(tensor(&[0.0, 1.0]));
    let y = DualTensor::new(tensor(&[2.0, 2.0]), tensor(&[1.0; 2]));
    assert_eq!(tangent(Dual::<Flex>::float_powf(x, y)), [0.0, 0.0]);
}

/// `<grad x0 x1, dx>` has the gradient `(dx1, dx0)`, which `Autodiff<Dual<B>>` misses at a zero: Burn's
/// backward pass of a product treats zeros as special cases.
#[test]
fn the_second_derivative_of_a_product_at_zero() {
    type Single = Autodiff<Flex>;
    let products: [fn(DualTensor<Single>) -> DualTensor<Single>; 3] = [
        Dual::<Single>::float_prod,
        |x| Dual::<Single>::float_prod_dim(x, 0),
        |x| Dual::<Single>::float_slice(Dual::<Single>::float_cumprod(x, 0), &[Slice::from(1..2)]),
    ];
    for product in products {
        let x = Single::float_set_require_grad(Single::from_inner(tensor(&[0.0, 2.0])), true);
        let dx = Single::from_inner(tensor(&[1.0, 10.0]));
        let tangent = product(DualTensor::new(x.clone(), dx)).into_parts().1.expect("x moves");
        let gradient = Single::grad(&x, &Single::backward(tangent)).expect("it depends on x");
        assert_eq!(values(gradient), [10.0, 1.0]);
    }
}
