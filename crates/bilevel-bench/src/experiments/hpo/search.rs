//! Training with given hyperparameters, and searching among many.

use bilevel_core::{
    Cost, Counted, Descent, Error, LowerProblem, Objective, Observation, Oracle, Point, Sampler,
    Samples, Snapshot, Solver, Status, Wrt,
};
use bilevel_program::Vector;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::mean_over_batches::MeanOverBatches;

/// How a model is trained, always from the same start and on the same batches.
pub struct Training<'a> {
    /// On one batch per call.
    pub oracle: &'a Counted<Box<dyn Oracle>>,
    /// The start of y.
    pub start: &'a Vector,
    /// T
    pub steps: usize,
    /// Of gradient descent.
    pub step_size: f64,
    /// Instead of gradient descent, on the whole data: where x determines the training.
    pub descent: Option<Descent>,
    /// Of the order of the batches.
    pub seed: u64,
}

impl Training<'_> {
    /// The model for x.
    ///
    /// # Errors
    /// If the training diverges, where x determines it.
    pub fn model(&self, x: &Vector) -> Result<Vector, Error> {
        if let Some(descent) = &self.descent {
            let problem = LowerProblem::new(self.oracle, x, Samples::default());
            return Ok(descent.run(&problem, self.start)?.state.y);
        }
        let [upper, lower] =
            [Objective::Upper, Objective::Lower].map(|objective| self.oracle.batches(objective));
        let mut sampler = Sampler::epochs(upper, lower, self.seed)?;
        let mut y = self.start.clone();
        for _ in 0..self.steps {
            let at = Point { x, y: &y, sample: sampler.draw(Objective::Lower) };
            let slope = self.oracle.gradient(Objective::Lower, at, Wrt::Y).1.into_y();
            y = y.axpy(-self.step_size, &slope);
        }
        Ok(y)
    }

    /// Its validation loss.
    pub fn validation_loss(&self, x: &Vector, y: &Vector) -> f64 {
        let whole = MeanOverBatches(self.oracle);
        LowerProblem::new(&whole, x, Samples::default()).value(Objective::Upper, y).read()
    }

    /// The calls of both oracles.
    pub fn calls(&self) -> u64 {
        let values = self.oracle.batches(Objective::Upper) + usize::from(self.descent.is_some());
        (self.steps + values) as u64
    }
}

/// Trains a model for each candidate and keeps the one with the smallest validation loss. A candidate whose training
/// diverges is skipped.
pub struct Search<'a> {
    training: Training<'a>,
    candidates: Vec<Vec<f64>>,
    x: Vector,
    y: Vector,
    least: f64,
}

impl<'a> Search<'a> {
    /// Among `candidates`, each given as the entries of an x like `x`.
    pub fn new(training: Training<'a>, candidates: Vec<Vec<f64>>, x: Vector) -> Self {
        let y = training.start.clone();
        Self { training, candidates, x, y, least: f64::INFINITY }
    }
}

impl Solver for Search<'_> {
    fn step(&mut self, k: usize) -> Result<Observation, Error> {
        let x = Vector::from_slice(self.x.layout(), &self.candidates[k], &self.x.device());
        let loss = match self.training.model(&x) {
            Ok(y) => {
                let loss = self.training.validation_loss(&x, &y);
                // Not where it is NaN.
                if loss < self.least {
                    (self.x, self.y, self.least) = (x, y, loss);
                }
                loss
            }
            Err(Error::LowerDiverged { .. }) => f64::INFINITY,
            Err(other) => return Err(other),
        };
        let (lower_loss, gradient_norm) = (f64::NAN, f64::NAN);
        Ok(Observation { upper_loss: loss, lower_loss, gradient_norm, status: Status::Approximate })
    }

    fn x(&self) -> &Vector {
        &self.x
    }

    fn y(&self) -> &Vector {
        &self.y
    }

    fn cost(&self) -> Cost {
        self.training.oracle.cost()
    }

    fn save(&self) -> Snapshot {
        let mut to = Snapshot::default();
        to.put_vector("x", &self.x);
        to.put_vector("y", &self.y);
        to.put_numbers("least", &[self.least]);
        to
    }

    fn restore(&mut self, mut from: Snapshot) -> Result<(), Error> {
        self.x = from.take_vector("x", &self.x)?;
        self.y = from.take_vector("y", &self.y)?;
        self.least = from.take_number("least")?;
        from.finish()
    }
}

/// At most `count` points of the box, evenly spaced: all combinations of as many values for each entry, or, if that
/// would be fewer than three each, one value for all of `entries`.
pub fn grid(entries: usize, count: usize, (low, high): (f64, f64)) -> Vec<Vec<f64>> {
    // Rounding must not lose a value: 125^(1/3) is below 5.
    let each = ((count as f64).powf(1.0 / entries as f64) + 1e-9) as usize;
    let values = |n: usize| -> Vec<f64> {
        // At the midpoints of n parts, so that a single value is the middle of the box.
        (0..n).map(|i| low + (high - low) * (i as f64 + 0.5) / n as f64).collect()
    };
    if each < 3 {
        return values(count).into_iter().map(|value| vec![value; entries]).collect();
    }
    (0..entries).fold(vec![Vec::new()], |points, _| {
        let longer = |point: &Vec<f64>| -> Vec<Vec<f64>> {
            values(each).into_iter().map(|value| [&point[..], &[value]].concat()).collect()
        };
        points.iter().flat_map(longer).collect()
    })
}

/// `count` uniformly random points of the box.
pub fn random(
    entries: usize,
    count: usize,
    (low, high): (f64, f64),
    rng: &mut ChaCha8Rng,
) -> Vec<Vec<f64>> {
    (0..count).map(|_| (0..entries).map(|_| rng.random_range(low..high)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_is_all_combinations_or_one_value_for_all() {
        let product = grid(2, 10, (0.0, 3.0));
        assert_eq!(product.len(), 9);
        assert_eq!(product[..4], [[0.5, 0.5], [0.5, 1.5], [0.5, 2.5], [1.5, 0.5]]);
        assert_eq!(grid(3, 125, (0.0, 1.0)).len(), 125);
        assert_eq!(grid(22, 2, (-2.0, 2.0)), [vec![-1.0; 22], vec![1.0; 22]]);
    }
}
