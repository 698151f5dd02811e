//! The data: valid files are read exactly, invalid ones refused, and splits, batches and noise are as documented.

mod augment;
#[cfg(feature = "tensors")]
mod batches;
mod cifar;
mod cures;
#[cfg(feature = "tensors")]
mod episodes;
mod idx;
mod libsvm;
#[cfg(feature = "tensors")]
mod loader;
mod long_tail;
mod mnist;
mod mutated;
mod mutations;
mod noise;
mod regressions;
mod split;
mod table;
