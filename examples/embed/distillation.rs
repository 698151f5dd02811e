//! Distilled points: three learned points, shown one at a time, from which a model learns what a whole set contains.

use bilevel::*;
use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// Points and their targets, both learned.
#[derive(Module, Debug)]
pub struct Distilled {
    inputs: Param<Tensor<2>>,
    targets: Param<Tensor<2>>,
}

fn squares(y: &Linear, inputs: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    (y.forward(inputs) - targets).powi_scalar(2).mean()
}

pub struct Distil;

impl BilevelProblem for Distil {
    type Upper = Distilled;
    type Lower = Linear;
    type Batch = (Tensor<2>, Tensor<1, Int>); // real points, and the index of the current distilled point

    fn upper_loss(&self, _: &Distilled, y: &Linear, (real, _): &Self::Batch) -> Tensor<1> {
        squares(y, real.clone().narrow(1, 0, 2), real.clone().narrow(1, 2, 1))
    }

    fn lower_loss(&self, x: &Distilled, y: &Linear, (_, turn): &Self::Batch) -> Tensor<1> {
        let shown = |of: &Param<Tensor<2>>| of.val().select(0, turn.clone());
        squares(y, shown(&x.inputs), shown(&x.targets))
    }
}

/// Draw n uses distilled point n mod 3.
pub struct Turns(Tensor<2>);

impl Data<(Tensor<2>, Tensor<1, Int>)> for Turns {
    fn batch(&self, _: Objective, sample: Sample) -> (Tensor<2>, Tensor<1, Int>) {
        let turn = (sample.0 % 3) as i64;
        (self.0.clone(), Tensor::from_data([turn], &self.0.device()))
    }
}

/// The check of the hypergradient against differences, and F before and after the points are learned.
pub fn run(device: &Device) -> Result<(HypergradientReport, [f64; 2]), Error> {
    let list = |shape: [usize; 2], f: &dyn Fn(f64) -> f64| {
        let values = (0..shape[0] * shape[1]).map(|i| f(i as f64)).collect::<Vec<_>>();
        Tensor::<2>::from_data(TensorData::new(values, shape), device)
    };
    let inputs = list([20, 2], &|i| (i * 1.7).sin());
    let targets = inputs.clone().narrow(1, 0, 1) * 2 - inputs.clone().narrow(1, 1, 1) + 0.5;
    let data = Turns(Tensor::cat(vec![inputs, targets], 1));
    let start = |shape| Param::from_tensor(list(shape, &|i| (i + 1.0).cos()));
    let x = Distilled { inputs: start([3, 2]), targets: start([3, 1]) };
    let y = LinearConfig::new(2, 1).init(device);
    let oracle = AutodiffOracle::new(Distil, &x, &y, data)?;
    let steps =
        || Ok::<_, Error>(Descent::new(Gd::new(0.2)?, 9)?.with_sampler(Sampler::in_order(1, 1)?));
    let (at, y) = (oracle.upper_start(), oracle.lower_start());
    let truth = steps()?;
    let reference = Reference::differences(&truth, 1e-7);
    let report = check_hypergradient(|| Ok(Unrolled::rad(steps()?)), &oracle, &at, &y, &reference)?;
    let adam = BurnOptimizer::new(burn::optim::AdamConfig::new().build(), &x, 0.05)?;
    let mut solver = HypergradientSolver::new(&oracle, Unrolled::rad(steps()?), adam, at, y);
    let first = solver.step(0)?.upper_loss;
    for k in 1..150 {
        solver.step(k)?;
    }
    Ok((report, [first, solver.step(150)?.upper_loss]))
}
