//! The largest tensor of a program, and the largest one that a device can hold.
//!
//! If an array exceeds the limit of a graphics adapter, kernels see only a part of it, and results are garbage without
//! an error. The shapes of a program are known before anything is computed. Views and tensors within one kernel count
//! too, although they take no memory: the largest tensor is an upper bound.

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Shape};

use crate::TraceError;
use crate::execute::name;
use crate::program::Program;

/// The largest tensor of a program.
#[derive(Debug)]
pub(crate) struct Largest {
    /// The operation whose result it is, or what else it is.
    what: String,
    shape: Shape,
    bytes: u64,
}

impl Largest {
    /// None where there is no tensor.
    pub(crate) fn of(program: &Program) -> Option<Self> {
        let given = program.inputs.iter().map(|input| (None, &input.shape, input.dtype));
        let constants = program.constants.iter().map(|each| &each.data);
        let constants = constants.map(|data| (None, data.shape(), data.dtype()));
        let made = program.operations.iter().flat_map(|operation| {
            operation.outputs().map(move |out| (Some(operation), &out.shape, out.dtype))
        });
        let largest =
            given.chain(constants).chain(made).max_by_key(|(_, shape, dtype)| bytes(shape, *dtype));
        largest.map(|(operation, shape, dtype)| Self {
            what: operation.map_or("an argument of the loss".into(), |operation| {
                format!("the result of `{}`", name(operation))
            }),
            shape: shape.clone(),
            bytes: bytes(shape, dtype),
        })
    }

    /// # Errors
    /// If the device does not hold it in one piece.
    pub(crate) fn fits(&self, device: &DispatchDevice) -> Result<(), TraceError> {
        match most(device) {
            Some(most) => self.within(most),
            None => Ok(()),
        }
    }

    fn within(&self, most: u64) -> Result<(), TraceError> {
        if self.bytes <= most {
            return Ok(());
        }
        Err(TraceError::TooLarge {
            what: self.what.clone(),
            shape: self.shape.as_slice().to_vec(),
            bytes: self.bytes,
            most,
        })
    }
}

/// Only where no integer overflows.
fn bytes(shape: &Shape, dtype: DType) -> u64 {
    let numbers = shape.as_slice().iter().map(|&n| n as u64);
    numbers.fold(dtype.size() as u64, u64::saturating_mul)
}

/// The largest array in bytes, if the device has a limit of its own.
fn most(device: &DispatchDevice) -> Option<u64> {
    match device {
        #[cfg(feature = "cube")]
        DispatchDevice::Cube(device) => Some(device.client().properties().memory.max_page_size),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::{DispatchTensor, TensorMetadata};
    use burn::module::Param;
    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::function::{Again, Function};

    /// `sum_ij (y_i y_j)^3`: a vector, and a matrix that is nowhere given.
    fn products(y: &Param<Tensor<1>>) -> Tensor<1> {
        let y = y.val();
        let n = y.shape()[0];
        (y.clone().reshape([n, 1]) * y.reshape([1, n])).powi_scalar(3).sum()
    }

    #[test]
    fn is_what_no_argument_is() {
        let y: Param<Tensor<1>> = Param::from_data([1.0_f32; 6], &Device::flex());
        let function = Function::loss(&y, &products, Again::InDebug).unwrap();
        let largest = Largest::of(&function.program).unwrap();
        assert_eq!((largest.shape.as_slice(), largest.bytes), (&[6, 6][..], 6 * 6 * 4));
        assert_eq!(largest.within(6 * 6 * 4), Ok(()));
        let error = largest.within(6 * 6 * 4 - 1).unwrap_err();
        let TraceError::TooLarge { what, shape, bytes: 144, most: 143 } = &error else {
            panic!("{error}")
        };
        assert!(what.starts_with("the result of `"), "{what}");
        assert_eq!(shape, &[6, 6]);
        // On the CPU there is no limit but the memory.
        let device = TensorMetadata::device(&DispatchTensor::clone(&function.point.leaves()[0]));
        assert_eq!(largest.fits(&device), Ok(()));
    }
}
