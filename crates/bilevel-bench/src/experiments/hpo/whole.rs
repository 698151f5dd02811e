//! All batches at once.

use std::sync::Arc;

use bilevel_autodiff::{Layout, Vector};
use bilevel_core::{Cost, Direction, Level, Loss, Oracle, Point, Sample, Sides, Wrt};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

/// An oracle whose losses are the means over the batches of another one, one batch in memory at a time. Each batch is
/// a call.
pub struct Whole<'a, B: Backend>(pub &'a dyn Oracle<B>);

impl<B: Backend> Whole<'_, B> {
    /// The point on each batch.
    fn points<'p>(&self, level: Level, at: Point<'p, B>) -> impl Iterator<Item = Point<'p, B>> {
        let batches = self.0.batches(level) as u64;
        (0..batches).map(move |i| Point { sample: Sample(i), ..at })
    }

    fn mean(&self, level: Level, sides: impl Iterator<Item = Sides<B>>) -> Sides<B> {
        let share = 1.0 / self.0.batches(level) as f64;
        let sum = sides.reduce(|a, b| a + b).expect("a level has a batch");
        let scale = |v: Option<Vector<B>>| v.map(|v| v.scale(share));
        Sides { x: scale(sum.x), y: scale(sum.y) }
    }

    fn mean_loss(&self, losses: &[Loss<B>]) -> Loss<B> {
        match losses {
            [one] => one.clone(),
            many => {
                let mean = many.iter().map(Loss::read).sum::<f64>() / many.len() as f64;
                Loss::new(Tensor::from_data(TensorData::from([mean]), &B::Device::default()))
            }
        }
    }
}

impl<B: Backend> Oracle<B> for Whole<'_, B> {
    fn upper_layout(&self) -> &Arc<Layout> {
        self.0.upper_layout()
    }

    fn lower_layout(&self) -> &Arc<Layout> {
        self.0.lower_layout()
    }

    fn value(&self, level: Level, at: Point<'_, B>) -> Loss<B> {
        let losses: Vec<_> = self.points(level, at).map(|at| self.0.value(level, at)).collect();
        self.mean_loss(&losses)
    }

    fn gradient(&self, level: Level, at: Point<'_, B>, wrt: Wrt) -> (Loss<B>, Sides<B>) {
        let mut losses = Vec::new();
        let sides = self.points(level, at).map(|at| {
            let (loss, sides) = self.0.gradient(level, at, wrt);
            losses.push(loss);
            sides
        });
        let sides = self.mean(level, sides);
        (self.mean_loss(&losses), sides)
    }

    fn product(
        &self,
        level: Level,
        at: Point<'_, B>,
        along: Direction<'_, B>,
        wrt: Wrt,
    ) -> Sides<B> {
        self.mean(level, self.points(level, at).map(|at| self.0.product(level, at, along, wrt)))
    }

    fn cost(&self) -> Cost {
        self.0.cost()
    }
}
