//! The algebra of vectors, in f64 on flex.

use std::sync::{Arc, Once};

use bilevel_autodiff::{Layout, Vector};
use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{FloatDType, IntDType, Tensor, set_default_dtypes};
use burn_flex::{Flex, FlexDevice};

type B = Flex;

#[derive(Module, Debug)]
struct Pair<B: Backend> {
    matrix: Param<Tensor<B, 2>>,
    bias: Param<Tensor<B, 1>>,
}

#[derive(Module, Debug)]
struct Only<B: Backend> {
    only: Param<Tensor<B, 1>>,
}

#[derive(Module, Debug)]
struct Nested<B: Backend> {
    inner: Pair<B>,
}

fn pair(rows: usize) -> Pair<Autodiff<B>> {
    // Burn fixes the element types of a device once a process.
    static F64: Once = Once::new();
    F64.call_once(|| {
        set_default_dtypes::<Flex>(&FlexDevice, FloatDType::F64, IntDType::I64).unwrap();
    });
    Pair {
        matrix: Param::from_tensor(Tensor::ones([rows, 2], &FlexDevice)),
        bias: Param::from_tensor(Tensor::zeros([2], &FlexDevice)),
    }
}

fn layout(rows: usize) -> Arc<Layout> {
    Layout::of(&pair(rows))
}

fn vector(layout: &Arc<Layout>, values: &[f64]) -> Vector<B> {
    Vector::from_slice(layout, values, &FlexDevice)
}

const A: [f64; 6] = [1.0, -2.0, 0.1, 4.0, 0.0, -0.3];
const C: [f64; 6] = [0.5, 1.0, -7.0, 0.25, 9.0, 2.0];

#[test]
fn a_layout_names_the_variables_in_their_order() {
    let layout = layout(3);
    let seen: Vec<_> =
        layout.leaves().iter().map(|leaf| (leaf.path.as_str(), leaf.shape.to_vec())).collect();
    assert_eq!(seen, [("matrix", vec![3, 2]), ("bias", vec![2])]);
    assert_eq!((layout.size(), layout.bytes()), (8, 64));
}

#[test]
fn values_go_there_and_back_unchanged() {
    let pair = pair(2);
    let layout = Layout::of(&pair);
    let start = Vector::from_module(&layout, &pair.valid());
    assert_eq!(start.to_vec(), [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
    let a = vector(&layout, &A);
    assert_eq!(a.to_vec(), A);
    let written = a.write_into(pair.valid());
    assert_eq!(Vector::from_module(&layout, &written).to_vec(), A);
    assert_eq!(Vector::from_module(&layout, &pair.valid()).to_vec(), start.to_vec());
}

#[test]
fn the_algebra_is_that_of_lists() {
    let layout = layout(2);
    let (a, c) = (vector(&layout, &A), vector(&layout, &C));
    let each =
        |f: fn(f64, f64) -> f64| -> Vec<f64> { A.iter().zip(&C).map(|(a, c)| f(*a, *c)).collect() };
    assert_eq!(a.add(&c).to_vec(), each(|a, c| a + c));
    assert_eq!(a.sub(&c).to_vec(), each(|a, c| a - c));
    assert_eq!(a.scale(0.3).to_vec(), each(|a, _| 0.3 * a));
    assert_eq!(a.axpy(0.3, &c).to_vec(), each(|a, c| a + 0.3 * c));
    assert_eq!(a.axpy(1.0, &c).to_vec(), each(|a, c| a + c));
    assert_eq!(a.zeros_like().to_vec(), [0.0; 6]);
    assert_eq!(a.to_vec(), A, "operations leave their arguments alone");
}

#[test]
fn products_and_norms_are_sums_over_all_variables_in_full_precision() {
    let layout = layout(2);
    let (a, c) = (vector(&layout, &A), vector(&layout, &C));
    let expected: f64 = A.iter().zip(&C).map(|(a, c)| a * c).sum();
    assert!((a.dot(&c) - expected).abs() <= 1e-15, "{} is not {expected}", a.dot(&c));
    assert_eq!(a.dot(&c), c.dot(&a));
    let expected = A.iter().map(|a| a * a).sum::<f64>().sqrt();
    assert!((a.norm() - expected).abs() <= 1e-15, "{} is not {expected}", a.norm());
    assert_eq!(a.zeros_like().norm(), 0.0);
}

#[test]
fn one_bad_entry_in_any_variable_is_seen() {
    let layout = layout(2);
    assert!(vector(&layout, &A).all_finite());
    assert!(vector(&layout, &[f64::MAX; 6]).all_finite(), "the sum overflows, the entries do not");
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for at in 0..6 {
            let mut values = A;
            values[at] = bad;
            assert!(!vector(&layout, &values).all_finite(), "{bad} at {at}");
        }
    }
}

#[test]
fn vectors_of_equal_layouts_combine_wherever_the_layout_was_taken() {
    let pair = pair(2);
    let (one, other) = (Layout::of(&pair), Layout::of(&pair.clone()));
    assert_eq!(vector(&one, &A).sub(&vector(&other, &A)).norm(), 0.0);
}

#[test]
#[should_panic(expected = "one has 2 variables with 6 values, the other 2 with 8")]
fn vectors_of_two_modules_do_not_combine() {
    vector(&layout(2), &A).dot(&vector(&layout(3), &[0.0; 8]));
}

#[test]
#[should_panic(expected = "a vector of this module has 6 values")]
fn a_list_of_another_length_is_no_vector() {
    vector(&layout(2), &[0.0; 5]);
}

#[test]
#[should_panic(expected = "the module has no parameter `matrix`: take the layout from this module")]
fn a_layout_of_another_module_reads_nothing() {
    Vector::<B>::from_module(&layout(2), &pair(2).valid());
}

#[test]
fn a_part_under_another_layout_and_back_are_adjoint() {
    let (whole, bias) = (layout(2), Layout::of(&Only { only: pair(2).bias }));
    let a = vector(&whole, &A);
    let at = whole.under("bias");
    let v = vector(&bias, &[3.0, -4.0]);
    let part = a.part(&at, &bias);
    assert_eq!(part.to_vec(), A[4..]);
    let back = a.zeros_like().add_part(&at, &v);
    assert_eq!(back.to_vec(), [0.0, 0.0, 0.0, 0.0, 3.0, -4.0]);
    assert_eq!(part.dot(&v), a.dot(&back));
    assert_eq!(a.add_part(&at, &v).to_vec(), a.add(&back).to_vec());
}

#[test]
fn a_prefix_is_a_whole_path_or_the_head_of_one() {
    let inner = Nested { inner: pair(2) };
    let layout = Layout::of(&inner);
    assert_eq!(layout.under(""), [0, 1]);
    assert_eq!(layout.under("inner"), [0, 1]);
    assert_eq!(layout.under("inner.bias"), [1]);
    assert_eq!(layout.under("inn"), [0; 0]);
}

#[test]
#[should_panic(expected = "a part of a vector takes a layout of the same shapes")]
fn a_part_of_other_shapes_is_refused() {
    let (small, large) = (layout(2), layout(3));
    vector(&small, &A).part(&[0, 1], &large);
}
