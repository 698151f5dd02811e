//! Every method by name: what it does, what it costs, which settings it reads, and how it is made.
//!
//! The command line, the generated tables of `docs/METHODS.md` and the tests read this catalogue, so that a new
//! method is one file and one entry here.
//!
//! ```
//! use bilevel_core::catalogue::{self, At, Made, Settings};
//! # use bilevel_core::*;
//! # use burn::module::Param;
//! # use burn::tensor::Tensor;
//! # struct Penalty;
//! # impl BilevelProblem for Penalty {
//! #     type Upper = Param<Tensor<1>>;
//! #     type Lower = Param<Tensor<1>>;
//! #     type Batch = Tensor<1>;
//! #     fn upper_loss(&self, _: &Self::Upper, y: &Self::Lower, c: &Tensor<1>) -> Tensor<1> {
//! #         (y.val() - c.clone()).powi_scalar(2)
//! #     }
//! #     fn lower_loss(&self, x: &Self::Upper, y: &Self::Lower, c: &Tensor<1>) -> Tensor<1> {
//! #         (y.val() - c.clone()).powi_scalar(2) + x.val().exp() * y.val().powi_scalar(2)
//! #     }
//! # }
//! # fn main() -> Result<(), Error> {
//! # let device = Default::default();
//! # let (x, y) = (Param::from_data([0.0], &device), Param::from_data([0.0], &device));
//! # let target = |value: f32| Tensor::from_data([value], &device);
//! # let data = FullBatch { upper: target(1.0), lower: target(3.0) };
//! # let oracle = AutodiffOracle::new(Penalty, &x, &y, data)?;
//! let (x, y) = (oracle.upper_start(), oracle.lower_start());
//! let settings = Settings { lower_steps: 50, solver_iterations: 20, ..Settings::default() };
//! let entry = catalogue::find("cg").expect("it is in the catalogue");
//! if let Made::Hypergradient(mut method) = entry.make(&settings, &At { x: &x, y: &y, seed: 0 })? {
//!     let found = method.hypergradient(LowerProblem::new(&oracle, &x, Samples::default()), &y)?;
//!     assert!(found.status.is_ok());
//! }
//! # Ok(())
//! # }
//! ```

mod hypergradient;
mod joint;
mod proxy;
mod settings;
mod stochastic;

pub use settings::{LowerDynamics, Settings};

use bilevel_program::Vector;

use crate::{Error, HypergradientMethod, JointMethod, Objective, Oracle, Sample};

/// A kind of method, named as the folder that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// A gradient of `F(x, y*(x))`, along which a step of the user's choice moves x.
    Hypergradient,
    /// Moves x and y together: penalties, value functions, games.
    Joint,
    /// Moves x and y together on batches.
    Stochastic,
    /// Learns the response `y*(x)`.
    Proxy,
}

impl Family {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Hypergradient, Self::Joint, Self::Stochastic, Self::Proxy];

    /// The name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hypergradient => "hypergradient",
            Self::Joint => "joint",
            Self::Stochastic => "stochastic",
            Self::Proxy => "proxy",
        }
    }

    /// Whether its methods see one batch at each call, instead of the whole data.
    pub fn on_batches(self) -> bool {
        self == Self::Stochastic
    }
}

/// Oracle calls of one hypergradient, or of one step of a method that moves x and y together. T is the number of lower
/// steps, k the number of iterations of a solver, n the dimension of x, m that of y.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    /// Gradients of f.
    pub lower_gradients: &'static str,
    /// Hessian-vector and mixed products of f.
    pub lower_products: &'static str,
    /// Gradients of F.
    pub upper_gradients: &'static str,
    /// Values, gradients and products of the constraints, if it handles any.
    pub constraints: &'static str,
}

/// What a method requires of the problem beyond two losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: any problem works.
    Nothing,
    /// x, or a part of it, has the shape of y: x is where the lower level starts.
    StartInX,
}

/// What a gradient is exact for, up to rounding and the tolerance of a solver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exact {
    /// T steps of gradient descent.
    LowerSteps,
    /// A lower level that is solved.
    SolvedLowerLevel,
    /// Something else, in words.
    Other(&'static str),
}

impl Exact {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LowerSteps => "T lower steps",
            Self::SolvedLowerLevel => "a solved lower level",
            Self::Other(words) => words,
        }
    }
}

/// A method.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Its aliases.
    pub aliases: &'static [&'static str],
    /// Its kind.
    pub family: Family,
    /// What it does, in a line.
    pub summary: &'static str,
    /// What its gradient is exact for.
    pub exact: Exact,
    /// What it costs.
    pub calls: Calls,
    /// The memory it needs besides x and y.
    pub memory: &'static str,
    /// What it requires of the problem.
    pub needs: Needs,
    /// The levels whose [constraints](crate::BilevelProblem::constraints) it handles. For those of other levels it
    /// needs a [`BarrierOracle`](crate::BarrierOracle).
    pub constraints: &'static [Objective],
    /// The settings that it reads, by their names in [`Settings`].
    pub reads: &'static [&'static str],
    make: Make,
}

/// Makes a method.
type Make = fn(&Settings, &At<'_>) -> Result<Made, Error>;

/// Where x and y start, for methods that are built to their shapes, and the seed of random numbers.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// x
    pub x: &'a Vector,
    /// y
    pub y: &'a Vector,
    /// The seed.
    pub seed: u64,
}

/// A method, constructed.
pub enum Made {
    /// For a [`HypergradientSolver`](crate::HypergradientSolver).
    Hypergradient(Box<dyn HypergradientMethod>),
    /// For a [`JointSolver`](crate::JointSolver).
    Joint(Box<dyn JointMethod>),
}

impl Entry {
    /// The method with these settings.
    ///
    /// # Errors
    /// If a setting is outside its range.
    pub fn make(&self, settings: &Settings, at: &At<'_>) -> Result<Made, Error> {
        (self.make)(settings, at)
    }

    /// The levels whose constraints it ignores, and how many they have.
    pub fn ignored(&self, oracle: &dyn Oracle) -> Vec<(Objective, usize)> {
        let levels = [Objective::Upper, Objective::Lower].into_iter();
        let ignored =
            levels.filter(|level| !self.constraints.contains(level)).filter_map(|level| {
                Some((level, oracle.constraints(level, Sample::default())?.count()))
            });
        ignored.collect()
    }

    /// Whether `name` is its name or an alias, ignoring case.
    pub fn is_called(&self, name: &str) -> bool {
        let names = self.aliases.iter().chain([&self.name]);
        names.into_iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// All methods, by family.
pub fn all() -> impl Iterator<Item = &'static Entry> {
    hypergradient::METHODS
        .iter()
        .chain(joint::METHODS)
        .chain(stochastic::METHODS)
        .chain(proxy::METHODS)
}

/// The method with this name or alias.
pub fn find(name: &str) -> Option<&'static Entry> {
    all().find(|entry| entry.is_called(name))
}

fn along(method: impl HypergradientMethod + 'static) -> Result<Made, Error> {
    Ok(Made::Hypergradient(Box::new(method)))
}

fn joint(method: impl JointMethod + 'static) -> Result<Made, Error> {
    Ok(Made::Joint(Box::new(method)))
}
