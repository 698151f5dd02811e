//! The tasks and the two losses.

use std::f64::consts::PI;

use bilevel_core::{Batch, BilevelProblem, Data, Objective, Sample};
use bilevel_data::{Purpose, stream_at};
use bilevel_models::Mlp;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use rand::Rng;

/// A task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wave {
    amplitude: f64,
    phase: f64,
}

impl Wave {
    /// Its value.
    pub fn at(self, t: f64) -> f64 {
        self.amplitude * (t + self.phase).sin()
    }
}

/// Points of a task, `[n, 1]` each.
#[derive(Clone, Debug, Batch)]
pub struct Points {
    /// Positions.
    pub inputs: Tensor<2>,
    /// Values.
    pub targets: Tensor<2>,
}

/// The tasks of a seed: `Sample(i)` is the i-th.
#[derive(Clone, Debug)]
pub struct Sinusoids {
    /// The seed.
    pub seed: u64,
    /// Points per level.
    pub shot: usize,
    /// The device.
    pub device: Device,
}

impl Sinusoids {
    /// The number of the first test task.
    pub const TEST: u64 = 1 << 60;

    /// The task of a number.
    pub fn wave(&self, task: u64) -> Wave {
        let rng = &mut stream_at(self.seed, Purpose::Episodes, [task, 0, 0]);
        Wave { amplitude: rng.random_range(0.1..5.0), phase: rng.random_range(0.0..PI) }
    }

    /// Points at these places of a task.
    pub fn points(&self, wave: Wave, at: &[f64]) -> Points {
        let column = |values: Vec<f32>| {
            let rows = values.len();
            Tensor::from_data(TensorData::new(values, [rows, 1]), &self.device)
        };
        Points {
            inputs: column(at.iter().map(|t| *t as f32).collect()),
            targets: column(at.iter().map(|t| wave.at(*t) as f32).collect()),
        }
    }

    /// The positions of the points of a level of a task.
    pub fn places(&self, level: Objective, task: u64) -> Vec<f64> {
        let stream = if level == Objective::Lower { 1 } else { 2 };
        let rng = &mut stream_at(self.seed, Purpose::Episodes, [task, stream, 0]);
        (0..self.shot).map(|_| rng.random_range(-5.0..5.0)).collect()
    }
}

impl Data<Points> for Sinusoids {
    fn batch(&self, level: Objective, Sample(task): Sample) -> Points {
        self.points(self.wave(task), &self.places(level, task))
    }
}

/// x: the start of the network, and what else of the lower steps is learned, each as a list that is empty if it is not
/// learned.
#[derive(Module, Debug)]
pub struct Meta {
    /// The network.
    pub initial: Mlp,
    /// A step size for each weight.
    pub rates: Vec<Mlp>,
    /// The factors of a linear map of gradients.
    pub factors: Vec<Param<Tensor<2>>>,
}

/// Both losses: the mean squared error of y.
#[derive(Clone, Copy, Debug)]
pub struct Regression;

impl BilevelProblem for Regression {
    type Upper = Meta;
    type Lower = Mlp;
    type Batch = Points;

    fn upper_loss(&self, _: &Meta, y: &Mlp, points: &Points) -> Tensor<1> {
        let misses = y.forward(points.inputs.clone()) - points.targets.clone();
        misses.powi_scalar(2).mean()
    }

    fn lower_loss(&self, x: &Meta, y: &Mlp, points: &Points) -> Tensor<1> {
        self.upper_loss(x, y, points)
    }
}
