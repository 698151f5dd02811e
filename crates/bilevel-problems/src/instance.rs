//! A problem with a start.

use bilevel_core::{AutodiffOracle, BilevelProblem, Counted, Data, Error, FullBatch, Oracle};
use bilevel_program::Vector;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

/// A problem with a start and an erased type: the input of every method.
pub struct Instance {
    /// The losses and their derivatives.
    pub oracle: Counted<Box<dyn Oracle>>,
    /// The start of x.
    pub x: Vector,
    /// The start of y.
    pub y: Vector,
}

impl Instance {
    /// `problem` with the same data on both levels, starting from the values of `x` and `y`.
    ///
    /// # Errors
    /// Those of [`AutodiffOracle::new`], such as a loss that is not one finite number at the start.
    pub fn new<P>(problem: P, x: &P::Upper, y: &P::Lower, data: P::Batch) -> Result<Self, Error>
    where
        P: BilevelProblem + 'static,
    {
        Self::with_data(problem, x, y, FullBatch { upper: data.clone(), lower: data })
    }

    /// `problem`, starting from the values of `x` and `y`.
    ///
    /// # Errors
    /// Those of [`AutodiffOracle::new`].
    pub fn with_data<P>(
        problem: P,
        x: &P::Upper,
        y: &P::Lower,
        data: impl Data<P::Batch> + 'static,
    ) -> Result<Self, Error>
    where
        P: BilevelProblem + 'static,
    {
        let oracle = AutodiffOracle::new(problem, x, y, data)?;
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        Ok(Self { oracle: Counted::new(Box::new(oracle)), x, y })
    }
}

/// A vector as a module.
#[derive(Module, Debug)]
pub struct Values {
    /// The vector, `[n]`.
    pub values: Param<Tensor<1>>,
}

impl Values {
    /// With the given values, in the float type of the device.
    pub fn new(values: &[f64], device: &Device) -> Self {
        Self { values: Param::from_tensor(vector(values, device)) }
    }

    /// The vector.
    pub fn val(&self) -> Tensor<1> {
        self.values.val()
    }
}

/// Two vectors as a module, for lower variables in two parts.
#[derive(Module, Debug)]
pub struct Pair {
    /// y1
    pub first: Param<Tensor<1>>,
    /// y2
    pub second: Param<Tensor<1>>,
}

impl Pair {
    /// With the given values.
    pub fn new(first: &[f64], second: &[f64], device: &Device) -> Self {
        Self {
            first: Param::from_tensor(vector(first, device)),
            second: Param::from_tensor(vector(second, device)),
        }
    }
}

pub(crate) fn vector(values: &[f64], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

/// The squared Euclidean norm, `[1]`.
pub(crate) fn squared_norm(v: Tensor<1>) -> Tensor<1> {
    v.powi_scalar(2).sum()
}
