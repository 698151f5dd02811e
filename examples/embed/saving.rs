//! Saving a run and resuming it: the interrupted run makes the same steps as the one that was not, bit for bit.

use bilevel::*;
use burn::module::Param;
use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor};

/// Ridge regression with one penalty `e^x` for all features.
pub struct Ridge;

/// Inputs and targets.
type Rows = (Tensor<2>, Tensor<1>);

fn half_squares(y: &Param<Tensor<1>>, (inputs, targets): &Rows) -> Tensor<1> {
    let fits = inputs.clone().matmul(y.val().unsqueeze_dim(1)).squeeze_dim::<1>(1);
    (fits - targets.clone()).powi_scalar(2).sum() / 2
}

impl BilevelProblem for Ridge {
    type Upper = Param<Tensor<1>>;
    type Lower = Param<Tensor<1>>;
    type Batch = Rows;

    fn upper_loss(&self, _: &Self::Upper, y: &Self::Lower, rows: &Rows) -> Tensor<1> {
        half_squares(y, rows)
    }

    fn lower_loss(&self, x: &Self::Upper, y: &Self::Lower, rows: &Rows) -> Tensor<1> {
        half_squares(y, rows) + x.val().exp() * y.val().powi_scalar(2).sum() / 2
    }
}

/// x and y after `steps` upper steps in all, from the state in `file` if it has one.
fn descend_to(steps: usize, file: &CheckpointFile, device: &Device) -> Result<Vec<f64>, Error> {
    let rows = |shift: f64| -> Rows {
        let inputs = Tensor::from_data([[1.0, 0.2], [-0.4, 1.1], [0.3, -0.8]], device);
        (inputs, Tensor::<1>::from_data([1.2, 0.1, 0.4], device) + shift)
    };
    let x = Param::from_tensor(Tensor::<1>::zeros([1], device));
    let y = Param::from_tensor(Tensor::<1>::zeros([2], device));
    let data = FullBatch { upper: rows(-0.3), lower: rows(0.0) };
    let oracle = AutodiffOracle::new(Ridge, &x, &y, data)?;
    // The state of the optimiser and the last y are saved too.
    let adam = BurnOptimizer::new(AdamConfig::new().build(), &x, 0.1)?;
    let method = Unrolled::rad(Descent::new(Gd::new(0.2)?, 10)?);
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let solver = HypergradientSolver::new(&oracle, method, adam, x, y);
    let mut solver = solver.with_start(Start::Warm)?;
    let executor = Executor::new(steps)?.with_checkpoints(file.clone(), Every::Steps(2))?;
    executor.run(&mut solver)?;
    Ok([solver.x().to_vec(), solver.y().to_vec()].concat())
}

/// x and y after 9 upper steps: at once, and with a new process in the middle.
pub fn run(device: &Device) -> Result<[Vec<f64>; 2], Error> {
    let folder = std::env::temp_dir().join(format!("bilevel-saving-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the folder of temporary files is writable");
    let file = |name: &str| CheckpointFile::new(folder.join(name));
    let whole = descend_to(9, &file("whole.bin"), device)?;
    descend_to(5, &file("parts.bin"), device)?;
    // What a second start of the program does: everything is made anew, and the state comes from the file.
    let parts = descend_to(9, &file("parts.bin"), device)?;
    let _ = std::fs::remove_dir_all(folder);
    Ok([whole, parts])
}
