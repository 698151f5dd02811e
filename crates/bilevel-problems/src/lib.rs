//! Bilevel problems with known solutions, which some methods must reach and others must miss; and problems on
//! data.
//!
//! [`claims`] tests what the sources say about methods on these problems.
//!
//! Each problem with a known solution is a file with its formulas, its source and its solution. [`Instance`]
//! is a problem with a start and an oracle for any method of [`bilevel_core`].
//!
//! | problem | what it shows | source |
//! |---|---|---|
//! | [`Quadratic`] | everything has a closed form | |
//! | [`BdaCounterexample`] | several lower solutions, of which only F selects the right one | BDA, Eq. 5 |
//! | [`IapttNumeric`] | a lower level with many minima, the right one far from the start | IAPTT-GM, Eq. 10 |
//! | [`IaGmConvex`] | the same as `BdaCounterexample` in 50 dimensions, with quartic F | IAPTT-GM, Eq. 13 |
//! | [`PenaltySmooth`] | few lower steps | penalty method, Fig. 1 |
//! | [`PenaltySingular`] | a singular lower Hessian | penalty method, Fig. 2 |
//! | [`NsgameToy`] | a bilevel problem solved as a game, two time scales | NSGame, Eqs. 9 and 10 |
//! | [`ManySolutions`] | the optimistic and the pessimistic form differ | |
//! | [`Constrained`] | a constraint on either level | |
//! | [`Capacities`] | constraints of both levels, at any size | |
//! | [`PbgdToy`] | a non-convex lower level, one dimension | V-PBGD, Section 5 |
//!
//! [`Formulas`] are small problems in text; [`Formulas::known`] has 30 of the literature with known answers.
//!
//! Two problems of the literature on data, with unknown solutions; each is a family with one problem per data
//! set:
//!
//! | problem | what it learns | source |
//! |---|---|---|
//! | [`FeaturePenalties`] | one penalty per feature, in a logistic regression | benchmark_bilevel |
//! | [`ClassPenalties`] | one penalty per class, in a softmax regression | benchmark_bilevel |
//!
//! Full sources: R. Liu et al., "A generic first-order algorithmic framework for bi-level programming beyond
//! lower-level singleton", 2020 (BDA); R. Liu et al., "Towards gradient-based bilevel optimization with
//! non-convex followers and beyond", 2021 (IAPTT-GM); A. Mehra and J. Hamm, "Penalty method for
//! inversion-free deep bilevel optimization", 2021; "Delving into the hierarchical structure for efficient
//! large-scale bi-level learning" (NSGame); H. Shen and T. Chen, "On penalty-based bilevel gradient descent
//! method", 2023 (V-PBGD); M. Dagréou et al., "A framework for bilevel optimization that enables stochastic
//! and global variance reduction algorithms", 2022 (benchmark_bilevel).

mod bda;
mod capacities;
pub mod claims;
mod class_penalties;
mod constrained;
mod feature_penalties;
mod formulas;
mod ia_gm;
mod iaptt;
mod instance;
mod many_solutions;
mod nsgame;
mod pbgd;
mod penalty;
mod quadratic;
mod rows;

pub use bda::BdaCounterexample;
pub use capacities::Capacities;
pub use class_penalties::{ClassPenalties, ClassWeights};
pub use constrained::{Constrained, ConstrainedAnswer};
pub use feature_penalties::FeaturePenalties;
pub use formulas::{FormulaError, Formulas};
pub use ia_gm::IaGmConvex;
pub use iaptt::IapttNumeric;
pub use instance::{Instance, Pair, Values};
pub use many_solutions::ManySolutions;
pub use nsgame::NsgameToy;
pub use pbgd::PbgdToy;
pub use penalty::{
    Matrix, PenaltyProblem, PenaltySingular, PenaltySmooth, Range, SIZE as PENALTY_SIZE, Variant,
};
pub use quadratic::{Quadratic, QuadraticData, QuadraticProblem, QuadraticTerms};
pub use rows::LabelledRows;
