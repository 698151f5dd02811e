//! Which variables a loss depends on.

use std::sync::Arc;

use burn::module::Module;

use crate::recorded::Loss;
use crate::{Batch, Derivative, Layout, Recorded, TraceError, Vector};

impl<X: Module, Y: Module, D: Batch> Recorded<X, Y, D> {
    /// The variables of x and those of y on which the loss depends, as parts of their layouts. A zero gradient does not
    /// determine them: that of a dead unit is zero too.
    ///
    /// # Errors
    /// If the loss cannot be recorded.
    pub fn reached(
        &self,
        x: &Vector,
        y: &Vector,
        batch: &D,
        loss: &Loss<'_, X, Y, D>,
    ) -> Result<[Arc<Layout>; 2], TraceError> {
        let program = self.program(Derivative::Value, x, y, batch, loss)?;
        let upper = self.upper_layout().leaves().len();
        let reached = |input: usize| {
            let depends = program.depends(|at| at == input);
            program.outputs[0].tensor.is_some_and(|tensor| depends[tensor])
        };
        let part = |layout: &Layout, from: usize| {
            let positions = (0..layout.leaves().len()).filter(|at| reached(from + at));
            layout.part(&positions.collect::<Vec<_>>())
        };
        Ok([part(self.upper_layout(), 0), part(self.lower_layout(), upper)])
    }
}
