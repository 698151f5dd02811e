//! Products that are computed once and asked for twice.

use bilevel_autodiff::reuse::{keeping, scope, taking, times_found};
use bilevel_flex::FastFlex;
use burn::backend::Autodiff;
use burn::tensor::{Distribution, Tensor};

type Matrix = Tensor<FastFlex, 2>;

fn random(rows: usize, columns: usize) -> Matrix {
    Tensor::random([rows, columns], Distribution::Normal(0.0, 1.0), &Default::default())
}

/// Where its numbers lie.
fn place(matrix: &Matrix) -> *const u8 {
    matrix.clone().into_primitive().tensor().bytes().as_ptr()
}

#[test]
fn a_product_that_was_kept_is_found_again() {
    let (a, b) = (random(300, 200), random(200, 100));
    scope(1 << 30, || {
        let kept = keeping(|| a.clone().matmul(b.clone()));
        let found = taking(|| a.clone().matmul(b.clone()));
        assert_eq!(place(&kept), place(&found));
        let tracked = Tensor::<Autodiff<FastFlex>, 2>::from_inner(b.clone()).require_grad();
        let found = taking(|| Tensor::from_inner(a.clone()).matmul(tracked)).inner();
        assert_eq!(place(&kept), place(&found), "at the level of a gradient too");
        let other = taking(|| a.clone().matmul(b.clone().slice([0..200, 0..100]) + 1.0));
        assert_ne!(place(&kept), place(&other));
    });
}

#[test]
fn an_operand_that_is_written_in_place_is_another() {
    let (a, b) = (random(300, 200), random(200, 100));
    scope(1 << 30, || {
        let kept = keeping(|| a.clone().matmul(b.clone()));
        // Nobody else holds the numbers of b, and Flex writes the cosines over them.
        let before = place(&b);
        let b = b.cos();
        assert_eq!(place(&b), before, "not written in place: this test sees nothing");
        let found = taking(|| a.clone().matmul(b.clone()));
        assert_ne!(place(&kept), place(&found));
        found.into_data().assert_eq(&a.matmul(b).into_data(), true);
    });
}

#[test]
fn operands_are_not_kept() {
    let (a, b) = (random(300, 200), random(200, 100));
    scope(1 << 30, || {
        let a = a.into_primitive().tensor();
        let held = a.data_arc();
        let matrix = Matrix::from_primitive(burn::tensor::TensorPrimitive::Float(a));
        keeping(|| matrix.matmul(b));
        assert_eq!(std::sync::Arc::strong_count(&held), 1);
    });
}

/// Room for one product: that of a layer whose inputs have died leaves it to those that can be asked for.
#[test]
fn a_product_whose_operand_has_died_makes_room() {
    let (a, b, w) = (random(300, 200), random(200, 100), random(100, 100));
    let bytes = 300 * 100 * 4;
    scope(2 * bytes, || {
        keeping(|| {
            let first = a.clone().matmul(b.clone());
            let hidden = first + 1.0;
            drop(hidden.matmul(w));
        });
        keeping(|| a.clone().matmul(random(200, 100)));
        let before = times_found();
        taking(|| a.clone().matmul(b.clone()));
        assert_eq!(times_found() - before, 1);
    });
}
