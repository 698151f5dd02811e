//! What can go wrong, each with its cure.

use bilevel_program::TraceError;

use crate::parallel::GroupError;
use crate::{CheckpointError, Objective, Variable};

/// An error of this library.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting outside its range; found before anything runs.
    #[error("{setting} is {found}, expected {expected}: {cure}")]
    InvalidSetting {
        /// The setting's name.
        setting: &'static str,
        /// Its value.
        found: String,
        /// The values it may have.
        expected: &'static str,
        /// What to do.
        cure: &'static str,
    },

    /// A module without trainable parameters.
    #[error(
        "{variable} has no trainable parameters, expected at least one: do not call `no_grad` or \
         `freeze` on its module"
    )]
    NoVariables {
        /// Which variable.
        variable: Variable,
    },

    /// A loss, or another function of modules, that cannot be recorded or differentiated.
    #[error("{what}: {error}")]
    Trace {
        /// Which function.
        what: String,
        /// Why not.
        error: TraceError,
    },

    /// A loss that is not one number.
    #[error(
        "the {objective} loss has shape {found:?}, expected [1]: end it with `.mean()` or `.sum()`"
    )]
    NotScalar {
        /// Which loss.
        objective: Objective,
        /// Its shape.
        found: Vec<usize>,
    },

    /// A loss that is NaN or infinite where the run starts.
    #[error(
        "the {objective} loss is {found} at the start, expected a finite number: look for NaN in the data \
         and for logarithms or quotients at zero in the loss"
    )]
    NotFiniteAtStart {
        /// Which loss.
        objective: Objective,
        /// Its value.
        found: f64,
    },

    /// A loss whose two stages compute a different function.
    #[error(
        "the head's loss of the features is {found} at the start, expected the loss of the problem, {expected}: \
         write `lower_loss` as `head_loss(x, y, features(y, batch), batch)`, and where x makes the features both losses as \
         `head_loss(objective, y, features(x, batch), batch)`"
    )]
    SplitLoss {
        /// That of the head.
        found: f64,
        /// That of the problem.
        expected: f64,
    },

    /// A part of x that cannot be the start of the lower level.
    #[error(
        "{part} has the variables {found:?}, expected the shapes and types of y's, {expected:?}: the \
         lower level starts there, so build it as y's module is built, or name the part of x that is"
    )]
    StartShapes {
        /// Which part of x.
        part: String,
        /// Its variables.
        found: Vec<String>,
        /// Those of y.
        expected: Vec<String>,
    },

    /// A learned start with a method that does not differentiate in the start.
    #[error(
        "the start of the lower level is learned, and {method} gives no gradient in it, expected a \
         method that does: use ia-gm or iaptt, or a fixed or warm start"
    )]
    NoStartGradient {
        /// The method with its settings.
        method: String,
    },

    /// Lower steps that became infinite or NaN, or had no finite start.
    #[error("{}", diverged(.dynamics, .step, .steps))]
    LowerDiverged {
        /// The dynamics with its settings.
        dynamics: String,
        /// The first step whose result is not finite; 0 is the start, where y, the loss or its gradient is not.
        step: usize,
        /// The steps requested.
        steps: usize,
    },

    /// A part of x that a method looks for, and that is missing or different.
    #[error("{what}: the upper variable has {found}, expected {expected}: {cure}")]
    UpperVariable {
        /// What looks for it.
        what: &'static str,
        /// What there is.
        found: String,
        /// What there should be.
        expected: String,
        /// What to do.
        cure: &'static str,
    },

    /// A value too large for fixed-point numbers.
    #[error(
        "y or its velocity is not within +-{limit} after step {step} of {dynamics}, expected numbers in the \
         fixed-point range: reduce the lower step size, scale y down, or keep states by a plan"
    )]
    FixedPoint {
        /// The dynamics with its settings.
        dynamics: String,
        /// The magnitude that is too large.
        limit: f64,
        /// The first step whose result is too large; 0 is the start.
        step: usize,
    },

    /// Steps that were not reversed exactly.
    #[error(
        "the steps of {dynamics} on the way back are not those of the forward pass, expected a gradient that is \
         reproducible bit for bit: use a deterministic loss and device, or momentum with rad and a \
         plan"
    )]
    NotUndone {
        /// The dynamics with its settings.
        dynamics: String,
    },

    /// A linear solver for symmetric operators on one that may not be symmetric.
    #[error(
        "the operator is general, expected a symmetric one for {solver}: use gmres, bicgstab or dense, \
         or build it by `Operator::symmetric` if it is"
    )]
    NotSymmetric {
        /// The solver.
        solver: &'static str,
    },

    /// A problem too large to assemble its matrix.
    #[error(
        "y has {found} numbers, expected at most {limit} for {solver}: use cg or normal-cg, which need only \
         products, or raise the limit"
    )]
    TooLarge {
        /// The solver.
        solver: &'static str,
        /// The size.
        found: usize,
        /// The largest one it takes.
        limit: usize,
    },

    /// A sampler of other batches than those of the data.
    #[error(
        "the sampler draws from {found:?} batches of the upper and the lower level, expected {expected:?}, as \
         the data is divided: give the solver a sampler of these numbers of batches"
    )]
    Sampler {
        /// What the sampler draws from.
        found: [usize; 2],
        /// What there is.
        expected: [usize; 2],
    },

    /// No start in the interior of the barriers.
    #[error(
        "the approximate lower solution is not inside the barriers at upper step {step}, expected finite losses and \
         constraints, and f(x, y) below the relaxed value function: allow more room than the rounding of f"
    )]
    NoInterior {
        /// The upper step, counted from 1.
        step: usize,
    },

    /// A saved state that is not this solver's.
    #[error(
        "`{entry}` of the saved state is {found}, expected {expected}: restore it into a solver of the same \
         method, on the same problem and device, or start anew"
    )]
    Snapshot {
        /// The entry's name.
        entry: String,
        /// What there is.
        found: String,
        /// What the solver takes.
        expected: String,
    },

    /// A hypergradient that is NaN or infinite.
    #[error("no finite hypergradient at upper step {step}, expected finite numbers: {cause}")]
    HypergradientNotFinite {
        /// The upper step, counted from 1.
        step: usize,
        /// What is at fault, and the cure.
        cause: String,
    },

    /// A loss, a direction or a variable that is not finite.
    #[error(
        "the {what} is not finite at upper step {step}, expected finite values: reduce the {cure}"
    )]
    NotFinite {
        /// What it is.
        what: &'static str,
        /// The upper step, counted from 1.
        step: usize,
        /// The setting to reduce.
        cure: &'static str,
    },

    /// A device that failed in a step or while a loss was recorded, or in what was asked of it before.
    #[error(
        "{}: {cause}; check the driver and the memory of the device, take smaller batches, or compute on the CPU (flex)",
        when(*.step)
    )]
    Device {
        /// The upper step, counted from 1; 0 is before it, where losses are recorded.
        step: usize,
        /// What the device says.
        cause: String,
    },

    /// A loss that is not the mean of those on equal parts of its data.
    #[error(
        "the {objective} loss of the shards is {found} and that of the whole data {expected}, with their gradients {off:e} \
         apart, expected a mean over equal parts: end the loss with `.mean()` over samples, and divide the data evenly"
    )]
    NotMeanOfShards {
        /// Which loss.
        objective: Objective,
        /// The mean over shards.
        found: f64,
        /// The loss on the whole data.
        expected: f64,
        /// The difference of values and gradients.
        off: f64,
    },

    /// Ranks that cannot continue together.
    #[error(transparent)]
    Group(GroupError),

    /// A rank whose part of a step failed, where those of others did not.
    #[error("on rank {rank}: {cause}")]
    OnRank {
        /// The rank.
        rank: usize,
        /// Its error.
        cause: String,
    },

    /// A checkpoint that cannot be written or read.
    #[error(transparent)]
    Checkpoint(CheckpointError),
}

impl Error {
    /// That a function cannot be recorded; a device that failed meanwhile is at fault itself.
    pub fn of_recording(what: impl Into<String>, error: TraceError) -> Self {
        match error {
            TraceError::Device { cause } => Self::Device { step: 0, cause },
            error => Self::Trace { what: what.into(), error },
        }
    }
}

fn when(step: usize) -> String {
    if step == 0 { "before the first upper step".into() } else { format!("upper step {step}") }
}

/// The steps play no part in what is not finite before the first of them.
fn diverged(dynamics: &str, step: &usize, steps: &usize) -> String {
    if *step == 0 {
        return format!(
            "y, the lower loss or its gradient is not finite at the start of {steps} steps of {dynamics}, expected \
             finite values: look for NaN in the data and for norms, roots, logarithms or quotients at zero in the \
             loss, or start y elsewhere"
        );
    }
    format!(
        "the lower level diverged: y or its loss is not finite after step {step} of {steps} of {dynamics}, expected \
         finite values: reduce the lower step size"
    )
}

/// Where a function that was recorded before cannot be recorded for another batch.
///
/// # Panics
/// Always; as the device does, if that failed.
pub(crate) fn unrecorded(what: impl std::fmt::Display, error: TraceError) -> ! {
    match error {
        TraceError::Device { cause } => panic!("{cause}"),
        error => panic!("{what}: {error}"),
    }
}

/// `value` if it is finite and positive.
pub(crate) fn positive(setting: &'static str, value: f64) -> Result<f64, Error> {
    if value.is_finite() && value > 0.0 {
        return Ok(value);
    }
    Err(Error::InvalidSetting {
        setting,
        found: value.to_string(),
        expected: "a finite number above 0",
        cure: "give a positive value",
    })
}

/// `value` if it is finite and not negative.
pub(crate) fn not_negative(setting: &'static str, value: f64) -> Result<f64, Error> {
    if value.is_finite() && value >= 0.0 {
        return Ok(value);
    }
    Err(Error::InvalidSetting {
        setting,
        found: value.to_string(),
        expected: "a finite number of at least 0",
        cure: "give 0 or a positive value",
    })
}

/// `value` if it is in `[0, 1)`.
pub(crate) fn below_one(setting: &'static str, value: f64) -> Result<f64, Error> {
    if (0.0..1.0).contains(&value) {
        return Ok(value);
    }
    Err(Error::InvalidSetting {
        setting,
        found: value.to_string(),
        expected: "a number in [0, 1)",
        cure: "0.9 is common",
    })
}

/// `value` if it is at least 1.
pub(crate) fn at_least_one(setting: &'static str, value: usize) -> Result<usize, Error> {
    if value >= 1 {
        return Ok(value);
    }
    Err(Error::InvalidSetting {
        setting,
        found: value.to_string(),
        expected: "at least 1",
        cure: "give a positive count",
    })
}
