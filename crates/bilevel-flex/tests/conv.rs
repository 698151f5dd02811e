//! Convolutions and max pooling against those of Flex, against their adjoints, and against themselves on
//! other threads.

use bilevel_flex::{conv, pool};
use burn::tensor::ops::{ConvOptions, ModuleOps};
use burn::tensor::{DType, Element, TensorData, TensorMetadata};
use burn_flex::{Flex, FlexTensor};
use pool::Windows;

/// Numbers that look random, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    fn within(&mut self, range: std::ops::RangeInclusive<usize>) -> usize {
        range.start() + self.next() as usize % (range.end() - range.start() + 1)
    }

    fn pair(&mut self, range: std::ops::RangeInclusive<usize>) -> [usize; 2] {
        [self.within(range.clone()), self.within(range)]
    }

    /// Numbers in (-1, 1).
    fn tensor<E: Element, const D: usize>(&mut self, shape: [usize; D]) -> FlexTensor {
        self.tensor_of::<E, D>(shape, |number| number as f64 / (1u64 << 30) as f64 - 1.0)
    }

    /// Small integers: many are equal.
    fn ties<E: Element>(&mut self, shape: [usize; 4]) -> FlexTensor {
        self.tensor_of::<E, 4>(shape, |number| (number % 3) as f64 - 1.0)
    }

    fn tensor_of<E: Element, const D: usize>(
        &mut self,
        shape: [usize; D],
        number: impl Fn(u64) -> f64,
    ) -> FlexTensor {
        let numbers: Vec<f64> = (0..shape.iter().product()).map(|_| number(self.next())).collect();
        FlexTensor::from_data(TensorData::new(numbers, shape).convert::<E>())
    }
}

fn values(tensor: &FlexTensor) -> Vec<f64> {
    tensor.clone().into_data().iter::<f64>().collect()
}

#[track_caller]
fn assert_near(ours: Option<FlexTensor>, theirs: FlexTensor, what: &str) {
    let ours = ours.expect(what);
    assert_eq!((ours.shape(), ours.dtype()), (theirs.shape(), theirs.dtype()), "{what}");
    let tolerance = if ours.dtype() == DType::F32 { 1e-5 } else { 1e-12 };
    let (ours, theirs) = (values(&ours), values(&theirs));
    let scale = theirs.iter().fold(1.0, |scale: f64, number| scale.max(number.abs()));
    for (i, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert!((ours - theirs).abs() <= tolerance * scale, "{what}: {ours}, not {theirs}, at {i}");
    }
}

#[track_caller]
fn assert_same(ours: &FlexTensor, theirs: &FlexTensor, what: &str) {
    assert_eq!(ours.clone().into_data(), theirs.clone().into_data(), "{what}");
}

fn dot(a: &FlexTensor, b: &FlexTensor) -> f64 {
    values(a).iter().zip(values(b)).map(|(a, b)| a * b).sum()
}

/// A convolution, its data and the gradient by its y.
struct Case {
    x: FlexTensor,
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    dy: FlexTensor,
    options: ConvOptions<2>,
}

impl Case {
    fn new<E: Element>(
        numbers: &mut Numbers,
        [images, inputs, outputs]: [usize; 3],
        size: [usize; 2],
        kernel: [usize; 2],
        options: ConvOptions<2>,
    ) -> Self {
        let x = numbers.tensor::<E, 4>([images, inputs, size[0], size[1]]);
        let weight = numbers.tensor::<E, 4>([outputs, inputs, kernel[0], kernel[1]]);
        let bias = (numbers.within(0..=1) == 1).then(|| numbers.tensor::<E, 1>([outputs]));
        let y = [0, 1].map(|axis| {
            let reach = options.dilation[axis] * (kernel[axis] - 1) + 1;
            (size[axis] + 2 * options.padding[axis] - reach) / options.stride[axis] + 1
        });
        let dy = numbers.tensor::<E, 4>([images, outputs, y[0], y[1]]);
        Self { x, weight, bias, dy, options }
    }

    /// Sizes of every kind; each third with so many channels that rows of the kernel are products.
    fn any<E: Element>(numbers: &mut Numbers, i: usize) -> Self {
        let (kernel, dilation) = (numbers.pair(1..=5), numbers.pair(1..=2));
        let options = ConvOptions::new(numbers.pair(1..=3), numbers.pair(0..=2), dilation, 1);
        let reach = [0, 1].map(|axis| dilation[axis] * (kernel[axis] - 1) + 1);
        let size = numbers.pair(0..=8);
        let size = [0, 1]
            .map(|axis| size[axis] + reach[axis].saturating_sub(2 * options.padding[axis]).max(1));
        let channels = if i.is_multiple_of(3) { 32..=40 } else { 1..=7 };
        let channels =
            [numbers.within(1..=5), numbers.within(channels.clone()), numbers.within(channels)];
        Self::new::<E>(numbers, channels, size, kernel, options)
    }

    fn y(&self) -> Option<FlexTensor> {
        conv::conv2d(&self.x, &self.weight, self.bias.as_ref(), &self.options)
    }

    fn dx(&self) -> Option<FlexTensor> {
        conv::conv2d_x_backward(&self.x, &self.weight, &self.dy, &self.options)
    }

    fn dw(&self) -> Option<FlexTensor> {
        conv::conv2d_weight_backward(&self.x, &self.weight, &self.dy, &self.options)
    }

    fn db(&self) -> Option<FlexTensor> {
        conv::conv2d_bias_backward(&self.dy)
    }

    fn all(&self) -> [FlexTensor; 4] {
        [self.y(), self.dx(), self.dw(), self.db()].map(|result| result.expect("handled"))
    }

    /// `[outputs, inputs, ...]` and the options, for messages.
    fn name(&self) -> String {
        format!("x {:?}, weight {:?}, {:?}", self.x.shape(), self.weight.shape(), self.options)
    }

    #[track_caller]
    fn check(&self) {
        let Self { x, weight, bias, dy, options } = self;
        let (name, x, weight, dy) = (self.name(), || x.clone(), || weight.clone(), || dy.clone());
        let options = || options.clone();
        assert_near(self.y(), Flex::conv2d(x(), weight(), bias.clone(), options()), &name);
        assert_near(self.dx(), Flex::conv2d_x_backward(x(), weight(), dy(), options()), &name);
        assert_near(self.dw(), Flex::conv2d_weight_backward(x(), weight(), dy(), options()), &name);
        let zero = FlexTensor::zeros([dy().shape()[1]].into(), dy().dtype());
        assert_near(self.db(), Flex::conv2d_bias_backward(x(), zero, dy()), &name);
    }
}

fn check_convolutions<E: Element>(count: usize) {
    let mut numbers = Numbers(1);
    for i in 0..count {
        Case::any::<E>(&mut numbers, i).check();
    }
}

#[test]
fn convolutions_are_those_of_flex_in_f64() {
    check_convolutions::<f64>(600);
}

#[test]
fn convolutions_are_those_of_flex_in_f32() {
    check_convolutions::<f32>(600);
}

/// Images that are dealt in several blocks, the last one not full, and places in several runs.
#[test]
fn many_images_and_large_ones_are_those_of_flex() {
    let mut numbers = Numbers(2);
    let options = |stride| ConvOptions::new([stride, stride], [1, 1], [1, 1], 1);
    for (channels, size, stride) in [
        ([37, 33, 64], [3, 3], 1),
        ([18, 64, 48], [7, 7], 1),
        ([3, 40, 33], [30, 29], 1),
        ([3, 40, 33], [60, 59], 2),
        ([1, 40, 33], [60, 59], 1),
        ([37, 3, 5], [9, 8], 2),
    ] {
        Case::new::<f64>(&mut numbers, channels, size, [3, 3], options(stride)).check();
    }
}

#[test]
fn pointwise_convolutions_are_those_of_flex() {
    let mut numbers = Numbers(3);
    for (stride, padding) in [(1, 0), (2, 0), (1, 1), (2, 2)] {
        for channels in [[2, 3, 4], [3, 40, 35]] {
            let options = ConvOptions::new([stride, stride], [padding, padding], [1, 1], 1);
            Case::new::<f64>(&mut numbers, channels, [6, 5], [1, 1], options).check();
        }
    }
}

#[test]
fn the_gradients_are_adjoints() {
    let mut numbers = Numbers(4);
    for i in 0..300 {
        let case = Case { bias: None, ..Case::any::<f64>(&mut numbers, i) };
        let [y, dx, dw, db] = case.all();
        let product = dot(&y, &case.dy);
        let scale =
            values(&y).iter().zip(values(&case.dy)).map(|(a, b)| (a * b).abs()).sum::<f64>();
        for (adjoint, what) in [(dot(&case.x, &dx), "x"), (dot(&case.weight, &dw), "weight")] {
            assert!((product - adjoint).abs() <= 1e-12 * scale.max(1.0), "{what}: {}", case.name());
        }
        let ones = FlexTensor::filled_typed(db.shape(), DType::F64, 1.0f64);
        let sum = values(&case.dy).iter().sum::<f64>();
        assert!((dot(&ones, &db) - sum).abs() <= 1e-12 * scale.max(1.0), "bias: {}", case.name());
    }
}

/// The same numbers in other orders, with gaps, and behind others.
fn views(numbers: &mut Numbers, [a, b, c, d]: [usize; 4]) -> [FlexTensor; 4] {
    let mut tensor = |shape| numbers.tensor::<f64, 4>(shape);
    [
        tensor([b, a, c, d]).transpose(0, 1),
        tensor([d, c, b, a]).permute(&[3, 2, 1, 0]),
        tensor([a + 2, b, c, d]).narrow(0, 1, a),
        tensor([a, b, c + 3, d]).narrow(2, 2, c),
    ]
}

#[test]
fn tensors_may_lie_in_any_order() {
    let mut numbers = Numbers(5);
    let options = ConvOptions::new([1, 2], [1, 0], [1, 1], 1);
    for inputs in [3, 40] {
        let x = views(&mut numbers, [2, inputs, 7, 6]);
        let weight = views(&mut numbers, [5, inputs, 3, 2]);
        let dy = views(&mut numbers, [2, 5, 7, 3]);
        for ((x, weight), dy) in x.into_iter().zip(weight).zip(dy) {
            Case { x, weight, bias: None, dy, options: options.clone() }.check();
        }
    }
    let windows = Windows { padding: [1, 0], ..windows([2, 3], [2, 1]) };
    for x in views(&mut numbers, [2, 3, 7, 6]) {
        check_pool(&x, &windows, |shape| views(&mut Numbers(6), shape)[1].clone());
    }
}

#[test]
fn what_is_not_handled_is_said_so() {
    let mut numbers = Numbers(7);
    let options = |groups| ConvOptions::new([1, 1], [0, 0], [1, 1], groups);
    let x = numbers.tensor::<f32, 4>([1, 4, 3, 3]);
    let weight = numbers.tensor::<f32, 4>([2, 2, 3, 3]);
    assert!(conv::conv2d(&x, &weight, None, &options(2)).is_none());
    let weight = numbers.tensor::<f64, 4>([2, 4, 3, 3]);
    assert!(conv::conv2d(&x, &weight, None, &options(1)).is_none());
    let (weight, dy) =
        (numbers.tensor::<f32, 4>([2, 4, 3, 3]), numbers.tensor::<f64, 4>([1, 2, 1, 1]));
    assert!(conv::conv2d_x_backward(&x, &weight, &dy, &options(1)).is_none());
    let large = numbers.tensor::<f32, 4>([2, 4, 4, 3]);
    assert!(conv::conv2d(&x, &large, None, &options(1)).is_none());
    let whole = FlexTensor::zeros([1, 1, 4, 4].into(), DType::I64);
    assert!(pool::max_pool2d_with_indices(&whole, &windows([2, 2], [2, 2])).is_none());
}

fn windows(kernel_size: [usize; 2], stride: [usize; 2]) -> Windows {
    Windows { kernel_size, stride, padding: [0, 0], dilation: [1, 1], ceil_mode: false }
}

#[track_caller]
fn check_pool(x: &FlexTensor, windows: &Windows, dy: impl FnOnce([usize; 4]) -> FlexTensor) {
    let Windows { kernel_size, stride, padding, dilation, ceil_mode } = *windows;
    let what = format!("x {:?}, {windows:?}", x.shape());
    let theirs =
        Flex::max_pool2d_with_indices(x.clone(), kernel_size, stride, padding, dilation, ceil_mode);
    let (output, indices) = pool::max_pool2d_with_indices(x, windows).expect(&what);
    assert_same(&pool::max_pool2d(x, windows).expect(&what), &output, &what);
    assert_same(&output, &theirs.output, &what);
    assert_same(&indices, &theirs.indices, &what);
    let dy = dy(output.shape().dims());
    let ours = pool::max_pool2d_backward(x, &dy, &indices).expect(&what);
    let theirs = Flex::max_pool2d_with_indices_backward(
        x.clone(),
        kernel_size,
        stride,
        padding,
        dilation,
        ceil_mode,
        dy,
        indices,
    );
    assert_same(&ours, &theirs.x_grad, &what);
}

fn check_pools<E: Element>() {
    let mut numbers = Numbers(8);
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
fn pools_of_what_is_no_number_are_those_of_flex() {
    let mut numbers = Numbers(9);
    let odd = [f64::NAN, f64::NEG_INFINITY, f64::INFINITY, 0.0, -0.0];
    let shape = [2, 2, 9, 8];
    let values: Vec<f64> = (0..288).map(|_| odd[numbers.within(0..=4)]).collect();
    let x = FlexTensor::from_data(TensorData::new(values, shape));
    for windows in [windows([2, 2], [2, 2]), Windows { padding: [1, 1], ..windows([3, 2], [1, 2]) }]
    {
        let ours = pool::max_pool2d_with_indices(&x, &windows).expect("handled");
        let Windows { kernel_size, stride, padding, dilation, ceil_mode } = windows;
        let theirs = Flex::max_pool2d_with_indices(
            x.clone(),
            kernel_size,
            stride,
            padding,
            dilation,
            ceil_mode,
        );
        assert_same(&ours.1, &theirs.indices, "indices");
        let bits = |tensor: &FlexTensor| {
            tensor.storage::<f64>().iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        };
        assert_eq!(bits(&ours.0), bits(&theirs.output));
    }
}

#[test]
fn the_bits_depend_neither_on_the_run_nor_on_the_threads() {
    let mut numbers = Numbers(10);
    let options = || ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    for (channels, size) in
        [([25, 1, 64], 28), ([25, 64, 64], 14), ([25, 64, 64], 3), ([1, 64, 64], 40)]
    {
        let case = Case::new::<f32>(&mut numbers, channels, [size, size], [3, 3], options());
        let first = case.all();
        for threads in [1, 2, 3] {
            let pool =
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            for _ in 0..if threads == 2 { 20 } else { 3 } {
                for (one, other) in first.iter().zip(pool.install(|| case.all())) {
                    assert_same(&other, one, &format!("{} on {threads} threads", case.name()));
                }
            }
        }
    }
}
