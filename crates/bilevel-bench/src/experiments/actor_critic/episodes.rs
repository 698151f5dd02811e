//! Transitions of the pole under a policy, and their losses.

use bilevel_core::{Batch, BilevelProblem};
use bilevel_models::SoftmaxRegression;
use burn::tensor::{Device, Tensor, TensorData, activation};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::cart_pole::LONGEST;
use super::{CartPole, State};

/// Degree of the critic's polynomials.
const DEGREE: usize = 3;
/// The fraction of random pushes while transitions are collected, so that the critic sees both actions.
const EXPLORE: f64 = 0.1;
/// The discount g.
const DISCOUNT: f64 = 0.97;
/// The weight d of the critic's norm.
const RIDGE: f64 = 1e-4;

/// Transitions.
#[derive(Clone, Debug, Batch)]
pub struct Transitions {
    /// Scaled states, `[n, 4]`, and monomials of them, `[n, monomials]`.
    pub states: Tensor<2>,
    /// The monomials.
    pub features: Tensor<2>,
    /// 1 in the column of the action, `[n, 2]`.
    pub actions: Tensor<2>,
    /// 1 where the pole fell, `[n]`.
    pub fallen: Tensor<1>,
    /// As `states`, after the step.
    pub next_states: Tensor<2>,
    /// As `features`, after the step.
    pub next_features: Tensor<2>,
}

/// The problem; see the [module](super).
#[derive(Clone, Copy, Debug)]
pub struct Balancing;

/// `sum_a pi(a | s) Q(s, a)`, `[n]`
fn value(
    policy: &SoftmaxRegression,
    critic: &SoftmaxRegression,
    states: &Tensor<2>,
    features: &Tensor<2>,
) -> Tensor<1> {
    let shares = activation::softmax(policy.forward(states.clone()), 1);
    let n = states.dims()[0];
    (shares * critic.forward(features.clone())).sum_dim(1).reshape([n])
}

impl BilevelProblem for Balancing {
    type Upper = SoftmaxRegression;
    type Lower = SoftmaxRegression;
    type Batch = Transitions;

    fn upper_loss(
        &self,
        x: &SoftmaxRegression,
        y: &SoftmaxRegression,
        t: &Transitions,
    ) -> Tensor<1> {
        value(x, y, &t.states, &t.features).mean()
    }

    fn lower_loss(
        &self,
        x: &SoftmaxRegression,
        y: &SoftmaxRegression,
        t: &Transitions,
    ) -> Tensor<1> {
        let n = t.fallen.dims()[0];
        let taken = (y.forward(t.features.clone()) * t.actions.clone()).sum_dim(1).reshape([n]);
        let after = value(x, y, &t.next_states, &t.next_features);
        // After a fall there is no further cost.
        let to_come = t.fallen.clone() + (t.fallen.clone().neg() + 1.0) * after * DISCOUNT;
        (taken - to_come).powi_scalar(2).mean() * 0.5 + y.squared_norm() * (0.5 * RIDGE)
    }
}

/// The monomials of a scaled state up to the degree, except for the constant.
pub fn monomials(state: State) -> Vec<f64> {
    let mut all = Vec::new();
    // (monomial, the last variable in it)
    let mut of_degree = vec![(1.0, 0)];
    for _ in 0..DEGREE {
        of_degree = of_degree
            .iter()
            .flat_map(|&(product, last)| (last..4).map(move |at| (product * state[at], at)))
            .collect();
        all.extend(of_degree.iter().map(|(product, _)| product));
    }
    all
}

/// `steps` steps in each of `episodes` parallel environments; a finished episode is followed by a new one.
pub fn collect(
    policy: &SoftmaxRegression,
    (episodes, steps): (usize, usize),
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> Transitions {
    let mut states: Vec<State> = (0..episodes).map(|_| CartPole.begin(rng)).collect();
    let (mut seen, mut actions, mut fallen, mut next) = (vec![], vec![], vec![], vec![]);
    for _ in 0..steps {
        let shares = shares(policy, &states, device);
        for (state, share) in states.iter_mut().zip(shares) {
            let share = if rng.random_bool(EXPLORE) { 0.5 } else { share };
            let right = rng.random_bool(share.clamp(0.0, 1.0));
            let after = CartPole.step(*state, right);
            let fell = CartPole.fallen(after);
            seen.push(*state);
            actions.extend([f64::from(u8::from(!right)), f64::from(u8::from(right))]);
            fallen.push(f64::from(u8::from(fell)));
            next.push(after);
            *state = if fell { CartPole.begin(rng) } else { after };
        }
    }
    let n = seen.len();
    let matrix = |rows: &[State], of: &dyn Fn(State) -> Vec<f64>| {
        let rows: Vec<f64> = rows.iter().flat_map(|state| of(CartPole.scaled(*state))).collect();
        let columns = rows.len() / n;
        Tensor::<2>::from_data(TensorData::new(rows, [n, columns]), device)
    };
    Transitions {
        states: matrix(&seen, &|state| state.to_vec()),
        features: matrix(&seen, &monomials),
        actions: Tensor::from_data(TensorData::new(actions, [n, 2]), device),
        fallen: Tensor::from_data(TensorData::new(fallen, [n]), device),
        next_states: matrix(&next, &|state| state.to_vec()),
        next_features: matrix(&next, &monomials),
    }
}

/// The probability of pushing to the right in each state.
fn shares(policy: &SoftmaxRegression, states: &[State], device: &Device) -> Vec<f64> {
    let scaled: Vec<f64> = states.iter().flat_map(|state| CartPole.scaled(*state)).collect();
    let scaled = Tensor::<2>::from_data(TensorData::new(scaled, [states.len(), 4]), device);
    let shares = activation::softmax(policy.forward(scaled), 1).into_data();
    shares.iter::<f64>().skip(1).step_by(2).collect()
}

/// The mean length of this many episodes, with the likelier push at each step, or random ones without a policy.
pub fn mean_return(
    policy: Option<&SoftmaxRegression>,
    episodes: usize,
    rng: &mut ChaCha8Rng,
    device: &Device,
) -> f64 {
    let mut states: Vec<State> = (0..episodes).map(|_| CartPole.begin(rng)).collect();
    let mut steps = 0;
    for _ in 0..LONGEST {
        steps += states.len();
        let pushes: Vec<bool> = match policy {
            Some(policy) => {
                shares(policy, &states, device).iter().map(|share| *share > 0.5).collect()
            }
            None => states.iter().map(|_| rng.random()).collect(),
        };
        states =
            states.iter().zip(pushes).map(|(state, right)| CartPole.step(*state, right)).collect();
        states.retain(|state| !CartPole.fallen(*state));
        if states.is_empty() {
            break;
        }
    }
    steps as f64 / episodes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_34_monomials_up_to_degree_3() {
        let all = monomials([2.0, 3.0, 5.0, 7.0]);
        assert_eq!(all.len(), 4 + 10 + 20);
        for product in [2.0, 4.0, 21.0, 8.0, 2.0 * 3.0 * 5.0, 343.0] {
            assert!(all.contains(&product), "{product}");
        }
    }
}
