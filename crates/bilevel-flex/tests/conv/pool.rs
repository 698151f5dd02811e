//! Max pooling.

use burn::backend::ops::MaxPool2dWithIndices;
use burn::backend::{DType, Element, IntDType, TensorData, TensorMetadata};
use burn_flex::{Flex, FlexTensor};

use super::{Convolutions, FastFlex, Random, assert_same, views};

/// The windows of a pooling.
#[derive(Clone, Copy, Debug)]
struct Windows {
    kernel_size: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
    ceil_mode: bool,
}

fn windows(kernel_size: [usize; 2], stride: [usize; 2]) -> Windows {
    Windows { kernel_size, stride, padding: [0, 0], dilation: [1, 1], ceil_mode: false }
}

impl Windows {
    fn pool<B: Convolutions>(&self, x: &FlexTensor) -> FlexTensor {
        let Self { kernel_size, stride, padding, dilation, ceil_mode } = *self;
        B::max_pool2d(x.clone(), kernel_size, stride, padding, dilation, ceil_mode)
    }

    fn with_indices<B: Convolutions>(&self, x: &FlexTensor, of: IntDType) -> [FlexTensor; 2] {
        let Self { kernel_size, stride, padding, dilation, ceil_mode } = *self;
        let MaxPool2dWithIndices { output, indices } = B::max_pool2d_with_indices(
            x.clone(),
            kernel_size,
            stride,
            padding,
            dilation,
            ceil_mode,
            of,
        );
        [output, indices]
    }

    fn backward<B: Convolutions>(
        &self,
        x: &FlexTensor,
        dy: &FlexTensor,
        indices: &FlexTensor,
    ) -> FlexTensor {
        let Self { kernel_size, stride, padding, dilation, ceil_mode } = *self;
        B::max_pool2d_with_indices_backward(
            x.clone(),
            kernel_size,
            stride,
            padding,
            dilation,
            ceil_mode,
            dy.clone(),
            indices.clone(),
        )
        .x_grad
    }
}

#[track_caller]
fn check_pool(x: &FlexTensor, windows: &Windows, dy: impl FnOnce([usize; 4]) -> FlexTensor) {
    let what = format!("x {:?}, {windows:?}", x.shape());
    let dy = dy(windows.pool::<Flex>(x).shape().dims());
    for of in [IntDType::I64, IntDType::I32, IntDType::I16] {
        let [output, indices] = windows.with_indices::<FastFlex>(x, of);
        let [their_output, their_indices] = windows.with_indices::<Flex>(x, of);
        assert_same(&windows.pool::<FastFlex>(x), &output, &what);
        assert_same(&output, &their_output, &what);
        assert_same(&indices, &their_indices, &what);
        let ours = windows.backward::<FastFlex>(x, &dy, &indices);
        assert_same(&ours, &windows.backward::<Flex>(x, &dy, &indices), &what);
    }
}

fn check_pools<E: Element>() {
    let mut numbers = Random(8);
    for i in 0..600 {
        let windows = Windows {
            kernel_size: numbers.pair(1..=4),
            stride: numbers.pair(1..=3),
            padding: numbers.pair(0..=2),
            dilation: numbers.pair(1..=2),
            ceil_mode: i % 2 == 0,
        };
        let reach = [0, 1].map(|axis| windows.dilation[axis] * (windows.kernel_size[axis] - 1) + 1);
        let [height, width] = numbers.pair(0..=20);
        let x = [numbers.within(1..=4), numbers.within(1..=5), reach[0] + height, reach[1] + width];
        let x = if i % 3 == 0 { numbers.tensor::<E, 4>(x) } else { numbers.ties::<E>(x) };
        check_pool(&x, &windows, |shape| numbers.tensor::<E, 4>(shape));
    }
}

#[test]
fn pools_are_those_of_flex_in_f64() {
    check_pools::<f64>();
}

#[test]
fn pools_are_those_of_flex_in_f32() {
    check_pools::<f32>();
}

#[test]
#[should_panic(expected = "pool: kernel size must be > 0")]
fn a_window_without_a_number_is_refused() {
    windows([2, 0], [1, 1]).pool::<FastFlex>(&Random(12).tensor::<f32, 4>([1, 1, 4, 4]));
}

#[test]
#[should_panic(expected = "pool: stride must be > 0")]
fn windows_without_a_step_are_refused() {
    windows([2, 2], [1, 0]).pool::<FastFlex>(&Random(13).tensor::<f32, 4>([1, 1, 4, 4]));
}

#[test]
fn pools_of_what_is_no_number_are_those_of_flex() {
    let mut numbers = Random(9);
    let odd = [f64::NAN, f64::NEG_INFINITY, f64::INFINITY, 0.0, -0.0];
    let shape = [2, 2, 9, 8];
    let values: Vec<f64> = (0..288).map(|_| odd[numbers.within(0..=4)]).collect();
    let x = FlexTensor::from_data(TensorData::new(values, shape));
    for windows in [windows([2, 2], [2, 2]), Windows { padding: [1, 1], ..windows([3, 2], [1, 2]) }]
    {
        let of = IntDType::I32;
        let [ours, theirs] =
            [windows.with_indices::<FastFlex>(&x, of), windows.with_indices::<Flex>(&x, of)];
        assert_same(&ours[1], &theirs[1], "indices");
        let bits = |tensor: &FlexTensor| {
            tensor.storage::<f64>().iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        };
        assert_eq!(bits(&ours[0]), bits(&theirs[0]));
    }
}

#[test]
fn tensors_may_lie_in_any_order() {
    let windows = Windows { padding: [1, 0], ..windows([2, 3], [2, 1]) };
    for x in views(&mut Random(5), [2, 3, 7, 6]) {
        check_pool(&x, &windows, |shape| views(&mut Random(6), shape)[1].clone());
    }
}

/// Other element types, empty tensors.
#[test]
fn what_has_no_kernel_is_computed_by_flex() {
    let mut numbers = Random(7);
    for (images, dtype) in [(2, DType::F16), (2, DType::BF16), (0, DType::F16)] {
        let mut tensor = |shape| {
            let data = numbers.tensor::<f32, 4>(shape).into_data();
            FlexTensor::from_data(data.convert_dtype(dtype))
        };
        let x = tensor([images, 4, 5, 6]);
        check_pool(&x, &windows([2, 2], [2, 2]), tensor);
    }
}
