//! Actor and critic: x is a policy, y its estimated cost.
//!
//! ```text
//! f(x, y) = 1/2 mean (Q_y(s, a) - c - g Q_y(s', x))^2 + d/2 norm(y)^2    over transitions (s, a) -> s' at the cost c
//! F(x, y) = mean Q_y(s, x)                                               over their states
//! ```
//!
//! with `Q(s, x)` the mean of `Q(s, a)` over the actions of the policy. Transitions are deterministic, so that the
//! minimum of f is 0 if the critic can be exact, without a second sample of s'.
//!
//! | `--task` | environment | policy | critic | d |
//! |---|---|---|---|---|
//! | `lqr` | two masses on springs between walls, a force on each; quadratic costs | a linear gain | a quadratic form | 0 |
//! | `cart-pole` | a pole on a cart, pushed left or right; the cost of falling is 1 | softmax of a linear map | cubic polynomials, one per action | 1e-4 |
//!
//! `lqr` has a known answer, by Riccati's equation: the baseline `optimal`. Its critic has one, by Lyapunov's, and
//! `F(x, y*(x))` is the mean cost of the policy, so that the hypergradient is the policy gradient. `cart-pole` collects
//! new transitions under each policy; they count as data, and are not differentiated. Discounted costs of falling order
//! policies as discounted rewards of 1 per step do: `1 - (1 - g) sum g^t`. Its baseline is a policy that pushes
//! `random`ly.
//!
//! `first-order` is the usual actor-critic with two time scales: the actor treats the critic as fixed. Methods that
//! differentiate y*(x) take into account that future costs change with the policy too. All are compared by environment
//! steps.
//!
//! The upper loss in the report is the excess over the optimum: of the mean cost (`lqr`, relative), or the number of
//! steps by which an episode falls short of 500 (`cart-pole`).
//!
//! Sources: survey, Eqs. 10-11; A. Barto, R. Sutton and C. Anderson, "Neuronlike adaptive elements that can solve
//! difficult learning control problems", 1983 (the equations of motion); Z. Yang et al., "Provably global convergence of
//! actor-critic: a case for linear quadratic regulator with ergodic cost", 2019.

mod cart_pole;
mod episodes;
mod linear_quadratic;
mod on_policy;
mod run;
mod settings;

pub use cart_pole::{CartPole, State};
pub use episodes::{Balancing, Transitions};
pub use linear_quadratic::{Gain, Moves, QuadraticCritic, Regulator, System};
pub use run::Prepared;
pub use settings::{Reference, Settings, Task};
