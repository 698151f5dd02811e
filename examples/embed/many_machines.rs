//! Data divided among ranks, here threads of one process: each holds its own rows, and all make the same steps.
//! With `bilevel-mpi` the ranks are processes on many machines, and nothing else changes.

use std::thread;

use bilevel::*;
use burn::module::Param;
use burn::tensor::{Device, Tensor};

/// A learned penalty `e^x` of a mean squared error.
pub struct Fitted;

const ROWS: [[f64; 2]; 8] = [
    [0.5, 1.2],
    [-1.0, -1.7],
    [1.5, 3.3],
    [0.2, 0.1],
    [-0.6, -1.4],
    [0.9, 2.1],
    [1.1, 1.9],
    [-0.3, 0.2],
];

fn error(y: &Param<Tensor<1>>, rows: &Tensor<2>) -> Tensor<1> {
    let (inputs, targets) = (rows.clone().narrow(1, 0, 1), rows.clone().narrow(1, 1, 1));
    (inputs * y.val().unsqueeze_dim(1) - targets).powi_scalar(2).mean()
}

impl BilevelProblem for Fitted {
    type Upper = Param<Tensor<1>>;
    type Lower = Param<Tensor<1>>;
    type Batch = Tensor<2>;

    fn upper_loss(&self, _: &Self::Upper, y: &Self::Lower, rows: &Tensor<2>) -> Tensor<1> {
        error(y, rows)
    }

    fn lower_loss(&self, x: &Self::Upper, y: &Self::Lower, rows: &Tensor<2>) -> Tensor<1> {
        error(y, rows) + x.val().exp() * y.val().powi_scalar(2)
    }
}

/// The hypergradient of one rank; the losses are means over four shards of two rows.
fn hypergradient(group: InProcess, device: &Device) -> Result<f64, Error> {
    let shards = || -> Vec<Tensor<2>> {
        let own = group.share(4);
        own.map(|shard| Tensor::from_data([ROWS[2 * shard], ROWS[2 * shard + 1]], device)).collect()
    };
    let data = Batches::new(shards(), shards())?;
    let x = Param::from_tensor(Tensor::<1>::from_data([-1.0], device));
    let y = Param::from_tensor(Tensor::<1>::zeros([1], device));
    let oracle = DataParallel::new(AutodiffOracle::new(Fitted, &x, &y, data)?, group, 4)?;
    let (x, y) = (
        Vector::from_module(oracle.upper_layout(), &x),
        Vector::from_module(oracle.lower_layout(), &y),
    );
    let mut method = Implicit::new(Descent::new(Gd::new(0.3)?, 100)?, Cg::new(5, 1e-14)?);
    let found = method.hypergradient(LowerProblem::new(&oracle, &x, Samples::default()), &y)?;
    Ok(found.gradient.to_vec()[0])
}

/// dF/dx on one rank, on each of two, and in closed form.
pub fn run(device: &Device) -> Result<[f64; 4], Error> {
    let on_ranks = |size| -> Result<Vec<f64>, Error> {
        thread::scope(|scope| {
            let ranks = InProcess::ranks(size).into_iter();
            let all: Vec<_> =
                ranks.map(|rank| scope.spawn(|| hypergradient(rank, device))).collect();
            all.into_iter().map(|rank| rank.join().expect("no rank panics")).collect()
        })
    };
    // With a = mean(u^2), b = mean(u v): y* = b / (a + e^x), F' = 2 (a y* - b).
    let mean = |f: fn(&[f64; 2]) -> f64| ROWS.iter().map(f).sum::<f64>() / 8.0;
    let (a, b, e) = (mean(|r| r[0] * r[0]), mean(|r| r[0] * r[1]), (-1.0_f64).exp());
    let expected = 2.0 * (a * b / (a + e) - b) * -b * e / (a + e).powi(2);
    let (alone, two) = (on_ranks(1)?, on_ranks(2)?);
    Ok([alone[0], two[0], two[1], expected])
}
