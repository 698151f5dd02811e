//! Products of matrices.

use super::*;

/// Sizes `[m, n, k]` of products around the thresholds of the crate: 2^20 multiplications, narrow sides of
/// 32, and stretches of 640.
#[rustfmt::skip]
const PRODUCTS: [[usize; 3]; 50] = [
    // Empty products, and products that one thread computes.
    [3, 5, 0], [0, 5, 3], [3, 0, 5], [0, 0, 0], [1, 1, 1], [3, 5, 2], [1, 40, 30], [40, 1, 30],
    [32, 32, 1023], [32, 32, 1024], [31, 31, 1091], [31, 31, 1092], [100, 100, 104], [100, 100, 105],
    // Tall and narrow, and the reverse.
    [1279, 31, 30], [1280, 31, 30], [1281, 31, 30], [1281, 32, 30], [2560, 5, 100], [5, 2560, 100],
    [1921, 1, 600], [1, 1921, 600], [5000, 31, 10], [40_000, 30, 1], [20_000, 30, 2],
    // Long sums.
    [28, 31, 1279], [28, 31, 1280], [31, 28, 1281], [2, 3, 200_000], [3, 2, 200_001], [1, 1, 1 << 20],
    [1, 200, 6000], [200, 1, 6000], [31, 40, 1920], [32, 40, 1920],
    // So many of them that the result is large too.
    [31, 3384, 6400], [31, 3382, 6399],
    // Products divided between threads: with one row, few and many, with long sums.
    [49, 49, 500], [34, 33, 1000], [100, 64, 1000], [1000, 1, 1200], [1, 1000, 1200], [300, 200, 250],
    [700, 641, 90], [1100, 1300, 1], [1300, 1100, 2],
    // With both sides large, and more terms than `gemm` sums in one go.
    [200, 100, 1500], [100, 200, 1500], [1400, 70, 600], [70, 1400, 600],
];

/// Checks that `ours` equals `theirs` up to rounding, relative to the largest element.
#[track_caller]
fn assert_rounded(ours: &FlexTensor, theirs: &FlexTensor, what: &str) {
    assert_eq!((ours.shape(), ours.dtype()), (theirs.shape(), theirs.dtype()), "{what}");
    let tolerance = if ours.dtype() == DType::F32 { 1e-5 } else { 1e-13 };
    let values = |tensor: &FlexTensor| tensor.clone().into_data().iter::<f64>().collect::<Vec<_>>();
    let (ours, theirs) = (values(ours), values(theirs));
    let scale = theirs.iter().fold(0.0, |scale: f64, number| scale.max(number.abs()));
    for (i, (a, b)) in ours.iter().zip(&theirs).enumerate() {
        assert!((a - b).abs() <= tolerance * scale, "{what}: {a}, not {b}, at {i}");
    }
}

/// Both factors of a product of this size.
fn factors(numbers: &mut Random, dtype: DType, [m, n, k]: [usize; 3]) -> [FlexTensor; 2] {
    [numbers.fractions(dtype, &[m, k]), numbers.fractions(dtype, &[k, n])]
}

/// The same elements in column-major order.
fn by_columns(matrix: &FlexTensor) -> FlexTensor {
    matrix.transpose(0, 1).to_contiguous().transpose(0, 1)
}

#[test]
fn products_are_those_of_flex() {
    let mut numbers = Random(6);
    for (dtype, size) in TYPES.into_iter().flat_map(|dtype| PRODUCTS.map(|size| (dtype, size))) {
        let [a, b] = factors(&mut numbers, dtype, size);
        let theirs = Flex::float_matmul(a.clone(), b.clone());
        let what = format!("{dtype:?} {size:?}");
        for a in [a.clone(), by_columns(&a)] {
            for b in [b.clone(), by_columns(&b)] {
                let held = (alone(&a), alone(&b));
                assert_rounded(&FastFlex::float_matmul(a.clone(), b.clone()), &theirs, &what);
                assert!(a.bytes() == held.0.bytes() && b.bytes() == held.1.bytes(), "{what}");
            }
        }
    }
}

#[test]
fn products_of_views_are_those_of_flex() {
    let mut numbers = Random(7);
    let views = |numbers: &mut Random, dtype, [rows, columns]: [usize; 2]| {
        let mut fractions = |shape: [usize; 2]| numbers.fractions(dtype, &shape);
        let shape = || vec![rows, columns].into();
        [
            fractions([rows + 3, columns]).narrow(0, 2, rows),
            fractions([rows, columns + 3]).narrow(1, 2, columns),
            fractions([columns + 3, rows]).narrow(0, 1, columns).transpose(0, 1),
            Flex::float_flip(fractions([rows, columns]), &[0]),
            Flex::float_expand(fractions([1, columns]), shape()),
            Flex::float_expand(fractions([rows, 1]), shape()),
        ]
    };
    for (dtype, [m, n, k]) in TYPES.into_iter().flat_map(|dtype| {
        [[20, 30, 40], [1300, 20, 50], [20, 30, 1920], [110, 100, 100]].map(|size| (dtype, size))
    }) {
        for a in views(&mut numbers, dtype, [m, k]) {
            for b in views(&mut numbers, dtype, [k, n]) {
                let theirs = Flex::float_matmul(a.clone(), b.clone());
                let what = format!("{:?} and {:?}", a.layout(), b.layout());
                assert_rounded(&FastFlex::float_matmul(a.clone(), b), &theirs, &what);
            }
        }
    }
}

#[test]
fn products_of_batches_are_those_of_flex() {
    let mut numbers = Random(8);
    for dtype in TYPES {
        for (a, b) in [
            (&[3, 20, 30][..], &[3, 30, 40][..]),
            (&[3, 120, 130], &[1, 130, 140]),
            (&[2, 3], &[5, 3, 4]),
        ] {
            let [a, b] = [a, b].map(|shape| numbers.fractions(dtype, shape));
            let theirs = Flex::float_matmul(a.clone(), b.clone());
            assert_rounded(&FastFlex::float_matmul(a, b), &theirs, "batches");
        }
    }
}

#[test]
fn products_of_special_numbers_are_those_of_flex() {
    let special = [f64::NAN, f64::INFINITY, -0.0, 1e-40];
    for (dtype, size @ [m, n, k]) in TYPES.into_iter().flat_map(|dtype| {
        [[20, 30, 40], [1300, 20, 50], [20, 30, 1920], [110, 100, 100]].map(|size| (dtype, size))
    }) {
        // One special value in each row, so that each sum contains exactly one.
        let a = (0..m * k).map(|i| if i % k == i / k { special[i / k % 4] } else { 1.0 });
        let (a, b) =
            (tensor(a.collect(), dtype, &[m, k]), tensor(vec![1.0; k * n], dtype, &[k, n]));
        let theirs = Flex::float_matmul(a.clone(), b.clone());
        assert_near(&FastFlex::float_matmul(a, b), &theirs, 0, || format!("{size:?}"));
    }
}

#[test]
#[should_panic(expected = "matmul: inner dimensions must match")]
fn factors_that_do_not_fit_are_refused() {
    let [a, b] = [[3, 5], [4, 2]].map(|shape| Random(9).fractions(DType::F32, &shape));
    FastFlex::float_matmul(a, b);
}

#[test]
fn the_bits_of_products_depend_neither_on_the_run_nor_on_the_threads() {
    let (mut numbers, pools) = (Random(10), pools());
    let mut differ = Vec::new();
    for (dtype, size) in TYPES.into_iter().flat_map(|dtype| PRODUCTS.map(|size| (dtype, size))) {
        let [a, b] = factors(&mut numbers, dtype, size);
        for (a, b) in [(a.clone(), b.clone()), (by_columns(&a), b.clone()), (a, by_columns(&b))] {
            let run = || FastFlex::float_matmul(a.clone(), b.clone()).into_data();
            let first = pools[0].install(run);
            for pool in &pools {
                if pool.install(run) != first {
                    let threads = pool.current_num_threads();
                    differ.push(format!("{dtype:?} {size:?} on {threads}"));
                }
            }
        }
    }
    assert!(differ.is_empty(), "{differ:#?}");
}
