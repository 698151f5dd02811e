//! Constraints that couple both variables.

use std::fmt::{Debug, Formatter};
use std::ops::Deref;
use std::sync::Arc;

use auto_impl::auto_impl;
use bilevel_program::{Direction, Layout, Partials, Recorded, TraceError, Vector, Wrt, plain};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::Oracle;
use crate::{BilevelProblem, Error, Objective};

/// Functions `h(x, y)` of m numbers, of which a method asks `h <= 0` or `h = 0`.
///
/// They are few: their values are read from the device at each evaluation.
#[auto_impl(Box)]
pub trait Constraints: Debug + Send {
    /// Whether they are functions of the variables of `oracle`.
    ///
    /// # Errors
    /// If they are not.
    fn check(&self, oracle: &dyn Oracle) -> Result<(), Error> {
        let _ = oracle;
        Ok(())
    }

    /// m
    fn count(&self) -> usize;

    /// How many of them, the last ones, are to be 0, where a method takes both kinds. The others are to be at most 0.
    fn equalities(&self) -> usize {
        0
    }

    /// The values `h(x, y)`, m of them.
    fn values(&self, x: &Vector, y: &Vector) -> Vec<f64>;

    /// The values, `h_x' w` and `h_y' w`.
    fn weighted(&self, x: &Vector, y: &Vector, weights: &[f64]) -> PulledBack;

    /// [`Constraints::weighted`] with the weights that `weigh` makes of the values.
    fn pull_back(
        &self,
        x: &Vector,
        y: &Vector,
        weigh: &mut dyn FnMut(&[f64]) -> Vec<f64>,
    ) -> PulledBack {
        let values = self.values(x, y);
        let weights = weigh(&values);
        PulledBack { values, ..self.weighted(x, y, &weights) }
    }

    /// The second derivative of `<w, h(x, y)>` in w, x and y along `(u, 0, v)`:
    ///
    /// ```text
    /// values: h_y v     x: d/dx <h_y' w, v> + h_x' u     y: d/dy <h_y' w, v> + h_y' u
    /// ```
    fn product(
        &self,
        x: &Vector,
        y: &Vector,
        weights: &[f64],
        along: (&[f64], &Vector),
    ) -> PulledBack;

    /// y and m multipliers as one vector.
    fn join(&self, y: &Vector, multipliers: &[f64]) -> Vector;

    /// y and m multipliers of such a vector.
    fn split(&self, joined: &Vector) -> (Vector, Vec<f64>);
}

/// Constraints at a point and their weighted gradient.
#[derive(Clone, Debug)]
pub struct PulledBack {
    /// `h(x, y)`
    pub values: Vec<f64>,
    /// `h_x' w`
    pub x: Vector,
    /// `h_y' w`
    pub y: Vector,
}

impl PulledBack {
    /// Refuses values that are not finite at step k: the largest of NaN and 0 is 0.
    pub(crate) fn check(&self, k: usize) -> Result<(), Error> {
        if self.values.iter().all(|h| h.is_finite()) {
            return Ok(());
        }
        Err(Error::NotFinite {
            what: "constraint",
            step: k + 1,
            cure: "step sizes, or the penalty",
        })
    }
}

/// Constraints written as a function of both modules, `[m]`.
///
/// ```
/// use bilevel_core::ModuleConstraints;
/// use burn::module::Param;
/// use burn::tensor::Tensor;
///
/// # fn main() -> Result<(), bilevel_core::Error> {
/// type Values = Param<Tensor<1>>;
/// let device = Default::default();
/// let (x, y) = (Values::from_data([0.0], &device), Values::from_data([0.0, 0.0], &device));
/// // Each y is at most x.
/// let below = ModuleConstraints::new(&x, &y, |x: &Values, y: &Values| y.val() - x.val())?;
/// # Ok(())
/// # }
/// ```
pub struct ModuleConstraints<X, Y, H> {
    /// `<w, h(x, y)>` in w, and in x and y together.
    weighted: Recorded<Param<Tensor<1>>, (X, Y), ()>,
    upper: Arc<Layout>,
    lower: Arc<Layout>,
    /// y, then w.
    joined: Arc<Layout>,
    equalities: usize,
    h: H,
}

impl<X: Module, Y: Module, H: Fn(&X, &Y) -> Tensor<1>> ModuleConstraints<X, Y, H> {
    /// `h` of the modules that the oracle was built from.
    ///
    /// # Errors
    /// If `h` cannot be recorded or differentiated, or x and y share a parameter.
    pub fn new(x: &X, y: &Y, h: H) -> Result<Self, Error> {
        let (x, y) = (plain(x.clone()), plain(y.clone()));
        let trace = |error| Error::Trace { what: "the constraints".into(), error };
        let weights = Param::from_tensor(h(&x, &y).without_autodiff().zeros_like());
        let (upper, lower) = (Layout::of(&x), Layout::of(&y));
        let joined = Layout::of(&(y.clone(), weights.clone()));
        let (at_x, at_y) = (Vector::from_module(&upper, &x), Vector::from_module(&lower, &y));
        let weighted = Recorded::new(&weights, &(x, y)).map_err(trace)?;
        if weighted.lower_layout().leaves().len() != upper.leaves().len() + lower.leaves().len() {
            return Err(Error::InvalidSetting {
                setting: "modules of the constraints",
                found: "an x and a y that share a parameter".to_owned(),
                expected: "two modules",
                cure: "build y anew, not as a clone of x",
            });
        }
        let own = Self { weighted, upper, lower, joined, equalities: 0, h };
        let zeros = vec![0.0; own.weighted.upper_layout().size()];
        own.try_gradient(&at_x, &at_y, &zeros, Wrt::Both).map_err(trace)?;
        Ok(own)
    }

    /// With the last `equalities` numbers to be 0, and the others at most 0, for methods that take both kinds.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn with_equalities(mut self, equalities: usize) -> Result<Self, Error> {
        if equalities > self.weighted.upper_layout().size() {
            return Err(Error::InvalidSetting {
                setting: "equalities among the constraints",
                found: equalities.to_string(),
                expected: "at most the number of constraints",
                cure: "count those at the end that are to be 0",
            });
        }
        self.equalities = equalities;
        Ok(self)
    }

    fn loss(&self) -> impl Fn(&Param<Tensor<1>>, &(X, Y), &()) -> Tensor<1> {
        |weights, (x, y), ()| (weights.val() * (self.h)(x, y)).sum()
    }

    fn weights(&self, weights: &[f64], device: &Device) -> Vector {
        Vector::from_slice(self.weighted.upper_layout(), weights, device)
    }

    fn both(&self, x: &Vector, y: &Vector) -> Vector {
        Vector::join(self.weighted.lower_layout(), &[x, y])
    }

    fn try_gradient(
        &self,
        x: &Vector,
        y: &Vector,
        weights: &[f64],
        wrt: Wrt<'_>,
    ) -> Result<Partials, TraceError> {
        let (weights, both) = (self.weights(weights, &y.device()), self.both(x, y));
        Ok(self.weighted.gradient(&weights, &both, &(), wrt, &self.loss())?.1)
    }

    fn pulled(&self, partials: Partials) -> PulledBack {
        let (values, both) = partials.into_both();
        let (n, m) = (self.upper.leaves().len(), self.lower.leaves().len());
        let part =
            |range: std::ops::Range<usize>, layout| both.part(&range.collect::<Vec<_>>(), layout);
        let (x, y) = (part(0..n, &self.upper), part(n..n + m, &self.lower));
        PulledBack { values: values.to_vec(), x, y }
    }
}

impl<X, Y, H> Debug for ModuleConstraints<X, Y, H> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("ModuleConstraints")
    }
}

/// What [`ModuleConstraints::new`] could record can be recorded.
fn known<T>(found: Result<T, TraceError>) -> T {
    found.unwrap_or_else(|error| panic!("{error}"))
}

impl<X, Y, H> Constraints for ModuleConstraints<X, Y, H>
where
    X: Module,
    Y: Module,
    H: Fn(&X, &Y) -> Tensor<1> + Send,
{
    fn check(&self, oracle: &dyn Oracle) -> Result<(), Error> {
        if [&self.upper, &self.lower] == [oracle.upper_layout(), oracle.lower_layout()] {
            return Ok(());
        }
        Err(Error::InvalidSetting {
            setting: "module of the constraints",
            found: "one with other parameters than the problem's".to_owned(),
            expected: "the modules that the oracle was built from",
            cure: "give the same modules, or clones of them, to both",
        })
    }

    fn count(&self) -> usize {
        self.weighted.upper_layout().size()
    }

    fn equalities(&self) -> usize {
        self.equalities
    }

    fn values(&self, x: &Vector, y: &Vector) -> Vec<f64> {
        let zeros = vec![0.0; self.count()];
        known(self.try_gradient(x, y, &zeros, Wrt::X)).into_x().to_vec()
    }

    fn weighted(&self, x: &Vector, y: &Vector, weights: &[f64]) -> PulledBack {
        self.pulled(known(self.try_gradient(x, y, weights, Wrt::Both)))
    }

    fn product(
        &self,
        x: &Vector,
        y: &Vector,
        weights: &[f64],
        (u, v): (&[f64], &Vector),
    ) -> PulledBack {
        let device = y.device();
        let (weights, both, u) =
            (self.weights(weights, &device), self.both(x, y), self.weights(u, &device));
        let along = Direction { x: Some(&u), y: Some(v) };
        let found = self.weighted.product(&weights, &both, &(), along, Wrt::Both, &self.loss());
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

/// The [constraints](BilevelProblem::constraints) of a level of `problem`, a reference or an `Arc`, on the data `batch`;
/// none if it has none. For methods that are chosen by hand: [`solve`](crate::solve) finds them itself.
///
/// # Errors
/// If they cannot be recorded or differentiated, or x and y share a parameter.
pub fn constraints_of<'a, P: BilevelProblem + 'a>(
    problem: impl Deref<Target = P> + Send + 'a,
    level: Objective,
    x: &P::Upper,
    y: &P::Lower,
    batch: P::Batch,
) -> Result<Option<Box<dyn Constraints + 'a>>, Error>
where
    P::Batch: Send,
{
    let here = problem.constraints(level, &plain(x.clone()), &plain(y.clone()), &batch);
    let equalities = here.equalities();
    if here.all().is_none_or(|all| all.dims() == [0]) {
        return Ok(None);
    }
    let all = move |x: &P::Upper, y: &P::Lower| {
        let conditions = problem.constraints(level, x, y, &batch);
        conditions.all().expect("a level has constraints at all points or at none")
    };
    let constraints = ModuleConstraints::new(x, y, all)?.with_equalities(equalities)?;
    Ok(Some(Box::new(constraints)))
}

/// No constraints.
#[derive(Clone, Copy, Debug)]
pub struct Unconstrained;

impl Constraints for Unconstrained {
    fn count(&self) -> usize {
        0
    }

    fn values(&self, _: &Vector, _: &Vector) -> Vec<f64> {
        Vec::new()
    }

    fn weighted(&self, x: &Vector, y: &Vector, _: &[f64]) -> PulledBack {
        PulledBack { values: Vec::new(), x: x.zeros_like(), y: y.zeros_like() }
    }

    fn product(&self, x: &Vector, y: &Vector, w: &[f64], _: (&[f64], &Vector)) -> PulledBack {
        self.weighted(x, y, w)
    }

    fn join(&self, y: &Vector, _: &[f64]) -> Vector {
        y.clone()
    }

    fn split(&self, joined: &Vector) -> (Vector, Vec<f64>) {
        (joined.clone(), Vec::new())
    }
}
