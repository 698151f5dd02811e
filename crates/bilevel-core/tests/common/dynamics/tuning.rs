//! A problem on which every dynamics finds in x what it may need, and directions in its space.

use bilevel_core::lower::{State, Update};
use bilevel_core::*;
use bilevel_program::Vector;
use burn::module::{Module, Param};
use burn::tensor::{Tensor, activation};

use crate::common::*;
use crate::device;

/// A layer of two features.
#[derive(Module, Debug)]
pub struct Layer {
    pub weight: Param<Tensor<2>>,
    pub bias: Param<Tensor<1>>,
}

/// Everything that a dynamics may need in x.
#[derive(Module, Debug)]
pub struct Tuned {
    pub penalties: Param<Tensor<1>>,
    pub rate: Param<Tensor<1>>,
    pub momentum: Param<Tensor<1>>,
    pub rates: Param<Tensor<1>>,
    pub factors: Layer,
    pub curvature: Vec<Param<Tensor<2>>>,
    pub warp: Param<Tensor<2>>,
}

pub const FEATURES_OUT: usize = 2;

/// A loss that is nowhere quadratic: `fit(sum tanh(inputs weight warp + bias))`, penalised as
/// [`Penalties`] in f, and with a term that mixes x and y in F.
pub struct Tuning {
    pub fit: Fit,
    pub warped: bool,
}

impl BilevelProblem for Tuning {
    type Upper = Tuned;
    type Lower = Layer;
    type Batch = Points;

    fn upper_loss(&self, x: &Tuned, y: &Layer, batch: &Points) -> Tensor<1> {
        let mixed = y.weight.val().powi_scalar(2).sum() * x.penalties.val().sin().sum() * 0.05;
        self.fit(x, y, batch) + mixed
    }

    fn lower_loss(&self, x: &Tuned, y: &Layer, batch: &Points) -> Tensor<1> {
        let fit = self.fit(x, y, batch);
        if self.warped {
            return fit;
        }
        let weights = y.weight.val().powi_scalar(2).sum_dim(1).squeeze_dim(1);
        fit + (x.penalties.val().exp() * weights).sum() / 2
    }
}

impl Tuning {
    fn fit(&self, x: &Tuned, y: &Layer, batch: &Points) -> Tensor<1> {
        let mut features = batch.inputs.clone().matmul(y.weight.val());
        if self.warped {
            features = features.matmul(x.warp.val());
        }
        let scores = (features + y.bias.val().unsqueeze()).tanh().sum_dim(1).squeeze_dim(1);
        match self.fit {
            Fit::Squares => (scores - batch.targets.clone()).powi_scalar(2).mean() / 2,
            Fit::Logistic => -activation::log_sigmoid(scores * batch.targets.clone()).mean(),
        }
    }
}

pub type TuningOracle = AutodiffOracle<Tuning, FullBatch<Points>>;

pub fn tuning(fit: Fit, warped: bool) -> TuningOracle {
    let device = device();
    let list = |values: &[f64]| vector(values, &device);
    let matrix = |seed, rows: usize, columns: usize, diagonal: f64| {
        let mut values = numbers(seed, rows * columns);
        values.iter_mut().for_each(|value| *value *= 0.4);
        values.iter_mut().step_by(columns + 1).for_each(|value| *value += diagonal);
        Param::from_tensor(list(&values).reshape([rows, columns]))
    };
    let layer = |seed, shift| Layer {
        weight: matrix(seed, FEATURES, FEATURES_OUT, shift),
        bias: Param::from_tensor(list(&numbers(seed + 1, FEATURES_OUT)) * 0.4 + shift),
    };
    let x = Tuned {
        penalties: Param::from_tensor(list(&X)),
        rate: Param::from_tensor(list(&[0.25_f64.ln()])),
        momentum: Param::from_tensor(list(&[0.7])),
        rates: Param::from_tensor(list(&[-1.2, -1.6])),
        factors: layer(20, 0.9),
        curvature: vec![matrix(30, FEATURES, FEATURES, 1.0), matrix(31, 2, 2, 1.0)],
        warp: matrix(32, 2, 2, 1.0),
    };
    let data = FullBatch {
        upper: batch(fit, Objective::Upper, &device),
        lower: batch(fit, Objective::Lower, &device),
    };
    AutodiffOracle::new(Tuning { fit, warped }, &x, &layer(40, 0.1), data).unwrap()
}

pub const BOTH: [Fit; 2] = [Fit::Squares, Fit::Logistic];

/// Step `t` only.
pub fn advance(
    problem: &LowerProblem<'_>,
    dynamics: &dyn Dynamics,
    t: usize,
    state: &State,
) -> State {
    let slope = || problem.slope(dynamics.objective(t), &dynamics.query(t, state)).1;
    dynamics.step(&Update::new(t, problem.x, state, &slope))
}

/// x and a state, or a direction in the space of both.
pub type Place = (Vector, State);

pub fn shifted(at: &Place, h: f64, along: &Place) -> Place {
    let memory = at.1.memory.iter().zip(&along.1.memory);
    let memory = memory.map(|(m, d)| m.axpy(h, d)).collect();
    (at.0.axpy(h, &along.0), State { y: at.1.y.axpy(h, &along.1.y), memory })
}

pub fn inner(a: &Place, b: &Place) -> f64 {
    let memory: f64 = a.1.memory.iter().zip(&b.1.memory).map(|(a, b)| a.dot(b)).sum();
    a.0.dot(&b.0) + a.1.y.dot(&b.1.y) + memory
}

pub fn random(like: &Vector, seed: u64) -> Vector {
    Vector::from_slice(like.layout(), &numbers(seed, like.layout().size()), &like.device())
}

pub fn random_place(like: &Place, seed: u64) -> Place {
    let memory = like.1.memory.iter().zip(seed + 2..).map(|(m, seed)| random(m, seed)).collect();
    (random(&like.0, seed), State { y: random(&like.1.y, seed + 1), memory })
}

/// `like` with zeros in all variables but one.
pub fn only(like: &Vector, variable: usize) -> Vector {
    let mut here = 0..;
    let zeros = like.zeros_like();
    like.zip(&zeros, |leaf, zeros| if here.next() == Some(variable) { leaf } else { zeros })
}

/// A direction in each variable of x, of y and of the memory by itself.
pub fn directions(like: &Place) -> Vec<Place> {
    let whole = random_place(like, 70);
    let zero = shifted(&whole, -1.0, &whole);
    let x = (0..whole.0.leaves().len()).map(|at| (only(&whole.0, at), zero.1.clone()));
    let y =
        (0..whole.1.y.leaves().len()).map(|at| (zero.0.clone(), zero.1.of_y(only(&whole.1.y, at))));
    let memory = (0..whole.1.memory.len()).map(|at| {
        let mut alone = zero.clone();
        alone.1.memory[at] = whole.1.memory[at].clone();
        alone
    });
    x.chain(y).chain(memory).chain([whole.clone()]).collect()
}

/// A 5-point difference at 0, so narrow that no kink of these problems lies inside.
pub fn slope(value: impl Fn(f64) -> f64) -> f64 {
    let h = 3e-4;
    (8.0 * (value(h) - value(-h)) - (value(2.0 * h) - value(-2.0 * h))) / (12.0 * h)
}
