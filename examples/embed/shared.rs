//! Two lower problems of different kinds that share one x: a ridge regression, and the logarithms of counts.
//!
//! The lower variable is the pair of both, and f the sum of their losses. Neither loss depends on the other's variable,
//! so the pair solves both problems, and its hypergradient is that of both: any method works, and each part may have
//! its own rate.

use bilevel::*;
use burn::module::Param;
use burn::tensor::{Device, Tensor};

/// `F = norm(w)^2 / 2 + sum(c^2) / 2` at the solutions w and c.
pub struct Shared;

type Weights = Param<Tensor<1>>;
type Rates = Param<Tensor<2>>;

impl BilevelProblem for Shared {
    type Upper = Param<Tensor<1>>; // one number
    type Lower = (Weights, Rates);
    type Batch = ();

    fn upper_loss(&self, _: &Self::Upper, (w, c): &(Weights, Rates), _: &()) -> Tensor<1> {
        w.val().powi_scalar(2).sum() / 2 + c.val().powi_scalar(2).sum() / 2
    }

    fn lower_loss(&self, x: &Self::Upper, (w, c): &(Weights, Rates), _: &()) -> Tensor<1> {
        let (x, w, c) = (x.val(), w.val(), c.val());
        let [a, b] = [A, B].map(|values| Tensor::<1>::from_data(values, &w.device()));
        // norm(a * w - b)^2 / 2 + exp(x) norm(w)^2 / 2
        let fit = (a * w.clone() - b).powi_scalar(2).sum();
        let ridge = (fit + x.clone().exp() * w.powi_scalar(2).sum()) / 2;
        // sum(exp(c - x) - m * c)
        let m = Tensor::<2>::from_data(M, &c.device());
        let counts = (c.clone() - x.unsqueeze::<2>()).exp().sum() - (m * c).sum();
        ridge + counts
    }
}

const X: f64 = 0.3;
const A: [f64; 3] = [1.0, 0.5, -0.8];
const B: [f64; 3] = [0.7, -1.1, 0.4];
const M: [[f64; 2]; 2] = [[1.3, 0.6], [0.9, 2.0]];

/// dF/dx by 200 unrolled steps and by the implicit formula after Newton's steps, and in closed form.
pub fn run(device: &Device) -> Result<[f64; 3], Error> {
    let x = Param::from_tensor(Tensor::<1>::from_data([X], device));
    let y = (
        Param::from_tensor(Tensor::<1>::zeros([3], device)),
        Param::from_tensor(Tensor::<2>::zeros([2, 2], device)),
    );
    let oracle = AutodiffOracle::new(Shared, &x, &y, FullBatch { upper: (), lower: () })?;
    let rate = Coefficient::parts([("0", 0.5.into()), ("1", 0.6.into())]);
    let unrolled = Unrolled::rad(Descent::new(Gd::new(rate)?, 200)?);
    let implicit = Implicit::new(Newton::new(50, 1e-12)?, Cg::new(20, 1e-14)?);
    let gradient = |mut method: Box<dyn HypergradientMethod>| {
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let problem = LowerProblem::new(&oracle, &x, Samples::default());
        Ok::<_, Error>(method.hypergradient(problem, &y)?.gradient.to_vec()[0])
    };
    Ok([gradient(Box::new(unrolled))?, gradient(Box::new(implicit))?, closed_form()])
}

/// `w_i = a_i b_i / (a_i^2 + e^x)`, and `c_ij = x + log m_ij`.
fn closed_form() -> f64 {
    let ridge = A.iter().zip(B).map(|(a, b)| {
        let (w, scale) = (a * b / (a * a + X.exp()), -X.exp() / (a * a + X.exp()));
        w * scale * w
    });
    ridge.sum::<f64>() + M.as_flattened().iter().map(|m| X + m.ln()).sum::<f64>()
}
