//! The ranks of a run as MPI processes, on one machine or many.
//!
//! `Mpi` is a [`Group`](bilevel_core::Group): each process of `mpirun` or `srun` is a rank, has its own shards of the
//! data behind a [`DataParallel`](bilevel_core::DataParallel), and makes the same steps as all others.
//! `docs/SCALING.md` in the repository says how to start one, and what to expect.
//!
//! The crate is empty without the feature `mpi`, which needs an MPI library with its headers, and libclang; on Debian
//! `libopenmpi-dev openmpi-bin libclang-dev`.
//!
#![cfg_attr(feature = "mpi", doc = "```no_run")]
#![cfg_attr(not(feature = "mpi"), doc = "```ignore")]
//! use bilevel_core::{DataParallel, Executor, Oracle, Solver};
//! use bilevel_mpi::Mpi;
//!
//! # fn own_shards(_: std::ops::Range<usize>) -> Result<Box<dyn Oracle>, bilevel_core::Error> { unimplemented!() }
//! # fn make_solver(_: &dyn Oracle) -> Result<Box<dyn Solver + '_>, bilevel_core::Error> { unimplemented!() }
//! fn run(group: &Mpi) -> Result<(), bilevel_core::Error> {
//!     use bilevel_core::Group;
//!     let inner = own_shards(group.share(8))?;
//!     let oracle = DataParallel::new(inner, group, 8)?;
//!     let mut solver = make_solver(&oracle)?;
//!     Executor::new(100)?.in_group(group).run(solver.as_mut())?;
//!     Ok(())
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let group = match Mpi::start() {
//!         Ok(group) => group,
//!         Err(error) => panic!("{error}"),
//!     };
//!     let code = run(&group).map_or(1, |()| 0);
//!     group.end(code).into()
//! }
//! ```

#[cfg(feature = "mpi")]
mod world;

#[cfg(feature = "mpi")]
pub use world::{Mpi, StartError};

/// Whether this process was started as a rank: by the `mpirun` of Open MPI or MPICH, or by Slurm's `srun` with PMI or PMIx.
pub fn is_launched() -> bool {
    ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"]
        .iter()
        .any(|variable| std::env::var_os(variable).is_some())
}
