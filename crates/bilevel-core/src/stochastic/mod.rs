//! Stochastic methods for a lower level that is strongly convex in y: each step sees a few batches.
//!
//! All are [`JointMethod`](crate::JointMethod)s, run by a [`JointSolver`](crate::JointSolver) whose
//! [`Sampler`](crate::Sampler) draws the batches; without one they see the whole data, and are deterministic except for
//! random truncation. The implicit part comes from a [`NeumannSeries`] or from a variable v that tracks the solution of
//! `f_yy v + F_y = 0`, so that `D_x = F_x + f_xy' v`. The sign is that of SOBA and AmIGO; v is minus the q of the
//! [implicit methods](crate::linear).
//!
//! T, N: steps of y and v; Q: terms of the series; P: period; n, m: batches of f and F. Calls: gradients of f
//! / gradients of F / products of f.
//!
//! | name | type | directions | memory besides x and y | calls per step | source |
//! |---|---|---|---|---|---|
//! | `ttsa` | [`Ttsa`] | truncated series, one step of y | none | 1 / 1 / 1 to Q | Hong et al., 2020 |
//! | `bsa` | [`Bsa`] | truncated series, T steps of y | none | T / 1 / 1 to Q | Ghadimi and Wang, 2018 |
//! | `stocbio` | [`StocBio`] | whole series, T steps of y | none | T / 1 / Q | Ji et al., 2021 |
//! | `amigo` | [`Amigo`] | v by N steps, T steps of y | v | T / 1 / N + 1 | Arbel and Mairal, 2022 |
//! | `fsla` | [`Fsla`] | v by one step, momentum on x | v, x, one direction | 1 / 3 / 3 | Li et al., 2022 |
//! | `sustain` | [`Sustain`] | truncated series, momentum on x and y | x, y, two directions | 2 / 2 / 2 to 2 Q | Khanduri et al., 2021 |
//! | `mrbo` | [`Mrbo`] | whole series, momentum on x and y | x, y, two directions | 2 / 2 / 2 Q | Yang et al., 2021 |
//! | `vrbo` | [`Vrbo`] | whole series, SPIDER, T steps of y | two directions | 2 (T + 1) / 2 (T + 1) / 2 (T + 1) Q; every P steps n / m / n Q more | Yang et al., 2021 |
//! | `soba` | [`Soba`] | y, v and x at once | v | 1 / 1 / 1 | Dagréou et al., 2022 |
//! | `saba` | [`Saba`] | those of `soba`, SAGA | v, 3 n + 2 m vectors | 1 / 1 / 1; at first n / m / n | Dagréou et al., 2022 |
//! | `srba` | [`Srba`] | those of `soba`, SARAH | v, x, y, v, three directions | 2 / 2 / 2; every P steps n / m / n | Dagréou et al., 2024 |
//! | `on-batches` | [`OnBatches`] | those of any hypergradient method, T steps of y | the method's | T / 0 / 0 and the method's | Mehra and Hamm, 2021 |

mod amigo;
mod bsa;
mod double_momentum;
mod estimates;
mod fsla;
mod mrbo;
mod on_batches;
mod saba;
mod series;
mod soba;
mod srba;
mod stocbio;
mod sustain;
mod ttsa;
mod vrbo;

pub use amigo::Amigo;
pub use bsa::Bsa;
pub use fsla::Fsla;
pub use mrbo::Mrbo;
pub use on_batches::OnBatches;
pub use saba::Saba;
pub use series::NeumannSeries;
pub use soba::Soba;
pub use srba::Srba;
pub use stocbio::StocBio;
pub use sustain::Sustain;
pub use ttsa::Ttsa;
pub use vrbo::Vrbo;
