//! Linear maps of the lower gradient that are learned with x.

use std::fmt::Debug;
use std::iter::zip;

use bilevel_program::{Layout, Vector, float};
use burn::backend::DispatchTensor;
use burn::tensor::{Shape, Tensor};

use crate::Error;
use crate::vector_ops::{flat, multiply, shaped};

/// A linear map `P(x)` of lower gradients, and its derivatives in x.
pub trait Preconditioner: Debug + Send + Sync {
    /// The name with the settings.
    fn describe(&self) -> String;

    /// Whether x has the variables of P, in shapes that fit y. The other methods may panic if it does not.
    ///
    /// # Errors
    /// If not.
    fn check(&self, upper: &Layout, lower: &Layout) -> Result<(), Error>;

    /// `P(x) g`.
    fn apply(&self, x: &Vector, g: &Vector) -> Vector;

    /// `P(x)' g`.
    fn transpose(&self, x: &Vector, g: &Vector) -> Vector;

    /// The derivative of `P(x) g` along `dx`.
    fn tangent(&self, x: &Vector, dx: &Vector, g: &Vector) -> Vector;

    /// The gradient of `<lambda, P(x) g>` in x.
    fn adjoint(&self, x: &Vector, g: &Vector, lambda: &Vector) -> Vector;
}

/// `P(x) = diag(w)`, one factor for each entry of y, as Meta-SGD learns them.
///
/// w is the part of x under a path: as many variables as y has, of the same shapes and in the same order.
///
/// Source: Z. Li et al., "Meta-SGD: learning to learn quickly for few-shot learning", 2017.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagonal {
    path: String,
}

/// `P(x) G = L G R` for every matrix G among the gradient's leaves, and `sum_l L G_l R W_lk` for the window k of every
/// convolution, as Meta-Curvature learns them; leaves of another rank stay as they are.
///
/// The part of x under a path holds L, of shape `[m, m]`, and R, of shape `[n, n]`, for each variable `[m, n]` of y in
/// turn, and also W, of shape `[h w, h w]`, for each variable `[m, n, h, w]`: [`Kronecker::factors_of`].
///
/// Source: E. Park and J. B. Oliva, "Meta-Curvature", 2019.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kronecker {
    path: String,
}

impl Diagonal {
    /// With the variables of x at `path` or below it.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into() }
    }
}

impl Kronecker {
    /// With the variables of x at `path` or below it.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into() }
    }
}

/// Whether the variables under `path` have these shapes.
fn expect(
    what: &'static str,
    upper: &Layout,
    path: &str,
    expected: &[Vec<usize>],
) -> Result<(), Error> {
    let shape = |at: usize| upper.leaves()[at].shape.to_vec();
    let found: Vec<_> = upper.under(path).into_iter().map(shape).collect();
    if found == expected {
        return Ok(());
    }
    Err(Error::UpperVariable {
        what,
        found: format!("variables of shapes {found:?} under `{path}`"),
        expected: format!("{expected:?}, after the variables of y"),
        cure: "give the upper module a submodule with these parameters, and its path",
    })
}

impl Diagonal {
    fn times(&self, x: &Vector, g: &Vector) -> Vector {
        let mut w = x.layout().under(&self.path).into_iter().map(|at| x.leaves()[at].clone());
        g.map(|leaf| float::mul(leaf, w.next().expect("one factor for each entry of y")))
    }
}

impl Preconditioner for Diagonal {
    fn describe(&self) -> String {
        format!("diagonal {}", self.path)
    }

    fn check(&self, upper: &Layout, lower: &Layout) -> Result<(), Error> {
        let shapes: Vec<_> = lower.leaves().iter().map(|leaf| leaf.shape.to_vec()).collect();
        expect("diagonal preconditioner", upper, &self.path, &shapes)
    }

    fn apply(&self, x: &Vector, g: &Vector) -> Vector {
        self.times(x, g)
    }

    fn transpose(&self, x: &Vector, g: &Vector) -> Vector {
        self.times(x, g)
    }

    fn tangent(&self, _: &Vector, dx: &Vector, g: &Vector) -> Vector {
        self.times(dx, g)
    }

    fn adjoint(&self, x: &Vector, g: &Vector, lambda: &Vector) -> Vector {
        x.zeros_like().add_part(&x.layout().under(&self.path), &multiply(g, lambda))
    }
}

fn matrix(leaf: DispatchTensor) -> Tensor<2> {
    Tensor::from_dispatch(leaf)
}

/// The dimensions of a matrix, or of the windows of a convolution in a row; none of another variable.
fn dimensions(shape: &[usize]) -> Option<[usize; 3]> {
    match *shape {
        [m, n] => Some([m, n, 1]),
        [m, n, height, width] => Some([m, n, height * width]),
        _ => None,
    }
}

/// L, R and, for convolutions, W.
#[derive(Clone)]
struct Factors {
    left: Tensor<2>,
    right: Tensor<2>,
    windows: Option<Tensor<2>>,
}

impl Factors {
    fn transpose(self) -> Self {
        Self {
            left: self.left.transpose(),
            right: self.right.transpose(),
            windows: self.windows.map(Tensor::transpose),
        }
    }

    fn apply(&self, g: Tensor<3>) -> Tensor<3> {
        self.of_windows(self.of_right(self.of_left(g)))
    }

    fn of_left(&self, g: Tensor<3>) -> Tensor<3> {
        let [m, n, k] = g.dims();
        self.left.clone().matmul(g.reshape([m, n * k])).reshape([m, n, k])
    }

    fn of_right(&self, g: Tensor<3>) -> Tensor<3> {
        let [m, n, k] = g.dims();
        let rows = g.swap_dims(1, 2).reshape([m * k, n]).matmul(self.right.clone());
        rows.reshape([m, k, n]).swap_dims(1, 2)
    }

    fn of_windows(&self, g: Tensor<3>) -> Tensor<3> {
        let Some(windows) = &self.windows else { return g };
        let [m, n, k] = g.dims();
        g.reshape([m * n, k]).matmul(windows.clone()).reshape([m, n, k])
    }

    /// The derivative of `P G` along `moved`.
    fn tangent(&self, moved: &Self, g: Tensor<3>) -> Tensor<3> {
        let along_left = self.of_windows(self.of_right(moved.of_left(g.clone())));
        let along_right = self.of_windows(moved.of_right(self.of_left(g.clone())));
        let still = along_left + along_right;
        match moved.windows {
            Some(_) => still + moved.of_windows(self.of_right(self.of_left(g))),
            None => still,
        }
    }

    /// The gradient of `<lambda, P G>` in each factor.
    fn adjoint(&self, g: Tensor<3>, lambda: Tensor<3>) -> Vec<Tensor<2>> {
        let [m, n, k] = g.dims();
        let in_rows = |t: Tensor<3>| t.reshape([m, n * k]);
        let in_columns = |t: Tensor<3>| t.swap_dims(1, 2).reshape([m * k, n]);
        let in_windows = |t: Tensor<3>| t.reshape([m * n, k]);
        let before_left = self.of_windows(self.of_right(g.clone()));
        let of_left = in_rows(lambda.clone()).matmul(in_rows(before_left).transpose());
        let before_right = self.of_windows(self.of_left(g.clone()));
        let of_right = in_columns(before_right).transpose().matmul(in_columns(lambda.clone()));
        let of_windows = self.windows.as_ref().map(|_| {
            let before = self.of_right(self.of_left(g));
            in_windows(before).transpose().matmul(in_windows(lambda))
        });
        [of_left, of_right].into_iter().chain(of_windows).collect()
    }
}

impl Kronecker {
    /// The side of each square factor for the variables of y, in order.
    pub fn factors_of(lower: &Layout) -> Vec<usize> {
        let of = |shape: &[usize]| match dimensions(shape) {
            Some([m, n, _]) if shape.len() == 2 => vec![m, n],
            Some([m, n, k]) => vec![m, n, k],
            None => Vec::new(),
        };
        lower.leaves().iter().flat_map(|leaf| of(leaf.shape.as_slice())).collect()
    }

    /// The factors of each variable of a gradient like `g` that has any, in turn.
    fn factors(&self, x: &Vector, g: &Layout) -> Vec<Option<Factors>> {
        let mut places = x.layout().under(&self.path).into_iter();
        let mut next = || {
            let at = places.next().expect("the factors of each variable of y");
            matrix(x.leaves()[at].clone())
        };
        let of = |shape: &[usize]| {
            dimensions(shape)?;
            let (left, right) = (next(), next());
            let windows = (shape.len() == 4).then(&mut next);
            Some(Factors { left, right, windows })
        };
        g.leaves().iter().map(|leaf| leaf.shape.as_slice()).map(of).collect()
    }

    /// Applies `f` to every leaf that has factors, as `[m, n, k]`, and `other` to the others.
    fn on_each(
        g: &Vector,
        factors: Vec<Option<Factors>>,
        other: impl Fn(DispatchTensor) -> DispatchTensor,
        mut f: impl FnMut(Tensor<3>, Factors) -> Tensor<3>,
    ) -> Vector {
        let (mut factors, mut leaves) = (factors.into_iter(), g.layout().leaves().iter());
        g.map(|leaf| {
            let shape = leaves.next().map(|leaf| leaf.shape.clone());
            match (factors.next().flatten(), shape) {
                (Some(factors), Some(shape)) => reshaped(f(cubic(leaf, &shape), factors), shape),
                _ => other(leaf),
            }
        })
    }
}

/// A matrix or a convolution as `[m, n, k]`.
fn cubic(leaf: DispatchTensor, shape: &Shape) -> Tensor<3> {
    let sides = dimensions(shape.as_slice()).expect("a variable that has factors");
    flat(leaf).reshape(sides)
}

fn reshaped(cubic: Tensor<3>, shape: Shape) -> DispatchTensor {
    shaped(cubic.flatten::<1>(0, 2), shape)
}

impl Preconditioner for Kronecker {
    fn describe(&self) -> String {
        format!("kronecker {}", self.path)
    }

    fn check(&self, upper: &Layout, lower: &Layout) -> Result<(), Error> {
        let squares: Vec<_> = Self::factors_of(lower).into_iter().map(|n| vec![n, n]).collect();
        expect("kronecker preconditioner", upper, &self.path, &squares)
    }

    fn apply(&self, x: &Vector, g: &Vector) -> Vector {
        Self::on_each(g, self.factors(x, g.layout()), |leaf| leaf, |g, factors| factors.apply(g))
    }

    fn transpose(&self, x: &Vector, g: &Vector) -> Vector {
        let factors = self.factors(x, g.layout());
        Self::on_each(g, factors, |leaf| leaf, |g, factors| factors.transpose().apply(g))
    }

    fn tangent(&self, x: &Vector, dx: &Vector, g: &Vector) -> Vector {
        let mut moved = self.factors(dx, g.layout()).into_iter().flatten();
        let zero = |leaf: DispatchTensor| float::mul_scalar(leaf, 0.0);
        Self::on_each(g, self.factors(x, g.layout()), zero, |g, factors| {
            let moved = moved.next().expect("as many factors move as there are");
            factors.tangent(&moved, g)
        })
    }

    fn adjoint(&self, x: &Vector, g: &Vector, lambda: &Vector) -> Vector {
        let factors = self.factors(x, g.layout()).into_iter().enumerate();
        let found =
            factors.filter_map(|(at, factors)| Some((at, factors?))).flat_map(|(at, factors)| {
                let shape = &g.layout().leaves()[at].shape;
                let of = |v: &Vector| cubic(v.leaves()[at].clone(), shape);
                factors.adjoint(of(g), of(lambda))
            });
        let found = found.map(Tensor::into_dispatch);
        let mut found = zip(x.layout().under(&self.path), found).peekable();
        let mut here = 0..;
        x.zeros_like().map(|zeros| {
            let at = here.next();
            found.next_if(|(place, _)| Some(*place) == at).map_or(zeros, |(_, factor)| factor)
        })
    }
}
