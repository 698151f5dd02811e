//! Processes started by `mpirun`, as the ranks of one run.
//!
//! A run is divided among them if it has `--shards`; everything else each process does by itself, as always. Every
//! rank does the whole run on its part of the data, or its tasks. Only rank 0 has the folder and its lock, writes the
//! log and results, and shows progress.

#[cfg(feature = "mpi")]
use bilevel_core::parallel::{Metered, Traffic};
use bilevel_core::{Alone, Group};
#[cfg(feature = "mpi")]
use bilevel_mpi::Mpi;

use crate::cli::{Cli, Command};
use crate::error::BenchError;
use crate::report::folder::RunFolder;
use crate::settings::refuse;

/// The ranks of a run, from its start to the end of the process.
#[derive(Debug, Default)]
pub struct Ranks {
    #[cfg(feature = "mpi")]
    mpi: Option<&'static Metered<Mpi>>,
}

impl Ranks {
    /// Joins the other processes if there are any, and the command is a run on divided data.
    ///
    /// # Errors
    /// If this build has no MPI, or it does not start.
    pub fn join(cli: &Cli) -> Result<Self, BenchError> {
        if !bilevel_mpi::is_launched() || !is_divided(cli) {
            return Ok(Self::default());
        }
        Self::start()
    }

    #[cfg(feature = "mpi")]
    fn start() -> Result<Self, BenchError> {
        let mpi = Mpi::start()
            .map_err(|error| refuse("MPI", error, "one that starts", "see docs/SCALING.md"))?;
        // Kept until the end of the process.
        Ok(Self { mpi: Some(Box::leak(Box::new(Metered::new(mpi)))) })
    }

    #[cfg(not(feature = "mpi"))]
    fn start() -> Result<Self, BenchError> {
        let cure =
            "build it with `--features mpi`, or run it without mpirun: all shards in one process";
        Err(refuse("mpirun", "given", "a build with MPI", cure))
    }

    /// The ranks as a group.
    pub fn group(&self) -> &'static dyn Group {
        #[cfg(feature = "mpi")]
        if let Some(mpi) = self.mpi {
            return mpi;
        }
        &Alone
    }

    /// Ends with all others, or ends the others if this rank has failed; returns the exit code.
    pub fn end(&self, code: u8) -> u8 {
        #[cfg(feature = "mpi")]
        if let Some(mpi) = self.mpi {
            let Traffic { messages, numbers, time } = mpi.traffic();
            tracing::debug!(messages, numbers, seconds = time.as_secs_f64(), "through the group");
            return mpi.inner().end(code);
        }
        code
    }
}

/// Whether a command starts a run whose data is divided.
fn is_divided(cli: &Cli) -> bool {
    match &cli.command {
        Some(Command::Run(run)) if !run.args.dry_run => {
            // Errors in settings are reported later.
            let settings = run.settings(run.args.config.as_ref());
            settings.is_ok_and(|settings| settings.table().contains_key(SHARDS))
        }
        // A folder that does not exist here may exist for rank 0.
        Some(Command::Resume(args)) => {
            let settings = RunFolder::open(&args.folder).and_then(|folder| folder.settings());
            settings.map_or(true, |settings: toml::Table| settings.contains_key(SHARDS))
        }
        _ => false,
    }
}

const SHARDS: &str = "shards";
