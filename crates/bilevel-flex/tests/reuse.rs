//! Products that are computed once and asked for twice.

use bilevel_autodiff::reuse::{Scope, keeping, taking};
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
    let _scope = Scope::new(1 << 30);
    let kept = keeping(|| a.clone().matmul(b.clone()));
    let found = taking(|| a.clone().matmul(b.clone()));
    assert_eq!(place(&kept), place(&found));
    let tracked = Tensor::<Autodiff<FastFlex>, 2>::from_inner(b.clone()).require_grad();
    let found = taking(|| Tensor::from_inner(a.clone()).matmul(tracked)).inner();
    assert_eq!(place(&kept), place(&found), "at the level of a gradient too");
    let other = taking(|| a.clone().matmul(b.clone().slice([0..200, 0..100]) + 1.0));
    assert_ne!(place(&kept), place(&other));
}

#[test]
fn an_operand_that_is_written_in_place_is_another() {
    let (a, b) = (random(300, 200), random(200, 100));
    let _scope = Scope::new(1 << 30);
    let kept = keeping(|| a.clone().matmul(b.clone()));
    // Nobody else holds b: the sum is written where it lies.
    let b = b + 1.0;
    let found = taking(|| a.clone().matmul(b.clone()));
    found.clone().sub(a.matmul(b)).into_data().assert_eq(&(kept.clone() * 0.0).into_data(), false);
    assert_ne!(place(&kept), place(&found));
}

#[test]
fn operands_are_not_kept() {
    let (a, b) = (random(300, 200), random(200, 100));
    let _scope = Scope::new(1 << 30);
    let a = a.into_primitive().tensor();
    let held = a.data_arc();
    let matrix = Matrix::from_primitive(burn::tensor::TensorPrimitive::Float(a));
    keeping(|| matrix.matmul(b));
    assert_eq!(std::sync::Arc::strong_count(&held), 1);
}
