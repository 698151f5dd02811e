//! A learned optimiser: a small network that computes the step of each entry of y, trained through ten steps.

use bilevel::*;
use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};

#[derive(Module, Debug)]
pub struct Optimiser {
    hidden: Linear,
    step: Linear,
}

impl Optimiser {
    fn new(device: &Device) -> Self {
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        Self { hidden: linear(2, 6), step: linear(6, 1) }
    }

    /// `v' = 0.9 v + g`, `y' = y - 0.1 network(g, v')`, for each entry.
    fn update(&self, at: Entries, g: Tensor<1>, _: Tensor<1, Int>) -> Entries {
        let v = at.memory[0].clone() * 0.9 + g.clone();
        let features = Tensor::stack::<2>(vec![g, v.clone()], 1);
        let step = self.step.forward(self.hidden.forward(features).tanh());
        Entries { y: at.y - step.squeeze_dim::<1>(1) * 0.1, memory: vec![v] }
    }
}

/// Rosenbrock's valley, which every start of y should leave as quickly as ten steps allow.
pub struct Valley;

fn loss(y: &Param<Tensor<1>>) -> Tensor<1> {
    let (a, b) = (y.val().slice(0..1), y.val().slice(1..2));
    (b - a.clone().powi_scalar(2)).powi_scalar(2) * 5 + (a - 1.0).powi_scalar(2)
}

impl BilevelProblem for Valley {
    type Upper = Optimiser;
    type Lower = Param<Tensor<1>>;
    type Batch = ();

    fn upper_loss(&self, _: &Optimiser, y: &Self::Lower, _: &()) -> Tensor<1> {
        loss(y)
    }

    fn lower_loss(&self, _: &Optimiser, y: &Self::Lower, _: &()) -> Tensor<1> {
        loss(y)
    }
}

/// The check of the hypergradient against differences, and the mean of F over the first and the last 20 upper steps.
pub fn run(device: &Device) -> Result<(HypergradientReport, [f64; 2]), Error> {
    let network = Optimiser::new(device);
    let start = |at: [f64; 2]| Param::from_tensor(Tensor::<1>::from_data(at, device));
    let data = FullBatch { upper: (), lower: () };
    let oracle = AutodiffOracle::new(Valley, &network, &start([-0.5, 0.8]), data)?;
    let steps = || {
        let step = Custom::learned("network", "", &network, Optimiser::update);
        Descent::new(step.with_memory(1), 10)
    };
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let truth = steps()?;
    // The loss varies strongly over ten steps down the valley: differences use a shorter step than usual.
    let reference = Reference::differences(&truth, 1e-7).with_step(2e-4);
    let report = check_hypergradient(|| Ok(Unrolled::rad(steps()?)), &oracle, &x, &y, &reference)?;
    let adam = BurnOptimizer::new(burn::optim::AdamConfig::new().build(), &network, 0.01)?;
    // A new start of y each time, drawn by its number.
    let draw = |k: u64| {
        let angle = k as f64 * 2.4;
        oracle.lower_vector(&start([-0.5 + 0.3 * angle.cos(), 0.8 + 0.3 * angle.sin()])).unwrap()
    };
    let mut solver = HypergradientSolver::new(&oracle, Unrolled::rad(steps()?), adam, x, y)
        .with_drawn_start(draw)?;
    let losses: Result<Vec<_>, _> =
        (0..150).map(|k| solver.step(k).map(|seen| seen.upper_loss)).collect();
    let losses = losses?;
    let mean = |part: &[f64]| part.iter().sum::<f64>() / 20.0;
    Ok((report, [mean(&losses[..20]), mean(&losses[130..])]))
}
