//! Descent along hypergradients.

use bilevel_program::Vector;

use super::{Observation, Solver, project};
use crate::check::named;
use crate::constrained::Residual;
use crate::error::positive;
use crate::hypergradient::HypergradientMethod;
use crate::upper::UpperStep;
use crate::{
    Cost, Counted, Error, LowerProblem, Objective, Oracle, Projection, Sample, Sampler, Samples,
    Snapshot,
};

/// Where the lower level starts at each upper step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Start {
    /// At the same point each time.
    #[default]
    Fixed,
    /// At its last result. Hypergradients treat that point as a constant, though it depends on earlier x.
    Warm,
    /// At a point z that is learned: after each upper step `z' = Proj(z - a dF/dz)`, by the methods that
    /// differentiate in the start, [`ia-gm`](crate::Unrolled::ia_gm) and [`Iaptt`](crate::Iaptt).
    Learned {
        /// a
        step_size: f64,
    },
}

/// Descends along hypergradients: `x' = Proj(optimiser(x, g))`.
pub struct HypergradientSolver<'a> {
    oracle: Counted<&'a dyn Oracle>,
    method: Box<dyn HypergradientMethod>,
    upper: Box<dyn UpperStep + 'a>,
    projection: Option<Box<dyn Projection>>,
    sampler: Option<Sampler>,
    samples: Samples,
    start: Start,
    draw: Option<Box<dyn Fn(u64) -> Vector + 'a>>,
    start_projection: Option<Box<dyn Projection>>,
    x: Vector,
    /// The x of the last hypergradient.
    seen: Vector,
    y0: Vector,
    y: Vector,
}

impl<'a> HypergradientSolver<'a> {
    /// `method` on `oracle`, from `x` and `y`, x moved by `upper`.
    pub fn new(
        oracle: &'a dyn Oracle,
        method: impl HypergradientMethod + 'static,
        upper: impl UpperStep + 'a,
        x: Vector,
        y: Vector,
    ) -> Self {
        Self {
            oracle: Counted::new(oracle),
            method: Box::new(method),
            upper: Box::new(upper),
            projection: None,
            sampler: None,
            samples: Samples::default(),
            start: Start::Fixed,
            draw: None,
            start_projection: None,
            seen: x.clone(),
            x,
            y0: y.clone(),
            y,
        }
    }

    /// With x kept in a convex set.
    pub fn with_projection(mut self, projection: impl Projection + 'static) -> Self {
        self.x = projection.apply(&self.x);
        self.projection = Some(Box::new(projection));
        self
    }

    /// With batches that `sampler` draws, one per level and upper step; their numbers are compared with the data's
    /// before each step. Otherwise upper step k requests [`Sample`] k of both levels.
    ///
    /// For a draw at each lower step see [`Descent::with_sampler`](crate::Descent::with_sampler).
    pub fn with_sampler(mut self, sampler: Sampler) -> Self {
        self.sampler = Some(sampler);
        self
    }

    /// The data of the last hypergradient.
    pub fn samples(&self) -> Samples {
        self.samples
    }

    /// With another start of the lower level.
    ///
    /// # Errors
    /// If it is learned and its step size is not finite and positive, or the method does not differentiate in it.
    pub fn with_start(mut self, start: Start) -> Result<Self, Error> {
        if let Start::Learned { step_size } = start {
            positive("step size of the learned start", step_size)?;
            if !self.method.differentiates_start() {
                return Err(Error::NoStartGradient { method: self.method.describe() });
            }
        }
        (self.start, self.draw) = (start, None);
        Ok(self)
    }

    /// With a new start of the lower level at each upper step: `draw(k)` at step k, counted from 0. It must depend only
    /// on k, so that a resumed run draws the same;
    /// [`AutodiffOracle::lower_vector`](crate::AutodiffOracle::lower_vector) gives the vector of a new module.
    ///
    /// # Errors
    /// If `draw(0)` has other variables than y.
    pub fn with_drawn_start(mut self, draw: impl Fn(u64) -> Vector + 'a) -> Result<Self, Error> {
        let (found, expected) = (draw(0), self.oracle.lower_layout());
        if found.layout() != expected {
            return Err(Error::StartShapes {
                part: "the start that is drawn".into(),
                found: named(found.layout()),
                expected: named(expected),
            });
        }
        self.start = Start::Fixed;
        self.draw = Some(Box::new(draw));
        Ok(self)
    }

    /// With a learned start kept in a convex set.
    pub fn with_start_projection(mut self, projection: impl Projection + 'static) -> Self {
        self.y0 = projection.apply(&self.y0);
        self.start_projection = Some(Box::new(projection));
        self
    }

    /// Where the lower level starts: z if it is learned.
    pub fn lower_start(&self) -> &Vector {
        match self.start {
            Start::Fixed | Start::Learned { .. } => &self.y0,
            Start::Warm => &self.y,
        }
    }

    /// Refuses a method that goes on from its last result where the lower level starts elsewhere.
    fn check_start(&self) -> Result<(), Error> {
        if !self.method.goes_on() || self.start == Start::Warm {
            return Ok(());
        }
        let start = match self.start {
            Start::Learned { .. } => "learned",
            _ if self.draw.is_some() => "drawn",
            _ => "fixed",
        };
        Err(Error::InvalidSetting {
            setting: "start of the lower level",
            found: format!("{start}, for {}", self.method.describe()),
            expected: "a warm one, as the method goes on from its last result",
            cure: "start warm (`with_start(Start::Warm)`), or keep all lower steps (without `keeping`, kept-steps = 0)",
        })
    }

    fn draw(&mut self, index: u64) -> Result<Samples, Error> {
        let Some(sampler) = &mut self.sampler else {
            return Ok(Samples { upper: Sample(index), lower: Sample(index), index });
        };
        sampler.check(&self.oracle)?;
        Ok(Samples {
            upper: sampler.draw(Objective::Upper),
            lower: sampler.draw(Objective::Lower),
            index,
        })
    }
}

impl Solver for HypergradientSolver<'_> {
    fn step(&mut self, k: usize) -> Result<Observation, Error> {
        self.check_start()?;
        self.upper.check(self.x.layout())?;
        self.samples = self.draw(k as u64)?;
        if let Some(draw) = &self.draw {
            self.y0 = draw(k as u64);
        }
        let start = self.lower_start().clone();
        let found = self
            .method
            .hypergradient(LowerProblem::new(&self.oracle, &self.x, self.samples), &start)?;
        self.seen = self.x.clone();
        self.y = self.method.kept().cloned().unwrap_or(found.lower);
        let finite = |ok: bool, what, cure| {
            if ok { Ok(()) } else { Err(Error::NotFinite { what, step: k + 1, cure }) }
        };
        let upper_loss = found.upper_loss.read();
        finite(upper_loss.is_finite(), "upper loss", "lower step size")?;
        found.status.check(k, self.x.layout(), self.y.layout())?;
        let gradient_norm = found.gradient.norm();
        finite(
            gradient_norm.is_finite(),
            "hypergradient",
            "lower step size or number of lower steps",
        )?;
        let moved = self.upper.step(&self.x, &found.gradient);
        finite(moved.all_finite(), "upper variable", "upper learning rate")?;
        if let (Start::Learned { step_size }, Some(along)) = (self.start, &found.start) {
            let moved = start.axpy(-step_size, along);
            finite(moved.all_finite(), "lower start", "step size of the learned start")?;
            self.y0 = project(&self.start_projection, moved);
        }
        self.x = project(&self.projection, moved);
        let (lower_loss, status) = (found.lower_loss, found.status);
        Ok(Observation { upper_loss, lower_loss, gradient_norm, status })
    }

    fn x(&self) -> &Vector {
        &self.x
    }

    fn y(&self) -> &Vector {
        &self.y
    }

    fn residual(&self) -> Residual {
        let problem = LowerProblem::new(&self.oracle, &self.seen, self.samples);
        self.method.residual(problem, &self.y)
    }

    fn cost(&self) -> Cost {
        self.oracle.cost() + self.method.cost_elsewhere()
    }

    fn save(&self) -> Snapshot {
        let mut to = Snapshot::default();
        to.put_name("solver", self.method.name());
        to.put_vector("x", &self.x);
        to.put_vector("y", &self.y);
        to.put_vector("start", &self.y0);
        if let Some(sampler) = &self.sampler {
            to.put_within("sampler", |to| sampler.save(to));
        }
        to.put_within("method", |to| self.method.save(to));
        to.put_within("upper", |to| self.upper.save(to));
        to
    }

    fn restore(&mut self, mut from: Snapshot) -> Result<(), Error> {
        from.take_name("solver", self.method.name())?;
        self.x = from.take_vector("x", &self.x)?;
        self.y = from.take_vector("y", &self.y)?;
        self.y0 = from.take_vector("start", &self.y0)?;
        if let Some(sampler) = &mut self.sampler {
            from.take_within("sampler", |from| sampler.restore(from))?;
        }
        from.take_within("method", |from| self.method.restore(from, &self.x, &self.y))?;
        from.take_within("upper", |from| self.upper.restore(from, &self.x))?;
        from.finish()
    }
}
