//! Errors that only a broken rule could cause: derivatives of another function.

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::{Checker, Draw, Report, Tolerances};
use crate::float;
use crate::function::{Again, Function};

#[derive(Module, Debug)]
struct Pair {
    first: Param<Tensor<1>>,
    second: Param<Tensor<1>>,
}

fn pair() -> Pair {
    let device = Device::flex();
    let numbers = |values| Tensor::from_data(TensorData::from(values), (&device, DType::F64));
    Pair {
        first: Param::from_tensor(numbers([0.3, -0.8, 1.1])),
        second: Param::from_tensor(numbers([0.7, 0.2, -0.4])),
    }
}

fn loss(pair: &Pair) -> Tensor<1> {
    (pair.first.val().sin() * pair.second.val().powi_scalar(2)).sum()
}

fn other(pair: &Pair) -> Tensor<1> {
    loss(pair) + pair.second.val().powi_scalar(3).sum()
}

type Scalar = fn(&Pair) -> Tensor<1>;

/// The check of `loss` with the gradient and the products of others.
fn report(gradient: Scalar, product: Scalar) -> Report {
    let of = |f: Scalar| Function::loss(&pair(), &f, Again::Always).unwrap();
    let function = of(loss);
    let value = |point: &crate::Vector| {
        let outputs = function.program.replay().run(&function.inputs(point, &[]));
        float::read_numbers(outputs)[0]
    };
    let mut checker = Checker {
        value: &value,
        gradient: of(gradient).gradient().unwrap(),
        product: of(product).product().unwrap(),
        function: of(loss),
        tolerances: &Tolerances::F64,
        draw: Draw(0x5eed),
    };
    Report { findings: checker.findings() }
}

fn failed(report: &Report) -> Vec<&str> {
    let mut tests: Vec<_> =
        report.findings().iter().filter(|x| !x.is_ok()).map(|x| x.test).collect();
    tests.dedup();
    tests
}

#[test]
fn derivatives_of_the_loss_pass() {
    let report = report(loss, loss);
    report.assert_ok();
    // The report shows what was measured, and how much of it rounding explains.
    let mut errors = report.findings().iter().filter(|finding| finding.test == "gradient");
    assert!(errors.all(|error| error.measured > 0.0 && error.rounding > 0.0), "{report}");
}

#[test]
fn a_second_derivative_of_another_function_is_reported_with_its_parameter() {
    let report = report(loss, other);
    assert_eq!(report.faulty(), ["second"], "{report}");
    assert!(failed(&report).starts_with(&["hessian", "adjoint"]), "{report}");
}

#[test]
fn a_gradient_of_another_function_is_reported_with_its_parameter() {
    let report = report(other, loss);
    assert_eq!(report.faulty(), ["second"], "{report}");
    assert!(failed(&report).contains(&"gradient"), "{report}");
    assert!(failed(&report).contains(&"adjoint"), "{report}");
}
