//! A Nash game in place of the lower level.

use bilevel_program::Layout;
use std::sync::Arc;

use super::{Iterate, JointMethod, Seen};
use crate::{Error, Objective, Oracle, Rates, Snapshot, Wrt};

/// `nsgame`: y is split into y1 and y2. All of y descends f; x sees its effect on y through one step of y2 alone, such
/// as the last layer of a network.
///
/// ```text
/// y1' = y1 - a f_y1(x, y),   y2' = y2 - a f_y2(x, y)
/// x' = x - b (F_x(x, y1, y2') - a f_xy2(x, y)' F_y2(x, y1, y2'))
/// ```
///
/// x must be much slower than y, `b << a`: with the time scales swapped the game is slower by orders of magnitude, or
/// does not converge. A set of y is refused: the formula has no projection. The second-order product runs from y2 to
/// the loss: the rest of the network is evaluated, but not differentiated. Cost: one gradient of f, one of F in x and
/// y2, one product of f from y2. On a [`SplitOracle`](crate::SplitOracle), with y2 in the head, the product uses the
/// features of the gradient of f: in addition to that gradient it costs one forward pass, of F, and memory for the head
/// alone. With [`x_first`](Self::x_first) y takes its step at x'.
///
/// The losses reported are `F(x, y1, y2')` and `f(x, y)` at the start of the step, with `x_first` `f(x', y)`: that whose
/// gradient moves y.
///
/// Source: NSGame, "Delving into the hierarchical structure for efficient large-scale bi-level learning",
/// Eqs. 5 to 7, Alg. 1.
#[derive(Clone, Debug)]
pub struct NsGame {
    rates: Rates,
    path: String,
    part: Option<Arc<Layout>>,
    x_first: bool,
}

impl NsGame {
    /// With the variables of the lower module at `path` and below it as y2.
    pub fn new(rates: Rates, path: impl Into<String>) -> Self {
        Self { rates, path: path.into(), part: None, x_first: false }
    }

    /// With the step of y at the new x, for one more gradient of f: the order of the programs in the source's
    /// appendices, where its equations have the old x. It matters where x moves far in a step.
    pub fn x_first(mut self) -> Self {
        self.x_first = true;
        self
    }

    fn part(&self, oracle: &dyn Oracle) -> Result<Arc<Layout>, Error> {
        let layout = oracle.lower_layout();
        let found = layout.under(&self.path);
        if found.is_empty() {
            let paths: Vec<_> = layout.leaves().iter().map(|leaf| leaf.path.as_str()).collect();
            return Err(Error::InvalidSetting {
                setting: "path of y2",
                found: format!("`{}`, where the lower module has {}", self.path, paths.join(", ")),
                expected: "a submodule or variable of the lower module",
                cure: "name one, such as the last layer",
            });
        }
        Ok(layout.part(&found))
    }
}

impl JointMethod for NsGame {
    fn name(&self) -> &'static str {
        "nsgame"
    }

    fn describe(&self) -> String {
        let order = if self.x_first { ", x first" } else { "" };
        format!("nsgame({}, y2 = {}{order})", self.rates, self.path)
    }

    fn check(&self, oracle: &dyn Oracle) -> Result<(), Error> {
        self.part(oracle).map(drop)
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let part = match self.part.take() {
            Some(part) => part,
            None => self.part(&at.oracle)?,
        };
        at.refuse_lower_set("nsgame")?;
        let rate = self.rates.lower.at(k);
        let samples = at.draw();
        let problem = at.problem(samples);
        let (mut lower_loss, mut along_y, mixed) = problem.gradient_and_mixed(&at.y);
        let ahead = at.y.axpy_part(-rate, &along_y.only(&part));
        let (upper_loss, upper) = problem.gradient(Objective::Upper, &ahead, Wrt::Part(&part));
        let (direct, weight) = upper.into_both();
        let along_x = direct.axpy(-rate, &mixed(&weight));
        at.move_x(self.rates.upper.at(k), &along_x);
        if self.x_first {
            let (loss, sides) = at.problem(samples).gradient(Objective::Lower, &at.y, Wrt::Y);
            (lower_loss, along_y) = (loss, sides.into_y());
        }
        at.move_y(rate, &along_y);
        self.part = Some(part);
        Ok(Seen { upper_loss, lower_loss, along_x, along_y, rest: 0.0 })
    }

    fn save(&self, _: &mut Snapshot) {}
}
