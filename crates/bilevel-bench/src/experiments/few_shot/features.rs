//! Hypergradients of a representation through its features.

use std::sync::Arc;

use bilevel_core::{
    AutodiffOracle, Error, FullBatch, Hypergradient, HypergradientMethod, LowerProblem, Objective,
    Samples, Snapshot, Wrt,
};
use bilevel_program::{Recorded, TraceError, Vector};
use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Int, Tensor};

use super::data::Tasks;
use super::problem::{Extractor, Features, Heads};

/// The images of both levels of a task.
type Images = (Tensor<4>, Tensor<4>);

/// The problem of a head on the features of one task, and the maps from x to these and back.
pub struct FeatureProblem {
    /// `<w, u(x)>`: its gradient in w is u, and that in x is `u_x' w`.
    pulled: Recorded<Extractor, Features, Images>,
    /// The losses of a head on u.
    pub heads: AutodiffOracle<Heads, FullBatch<Tensor<1, Int>>>,
    tasks: Arc<Tasks>,
    /// Any w.
    any: Vector,
}

fn dot<const D: usize>(a: Tensor<D>, b: &Param<Tensor<D>>) -> Tensor<1> {
    (a * b.val()).sum()
}

/// `<w, u(x)>`
fn pulled(x: &Extractor, w: &Features, (support, query): &Images) -> Tensor<1> {
    let of = |images: &Tensor<4>| x.features(images.clone());
    let head = dot(x.head.weight.val(), &w.head.weight);
    let head = match (&x.head.bias, &w.head.bias) {
        (Some(bias), Some(w)) => head + dot(bias.val(), w),
        _ => head,
    };
    dot(of(support), &w.support) + dot(of(query), &w.query) + head
}

impl FeatureProblem {
    /// For extractors like `x`, heads like `y`, and the tasks of `tasks`.
    ///
    /// # Errors
    /// If the features cannot be recorded.
    pub fn new(heads: Heads, x: &Extractor, y: &Linear, tasks: Arc<Tasks>) -> Result<Self, Error> {
        let [lower, upper] = [Objective::Lower, Objective::Upper].map(|level| tasks.of(level, 0));
        let features =
            |images: &Tensor<4>| Param::from_tensor(x.features(images.clone()).without_autodiff());
        let u = Features {
            support: features(&lower.images),
            query: features(&upper.images),
            head: x.head.clone(),
        };
        let unrecorded = |error| Error::of_recording("the features", error);
        let pulled = Recorded::new(x, &u).map_err(unrecorded)?;
        let any = Vector::from_module(pulled.lower_layout(), &u);
        // The labels of every task are the same, since its images are sorted by class.
        let labels = FullBatch { upper: upper.labels, lower: lower.labels };
        let heads = AutodiffOracle::new(heads, &u, y, labels)?;
        let made = Self { pulled, heads, tasks, any };
        let x = Vector::from_module(made.pulled.upper_layout(), x);
        let both = made.gradient(&x, &made.any, Samples::default(), Wrt::Both);
        both.map_err(unrecorded)?;
        Ok(made)
    }

    fn gradient(
        &self,
        x: &Vector,
        w: &Vector,
        at: Samples,
        wrt: Wrt<'_>,
    ) -> Result<bilevel_core::Partials, TraceError> {
        let images = (
            self.tasks.of(Objective::Lower, at.lower.0).images,
            self.tasks.of(Objective::Upper, at.upper.0).images,
        );
        Ok(self.pulled.gradient(x, w, &images, wrt, &pulled)?.1)
    }

    /// The features of a task, u.
    ///
    /// # Panics
    /// If they cannot be recorded, which [`Self::new`] found to be possible.
    pub fn features(&self, x: &Vector, at: Samples) -> Vector {
        let found = self.gradient(x, &self.any, at, Wrt::Y);
        found.unwrap_or_else(|error| panic!("the features: {error}")).into_y()
    }

    /// `u_x' w`
    fn pull(&self, x: &Vector, w: &Vector, at: Samples) -> Vector {
        let found = self.gradient(x, w, at, Wrt::X);
        found.unwrap_or_else(|error| panic!("the features: {error}")).into_x()
    }
}

/// Any method where x acts only through the features of a task: they are computed once, the method runs on the problem
/// of a head on them, and its hypergradient in the features is propagated back through the extractor once.
///
/// ```text
/// u = u(x),  g_u the hypergradient of the head's problem at u,  g = u_x' g_u
/// ```
///
/// The hypergradient is that of the method on the whole problem. The oracle of the problem is not called.
pub struct OnFeatures {
    inner: Box<dyn HypergradientMethod>,
    problem: Arc<FeatureProblem>,
}

impl OnFeatures {
    /// `inner` on the features of `problem`.
    pub fn new(inner: Box<dyn HypergradientMethod>, problem: Arc<FeatureProblem>) -> Self {
        Self { inner, problem }
    }
}

impl std::fmt::Debug for OnFeatures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OnFeatures").field(&self.inner).finish()
    }
}

impl HypergradientMethod for OnFeatures {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn differentiates_start(&self) -> bool {
        self.inner.differentiates_start()
    }

    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        let u = self.problem.features(problem.x, problem.samples);
        let inner = LowerProblem::new(&self.problem.heads, &u, problem.samples);
        let found = self.inner.hypergradient(inner, start)?;
        let gradient = self.problem.pull(problem.x, &found.gradient, problem.samples);
        Ok(Hypergradient { gradient, ..found })
    }

    fn save(&self, to: &mut Snapshot) {
        self.inner.save(to);
    }

    /// The state of the method has the shapes of u.
    fn restore(&mut self, from: &mut Snapshot, _: &Vector, y: &Vector) -> Result<(), Error> {
        self.inner.restore(from, &self.problem.any, y)
    }
}

/// The loss of the nearest class mean, `F(u)` with logits `-norm(u_query - mean of a class)^2`, and its gradient,
/// without a lower level.
#[derive(Debug)]
pub struct Direct;

impl HypergradientMethod for Direct {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn describe(&self) -> String {
        "direct".to_owned()
    }

    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        let (upper_loss, sides) = problem.gradient(Objective::Upper, start, Wrt::X);
        Ok(Hypergradient {
            gradient: sides.into_x(),
            start: None,
            lower: start.clone(),
            lower_loss: 0.0,
            upper_loss,
            status: bilevel_core::Status::Exact,
        })
    }

    fn save(&self, _: &mut Snapshot) {}
}
