//! Which method fits a problem, and its settings: chosen from probes on the problem itself.
//!
//! ```text
//! probes at (x, y): curvature, a solved lower level, noise, memory  ->  shape of the lower level
//! shape, methods on offer                                           ->  candidates with their settings
//! a hypergradient of each candidate                                 ->  the one of the fewest oracle calls
//! ```
//!
//! **Probes** ([`Measured`]). [`Lanczos`](crate::linear::Lanczos) finds the extreme eigenvalues of `f_yy`, at the given
//! y and at the end of a descent by [`Lbfgs`], which takes no step size. [`Minres`](crate::Minres) tests whether `F_y`
//! lies in the range of `f_yy` there. If the dimension of y is at most 20, or `f_yy` is singular, the lower level is
//! solved from other starts too. Gradients of several batches give the noise; a [linearisation](crate::Hessian::bytes)
//! and the layout of y give the memory. Constraints are those that the [problem states](BilevelProblem::constraints);
//! proximal maps belong to the steps of a method, and are not seen.
//!
//! **Shape** ([`Shape`]), the first that applies, and the methods that it suggests:
//!
//! | shape | if | methods, in this order |
//! |---|---|---|
//! | [`Shape::Constrained`] | the problem has constraints | `kkt` for those of the lower level alone, otherwise [`solve`](crate::solve) |
//! | [`Shape::Batches`] | the lower data has several batches | `saba` if its memory is allowed, `soba`, `srba`, `stocbio`, `amigo` |
//! | [`Shape::Unsolved`] | the descent did not end at a minimum, or `f_yy` is indefinite at its end | `trad` or `rad`, `iaptt` |
//! | [`Shape::ManySolutions`] | `f_yy` is singular and part of `F_y` outside its range | `bda`; first `ia-gm` with a learned start where F is much steeper than f; `f2sa` |
//! | [`Shape::ManyMinima`] | another start led to another minimum | `iaptt`, `ia-gm` with a learned start, `rad` |
//! | [`Shape::Convex`] | none of these | `cg`, `newton`, `lbfgs`, `fixed-point`, `rad`, whichever is cheapest |
//!
//! **Settings.**
//!
//! * The step size of y, with the [bound](crate::linear::Spectrum::above) L of Lanczos' method: `2 / (L + mu)` where f
//!   appears quadratic, its curvature being the same at both ends, `1 / L` where mu is not known or on batches,
//!   `1 / 2 L` elsewhere; where y is the result of T steps, the first of `1 / L`, `1 / 2 L` and so on whose steps
//!   decrease f.
//! * T contracts the distance from y* to a tenth where the lower level starts warm, to a hundredth where it does not,
//!   by the smallest curvature above 0; where y is the result of T steps, it is the T after which F hardly decreases
//!   any more.
//! * A [plan](crate::Plan) keeps the states of `rad` within the memory of the request.
//! * There is a damping where `f_yy` is singular up to rounding.
//! * The first step of x is `1 / L_F`, by a power iteration on differences of hypergradients; methods that move x and y
//!   together take a shorter one, so that y follows x. An [`AdaptiveStep`](crate::AdaptiveStep) finds the next ones.
//!
//! **Trials.** The candidates for a convex lower level differ in how they solve it, and to which tolerance. Each
//! computes the hypergradient at a nearby x; among those within 2 % of an accurate one, the one with the fewest oracle
//! calls is chosen. If there is none, the lower level counts as unsolved. There `trad` goes back through the fewest of
//! the T steps that keep its hypergradient within 10 % of that of `rad`.
//!
//! The choice depends on the losses, the data, the start and the seed. Times are reported but do not affect it.

mod candidates;
mod choose;
mod measure;
mod suggestion;

pub use measure::{Measured, Shape};
pub use suggestion::{Choice, Suggestion, Tried};

use bilevel_program::Vector;

#[cfg(doc)]
use crate::Lbfgs;
use crate::catalogue;
use crate::{AutodiffOracle, BilevelProblem, Data, Error, Oracle, Start};
use choose::choose;
use measure::{Probe, measure};

/// The request: [`Request::default`] allows everything in the catalogue.
#[derive(Clone, Debug)]
pub struct Request {
    /// The methods to choose from, by their names in the [catalogue]; if none, all that need nothing but two losses.
    pub methods: Option<Vec<&'static str>>,
    /// Where the lower level starts at each upper step.
    pub start: Start,
    /// The memory in bytes allowed for the states of a method.
    pub memory: usize,
    /// The seed of random numbers.
    pub seed: u64,
}

impl Default for Request {
    /// All methods, a warm start, 1 GiB, seed 0.
    fn default() -> Self {
        Self { methods: None, start: Start::Warm, memory: 1 << 30, seed: 0 }
    }
}

impl Request {
    /// Whether a method may be chosen.
    fn offers(&self, entry: &catalogue::Entry) -> bool {
        match &self.methods {
            Some(names) => names.contains(&entry.name),
            None => entry.needs == catalogue::Needs::Nothing,
        }
    }
}

/// The method that fits `problem` from the modules x and y on `data`, with its settings, and why.
///
/// Cost: several hundred oracle calls, [counted](Measured::cost).
///
/// # Errors
/// If a loss cannot be recorded or differentiated, the lower loss or its derivatives are not finite at the start, or no
/// method of the request fits.
///
/// ```
/// use bilevel_core::*;
/// # use burn::module::Param;
/// # use burn::tensor::Tensor;
/// # struct Penalty;
/// # impl BilevelProblem for Penalty {
/// #     type Upper = Param<Tensor<1>>;
/// #     type Lower = Param<Tensor<1>>;
/// #     type Batch = Tensor<1>;
/// #     fn upper_loss(&self, _: &Self::Upper, y: &Self::Lower, c: &Tensor<1>) -> Tensor<1> {
/// #         (y.val() - c.clone()).powi_scalar(2)
/// #     }
/// #     fn lower_loss(&self, x: &Self::Upper, y: &Self::Lower, c: &Tensor<1>) -> Tensor<1> {
/// #         (y.val() - c.clone()).powi_scalar(2) + x.val().exp() * y.val().powi_scalar(2)
/// #     }
/// # }
/// # fn main() -> Result<(), Error> {
/// # let device = Default::default();
/// # let (x, y) = (Param::from_data([0.0], &device), Param::from_data([0.0], &device));
/// # let target = |value: f32| Tensor::from_data([value], &device);
/// # let data = FullBatch { upper: target(1.0), lower: target(3.0) };
/// let suggestion = suggest(Penalty, &x, &y, &data, &Request::default())?;
/// println!("{suggestion}");
///
/// let oracle = AutodiffOracle::new(Penalty, &x, &y, &data)?;
/// let mut solver = suggestion.solver(&oracle, oracle.upper_start(), oracle.lower_start())?;
/// Executor::new(40)?.run(solver.as_mut())?;
/// // y*(x) = 3 / (1 + exp(x)), which is 1 at exp(x) = 2.
/// assert!((solver.x().to_vec()[0].exp() - 2.0).abs() < 0.01);
/// # Ok(())
/// # }
/// ```
pub fn suggest<P: BilevelProblem, D: Data<P::Batch>>(
    problem: P,
    x: &P::Upper,
    y: &P::Lower,
    data: D,
    request: &Request,
) -> Result<Suggestion, Error> {
    let oracle = AutodiffOracle::new(&problem, x, y, &data)?;
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    suggest_on(&oracle, &x, &y, request)
}

/// [`suggest`] for an oracle, at x and y.
///
/// # Errors
/// As there.
pub fn suggest_on(
    oracle: &dyn Oracle,
    x: &Vector,
    y: &Vector,
    request: &Request,
) -> Result<Suggestion, Error> {
    let probe = Probe::new(oracle, (x, y), request);
    choose(&probe, measure(&probe)?)
}
