//! The program of a derivative, to read, draw or count it.

use bilevel_core::{Derivative, Objective, Point, Program, Sample};
use clap::ValueEnum;

use super::{data, workloads};
use crate::backend::{BackendName, run_on};
use crate::cli::ProgramArgs;
use crate::error::BenchError;

/// Which function of a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// The loss.
    Value,
    /// The loss and its gradient in x and y.
    Gradient,
    /// Its Hessian, in x and y together, times a direction.
    Product,
}

/// How a program is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// One line per input, constant, operation and output, and the counts.
    Text,
    /// A graph for Graphviz.
    Dot,
    /// The counts alone.
    Count,
}

/// The loss of which level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Side {
    /// F.
    Upper,
    /// f.
    Lower,
}

/// The program of a workload's derivative, as text.
///
/// # Errors
/// If the loss cannot be recorded.
pub fn program(args: &ProgramArgs) -> Result<String, BenchError> {
    let samples = args.samples.map_or(args.workload.samples(), usize::from);
    let numbers = data::draw(args.workload, samples, 0);
    let program = run_on(BackendName::Flex, |device| {
        let built = workloads::build(args.workload, numbers, &device)?;
        let at = Point { x: &built.x, y: &built.y, sample: Sample::default() };
        let level = match args.level {
            Side::Upper => Objective::Upper,
            Side::Lower => Objective::Lower,
        };
        let what = match args.what {
            What::Value => Derivative::Value,
            What::Gradient => Derivative::Gradient,
            What::Product => Derivative::Product,
        };
        let program = built.oracle.program(level, what, at);
        Ok::<_, BenchError>(program.expect("the oracle recorded its losses when it was built"))
    })??;
    Ok(match args.form {
        Form::Text => format!("{program}\n{}\n", counted(&program)),
        Form::Dot => program.dot(),
        Form::Count => format!("{}\n", counted(&program)),
    })
}

fn counted(program: &Program) -> String {
    let count = program.count();
    let (operations, bytes, flops) = (count.operations, count.bytes, count.flops);
    format!(
        "{operations} operations, {bytes} bytes written, {flops} flops in products and convolutions"
    )
}
