//! Hessian-vector products of an ordinary Burn module: the direction of largest curvature of a loss, by power
//! iteration, without forming the Hessian.
//!
//! `cargo run --release -p bilevel-examples --example hvp_of_a_module`

use bilevel::program::{Batch, Direction, Recorded, TraceError, Vector, Wrt};
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, activation};

#[derive(Module, Debug)]
struct Net {
    hidden: Linear,
    output: Linear,
}

#[derive(Clone, Debug, Batch)]
struct Points {
    inputs: Tensor<2>,
    targets: Tensor<2>,
}

/// An ordinary Burn function; it is recorded when it is first differentiated. A loss takes two modules: the
/// first one here has no variables.
fn loss(_: &Vec<Linear>, net: &Net, points: &Points) -> Tensor<1> {
    let hidden = activation::tanh(net.hidden.forward(points.inputs.clone()));
    (net.output.forward(hidden) - points.targets.clone()).powi_scalar(2).mean()
}

/// Returns the largest eigenvalue of the Hessian and the relative residual of `H v = value v`.
pub fn run() -> Result<(f64, f64), TraceError> {
    let device = Device::flex();
    device.seed(0);
    let net = Net {
        hidden: LinearConfig::new(2, 8).init(&device),
        output: LinearConfig::new(8, 1).init(&device),
    };
    let points = Points {
        inputs: Tensor::from_data([[0.1, 0.9], [0.8, 0.2], [0.5, 0.4], [0.3, 0.7]], &device),
        targets: Tensor::from_data([[0.0], [1.0], [0.6], [0.2]], &device),
    };
    let recorded = Recorded::new(&Vec::new(), &net)?;
    let nothing = Vector::from_module(recorded.upper_layout(), recorded.x());
    let at = Vector::from_module(recorded.lower_layout(), &net);
    let hessian = |v: &Vector| {
        let along = Direction::in_y(v);
        let product = recorded.product(&nothing, &at, &points, along, Wrt::Y, &loss)?;
        Ok::<_, TraceError>(product.into_y())
    };
    let mut v = recorded.gradient(&nothing, &at, &points, Wrt::Y, &loss)?.1.into_y();
    println!("{} variables, gradient norm {:.4}", v.layout().size(), v.norm());
    for _ in 0..100 {
        v = v.scale(1.0 / v.norm());
        v = hessian(&v)?;
    }
    v = v.scale(1.0 / v.norm());
    let product = hessian(&v)?;
    let value = v.dot(&product);
    let residual = product.axpy(-value, &v).norm() / value;
    println!("largest eigenvalue {value:.4}, relative residual {residual:.1e}");
    Ok((value, residual))
}

fn main() -> Result<(), TraceError> {
    run().map(drop)
}
