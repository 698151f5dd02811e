//! The algebra of vectors, in f64 on flex.

use std::sync::{Arc, Once};

use bilevel_program::{Direction, Layout, Recorded, TraceError, Vector, Wrt, plain};
use burn::module::{Module, Param};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::tensor::{DType, Device, FloatDType, IntDType, Tensor};

#[derive(Module, Debug)]
struct Pair {
    matrix: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
struct Only {
    only: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
struct Nested {
    inner: Pair,
}

fn device() -> Device {
    // Burn fixes the element types of a device once per process.
    static F64: Once = Once::new();
    F64.call_once(|| Device::flex().configure((FloatDType::F64, IntDType::I64)).unwrap());
    Device::flex()
}

fn pair(rows: usize) -> Pair {
    Pair {
        matrix: Param::from_tensor(Tensor::ones([rows, 2], &device())),
        bias: Param::from_tensor(Tensor::zeros([2], &device())),
    }
}

fn layout(rows: usize) -> Arc<Layout> {
    Layout::of(&pair(rows))
}

fn vector(layout: &Arc<Layout>, values: &[f64]) -> Vector {
    Vector::from_slice(layout, values, &device())
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
    let start = Vector::from_module(&layout, &pair);
    assert_eq!(start.to_vec(), [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
    let a = vector(&layout, &A);
    assert_eq!(a.to_vec(), A);
    let written = a.write_into(pair.clone());
    assert_eq!(Vector::from_module(&layout, &written).to_vec(), A);
    assert_eq!(Vector::from_module(&layout, &pair).to_vec(), start.to_vec());
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
    Vector::from_module(&layout(2), &pair(2));
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

fn paths(layout: &Layout) -> Vec<&str> {
    layout.leaves().iter().map(|leaf| leaf.path.as_str()).collect()
}

#[derive(Module, Debug)]
struct Network {
    first: Linear,
    norm: BatchNorm,
    last: Linear,
}

fn network(device: &Device) -> Network {
    Network {
        first: LinearConfig::new(2, 3).init(device),
        norm: BatchNormConfig::new(3).init(device),
        last: LinearConfig::new(3, 1).init(device),
    }
}

#[test]
fn variables_are_the_trainable_parameters_on_devices_with_gradients_and_without() {
    let all = ["first.weight", "first.bias", "norm.gamma", "norm.beta", "last.weight", "last.bias"];
    for device in [device(), device().autodiff()] {
        let network = network(&device);
        assert_eq!(paths(&Layout::of(&network)), all);
        // Nor is anything lost on the way to the other kind of device and back.
        assert_eq!(paths(&Layout::of(&plain(network.clone()))), all);
        assert_eq!(paths(&Layout::of(&network.clone().valid())), all);
        assert_eq!(paths(&Layout::of(&network.clone().train())), all);
        let layout = Layout::of(&network);
        let written = Vector::from_module(&layout, &network).scale(2.0).write_into(network.clone());
        assert_eq!(*Layout::of(&written), *layout);
        let mut partly = network.clone();
        partly.first = partly.first.no_grad();
        partly.norm = partly.norm.freeze();
        assert_eq!(paths(&Layout::of(&partly)), all[4..]);
        assert_eq!(paths(&Layout::of(&plain(partly))), all[4..]);
        assert!(Layout::of(&network.no_grad()).leaves().is_empty());
    }
}

#[test]
fn modules_on_devices_with_gradients_give_plain_vectors_and_stay_where_they_are() {
    let network = network(&device().autodiff());
    let layout = Layout::of(&network);
    let v = Vector::from_module(&layout, &network);
    assert!(!v.device().is_autodiff());
    let written = v.scale(2.0).write_into(network);
    let weight = written.first.weight.val();
    assert!(weight.is_autodiff() && weight.is_require_grad());
    assert_eq!(Vector::from_module(&layout, &written).to_vec(), v.scale(2.0).to_vec());
    let moved = plain(written);
    assert!(!moved.first.weight.val().is_autodiff());
    assert!(moved.norm.training.is_enabled(), "what a layer does in training is not forgotten");
}

#[test]
fn a_parameter_at_two_places_is_one_variable_that_moves_at_both() {
    let one = pair(2);
    let twice = [one.clone(), one];
    let layout = Layout::of(&twice.to_vec());
    assert_eq!(paths(&layout), ["0.matrix", "0.bias"]);
    let written = vector(&layout, &A).write_into(twice.to_vec());
    for pair in &written {
        assert_eq!(pair.matrix.val().into_data().iter::<f64>().collect::<Vec<_>>(), A[..4]);
    }
    // Where the places disagree, the first one counts.
    let apart = vec![written[0].clone(), twice[1].clone()];
    assert_eq!(Vector::from_module(&layout, &apart).to_vec(), A);
}

#[test]
#[should_panic(expected = "`matrix` has the shape")]
fn a_parameter_of_another_shape_is_no_value_of_a_variable() {
    let small = pair(2);
    let layout = Layout::of(&small);
    let large = Pair {
        matrix: Param::initialized(small.matrix.id, Tensor::ones([3, 2], &device())),
        ..small
    };
    let _ = Vector::from_module(&layout, &large);
}

#[test]
#[should_panic(
    expected = "`matrix` has the element type F32, expected F64: take the layout from this module"
)]
fn a_parameter_of_another_element_type_is_no_value_of_a_variable() {
    let pair = pair(2);
    let layout = Layout::of(&pair);
    let matrix = pair.matrix.map(|value| value.cast(DType::F32));
    Vector::from_module(&layout, &Pair { matrix, bias: pair.bias });
}

#[test]
fn a_vector_of_another_element_type_than_its_variables_panicked_in_a_kernel() {
    type Nothing = Option<Param<Tensor<1>>>;
    let pair = pair(2);
    let recorded = Recorded::<Nothing, Pair, ()>::new(&None, &pair).unwrap();
    let x = Vector::from_module(recorded.upper_layout(), &Nothing::None);
    let y = Vector::from_module(recorded.lower_layout(), &pair);
    let half = |leaf| Tensor::<1>::from_dispatch(leaf).cast(DType::F32).into_dispatch();
    let loss = |_: &Nothing, y: &Pair, (): &()| y.matrix.val().sum() + y.bias.val().sum();
    let value = |y: &Vector| recorded.value(&x, y, &(), &loss).map(drop);
    let product =
        |v: &Vector| recorded.product(&x, &y, &(), Direction::in_y(v), Wrt::Y, &loss).map(drop);
    assert_eq!((value(&y), product(&y)), (Ok(()), Ok(())));
    let cast = y.map(half);
    for found in [value(&cast), product(&cast)] {
        let error = found.unwrap_err();
        assert!(matches!(&error, TraceError::ElementType { path, .. } if path == "matrix"));
        let text = error.to_string();
        assert!(
            text.contains("F32") && text.contains("F64") && text.contains("take the vector"),
            "{text}"
        );
    }
}

#[test]
fn sums_of_squares_stay_in_range_in_every_element_type() {
    for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
        let values = |value: f64| {
            let tensor = Tensor::<1>::full([1000], value, (&device(), dtype));
            let only = Only { only: Param::from_tensor(tensor) };
            Vector::from_module(&Layout::of(&only), &only)
        };
        let (large, small) = match dtype {
            DType::F16 => (6e4, 1e-7),
            DType::F64 => (1e300, 1e-300),
            _ => (1e38, 1e-37),
        };
        for value in [large, small, 1.0] {
            let v = values(value);
            let expected = v.to_vec()[0] * 1000_f64.sqrt();
            let found = v.norm();
            assert!((found / expected - 1.0).abs() < 1e-5, "{dtype:?}: {found} is not {expected}");
        }
        assert_eq!(values(0.0).norm(), 0.0);
        assert!(!values(f64::NAN).norm().is_finite());
        assert!(!values(f64::INFINITY).norm().is_finite());
        if dtype != DType::F64 {
            let v = values(large);
            let (found, expected) = (v.dot(&v), 1000.0 * v.to_vec()[0].powi(2));
            assert!((found / expected - 1.0).abs() < 1e-5, "{dtype:?}: {found} is not {expected}");
        }
    }
}
