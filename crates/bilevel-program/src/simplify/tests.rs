//! Each rule: what remains of an expression, and that its values are those of Burn.

use burn::backend::ir::{ActivationOperationIr as Activation, OperationIr};
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, IndexingUpdateOp, Int, Tensor, TensorData, activation};

use crate::execute::name;
use crate::function::{Again, Function};
use crate::{TraceError, float};

#[derive(Module, Debug)]
struct Pair {
    a: Param<Tensor<2>>,
    b: Param<Tensor<2>>,
}

impl Pair {
    fn new() -> Self {
        let values = |salt: usize| {
            let numbers: Vec<f64> =
                (0..9).map(|at| ((at * 37 + salt) % 19) as f64 / 7.0 - 1.3).collect();
            Param::from_tensor(Tensor::from_data(
                TensorData::new(numbers, [3, 3]),
                (&Device::flex(), DType::F64),
            ))
        };
        Self { a: values(3), b: values(8) }
    }
}

type Matrix = Tensor<2>;
type Expression = fn(Matrix, Matrix) -> Matrix;

fn places(a: &Matrix) -> Tensor<1, Int> {
    Tensor::from_data([2_i64, 0, 2], &a.device())
}

fn table(a: &Matrix) -> Tensor<2, Int> {
    Tensor::from_data([[2_i64, 0, 2], [1, 1, 0], [0, 2, 1]], &a.device())
}

/// An expression, and the operations that remain.
const EXACT: &[(&str, Expression, &str)] = &[
    // Signs.
    ("--a", |a, _| -(-a), ""),
    ("-1 a", |a, _| a * -1.0, "neg"),
    ("-1 (-a)", |a, _| -a * -1.0, ""),
    ("2 (-a)", |a, _| -a * 2.0, "mul_scalar"),
    ("-a + b", |a, b| -a + b, "sub"),
    ("a + -b", |a, b| a + -b, "sub"),
    ("a - -b", |a, b| a - -b, "add"),
    ("-a + -b", |a, b| -a + -b, "add neg"),
    ("-a - b, as it is", |a, b| -a - b, "neg sub"),
    ("-a - -b", |a, b| -a - -b, "sub"),
    ("-a b", |a, b| -a * b, "mul neg"),
    ("-a -b", |a, b| -a * -b, "mul"),
    ("-a / b", |a, b| -a / b, "div neg"),
    ("-a / -b", |a, b| -a / -b, "div"),
    ("-1s a", |a, _| -a.ones_like() * a, "neg"),
    ("-1s (-a)", |a, _| -a.ones_like() * -a, ""),
    ("-0.5s a", |a, _| -a.full_like(0.5) * a, "mul_scalar"),
    ("(a + 1) (a + 1.0)", |a, _| (a.clone() + 1) * (a + 1.0), "add_scalar mul"),
    ("(a - 1) (a - 1.0)", |a, _| (a.clone() - 1) * (a - 1.0), "sub_scalar mul"),
    ("-A B", |a, b| (-a).matmul(b), "matmul neg"),
    ("-A -B", |a, b| (-a).matmul(-b), "matmul"),
    ("-a / 3e40", |a, _| -a / 3e40, "div_scalar neg"),
    // Odd operations: the sign comes after them.
    ("reshape", |a, _| (-a).reshape([1, 9]), "reshape neg"),
    ("transpose", |a, _| (-a).transpose(), "swap_dims neg"),
    ("permute", |a, _| (-a).permute([1, 0]), "permute neg"),
    ("flip", |a, _| (-a).flip([0]), "flip neg"),
    ("slice", |a, _| (-a).slice([0..2, 1..3]), "slice neg"),
    ("select", |a, _| (-a.clone()).select(0, places(&a)), "select neg"),
    ("gather", |a, _| (-a.clone()).gather(1, table(&a)), "gather neg"),
    ("repeat", |a, _| (-a).repeat_dim(0, 2), "repeat_dim neg"),
    ("sum", |a, _| (-a).sum().reshape([1, 1]), "sum reshape neg"),
    ("sum over an axis", |a, _| (-a).sum_dim(1), "sum_dim neg"),
    ("mean", |a, _| (-a).mean().reshape([1, 1]), "mean reshape neg"),
    ("mean over an axis", |a, _| (-a).mean_dim(0), "mean_dim neg"),
    ("zeros", |a, b| (-a).mask_fill(b.lower_elem(0.0), 0.0), "lower_elem mask_fill neg"),
    ("other fillings", |a, b| (-a).mask_fill(b.lower_elem(0.0), 2.0), "lower_elem neg mask_fill"),
    (
        "scattered to zeros",
        |a, b| {
            let zeros = a.zeros_like();
            zeros.scatter(1, table(&a), -b, IndexingUpdateOp::Add) * a
        },
        "zeros scatter mul neg",
    ),
    // What is not odd stays.
    ("exp", |a, _| (-a).exp(), "neg exp"),
    ("relu", |a, _| activation::relu(-a), "neg relu"),
    // Ones, zeros and other numbers.
    ("1 a", |a, _| a * 1.0, ""),
    ("a ones", |a, _| a.clone() * a.ones_like(), ""),
    ("ones a", |a, _| a.ones_like() * a, ""),
    ("a / ones", |a, _| a.clone() / a.ones_like(), ""),
    ("ones / a", |a, _| a.ones_like() / a, "recip"),
    ("ones / -a", |a, _| a.ones_like() / -a, "recip neg"),
    ("-ones / a", |a, _| -a.ones_like() / a, "recip neg"),
    ("-ones / -a", |a, _| -a.ones_like() / -a, "recip"),
    ("a -ones", |a, _| a.clone() * -a.ones_like(), "neg"),
    ("a / -ones", |a, _| a.clone() / -a.ones_like(), "neg"),
    ("zeros - a", |a, _| a.zeros_like() - a, "zeros sub"),
    ("a - -ones", |a, _| a.clone() - -a.ones_like(), "ones add"),
    ("a - zeros", |a, _| a.clone() - a.zeros_like(), ""),
    ("a 3s", |a, _| a.clone() * (a.ones_like() * 3.0), "mul_scalar"),
    (
        "3s times 2s",
        |a, _| a.clone() * ((a.ones_like() * 3.0) * (a.ones_like() * 2.0)),
        "mul_scalar",
    ),
    (
        "ones in other shapes",
        |a, _| {
            a.clone() * a.ones_like().reshape([9, 1]).slice([0..3, 0..1]).expand([3, 3]).transpose()
        },
        "",
    ),
    ("a column by ones", |a, b| a.slice([0..3, 0..1]) * b.ones_like(), "slice expand"),
    (
        "a negative column by ones",
        |a, b| -a.slice([0..3, 0..1]) * b.ones_like(),
        "slice expand neg",
    ),
    // Shapes.
    ("its own shape", |a, _| a.reshape([3, 3]), ""),
    ("two shapes", |a, _| a.reshape([9, 1]).reshape([1, 9]), "reshape"),
    ("there and back", |a, _| a.reshape([9, 1]).reshape([3, 3]), ""),
    ("sums of one entry", |a, _| a.slice([0..3, 0..1]).sum_dim(1), "slice"),
    ("means of one entry", |a, _| a.slice([0..3, 0..1]).mean_dim(1), "slice"),
    ("its own type", |a, _| a.cast(DType::F64), ""),
    // Repeated to match another shape.
    ("a column times b", |a, b| a.slice([0..3, 0..1]).expand([3, 3]) * b, "slice mul"),
    ("b plus a row", |a, b| b + a.slice([0..1, 0..3]).expand([3, 3]), "slice add"),
    ("b minus a row", |a, b| b - a.slice([0..1, 0..3]).expand([3, 3]), "slice sub"),
    ("b by a row", |a, b| b / a.slice([0..1, 0..3]).expand([3, 3]), "slice div"),
    ("repeated twice", |a, b| a.slice([0..1, 0..1]).expand([3, 1]).expand([3, 3]) * b, "slice mul"),
    (
        "two that are repeated",
        |a, b| a.slice([0..3, 0..1]).expand([3, 3]) * b.slice([0..1, 0..3]).expand([3, 3]),
        "slice slice expand mul",
    ),
    ("repeated for another", |a, _| a.slice([0..3, 0..1]).expand([3, 3]).exp(), "slice expand exp"),
];

/// Quotients by a number become products, which round differently.
const ROUNDED: &[(&str, Expression, &str)] =
    &[("a / 3", |a, _| a / 3.0, "mul_scalar"), ("-a / 3", |a, _| -a / 3.0, "mul_scalar")];

/// The operations that remain of an expression, and its values by the program and by Burn.
fn simplified(expression: Expression) -> Result<(String, Vec<f64>, Vec<f64>), TraceError> {
    let pair = Pair::new();
    let outputs = |pair: &Pair, (): &()| -> Result<_, TraceError> {
        Ok(vec![expression(pair.a.val(), pair.b.val()).into_dispatch()])
    };
    let function = Function::of(&pair, &(), &outputs, Again::Always)?;
    let names: Vec<_> = function.program.operations.iter().map(name).collect();
    let numbers = |tensor| float::read(tensor).iter::<f64>().collect();
    let found = numbers(function.run(&function.program, &[])?.remove(0));
    let by_burn = expression(pair.a.val(), pair.b.val()).without_autodiff().into_dispatch();
    Ok((names.join(" "), found, numbers(by_burn)))
}

#[test]
fn each_rule_leaves_what_it_says_and_the_same_values() {
    let mut wrong = Vec::new();
    for (rule, expression, expected) in EXACT {
        let (left, found, by_burn) = match simplified(*expression) {
            Ok(simplified) => simplified,
            Err(error) => {
                wrong.push(format!("{rule}: {error}"));
                continue;
            }
        };
        if left != *expected {
            wrong.push(format!("{rule}: `{left}` is left, expected `{expected}`"));
        }
        // 0 is -0 here.
        if found != by_burn {
            wrong.push(format!("{rule}: {found:?}, by Burn {by_burn:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn quotients_become_products() {
    for (rule, expression, expected) in ROUNDED {
        let (left, found, by_burn) = simplified(*expression).unwrap();
        assert_eq!(left, *expected, "{rule}");
        let near = |(a, b): (&f64, &f64)| (a - b).abs() <= f64::EPSILON * b.abs();
        assert!(found.iter().zip(&by_burn).all(near), "{rule}: {found:?}, by Burn {by_burn:?}");
    }
}

#[test]
fn the_slope_of_relu_reads_its_result() {
    // Not its argument, which then need not be kept.
    let loss = |pair: &Pair| activation::relu(pair.a.val() * pair.b.val()).powi_scalar(2).sum();
    let function = Function::loss(&Pair::new(), &loss, Again::Always).unwrap();
    let gradient = function.gradient().unwrap();
    let activations = || {
        gradient.operations.iter().filter_map(|operation| match operation {
            OperationIr::Activation(activation) => Some(activation),
            _ => None,
        })
    };
    let results: Vec<_> = activations()
        .filter_map(|each| match each {
            Activation::Relu(d) => Some(d.out.id),
            _ => None,
        })
        .collect();
    let read: Vec<_> = activations()
        .filter_map(|each| match each {
            Activation::ReluBackward(d) => Some(d.lhs.id),
            _ => None,
        })
        .collect();
    assert_eq!((results.len(), &results), (1, &read), "{gradient}");
}
