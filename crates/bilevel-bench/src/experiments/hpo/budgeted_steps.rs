//! Steps of a given cost.

use bilevel_core::constrained::Residual;
use bilevel_core::{Cost, Counted, Error, Observation, Oracle, Snapshot, Solver, Status};
use bilevel_program::Vector;

/// A solver whose step is a round: as many steps of another one as a fraction of the calls allows.
pub struct BudgetedSteps<'a> {
    inner: Box<dyn Solver + 'a>,
    /// Counts the calls of the solver, one per batch.
    oracle: &'a Counted<Box<dyn Oracle>>,
    /// Calls per round.
    share: u64,
    /// Steps of the inner solver.
    made: usize,
    /// Calls of the last step.
    cost: u64,
    /// F, f and the norm of the hypergradient that it saw.
    seen: [f64; 3],
    /// Calls before this process.
    before: u64,
    first: Cost,
}

impl<'a> BudgetedSteps<'a> {
    /// `inner` in rounds of `share` calls of `oracle`.
    pub fn new(
        inner: Box<dyn Solver + 'a>,
        oracle: &'a Counted<Box<dyn Oracle>>,
        share: u64,
    ) -> Self {
        let first = oracle.cost();
        Self { inner, oracle, share, made: 0, cost: 0, seen: [f64::NAN; 3], before: 0, first }
    }

    /// Calls of all rounds.
    fn spent(&self) -> u64 {
        self.before + (self.oracle.cost() - self.first).total()
    }
}

impl Solver for BudgetedSteps<'_> {
    /// Makes steps while one at the cost of the last still fits, so that the budget is not exceeded.
    fn step(&mut self, round: usize) -> Result<Observation, Error> {
        let limit = (round as u64 + 1) * self.share;
        let [upper_loss, lower_loss, gradient_norm] = self.seen;
        let status = Status::Approximate;
        let mut seen = Observation { upper_loss, lower_loss, gradient_norm, status };
        while self.made == 0 || self.spent() + self.cost <= limit {
            let before = self.spent();
            seen = self.inner.step(self.made)?;
            self.made += 1;
            self.cost = self.spent() - before;
            self.seen = [seen.upper_loss, seen.lower_loss, seen.gradient_norm];
        }
        Ok(seen)
    }

    fn x(&self) -> &Vector {
        self.inner.x()
    }

    fn y(&self) -> &Vector {
        self.inner.y()
    }

    fn residual(&self) -> Residual {
        self.inner.residual()
    }

    fn cost(&self) -> Cost {
        self.oracle.cost()
    }

    fn save(&self) -> Snapshot {
        let mut to = Snapshot::default();
        to.put_count("made", self.made);
        to.put_count("spent", self.spent() as usize);
        to.put_count("cost", self.cost as usize);
        to.put_numbers("seen", &self.seen);
        to.put_within("inner", |to| *to = self.inner.save());
        to
    }

    fn restore(&mut self, mut from: Snapshot) -> Result<(), Error> {
        self.made = from.take_count("made")?;
        self.before = from.take_count("spent")? as u64;
        self.cost = from.take_count("cost")? as u64;
        self.first = self.oracle.cost();
        self.seen.copy_from_slice(&from.take_numbers("seen", 3)?);
        from.take_within("inner", |from| self.inner.restore(std::mem::take(from)))?;
        from.finish()
    }
}
