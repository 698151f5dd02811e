//! The data: sound files are read exactly, unsound ones refused, splits and noise are what they claim.

mod idx;
mod mnist;
mod noise;
mod split;
