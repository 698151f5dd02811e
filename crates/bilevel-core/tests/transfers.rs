//! Transfers between host and device: none within a step. On a GPU every read waits.
//!
//! On ndarray, whose tensors are handled as those of a GPU are: only those of flex are read where they lie.

#![expect(deprecated, reason = "the second backend that runs on any processor")]

#[allow(dead_code, reason = "the properties of other binaries")]
mod common;

use bilevel_core::*;
use bilevel_program::Vector;
use bilevel_program::float::{self, Transfers};
use burn::tensor::Device;

use common::{FEATURES, Fit, PenaltiesOracle, descent, numbers, penalties};

type Method = Box<dyn HypergradientMethod>;

fn device() -> Device {
    Device::ndarray()
}

/// The transfers during `f`.
fn transfers<T>(f: impl FnOnce() -> T) -> (T, Transfers) {
    let before = float::transfers();
    let result = f();
    (result, float::transfers() - before)
}

fn oracle() -> PenaltiesOracle {
    penalties(Fit::Logistic, &device())
}

/// The transfers of a hypergradient.
fn of(mut method: Method) -> Transfers {
    let oracle = oracle();
    let x = oracle.upper_start();
    // Not 0, where f does not depend on x.
    let y = Vector::from_slice(oracle.lower_layout(), &numbers(7, FEATURES), &device());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let (found, transfers) = transfers(|| method.hypergradient(problem, &y).unwrap());
    assert!(found.gradient.norm() > 1e-6, "{}: there is something to compute", method.describe());
    transfers
}

/// Explicit methods and dynamics, with T lower steps, and their transfers, which do not depend on T.
fn along_the_steps(steps: usize) -> Vec<(Transfers, Method)> {
    let gd = || descent(Gd::new(0.5), steps);
    // f at both ends, and whether the last state is finite: this detects a divergence.
    const ENDS: Transfers = Transfers { reads: 3, writes: 0 };
    let (bounds, ball) = (Bounds::new(-0.1, 0.1).unwrap(), Ball::new(1.0).unwrap());
    vec![
        (ENDS, Box::new(Unrolled::rad(gd()))),
        (ENDS, Box::new(Unrolled::rad(gd()).with_plan(Plan::Results(1 << 20)))),
        (ENDS, Box::new(Unrolled::rad(gd()).with_plan(Plan::Sqrt))),
        (ENDS, Box::new(Unrolled::rad(descent(Momentum::new(0.3, 0.5), steps)))),
        (ENDS, Box::new(Unrolled::rad(descent(Nesterov::standard(0.3), steps)))),
        (ENDS, Box::new(Unrolled::rad(descent(Adam::new(0.1), steps)))),
        (ENDS, Box::new(Unrolled::rad(descent(RmsProp::new(0.1), steps)))),
        (
            ENDS,
            Box::new(Unrolled::rad(descent(
                Gd::new(0.5).map(|gd| Projected::new(gd, bounds)),
                steps,
            ))),
        ),
        (
            ENDS,
            Box::new(Unrolled::rad(descent(
                Gd::new(0.5).map(|gd| Projected::new(gd, ball)),
                steps,
            ))),
        ),
        (ENDS, Box::new(Unrolled::trad(gd(), steps - 2).unwrap())),
        (ENDS, Box::new(Unrolled::ia_gm(gd()))),
        (ENDS, Box::new(Maml::new(gd()))),
        (ENDS, Box::new(Fomaml::new(gd()))),
        (ENDS, Box::new(Reptile::new(gd(), 1.0).unwrap())),
        // A number for each of x, which are written as one vector.
        (Transfers { reads: 3 + FEATURES, writes: 1 }, Box::new(Fad::new(gd()))),
        // The upper losses of all steps, in one read; and f where they are greatest.
        (Transfers { reads: 5, writes: 0 }, Box::new(Iaptt::new(gd()))),
    ]
}

#[test]
fn lower_steps_transfer_nothing() {
    for steps in [5, 10] {
        for (expected, method) in along_the_steps(steps) {
            let name = method.describe();
            assert_eq!(of(method), expected, "{name}");
        }
    }
}

/// Linear solvers with k iterations, and the reads of each iteration.
fn solvers(k: usize) -> Vec<(usize, Method)> {
    fn after<S: LinearSolver + 'static>(solver: Result<S, Error>) -> Method {
        Box::new(Implicit::new(descent(Gd::new(0.5), 3), solver.unwrap()))
    }
    // A tolerance that no residual reaches.
    let never = f64::MIN_POSITIVE;
    vec![(2, after(Cg::new(k, never))), (1, after(Neumann::new(0.5, k, never)))]
}

#[test]
fn linear_solvers_read_what_they_decide_by() {
    for ((per_iteration, few), (_, more)) in solvers(2).into_iter().zip(solvers(3)) {
        let name = more.describe();
        let (few, more) = (of(few), of(more));
        assert_eq!(more.reads - few.reads, per_iteration, "{name}");
        assert_eq!((few.writes, more.writes), (0, 0), "{name}");
    }
}

/// Methods that move x and y at once, with so many steps of what they follow.
fn joint(steps: usize) -> Vec<(usize, Box<dyn JointMethod>)> {
    let rates = || Rates::new(0.1, 0.1).unwrap();
    let series = || NeumannSeries::new(0.1, steps).unwrap();
    // Both losses, both directions, and whether x and y are finite: what a solver reports.
    const SEEN: usize = 6;
    vec![
        (SEEN, Box::new(Alternating::new(rates()))),
        (SEEN, Box::new(F2sa::new(rates(), steps, 0.1, 1.0).unwrap())),
        (SEEN, Box::new(VPbgd::new(rates(), steps, 0.1, 1.0).unwrap())),
        (SEEN, Box::new(GPbgd::new(rates(), 1.0).unwrap())),
        (SEEN, Box::new(Meha::new(rates(), 0.1, 2.0, 1.0).unwrap())),
        // The rate at which the gap should decrease, and its reference.
        (SEEN + 4, Box::new(Bome::new(rates(), steps, 0.1).unwrap())),
        (SEEN, Box::new(StocBio::new(rates(), steps, series()).unwrap())),
        (SEEN + 1, Box::new(Amigo::new(rates(), steps, steps).unwrap())),
        (SEEN + 1, Box::new(Soba::new(rates()))),
        (SEEN + 1, Box::new(Saba::new(rates()))),
    ]
}

#[test]
fn upper_steps_read_what_they_report() {
    let oracle = oracle();
    let start = || (oracle.upper_start(), oracle.lower_start());
    for steps in [5, 10] {
        let mut solvers: Vec<(String, usize, Box<dyn Solver + '_>)> = Vec::new();
        for (reads, method) in joint(steps) {
            let ((x, y), name) = (start(), method.describe());
            solvers.push((name, reads, Box::new(JointSolver::new(&oracle, method, x, y).unwrap())));
        }
        let ((x, y), rad) = (start(), Unrolled::rad(descent(Gd::new(0.5), steps)));
        let upper = GradientStep::new(0.1).unwrap();
        // Three of the hypergradient; its loss and norm, and whether x is finite.
        solvers.push((
            rad.describe(),
            6,
            Box::new(HypergradientSolver::new(&oracle, rad, upper, x, y)),
        ));
        for (name, reads, mut solver) in solvers {
            solver.step(0).unwrap();
            let (_, found) = transfers(|| solver.step(1).unwrap());
            assert_eq!(found, Transfers { reads, writes: 0 }, "{name}");
        }
    }
}
