//! Powers at zero, where `0 * infinity` waits in the textbook rule.

use bilevel_autodiff::{Dual, DualTensor};
use burn::tensor::ops::{FloatTensor, FloatTensorOps};
use burn::tensor::{Tensor, TensorData};
use burn_flex::Flex;

fn tensor(values: &[f32]) -> FloatTensor<Flex> {
    let data = TensorData::new(values.to_vec(), [values.len()]);
    Tensor::<Flex, 1>::from_data(data, &Default::default()).into_primitive().tensor()
}

fn tangent(y: DualTensor<Flex>) -> Vec<f32> {
    let tangent = y.tangent().cloned().expect("an operand moves");
    let tangent = burn::tensor::TensorPrimitive::Float(tangent);
    Tensor::<Flex, 1>::from_primitive(tangent).into_data().to_vec().unwrap()
}

#[test]
fn a_moving_base_at_zero() {
    let x = DualTensor::new(tensor(&[0.0, 0.0, 0.0, 3.0]), tensor(&[1.0; 4]));
    let y = DualTensor::constant(tensor(&[0.0, 1.0, 2.0, 2.0]));
    assert_eq!(tangent(Dual::<Flex>::float_powf(x, y)), [0.0, 1.0, 0.0, 6.0]);
}

#[test]
fn a_moving_exponent_at_base_zero() {
    let x = DualTensor::constant(tensor(&[0.0, 1.0]));
    let y = DualTensor::new(tensor(&[2.0, 2.0]), tensor(&[1.0; 2]));
    assert_eq!(tangent(Dual::<Flex>::float_powf(x, y)), [0.0, 0.0]);
}
