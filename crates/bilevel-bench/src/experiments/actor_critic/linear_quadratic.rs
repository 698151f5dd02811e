//! The linear quadratic regulator: its losses, and its closed forms.

use bilevel_core::{Batch, BilevelProblem, Data, Objective, Sample};
use bilevel_data::{Purpose, stream};
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use nalgebra::DMatrix;
use rand::Rng;
use rand_distr::StandardNormal;

use crate::experiments::images::integers;

/// States and actions.
const STATES: usize = 4;
const ACTIONS: usize = 2;
/// Iterations of the fixed points of Riccati's and Lyapunov's equations: the discount alone suffices for them to
/// converge.
const ITERATIONS: usize = 300;

/// `s' = A s + B a` with the cost `s' Q s + a' R a`, discounted by g.
#[derive(Clone, Debug)]
pub struct System {
    a: DMatrix<f64>,
    b: DMatrix<f64>,
    q: DMatrix<f64>,
    r: DMatrix<f64>,
    discount: f64,
}

impl System {
    /// Two masses of 1 between two walls, three springs of stiffness 1 in a row, friction 0.1 and a force on each mass;
    /// time steps of 0.2, each of which moves first the velocities and then the positions.
    pub fn masses() -> Self {
        let (step, friction) = (0.2, 0.1);
        let spring = DMatrix::from_row_slice(2, 2, &[-2.0, 1.0, 1.0, -2.0]);
        let one = DMatrix::<f64>::identity(2, 2);
        let (of_place, of_speed) = (&spring * step, &one * (1.0 - step * friction));
        let mut a = DMatrix::zeros(STATES, STATES);
        a.view_mut((0, 0), (2, 2)).copy_from(&(&one + &of_place * step));
        a.view_mut((0, 2), (2, 2)).copy_from(&(&of_speed * step));
        a.view_mut((2, 0), (2, 2)).copy_from(&of_place);
        a.view_mut((2, 2), (2, 2)).copy_from(&of_speed);
        let mut b = DMatrix::zeros(STATES, ACTIONS);
        b.view_mut((0, 0), (2, 2)).copy_from(&(&one * step * step));
        b.view_mut((2, 0), (2, 2)).copy_from(&(&one * step));
        let q = DMatrix::identity(STATES, STATES);
        let r = DMatrix::identity(ACTIONS, ACTIONS) * 0.1;
        Self { a, b, q, r, discount: 0.9 }
    }

    /// The gain K of the optimal policy `a = -K s`, by Riccati's equation.
    pub fn optimal(&self) -> DMatrix<f64> {
        let Self { a, b, q, r, discount } = self;
        let mut p = q.clone();
        let mut gain = DMatrix::zeros(ACTIONS, STATES);
        for _ in 0..ITERATIONS {
            let (pa, pb) = (&p * a * *discount, &p * b * *discount);
            let inner = (r + b.transpose() * &pb).try_inverse().expect("R is positive definite");
            gain = inner * b.transpose() * &pa;
            p = q + a.transpose() * pa - a.transpose() * pb * &gain;
        }
        gain
    }

    /// P with `s' P s` the cost of the policy `a = -K s` from s, by Lyapunov's equation; none if it is infinite.
    pub fn cost(&self, gain: &DMatrix<f64>) -> Option<DMatrix<f64>> {
        let closed = &self.a - &self.b * gain;
        let now = &self.q + gain.transpose() * &self.r * gain;
        let mut p = now.clone();
        for _ in 0..ITERATIONS {
            p = &now + closed.transpose() * &p * &closed * self.discount;
        }
        let next = &now + closed.transpose() * &p * &closed * self.discount;
        ((&next - &p).norm() <= 1e-6 * p.norm()).then_some(next)
    }

    /// The mean cost over standard normal states, `trace P`; infinite if it does not converge.
    pub fn mean_cost(&self, gain: &DMatrix<f64>) -> f64 {
        self.cost(gain).map_or(f64::INFINITY, |p| p.trace())
    }

    /// The exact critic of a policy: the matrix of the quadratic form in (s, a).
    ///
    /// # Panics
    /// If the cost of the policy is infinite.
    pub fn critic(&self, gain: &DMatrix<f64>) -> DMatrix<f64> {
        let Self { a, b, q, r, discount } = self;
        let p = self.cost(gain).expect("the policy has a finite cost") * *discount;
        let mut m = DMatrix::zeros(STATES + ACTIONS, STATES + ACTIONS);
        m.view_mut((0, 0), (STATES, STATES)).copy_from(&(q + a.transpose() * &p * a));
        m.view_mut((0, STATES), (STATES, ACTIONS)).copy_from(&(a.transpose() * &p * b));
        m.view_mut((STATES, 0), (ACTIONS, STATES)).copy_from(&(b.transpose() * &p * a));
        m.view_mut((STATES, STATES), (ACTIONS, ACTIONS)).copy_from(&(r + b.transpose() * p * b));
        m
    }

    /// The policy gradient: of `trace(P S)` in K, S being the covariance of the first states,
    /// `2 ((R + g B'PB) K - g B'PA) sum_t g^t S_t`.
    ///
    /// # Panics
    /// If the cost of the policy is infinite.
    pub fn policy_gradient(&self, gain: &DMatrix<f64>, covariance: &DMatrix<f64>) -> DMatrix<f64> {
        let Self { a, b, r, discount, .. } = self;
        let p = self.cost(gain).expect("the policy has a finite cost") * *discount;
        let closed = a - b * gain;
        let mut visited = covariance.clone();
        for _ in 0..ITERATIONS {
            visited = covariance + &closed * visited * closed.transpose() * *discount;
        }
        ((r + b.transpose() * &p * b) * gain - b.transpose() * p * a) * visited * 2.0
    }
}

/// x: the gain K, `[actions, states]`.
#[derive(Module, Debug)]
pub struct Gain {
    gain: Param<Tensor<2>>,
}

impl Gain {
    /// No force.
    pub fn none(device: &Device) -> Self {
        Self { gain: Param::from_tensor(Tensor::zeros([ACTIONS, STATES], device)) }
    }

    /// `a = -K s` for each row of states.
    fn actions(&self, states: Tensor<2>) -> Tensor<2> {
        states.matmul(self.gain.val().transpose()).neg()
    }

    /// K
    pub fn matrix(&self) -> DMatrix<f64> {
        let numbers: Vec<f64> = self.gain.val().into_data().iter::<f64>().collect();
        DMatrix::from_row_slice(ACTIONS, STATES, &numbers)
    }
}

/// y: the coefficients of the products of two of (s, a), `[pairs]`.
#[derive(Module, Debug)]
pub struct QuadraticCritic {
    coefficients: Param<Tensor<1>>,
    /// The factors of each product.
    first: Tensor<1, Int>,
    second: Tensor<1, Int>,
}

impl QuadraticCritic {
    /// Zero everywhere.
    pub fn zero(device: &Device) -> Self {
        let n = STATES + ACTIONS;
        let pairs: Vec<(usize, usize)> = (0..n).flat_map(|i| (i..n).map(move |j| (i, j))).collect();
        Self {
            coefficients: Param::from_tensor(Tensor::zeros([pairs.len()], device)),
            first: integers(pairs.iter().map(|pair| pair.0), device),
            second: integers(pairs.iter().map(|pair| pair.1), device),
        }
    }

    /// Q of each row, `[n]`.
    fn forward(&self, states: Tensor<2>, actions: Tensor<2>) -> Tensor<1> {
        let n = states.dims()[0];
        let both = Tensor::cat(vec![states, actions], 1);
        let products =
            both.clone().select(1, self.first.clone()) * both.select(1, self.second.clone());
        (products * self.coefficients.val().unsqueeze()).sum_dim(1).reshape([n])
    }

    /// The coefficients of a quadratic form, in the order of y.
    pub fn of_form(form: &DMatrix<f64>) -> Vec<f64> {
        let n = form.nrows();
        let pairs = (0..n).flat_map(|i| (i..n).map(move |j| (i, j)));
        pairs.map(|(i, j)| if i == j { form[(i, i)] } else { 2.0 * form[(i, j)] }).collect()
    }
}

/// Transitions.
#[derive(Clone, Debug, Batch)]
pub struct Moves {
    /// `[n, states]`
    pub states: Tensor<2>,
    /// `[n, actions]`
    pub actions: Tensor<2>,
    /// `[n]`
    pub costs: Tensor<1>,
    /// `[n, states]`
    pub next: Tensor<2>,
}

impl Moves {
    /// `n` transitions from standard normal states and actions.
    pub fn draw(system: &System, n: usize, seed: u64, sample: Sample, device: &Device) -> Self {
        let mut rng = stream(seed, Purpose::Draws);
        rng.set_word_pos(u128::from(sample.0) << 32);
        let mut normal = |columns| {
            let numbers: Vec<f64> = (0..n * columns).map(|_| rng.sample(StandardNormal)).collect();
            DMatrix::from_vec(columns, n, numbers)
        };
        let (s, a) = (normal(STATES), normal(ACTIONS));
        let next = &system.a * &s + &system.b * &a;
        let (by_state, by_action) = (&system.q * &s, &system.r * &a);
        let costs: Vec<f64> = (0..n)
            .map(|at| {
                s.column(at).dot(&by_state.column(at)) + a.column(at).dot(&by_action.column(at))
            })
            .collect();
        // A matrix in column order is its transpose in row order.
        let rows = |m: &DMatrix<f64>| {
            let data = TensorData::new(m.as_slice().to_vec(), [m.ncols(), m.nrows()]);
            Tensor::from_data(data, device)
        };
        Self {
            states: rows(&s),
            actions: rows(&a),
            costs: Tensor::from_data(TensorData::new(costs, [n]), device),
            next: rows(&next),
        }
    }
}

/// The problem; see the [module](super).
#[derive(Clone, Debug)]
pub struct Regulator(pub System);

/// Endless transitions, one draw for each handle.
#[derive(Clone, Debug)]
pub struct Source {
    pub system: System,
    pub n: usize,
    pub seed: u64,
    pub device: Device,
}

impl Data<Moves> for Source {
    fn batch(&self, _: Objective, sample: Sample) -> Moves {
        Moves::draw(&self.system, self.n, self.seed, sample, &self.device)
    }
}

impl BilevelProblem for Regulator {
    type Upper = Gain;
    type Lower = QuadraticCritic;
    type Batch = Moves;

    fn upper_loss(&self, x: &Gain, y: &QuadraticCritic, moves: &Moves) -> Tensor<1> {
        let states = moves.states.clone();
        y.forward(states.clone(), x.actions(states)).mean()
    }

    fn lower_loss(&self, x: &Gain, y: &QuadraticCritic, moves: &Moves) -> Tensor<1> {
        let now = y.forward(moves.states.clone(), moves.actions.clone());
        let after = y.forward(moves.next.clone(), x.actions(moves.next.clone()));
        (now - moves.costs.clone() - after * self.0.discount).powi_scalar(2).mean() * 0.5
    }
}
