//! Claims on `penalty-smooth` and `penalty-singular`: penalty method, Figs. 1 and 2, without the penalty
//! method itself.

use bilevel_core::*;
use burn::tensor::backend::Backend;

use super::{Claim, Figure, Findings, Run, Trial};
use crate::{Instance, PENALTY_SIZE, PenaltySingular, PenaltySmooth, Variant};

/// The trials of the source.
const TRIALS: usize = 20;
/// The source does not give its steps.
const LOWER_STEP: f64 = 0.1;
const UPPER_STEP: f64 = 0.02;
const STEPS: usize = 400;
/// The squared distance from an answer at which a run has converged.
const CLOSE: f64 = 1e-3;

/// The mean over all trials, side by side in one run.
fn mean<B: Backend>(
    instance: Result<Instance<B>, Error>,
    method: Result<Box<dyn HypergradientMethod<B>>, Error>,
    distance: impl Fn(u64, &[f64], &[f64]) -> f64,
) -> Result<Run, Error> {
    Trial::new(instance?, method?, UPPER_STEP).run(STEPS, |u, v| {
        let pairs = u.chunks(PENALTY_SIZE).zip(v.chunks(PENALTY_SIZE)).zip(0..);
        pairs.map(|((u, v), trial)| distance(trial, u, v)).sum::<f64>() / TRIALS as f64
    })
}

fn last(run: &Run) -> f64 {
    run.measured.last().copied().unwrap_or(f64::NAN)
}

fn rmd<B: Backend>(steps: usize) -> Result<Box<dyn HypergradientMethod<B>>, Error> {
    Ok(Box::new(Rad::new(Descent::new(Gd::new(LOWER_STEP)?, steps)?)))
}

/// As many steps for the linear system as for the lower level, from q = 0.
fn approx_grad<B: Backend>(steps: usize) -> Result<Box<dyn HypergradientMethod<B>>, Error> {
    Ok(Box::new(approx(steps)?))
}

/// The same from the q of the upper step before, which the source does not do.
fn warm_approx_grad<B: Backend>(steps: usize) -> Result<Box<dyn HypergradientMethod<B>>, Error> {
    Ok(Box::new(approx(steps)?.with_warm_start()))
}

fn approx<B: Backend>(steps: usize) -> Result<Implicit<B>, Error> {
    let solver = ApproxGrad::gd(LOWER_STEP, steps, 1e-12)?;
    Ok(Implicit::new(Descent::new(Gd::new(LOWER_STEP)?, steps)?, solver))
}

pub(super) fn findings<B: Backend>(device: &B::Device) -> Result<Findings, Error> {
    let mut found = Findings::default();
    for variant in [Variant::A, Variant::B] {
        let name = if variant == Variant::A { "a" } else { "b" };
        let mut curves = Vec::new();
        for steps in [1, 5, 10] {
            let smooth = PenaltySmooth(variant);
            let instance = || smooth.at::<B>(TRIALS, device);
            let far = |_, u: &[f64], v: &[f64]| smooth.distance(u, v);
            let rmd = mean(instance(), rmd(steps), far)?;
            let approx = mean(instance(), approx_grad(steps), far)?;
            found.claims.push(Claim {
                problem: "penalty-smooth",
                method: format!("rmd, ({name}), T = {steps}"),
                says: "not at the answer for T <= 10",
                sees: format!("squared distance {:.1e}", last(&rmd)),
                holds: last(&rmd) > CLOSE,
            });
            found.claims.push(Claim {
                problem: "penalty-smooth",
                method: format!("approx-grad, ({name}), T = {steps}"),
                says: if steps < 10 { "needs T >= 10" } else { "converges" },
                sees: format!("squared distance {:.1e}", last(&approx)),
                holds: (last(&approx) <= CLOSE) == (steps >= 10),
            });
            curves.push(rmd.curve(format!("rmd, T = {steps}")));
            curves.push(approx.curve(format!("approx-grad, T = {steps}")));
        }
        let smooth = PenaltySmooth(variant);
        let far = |_, u: &[f64], v: &[f64]| smooth.distance(u, v);
        let warm = mean(smooth.at::<B>(TRIALS, device), warm_approx_grad(1), far)?;
        found.claims.push(Claim {
            problem: "penalty-smooth",
            method: format!("approx-grad with a warm q, ({name}), T = 1"),
            says: "needs T >= 10, q not warm",
            sees: format!("squared distance {:.1e}", last(&warm)),
            holds: last(&warm) > CLOSE,
        });
        curves.push(warm.curve("approx-grad, warm q, T = 1"));
        found.figures.push(figure(format!("penalty-smooth-{name}"), curves));

        let singular = PenaltySingular(variant);
        let instance = || singular.at::<B>(TRIALS, device);
        let far = |trial, u: &[f64], v: &[f64]| singular.distance(trial, u, v);
        let mut curves = Vec::new();
        for (method, run) in [
            ("rmd", mean(instance(), rmd(10), far)?),
            ("approx-grad", mean(instance(), approx_grad(10), far)?),
        ] {
            found.claims.push(Claim {
                problem: "penalty-singular",
                method: format!("{method}, ({name}), T = 10"),
                says: "does not converge",
                sees: format!("squared distance {:.1e}", last(&run)),
                holds: last(&run) > CLOSE,
            });
            curves.push(run.curve(method));
        }
        found.figures.push(figure(format!("penalty-singular-{name}"), curves));
    }
    Ok(found)
}

fn figure(name: String, curves: Vec<super::Curve>) -> Figure {
    Figure {
        title: format!("{name}: mean of {TRIALS} trials"),
        name,
        quantity: "squared distance from the nearest answer",
        curves,
    }
}
