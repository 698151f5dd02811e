//! A run is stationary only where f is minimal and the constraints hold, whatever the method. A new method needs no
//! line here.

use bilevel_core::catalogue::{self, At, Entry, Exact, Made, Settings};
use bilevel_core::*;
use bilevel_program::Vector;
use burn::tensor::Tensor;

use crate::common::Values;
use crate::device;

/// `F = norm(x)^2 / 2`, `f = norm(y - 1)^2 / 2`: at x = 0 F is stationary whatever y is.
struct Apart {
    /// Whether there is a constraint of y that cannot hold, and whose gradient is 0.
    never: bool,
}

impl BilevelProblem for Apart {
    type Upper = Values;
    type Lower = Values;
    type Batch = ();

    fn upper_loss(&self, x: &Values, _: &Values, (): &()) -> Tensor<1> {
        x.values.val().powi_scalar(2).sum() * 0.5
    }

    fn lower_loss(&self, _: &Values, y: &Values, (): &()) -> Tensor<1> {
        (y.values.val() - 1.0).powi_scalar(2).sum() * 0.5
    }

    fn constraints(&self, level: Objective, _: &Values, y: &Values, (): &()) -> Conditions {
        match level {
            Objective::Lower if self.never => {
                Conditions::at_most_zero(y.values.val().sum() * 0.0 + 1.0)
            }
            _ => Conditions::default(),
        }
    }
}

const TOLERANCE: f64 = 1e-4;

type Apartness = AutodiffOracle<Apart, FullBatch<()>>;

fn apart(never: bool) -> Apartness {
    let [x, y] = [(); 2].map(|()| Values::new(&[0.0; 3], &device()));
    let data = FullBatch { upper: (), lower: () };
    AutodiffOracle::new(Apart { never }, &x, &y, data).unwrap()
}

fn along<'a>(
    oracle: &'a Apartness,
    method: impl HypergradientMethod + 'static,
) -> HypergradientSolver<'a> {
    let upper = GradientStep::new(0.1).unwrap();
    HypergradientSolver::new(oracle, method, upper, oracle.upper_start(), oracle.lower_start())
}

fn end(solver: &mut dyn Solver, steps: usize) -> Ending {
    let executor = Executor::new(steps).unwrap().with_tolerance(TOLERANCE).unwrap();
    executor.run(solver).unwrap().ending
}

/// How a run by a method ends, and the distance of y from 1 there.
fn run(entry: &Entry, settings: &Settings, never: bool) -> (Ending, f64) {
    let oracle = apart(never);
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let (mut solver, steps): (Box<dyn Solver>, _) =
        match entry.make(settings, &At { x: &x, y: &y, seed: 0 }).unwrap() {
            Made::Hypergradient(method) => (Box::new(along(&oracle, method)), 4),
            Made::Joint(method) => (Box::new(JointSolver::new(&oracle, method, x, y).unwrap()), 40),
        };
    let ending = end(solver.as_mut(), steps);
    let distance = solver.y().to_vec().iter().map(|y| (y - 1.0).powi(2)).sum::<f64>().sqrt();
    (ending, distance)
}

#[test]
fn no_run_is_stationary_where_the_lower_level_is_not_solved() {
    // Few short lower steps, and as many as necessary.
    let few = Settings { lower_steps: 2, step_size: 0.05, ..Settings::default() };
    let many = Settings { lower_steps: 200, step_size: 0.5, tolerance: 1e-8, ..few.clone() };
    for entry in catalogue::all() {
        for settings in [&few, &many] {
            let (ending, distance) = run(entry, settings, false);
            // `imaml` has its own lower loss.
            let solved = distance <= TOLERANCE || entry.name == "imaml";
            assert!(ending != Ending::Stationary || solved, "{}: y off by {distance}", entry.name);
            let exact = matches!(entry.exact, Exact::LowerSteps | Exact::SolvedLowerLevel);
            if exact && settings == &many {
                assert_eq!(ending, Ending::Stationary, "{}: y off by {distance}", entry.name);
            }
        }
    }
}

/// y is kept below 1/2, where f is least with `f_y = -1/2`; or pulled to 0.
#[test]
fn sets_and_penalties_are_part_of_the_lower_level() {
    let gd = || Gd::new(0.2).unwrap();
    let heavy = || Momentum::new(0.1, 0.5).unwrap();
    let set = || Bounds::new(-1.0, 0.5).unwrap();
    let threshold = || SoftThreshold::new(0.05).unwrap();
    let falling = Schedule::milestones(0.4, 0.5, [10, 30]);
    let shared = Aggregated::new(0.3, 0.5, Weight::Constant(0.2)).unwrap();
    // With y at rest and what must vanish there at y = 0.2: `y - 1 + w y + l` with the decay w and the penalty l.
    let dynamics: [(Box<dyn Dynamics>, f64, f64); 11] = [
        (Box::new(Projected::new(gd(), set())), 0.5, -0.8),
        (Box::new(Projected::new(heavy(), set())), 0.5, -0.8),
        (Box::new(WeightDecay::new(gd(), 0.5).unwrap()), 1.0 / 1.5, -0.7),
        (Box::new(WeightDecay::new(gd(), 0.1).unwrap().decoupled()), 1.0 / 1.5, -0.7),
        (Box::new(Projected::new(WeightDecay::new(gd(), 0.5).unwrap(), set())), 0.5, -0.7),
        (Box::new(WeightDecay::new(Projected::new(gd(), set()), 0.5).unwrap()), 0.5, -0.7),
        (Box::new(Projected::new(gd(), threshold())), 0.75, -0.55),
        // A velocity is twice as long at rest as from rest.
        (Box::new(Projected::new(heavy(), threshold())), 0.75, -0.55),
        (Box::new(WeightDecay::new(heavy(), 0.1).unwrap().decoupled()), 1.0 / 1.5, -0.7),
        // The last step is of length 0.1, and the last share of f 0.4.
        {
            let steps = Gd::new(falling).unwrap();
            (Box::new(WeightDecay::new(steps, 0.05).unwrap().decoupled()), 1.0 / 1.5, -0.7)
        },
        (Box::new(WeightDecay::new(shared, 0.2).unwrap()), 1.0 / 1.5, -0.7),
    ];
    for (dynamics, rest, slope) in dynamics {
        let name = dynamics.describe();
        let oracle = apart(false);
        let descent = Descent::new(dynamics, 100).unwrap();
        let after = |steps| Descent::new(gd(), steps).unwrap();
        assert_eq!(
            end(&mut along(&oracle, Unrolled::rad(descent.clone())), 2),
            Ending::Stationary,
            "{name}"
        );
        let residual = |descent: Descent, y: f64| {
            let y = Vector::from_slice(oracle.lower_layout(), &[y; 3], &device());
            let x = oracle.upper_start();
            let problem = LowerProblem::new(&oracle, &x, Samples::default());
            Unrolled::rad(descent).residual(problem, &y).stationarity / 3.0_f64.sqrt()
        };
        // Where the steps are free they use the slope of what is descended.
        assert!((residual(after(1), 0.2) - 0.8).abs() < 1e-12);
        for (y, expected) in [(rest, 0.0), (0.2, -slope)] {
            let found = residual(descent.clone(), y);
            assert!((found - expected).abs() < 1e-12, "{name} at {y}: {found}");
        }
    }
}

#[test]
fn no_run_is_stationary_where_a_constraint_is_violated() {
    let settings = Settings { lower_steps: 50, step_size: 0.5, ..Settings::default() };
    for entry in catalogue::all() {
        let (ending, _) = run(entry, &settings, true);
        assert_ne!(ending, Ending::Stationary, "{}", entry.name);
    }
}
