//! Claims on `quadratic`: every exact method reaches the closed form.

use bilevel_core::*;
use burn::tensor::Device;

use super::{Claim, Findings, distance};
use crate::Quadratic;

const SIZES: (usize, usize) = (4, 8);
const X: [f64; SIZES.0] = [0.4, -0.9, 1.2, 0.1];

pub(super) fn findings(device: &Device) -> Result<Findings, Error> {
    let problem = Quadratic::new(SIZES.0, SIZES.1, 0.2, 0)?;
    let expected = problem.hypergradient(&X);
    let instance = problem.at(&X, &[0.0; SIZES.1], device)?;
    let mut claims = Vec::new();
    for (name, mut method) in methods()? {
        let problem = LowerProblem::new(&instance.oracle, &instance.x, Samples::default());
        let found = method.hypergradient(problem, &instance.y)?;
        let size = expected.iter().map(|v| v * v).sum::<f64>().sqrt();
        let error = distance(&found.gradient.to_vec(), &expected) / size;
        claims.push(Claim {
            problem: "quadratic".to_owned(),
            method: name.to_owned(),
            says: "the closed form, within 1e-8",
            sees: format!("off {error:.1e}"),
            holds: error <= 1e-8,
        });
    }
    Ok(Findings { claims, figures: Vec::new() })
}

type Named = (&'static str, Box<dyn HypergradientMethod>);

fn methods() -> Result<Vec<Named>, Error> {
    let gd = || Descent::new(Gd::new(1.0)?, 150);
    let heavy = || ReversibleMomentum::new(0.5, 0.5);
    Ok(vec![
        ("rad", Box::new(Unrolled::rad(gd()?))),
        (
            "rad through momentum",
            Box::new(Unrolled::rad(Descent::new(Momentum::new(0.5, 0.5)?, 300)?)),
        ),
        ("rad through nesterov", Box::new(Unrolled::rad(Descent::new(Nesterov::new(0.5)?, 300)?))),
        ("rad, reversible momentum", Box::new(ReversibleRad::new(heavy()?, 300)?)),
        ("fad", Box::new(Fad::new(gd()?))),
        ("ia-gm", Box::new(Unrolled::ia_gm(gd()?))),
        ("cg", after(gd()?, Cg::new(50, 1e-13)?)),
        ("normal-cg", after(gd()?, NormalCg::new(50, 1e-12)?)),
        ("gmres", after(gd()?, Gmres::new(50, 1e-13)?)),
        ("bicgstab", after(gd()?, BiCgStab::new(50, 1e-12)?)),
        ("neumann", after(gd()?, Neumann::new(1.0, 200, 1e-12)?)),
        ("dense", after(gd()?, Dense::new())),
        ("fixed-point", Box::new(FixedPoint::new(gd()?, 200, 1e-12)?)),
    ])
}

fn after(descent: Descent, solver: impl LinearSolver + 'static) -> Box<dyn HypergradientMethod> {
    Box::new(Implicit::new(descent, solver))
}
