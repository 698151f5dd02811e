//! Methods that move x and y at once, without solving the lower level first.
//!
//! A method is a value that holds its step sizes and its state between steps. All are object-safe, run by a
//! [`JointSolver`](crate::JointSolver), and take whole data or batches.
//!
//! | name | type | descends | by |
//! |---|---|---|---|
//! | `penalty` | [`Penalty`] | `F + g/2 (norm(h)^2 + norm(f_y)^2)` | products |
//! | `nsgame` | [`NsGame`] | f in y, F in x through one step of y2 | a product from y2 |
//! | `virtual-step` | [`VirtualStep`] | f in y, F in x through one step of y | a product |
//! | `f2sa` | [`F2sa`] | `F + l (f - min f)`, both minimisers tracked | gradients |
//! | `v-pbgd` | [`VPbgd`] | `F + g (f - min f)` | gradients |
//! | `bome` | [`Bome`] | F, while `f - min f` decreases | gradients |
//! | `bvfim` | [`Bvfim`] | F inside `f < min f + m` | gradients |
//! | `g-pbgd` | [`GPbgd`] | `F + g norm(f_y)^2` | a product |
//! | `meha` | [`Meha`] | `F / c + f`, minus the Moreau envelope of f | gradients |
//! | `gap` | [`Gap`] | `F / c` and a gap function of a constrained f | gradients |
//! | `alternating` | [`Alternating`] | F in x, f in y: the baseline | gradients |
//!
//! Either variable may move by its own [`StepDirection`]: a [`HeavyBall`], or the [`Moments`](crate::Moments) of Adam.

mod alternating;
mod bome;
mod bvfim;
mod f2sa;
mod follow;
mod g_pbgd;
mod gap;
mod heavy_ball;
mod iterate;
mod meha;
mod nsgame;
mod penalty;
mod v_pbgd;
mod virtual_step;

pub use alternating::Alternating;
pub use bome::Bome;
pub use bvfim::{Bvfim, BvfimSettings, Relaxation};
pub use f2sa::F2sa;
pub use g_pbgd::GPbgd;
pub use gap::Gap;
pub use heavy_ball::{HeavyBall, StepDirection};
pub use iterate::{Iterate, Seen};
pub use meha::Meha;
pub use nsgame::NsGame;
pub use penalty::{Penalty, PenaltySettings};
pub use v_pbgd::VPbgd;
pub use virtual_step::VirtualStep;

use std::fmt::Debug;

use auto_impl::auto_impl;

use crate::constrained::Residual;
use crate::hypergradient::Status;
use crate::{Error, Oracle, Snapshot};

/// A method that moves x and y.
#[auto_impl(Box)]
pub trait JointMethod: Debug + Send {
    /// The name, such as `bome`, which identifies a saved state.
    fn name(&self) -> &'static str;

    /// The name with the settings.
    fn describe(&self) -> String;

    /// Whether it fits a problem.
    ///
    /// # Errors
    /// If it does not, naming the cure.
    fn check(&self, oracle: &dyn Oracle) -> Result<(), Error> {
        let _ = oracle;
        Ok(())
    }

    /// Step `k`, counted from 0: moves x and y of `at`.
    ///
    /// # Errors
    /// The method's own; the solver checks that numbers are finite.
    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error>;

    /// How far the last step can be trusted.
    fn status(&self) -> Status {
        Status::Approximate
    }

    /// How far x and y of `at` are from the optimality conditions of the lower level, and from the constraints that the
    /// method was given.
    fn residual(&self, at: &Iterate<'_>) -> Residual {
        at.residual()
    }

    /// Writes its state between steps: nothing, if there is none.
    fn save(&self, to: &mut Snapshot);

    /// Reads it back. Vectors are like the x and y of `at`.
    ///
    /// # Errors
    /// If it is not the state of this method. Entries left in `from` are an error of the solver, so that a method that
    /// saves but does not restore is found.
    fn restore(&mut self, from: &mut Snapshot, at: &Iterate<'_>) -> Result<(), Error> {
        let _ = (from, at);
        Ok(())
    }
}
