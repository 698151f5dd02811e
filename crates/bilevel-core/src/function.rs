//! Functions of two modules with several values.

use std::sync::Arc;

use bilevel_program::{Frozen, Layout, Partials, Recorded, TraceError, Vector, Wrt};
use burn::module::{Module, Param};
use burn::tensor::{DType, Tensor};

/// A function `h(x, y)` of m numbers and its pullbacks `h' w`, recorded as the scalar `<w, h>`.
pub(crate) struct Function<X, Y> {
    /// `<w, h>` in the variables of x and y, with w constant.
    pulled: Recorded<X, Y, Tensor<1>>,
    /// The same in w, whose gradient is h.
    values: Values<X, Y>,
    /// A list of m numbers of h's element type.
    weights: Vector,
}

/// A function of w, and of x and y as constants.
type Values<X, Y> = Recorded<Param<Tensor<1>>, Vec<Param<Tensor<1>>>, (Frozen<X>, Frozen<Y>)>;

/// How h is computed.
pub(crate) type Of<'a, X, Y> = dyn Fn(&X, &Y) -> Tensor<1> + 'a;

impl<X: Module, Y: Module> Function<X, Y> {
    /// `h` of modules like `x` and `y`.
    pub fn new(x: &X, y: &Y, h: &Of<'_, X, Y>) -> Result<Self, TraceError> {
        let pulled = Recorded::new(x, y)?;
        let like = h(x, y).without_autodiff().zeros_like();
        let weights = Param::from_tensor(like.clone());
        let values = Recorded::new(&weights, &Vec::new())?;
        let weights = Vector::from_module(values.upper_layout(), &weights);
        let own = Self { pulled, values, weights };
        let x = Vector::from_module(own.pulled.upper_layout(), own.pulled.x());
        let y = Vector::from_module(own.pulled.lower_layout(), own.pulled.y());
        own.try_values(&x, &y, h)?;
        own.try_pull(&x, &y, like, Wrt::Both, h)?;
        Ok(own)
    }

    /// x, as it was given.
    pub fn x(&self) -> &X {
        self.pulled.x()
    }

    /// y, as it was given.
    pub fn y(&self) -> &Y {
        self.pulled.y()
    }

    /// The layouts of x and of y.
    pub fn layouts(&self) -> [&Arc<Layout>; 2] {
        [self.pulled.upper_layout(), self.pulled.lower_layout()]
    }

    /// m
    pub fn len(&self) -> usize {
        self.weights.layout().size()
    }

    /// The element type of h.
    pub fn dtype(&self) -> DType {
        self.weights.layout().leaves()[0].dtype
    }

    /// `h(x, y)`
    ///
    /// # Panics
    /// If h cannot be recorded, which [`Function::new`] found to be possible.
    pub fn values(&self, x: &Vector, y: &Vector, h: &Of<'_, X, Y>) -> Tensor<1> {
        self.try_values(x, y, h).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_values(
        &self,
        x: &Vector,
        y: &Vector,
        h: &Of<'_, X, Y>,
    ) -> Result<Tensor<1>, TraceError> {
        let modules =
            (Frozen(x.write_into(self.x().clone())), Frozen(y.write_into(self.y().clone())));
        let loss = |weights: &Param<Tensor<1>>, _: &_, (x, y): &(Frozen<X>, Frozen<Y>)| {
            (weights.val() * h(&x.0, &y.0)).sum()
        };
        let none = Vector::from_module(self.values.lower_layout(), self.values.y());
        let found = self.values.gradient(&self.weights, &none, &modules, Wrt::X, &loss)?;
        Ok(Tensor::from_dispatch(found.1.into_x().leaves()[0].clone()))
    }

    /// `h' w` in the variables of `wrt`.
    ///
    /// # Panics
    /// If h cannot be recorded, which [`Function::new`] found to be possible.
    pub fn pull(
        &self,
        x: &Vector,
        y: &Vector,
        weights: Tensor<1>,
        wrt: Wrt<'_>,
        h: &Of<'_, X, Y>,
    ) -> Partials {
        self.try_pull(x, y, weights, wrt, h).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_pull(
        &self,
        x: &Vector,
        y: &Vector,
        weights: Tensor<1>,
        wrt: Wrt<'_>,
        h: &Of<'_, X, Y>,
    ) -> Result<Partials, TraceError> {
        let loss = |x: &X, y: &Y, weights: &Tensor<1>| (h(x, y) * weights.clone()).sum();
        Ok(self.pulled.gradient(x, y, &weights, wrt, &loss)?.1)
    }
}
