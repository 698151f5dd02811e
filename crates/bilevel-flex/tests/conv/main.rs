//! Convolutions and max pooling compared with Flex, with their adjoints, and with themselves on other numbers
//! of threads.

mod pool;

use bilevel_flex::FastFlex;
use burn::backend::Backend;
use burn::backend::ops::{ConvOptions, ModuleOps};
use burn::backend::{DType, Element, TensorData, TensorMetadata};
use burn_flex::{Flex, FlexTensor};

/// Pseudo-random numbers, the same in each run.
struct Random(u64);

impl Random {
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
fn assert_near(ours: FlexTensor, theirs: FlexTensor, what: &str) {
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

/// A backend that uses Flex's tensors.
trait Convolutions:
    Backend<FloatTensorPrimitive = FlexTensor, IntTensorPrimitive = FlexTensor>
{
}

impl Convolutions for Flex {}
impl Convolutions for FastFlex {}

/// A convolution, its inputs and the gradient in y.
#[derive(Clone)]
struct Case {
    x: FlexTensor,
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    dy: FlexTensor,
    options: ConvOptions<2>,
}

impl Case {
    fn new<E: Element>(
        numbers: &mut Random,
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
            let (before, after) = options.padding[axis];
            (size[axis] + before + after - reach) / options.stride[axis] + 1
        });
        let dy = numbers.tensor::<E, 4>([images, outputs, y[0], y[1]]);
        Self { x, weight, bias, dy, options }
    }

    /// Sizes of every kind; every third case has so many channels that rows of the kernel are computed as
    /// products.
    fn any<E: Element>(numbers: &mut Random, i: usize) -> Self {
        let (kernel, dilation) = (numbers.pair(1..=5), numbers.pair(1..=2));
        let options = ConvOptions::new(numbers.pair(1..=3), numbers.pair(0..=2), dilation, 1);
        let reach = [0, 1].map(|axis| dilation[axis] * (kernel[axis] - 1) + 1);
        let size = numbers.pair(0..=8);
        let size = [0, 1].map(|axis| {
            size[axis] + reach[axis].saturating_sub(2 * options.padding[axis].0).max(1)
        });
        let channels = if i.is_multiple_of(3) { 32..=40 } else { 1..=7 };
        let channels =
            [numbers.within(1..=5), numbers.within(channels.clone()), numbers.within(channels)];
        Self::new::<E>(numbers, channels, size, kernel, options)
    }

    /// y, and the gradients in x, the weight and the bias.
    fn all<B: Convolutions>(&self) -> [FlexTensor; 4] {
        let Self { x, weight, bias, dy, options } = self;
        let (x, weight, dy) = (|| x.clone(), || weight.clone(), || dy.clone());
        let options = || options.clone();
        let any_bias = FlexTensor::zeros([dy().shape()[1]].into(), dy().dtype());
        [
            B::conv2d(x(), weight(), bias.clone(), options()),
            B::conv2d_x_backward(x(), weight(), dy(), options()),
            B::conv2d_weight_backward(x(), weight(), dy(), options()),
            B::conv2d_bias_backward(x(), any_bias, dy()),
        ]
    }

    /// `[outputs, inputs, ...]` and the options, for messages.
    fn name(&self) -> String {
        format!("x {:?}, weight {:?}, {:?}", self.x.shape(), self.weight.shape(), self.options)
    }

    #[track_caller]
    fn check(&self) {
        for (ours, theirs) in self.all::<FastFlex>().into_iter().zip(self.all::<Flex>()) {
            assert_near(ours, theirs, &self.name());
        }
    }
}

fn check_convolutions<E: Element>(count: usize) {
    let mut numbers = Random(1);
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

/// Images that are distributed in several blocks, the last one not full, and positions in several runs.
#[test]
fn many_images_and_large_ones_are_those_of_flex() {
    let mut numbers = Random(2);
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

/// What is computed in tiles in f32: odd and even sizes, every padding, tiles in several blocks and runs.
#[test]
fn kernels_of_3_x_3_are_those_of_flex() {
    let mut numbers = Random(15);
    let of = |numbers: &mut Random, images, size, padding| {
        let [inputs, outputs] = numbers.pair(1..=3).map(|count| 16 * count);
        let options = ConvOptions::new([1, 1], padding, [1, 1], 1);
        Case::new::<f32>(numbers, [images, inputs, outputs], size, [3, 3], options)
    };
    for _ in 0..200 {
        let (images, size, padding) =
            (numbers.within(1..=20), numbers.pair(3..=9), numbers.pair(0..=2));
        of(&mut numbers, images, size, padding).check();
    }
    for (images, size) in [(70, [1, 2]), (1, [60, 59]), (3, [30, 29])] {
        of(&mut numbers, images, size, [1, 1]).check();
    }
}

/// Numbers that would overflow in a tile, or spread in it, are summed directly.
#[test]
fn the_largest_numbers_stay_where_they_are() {
    let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    for large in [f32::INFINITY, f32::NAN, f32::MAX, 1e19, 1e16] {
        let case = Case::new::<f32>(&mut Random(16), [2, 16, 16], [6, 6], [3, 3], options.clone());
        // Other kernels state where gradients are NaN; finite numbers stay in their place in all of them.
        let outputs = if large.is_finite() { 3 } else { 1 };
        let with_large = |tensor: &FlexTensor| {
            let mut data = tensor.clone().into_data();
            data.as_mut_slice::<f32>().expect("numbers in f32")[7] = large;
            FlexTensor::from_data(data)
        };
        let (x, weight, dy) = (&case.x, &case.weight, &case.dy);
        for case in [
            Case { x: with_large(x), bias: None, ..case.clone() },
            Case { weight: with_large(weight), bias: None, ..case.clone() },
            Case { dy: with_large(dy), bias: None, ..case.clone() },
        ] {
            let finite = |of: &FlexTensor| values(of).iter().map(|x| x.abs() < 1e15).collect();
            for (ours, theirs) in
                case.all::<FastFlex>().iter().zip(&case.all::<Flex>()).take(outputs)
            {
                let [ours, theirs]: [Vec<bool>; 2] = [finite(ours), finite(theirs)];
                assert_eq!(ours, theirs, "{large}: {}", case.name());
            }
        }
    }
}

/// So many weights that their gradient is summed over the images in few parts, the last one not full.
#[test]
fn gradients_by_many_weights_are_those_of_flex() {
    let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    let case = Case::new::<f32>(&mut Random(11), [23, 256, 256], [2, 2], [3, 3], options);
    case.check();
}

/// Tests what the module of convolutions states about values that are not finite: gradients next to them may
/// be NaN where they are finite in Flex, and nothing else differs.
#[test]
fn numbers_that_are_not_finite_spread_to_gradients_at_the_ends_of_rows_only() {
    let options = || ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    let with_infinite = |shape: [usize; 4], at: usize| {
        let mut numbers = vec![0.0_f32; shape.iter().product()];
        numbers[at] = f32::INFINITY;
        FlexTensor::from_data(TensorData::new(numbers, shape))
    };
    let ones = |shape: [usize; 4]| FlexTensor::filled_typed(shape.into(), DType::F32, 1.0_f32);
    let differ = |case: &Case, which: usize| {
        let [ours, theirs] =
            [case.all::<FastFlex>(), case.all::<Flex>()].map(|all| values(&all[which]));
        let same = |a: f64, b: f64| a == b || a.is_nan() && b.is_nan();
        let differ: Vec<usize> =
            (0..ours.len()).filter(|&at| !same(ours[at], theirs[at])).collect();
        assert!(differ.iter().all(|&at| ours[at].is_nan() && theirs[at].is_finite()));
        differ
    };

    // x is infinite at the start of row 1: the unused position after row 0 meets it through the last column
    // of the kernel.
    let case = Case {
        x: with_infinite([1, 8, 4, 4], 4),
        weight: ones([1, 8, 3, 3]),
        bias: None,
        dy: ones([1, 1, 4, 4]),
        options: options(),
    };
    assert!(differ(&case, 0).is_empty(), "y");
    assert_eq!(differ(&case, 2), [2, 5], "the gradient by the weight");

    // The last weight in the first row of the kernel is infinite: through it the unused position after a row
    // meets the pixel at the start of the next row. There is none after the last row.
    let case = Case {
        x: ones([1, 24, 4, 4]),
        weight: with_infinite([1, 24, 3, 3], 2),
        bias: None,
        dy: ones([1, 1, 4, 4]),
        options: options(),
    };
    assert!(differ(&case, 0).is_empty(), "y");
    assert_eq!(differ(&case, 1), [0, 4, 8], "the gradient by x");
}

#[test]
fn pointwise_convolutions_are_those_of_flex() {
    let mut numbers = Random(3);
    for (stride, padding) in [(1, 0), (2, 0), (1, 1), (2, 2)] {
        for channels in [[2, 3, 4], [3, 40, 35]] {
            let options = ConvOptions::new([stride, stride], [padding, padding], [1, 1], 1);
            Case::new::<f64>(&mut numbers, channels, [6, 5], [1, 1], options).check();
        }
    }
}

#[test]
fn the_gradients_are_adjoints() {
    let mut numbers = Random(4);
    for i in 0..300 {
        let case = Case { bias: None, ..Case::any::<f64>(&mut numbers, i) };
        let [y, dx, dw, db] = case.all::<FastFlex>();
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

/// The same elements in other orders, with gaps, and with an offset.
fn views(numbers: &mut Random, [a, b, c, d]: [usize; 4]) -> [FlexTensor; 4] {
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
    let mut numbers = Random(5);
    let options = ConvOptions::new([1, 2], [1, 0], [1, 1], 1);
    for inputs in [3, 40] {
        let x = views(&mut numbers, [2, inputs, 7, 6]);
        let weight = views(&mut numbers, [5, inputs, 3, 2]);
        let dy = views(&mut numbers, [2, 5, 7, 3]);
        for ((x, weight), dy) in x.into_iter().zip(weight).zip(dy) {
            Case { x, weight, bias: None, dy, options: options.clone() }.check();
        }
    }
}

/// Convolutions with asymmetric padding.
#[test]
fn unevenly_padded_convolutions_are_those_of_flex() {
    let mut numbers = Random(14);
    for padding in [[(0, 1), (2, 2)], [(1, 1), (2, 0)], [(0, 2), (1, 0)]] {
        for channels in [[2, 3, 4], [3, 40, 35]] {
            let options = ConvOptions::new_with_padding([1, 2], padding, [1, 1], 1);
            Case::new::<f64>(&mut numbers, channels, [6, 5], [3, 3], options).check();
        }
    }
}

/// Groups, other element types, empty tensors.
#[test]
fn what_has_no_kernel_is_computed_by_flex() {
    let mut numbers = Random(7);
    let options = |groups| ConvOptions::new([1, 1], [0, 0], [1, 1], groups);
    for (images, inputs, groups, dtype) in [
        (2, 2, 2, DType::F32),
        (2, 4, 1, DType::F16),
        (2, 4, 1, DType::BF16),
        (0, 4, 1, DType::F32),
    ] {
        let mut tensor = |shape| {
            let data = numbers.tensor::<f32, 4>(shape).into_data();
            FlexTensor::from_data(data.convert_dtype(dtype))
        };
        let x = tensor([images, 4, 5, 6]);
        let weight = tensor([2, inputs, 3, 3]);
        let run: [fn(_, _, _, _) -> _; 2] = [FastFlex::conv2d, Flex::conv2d];
        let [ours, theirs] =
            run.map(|conv2d| conv2d(x.clone(), weight.clone(), None, options(groups)));
        assert_same(&ours, &theirs, &format!("{dtype:?} {:?}", x.shape()));
    }
}

#[test]
fn the_bits_depend_neither_on_the_run_nor_on_the_threads() {
    let mut numbers = Random(10);
    let options = || ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    for (channels, size) in
        [([25, 1, 64], 28), ([25, 64, 64], 14), ([25, 64, 64], 3), ([1, 64, 64], 40)]
    {
        let case = Case::new::<f32>(&mut numbers, channels, [size, size], [3, 3], options());
        let first = case.all::<FastFlex>();
        for threads in [1, 2, 3] {
            let pool =
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            for _ in 0..if threads == 2 { 20 } else { 3 } {
                for (one, other) in first.iter().zip(pool.install(|| case.all::<FastFlex>())) {
                    assert_same(&other, one, &format!("{} on {threads} threads", case.name()));
                }
            }
        }
    }
}
