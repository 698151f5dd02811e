//! Sums on GPUs, in stages.
//!
//! Where kernels are not chosen by timing them, Burn gives each entry of a sum one thread, which adds its
//! terms in turn: a sum over the 5000 samples of a batch takes milliseconds.  Here an axis is cut into parts
//! of about the square root of its length; sums of the parts are summed again.

use std::any::TypeId;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Shape, Slice, TensorMetadata};

/// An axis up to this length is summed by one thread.
const SHORT: usize = 128;
/// As many threads are busy without stages.
const THREADS: usize = 1 << 14;

/// Whether sums of the backend are taken in stages.
pub(super) fn in_stages<B: Backend>() -> bool {
    #[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))]
    return TypeId::of::<B>() == TypeId::of::<burn::backend::Cube>();
    #[cfg(not(any(feature = "wgpu", feature = "cuda", feature = "rocm")))]
    {
        let _ = TypeId::of::<B>();
        false
    }
}

/// The sum of all entries, of shape `[1]`.
pub(super) fn sum<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<B> {
    let entries = tensor.shape().num_elements();
    sum_dim::<B>(B::float_reshape(tensor, Shape::new([entries])), 0)
}

/// The sums along each of `axes`, which keep the length 1.
pub(super) fn sum_dims<B: Backend>(tensor: FloatTensor<B>, axes: &[usize]) -> FloatTensor<B> {
    axes.iter().fold(tensor, |sum, &axis| sum_dim::<B>(sum, axis))
}

/// The sums along an axis, which keeps the length 1.
pub(super) fn sum_dim<B: Backend>(tensor: FloatTensor<B>, axis: usize) -> FloatTensor<B> {
    let shape = tensor.shape();
    let length = shape[axis];
    if length <= SHORT || shape.num_elements() / length >= THREADS {
        return B::float_sum_dim(tensor, axis);
    }
    let part = part(length);
    let parts = length / part;
    let (before, after) = (product(&shape[..axis]), product(&shape[axis + 1..]));
    let rest = length - parts * part;
    let sums = |tensor| {
        // Neighbouring threads read neighbouring entries: a part is every `parts`-th entry.
        let cut = B::float_reshape(tensor, Shape::new([before, part, parts, after]));
        let sums = B::float_sum_dim(cut, 1);
        let mut shape = shape.clone();
        shape[axis] = parts;
        sum_dim::<B>(B::float_reshape(sums, shape), axis)
    };
    if rest == 0 {
        return sums(tensor);
    }
    let along = |slice: Slice| {
        let mut slices = vec![Slice::full(); shape.num_dims()];
        slices[axis] = slice;
        B::float_slice(tensor.clone(), &slices)
    };
    let cut = parts * part;
    let end = B::float_sum_dim(along(Slice::from(cut..length)), axis);
    B::float_add(sums(along(Slice::from(0..cut))), end)
}

/// The length of a part: the divisor nearest to the square root, if one is near.
fn part(length: usize) -> usize {
    let root = (length as f64).sqrt().min(SHORT as f64);
    let far = |part: &usize| (*part as f64 / root).ln().abs();
    let divisors = (2..=SHORT).filter(|part| length.is_multiple_of(*part));
    let nearest = divisors.min_by(|a, b| far(a).total_cmp(&far(b)));
    nearest.filter(|part| far(part) < 1.0).unwrap_or(root as usize)
}

fn product(sizes: &[usize]) -> usize {
    sizes.iter().product()
}

#[cfg(test)]
mod tests {
    use burn::backend::ops::FloatTensorOps;
    use burn::backend::tensor::Device;
    use burn::backend::{Flex, TensorData, read_sync};

    use super::*;

    fn numbers(shape: &[usize]) -> FloatTensor<Flex> {
        let count: usize = shape.iter().product();
        let data: Vec<f64> = (0..count).map(|i| ((i * i + 7 * i) % 23) as f64 - 11.0).collect();
        Flex::float_from_data(TensorData::new(data, shape.to_vec()), &Device::<Flex>::default())
    }

    fn values(tensor: FloatTensor<Flex>) -> (Vec<usize>, Vec<f64>) {
        let data = read_sync(Flex::float_into_data(tensor)).unwrap();
        (data.shape().to_vec(), data.iter::<f64>().collect())
    }

    /// Sums of whole numbers are exact in any order.
    #[test]
    fn sums_in_stages_are_the_sums() {
        for shape in
            [[5000, 3, 1], [2, 5000, 3], [1, 2, 4999], [3, 129, 2], [1, 100_003, 1], [4, 5, 6]]
        {
            for axis in 0..3 {
                let sum = sum_dim::<Flex>(numbers(&shape), axis);
                assert_eq!(values(sum), values(Flex::float_sum_dim(numbers(&shape), axis)));
            }
            let both = sum_dims::<Flex>(numbers(&shape), &[0, 2]);
            assert_eq!(values(both), values(Flex::float_sum_dims(numbers(&shape), &[0, 2])));
            assert_eq!(
                values(sum::<Flex>(numbers(&shape))),
                values(Flex::float_sum(numbers(&shape)))
            );
        }
    }

    #[test]
    fn a_thread_adds_no_more_than_a_part() {
        for length in 129..20_000 {
            let part = part(length);
            assert!((2..=SHORT).contains(&part), "{part} of {length}");
        }
    }
}
