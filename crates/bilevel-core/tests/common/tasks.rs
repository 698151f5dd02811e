//! Hypergradients over many tasks, and those of a step of a joint method.

use std::sync::{Arc, Mutex};

use bilevel_core::parallel::{InProcess, Metered};
use bilevel_core::*;
use bilevel_program::Vector;
use burn::tensor::Tensor;

use crate::common::*;
use crate::device;
use crate::parallel::on_ranks;

/// `f = sum exp(x) (y^2/2 + y^4/4) + (sum y)^2 / 2 - c y`, `F = sum (y - c)^2 / 2 + sin(x) y`; every task has another c.
struct Wells;

impl BilevelProblem for Wells {
    type Upper = Values;
    type Lower = Values;
    type Batch = Tensor<1>;

    fn upper_loss(&self, x: &Values, y: &Values, c: &Tensor<1>) -> Tensor<1> {
        let (x, y) = (x.values.val(), y.values.val());
        (y.clone() - c.clone()).powi_scalar(2).sum() / 2 + (x.sin() * y).sum()
    }

    fn lower_loss(&self, x: &Values, y: &Values, c: &Tensor<1>) -> Tensor<1> {
        let (x, y) = (x.values.val(), y.values.val());
        let wells = y.clone().powi_scalar(2) / 2 + y.clone().powi_scalar(4) / 4;
        let coupled = y.clone().sum().powi_scalar(2) / 2;
        (x.exp() * wells).sum() + coupled - (c.clone() * y).sum()
    }
}

/// A list of numbers for each task and level.
struct Drawn;

impl Data<Tensor<1>> for Drawn {
    fn batch(&self, level: Objective, Sample(task): Sample) -> Tensor<1> {
        let level = u64::from(level == Objective::Upper);
        vector(&numbers(20 + 2 * task + level, FEATURES), &device())
    }
}

const Y: [f64; FEATURES] = [0.5, -0.8, 0.3, 1.1, -0.2];
const TASKS: usize = 2;
/// The upper step.
const AT: u64 = 3;

fn oracle() -> AutodiffOracle<Wells, Drawn> {
    let (x, y) = (upper_module(&device()), Values::new(&Y, &device()));
    AutodiffOracle::new(Wells, &x, &y, Drawn).unwrap()
}

fn gd(steps: usize) -> Descent {
    descent(Gd::new(0.12), steps)
}

/// What the gradient of a method is the derivative of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Of {
    /// F after this many steps of gradient descent.
    Steps(usize),
    /// The same from x.
    StepsFromX(usize),
    /// Nothing that is differentiated here.
    Else,
}

type Make = fn() -> Box<dyn HypergradientMethod>;

fn implicit(solver: impl LinearSolver + 'static) -> Box<dyn HypergradientMethod> {
    Box::new(Implicit::new(gd(1600), solver))
}

fn penalty() -> Penalty {
    let settings = PenaltySettings { steps: 4, gamma: 0.5, tolerance: 1e3 };
    Penalty::new(Rates::new(0.1, 0.05).unwrap(), settings).unwrap()
}

/// A new method is one line.
#[rustfmt::skip]
fn methods() -> Vec<(&'static str, Of, Make)> {
    let solved = Of::Steps(1600);
    vec![
        ("rad", Of::Steps(5), || Box::new(Unrolled::rad(gd(5)))),
        ("trad", Of::Steps(5), || Box::new(Unrolled::trad(gd(5), 5).unwrap())),
        ("fad", Of::Steps(5), || Box::new(Fad::new(gd(5)))),
        ("ia-gm", Of::Steps(5), || Box::new(Unrolled::ia_gm(gd(5)))),
        ("iaptt", Of::Else, || Box::new(Iaptt::new(gd(5)))),
        ("one-stage", Of::Steps(1), || Box::new(OneStage::new(Gd::new(0.12).unwrap()))),
        ("bda", Of::Else, || {
            let weight = Weight::Decaying(0.5);
            Box::new(Unrolled::rad(descent(Aggregated::new(0.08, 0.08, weight), 5)))
        }),
        ("maml", Of::StepsFromX(5), || Box::new(Maml::new(gd(5)))),
        ("fomaml", Of::Else, || Box::new(Fomaml::new(gd(5)))),
        ("reptile", Of::Else, || Box::new(Reptile::new(gd(5), 1.0).unwrap())),
        ("cg", solved, || implicit(Cg::new(50, 1e-13).unwrap())),
        ("normal-cg", solved, || implicit(NormalCg::new(50, 1e-12).unwrap())),
        ("gmres", solved, || implicit(Gmres::new(50, 1e-13).unwrap())),
        ("dense", solved, || implicit(Dense::new())),
        ("fixed-point", solved, || Box::new(FixedPoint::new(gd(1600), 1600, 1e-11).unwrap())),
        ("neumann", solved, || implicit(Neumann::new(0.12, 1600, 1e-11).unwrap())),
        ("approx-grad", Of::Else, || implicit(ApproxGrad::gd(0.02, 200, 1e-10).unwrap())),
        ("imaml", Of::Else, || {
            Box::new(Imaml::new(Implicit::new(gd(50), Cg::new(9, 1e-9).unwrap()), 0.5).unwrap())
        }),
        ("penalty", Of::Else, || Box::new(JointStep::new(penalty()))),
    ]
}

fn at(task: u64) -> Samples {
    Samples { upper: Sample(task), lower: Sample(task), index: task }
}

fn on_tasks(oracle: &dyn Oracle, x: &Vector, y: &Vector, make: Make) -> Hypergradient {
    let mut tasks = Tasks::new(TASKS, || Ok(make())).unwrap();
    tasks.hypergradient(LowerProblem::new(oracle, x, at(AT)), y).unwrap()
}

#[test]
fn hypergradients_over_tasks_are_the_means_of_the_tasks_and_of_differences() {
    let oracle = oracle();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let tasks = AT * TASKS as u64..(AT + 1) * TASKS as u64;
    // Neighbours in the table have them in common.
    let mut differences: Option<(Of, Vec<f64>)> = None;
    for (name, of, make) in methods() {
        let all = |found: &Hypergradient| {
            let losses = [found.upper_loss.read(), found.lower_loss];
            [found.gradient.to_vec(), found.lower.to_vec(), losses.to_vec()].concat()
        };
        let whole = on_tasks(&oracle, &x, &y, make);
        let mut sum = [0.0; 2 * FEATURES + 2];
        for task in tasks.clone() {
            let single =
                make().hypergradient(LowerProblem::new(&oracle, &x, at(task)), &y).unwrap();
            sum.iter_mut().zip(all(&single)).for_each(|(sum, value)| *sum += value);
        }
        let mean: Vec<_> = sum.iter().map(|sum| sum / TASKS as f64).collect();
        assert_close(name, &all(&whole), &mean, 1e-12);
        let found = whole.gradient.to_vec();
        let (steps, from_x) = match of {
            Of::Steps(steps) => (steps, false),
            Of::StepsFromX(steps) => (steps, true),
            Of::Else => continue,
        };
        let value = |moved: &[f64]| {
            let moved_x = Vector::from_slice(x.layout(), moved, &x.device());
            let start = Vector::from_slice(y.layout(), moved, &x.device());
            let loss = |task| {
                let stage = LowerProblem::new(&oracle, &moved_x, at(task));
                let end = gd(steps).run(&stage, if from_x { &start } else { &y }).unwrap();
                stage.value(Objective::Upper, &end.state.y).read()
            };
            tasks.clone().map(loss).sum::<f64>() / TASKS as f64
        };
        if differences.as_ref().is_none_or(|(of_before, _)| *of_before != of) {
            differences = Some((of, five_point(&x.to_vec(), value)));
        }
        let (_, expected) = differences.as_ref().unwrap();
        assert_close(name, &found, expected, 1e-8);
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let oracle = oracle();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    for (name, _, make) in methods() {
        let found = [1, 2, 5].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let found = pool.install(|| on_tasks(&oracle, &x, &y, make));
            (found.gradient.to_vec(), found.lower.to_vec(), found.upper_loss.read())
        });
        assert!(found[0] == found[1] && found[0] == found[2], "{name}: {found:?}");
    }
}

/// Two steps of every method on four tasks: x, y, what it has counted, and all that a later step depends on.
#[test]
fn any_number_of_ranks_gives_the_same_bits() {
    for (name, _, make) in methods() {
        let run = |group: Option<InProcess>| {
            let oracle = oracle();
            let (x, y) = (oracle.upper_start(), oracle.lower_start());
            let mut tasks = Tasks::new(4, || Ok(make())).unwrap();
            if let Some(group) = group {
                tasks = tasks.among(group).unwrap();
            }
            let upper = GradientStep::new(0.1).unwrap();
            let mut solver = HypergradientSolver::new(&oracle, tasks, upper, x, y);
            let seen = [0, 1].map(|k| {
                let Observation { upper_loss, lower_loss, gradient_norm, status } =
                    solver.step(k).unwrap();
                ([upper_loss, lower_loss, gradient_norm], status)
            });
            (seen, solver.cost(), solver.save())
        };
        let alone = run(None);
        for size in [1, 2, 4] {
            for (rank, found) in on_ranks(size, |group| run(Some(group))).iter().enumerate() {
                assert_eq!(found, &alone, "{name}: rank {rank} of {size}");
            }
        }
    }
}

#[test]
fn ranks_share_tasks_evenly_and_their_failures() {
    let refused = on_ranks(2, |group| {
        let tasks = Tasks::new(3, || Ok(Unrolled::rad(gd(1)))).unwrap();
        tasks.among(group).unwrap_err().to_string()
    });
    for error in refused {
        assert!(error.starts_with("tasks of a meta-batch is 3 on 2 ranks, expected"), "{error}");
    }
    // The third task of four, with these step sizes and iterations of its linear solver.
    let third = |step_size, iterations| {
        on_ranks(4, |group| {
            let group = Arc::new(Metered::new(group));
            let oracle = oracle();
            let (x, y) = (oracle.upper_start(), oracle.lower_start());
            let mut at_task = 0..4;
            let cg = || {
                let is_third = at_task.next() == Some(2);
                let (size, most) = if is_third { (step_size, iterations) } else { (0.12, 50) };
                Ok(Implicit::new(descent(Gd::new(size), 400), Cg::new(most, 1e-13)?))
            };
            let mut tasks = Tasks::new(4, cg).unwrap().among(group.clone()).unwrap();
            let found = tasks.hypergradient(LowerProblem::new(&oracle, &x, at(0)), &y);
            let traffic = group.traffic();
            // Nobody waits for another.
            let mut one = [1.0];
            group.sum_f64(&mut one).unwrap();
            assert_eq!(one, [4.0]);
            (found.map(|found| found.status), traffic)
        })
    };
    // What ranks tell, in two messages, and the sums: of x, y and the loss.
    for (status, traffic) in third(0.12, 1) {
        let Ok(Status::Implicit { solver, .. }) = status else { panic!("unexpected: {status:?}") };
        assert_eq!(solver, LinearStatus::IterationLimit);
        let numbers = 2 * FEATURES as u64 + 1;
        assert!(traffic.messages == 3 && traffic.numbers > numbers, "{traffic:?}");
    }
    for (rank, (status, traffic)) in third(1e9, 50).into_iter().enumerate() {
        let error = status.unwrap_err().to_string();
        assert!(error.starts_with("on rank 2: the lower level diverged"), "rank {rank}: {error}");
        assert_eq!(traffic.messages, 2);
    }
}

/// Notes the samples that it is asked for.
#[derive(Clone, Debug, Default)]
struct Asked(Arc<Mutex<Vec<Samples>>>);

impl HypergradientMethod for Asked {
    fn name(&self) -> &'static str {
        "asked"
    }

    fn describe(&self) -> String {
        "asked".into()
    }

    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        self.0.lock().unwrap().push(problem.samples);
        FirstOrder::new(gd(1)).run(problem, start)
    }

    fn save(&self, _: &mut Snapshot) {}
}

#[test]
fn every_task_of_every_step_has_samples_and_an_index_of_its_own() {
    let oracle = oracle();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let asked = Asked::default();
    let mut tasks = Tasks::new(3, || Ok(asked.clone())).unwrap();
    for k in 0..4 {
        tasks.hypergradient(LowerProblem::new(&oracle, &x, at(k)), &y).unwrap();
    }
    let mut found = asked.0.lock().unwrap().clone();
    found.sort_by_key(|samples| samples.index);
    assert_eq!(found, (0..12).map(at).collect::<Vec<_>>());
}

#[test]
fn the_status_of_a_meta_batch_is_the_first_that_is_not_ok() {
    let oracle = oracle();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let status = |iterations: [usize; 3]| {
        let mut each = iterations.into_iter();
        let cg = || Ok(Implicit::new(gd(400), Cg::new(each.next().unwrap_or(1), 1e-13)?));
        let mut tasks = Tasks::new(3, cg).unwrap();
        tasks.hypergradient(LowerProblem::new(&oracle, &x, at(0)), &y).unwrap().status
    };
    assert!(status([50; 3]).is_ok(), "{}", status([50; 3]));
    let residual = |status| match status {
        Status::Implicit { solver: LinearStatus::IterationLimit, residual, .. } => residual,
        other => panic!("unexpected: {other}"),
    };
    let [second, both, last] = [[50, 2, 50], [50, 2, 1], [50, 50, 1]].map(|n| residual(status(n)));
    assert_eq!(both, second);
    assert_ne!(both, last);
}

#[test]
fn a_joint_step_is_that_of_the_method() {
    let oracle = oracle();
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let upper = Schedule::power(0.1, 0.5);
    let rates = || Rates::new(upper, Schedule::power(0.05, 0.25)).unwrap();
    let methods: [fn(Rates) -> Box<dyn JointMethod>; 3] = [
        |rates| {
            // Its step sizes count how often its tolerance was met.
            let settings = PenaltySettings { steps: 4, gamma: 0.5, tolerance: 1e3 };
            Box::new(Penalty::new(rates, settings).unwrap())
        },
        |rates| Box::new(VirtualStep::new(rates)),
        |rates| Box::new(Alternating::new(rates)),
    ];
    for make in methods {
        let mut solver = JointSolver::new(&oracle, make(rates()), x.clone(), y.clone()).unwrap();
        let mut step = JointStep::new(make(rates()));
        let (mut x, mut y) = (x.clone(), y.clone());
        for k in 0..3 {
            solver.step(k).unwrap();
            let found = step.hypergradient(LowerProblem::new(&oracle, &x, at(0)), &y).unwrap();
            (x, y) = (x.axpy(-upper.at(k), &found.gradient), found.lower);
            let name = format!("{}, step {k}", step.describe());
            assert_close(&name, &x.to_vec(), &solver.x().to_vec(), 1e-13);
            assert_close(&name, &y.to_vec(), &solver.y().to_vec(), 1e-13);
        }
    }
}

#[test]
fn a_meta_batch_without_tasks_or_whose_methods_go_on_is_refused() {
    let error = Tasks::new(0, || Ok(Unrolled::rad(gd(1)))).unwrap_err().to_string();
    assert!(error.contains("tasks of a meta-batch is 0"), "{error}");
    let error = Tasks::new(2, || Unrolled::rad(gd(2)).keeping(1)).unwrap_err().to_string();
    assert!(error.starts_with("method on tasks is rad("), "{error}");
}
