//! Solvers: from a hypergradient to a sequence of upper points.

use bilevel_autodiff::Vector;
use burn::tensor::backend::Backend;

use crate::hypergradient::{HypergradientMethod, Samples, Status};
use crate::upper::{Projection, UpperStep};
use crate::{Cost, Error, Loss, Oracle, Sample};

/// The relative rise of the lower loss that is no longer taken for rounding.
const RISE: f64 = 1e-3;

/// Where the lower level starts at each upper step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the same point each time.
    #[default]
    Fixed,
    /// Where it ended the time before.
    Warm,
}

/// What one upper step saw, at the x before it was moved.
#[derive(Clone, Debug)]
pub struct Step<B: Backend> {
    /// `F(x, y_T)`.
    pub upper_loss: Loss<B>,
    /// `f(x, y_T)`.
    pub lower_loss: Loss<B>,
    /// The norm of the hypergradient.
    pub gradient_norm: f64,
    /// How far it can be trusted.
    pub status: Status,
}

/// An algorithm that moves x and y, one upper step at a time. The loop is [`Executor`](crate::Executor)'s.
pub trait Solver<B: Backend> {
    /// Upper step `k`, counted from 0.
    ///
    /// # Errors
    /// If a level diverges.
    fn step(&mut self, k: usize) -> Result<Step<B>, Error>;

    /// The upper variable.
    fn x(&self) -> &Vector<B>;

    /// The lower variable that belongs to the last hypergradient.
    fn y(&self) -> &Vector<B>;

    /// The oracle calls so far.
    fn cost(&self) -> Cost;
}

/// Descends along hypergradients: `x' = Proj(optimiser(x, g))`.
pub struct HypergradientSolver<'a, B: Backend> {
    oracle: &'a dyn Oracle<B>,
    method: Box<dyn HypergradientMethod<B>>,
    upper: Box<dyn UpperStep<B> + 'a>,
    projection: Option<Box<dyn Projection<B>>>,
    start: Start,
    x: Vector<B>,
    y0: Vector<B>,
    y: Vector<B>,
}

impl<'a, B: Backend> HypergradientSolver<'a, B> {
    /// `method` on `oracle`, from `x` and `y`, x moved by `upper`.
    pub fn new(
        oracle: &'a dyn Oracle<B>,
        method: impl HypergradientMethod<B> + 'static,
        upper: impl UpperStep<B> + 'a,
        x: Vector<B>,
        y: Vector<B>,
    ) -> Self {
        Self {
            oracle,
            method: Box::new(method),
            upper: Box::new(upper),
            projection: None,
            start: Start::Fixed,
            x,
            y0: y.clone(),
            y,
        }
    }

    /// With x kept in a convex set.
    pub fn with_projection(mut self, projection: impl Projection<B> + 'static) -> Self {
        self.x = projection.project(self.x);
        self.projection = Some(Box::new(projection));
        self
    }

    /// With another start of the lower level.
    pub fn with_start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }
}

impl<B: Backend> Solver<B> for HypergradientSolver<'_, B> {
    fn step(&mut self, k: usize) -> Result<Step<B>, Error> {
        let sample = Sample(k as u64);
        let samples = Samples { upper: sample, lower: sample };
        let start = match self.start {
            Start::Fixed => &self.y0,
            Start::Warm => &self.y,
        };
        let found = self.method.hypergradient(self.oracle, &self.x, start, samples)?;
        self.y = found.lower;
        let gradient_norm = found.gradient.norm();
        if !gradient_norm.is_finite() {
            return Err(Error::NotFinite {
                what: "hypergradient",
                step: k + 1,
                cure: "lower step size or the number of lower steps",
            });
        }
        let (start, end) = (found.start_loss.read(), found.lower_loss.read());
        let status = if end > start + RISE * start.abs() {
            Status::NoDescent { start, end }
        } else {
            found.status
        };
        let moved = self.upper.step(&self.x, &found.gradient);
        if !moved.all_finite() {
            return Err(Error::NotFinite {
                what: "upper variable",
                step: k + 1,
                cure: "upper learning rate",
            });
        }
        self.x = match &self.projection {
            Some(projection) => projection.project(moved),
            None => moved,
        };
        Ok(Step {
            upper_loss: found.upper_loss,
            lower_loss: found.lower_loss,
            gradient_norm,
            status,
        })
    }

    fn x(&self) -> &Vector<B> {
        &self.x
    }

    fn y(&self) -> &Vector<B> {
        &self.y
    }

    fn cost(&self) -> Cost {
        self.oracle.cost()
    }
}
