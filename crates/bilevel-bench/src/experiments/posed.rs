//! A problem and its start, to which a method of the catalogue is applied.

use bilevel_core::catalogue::{self, At, Made};
use bilevel_core::{
    BurnOptimizer, HypergradientSolver, JointSolver, Objective, Oracle, Sampler, Solver, Start,
};
use bilevel_program::Vector;
use burn::module::Module;
use burn::optim::AdamConfig;

use crate::error::BenchError;
use crate::settings::Catalogued;

/// A problem and its start.
pub struct Posed<'a, X> {
    /// Its losses.
    pub oracle: &'a dyn Oracle,
    /// x as a module.
    pub module: &'a X,
    /// x
    pub x: Vector,
    /// y
    pub y: Vector,
    /// The optimiser of x along a hypergradient.
    pub adam: AdamConfig,
    /// Where the lower level starts at each step of x.
    pub start: Start,
    /// The seed of random numbers of a method.
    pub seed: u64,
}

impl<'a, X: Module + 'static> Posed<'a, X> {
    /// The solver of a method with the settings of a run, whose learning rate is that of x. Batches are drawn in order.
    ///
    /// # Errors
    /// If a setting is outside its range, or the method does not fit the problem.
    pub fn solver(
        self,
        method: &Catalogued,
        of_run: &catalogue::Settings,
    ) -> Result<Box<dyn Solver + 'a>, BenchError> {
        let Self { oracle, module, x, y, adam, start, seed } = self;
        let (made, settings) = method.make(of_run, &At { x: &x, y: &y, seed })?;
        Ok(match made {
            Made::Hypergradient(method) => {
                let upper = BurnOptimizer::new(adam.build(), module, settings.learning_rate)?;
                Box::new(HypergradientSolver::new(oracle, method, upper, x, y).with_start(start)?)
            }
            Made::Joint(method) => {
                let [upper, lower] =
                    [Objective::Upper, Objective::Lower].map(|objective| oracle.batches(objective));
                let sampler = Sampler::in_order(upper, lower)?;
                Box::new(JointSolver::new(oracle, method, x, y)?.with_sampler(sampler))
            }
        })
    }
}
