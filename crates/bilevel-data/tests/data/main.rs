//! The data: sound files are read exactly, unsound ones refused, splits, batches and noise are what they claim.

mod augment;
mod batches;
mod cifar;
mod cures;
mod episodes;
mod idx;
mod libsvm;
mod loader;
mod long_tail;
mod mnist;
mod mutated;
mod mutations;
mod noise;
mod regressions;
mod split;
mod table;
