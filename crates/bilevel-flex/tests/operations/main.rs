//! The operations with their own kernels compared with Flex, and with themselves on other numbers of threads.
//!
//! Sizes are around the numbers of elements at which the crate switches to a kernel (64), and to several
//! threads (2^15 at a time, from 2^16 on).

mod products;

use std::panic::{AssertUnwindSafe, catch_unwind};

use bilevel_flex::FastFlex;
use burn::backend::ops::{ActivationOps, BoolTensorOps, FloatTensorOps};
use burn::backend::tensor::IndexingUpdateOp;
use burn::backend::{BoolDType, DType, Element, ElementConversion, TensorData, TensorMetadata};
use burn_flex::{Flex, FlexTensor};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// An operation on some tensors, and its tolerance in f32, in units of the last place. For other types the
/// results must be bitwise equal.
struct Operation<const N: usize> {
    name: &'static str,
    ours: fn([FlexTensor; N]) -> FlexTensor,
    theirs: fn([FlexTensor; N]) -> FlexTensor,
    ulps: u64,
}

macro_rules! operations {
    ($operands:pat => $($name:ident($($argument:expr),*) $(within $ulps:literal)?;)*) => {
        &[$(Operation {
            name: stringify!($name($($argument),*)),
            ours: |$operands| FastFlex::$name($($argument),*),
            theirs: |$operands| Flex::$name($($argument),*),
            ulps: 0 $(+ $ulps)?,
        }),*]
    };
}

/// On one tensor.
const UNARY: &[Operation<1>] = operations! { [a] =>
    float_add_scalar(a, 0.3.into());
    float_add_scalar(a, (-0.0).into());
    float_add_scalar(a, ((1i64 << 62) + (1 << 38) + 1).into());
    float_sub_scalar(a, 0.3.into());
    float_sub_scalar(a, f64::INFINITY.into());
    float_mul_scalar(a, 0.3.into());
    float_mul_scalar(a, 0.0.into());
    float_mul_scalar(a, 3i64.into());
    float_mul_scalar(a, 1e300.into());
    float_div_scalar(a, 0.3.into());
    float_div_scalar(a, 0.0.into());
    float_equal_elem(a, 0.0.into(), BoolDType::Native);
    float_equal_elem(a, f64::NAN.into(), BoolDType::Native);
    float_not_equal_elem(a, 1.0.into(), BoolDType::U8);
    float_not_equal_elem(a, f64::NAN.into(), BoolDType::Native);
    float_greater_elem(a, 0.0.into(), BoolDType::Native);
    float_greater_elem(a, 0.1.into(), BoolDType::U8);
    float_greater_equal_elem(a, 0.0.into(), BoolDType::Native);
    float_greater_equal_elem(a, f64::INFINITY.into(), BoolDType::U8);
    float_lower_elem(a, 0.0.into(), BoolDType::Native);
    float_lower_elem(a, 1i64.into(), BoolDType::U8);
    float_lower_equal_elem(a, (-0.0).into(), BoolDType::Native);
    float_lower_equal_elem(a, f64::NEG_INFINITY.into(), BoolDType::U8);
    float_exp(a) within 1;
    float_log(a) within 1;
    // Ours are correctly rounded, as their own tests check; those of the C library, which Flex calls, are
    // not, and Flex's sigmoid is rounded several times.
    float_tanh(a) within 2;
    float_neg(a);
    float_powi_scalar(a, 2i64.into());
    float_powi_scalar(a, 2.0.into());
    float_powi_scalar(a, 3i64.into());
    float_powi_scalar(a, (-1i64).into());
    float_powf_scalar(a, 2.0.into());
    relu(a);
    sigmoid(a) within 2;
};

/// On two tensors, which may be broadcast over each other.
const BINARY: &[Operation<2>] = operations! { [a, b] =>
    float_add(a, b);
    float_sub(a, b);
    float_mul(a, b);
    float_div(a, b);
    relu_backward(a, b);
    sigmoid_backward(a, b);
    float_mask_fill(a, mask(b), 0.3.into());
    float_mask_fill(a, mask(b), ((1i64 << 62) + (1 << 38) + 1).into());
    float_mask_fill(a, mask(b), f64::NAN.into());
    float_mask_fill(a, Flex::bool_transpose(mask(Flex::float_transpose(b))), (-0.0).into());
};

fn mask(tensor: FlexTensor) -> FlexTensor {
    Flex::float_greater_elem(tensor, 0.0.into(), BoolDType::Native)
}

const TYPES: [DType; 2] = [DType::F32, DType::F64];

/// Pseudo-random numbers, the same in each run, including special values.
struct Random(u64);

impl Random {
    #[rustfmt::skip]
    const SPECIAL: [f64; 24] = [
        f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1.0, -1.0,
        // Subnormal in f64 and in f32, and the smallest and largest normal numbers.
        5e-324, -3e-310, 1e-45, -1e-40, 1.1754943508222875e-38, 2.2250738585072014e-308,
        3.4028234663852886e38, -3.4028234663852886e38, f64::MAX, f64::MIN,
        // Where exponential functions reach their limits, and where they are almost linear.
        88.8, -103.9, 17.0, -9.1, 1e-5, -1e-9, 700.0,
    ];

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    /// In (-1, 1).
    fn fraction(&mut self) -> f64 {
        self.next() as f64 / (1u64 << 30) as f64 - 1.0
    }

    /// In (-1, 1), with special values.
    fn tensor(&mut self, dtype: DType, shape: &[usize]) -> FlexTensor {
        let number = |i| {
            let fraction = self.fraction();
            match self.next() as usize % (2 * Self::SPECIAL.len()) {
                // The first ones in order, so that small tensors contain them too.
                _ if i < Self::SPECIAL.len() => Self::SPECIAL[i],
                special if special < Self::SPECIAL.len() => Self::SPECIAL[special],
                _ if i % 3 == 0 => 30.0 * fraction,
                _ => fraction,
            }
        };
        let numbers: Vec<f64> = (0..shape.iter().product()).map(number).collect();
        tensor(numbers, dtype, shape)
    }

    /// In (-1, 1).
    fn fractions(&mut self, dtype: DType, shape: &[usize]) -> FlexTensor {
        let numbers = (0..shape.iter().product()).map(|_| self.fraction()).collect();
        tensor(numbers, dtype, shape)
    }

    /// Tensors of this shape with all kinds of memory layouts.
    fn views(&mut self, dtype: DType, shape: &[usize]) -> Vec<(&'static str, FlexTensor)> {
        let (last, rank) = (shape.len() - 1, shape.len());
        let resized = |axis: usize, size: usize| {
            let mut shape = shape.to_vec();
            shape[axis] = size;
            shape
        };
        let reversed: Vec<usize> = shape.iter().rev().copied().collect();
        let back: Vec<usize> = (0..rank).rev().collect();
        let mut tensor = |shape: &[usize]| self.tensor(dtype, shape);
        let repeated = |tensor| Flex::float_expand(tensor, shape.to_vec().into());
        vec![
            ("whole", tensor(shape)),
            ("transposed", tensor(&reversed).permute(&back)),
            ("behind others", tensor(&resized(0, shape[0] + 3)).narrow(0, 2, shape[0])),
            ("with gaps", tensor(&resized(last, shape[last] + 2)).narrow(last, 1, shape[last])),
            ("the first ones", tensor(&resized(0, shape[0] + 1)).narrow(0, 0, shape[0])),
            ("flipped", Flex::float_flip(tensor(shape), &[last])),
            ("a row repeated", repeated(tensor(&resized(0, 1)))),
            ("a column repeated", repeated(tensor(&resized(last, 1)))),
        ]
    }
}

fn tensor(numbers: Vec<f64>, dtype: DType, shape: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(numbers, shape.to_vec()).convert_dtype(dtype))
}

/// The same elements at the same positions of an unshared buffer.
fn alone(tensor: &FlexTensor) -> FlexTensor {
    let numbers = tensor.data_arc().as_ref().clone();
    FlexTensor::new(numbers, tensor.layout().clone(), tensor.dtype())
}

/// Pools of one, two and three threads, and one with more threads than a narrow side has elements.
fn pools() -> [ThreadPool; 4] {
    [1, 2, 3, 16]
        .map(|threads| ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool"))
}

/// Checks that `ours` equals `theirs`, in f32 within the tolerance. All NaNs are equal.
#[track_caller]
fn assert_near(ours: &FlexTensor, theirs: &FlexTensor, ulps: u64, what: impl Fn() -> String) {
    let kind = |tensor: &FlexTensor| (tensor.shape(), tensor.dtype());
    assert_eq!(kind(ours), kind(theirs), "{}", what());
    let ulps = if ours.dtype() == DType::F32 { ulps } else { 0 };
    let (ours, theirs) = (ours.clone().into_data(), theirs.clone().into_data());
    if ours.as_bytes() == theirs.as_bytes() {
        return;
    }
    for (i, (a, b)) in ours.iter::<f64>().zip(theirs.iter::<f64>()).enumerate() {
        // For f32 stored as f64, their bits in f32.
        let bits = |x: f64| if ulps == 0 { x.to_bits() } else { (x as f32).to_bits().into() };
        let near = bits(a).abs_diff(bits(b)) <= ulps;
        assert!(near || a.is_nan() && b.is_nan(), "{}: {a:e}, not {b:e}, at {i}", what());
    }
}

/// Checks that an operation equals Flex's, whether or not its operands are shared, and that it leaves shared
/// operands unchanged.
#[track_caller]
fn check<const N: usize>(operation: &Operation<N>, operands: [&FlexTensor; N], what: &str) {
    let theirs = (operation.theirs)(operands.map(FlexTensor::clone));
    for holders in 0..1 << N {
        let given = operands.map(alone);
        let is_held = |i: &usize| holders >> i & 1 == 1;
        let held: Vec<FlexTensor> = (0..N).filter(is_held).map(|i| given[i].clone()).collect();
        let ours = (operation.ours)(given);
        let what = || format!("{} of {what}, held: {holders:b}", operation.name);
        assert_near(&ours, &theirs, operation.ulps, what);
        for (held, i) in held.iter().zip((0..N).filter(is_held)) {
            assert!(held.bytes() == operands[i].bytes(), "{}: operand {i} is written", what());
        }
    }
}

const SIZES: [usize; 16] =
    [0, 1, 2, 63, 64, 65, 1023, 1024, 1025, 32767, 32768, 32769, 65535, 65536, 65537, 100_001];

#[test]
fn operations_on_tensors_of_any_size_are_those_of_flex() {
    let mut numbers = Random(1);
    for (dtype, size) in TYPES.into_iter().flat_map(|dtype| SIZES.map(|size| (dtype, size))) {
        let [a, b] = [(); 2].map(|()| numbers.tensor(dtype, &[1, size]));
        let what = format!("{size} {dtype:?}");
        UNARY.iter().for_each(|operation| check(operation, [&a], &what));
        BINARY.iter().for_each(|operation| check(operation, [&a, &b], &what));
        for operation in BINARY {
            let (ours, theirs) = ([a.clone(), a.clone()], [a.clone(), a.clone()]);
            let (ours, theirs) = ((operation.ours)(ours), (operation.theirs)(theirs));
            assert_near(&ours, &theirs, 0, || format!("{} of {what} twice", operation.name));
        }
    }
}

#[test]
fn operations_on_views_are_those_of_flex() {
    let mut numbers = Random(2);
    for (dtype, shape) in TYPES
        .into_iter()
        .flat_map(|dtype| [&[40, 51][..], &[3, 40, 30]].map(|shape| (dtype, shape)))
    {
        let (lhs, rhs) = (numbers.views(dtype, shape), numbers.views(dtype, shape));
        for (a_is, a) in &lhs {
            UNARY.iter().for_each(|operation| check(operation, [a], &format!("{dtype:?} {a_is}")));
            for (b_is, b) in &rhs {
                let what = format!("{dtype:?} {a_is} and {b_is}");
                BINARY.iter().for_each(|operation| check(operation, [a, b], &what));
            }
        }
    }
}

/// Shapes of a tensor and of one that is broadcast over it, or of two that are broadcast over each other.
#[rustfmt::skip]
const REPEATED: [[&[usize]; 2]; 31] = [
    [&[40, 300], &[1, 300]], [&[300, 40], &[300, 1]], [&[40, 300], &[1, 1]], [&[40, 1], &[1, 300]],
    [&[5, 40, 30], &[5, 1, 30]], [&[5, 40, 30], &[1, 40, 30]], [&[5, 40, 30], &[5, 40, 1]],
    [&[5, 40, 30], &[1, 1, 30]], [&[5, 40, 30], &[1, 40, 1]], [&[5, 40, 30], &[5, 1, 1]],
    [&[5, 1, 30], &[1, 40, 30]], [&[5, 40, 1], &[5, 1, 30]],
    [&[2, 5, 4, 50], &[2, 1, 4, 1]], [&[2, 5, 4, 50], &[1, 5, 1, 50]], [&[2, 5, 1, 150], &[2, 1, 1, 1]],
    // Runs of one to four elements.
    [&[1100, 1], &[1, 1]], [&[600, 2], &[1, 2]], [&[400, 3], &[400, 1]], [&[300, 4], &[1, 4]],
    // Around the number at which threads share the work, and runs longer than what one thread processes at a
    // time.
    [&[64, 1024], &[1, 1024]], [&[65, 1024], &[1, 1024]], [&[70_001, 4], &[70_001, 1]],
    [&[3, 40_000], &[1, 40_000]], [&[3, 40_000], &[3, 1]],
    [&[700, 100], &[700, 1]],
    // Runs as short as a kernel supports, and shorter.
    [&[200, 8], &[1, 8]], [&[200, 8], &[200, 1]], [&[200, 7], &[1, 7]], [&[200, 7], &[200, 1]],
    // Another rank, and empty tensors.
    [&[40, 300], &[300]], [&[0, 300], &[1, 300]],
];

#[test]
fn operations_on_a_tensor_and_one_that_is_repeated_are_those_of_flex() {
    let mut numbers = Random(3);
    for (dtype, [large, small]) in
        TYPES.into_iter().flat_map(|dtype| REPEATED.map(|shapes| (dtype, shapes)))
    {
        let a = numbers.tensor(dtype, large);
        for (b_is, b) in numbers.views(dtype, small) {
            // A mask has the rank of the tensor, and is not larger.
            let is_mask = |name: &str| name.contains("mask");
            let what = format!("{dtype:?} {large:?} and {small:?}, {b_is}");
            for operation in BINARY
                .iter()
                .filter(|operation| !is_mask(operation.name) || large.len() == small.len())
            {
                check(operation, [&a, &b], &what);
                check(operation, [&b, &a], &format!("{what}, swapped"));
            }
        }
        for (a_is, a) in numbers.views(dtype, large) {
            let b = numbers.tensor(dtype, small);
            // Flex 0.22 panics for an empty view that begins beyond the end of its buffer.
            if a.bytes().is_empty() && a.layout().start_offset() > 0 {
                continue;
            }
            for operation in &BINARY[..6] {
                check(operation, [&a, &b], &format!("{dtype:?} {large:?}, {a_is}, and {small:?}"));
            }
        }
    }
}

#[test]
fn operations_on_other_types_are_those_of_flex() {
    let mut numbers = Random(4);
    for dtype in [DType::F16, DType::BF16] {
        let [a, b] = [(); 2].map(|()| numbers.tensor(dtype, &[40, 51]));
        let what = format!("{dtype:?}");
        UNARY.iter().for_each(|operation| check(operation, [&a], &what));
        BINARY.iter().for_each(|operation| check(operation, [&a, &b], &what));
        let [a, b] = [[40, 51], [51, 30]].map(|shape| numbers.fractions(dtype, &shape));
        let theirs = Flex::float_matmul(a.clone(), b.clone());
        assert_near(&FastFlex::float_matmul(a, b), &theirs, 0, || format!("product of {what}"));
    }
}

#[test]
fn the_bits_of_operations_depend_neither_on_the_run_nor_on_the_threads() {
    let (mut numbers, pools) = (Random(5), pools());
    for dtype in TYPES {
        let [a, b, repeated] =
            [[70, 2003], [70, 2003], [1, 2003]].map(|shape| numbers.tensor(dtype, &shape));
        for (pool, _) in pools.iter().flat_map(|pool| [(pool, 1), (pool, 2)]) {
            for operation in UNARY {
                let run = || (operation.ours)([a.clone()]);
                assert_near(&pool.install(run), &run(), 0, || operation.name.into());
            }
            for (operation, b) in BINARY.iter().flat_map(|both| [(both, &b), (both, &repeated)]) {
                let run = || (operation.ours)([a.clone(), b.clone()]);
                assert_near(&pool.install(run), &run(), 0, || operation.name.into());
            }
        }
    }
}

/// Sizes of a tensor, the count of indices along a dimension, and the dimension.
const INDEXED: [([usize; 4], usize, usize); 4] =
    [([2, 3, 4, 5], 7, 3), ([2, 3, 4, 5], 3, 1), ([30, 40, 9, 8], 6, 3), ([2, 1, 3, 20_000], 9, 3)];

/// `size` with `count` along `dim`, and indices of this shape.
fn indices<I: Element>((size, count, dim): ([usize; 4], usize, usize)) -> ([usize; 4], FlexTensor) {
    let mut shape = size;
    shape[dim] = count;
    let index = |i: usize| ((i * 7 % size[dim]) as i64).elem::<I>();
    let indices: Vec<I> = (0..shape.iter().product()).map(index).collect();
    (shape, FlexTensor::from_data(TensorData::new(indices, shape)))
}

fn counted<E: Element>(shape: [usize; 4]) -> FlexTensor {
    let values: Vec<E> = (0..shape.iter().product()).map(|i: usize| (i as i64).elem()).collect();
    FlexTensor::from_data(TensorData::new(values, shape))
}

fn check_indexed<E: Element + bytemuck::Pod, I: Element>() {
    for case in INDEXED {
        let (size, _, dim) = case;
        let (add, (shape, indices)) = (IndexingUpdateOp::Add, indices::<I>(case));
        let values = counted::<E>(shape);
        let turned = counted::<E>([size[1], size[0], size[2], size[3]]).transpose(0, 1);
        for x in [counted::<E>(size), turned] {
            let ours = FastFlex::float_gather(dim, x.clone(), indices.clone());
            let theirs = Flex::float_gather(dim, x.clone(), indices.clone());
            assert_eq!(ours.into_data(), theirs.into_data(), "gather {case:?}");
            let theirs = Flex::float_scatter(dim, x.clone(), indices.clone(), values.clone(), add)
                .into_data();
            let shared =
                FastFlex::float_scatter(dim, x.clone(), indices.clone(), values.clone(), add);
            assert_eq!(shared.into_data(), theirs, "scatter {case:?}");
        }
        // A tensor that nobody else holds is changed in place, another one is not.
        let (own, shared) = (counted::<E>(size), counted::<E>(size));
        let (place, held) = (own.as_slice::<E>().unwrap().as_ptr(), shared.clone());
        let [own, sum] = [own, shared]
            .map(|x| FastFlex::float_scatter(dim, x, indices.clone(), values.clone(), add));
        let theirs = Flex::float_scatter(dim, counted::<E>(size), indices, values, add).into_data();
        let same = own.as_slice::<E>().unwrap().as_ptr() == place;
        assert!(same || dim != 3, "scatter in place {case:?}");
        assert_eq!(held.into_data(), counted::<E>(size).into_data(), "scatter {case:?}");
        assert_eq!((own.into_data(), sum.into_data()), (theirs.clone(), theirs), "{case:?}");
    }
}

#[test]
fn gathered_and_scattered_numbers_are_those_of_flex() {
    check_indexed::<f32, i64>();
    check_indexed::<f32, i32>();
    check_indexed::<f64, i64>();
    check_indexed::<f64, i32>();
}

/// The message of a panic.
fn refusal(run: impl FnOnce() -> FlexTensor) -> String {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(_) => String::new(),
        Err(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
    }
}

#[test]
fn indices_outside_are_reported_by_flex() {
    for (size, count, dim) in INDEXED {
        for outside in [-1, size[dim] as i64] {
            let mut shape = size;
            shape[dim] = count;
            let mut indices = vec![0_i64; shape.iter().product()];
            *indices.last_mut().expect("there are indices") = outside;
            check_refused(dim, size, FlexTensor::from_data(TensorData::new(indices, shape)));
        }
    }
}

fn check_refused(dim: usize, size: [usize; 4], indices: FlexTensor) {
    let (x, values) = (counted::<f32>(size), counted::<f32>(indices.shape().dims()));
    let theirs = refusal(|| Flex::float_gather(dim, x.clone(), indices.clone()));
    assert!(!theirs.is_empty(), "gather {size:?} along {dim}");
    let ours = refusal(|| FastFlex::float_gather(dim, x.clone(), indices.clone()));
    assert_eq!(ours, theirs, "gather {size:?} along {dim}");
    let add = IndexingUpdateOp::Add;
    let ours = refusal(|| FastFlex::float_scatter(dim, x, indices, values, add));
    assert_eq!(ours, theirs, "scatter {size:?} along {dim}");
}

/// Only sums have their own kernel.
#[test]
fn other_updates_are_those_of_flex() {
    let case = INDEXED[0];
    let ((size, _, dim), (shape, indices)) = (case, indices::<i64>(case));
    for update in [IndexingUpdateOp::Assign, IndexingUpdateOp::Mul, IndexingUpdateOp::Max] {
        let [ours, theirs] = [FastFlex::float_scatter, Flex::float_scatter].map(|scatter| {
            let (x, values) = (counted::<f64>(size), counted::<f64>(shape));
            scatter(dim, x, indices.clone(), values, update).into_data()
        });
        assert_eq!(ours, theirs, "{update:?}");
    }
}
