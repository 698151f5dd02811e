use bilevel_core::{Error, Iterate, JointMethod, Oracle, Seen, Snapshot, Status};

use super::without_upper::WithoutUpper;

/// `method` after `steps` steps of y alone.
#[derive(Debug)]
pub(super) struct WarmUp {
    steps: usize,
    before: WithoutUpper,
    method: Box<dyn JointMethod>,
}

impl WarmUp {
    pub fn new(steps: usize, before: WithoutUpper, method: Box<dyn JointMethod>) -> Self {
        Self { steps, before, method }
    }
}

impl JointMethod for WarmUp {
    fn name(&self) -> &'static str {
        self.method.name()
    }

    fn describe(&self) -> String {
        let Self { steps, method, .. } = self;
        format!("{} after {steps} steps of y", method.describe())
    }

    fn check(&self, oracle: &dyn Oracle) -> Result<(), Error> {
        self.method.check(oracle)
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        if k < self.steps { self.before.step(k, at) } else { self.method.step(k, at) }
    }

    fn status(&self) -> Status {
        self.method.status()
    }

    fn save(&self, to: &mut Snapshot) {
        to.put_within("before", |to| self.before.save(to));
        to.put_within("method", |to| self.method.save(to));
    }

    fn restore(&mut self, from: &mut Snapshot, at: &Iterate<'_>) -> Result<(), Error> {
        from.take_within("before", |from| self.before.restore(from, at))?;
        from.take_within("method", |from| self.method.restore(from, at))
    }
}
