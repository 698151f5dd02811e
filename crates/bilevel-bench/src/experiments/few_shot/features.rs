//! Hypergradients of a representation through its features.

use std::sync::Arc;

use bilevel_core::{
    AutodiffOracle, Error, FullBatch, Hypergradient, HypergradientMethod, LowerProblem, Objective,
    Oracle, Reduced, Samples, Snapshot, Wrt,
};
use bilevel_program::{Recorded, TraceError, Vector};
use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Int, Tensor};

use super::data::Tasks;
use super::problem::{Extractor, Features, Heads, Representation};

/// The images of both levels of a task.
type Images = (Tensor<4>, Tensor<4>);

/// The problem of images where x acts only through the features of a task, which are computed once per hypergradient
/// by [`OnFeatures`](bilevel_core::OnFeatures).
///
/// Unlike those of [`FeatureOracle`](bilevel_core::FeatureOracle), F may depend on the features of both levels, and the
/// start of y may be a part of x.
pub struct TaskFeatures {
    /// The problem of images.
    pub whole: AutodiffOracle<Representation, Arc<Tasks>>,
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

impl TaskFeatures {
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
        let whole = AutodiffOracle::new(Representation(heads), x, y, tasks.clone())?;
        let heads = AutodiffOracle::new(heads, &u, y, labels)?;
        let made = Self { whole, pulled, heads, tasks, any };
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

impl Oracle for TaskFeatures {
    bilevel_core::forward_oracle!(whole: upper_layout, lower_layout, value, gradient, product, linearize, batches);

    fn reduced<'a>(&'a self, x: &Vector, at: Samples) -> Option<Result<Reduced<'a>, Error>> {
        let (u, x) = (self.features(x, at), x.clone());
        let pull_back = Box::new(move |w: &Vector| self.pull(&x, w, at));
        Some(Ok(Reduced { oracle: Box::new(&self.heads), u, pull_back }))
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
