//! The methods of this experiment.

use bilevel_core::{
    Alternating, ApproxGrad, AutodiffOracle, Ball, Bounds, Descent, FullBatch, Gd, GradientStep,
    HypergradientMethod, HypergradientSolver, Implicit, JointSolver, Penalty, PenaltySettings,
    Rates, Schedule, Solver, Start, Unrolled,
};
use clap::ValueEnum;

use super::{PoisonBatch, Poisoning, Settings};
use crate::error::BenchError;
use crate::settings::offered;

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// baseline of untargeted: no poisons
    Clean,
    /// baseline of untargeted: unchanged images with wrong labels
    Flipped,
    /// of clean-label: draws the representation of the poison to the target's
    Collision,
    /// back through all lower steps (reverse mode)
    Rad,
    /// implicit function theorem, by gradient descent on the linear system
    ApproxGrad,
    /// the lower gradient as a penalty, and of clean-label the bound too
    Penalty,
    /// of clean-label: the lower gradient as a penalty, the bound by projection
    PenaltyProjected,
}

offered!(Method, {
    Self::Collision => &["collision-rate"],
    Self::ApproxGrad => &["solver-rate"],
    Self::Penalty | Self::PenaltyProjected => &["gamma", "lambda"],
});

/// The oracle of either attack.
pub(super) type PoisonOracle = AutodiffOracle<Poisoning, FullBatch<PoisonBatch>>;

/// The constraint on poisons.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Allowed {
    /// Every pixel in `[0, 1]`, the bases being black.
    Pixels,
    /// Within this distance of the base.
    Near(f64),
}

/// The tolerance at which the penalty grows.
const TOLERANCE: f64 = 1.0;
/// The factor by which it grows, and the steps of y shrink.
const GROWTH: f64 = 1.01;
/// The factor by which the weight of f decreases.
const FALL: f64 = 0.9;
/// Damping of a singular Hessian: softmax regression has directions that change nothing.
const DAMPING: f64 = 0.01;

/// The method's solver, with step size `rate` for x.
pub(super) fn solver<'a>(
    method: Method,
    oracle: &'a PoisonOracle,
    allowed: Allowed,
    rate: f64,
    settings: &Settings,
) -> Result<Box<dyn Solver + 'a>, BenchError> {
    let (steps, step_size) = (settings.lower.lower_steps.get(), settings.lower.step_size.get());
    let (gamma, solver_rate) = (settings.gamma.get(), settings.solver_rate.get());
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let descent = || Descent::new(Gd::new(step_size)?, steps);
    let rates = Rates::new(rate, step_size)?;
    let hypergradient: Box<dyn HypergradientMethod> = match method {
        Method::Penalty | Method::PenaltyProjected => {
            let lambda = match allowed {
                Allowed::Pixels => 0.0,
                Allowed::Near(_) => settings.lambda.get(),
            };
            // The penalised loss is steeper than f, increasingly so.
            let steepness = 1.0 + gamma + lambda;
            let falling = Schedule::geometric(step_size / steepness, 1.0 / GROWTH);
            let rates = Rates::new(rate, falling)?;
            let settings = PenaltySettings { steps, gamma, tolerance: TOLERANCE };
            let mut penalty = Penalty::new(rates, settings)?.with_factors(GROWTH, 0.9)?;
            // As in the authors' program: without multipliers y itself assigns the target to the base's class, and
            // nothing is left for the poison to do.
            if let Allowed::Near(_) = allowed {
                penalty = penalty.with_multipliers();
                if lambda > 0.0 {
                    penalty = penalty.with_descent(Schedule::geometric(lambda, FALL))?;
                }
            }
            return Ok(match allowed {
                Allowed::Pixels => {
                    let solver = JointSolver::new(oracle, penalty, x, y)?;
                    Box::new(solver.with_projection(Bounds::new(0.0, 1.0)?))
                }
                Allowed::Near(bound) if method == Method::PenaltyProjected => {
                    let solver = JointSolver::new(oracle, penalty, x, y)?;
                    Box::new(solver.with_projection(Ball::new(bound)?))
                }
                // The bound is a constraint of the problem.
                Allowed::Near(_) => Box::new(JointSolver::new(oracle, penalty, x, y)?),
            });
        }
        Method::Collision => {
            // x occurs only in the second term of F, and this method uses only F_x.
            let solver = JointSolver::new(oracle, Alternating::new(rates), x, y)?;
            return Ok(match allowed {
                Allowed::Pixels => Box::new(solver.with_projection(Bounds::new(0.0, 1.0)?)),
                Allowed::Near(bound) => Box::new(solver.with_projection(Ball::new(bound)?)),
            });
        }
        Method::ApproxGrad => {
            let solver = ApproxGrad::adam(solver_rate, steps, 1e-6)?.with_damping(DAMPING)?;
            Box::new(Implicit::new(descent()?, solver).with_warm_start())
        }
        Method::Clean | Method::Flipped | Method::Rad => Box::new(Unrolled::rad(descent()?)),
    };
    let upper = GradientStep::new(rate)?;
    let solver =
        HypergradientSolver::new(oracle, hypergradient, upper, x, y).with_start(Start::Warm)?;
    Ok(match allowed {
        Allowed::Pixels => Box::new(solver.with_projection(Bounds::new(0.0, 1.0)?)),
        Allowed::Near(bound) => Box::new(solver.with_projection(Ball::new(bound)?)),
    })
}
