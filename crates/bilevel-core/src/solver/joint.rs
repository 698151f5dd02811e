//! Methods that move x and y at once.

use bilevel_program::Vector;

use super::{Observation, Solver};
use crate::constrained::Residual;
use crate::joint::{Iterate, JointMethod, StepDirection};
use crate::{Cost, Error, Oracle, Projection, Sampler, Snapshot, Variable};

/// Runs a [`JointMethod`].
pub struct JointSolver<'a> {
    method: Box<dyn JointMethod>,
    iterate: Iterate<'a>,
}

impl<'a> JointSolver<'a> {
    /// `method` on `oracle`, from `x` and `y`. Data that is divided into batches needs a sampler.
    ///
    /// # Errors
    /// If the method does not fit the problem.
    pub fn new(
        oracle: &'a dyn Oracle,
        method: impl JointMethod + 'static,
        x: Vector,
        y: Vector,
    ) -> Result<Self, Error> {
        method.check(oracle)?;
        Ok(Self { method: Box::new(method), iterate: Iterate::new(oracle, x, y) })
    }

    /// With batches that `sampler` draws; their numbers are compared with the data's before each step.
    pub fn with_sampler(mut self, sampler: Sampler) -> Self {
        self.iterate.sampler = sampler;
        self
    }

    /// With momentum for `variable`, where the method moves it.
    pub fn with_momentum(
        mut self,
        variable: Variable,
        momentum: impl StepDirection + 'static,
    ) -> Self {
        let of = match variable {
            Variable::X => &mut self.iterate.upper_momentum,
            Variable::Y => &mut self.iterate.lower_momentum,
        };
        *of = Some(Box::new(momentum));
        self
    }

    /// With x kept in a convex set.
    pub fn with_projection(mut self, projection: impl Projection + 'static) -> Self {
        self.iterate.x = projection.apply(&self.iterate.x);
        self.iterate.upper_set = Some(Box::new(projection));
        self
    }

    /// With y kept in a convex set.
    pub fn with_lower_projection(mut self, projection: impl Projection + 'static) -> Self {
        self.iterate.y = projection.apply(&self.iterate.y);
        self.iterate.lower_set = Some(Box::new(projection));
        self
    }

    /// The method with its settings.
    pub fn describe(&self) -> String {
        self.method.describe()
    }
}

impl Solver for JointSolver<'_> {
    fn step(&mut self, k: usize) -> Result<Observation, Error> {
        self.iterate.check_sampler()?;
        let seen = self.method.step(k, &mut self.iterate)?;
        let check = |ok: bool, what| {
            if ok {
                return Ok(());
            }
            Err(Error::NotFinite { what, step: k + 1, cure: "step sizes, or the penalty" })
        };
        let finite = |value: f64, what| check(value.is_finite(), what).map(|()| value);
        let status = self.method.status();
        status.check(k, self.iterate.x.layout(), self.iterate.y.layout())?;
        let upper_loss = finite(seen.upper_loss.read(), "upper loss")?;
        let lower_loss = finite(seen.lower_loss.read(), "lower loss")?;
        let along_x = finite(seen.along_x.norm(), "direction of x")?;
        let along_y = finite(seen.along_y.norm(), "direction of y")?;
        let gradient_norm = along_x.hypot(along_y).hypot(seen.rest);
        for (moved, what) in
            [(&self.iterate.x, "upper variable"), (&self.iterate.y, "lower variable")]
        {
            check(moved.all_finite(), what)?;
        }
        Ok(Observation { upper_loss, lower_loss, gradient_norm, status })
    }

    fn x(&self) -> &Vector {
        &self.iterate.x
    }

    fn y(&self) -> &Vector {
        &self.iterate.y
    }

    fn residual(&self) -> Residual {
        self.method.residual(&self.iterate)
    }

    fn cost(&self) -> Cost {
        self.iterate.oracle.cost()
    }

    fn save(&self) -> Snapshot {
        let mut to = Snapshot::default();
        to.put_name("solver", self.method.name());
        to.put_vector("x", &self.iterate.x);
        to.put_vector("y", &self.iterate.y);
        to.put_within("sampler", |to| self.iterate.sampler.save(to));
        to.put_within("method", |to| self.method.save(to));
        for (name, momentum) in
            [("upper", &self.iterate.upper_momentum), ("lower", &self.iterate.lower_momentum)]
        {
            if let Some(momentum) = momentum {
                to.put_within(name, |to| momentum.save(to));
            }
        }
        to
    }

    fn restore(&mut self, mut from: Snapshot) -> Result<(), Error> {
        let at = &mut self.iterate;
        from.take_name("solver", self.method.name())?;
        at.x = from.take_vector("x", &at.x)?;
        at.y = from.take_vector("y", &at.y)?;
        from.take_within("sampler", |from| at.sampler.restore(from))?;
        from.take_within("method", |from| self.method.restore(from, at))?;
        for (name, momentum, like) in
            [("upper", &mut at.upper_momentum, &at.x), ("lower", &mut at.lower_momentum, &at.y)]
        {
            if let Some(momentum) = momentum {
                from.take_within(name, |from| momentum.restore(from, like))?;
            }
        }
        from.finish()
    }
}
