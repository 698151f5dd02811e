//! Derived batches: which tensors they give, and that reading them back restores the batch.

use bilevel_program::{Batch, Tensors};
use burn::tensor::{Device, Float, Int, Tensor, TensorData};

#[derive(Clone, Debug, Batch)]
struct Labelled {
    images: Tensor<2>,
    labels: Tensor<1, Int>,
    #[batch(skip)]
    name: &'static str,
}

#[derive(Clone, Debug, Batch)]
struct Pair(Tensor<1>, Tensor<1>);

#[derive(Clone, Debug, PartialEq, Batch)]
struct Nothing;

#[derive(Clone, Debug, Batch)]
#[allow(clippy::large_enum_variant, reason = "a case of the test")]
enum Source {
    Nothing,
    Pair(#[batch(skip)] usize, Pair),
    Named { images: Labelled, weights: Option<Tensor<1>> },
}

#[derive(Clone, Debug, Batch)]
enum Never {}

/// Everything that a batch may be made of.
#[derive(Clone, Debug, Batch)]
struct Nested<T, const N: usize>
where
    T: std::fmt::Debug,
{
    generic: T,
    list: Vec<Tensor<1>>,
    array: [Tensor<1>; N],
    option: Option<Pair>,
    tuple: (Tensor<1>, Vec<Source>),
    unit: Nothing,
    #[batch(skip)]
    name: String,
    never: Option<Never>,
}

fn vector(values: &[f32]) -> Tensor<1> {
    Tensor::from_floats(values, &Device::flex())
}

fn pair(from: f32) -> Pair {
    Pair(vector(&[from]), vector(&[from + 1.0, from + 2.0]))
}

fn labelled(from: i32, name: &'static str) -> Labelled {
    Labelled {
        images: vector(&[0.0, 1.0, 2.0]).reshape([1, 3]) + from as f32,
        labels: Tensor::from_ints([from + 3, from + 4], &Device::flex()),
        name,
    }
}

/// Its numbers count up from `from`, in the order of the fields.
fn nested(from: i32, name: &'static str) -> Nested<Labelled, 2> {
    let at = |offset: i32| (from + offset) as f32;
    let named = Source::Named { images: labelled(from + 13, name), weights: None };
    let sources = vec![Source::Nothing, named, Source::Pair(from as usize, pair(at(18)))];
    Nested {
        generic: labelled(from, name),
        list: vec![vector(&[at(5)]), vector(&[at(6)])],
        array: [vector(&[at(7)]), vector(&[at(8)])],
        option: Some(pair(at(9))),
        tuple: (vector(&[at(12)]), sources),
        unit: Nothing,
        name: name.to_owned(),
        never: None,
    }
}

/// What is given of a [`nested`] one, in order.
fn given(batch: &Nested<Labelled, 2>) -> Vec<TensorData> {
    let mut tensors = Tensors::of(batch);
    let mut data = Vec::new();
    let labelled = |tensors: &mut Tensors, data: &mut Vec<_>| {
        data.push(tensors.pop::<2, Float>().into_data());
        data.push(tensors.pop::<1, Int>().into_data());
    };
    labelled(&mut tensors, &mut data);
    data.extend((0..7).map(|_| tensors.pop::<1, Float>().into_data()));
    labelled(&mut tensors, &mut data);
    data.extend((0..2).map(|_| tensors.pop::<1, Float>().into_data()));
    data
}

fn numbers(given: &[TensorData]) -> Vec<i32> {
    given.iter().flat_map(|data| data.iter::<i32>().collect::<Vec<_>>()).collect()
}

/// `shape` with the tensors of `batch`.
fn through<T: Batch>(batch: &T, shape: &T) -> T {
    shape.read_tensors(&mut Tensors::of(batch))
}

#[test]
fn tensors_are_given_in_the_order_of_the_fields() {
    assert_eq!(numbers(&given(&nested(40, "mine"))), (40..61).collect::<Vec<_>>());
    let Source::Named { images, weights: None } = &nested(7, "mine").tuple.1[1] else {
        unreachable!("it is the second");
    };
    assert_eq!(images.images.clone().into_data().iter::<i32>().collect::<Vec<_>>(), [20, 21, 22]);
}

#[test]
fn a_batch_taken_back_has_the_tensors_that_were_given_and_the_rest_of_the_shape() {
    let found = through(&nested(40, "mine"), &nested(0, "shape"));
    assert_eq!(given(&found), given(&nested(40, "mine")));
    assert_eq!((found.name.as_str(), found.generic.name), ("shape", "shape"));
    assert!(matches!(&found.tuple.1[1], Source::Named { images, .. } if images.name == "shape"));
    assert!(matches!(&found.tuple.1[2], Source::Pair(0, _)));

    assert_eq!(through(&Nothing, &Nothing), Nothing);
    let Pair(first, second) = through(&pair(4.0), &pair(0.0));
    assert_eq!(first.into_data(), vector(&[4.0]).into_data());
    assert_eq!(second.into_data(), vector(&[5.0, 6.0]).into_data());
}

#[test]
fn shapes_are_those_of_the_tensors_that_were_given() {
    let shape = labelled(0, "shape");
    let given = Labelled { images: shape.images.clone().repeat_dim(0, 5), ..shape.clone() };
    assert_eq!(through(&given, &shape).images.dims(), [5, 3]);
}

#[test]
fn variants_and_lengths_are_noted() {
    let noted = |tensors: Tensors, variants: &str| {
        let shown = format!("{tensors:?}");
        assert!(shown.ends_with(&format!("variants: {variants} }}")), "{variants} in {shown}");
    };
    noted(Tensors::of(&Source::Nothing), "[0]");
    noted(Tensors::of(&Source::Pair(3, pair(0.0))), "[1]");
    noted(Tensors::of(&Nothing), "[]");
    // The list, the option, the list of sources and what they are, the weights of one; and the other option.
    noted(Tensors::of(&nested(0, "mine")), "[2, 1, 3, 0, 2, 0, 1, 0]");
}

#[test]
#[should_panic(expected = "a batch takes the tensors that it gave")]
fn a_longer_batch_is_not_made_of_a_shorter_one() {
    through(&vec![pair(0.0)], &vec![pair(0.0), pair(1.0)]);
}
