//! Linear maps of the lower gradient that are learned with x.

use std::fmt::Debug;
use std::iter::zip;

use bilevel_program::{Layout, Vector, float};
use burn::backend::DispatchTensor;
use burn::tensor::Tensor;

use crate::Error;
use crate::vector_ops::multiply;

/// A linear map `P(x)` of lower gradients, and its derivatives in x.
pub trait Preconditioner: Debug + Send + Sync {
    /// The name with the settings.
    fn describe(&self) -> String;

    /// Whether x has the variables of P, in shapes that fit y. The other methods may panic where this
    /// refuses.
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

fn is_matrix(layout: &Layout, at: usize) -> bool {
    layout.leaves()[at].shape.num_dims() == 2
}

impl Kronecker {
    /// L and R for each matrix, in turn.
    fn factors(&self, x: &Vector) -> impl Iterator<Item = [Tensor<2>; 2]> {
        let places = x.layout().under(&self.path);
        let leaf = |at: usize| matrix(x.leaves()[at].clone());
        let pairs: Vec<_> = places.chunks_exact(2).map(|at| [leaf(at[0]), leaf(at[1])]).collect();
        pairs.into_iter()
    }

    /// Applies `f` to every matrix and its factors, and `other` to the remaining leaves.
    fn on_matrices(
        &self,
        x: &Vector,
        g: &Vector,
        other: impl Fn(DispatchTensor) -> DispatchTensor,
        mut f: impl FnMut(Tensor<2>, [Tensor<2>; 2]) -> Tensor<2>,
    ) -> Vector {
        let (mut here, mut factors) = (0.., self.factors(x));
        g.map(|leaf| {
            let at = here.next().unwrap_or_default();
            if !is_matrix(g.layout(), at) {
                return other(leaf);
            }
            let factors = factors.next().expect("two factors for each matrix of y");
            f(matrix(leaf), factors).into_dispatch()
        })
    }
}

impl Preconditioner for Kronecker {
    fn describe(&self) -> String {
        format!("kronecker {}", self.path)
    }

    fn check(&self, upper: &Layout, lower: &Layout) -> Result<(), Error> {
        let matrices = lower.leaves().iter().filter(|leaf| leaf.shape.num_dims() == 2);
        let squares = matrices.flat_map(|leaf| leaf.shape.to_vec()).map(|n| vec![n, n]);
        expect("kronecker preconditioner", upper, &self.path, &squares.collect::<Vec<_>>())
    }

    fn apply(&self, x: &Vector, g: &Vector) -> Vector {
        self.on_matrices(x, g, |leaf| leaf, |g, [l, r]| l.matmul(g).matmul(r))
    }

    fn transpose(&self, x: &Vector, g: &Vector) -> Vector {
        let turn =
            |g: Tensor<2>, [l, r]: [Tensor<2>; 2]| l.transpose().matmul(g).matmul(r.transpose());
        self.on_matrices(x, g, |leaf| leaf, turn)
    }

    fn tangent(&self, x: &Vector, dx: &Vector, g: &Vector) -> Vector {
        let mut moved = self.factors(dx);
        let zero = |leaf: DispatchTensor| float::mul_scalar(leaf, 0.0);
        self.on_matrices(x, g, zero, |g, [l, r]| {
            let [dl, dr] = moved.next().expect("as many factors move as there are");
            dl.matmul(g.clone()).matmul(r) + l.matmul(g).matmul(dr)
        })
    }

    fn adjoint(&self, x: &Vector, g: &Vector, lambda: &Vector) -> Vector {
        let matrices = (0..g.leaves().len()).filter(|at| is_matrix(g.layout(), *at));
        let found = zip(matrices, self.factors(x)).flat_map(|(at, [l, r])| {
            let g = matrix(g.leaves()[at].clone());
            let lambda = matrix(lambda.leaves()[at].clone());
            let in_l = lambda.clone().matmul(r.transpose()).matmul(g.clone().transpose());
            let in_r = g.transpose().matmul(l.transpose()).matmul(lambda);
            [in_l, in_r].map(|factor| factor.into_dispatch())
        });
        let mut found = zip(x.layout().under(&self.path), found).peekable();
        let mut here = 0..;
        x.zeros_like().map(|zeros| {
            let at = here.next();
            found.next_if(|(place, _)| Some(*place) == at).map_or(zeros, |(_, factor)| factor)
        })
    }
}
