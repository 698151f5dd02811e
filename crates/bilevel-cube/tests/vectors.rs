//! Sums and multiples of several tensors in one kernel; skipped if there is no graphics adapter.

#[path = "../../bilevel-autodiff/tests/graphics/mod.rs"]
mod graphics;

use bilevel_cube::{axpy, not_finite, products, scale};
use burn::backend::ops::FloatTensorOps;
use burn::backend::read_sync;
use burn::tensor::TensorData;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeDevice};

/// Small integers, whose sums are exact.
fn numbers(len: usize, salt: usize) -> Vec<f32> {
    (0..len).map(|at| ((at * 37 + salt * 11) % 101) as f32 - 50.0).collect()
}

fn tensors(sizes: &[[usize; 2]], salt: usize) -> Vec<CubeTensor> {
    let device = CubeDevice::default();
    let tensor = |(at, size): (usize, &[usize; 2])| {
        let data = TensorData::new(numbers(size[0] * size[1], salt + at), *size);
        // As a view whose rows are columns.
        let turned = CubeBackend::float_transpose(CubeBackend::float_from_data(data, &device));
        CubeBackend::float_transpose(burn_cubecl::kernel::into_contiguous(turned))
    };
    sizes.iter().enumerate().map(tensor).collect()
}

/// One tensor, several of different sizes, and more than one kernel takes.
#[test]
fn each_tensor_is_computed_with_the_one_at_its_place() {
    if !graphics::adapter() {
        return;
    }
    let many: Vec<_> = (0..70).map(|at| [1 + at % 5, 3 + at]).collect();
    for sizes in [&[[1, 1]][..], &[[784, 30], [1, 30], [30, 10], [1, 10]], &many, &[]] {
        let check = |results: Vec<CubeTensor>, of: &dyn Fn(f32, f32) -> f32| {
            assert_eq!(results.len(), sizes.len());
            for (at, (result, size)) in results.into_iter().zip(sizes).enumerate() {
                assert_eq!(result.meta.shape().as_slice(), size);
                let found = read_sync(CubeBackend::float_into_data(result)).unwrap();
                let [a, b] = [1, 9].map(|salt| numbers(size[0] * size[1], salt + at));
                let expected: Vec<_> = a.iter().zip(&b).map(|(a, b)| of(*a, *b)).collect();
                assert_eq!(found.iter::<f32>().collect::<Vec<_>>(), expected, "tensor {at}");
            }
        };
        for c in [1.0, -1.0, 0.5] {
            check(axpy(tensors(sizes, 1), c, tensors(sizes, 9)), &|a, b| a + c * b);
            check(scale(c, tensors(sizes, 9)), &|_, b| c * b);
        }
    }
}

#[test]
#[should_panic(expected = "as many tensors on both sides")]
fn tensors_without_another_are_refused() {
    if !graphics::adapter() {
        panic!("as many tensors on both sides");
    }
    axpy(tensors(&[[2, 2]], 1), 1.0, Vec::new());
}

/// NaN and both infinities, in the first and the last entry of the first, a middle and the last tensor.
#[test]
fn entries_that_are_not_finite_are_found() {
    if !graphics::adapter() {
        return;
    }
    let device = CubeDevice::default();
    let many: Vec<_> = (0..70).map(|at| [1 + at % 5, 3 + at]).collect();
    for sizes in [&[[1, 1]][..], &[[784, 30], [1, 30], [30, 10], [1, 10]], &many] {
        let flag = |tensors| {
            let flag = not_finite(tensors).expect("there are tensors");
            read_sync(CubeBackend::float_into_data(flag)).unwrap().iter::<f32>().next().unwrap()
        };
        assert_eq!(flag(tensors(sizes, 2)), 0.0);
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN] {
            for at in [0, sizes.len() / 2, sizes.len() - 1] {
                let len = sizes[at][0] * sizes[at][1];
                for entry in [0, len - 1] {
                    let mut values = numbers(len, 3);
                    values[entry] = value;
                    let mut tensors = tensors(sizes, 2);
                    let data = TensorData::new(values, sizes[at]);
                    tensors[at] = CubeBackend::float_from_data(data, &device);
                    let expected = if value.is_finite() { 0.0 } else { 1.0 };
                    assert_eq!(flag(tensors), expected, "{value} at {entry} of tensor {at}");
                }
            }
        }
    }
    assert!(not_finite(Vec::new()).is_none());
}

/// Shorter and longer than what one cube adds.
#[test]
fn partial_sums_add_up_to_the_inner_product() {
    if !graphics::adapter() {
        return;
    }
    let many: Vec<_> = (0..70).map(|at| [1 + at % 5, 3 + at]).collect();
    for sizes in
        [&[[1, 1]][..], &[[64, 64]], &[[1, 4097]], &[[784, 30], [1, 30], [30, 10], [1, 10]], &many]
    {
        let sums = products(tensors(sizes, 1), tensors(sizes, 9)).expect("cubes of 256 units");
        let sums = read_sync(CubeBackend::float_into_data(sums)).unwrap();
        let expected = |(at, size): (usize, &[usize; 2])| -> f64 {
            let [a, b] = [1, 9].map(|salt| numbers(size[0] * size[1], salt + at));
            a.iter().zip(&b).map(|(a, b)| f64::from(a * b)).sum()
        };
        // Sums of integers below 2^24 are exact.
        let expected: f64 = sizes.iter().enumerate().map(expected).sum();
        assert_eq!(sums.iter::<f64>().sum::<f64>(), expected, "{sizes:?}");
    }
    let large = tensors(&[[3000, 2000]], 1);
    let sums = products(large.clone(), large).expect("cubes of 256 units");
    assert!(sums.meta.num_elements() <= 1024);
    assert!(products(Vec::new(), Vec::new()).is_none());
}
