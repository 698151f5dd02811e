//! The oracle with x and the data held fixed, as the lower level sees it.

use std::ops::Add;

use bilevel_program::Vector;

use super::{Constraints, Direction, Hessian, Loss, Mixed, Oracle, Partials, Point, Wrt};
use crate::{Dynamics, Objective, Sample, Variable};

/// A weighted sum of the two losses, `a F + b f`: what a lower step descends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightedSum {
    /// The weight a of F.
    pub upper: f64,
    /// The weight b of f.
    pub lower: f64,
}

impl WeightedSum {
    /// f itself.
    pub const LOWER: Self = Self { upper: 0.0, lower: 1.0 };

    /// The losses whose weight is not zero.
    fn terms(self) -> impl Iterator<Item = (Objective, f64)> {
        [(Objective::Lower, self.lower), (Objective::Upper, self.upper)]
            .into_iter()
            .filter(|(_, weight)| *weight != 0.0)
    }
}

/// The data of one hypergradient: one draw per level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    /// For F.
    pub upper: Sample,
    /// For f, the same through all lower steps, unless [each has its own](crate::Descent::with_sampler).
    pub lower: Sample,
    /// The index of this hypergradient in the run, counted from 0: a descent that draws a sample at each step continues
    /// its draws from one to the next.
    pub index: u64,
}

impl Samples {
    /// The sample of a loss.
    pub fn of(self, objective: Objective) -> Sample {
        match objective {
            Objective::Upper => self.upper,
            Objective::Lower => self.lower,
        }
    }
}

/// An oracle at one x and one draw of data.
#[derive(Clone, Copy)]
pub struct LowerProblem<'a> {
    /// The oracle.
    pub oracle: &'a dyn Oracle,
    /// The upper variable.
    pub x: &'a Vector,
    /// The data.
    pub samples: Samples,
}

impl<'a> LowerProblem<'a> {
    /// `oracle` at `x`.
    pub fn new(oracle: &'a dyn Oracle, x: &'a Vector, samples: Samples) -> Self {
        Self { oracle, x, samples }
    }

    /// The problem on the data of step t of a dynamics.
    pub fn at_step(&self, dynamics: &dyn Dynamics, t: usize) -> Self {
        Self { samples: dynamics.samples(t, self.samples), ..*self }
    }

    fn point<'b>(&'b self, objective: Objective, y: &'b Vector) -> Point<'b> {
        let sample = self.samples.of(objective);
        Point { x: self.x, y, sample }
    }

    /// The loss of `objective` at y.
    pub fn value(&self, objective: Objective, y: &Vector) -> Loss {
        self.oracle.value(objective, self.point(objective, y))
    }

    /// The loss of `objective` at y and its gradient.
    pub fn gradient(&self, objective: Objective, y: &Vector, wrt: Wrt) -> (Loss, Partials) {
        self.oracle.gradient(objective, self.point(objective, y), wrt)
    }

    /// The Hessian of the loss of `objective` at y times a direction.
    pub fn product(
        &self,
        objective: Objective,
        y: &Vector,
        along: Direction<'_>,
        wrt: Wrt,
    ) -> Partials {
        self.oracle.product(objective, self.point(objective, y), along, wrt)
    }

    /// The loss of `objective` at y, its gradient in y, and its Hessian, for products in the variables `wrt` along
    /// directions in y: what does not depend on the direction is computed once.
    pub fn gradient_and_hessian(
        &self,
        objective: Objective,
        y: &Vector,
        wrt: Wrt<'_>,
    ) -> (Loss, Vector, Hessian<'a>) {
        let point = self.point(objective, y);
        let at = self.oracle.linearize(objective, point, Some(Wrt::Y), Wrt::Y, wrt);
        let loss = at.loss.expect("an oracle gives the loss with the gradient");
        (loss, at.gradient.into_y(), at.hessian)
    }

    /// f at y, its gradient in y, and `v -> d/dx <f_y, v>` there.
    pub fn gradient_and_mixed<'b>(&'b self, y: &'b Vector) -> (Loss, Vector, Mixed<'b>) {
        self.oracle.gradient_and_mixed(self.point(Objective::Lower, y))
    }

    /// The gradient of a weighted sum in y, and f if it is a term of the sum.
    pub fn slope(&self, of: WeightedSum, y: &Vector) -> (Option<Loss>, Vector) {
        let mut lower_loss = None;
        let terms = of.terms().map(|(objective, weight)| {
            let (loss, sides) = self.gradient(objective, y, Wrt::Y);
            if objective == Objective::Lower {
                lower_loss = Some(loss);
            }
            scale(weight, sides.into_y())
        });
        let slope = terms.reduce(|a, b| a.add(&b)).unwrap_or_else(|| y.zeros_like());
        (lower_loss, slope)
    }

    /// The constraints of a level; none if it has none.
    pub fn constraints(&self, level: Objective) -> Option<Box<dyn Constraints + 'a>> {
        self.oracle.constraints(level, self.samples.of(level))
    }

    /// The gradient of f in y, the mean over the batches that the lower level is divided into.
    pub fn whole_slope(&self, y: &Vector) -> Vector {
        let batches = self.oracle.batches(Objective::Lower);
        let on = |lower: Sample| {
            let at = Self { samples: Samples { lower, ..self.samples }, ..*self };
            at.gradient(Objective::Lower, y, Wrt::Y).1.into_y()
        };
        if batches <= 1 {
            return on(self.samples.lower);
        }
        let sum = (1..batches as u64).fold(on(Sample(0)), |sum, k| sum.add(&on(Sample(k))));
        sum.scale(1.0 / batches as f64)
    }

    /// A weighted sum of the losses. Waits for the device.
    pub fn sum(&self, of: WeightedSum, y: &Vector) -> f64 {
        of.terms().map(|(objective, weight)| weight * self.value(objective, y).read()).sum()
    }

    /// A weighted sum of the losses and its gradient in y. Waits for the device.
    pub fn sum_and_slope(&self, of: WeightedSum, y: &Vector) -> (f64, Vector) {
        let terms = of.terms().map(|(objective, weight)| {
            let (loss, sides) = self.gradient(objective, y, Wrt::Y);
            (weight * loss.read(), scale(weight, sides.into_y()))
        });
        let sum = terms.reduce(|a, b| (a.0 + b.0, a.1.add(&b.1)));
        sum.unwrap_or_else(|| (0.0, y.zeros_like()))
    }

    /// The gradient of a weighted sum in x.
    pub fn upper_slope(&self, of: WeightedSum, y: &Vector) -> Vector {
        let terms = of.terms().map(|(objective, weight)| {
            scale(weight, self.gradient(objective, y, Wrt::X).1.into_x())
        });
        terms.reduce(|a, b| a.add(&b)).unwrap_or_else(|| self.x.zeros_like())
    }

    /// The Hessian of a weighted sum times a direction.
    pub fn curvature(
        &self,
        of: WeightedSum,
        y: &Vector,
        along: Direction<'_>,
        wrt: Wrt,
    ) -> Partials {
        let terms = of
            .terms()
            .map(|(objective, weight)| scaled(weight, self.product(objective, y, along, wrt)));
        terms.reduce(Partials::add).unwrap_or_else(|| zeros(self.x, y, wrt))
    }

    /// The Hessian of a weighted sum at y, for products in the variables `wrt` along directions in the variables `along`.
    pub fn curvature_at(
        &self,
        of: WeightedSum,
        y: &Vector,
        along: Wrt<'_>,
        wrt: Wrt<'_>,
    ) -> Curvature<'a> {
        let terms = of.terms().map(|(objective, weight)| {
            let point = self.point(objective, y);
            (weight, self.oracle.linearize(objective, point, None, along, wrt).hessian)
        });
        Curvature { terms: terms.collect(), x: self.x.clone(), y: y.clone() }
    }

    /// [`LowerProblem::slope`], and the Hessian of the sum for products in x and y along directions in y.
    pub fn slope_and_curvature(
        &self,
        of: WeightedSum,
        y: &Vector,
    ) -> (Option<Loss>, Vector, Curvature<'a>) {
        let (mut lower_loss, mut slope, mut hessians) = (None, None, Vec::new());
        for (objective, weight) in of.terms() {
            let (loss, gradient, hessian) = self.gradient_and_hessian(objective, y, Wrt::Both);
            if objective == Objective::Lower {
                lower_loss = Some(loss);
            }
            let term = scale(weight, gradient);
            slope = Some(slope.map_or(term.clone(), |sum: Vector| sum.add(&term)));
            hessians.push((weight, hessian));
        }
        let curvature = Curvature { terms: hessians, x: self.x.clone(), y: y.clone() };
        (lower_loss, slope.unwrap_or_else(|| y.zeros_like()), curvature)
    }
}

/// The Hessian of a weighted sum of the losses at one point.
pub struct Curvature<'a> {
    terms: Vec<(f64, Hessian<'a>)>,
    x: Vector,
    y: Vector,
}

impl Curvature<'_> {
    /// The Hessian times a direction: a product of each loss whose weight is not zero.
    ///
    /// # Panics
    /// If the direction or the variables differ from those named.
    pub fn product(&self, along: Direction<'_>, wrt: Wrt<'_>) -> Partials {
        let terms =
            self.terms.iter().map(|(weight, hessian)| scaled(*weight, hessian.product(along, wrt)));
        terms.reduce(Partials::add).unwrap_or_else(|| zeros(&self.x, &self.y, wrt))
    }

    /// Bytes that are held for the products.
    pub fn bytes(&self) -> usize {
        self.terms.iter().map(|(_, hessian)| hessian.bytes()).sum()
    }
}

fn scaled(weight: f64, sides: Partials) -> Partials {
    Partials { x: sides.x.map(|x| scale(weight, x)), y: sides.y.map(|y| scale(weight, y)) }
}

fn zeros(x: &Vector, y: &Vector, wrt: Wrt<'_>) -> Partials {
    Partials {
        x: wrt.includes(Variable::X).then(|| x.zeros_like()),
        y: wrt.includes(Variable::Y).then(|| y.zeros_like()),
    }
}

fn scale(weight: f64, v: Vector) -> Vector {
    if weight == 1.0 { v } else { v.scale(weight) }
}
