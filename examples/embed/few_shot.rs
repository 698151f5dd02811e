//! Few-shot classification: a representation x under which a head y, fitted to a few points of a task, classifies the
//! task's other points. The head is solved, and differentiated by the implicit function theorem.

use bilevel::program::Vector;
use bilevel::*;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

/// Points of a task: rows of two features and a target of -1 or 1.
#[derive(Batch, Clone, Debug)]
pub struct Task {
    support: Tensor<2>,
    query: Tensor<2>,
}

pub struct FewShot;

/// `mean(log(1 + exp(-c head(tanh(representation(p))))))`
fn logistic(x: &Linear, y: &Linear, rows: &Tensor<2>) -> Tensor<1> {
    let (points, classes) = (rows.clone().narrow(1, 0, 2), rows.clone().narrow(1, 2, 1));
    let scores = y.forward(x.forward(points).tanh()) * classes;
    (scores.neg().exp() + 1.0).log().mean()
}

impl BilevelProblem for FewShot {
    type Upper = Linear;
    type Lower = Linear;
    type Batch = Task;

    fn upper_loss(&self, x: &Linear, y: &Linear, task: &Task) -> Tensor<1> {
        logistic(x, y, &task.query)
    }

    fn lower_loss(&self, x: &Linear, y: &Linear, task: &Task) -> Tensor<1> {
        logistic(x, y, &task.support) + y.weight.val().powi_scalar(2).sum() * 0.1
    }
}

/// Task k: on which side of a line through the circle at an angle is a point, given its squares?
fn tasks(device: &Device) -> Vec<Task> {
    let points = |k: usize, from: usize| {
        let rows = (from..from + 8).flat_map(|i| {
            let (a, b) = ((i as f64 * 2.1).sin(), (i as f64 * 1.3 + 0.4).cos());
            [a, b, (a * a - b * b + 0.2 * (k as f64 - 1.0)).signum()]
        });
        let rows: Vec<_> = rows.collect();
        Tensor::<1>::from_data(rows.as_slice(), device).reshape([8, 3])
    };
    (0..3).map(|k| Task { support: points(k, 0), query: points(k, 20) }).collect()
}

/// The check of the hypergradient against differences of a solved head, and the mean of F over the tasks before and after.
pub fn run(device: &Device) -> Result<(HypergradientReport, [f64; 2]), Error> {
    let (x, y) = (
        LinearConfig::new(2, 6).init(device),
        LinearConfig::new(6, 1).with_bias(false).init(device),
    );
    let data = Batches::new(tasks(device), tasks(device))?;
    let oracle = AutodiffOracle::new(FewShot, &x, &y, data)?;
    let descent = || Descent::new(Nesterov::standard(0.8)?, 100);
    let method = || Ok(Implicit::new(descent()?, Cg::new(30, 1e-12)?));
    let (at, head) = (oracle.upper_start(), oracle.lower_start());
    let truth = descent()?;
    let reference = Reference::differences(&truth, 1e-6);
    let report = check_hypergradient(method, &oracle, &at, &head, &reference)?;
    let mean = |x: &Vector| {
        let each = (0..3).map(|k| {
            let samples = Samples { upper: Sample(k), lower: Sample(k), index: k };
            let problem = LowerProblem::new(&oracle, x, samples);
            Ok(problem.value(Objective::Upper, &descent()?.run(&problem, &head)?.state.y).read())
        });
        Ok::<_, Error>(each.sum::<Result<f64, Error>>()? / 3.0)
    };
    let adam = BurnOptimizer::new(burn::optim::AdamConfig::new().build(), &x, 0.1)?;
    let mut solver = HypergradientSolver::new(&oracle, method()?, adam, at.clone(), head.clone());
    Executor::new(90)?.run(&mut solver)?;
    Ok((report, [mean(&at)?, mean(solver.x())?]))
}
