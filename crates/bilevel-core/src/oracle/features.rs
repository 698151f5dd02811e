//! The oracle of a problem whose x is a feature extractor and whose y is a head.

use std::collections::HashMap;
use std::fmt::{Debug, Formatter};
use std::sync::{Arc, Mutex, PoisonError};

use bilevel_program::{Frozen, Recorded, Tensors, TraceError, Vector};
use burn::module::Param;
use burn::tensor::Tensor;

use super::{AutodiffOracle, Oracle, Point, Wrt};
use crate::error::unrecorded;
use crate::{BilevelProblem, Data, Error, FeatureProblem, Objective, Sample, Samples};

/// A problem at one x and one draw of data, with the features u of x in place of x.
pub struct Reduced<'a> {
    /// The problem in u and y.
    pub oracle: Box<dyn Oracle + 'a>,
    /// `u(x)`
    pub u: Vector,
    /// `w -> (du/dx)' w`: a backward pass through the extractor.
    pub pull_back: Box<dyn Fn(&Vector) -> Vector + 'a>,
}

/// The features of the data of F and of f.
type Features = (Param<Tensor<2>>, Param<Tensor<2>>);

/// `<w, features(x)>` of a batch in w, whose gradient is the features.
type Values<P> = Recorded<
    Param<Tensor<2>>,
    Empty,
    (Frozen<<P as BilevelProblem>::Upper>, <P as BilevelProblem>::Batch),
>;

/// The same in x, whose gradient is `(du/dx)' w`.
type Pulled<P> =
    Recorded<<P as BilevelProblem>::Upper, Empty, (Tensor<2>, <P as BilevelProblem>::Batch)>;

/// What was recorded for each shape.
type Known<K, T> = Mutex<Vec<(K, Arc<T>)>>;

/// A module without variables.
type Empty = Vec<Param<Tensor<1>>>;

/// Evaluates a [`FeatureProblem`] as an [`AutodiffOracle`] does, and passes it in terms of its features to
/// [`OnFeatures`](crate::OnFeatures).
pub struct FeatureOracle<P: FeatureProblem, D> {
    whole: AutodiffOracle<P, D>,
    head: (P, D),
    values: Known<[usize; 2], Values<P>>,
    pulled: Pulled<P>,
    shapes: Mutex<HashMap<Vec<Vec<usize>>, [usize; 2]>>,
    heads: Known<[[usize; 2]; 2], HeadOracle<P, D>>,
}

type HeadOracle<P, D> = AutodiffOracle<Head<P>, Whole<D>>;

/// The problem of the head.
struct Head<P>(P);

impl<P: FeatureProblem> BilevelProblem for Head<P> {
    type Upper = Features;
    type Lower = P::Lower;
    type Batch = P::Batch;

    fn upper_loss(&self, u: &Features, y: &P::Lower, batch: &P::Batch) -> Tensor<1> {
        self.0.head_loss(Objective::Upper, y, u.0.val(), batch)
    }

    fn lower_loss(&self, u: &Features, y: &P::Lower, batch: &P::Batch) -> Tensor<1> {
        self.0.head_loss(Objective::Lower, y, u.1.val(), batch)
    }
}

/// Data whose features are those of one sample: no sampler fits it.
struct Whole<D>(D);

impl<T, D: Data<T>> Data<T> for Whole<D> {
    fn batch(&self, objective: Objective, sample: Sample) -> T {
        self.0.batch(objective, sample)
    }

    fn batches(&self, _: Objective) -> usize {
        0
    }
}

impl<P: FeatureProblem + Clone + Send, D: Data<P::Batch> + Clone + Send> FeatureOracle<P, D> {
    /// The oracle of `problem`, its variables being the trainable parameters of `x` and `y`.
    ///
    /// # Errors
    /// As [`AutodiffOracle::new`]; or if the losses of the head are not those of the problem at the start.
    pub fn new(problem: P, x: &P::Upper, y: &P::Lower, data: D) -> Result<Self, Error> {
        let whole = AutodiffOracle::new(problem.clone(), x, y, data.clone())?;
        let pulled = Recorded::new(whole.upper(), &Empty::new()).map_err(failed)?;
        let own = Self {
            whole,
            head: (problem, data),
            values: Mutex::default(),
            pulled,
            shapes: Mutex::default(),
            heads: Mutex::default(),
        };
        let (x, y) = (own.whole.upper_start(), own.whole.lower_start());
        let reduced = own.try_reduced(&x, Samples::default())?;
        for objective in [Objective::Upper, Objective::Lower] {
            let at = |x| Point { x, y: &y, sample: Sample::default() };
            let expected = own.whole.value(objective, at(&x)).read();
            let found = reduced.oracle.value(objective, at(&reduced.u)).read();
            // Sums in another order are the same function.
            let near = if y.layout().leaves()[0].dtype.size() == 8 { 1e-10 } else { 1e-4 };
            let close = (found - expected).abs() <= near * expected.abs().max(1e-3);
            if !close {
                return Err(Error::SplitLoss { found, expected });
            }
        }
        drop(reduced);
        Ok(own)
    }

    /// The oracle in x and y, which holds the modules.
    pub fn whole(&self) -> &AutodiffOracle<P, D> {
        &self.whole
    }

    fn batch(&self, objective: Objective, samples: Samples) -> P::Batch {
        self.head.1.batch(objective, samples.of(objective))
    }

    /// The features of the data of `objective`.
    fn features(
        &self,
        x: &Vector,
        objective: Objective,
        samples: Samples,
    ) -> Result<Vector, TraceError> {
        let (problem, batch) = (&self.head.0, self.batch(objective, samples));
        let module = Frozen(self.whole.upper_module(x));
        let mut shapes = self.shapes.lock().unwrap_or_else(PoisonError::into_inner);
        let probe = || problem.features(&module.0, &batch).dims();
        let shape = *shapes.entry(Tensors::of(&batch).shapes()).or_insert_with(probe);
        drop(shapes);
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let known = values.iter().find(|(of, _)| *of == shape).map(|(_, found)| found.clone());
        let recorded = match known {
            Some(found) => found,
            None => {
                let dtype = x.layout().leaves()[0].dtype;
                let ones = Tensor::ones(shape, (&x.device(), dtype));
                let made = Arc::new(Recorded::new(&Param::from_tensor(ones), &Empty::new())?);
                values.push((shape, made.clone()));
                made
            }
        };
        drop(values);
        let w = Vector::from_module(recorded.upper_layout(), recorded.x());
        let none = Vector::from_module(recorded.lower_layout(), recorded.y());
        let loss = |w: &Param<Tensor<2>>, _: &Empty, (x, batch): &(Frozen<P::Upper>, P::Batch)| {
            (w.val() * problem.features(&x.0, batch)).sum()
        };
        let found = recorded.gradient(&w, &none, &(module, batch), Wrt::X, &loss)?;
        Ok(found.1.into_x())
    }

    /// `(du/dx)' w` for the features of the data of `objective`.
    fn pull(
        &self,
        x: &Vector,
        objective: Objective,
        samples: Samples,
        w: Tensor<2>,
    ) -> Result<Vector, TraceError> {
        let problem = &self.head.0;
        let none = Vector::from_module(self.pulled.lower_layout(), self.pulled.y());
        let loss = |x: &P::Upper, _: &Empty, (w, batch): &(Tensor<2>, P::Batch)| {
            (w.clone() * problem.features(x, batch)).sum()
        };
        let batch = (w, self.batch(objective, samples));
        Ok(self.pulled.gradient(x, &none, &batch, Wrt::X, &loss)?.1.into_x())
    }

    fn try_reduced<'a>(&'a self, x: &Vector, samples: Samples) -> Result<Reduced<'a>, Error> {
        let features = |objective| {
            let found = self.features(x, objective, samples).map_err(failed)?;
            Ok::<_, Error>(Tensor::<2>::from_dispatch(found.leaves()[0].clone()))
        };
        let (of_upper, of_lower) = (features(Objective::Upper)?, features(Objective::Lower)?);
        let shapes = [of_upper.dims(), of_lower.dims()];
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let known = heads.iter().find(|(of, _)| *of == shapes).map(|(_, head)| head.clone());
        let head = match known {
            Some(head) => head,
            None => {
                let parameter = |of: &Tensor<2>| Param::from_tensor(of.clone());
                let u = (parameter(&of_upper), parameter(&of_lower));
                let (problem, data) = self.head.clone();
                let y = self.whole.lower();
                let made = Arc::new(AutodiffOracle::untried(Head(problem), &u, y, Whole(data))?);
                heads.push((shapes, made.clone()));
                made
            }
        };
        drop(heads);
        let mut leaves = [of_upper, of_lower].map(Tensor::into_dispatch).into_iter();
        let u = head.upper_start().map(|leaf| leaves.next().unwrap_or(leaf));
        let x = x.clone();
        let pull_back = move |w: &Vector| {
            let each = [Objective::Upper, Objective::Lower].map(|objective| {
                let w = Tensor::from_dispatch(w.leaves()[objective as usize].clone());
                let pulled = self.pull(&x, objective, samples, w);
                pulled.unwrap_or_else(|error| unrecorded("the features of this batch", error))
            });
            let [of_upper, of_lower] = each;
            of_upper.add(&of_lower)
        };
        Ok(Reduced { oracle: Box::new(head), u, pull_back: Box::new(pull_back) })
    }
}

fn failed(error: TraceError) -> Error {
    Error::of_recording("the features", error)
}

impl<P: FeatureProblem + Clone + Send, D: Data<P::Batch> + Clone + Send> Oracle
    for FeatureOracle<P, D>
{
    crate::forward_oracle!(whole: upper_layout, lower_layout, value, gradient, product, linearize, constraints, batches, program);

    fn reduced<'a>(&'a self, x: &Vector, samples: Samples) -> Option<Result<Reduced<'a>, Error>> {
        Some(self.try_reduced(x, samples))
    }
}

impl<P: FeatureProblem, D> Debug for FeatureOracle<P, D> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FeatureOracle").finish_non_exhaustive()
    }
}
