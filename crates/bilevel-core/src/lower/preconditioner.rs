//! Linear maps of the lower gradient that are learned with x.

use std::fmt::Debug;
use std::iter::zip;

use bilevel_autodiff::{Layout, Vector};
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorPrimitive};

use crate::Error;
use crate::on_device::multiply;

/// A linear map `P(x)` of lower gradients, and its derivatives in x.
pub trait Preconditioner<B: Backend>: Debug + Send + Sync {
    /// The name with the settings.
    fn describe(&self) -> String;

    /// Whether x has the variables of P, in shapes that fit y. The other methods may panic where this
    /// refuses.
    ///
    /// # Errors
    /// If not.
    fn check(&self, upper: &Layout, lower: &Layout) -> Result<(), Error>;

    /// `P(x) g`.
    fn apply(&self, x: &Vector<B>, g: &Vector<B>) -> Vector<B>;

    /// `P(x)' g`.
    fn transpose(&self, x: &Vector<B>, g: &Vector<B>) -> Vector<B>;

    /// The derivative of `P(x) g` along `dx`.
    fn tangent(&self, x: &Vector<B>, dx: &Vector<B>, g: &Vector<B>) -> Vector<B>;

    /// The gradient of `<lambda, P(x) g>` in x.
    fn adjoint(&self, x: &Vector<B>, g: &Vector<B>, lambda: &Vector<B>) -> Vector<B>;
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

/// `P(x) G = L G R` for every matrix G among the gradient's leaves, as Meta-Curvature learns them; leaves of
/// another rank stay as they are.
///
/// The part of x under a path holds L, of shape `[m, m]`, and R, of shape `[n, n]`, for each variable
/// `[m, n]` of y in turn. Meta-Curvature has a third factor for the windows of a convolution, which is not
/// here.
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
    fn times<B: Backend>(&self, x: &Vector<B>, g: &Vector<B>) -> Vector<B> {
        let mut w = x.layout().under(&self.path).into_iter().map(|at| x.leaves()[at].clone());
        g.map(|leaf| B::float_mul(leaf, w.next().expect("one factor for each entry of y")))
    }
}

impl<B: Backend> Preconditioner<B> for Diagonal {
    fn describe(&self) -> String {
        format!("diagonal {}", self.path)
    }

    fn check(&self, upper: &Layout, lower: &Layout) -> Result<(), Error> {
        let shapes: Vec<_> = lower.leaves().iter().map(|leaf| leaf.shape.to_vec()).collect();
        expect("diagonal preconditioner", upper, &self.path, &shapes)
    }

    fn apply(&self, x: &Vector<B>, g: &Vector<B>) -> Vector<B> {
        self.times(x, g)
    }

    fn transpose(&self, x: &Vector<B>, g: &Vector<B>) -> Vector<B> {
        self.times(x, g)
    }

    fn tangent(&self, _: &Vector<B>, dx: &Vector<B>, g: &Vector<B>) -> Vector<B> {
        self.times(dx, g)
    }

    fn adjoint(&self, x: &Vector<B>, g: &Vector<B>, lambda: &Vector<B>) -> Vector<B> {
        x.zeros_like().add_part(&x.layout().under(&self.path), &multiply(g, lambda))
    }
}

fn matrix<B: Backend>(leaf: FloatTensor<B>) -> Tensor<B, 2> {
    Tensor::from_primitive(TensorPrimitive::Float(leaf))
}

fn is_matrix(layout: &Layout, at: usize) -> bool {
    layout.leaves()[at].shape.num_dims() == 2
}

impl Kronecker {
    /// L and R for each matrix, in turn.
    fn factors<B: Backend>(&self, x: &Vector<B>) -> impl Iterator<Item = [Tensor<B, 2>; 2]> {
        let places = x.layout().under(&self.path);
        let leaf = |at: usize| matrix::<B>(x.leaves()[at].clone());
        let pairs: Vec<_> = places.chunks_exact(2).map(|at| [leaf(at[0]), leaf(at[1])]).collect();
        pairs.into_iter()
    }

    /// Applies `f` to every matrix and its factors, and `other` to the remaining leaves.
    fn on_matrices<B: Backend>(
        &self,
        x: &Vector<B>,
        g: &Vector<B>,
        other: impl Fn(FloatTensor<B>) -> FloatTensor<B>,
        mut f: impl FnMut(Tensor<B, 2>, [Tensor<B, 2>; 2]) -> Tensor<B, 2>,
    ) -> Vector<B> {
        let (mut here, mut factors) = (0.., self.factors(x));
        g.map(|leaf| {
            let at = here.next().unwrap_or_default();
            if !is_matrix(g.layout(), at) {
                return other(leaf);
            }
            let factors = factors.next().expect("two factors for each matrix of y");
            f(matrix::<B>(leaf), factors).into_primitive().tensor()
        })
    }
}

impl<B: Backend> Preconditioner<B> for Kronecker {
    fn describe(&self) -> String {
        format!("kronecker {}", self.path)
    }

    fn check(&self, upper: &Layout, lower: &Layout) -> Result<(), Error> {
        let matrices = lower.leaves().iter().filter(|leaf| leaf.shape.num_dims() == 2);
        let squares = matrices.flat_map(|leaf| leaf.shape.to_vec()).map(|n| vec![n, n]);
        expect("kronecker preconditioner", upper, &self.path, &squares.collect::<Vec<_>>())
    }

    fn apply(&self, x: &Vector<B>, g: &Vector<B>) -> Vector<B> {
        self.on_matrices(x, g, |leaf| leaf, |g, [l, r]| l.matmul(g).matmul(r))
    }

    fn transpose(&self, x: &Vector<B>, g: &Vector<B>) -> Vector<B> {
        let turn = |g: Tensor<B, 2>, [l, r]: [Tensor<B, 2>; 2]| {
            l.transpose().matmul(g).matmul(r.transpose())
        };
        self.on_matrices(x, g, |leaf| leaf, turn)
    }

    fn tangent(&self, x: &Vector<B>, dx: &Vector<B>, g: &Vector<B>) -> Vector<B> {
        let mut moved = self.factors(dx);
        let zero = |leaf: FloatTensor<B>| B::float_mul_scalar(leaf, 0.0.into());
        self.on_matrices(x, g, zero, |g, [l, r]| {
            let [dl, dr] = moved.next().expect("as many factors move as there are");
            dl.matmul(g.clone()).matmul(r) + l.matmul(g).matmul(dr)
        })
    }

    fn adjoint(&self, x: &Vector<B>, g: &Vector<B>, lambda: &Vector<B>) -> Vector<B> {
        let matrices = (0..g.leaves().len()).filter(|at| is_matrix(g.layout(), *at));
        let found = zip(matrices, self.factors(x)).flat_map(|(at, [l, r])| {
            let g = matrix::<B>(g.leaves()[at].clone());
            let lambda = matrix::<B>(lambda.leaves()[at].clone());
            let in_l = lambda.clone().matmul(r.transpose()).matmul(g.clone().transpose());
            let in_r = g.transpose().matmul(l.transpose()).matmul(lambda);
            [in_l, in_r].map(|factor| factor.into_primitive().tensor())
        });
        let mut found = zip(x.layout().under(&self.path), found).peekable();
        let mut here = 0..;
        x.zeros_like().map(|zeros| {
            let at = here.next();
            found.next_if(|(place, _)| Some(*place) == at).map_or(zeros, |(_, factor)| factor)
        })
    }
}
