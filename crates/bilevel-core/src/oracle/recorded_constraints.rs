//! Constraints as programs.

use std::fmt::{Debug, Formatter};
use std::sync::Arc;

use bilevel_program::{Batch, Direction, Layout, Partials, Recorded, TraceError, Vector, Wrt};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::{AutodiffOracle, Constraints, PulledBack};
use crate::{BilevelProblem, Data, Error, Objective, Sample};

/// The program of `<w, h(x, y)>`, in w, and in x and y together.
pub(super) struct RecordedConstraints<X, Y, B> {
    weighted: Recorded<Param<Tensor<1>>, (X, Y), B>,
    upper: Arc<Layout>,
    lower: Arc<Layout>,
    /// y, then w.
    joined: Arc<Layout>,
    equalities: usize,
}

/// The function h, and its data.
type At<'a, X, Y, B> = (&'a dyn Fn(&X, &Y, &B) -> Tensor<1>, &'a B);

impl<X: Module, Y: Module, B: Batch> RecordedConstraints<X, Y, B> {
    /// For modules without gradients.
    pub fn new(x: &X, y: &Y, (h, batch): At<'_, X, Y, B>) -> Result<Self, Error> {
        let trace = |error| Error::of_recording("the constraints", error);
        let weights = Param::from_tensor(h(x, y, batch).without_autodiff().zeros_like());
        let (upper, lower) = (Layout::of(x), Layout::of(y));
        let joined = Layout::of(&(y.clone(), weights.clone()));
        let (at_x, at_y) = (Vector::from_module(&upper, x), Vector::from_module(&lower, y));
        let weighted = Recorded::new(&weights, &(x.clone(), y.clone())).map_err(trace)?;
        if weighted.lower_layout().leaves().len() != upper.leaves().len() + lower.leaves().len() {
            return Err(Error::InvalidSetting {
                setting: "modules of the constraints",
                found: "an x and a y that share a parameter".to_owned(),
                expected: "two modules",
                cure: "build y anew, not as a clone of x",
            });
        }
        let own = Self { weighted, upper, lower, joined, equalities: 0 };
        let zeros = vec![0.0; own.count()];
        own.try_gradient((&at_x, &at_y), &zeros, Wrt::Both, (h, batch)).map_err(trace)?;
        Ok(own)
    }

    fn count(&self) -> usize {
        self.weighted.upper_layout().size()
    }

    fn weights(&self, weights: &[f64], device: &Device) -> Vector {
        Vector::from_slice(self.weighted.upper_layout(), weights, device)
    }

    fn both(&self, (x, y): (&Vector, &Vector)) -> Vector {
        Vector::join(self.weighted.lower_layout(), &[x, y])
    }

    fn try_gradient(
        &self,
        at: (&Vector, &Vector),
        weights: &[f64],
        wrt: Wrt<'_>,
        (h, batch): At<'_, X, Y, B>,
    ) -> Result<Partials, TraceError> {
        let (weights, both) = (self.weights(weights, &at.1.device()), self.both(at));
        Ok(self.weighted.gradient(&weights, &both, batch, wrt, &sum(h))?.1)
    }

    fn pulled(&self, partials: Partials) -> PulledBack {
        let (values, both) = partials.into_both();
        let (n, m) = (self.upper.leaves().len(), self.lower.leaves().len());
        let part =
            |range: std::ops::Range<usize>, layout| both.part(&range.collect::<Vec<_>>(), layout);
        let (x, y) = (part(0..n, &self.upper), part(n..n + m, &self.lower));
        PulledBack { values: values.to_vec(), x, y }
    }

    fn values(&self, at: (&Vector, &Vector), on: At<'_, X, Y, B>) -> Vec<f64> {
        let zeros = vec![0.0; self.count()];
        known(self.try_gradient(at, &zeros, Wrt::X, on)).into_x().to_vec()
    }

    fn weighted(&self, at: (&Vector, &Vector), w: &[f64], on: At<'_, X, Y, B>) -> PulledBack {
        self.pulled(known(self.try_gradient(at, w, Wrt::Both, on)))
    }

    fn product(
        &self,
        at: (&Vector, &Vector),
        weights: &[f64],
        (u, along): (&[f64], Direction<'_>),
        (h, batch): At<'_, X, Y, B>,
    ) -> PulledBack {
        let device = at.1.device();
        let (weights, u) = (self.weights(weights, &device), self.weights(u, &device));
        let whole = |v: &Vector| at.1.zeros_like().axpy_part(1.0, v);
        let v = match (along.x, along.y) {
            (Some(x), y) => {
                let y = y.map_or_else(|| at.1.zeros_like(), whole);
                Some(self.both((x, &y)))
            }
            (None, y) => y.cloned(),
        };
        let along = Direction { x: Some(&u), y: v.as_ref() };
        let both = self.both(at);
        let found = self.weighted.product(&weights, &both, batch, along, Wrt::Both, &sum(h));
        self.pulled(known(found))
    }

    fn join(&self, y: &Vector, multipliers: &[f64]) -> Vector {
        Vector::join(&self.joined, &[y, &self.weights(multipliers, &y.device())])
    }

    fn split(&self, joined: &Vector) -> (Vector, Vec<f64>) {
        let n = self.lower.leaves().len();
        let y = joined.part(&(0..n).collect::<Vec<_>>(), &self.lower);
        (y, joined.part(&[n], self.weighted.upper_layout()).to_vec())
    }
}

/// `<w, h>`
fn sum<X, Y, B>(
    h: &dyn Fn(&X, &Y, &B) -> Tensor<1>,
) -> impl Fn(&Param<Tensor<1>>, &(X, Y), &B) -> Tensor<1> {
    move |weights, (x, y), batch| (weights.val() * h(x, y, batch)).sum()
}

/// What was recorded once can be recorded again.
fn known<T>(found: Result<T, TraceError>) -> T {
    found.unwrap_or_else(|error| panic!("{error}"))
}

/// The [constraints](BilevelProblem::constraints) of a problem, recorded: those of F's level, then those of f's.
pub(super) type OfLevels<P> = [Option<
    RecordedConstraints<
        <P as BilevelProblem>::Upper,
        <P as BilevelProblem>::Lower,
        <P as BilevelProblem>::Batch,
    >,
>; 2];

/// Those of modules without gradients, on the first batch.
pub(super) fn of_levels<P: BilevelProblem>(
    problem: &P,
    (x, y): (&P::Upper, &P::Lower),
    data: &impl Data<P::Batch>,
) -> Result<OfLevels<P>, Error> {
    let mut levels = [None, None];
    for level in [Objective::Upper, Objective::Lower] {
        let batch = data.batch(level, Sample::default());
        let here = problem.constraints(level, x, y, &batch);
        let equalities = here.equalities();
        if here.all().is_some_and(|all| all.dims() != [0]) {
            let mut recorded = RecordedConstraints::new(x, y, (&all_of(problem, level), &batch))?;
            recorded.equalities = equalities;
            levels[level as usize] = Some(recorded);
        }
    }
    Ok(levels)
}

fn all_of<P: BilevelProblem>(
    problem: &P,
    level: Objective,
) -> impl Fn(&P::Upper, &P::Lower, &P::Batch) -> Tensor<1> {
    move |x, y, batch| {
        let all = problem.constraints(level, x, y, batch).all();
        all.expect("a level has constraints at all points or at none")
    }
}

/// The constraints of a level of the problem of an oracle.
pub(super) struct LevelConstraints<'a, P: BilevelProblem, D> {
    pub oracle: &'a AutodiffOracle<P, D>,
    pub recorded: &'a RecordedConstraints<P::Upper, P::Lower, P::Batch>,
    pub level: Objective,
    pub sample: Sample,
}

impl<P: BilevelProblem, D> Debug for LevelConstraints<'_, P, D> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "constraints of {:?}", self.level)
    }
}

impl<P: BilevelProblem, D: Data<P::Batch>> LevelConstraints<'_, P, D> {
    /// What `use_of` computes from the function and its data.
    fn on<T>(&self, use_of: impl FnOnce(At<'_, P::Upper, P::Lower, P::Batch>) -> T) -> T {
        let batch = self.oracle.data().batch(self.level, self.sample);
        use_of((&all_of(self.oracle.problem(), self.level), &batch))
    }
}

impl<P: BilevelProblem, D: Data<P::Batch>> Constraints for LevelConstraints<'_, P, D> {
    fn count(&self) -> usize {
        self.recorded.count()
    }

    fn equalities(&self) -> usize {
        self.recorded.equalities
    }

    fn values(&self, x: &Vector, y: &Vector) -> Vec<f64> {
        self.on(|h| self.recorded.values((x, y), h))
    }

    fn weighted(&self, x: &Vector, y: &Vector, weights: &[f64]) -> PulledBack {
        self.on(|h| self.recorded.weighted((x, y), weights, h))
    }

    fn product(
        &self,
        x: &Vector,
        y: &Vector,
        weights: &[f64],
        along: (&[f64], Direction<'_>),
    ) -> PulledBack {
        self.on(|h| self.recorded.product((x, y), weights, along, h))
    }

    fn join(&self, y: &Vector, multipliers: &[f64]) -> Vector {
        self.recorded.join(y, multipliers)
    }

    fn split(&self, joined: &Vector) -> (Vector, Vec<f64>) {
        self.recorded.split(joined)
    }
}
