//! Steps by the cost of them.

use bilevel_autodiff::Vector;
use bilevel_core::{Cost, Error, Snapshot, Solver, Step};
use burn::tensor::backend::Backend;

/// A solver whose step is a round: as many steps of another one as a share of the calls allows.
pub struct Rounds<'a, B: Backend> {
    inner: Box<dyn Solver<B> + 'a>,
    /// Calls of a round.
    share: u64,
    /// Steps of the inner solver.
    made: usize,
    /// Calls before this process.
    before: u64,
    first: Cost,
}

impl<'a, B: Backend> Rounds<'a, B> {
    /// `inner` in rounds of `share` calls.
    pub fn new(inner: Box<dyn Solver<B> + 'a>, share: u64) -> Self {
        let first = inner.cost();
        Self { inner, share, made: 0, before: 0, first }
    }

    /// Calls of all rounds.
    fn spent(&self) -> u64 {
        self.before + (self.inner.cost() - self.first).total()
    }
}

impl<B: Backend> Solver<B> for Rounds<'_, B> {
    fn step(&mut self, round: usize) -> Result<Step, Error> {
        let limit = (round as u64 + 1) * self.share;
        loop {
            let before = self.spent();
            let seen = self.inner.step(self.made)?;
            self.made += 1;
            let cost = self.spent() - before;
            // Every step but the first of stochastic methods costs about the same.
            if self.made > 1 && cost > self.share {
                return Err(Error::InvalidSetting {
                    setting: "calls of a round",
                    found: self.share.to_string(),
                    expected: "at least those of one upper step",
                    cure: "give more --calls, or fewer --rounds or --steps",
                });
            }
            if self.spent() + cost > limit {
                return Ok(seen);
            }
        }
    }

    fn x(&self) -> &Vector<B> {
        self.inner.x()
    }

    fn y(&self) -> &Vector<B> {
        self.inner.y()
    }

    fn cost(&self) -> Cost {
        self.inner.cost()
    }

    fn save(&self) -> Snapshot {
        let mut to = Snapshot::default();
        to.put_count("made", self.made);
        to.put_count("spent", usize::try_from(self.spent()).unwrap_or(usize::MAX));
        to.put_within("inner", |to| *to = self.inner.save());
        to
    }

    fn restore(&mut self, mut from: Snapshot) -> Result<(), Error> {
        self.made = from.take_count("made")?;
        self.before = from.take_count("spent")? as u64;
        self.first = self.inner.cost();
        from.take_within("inner", |from| self.inner.restore(std::mem::take(from)))?;
        from.finish()
    }
}
