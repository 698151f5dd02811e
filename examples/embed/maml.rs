//! MAML: a start from which a network adapts to a task in a few steps, compared with differences of the adapted loss.

use bilevel::program::Vector;
use bilevel::*;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

#[derive(Module, Debug)]
pub struct Network {
    hidden: Linear,
    head: Linear,
}

impl Network {
    fn new(device: &Device) -> Self {
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        Self { hidden: linear(1, 8), head: linear(8, 1) }
    }

    fn loss(&self, points: &Tensor<2>) -> Tensor<1> {
        let (inputs, targets) = (points.clone().narrow(1, 0, 1), points.clone().narrow(1, 1, 1));
        let found = self.head.forward(self.hidden.forward(inputs).tanh());
        (found - targets).powi_scalar(2).mean()
    }
}

/// x and y are one network: x the start, y the adapted one. Points are rows of an input and a target.
pub struct Adapt;

impl BilevelProblem for Adapt {
    type Upper = Network;
    type Lower = Network;
    type Batch = Vec<Tensor<2>>; // of one task

    fn upper_loss(&self, _: &Network, y: &Network, task: &Vec<Tensor<2>>) -> Tensor<1> {
        y.loss(&task[1])
    }

    fn lower_loss(&self, _: &Network, y: &Network, task: &Vec<Tensor<2>>) -> Tensor<1> {
        y.loss(&task[0])
    }
}

/// Sine waves of several phases: training points and test points.
fn tasks(device: &Device) -> Vec<Vec<Tensor<2>>> {
    let points = |phase: f64, from: f64| {
        let rows: Vec<_> = (0..6).map(|i| from + 0.9 * f64::from(i)).collect();
        let rows: Vec<_> = rows.into_iter().flat_map(|z| [z, (z + phase).sin()]).collect();
        Tensor::<1>::from_data(rows.as_slice(), device).reshape([6, 2])
    };
    (0..4).map(|k| f64::from(k) * 0.4).map(|p| vec![points(p, -2.5), points(p, -2.0)]).collect()
}

/// The report on MAML's gradient, and the mean of F over the tasks before and after training.
pub fn run(device: &Device) -> Result<(HypergradientReport, [f64; 2]), Error> {
    let network = Network::new(device);
    let data = Batches::new(tasks(device), tasks(device))?;
    let oracle = AutodiffOracle::new(Adapt, &network, &network, data)?;
    let descent = || Descent::new(Gd::new(0.05)?, 3);
    // F on a task, after the steps on it.
    let adapted = |x: &Vector, task| {
        let samples = Samples { upper: Sample(task), lower: Sample(task), index: 0 };
        let problem = LowerProblem::new(&oracle, x, samples);
        let start = oracle.lower_vector(&oracle.upper_module(x))?;
        Ok(problem.value(Objective::Upper, &descent()?.run(&problem, &start)?.state.y).read())
    };
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let value = |x: &Vector, _: &Vector| adapted(x, 0);
    let reference = Reference::value(&value, 1e-7);
    let report = check_hypergradient(|| Ok(Maml::new(descent()?)), &oracle, &x, &y, &reference)?;
    // Step k requests sample k of both levels: the tasks take turns.
    let adam = BurnOptimizer::new(burn::optim::AdamConfig::new().build(), &network, 0.05)?;
    let mut solver = HypergradientSolver::new(&oracle, Maml::new(descent()?), adam, x.clone(), y);
    Executor::new(160)?.run(&mut solver)?;
    let mean =
        |x: &Vector| Ok::<_, Error>((0..4).map(|k| adapted(x, k)).sum::<Result<f64, _>>()? / 4.0);
    Ok((report, [mean(&x)?, mean(solver.x())?]))
}
