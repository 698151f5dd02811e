//! A lower level below the lower level.

use std::sync::{Arc, Mutex, PoisonError};

use bilevel_program::{Layout, Vector};

use super::{Derivative, Direction, Loss, Oracle, Partials, Point, Program, Wrt};
use crate::linear::epsilon;
use crate::{Error, HypergradientMethod, LowerProblem, Objective, Samples, Variable};

/// The oracle of the two outer levels of three, where a hypergradient method solves the innermost one:
///
/// ```text
/// F(x, y, z(x, y)),  f(x, y, z(x, y)),  z(x, y) in argmin_z g(x, y, z)
/// ```
///
/// It consists of two oracles of two levels each, `(F, g)` and `(f, g)`, whose upper variable has x and y as its parts
/// and whose lower variable is z. Their hypergradients are the gradients of the two losses; so any method for two
/// levels runs on three, and nesting again gives a fourth level.
///
/// A product of the Hessian is a central difference of two hypergradients with a relative step of `eps^(1/3)`: about
/// ten digits in f64, and the status of the innermost level is not seen. In f32 it has four digits.
///
/// Each value, gradient or product costs one or two hypergradients. If the innermost level diverges, the loss and its
/// gradient are NaN, which ends a run with an error.
pub struct Nested<'a> {
    losses: [&'a dyn Oracle; 2],
    method: Mutex<Box<dyn HypergradientMethod + 'a>>,
    z: Vector,
    parts: [(Vec<usize>, Arc<Layout>); 2],
}

impl<'a> Nested<'a> {
    /// Of the oracles of `(F, g)` and of `(f, g)`, x and y being at these paths of their upper variable, such as `"0"`
    /// and `"1"` of a tuple. z starts at `z` each time and `method` differentiates it; methods that keep state between
    /// calls are not suitable.
    ///
    /// # Errors
    /// If a variable of the oracles is in neither part, or in both, or the oracles have different variables.
    pub fn new(
        losses: [&'a dyn Oracle; 2],
        [x, y]: [&str; 2],
        method: impl HypergradientMethod + 'a,
        z: Vector,
    ) -> Result<Self, Error> {
        let upper = losses[0].upper_layout();
        let parts = [x, y].map(|path| {
            let positions = upper.under(path);
            let layout = upper.part(&positions);
            (positions, layout)
        });
        let mut all: Vec<_> = parts.iter().flat_map(|(positions, _)| positions.clone()).collect();
        all.sort_unstable();
        let same = |of: fn(&dyn Oracle) -> &Arc<Layout>| of(losses[0]) == of(losses[1]);
        let fits = all.iter().copied().eq(0..upper.leaves().len())
            && parts.iter().all(|(positions, _)| !positions.is_empty())
            && same(|oracle| oracle.upper_layout())
            && same(|oracle| oracle.lower_layout())
            && z.layout() == losses[0].lower_layout();
        if !fits {
            let paths: Vec<_> = upper.leaves().iter().map(|leaf| leaf.path.clone()).collect();
            return Err(Error::UpperVariable {
                what: "nested levels",
                found: paths.join(", "),
                expected: format!(
                    "each variable at `{x}` or at `{y}`, and the same in both oracles"
                ),
                cure: "build both oracles on one tuple (x, y) and one z, and name its parts \"0\" and \"1\"",
            });
        }
        Ok(Self { losses, method: Mutex::new(Box::new(method)), z, parts })
    }

    /// The parts x and y of a vector of both.
    pub fn split(&self, both: &Vector) -> [Vector; 2] {
        self.parts.each_ref().map(|(_, layout)| both.only(layout))
    }

    fn both(&self, x: &Vector, y: &Vector) -> Vector {
        let upper = self.losses[0].upper_layout();
        let zeros = Vector::from_slice(upper, &vec![0.0; upper.size()], &x.device());
        let [(of_x, _), (of_y, _)] = &self.parts;
        zeros.add_part(of_x, x).add_part(of_y, y)
    }

    /// The loss of `objective` and its gradient in both variables.
    fn hypergradient(&self, objective: Objective, at: Point<'_>) -> (Loss, Vector) {
        let both = self.both(at.x, at.y);
        let samples = Samples { upper: at.sample, lower: at.sample, index: at.sample.0 };
        let problem = LowerProblem::new(self.losses[objective as usize], &both, samples);
        let mut method = self.method.lock().unwrap_or_else(PoisonError::into_inner);
        match method.hypergradient(problem, &self.z) {
            Ok(found) => (found.upper_loss, found.gradient),
            Err(error) => {
                tracing::warn!(%error, "the innermost level failed: its loss is taken as NaN");
                let nothing = both.scale(f64::NAN);
                (problem.value(Objective::Upper, &self.z.scale(f64::NAN)), nothing)
            }
        }
    }

    fn partials(&self, gradient: &Vector, wrt: Wrt<'_>) -> Partials {
        let [x, y] = self.split(gradient);
        let y = match wrt {
            Wrt::Part(part) => y.only(part),
            _ => y,
        };
        Partials {
            x: wrt.includes(Variable::X).then_some(x),
            y: wrt.includes(Variable::Y).then_some(y),
        }
    }
}

impl Oracle for Nested<'_> {
    fn upper_layout(&self) -> &Arc<Layout> {
        &self.parts[0].1
    }

    fn lower_layout(&self) -> &Arc<Layout> {
        &self.parts[1].1
    }

    fn value(&self, objective: Objective, at: Point<'_>) -> Loss {
        self.hypergradient(objective, at).0
    }

    fn gradient(&self, objective: Objective, at: Point<'_>, wrt: Wrt) -> (Loss, Partials) {
        let (loss, gradient) = self.hypergradient(objective, at);
        (loss, self.partials(&gradient, wrt))
    }

    fn product(
        &self,
        objective: Objective,
        at: Point<'_>,
        along: Direction<'_>,
        wrt: Wrt,
    ) -> Partials {
        let dx = along.x.cloned().unwrap_or_else(|| at.x.zeros_like());
        let dy = match along.y {
            Some(part) => at.y.zeros_like().axpy_part(1.0, part),
            None => at.y.zeros_like(),
        };
        let length = dx.norm().hypot(dy.norm());
        if length == 0.0 {
            return self.partials(&self.both(&dx, &dy), wrt);
        }
        let size = 1.0 + at.x.norm().hypot(at.y.norm());
        let h = epsilon(at.y.layout()).cbrt() * size / length;
        let side = |h: f64| {
            let (x, y) = (at.x.axpy(h, &dx), at.y.axpy(h, &dy));
            self.hypergradient(objective, Point { x: &x, y: &y, sample: at.sample }).1
        };
        let slope = side(h).sub(&side(-h)).scale(0.5 / h);
        self.partials(&slope, wrt)
    }

    fn batches(&self, objective: Objective) -> usize {
        self.losses[objective as usize].batches(Objective::Upper)
    }

    fn program(&self, _: Objective, _: Derivative, _: Point<'_>) -> Option<Program> {
        None
    }

    fn is_collective(&self) -> bool {
        self.losses.iter().any(|oracle| oracle.is_collective())
    }
}
