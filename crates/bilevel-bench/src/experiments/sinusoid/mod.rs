//! Regression of sinusoids from ten points each: the standard example of initialisation-based methods.
//!
//! ```text
//! task:  a sin(t + b),  a in [0.1, 5],  b in [0, pi],  points t in [-5, 5]
//! f, F:  the mean squared error of a network y that starts at x, on two sets of points of one task
//! ```
//!
//! The network has two hidden layers of 40 units. The figure `fitted.svg` has the curves of two test tasks before and
//! after adaptation.
//!
//! Source: C. Finn et al., "Model-agnostic meta-learning for fast adaptation of deep networks", 2017, section 5.1: one
//! lower step of size 0.01 on ten points, ten on a test task, Adam at 0.001, 70,000 upper steps of 25 tasks. The
//! default is shorter, so that it ends within a minute.

mod method;
mod problem;
mod run;
mod settings;

pub use method::Method;
pub use problem::{Meta, Points, Sinusoids, Wave};
pub use run::Prepared;
pub use settings::Settings;
