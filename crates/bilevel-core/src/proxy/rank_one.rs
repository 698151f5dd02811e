//! Responses of rank one per unit.

use bilevel_program::{Layout, Leaf, Vector, float};
use burn::backend::{DispatchTensor, TensorMetadata};
use burn::module::Param;
use burn::tensor::{Shape, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::perturbation::normal;
use super::{Proxy, Response, same_variables};
use crate::vector_ops::{flatten, shaped, unflatten};
use crate::{Error, Oracle};

/// `J x = (V x) *_unit w_h`: linear in x, and of rank one in the weights of each unit.
///
/// Each variable of y has an axis of units: its last for a matrix (Burn's `Linear` is `[d_in, d_out]`), its first for a
/// tensor of higher rank (`Conv2d` is `[out, in, height, width]`), and each entry of a vector is a unit. V has a row of
/// m numbers for each unit u: `J x` is `(V x)_u` times its `w_h`. So a vector can have any Jacobian, and the weights of
/// a unit depend on x along one direction.
///
/// Initially `V = 0`, and `w_h` is a random direction of norm 1 for each unit: the response is constant, and V learns
/// from the first step on.
#[derive(Clone, Debug)]
pub struct RankOne {
    /// The layout of x.
    x: Vector,
    /// Each variable of y as `[before, units, after]`.
    views: Vec<[usize; 3]>,
    /// `w_h`, of y's shapes.
    directions: Vector,
    /// V, a matrix for each variable of y.
    mix: Vector,
}

impl RankOne {
    /// For variables like `x` and `y`; the same seed gives the same `w_h`.
    pub fn new(x: &Vector, y: &Vector, seed: u64) -> Self {
        let usual = |rank: usize| if rank == 2 { 1 } else { 0 };
        let axes = y.layout().leaves().iter().map(|leaf| usual(leaf.shape.num_dims()));
        Self::build(x, y, axes, seed)
    }

    /// With the axis of units of each variable of y, if these are not as in Burn.
    ///
    /// # Errors
    /// If there is not exactly one axis for each variable, or a variable does not have it.
    pub fn with_axes(x: &Vector, y: &Vector, axes: &[usize], seed: u64) -> Result<Self, Error> {
        let ranks: Vec<_> = y.layout().leaves().iter().map(|leaf| leaf.shape.num_dims()).collect();
        if axes.len() == ranks.len() && axes.iter().zip(&ranks).all(|(axis, rank)| axis < rank) {
            return Ok(Self::build(x, y, axes.iter().copied(), seed));
        }
        Err(Error::InvalidSetting {
            setting: "axes of units",
            found: format!("{axes:?} for variables of the ranks {ranks:?}"),
            expected: "one for each variable of y, below its rank",
            cure: "count axes from 0, in the order of y's layout",
        })
    }

    fn build(x: &Vector, y: &Vector, axes: impl Iterator<Item = usize>, seed: u64) -> Self {
        let view = |(leaf, axis): (&Leaf, usize)| {
            let dims = leaf.shape.to_vec();
            [dims[..axis].iter().product(), dims[axis], dims[axis + 1..].iter().product()]
        };
        let views: Vec<[usize; 3]> = y.layout().leaves().iter().zip(axes).map(view).collect();
        let (m, device) = (x.layout().size(), y.device());
        let matrix = |(&[_, units, _], leaf): (&[usize; 3], &Leaf)| {
            Param::from_tensor(Tensor::<2>::zeros([units, m], (&device, leaf.dtype)))
        };
        let mix: Vec<_> = views.iter().zip(y.layout().leaves()).map(matrix).collect();
        let layout = Layout::of(&mix);
        let values = vec![0.0; layout.size()];
        let mix = Vector::from_slice(&layout, &values, &device);
        let drawn = normal(&mut ChaCha8Rng::seed_from_u64(seed), y);
        let mut own = Self { x: x.clone(), views, directions: drawn, mix };
        own.directions = own.with_units(&own.directions, |_, weights, _| {
            let norms = weights.clone().powi_scalar(2).sum_dim(0).sum_dim(2).sqrt();
            weights / norms
        });
        own
    }

    /// Applies `f` to each leaf of `v`, a vector like y, by units: the index of the leaf, the leaf and its `w_h`, both
    /// `[before, units, after]`.
    fn with_units(
        &self,
        v: &Vector,
        f: impl Fn(usize, Tensor<3>, Tensor<3>) -> Tensor<3>,
    ) -> Vector {
        let mut here = 0;
        v.zip(&self.directions, |leaf, direction| {
            let (at, shape) = (here, leaf.shape());
            here += 1;
            let result = f(at, self.by_units(at, leaf), self.by_units(at, direction));
            shaped(result, shape)
        })
    }

    fn by_units(&self, at: usize, leaf: DispatchTensor) -> Tensor<3> {
        let viewed = float::reshape(leaf, Shape::new(self.views[at]));
        Tensor::from_dispatch(viewed)
    }

    fn mix(&self, at: usize) -> Tensor<2> {
        Tensor::from_dispatch(self.mix.leaves()[at].clone())
    }

    /// `V x` of a variable of y, `[1, units, 1]`, by x as a column.
    fn gains(&self, at: usize, x: &Tensor<2>) -> Tensor<3> {
        let mix = self.mix(at);
        let x = x.clone().cast(mix.dtype());
        mix.matmul(x).unsqueeze_dim(0)
    }

    /// How the gains of each variable of y contribute to `<u, J x>`: columns `[units, 1]`.
    fn pull_to_gains(&self, cotangent: &Vector) -> impl Iterator<Item = Tensor<2>> {
        (0..self.views.len()).map(|at| {
            let weights = self.by_units(at, self.directions.leaves()[at].clone());
            let u = self.by_units(at, cotangent.leaves()[at].clone());
            (u * weights).sum_dim(0).sum_dim(2).squeeze_dim(0)
        })
    }

    /// `directions` times their gains at x.
    fn scaled(&self, x: &Vector, directions: &Vector) -> Vector {
        let x = flatten(x).unsqueeze_dim(1);
        self.with_units(directions, |at, weights, _| weights * self.gains(at, &x))
    }
}

impl Response for RankOne {
    fn respond(&self, x: &Vector) -> Vector {
        self.scaled(x, &self.directions)
    }

    /// The same at each x.
    fn pull_to_x(&self, _: &Vector, cotangent: &Vector) -> Vector {
        let pulled = self.pull_to_gains(cotangent).enumerate();
        let pulled = pulled.map(|(at, u)| self.mix(at).transpose().matmul(u).squeeze_dim::<1>(1));
        let sum = pulled.reduce(|a, b| b.cast(a.dtype()) + a);
        sum.map_or_else(|| self.x.zeros_like(), |list| unflatten(&list, &self.x))
    }
}

impl Proxy for RankOne {
    fn describe(&self) -> String {
        let units: usize = self.views.iter().map(|[_, units, _]| units).sum();
        format!("rank one in {units} units")
    }

    fn check(&self, oracle: &dyn Oracle) -> Result<(), Error> {
        same_variables(oracle, self.x.layout(), self.directions.layout())
    }

    /// `w_h`, V.
    fn parameters(&self) -> Vec<Vector> {
        vec![self.directions.clone(), self.mix.clone()]
    }

    fn set_parameters(&mut self, parameters: Vec<Vector>) {
        let [directions, mix] = parameters.try_into().expect("the parameters are w_h and V");
        (self.directions, self.mix) = (directions, mix);
    }

    fn pull_to_parameters(&self, x: &Vector, cotangent: &Vector) -> Vec<Vector> {
        let row: Tensor<2> = flatten(x).unsqueeze_dim(0);
        let mut gains = self.pull_to_gains(cotangent);
        let mix = self.mix.map(|_| {
            let gain = gains.next().expect("a matrix for each variable of y");
            let row = row.clone().cast(gain.dtype());
            gain.matmul(row).into_dispatch()
        });
        vec![self.scaled(x, cotangent), mix]
    }
}

/// `Psi(x) = w_e + (V x) *_unit w_h`: [`RankOne`] with a constant.
#[derive(Clone, Debug)]
pub struct RankOneAffine {
    constant: Vector,
    linear: RankOne,
}

impl RankOneAffine {
    /// For variables like `x` and `y`, with `w_e = y`; the same seed gives the same `w_h`.
    pub fn new(x: &Vector, y: &Vector, seed: u64) -> Self {
        Self { constant: y.clone(), linear: RankOne::new(x, y, seed) }
    }

    /// With the axis of units of each variable of y, if these are not as in Burn.
    ///
    /// # Errors
    /// As [`RankOne::with_axes`].
    pub fn with_axes(x: &Vector, y: &Vector, axes: &[usize], seed: u64) -> Result<Self, Error> {
        Ok(Self { constant: y.clone(), linear: RankOne::with_axes(x, y, axes, seed)? })
    }
}

impl Response for RankOneAffine {
    fn respond(&self, x: &Vector) -> Vector {
        self.constant.add(&self.linear.respond(x))
    }

    fn pull_to_x(&self, x: &Vector, cotangent: &Vector) -> Vector {
        self.linear.pull_to_x(x, cotangent)
    }
}

impl Proxy for RankOneAffine {
    fn describe(&self) -> String {
        format!("affine, {}", self.linear.describe())
    }

    fn check(&self, oracle: &dyn Oracle) -> Result<(), Error> {
        self.linear.check(oracle)
    }

    /// `w_e`, `w_h`, V.
    fn parameters(&self) -> Vec<Vector> {
        [vec![self.constant.clone()], self.linear.parameters()].concat()
    }

    fn set_parameters(&mut self, mut parameters: Vec<Vector>) {
        self.linear.set_parameters(parameters.split_off(1));
        self.constant = parameters.remove(0);
    }

    fn pull_to_parameters(&self, x: &Vector, cotangent: &Vector) -> Vec<Vector> {
        [vec![cotangent.clone()], self.linear.pull_to_parameters(x, cotangent)].concat()
    }
}
