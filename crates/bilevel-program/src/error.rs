//! Why a loss cannot be recorded.

use thiserror::Error;

/// Why a loss, or its derivative, cannot be recorded.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum TraceError {
    /// The loss panicked while it was recorded.
    #[error(
        "the loss cannot be recorded: {message}; a loss must not read data (into_data, into_scalar, argwhere), seed, or \
         quantise, and every tensor that it uses must come from its arguments or be made on their device (`x.device()`)"
    )]
    Panic {
        /// The panic message.
        message: String,
    },
    /// The device failed at what the loss reads while it is recorded, or at what was asked of it before.
    #[error(
        "{cause}; check the driver and the memory of the device, take smaller batches, or compute on the CPU (flex)"
    )]
    Device {
        /// What the device says.
        cause: String,
    },
    /// An operation of the loss has no derivative, or none of the order requested.
    #[error(
        "the loss cannot be differentiated: {message}; docs/COVERAGE.md lists the operations that can, and \
         `stop_gradient` holds a value constant"
    )]
    NotDifferentiable {
        /// The message of the rule.
        message: String,
    },
    /// An operation that cannot be part of a program.
    #[error("the loss uses `{operation}`, and {reason}")]
    Operation {
        /// Its name.
        operation: String,
        /// Why not, and the cure.
        reason: String,
    },
    /// A module without trainable parameters.
    #[error(
        "the module has no trainable parameters, expected at least one to differentiate in: do not call `no_grad` or \
         `freeze` on it"
    )]
    NoVariables,
    /// A loss of another shape than one number.
    #[error("a loss is one number, found the shape {shape:?}: end it with `.mean()` or `.sum()`")]
    NotOneNumber {
        /// The shape found.
        shape: Vec<usize>,
    },
    /// A second recording gave another program: the loss branches on something that changes.
    #[error(
        "a second recording of the loss computes something else, first at {place}: it must not branch on what \
         changes; express a choice by values with masks (`mask_where`)"
    )]
    DependsOnValues {
        /// Where the two recordings differ.
        place: String,
    },
    /// Burn's own gradient differs from that of the recording.
    #[error(
        "the gradient in `{path}` is not the one that Burn computes ({found} against {expected}): `detach` and \
         gradients computed within a loss leave no trace in the recording; use `bilevel_program::stop_gradient` \
         instead of `detach`"
    )]
    Detached {
        /// The variable.
        path: String,
        /// The norm of the gradient of the recording.
        found: f64,
        /// The norm of the gradient that Burn computes.
        expected: f64,
    },
    /// A vector whose tensors have another element type than the variables.
    #[error(
        "`{path}` has the element type {found} in the vector and {expected} in the module that the loss was recorded for: \
         take the vector from that module, or let `Vector::map` keep element types"
    )]
    ElementType {
        /// The variable.
        path: String,
        /// The element type in the vector.
        found: String,
        /// That of the variable.
        expected: String,
    },
    /// A tensor that the device cannot hold in one piece.
    #[error(
        "{what}, {shape:?}, takes {bytes} bytes in one array, and the device holds at most {most}: take fewer samples or \
         smaller batches, or compute on the CPU (flex)"
    )]
    TooLarge {
        /// The operation whose result it is, or that it is an argument.
        what: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Its bytes.
        bytes: u64,
        /// The largest array in bytes.
        most: u64,
    },
    /// A module has parameters of several element types.
    #[error(
        "`{path}` has the element type {found}, `{first}` has {expected}: cast the parameters to one element type"
    )]
    MixedTypes {
        /// The parameter that differs.
        path: String,
        /// Its element type.
        found: String,
        /// The first parameter.
        first: String,
        /// Its element type.
        expected: String,
    },
}

impl TraceError {
    /// The same error, found while a derivative was taken.
    pub(crate) fn of_derivative(self) -> Self {
        match self {
            Self::Panic { message } => Self::NotDifferentiable { message },
            other => other,
        }
    }
}
