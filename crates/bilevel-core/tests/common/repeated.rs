//! What derivatives at one point have in common is computed once, by a linearisation.

use std::sync::Mutex;

use bilevel_core::catalogue::{self, At, Made, Settings};
use bilevel_core::{
    Direction, GradientStep, HypergradientSolver, JointSolver, Linearization, Loss, Mixed,
    Objective, Oracle, Partials, Point, Sample, Sampler, Solver, Wrt, forward_oracle,
};
use bilevel_program::Vector;
use burn::tensor::TensorData;

use super::common::{Fit, penalties};
use super::device;

/// Where a loss was differentiated on its own.
type Place = (Objective, Vec<TensorData>, Vec<TensorData>, u64);

/// So many batches that none is drawn twice; all have the same data.
const MANY: usize = 100;

/// Methods that take such products, and why.
const EXCEPTIONS: [(&str, &str); 3] = [
    ("reversible-rad", "the way back needs the bits of the gradients on the way there"),
    ("kkt", "one mixed product at the end, where its lower solver has taken a gradient"),
    ("vrbo", "a linearisation of each batch of the whole data would be kept at once"),
];

fn same(at: Point<'_>) -> Point<'_> {
    Point { sample: Sample(0), ..at }
}

/// Notes the products at points where the loss was differentiated before.
struct Watched<O> {
    inner: O,
    places: Mutex<Vec<Place>>,
    repeated: Mutex<usize>,
}

impl<O: Oracle> Watched<O> {
    fn note(&self, objective: Objective, at: Point<'_>, product: bool) {
        let place = (objective, at.x.to_data(), at.y.to_data(), at.sample.0);
        let mut places = self.places.lock().unwrap();
        if product && places.contains(&place) {
            *self.repeated.lock().unwrap() += 1;
        }
        places.push(place);
    }
}

impl<O: Oracle> Oracle for Watched<O> {
    forward_oracle!(inner: upper_layout, lower_layout);

    fn value(&self, objective: Objective, at: Point<'_>) -> Loss {
        self.inner.value(objective, same(at))
    }

    fn linearize<'a>(
        &'a self,
        objective: Objective,
        at: Point<'_>,
        gradient: Option<Wrt<'_>>,
        along: Wrt<'_>,
        wrt: Wrt<'_>,
    ) -> Linearization<'a> {
        self.inner.linearize(objective, same(at), gradient, along, wrt)
    }

    fn gradient_and_mixed<'a>(&'a self, at: Point<'a>) -> (Loss, Vector, Mixed<'a>) {
        self.inner.gradient_and_mixed(same(at))
    }

    fn batches(&self, _: Objective) -> usize {
        MANY
    }

    fn gradient(&self, objective: Objective, at: Point<'_>, wrt: Wrt<'_>) -> (Loss, Partials) {
        self.note(objective, at, false);
        self.inner.gradient(objective, same(at), wrt)
    }

    fn product(
        &self,
        objective: Objective,
        at: Point<'_>,
        along: Direction<'_>,
        wrt: Wrt<'_>,
    ) -> Partials {
        self.note(objective, at, true);
        self.inner.product(objective, same(at), along, wrt)
    }
}

#[test]
fn no_product_repeats_what_was_computed_at_its_point() {
    for entry in catalogue::all() {
        let inner = penalties(Fit::Logistic, &device());
        let oracle = Watched { inner, places: Mutex::default(), repeated: Mutex::default() };
        let (x, y) = (oracle.inner.upper_start(), oracle.inner.lower_start());
        let settings = Settings { lower_steps: 4, solver_iterations: 3, ..Settings::default() };
        let mut solver: Box<dyn Solver> =
            match entry.make(&settings, &At { x: &x, y: &y, seed: 0 }).unwrap() {
                Made::Hypergradient(method) => {
                    let upper = GradientStep::new(0.3).unwrap();
                    Box::new(HypergradientSolver::new(&oracle, method, upper, x, y))
                }
                Made::Joint(method) => {
                    let solver = JointSolver::new(&oracle, method, x, y).unwrap();
                    Box::new(solver.with_sampler(Sampler::epochs(MANY, MANY, 0).unwrap()))
                }
            };
        for k in 0..2 {
            solver.step(k).unwrap();
        }
        drop(solver);
        let repeated = *oracle.repeated.lock().unwrap();
        let is_exception = EXCEPTIONS.iter().any(|(name, _)| *name == entry.name);
        assert_eq!(repeated > 0, is_exception, "{}: {repeated} products", entry.name);
    }
}
