//! The dual of a support vector machine with a learned bound C: `0 <= a_i <= C`, compared with its active set in closed
//! form.

use bilevel::*;
use burn::module::Param;
use burn::tensor::{Device, Tensor};

/// `f = a'Q a / 2 - sum a` over the box; `F = norm(a - a_0)^2 / 2`.
pub struct Dual;

impl BilevelProblem for Dual {
    type Upper = Param<Tensor<1>>; // log C
    type Lower = Param<Tensor<1>>; // a
    type Batch = Tensor<2>; // Q

    fn upper_loss(&self, _: &Self::Upper, a: &Self::Lower, _: &Tensor<2>) -> Tensor<1> {
        (a.val() - 0.3).powi_scalar(2).sum() / 2
    }

    fn lower_loss(&self, _: &Self::Upper, a: &Self::Lower, q: &Tensor<2>) -> Tensor<1> {
        let a = a.val();
        let turned = q.clone().matmul(a.clone().unsqueeze_dim(1)).squeeze_dim::<1>(1);
        (a.clone() * turned).sum() / 2 - a.sum()
    }
}

const C: f64 = 0.6;
/// Points of two features, and their classes; Q has `c_i c_j (<p_i, p_j> + 1/2)`, and 1/10 more on the diagonal.
const POINTS: [([f64; 2], f64); 5] = [
    ([1.0, 0.2], 1.0),
    ([0.4, 0.9], 1.0),
    ([-0.8, 0.1], -1.0),
    ([-0.2, -1.1], -1.0),
    ([0.3, -0.2], 1.0),
];

fn q(i: usize, j: usize) -> f64 {
    let ((p, c), (r, d)) = (POINTS[i], POINTS[j]);
    c * d * (p[0] * r[0] + p[1] * r[1] + 0.5) + if i == j { 0.1 } else { 0.0 }
}

/// dF / d log C by `fixed-point` and by `rad`, and by the active set.
pub fn run(device: &Device) -> Result<[f64; 3], Error> {
    let (log_c, a) = ([C.ln()], [0.0; 5]);
    let parameter = |values: &[f64]| Param::from_tensor(Tensor::<1>::from_data(values, device));
    let rows: Vec<_> = (0..5).flat_map(|i| (0..5).map(move |j| q(i, j))).collect();
    let q = Tensor::<1>::from_data(rows.as_slice(), device).reshape([5, 5]);
    let data = FullBatch { upper: q.clone(), lower: q };
    let oracle = AutodiffOracle::new(Dual, &parameter(&log_c), &parameter(&a), data)?;
    let steps = || {
        // The box [0, C] is [0, 1] times C.
        let bounds = Scaled::new(Bounds::new(0.0, 1.0)?, Coefficient::exp(""))?;
        Descent::new(Projected::new(Gd::new(0.25)?, bounds), 1500)
    };
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let found = FixedPoint::new(steps()?, 1500, 1e-12)?.hypergradient(problem, &y)?;
    let rad = Unrolled::rad(steps()?).hypergradient(problem, &y)?.gradient;
    let expected = active_set(&found.lower.to_vec());
    Ok([found.gradient.to_vec()[0], rad.to_vec()[0], expected])
}

/// At the bounds `da/dC` is 0 or 1, between them `Q_ff (da/dC)_f = -sum_j Q_fj` over those at C.
fn active_set(a: &[f64]) -> f64 {
    let free: Vec<_> = (0..5).filter(|&i| a[i] > 1e-9 && a[i] < C - 1e-9).collect();
    let full: Vec<_> = (0..5).filter(|&i| a[i] >= C - 1e-9).collect();
    let mut slope = [0.0; 5];
    full.iter().for_each(|&i| slope[i] = 1.0);
    // Gauss-Seidel: Q is positive definite.
    for _ in 0..5000 {
        for &i in &free {
            let others: f64 = (0..5).filter(|&j| j != i).map(|j| q(i, j) * slope[j]).sum();
            slope[i] = -others / q(i, i);
        }
    }
    (0..5).map(|i| (a[i] - 0.3) * slope[i] * C).sum()
}
