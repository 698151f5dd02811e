//! What single precision must not change, on flex.

use bilevel_core::linear::{LinearSolver, LinearStatus, NormalCg, Operator, System};
use bilevel_program::{Layout, Vector};
use burn::nn::LinearConfig;
use burn::tensor::Device;

fn device() -> Device {
    Device::flex()
}

#[expect(dead_code, reason = "the answers are for double precision")]
mod common;
#[path = "common/resume.rs"]
mod resume;

#[test]
fn normal_cg_finds_a_system_without_solution() {
    let module = LinearConfig::new(4, 1).with_bias(false).init(&device());
    let layout = Layout::of(&module);
    let point = |values: &[f64]| Vector::from_slice(&layout, values, &device());
    // `P diag(scale) P`, P the projection on what u is orthogonal to.
    let (u, scale) = ([0.3, -0.7, 1.1, 0.4], [0.5, 0.9, 1.3, 1.7]);
    let square: f64 = u.iter().map(|u| u * u).sum();
    let project = |v: &[f64]| -> Vec<f64> {
        let along = v.iter().zip(u).map(|(v, u)| v * u).sum::<f64>() / square;
        v.iter().zip(u).map(|(v, u)| v - along * u).collect()
    };
    let product = |v: &Vector| {
        let scaled: Vec<_> = project(&v.to_vec()).iter().zip(scale).map(|(v, s)| v * s).collect();
        point(&project(&scaled))
    };
    let operator = Operator::symmetric(&product);
    let rhs = point(&[1.0, 0.2, 0.5, -0.6]);
    let found = NormalCg::new(500, 1e-6).unwrap().solve(&System::new(&operator, &rhs)).unwrap();
    assert_eq!(found.status, LinearStatus::Singular, "residual {:?}", found.residual);
    assert!(found.products < 50, "{}", found.products);
}
