//! Functions of lists of numbers and a module, with their derivatives as programs.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bilevel_program::{
    Direction, Layout, Leaf, Partials, Recorded, TraceError, Vector, Wrt, plain,
};
use burn::backend::{DispatchTensor, TensorMetadata};
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Int, Tensor};

use crate::Error;
use crate::check::named;
use crate::error::unrecorded;

/// Lists of numbers as a module.
type Lists = Vec<Param<Tensor<1>>>;

/// How the lists are computed from the part x, other lists and the step.
pub(crate) type Of<'a, X> = dyn Fn(&X, Vec<Tensor<1>>, Tensor<1, Int>) -> Vec<Tensor<1>> + 'a;

/// A function `h(x, l_1 .. l_m; t)` of a module and of lists of n numbers, that gives k lists of n numbers.
///
/// It is recorded as the scalar `L = <w, h>`: h is the gradient of L in w, `J' w` that in x and the lists, and `J d` the
/// product of L's Hessian with d, in w.
pub(crate) struct Map<X> {
    /// The path in the upper variable.
    path: String,
    x: X,
    upper: Arc<Layout>,
    lists: [usize; 2],
    programs: Mutex<Vec<Known<X>>>,
}

/// The programs for lists of a size and an element type.
type Known<X> = ((usize, DType), Arc<Programs<X>>);

struct Programs<X> {
    recorded: Recorded<Lists, (X, Lists), Tensor<1, Int>>,
    weights: Vector,
    point: Vector,
    /// Whether the derivatives have been computed once.
    tried: OnceLock<()>,
}

/// Where a map is evaluated.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The upper variable.
    pub x: &'a Vector,
    /// The lists.
    pub lists: &'a [Tensor<1>],
    /// The step.
    pub t: usize,
}

impl<X: Module> Map<X> {
    /// Of the part of the upper variable at `path`, a module like `x`, and of `lists[0]` lists, giving `lists[1]`.
    pub fn new(path: &str, x: &X, lists: [usize; 2]) -> Self {
        let (path, x) = (path.to_owned(), plain(x.clone()));
        Self { path, upper: Layout::of(&x), x, lists, programs: Mutex::default() }
    }

    /// With other numbers of lists.
    pub fn with_lists(self, lists: [usize; 2]) -> Self {
        Self { lists, programs: Mutex::default(), ..self }
    }

    /// Whether x has the variables of the module, and the function has derivatives, for lists like `list`.
    ///
    /// # Errors
    /// If not.
    pub fn check(
        &self,
        what: &str,
        x: &Vector,
        list: &Tensor<1>,
        h: &Of<'_, X>,
    ) -> Result<(), Error> {
        self.find(what, x.layout())?;
        let lists = vec![list.clone(); self.lists[0]];
        let tried = self.programs(list).and_then(|programs| {
            if programs.tried.get().is_some() {
                return Ok(());
            }
            let (w, t, loss) = (&programs.weights, step(0, &list.device()), loss(h));
            let p = &self.point(&programs.point, x, &lists);
            programs.recorded.gradient(w, p, &t, Wrt::Both, &loss)?;
            programs.recorded.product(w, p, &t, Direction::in_y(p), Wrt::X, &loss)?;
            programs.tried.get_or_init(|| ());
            Ok(())
        });
        tried.map_err(|error| Error::of_recording(what, error))
    }

    /// `h`
    ///
    /// # Panics
    /// If it cannot be recorded, which [`Map::check`] reports.
    pub fn values(&self, at: Place<'_>, h: &Of<'_, X>) -> Vec<Tensor<1>> {
        let found = self.at(at, |programs, point, t| {
            programs.recorded.gradient(&programs.weights, point, t, Wrt::X, &loss(h))
        });
        lists(&found.1.into_x(), 0)
    }

    /// `J d`, with d in x and in the lists.
    ///
    /// # Panics
    /// As [`Map::values`].
    pub fn tangent(
        &self,
        at: Place<'_>,
        dx: Option<&Vector>,
        along: &[Tensor<1>],
        h: &Of<'_, X>,
    ) -> Vec<Tensor<1>> {
        let found = self.at(at, |programs, point, t| {
            let along = match dx {
                Some(dx) => self.point(&programs.point, dx, along),
                None => self.point(&programs.point, &at.x.zeros_like(), along),
            };
            let along = Direction::in_y(&along);
            programs.recorded.product(&programs.weights, point, t, along, Wrt::X, &loss(h))
        });
        lists(&found.into_x(), 0)
    }

    /// `J' w`: in x, none if the module has no variables, and in the lists.
    ///
    /// # Panics
    /// As [`Map::values`].
    pub fn adjoint(
        &self,
        at: Place<'_>,
        weights: &[Tensor<1>],
        h: &Of<'_, X>,
    ) -> (Option<Vector>, Vec<Tensor<1>>) {
        let found: (_, Partials) = self.at(at, |programs, point, t| {
            let weights = filled(&programs.weights, weights.iter().cloned());
            programs.recorded.gradient(&weights, point, t, Wrt::Y, &loss(h))
        });
        let (pulled, own) = (found.1.into_y(), self.upper.leaves().len());
        let positions = self.positions(at.x);
        let mut part = pulled.leaves()[..own].iter();
        let in_x = (own > 0).then(|| {
            let mut leaves: Vec<_> = at.x.zeros_like().leaves().to_vec();
            positions.iter().zip(&mut part).for_each(|(&at, leaf)| leaves[at] = leaf.clone());
            let mut leaves = leaves.into_iter();
            at.x.map(|leaf| leaves.next().unwrap_or(leaf))
        });
        (in_x, lists(&pulled, own))
    }

    fn at<T>(
        &self,
        at: Place<'_>,
        f: impl FnOnce(&Programs<X>, &Vector, &Tensor<1, Int>) -> Result<T, TraceError>,
    ) -> T {
        let first = at.lists.first().expect("a function of lists has one");
        let found = self.programs(first).and_then(|programs| {
            let point = self.point(&programs.point, at.x, at.lists);
            f(&programs, &point, &step(at.t, &first.device()))
        });
        found.unwrap_or_else(|error| unrecorded("a function that was recorded before", error))
    }

    /// The positions of the module's variables in x.
    fn find(&self, what: &str, upper: &Layout) -> Result<Vec<usize>, Error> {
        let positions = self.upper.leaves().iter().map(|leaf| {
            let path = match (self.path.as_str(), leaf.path.as_str()) {
                ("", own) => own.to_owned(),
                (part, "") => part.to_owned(),
                (part, own) => format!("{part}.{own}"),
            };
            let same = |other: &Leaf| {
                other.path == path && other.shape == leaf.shape && other.dtype == leaf.dtype
            };
            upper.leaves().iter().position(same).ok_or_else(|| Error::UpperVariable {
                what: "part of x that a function is given",
                found: named(upper).join(", "),
                expected: format!("`{path}` {:?} {:?} for {what}", leaf.shape.to_vec(), leaf.dtype),
                cure: "name the path of the part, and give a module like it",
            })
        });
        positions.collect()
    }

    fn positions(&self, x: &Vector) -> Vec<usize> {
        self.find("", x.layout()).unwrap_or_else(|error| panic!("{error}: call `check` first"))
    }

    /// The variables of the module, from x, then the lists.
    fn point(&self, like: &Vector, x: &Vector, lists: &[Tensor<1>]) -> Vector {
        let of_x = self.positions(x).into_iter().map(|at| x.leaves()[at].clone());
        let lists = lists.iter().map(|list| list.clone().into_dispatch());
        fill(like, of_x.chain(lists))
    }

    /// The programs for lists like `list`.
    fn programs(&self, list: &Tensor<1>) -> Result<Arc<Programs<X>>, TraceError> {
        let (size, dtype, device) = (list.dims()[0], list.dtype(), list.device());
        let mut known = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = known.iter().find(|(key, _)| *key == (size, dtype)) {
            return Ok(found.clone());
        }
        let ones = || Param::from_tensor(Tensor::<1>::ones([size], (&device, dtype)));
        let [given, gives] = self.lists.map(|count| (0..count).map(|_| ones()).collect::<Lists>());
        let point = (self.x.clone(), given);
        let recorded = Recorded::new(&gives, &point)?;
        let weights = Vector::from_module(recorded.upper_layout(), &gives);
        let point = Vector::from_module(recorded.lower_layout(), &point);
        let made = Arc::new(Programs { recorded, weights, point, tried: OnceLock::new() });
        known.push(((size, dtype), made.clone()));
        Ok(made)
    }
}

/// `<w, h>`
fn loss<'a, X: Module>(
    h: &'a Of<'_, X>,
) -> impl Fn(&Lists, &(X, Lists), &Tensor<1, Int>) -> Tensor<1> + 'a {
    |weights, (x, lists), t| {
        let lists = lists.iter().map(Param::val).collect();
        let found = h(x, lists, t.clone());
        assert!(
            found.len() == weights.len(),
            "the function gave {} lists, expected {}",
            found.len(),
            weights.len()
        );
        let terms = weights.iter().zip(found).map(|(weight, list)| (weight.val() * list).sum());
        terms.reduce(Tensor::add).expect("a function gives a list")
    }
}

fn step(t: usize, device: &Device) -> Tensor<1, Int> {
    Tensor::from_data([t as i64], device)
}

/// A vector like `like` with these leaves.
fn fill(like: &Vector, mut leaves: impl Iterator<Item = DispatchTensor>) -> Vector {
    like.map(|leaf| {
        let next = leaves.next().unwrap_or(leaf.clone());
        debug_assert_eq!(next.shape(), leaf.shape());
        next
    })
}

fn filled(like: &Vector, lists: impl Iterator<Item = Tensor<1>>) -> Vector {
    fill(like, lists.map(Tensor::into_dispatch))
}

fn lists(of: &Vector, from: usize) -> Vec<Tensor<1>> {
    of.leaves()[from..].iter().cloned().map(Tensor::from_dispatch).collect()
}
