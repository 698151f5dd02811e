//! Bilevel problems whose answers are known: what a method must reach, and where others must fail; and problems
//! on data.
//!
//! [`claims`] runs what the sources say about methods on them.
//!
//! Each problem with an answer is a file with its formulas, its source and its answer; [`Instance`] is one at a start,
//! with an oracle that any method of [`bilevel_core`] takes.
//!
//! | problem | what it shows | source |
//! |---|---|---|
//! | [`Quadratic`] | everything has a closed form | |
//! | [`BdaCounterexample`] | many lower solutions, the right one found by F alone | BDA, Eq. 5 |
//! | [`IapttNumeric`] | a lower level with many minima, the right one far from the start | IAPTT-GM, Eq. 10 |
//! | [`IaGmConvex`] | the same as `BdaCounterexample` in 50 dimensions, with quartic F | IAPTT-GM, Eq. 13 |
//! | [`PenaltySmooth`] | few lower steps | penalty method, Fig. 1 |
//! | [`PenaltySingular`] | a lower Hessian without an inverse | penalty method, Fig. 2 |
//! | [`NsgameToy`] | a game in place of a bilevel problem, two time scales | NSGame, Eqs. 9 and 10 |
//! | [`Constrained`] | a constraint on either level | |
//! | [`PbgdToy`] | a non-convex lower level, one dimension | V-PBGD, Section 5 |
//!
//! Two problems of the field on data, whose answers are not known; each is a family, one problem a data set:
//!
//! | problem | what it learns | source |
//! |---|---|---|
//! | [`FeaturePenalties`] | one penalty a feature, in a logistic regression | benchmark_bilevel |
//! | [`ClassPenalties`] | one penalty a class, in a softmax regression | benchmark_bilevel |
//!
//! Sources in full: R. Liu et al., "A generic first-order algorithmic framework for bi-level programming
//! beyond lower-level singleton", 2020 (BDA); R. Liu et al., "Towards gradient-based bilevel optimization
//! with non-convex followers and beyond", 2021 (IAPTT-GM); A. Mehra and J. Hamm, "Penalty method for
//! inversion-free deep bilevel optimization", 2021; "Delving into the hierarchical structure for
//! efficient large-scale bi-level learning" (NSGame); H. Shen
//! and T. Chen, "On penalty-based bilevel gradient descent method", 2023 (V-PBGD); M. Dagréou et al., "A framework for
//! bilevel optimization that enables stochastic and global variance reduction algorithms", 2022
//! (benchmark_bilevel).

mod bda;
pub mod claims;
mod class_penalties;
mod constrained;
mod feature_penalties;
mod ia_gm;
mod iaptt;
mod instance;
mod nsgame;
mod pbgd;
mod penalty;
mod quadratic;
mod rows;

pub use bda::BdaCounterexample;
pub use class_penalties::{ClassPenalties, ClassWeights};
pub use constrained::{Constrained, ConstrainedAnswer};
pub use feature_penalties::FeaturePenalties;
pub use ia_gm::IaGmConvex;
pub use iaptt::IapttNumeric;
pub use instance::{Instance, Pair, Values};
pub use nsgame::NsgameToy;
pub use pbgd::PbgdToy;
pub use penalty::{
    Matrix, PenaltyProblem, PenaltySingular, PenaltySmooth, SIZE as PENALTY_SIZE, Variant,
};
pub use quadratic::{Quadratic, QuadraticData, QuadraticProblem, QuadraticTerms};
pub use rows::LabelledRows;
