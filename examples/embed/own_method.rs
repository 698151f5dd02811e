//! A hypergradient method of your own: the implicit formula where the Hessian of f in y is a multiple of the identity.

use bilevel::*;
use burn::module::Param;
use burn::tensor::{Device, Tensor};

/// `F = norm(y - t)^2 / 2` and `f = norm(y - b)^2 / 2 + e^x norm(y)^2 / 2`, so that `f_yy = (1 + e^x) I`.
pub struct Shrunk;

const B: [f64; 3] = [1.0, -2.0, 0.5];
const T: [f64; 3] = [0.4, -0.9, 0.6];

impl BilevelProblem for Shrunk {
    type Upper = Param<Tensor<1>>;
    type Lower = Param<Tensor<1>>;
    type Batch = Tensor<1>;

    fn upper_loss(&self, _: &Self::Upper, y: &Self::Lower, t: &Tensor<1>) -> Tensor<1> {
        (y.val() - t.clone()).powi_scalar(2).sum() / 2
    }

    fn lower_loss(&self, x: &Self::Upper, y: &Self::Lower, b: &Tensor<1>) -> Tensor<1> {
        let squares = y.val().powi_scalar(2).sum();
        ((y.val() - b.clone()).powi_scalar(2).sum() + x.val().exp() * squares) / 2
    }
}

/// `g = F_x - f_xy' F_y / c`, with c the curvature of f along `F_y`: two products after the lower steps.
#[derive(Clone, Debug)]
pub struct OneCurvature(Descent);

impl HypergradientMethod for OneCurvature {
    fn name(&self) -> &'static str {
        "one-curvature"
    }
    fn describe(&self) -> String {
        format!("one-curvature(after {})", self.0.describe())
    }
    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        let descended = self.0.run(&problem, start)?;
        let y = descended.state.y;
        let (upper_loss, partials) = problem.gradient(Objective::Upper, &y, Wrt::Both);
        let (direct, slope) = partials.into_both();
        let along = Direction::in_y(&slope);
        let (mixed, curved) = problem.product(Objective::Lower, &y, along, Wrt::Both).into_both();
        let curvature = slope.dot(&curved) / slope.dot(&slope);
        Ok(Hypergradient {
            gradient: direct.axpy(-1.0 / curvature, &mixed),
            start: None,
            lower: y,
            upper_loss,
            lower_loss: descended.end_loss,
            status: Status::Approximate,
        })
    }
    fn save(&self, _: &mut Snapshot) {}
}

/// dF/dx at x = 0.3 by this method, and in closed form.
pub fn run(device: &Device) -> Result<[f64; 2], Error> {
    let x = Param::from_tensor(Tensor::<1>::from_data([0.3], device));
    let y = Param::from_tensor(Tensor::<1>::zeros([3], device));
    let data =
        FullBatch { upper: Tensor::from_data(T, device), lower: Tensor::from_data(B, device) };
    let oracle = AutodiffOracle::new(Shrunk, &x, &y, data)?;
    let mut method = OneCurvature(Descent::new(Gd::new(0.4)?, 100)?);
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let found = method.hypergradient(LowerProblem::new(&oracle, &x, Samples::default()), &y)?;
    // y* = b / (1 + e^x)
    let (e, c) = (0.3_f64.exp(), 1.0 + 0.3_f64.exp());
    let expected = B.iter().zip(T).map(|(b, t)| (b / c - t) * -e * b / (c * c)).sum();
    Ok([found.gradient.to_vec()[0], expected])
}
