//! All batches at once.

use bilevel_core::{
    Direction, Hessian, Linearization, Loss, Objective, Oracle, Partials, Point, Sample, Wrt,
    forward_oracle,
};
use bilevel_program::Vector;
use burn::tensor::{Tensor, TensorData};

/// An oracle whose losses are the means over the batches of another one, one batch in memory at a time. Each batch is
/// one call.
pub struct MeanOverBatches<'a>(pub &'a dyn Oracle);

impl MeanOverBatches<'_> {
    /// The point on each batch.
    fn points<'p>(&self, objective: Objective, at: Point<'p>) -> impl Iterator<Item = Point<'p>> {
        let batches = self.0.batches(objective) as u64;
        (0..batches).map(move |i| Point { sample: Sample(i), ..at })
    }

    fn mean(&self, objective: Objective, sides: impl Iterator<Item = Partials>) -> Partials {
        let share = 1.0 / self.0.batches(objective) as f64;
        let sum = sides.reduce(|a, b| a + b).expect("a level has a batch");
        let scale = |v: Option<Vector>| v.map(|v| v.scale(share));
        Partials { x: scale(sum.x), y: scale(sum.y) }
    }

    fn mean_loss(&self, at: Point<'_>, losses: &[Loss]) -> Loss {
        match losses {
            [one] => one.clone(),
            many => {
                let mean = many.iter().map(Loss::read).sum::<f64>() / many.len() as f64;
                Loss::new(Tensor::from_data(TensorData::from([mean]), &at.x.device()))
            }
        }
    }
}

impl Oracle for MeanOverBatches<'_> {
    forward_oracle!(0: upper_layout, lower_layout, constraints, is_collective);

    fn value(&self, objective: Objective, at: Point<'_>) -> Loss {
        let losses: Vec<_> =
            self.points(objective, at).map(|at| self.0.value(objective, at)).collect();
        self.mean_loss(at, &losses)
    }

    fn gradient(&self, objective: Objective, at: Point<'_>, wrt: Wrt) -> (Loss, Partials) {
        let mut losses = Vec::new();
        let sides = self.points(objective, at).map(|at| {
            let (loss, sides) = self.0.gradient(objective, at, wrt);
            losses.push(loss);
            sides
        });
        let sides = self.mean(objective, sides);
        (self.mean_loss(at, &losses), sides)
    }

    fn product(
        &self,
        objective: Objective,
        at: Point<'_>,
        along: Direction<'_>,
        wrt: Wrt,
    ) -> Partials {
        self.mean(
            objective,
            self.points(objective, at).map(|at| self.0.product(objective, at, along, wrt)),
        )
    }

    fn linearize<'a>(
        &'a self,
        objective: Objective,
        at: Point<'_>,
        gradient: Option<Wrt<'_>>,
        along: Wrt<'_>,
        wrt: Wrt<'_>,
    ) -> Linearization<'a> {
        // Otherwise linearisations would be kept for all batches.
        if self.0.batches(objective) == 1 {
            return self.0.linearize(
                objective,
                Point { sample: Sample(0), ..at },
                gradient,
                along,
                wrt,
            );
        }
        let (loss, gradient) = match gradient {
            Some(wrt) => {
                let (loss, gradient) = self.gradient(objective, at, wrt);
                (Some(loss), gradient)
            }
            None => (None, Partials { x: None, y: None }),
        };
        let (x, y, sample) = (at.x.clone(), at.y.clone(), at.sample);
        let product = move |along: Direction<'_>, wrt: Wrt<'_>| {
            self.product(objective, Point { x: &x, y: &y, sample }, along, wrt)
        };
        Linearization { loss, gradient, hessian: Hessian::new(product, 0) }
    }
}
