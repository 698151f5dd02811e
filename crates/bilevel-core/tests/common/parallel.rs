//! Data that is divided among ranks: every method of the catalogue takes the same steps, bit for bit, on any number of
//! ranks, and up to rounding those of one process; on the device of the binary that includes this file.

use std::ops::ControlFlow;
use std::time::Duration;

use bilevel_core::catalogue::{self, At, Made, Settings};
use bilevel_core::parallel::{Metered, Traffic};
use bilevel_core::*;
use bilevel_program::Vector;
use burn::tensor::{DType, TensorData};

use crate::common::*;
use crate::device;

const SHARDS: usize = 4;
/// How many batches each level has; a method that goes by the number of the step shows it in two steps.
const BATCHES: usize = 2;
const STEPS: usize = 3;
const FIT: Fit = Fit::Logistic;

/// The points of a level, cut in `of` equal parts: those at `at`.
fn part(objective: Objective, at: usize, of: usize) -> Points {
    let Points { inputs, targets } = batch(FIT, objective, &device());
    let size = targets.dims()[0] / of;
    assert_eq!(size * of, targets.dims()[0]);
    let rows = at * size..(at + 1) * size;
    Points { inputs: inputs.slice(rows.clone()), targets: targets.slice(rows) }
}

type Inner = AutodiffOracle<Penalties, Batches<Points>>;

fn oracle_of(parts: impl Fn(Objective) -> Vec<Points>) -> Inner {
    let data = Batches::new(parts(Objective::Upper), parts(Objective::Lower)).unwrap();
    let (x, w) = (upper_module(&device()), Values::new(&[0.0; FEATURES], &device()));
    AutodiffOracle::new(Penalties { fit: FIT }, &x, &w, data).unwrap()
}

/// The whole data in one process.
fn whole(batches: usize) -> Inner {
    oracle_of(|objective| (0..batches).map(|at| part(objective, at, batches)).collect())
}

type Rank = DataParallel<Inner, Metered<InProcess>>;

/// The share of one rank.
fn rank(group: InProcess, batches: usize) -> Rank {
    let own = group.share(SHARDS);
    let inner = oracle_of(|objective| {
        let shards = |batch| own.clone().map(move |shard| batch * SHARDS + shard);
        let parts = (0..batches).flat_map(shards);
        parts.map(|at| part(objective, at, batches * SHARDS)).collect()
    });
    DataParallel::new(inner, Metered::new(group), SHARDS).unwrap()
}

/// The results of `run` on each of `size` ranks.
pub fn on_ranks<T: Send>(size: usize, run: impl Fn(InProcess) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let ranks = InProcess::ranks(size).into_iter();
        let ranks: Vec<_> = ranks.map(|group| scope.spawn(|| run(group))).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

fn solver<'a>(made: Made, oracle: &'a dyn Oracle, [x, y]: [Vector; 2]) -> Box<dyn Solver + 'a> {
    match made {
        Made::Hypergradient(method) => {
            let upper = GradientStep::new(0.3).unwrap();
            Box::new(HypergradientSolver::new(oracle, method, upper, x, y))
        }
        Made::Joint(method) => {
            let sampler = Sampler::with_replacement(BATCHES, BATCHES, 3).unwrap();
            Box::new(JointSolver::new(oracle, method, x, y).unwrap().with_sampler(sampler))
        }
    }
}

type Point = [Vec<TensorData>; 2];

/// x and y after some steps of every method, by its name.
fn all_methods(oracle: &dyn Oracle, start: [Vector; 2]) -> Vec<(&'static str, Point, Cost)> {
    let settings = Settings { lower_steps: 4, solver_iterations: 3, ..Settings::default() };
    let made = catalogue::all().map(|entry| {
        let [x, y] = &start;
        (entry.name, entry.make(&settings, &At { x, y, seed: 5 }).unwrap())
    });
    let tasks = Tasks::new(3, || Ok(Unrolled::rad(descent(Gd::new(0.3), 2)))).unwrap();
    let steps =
        made.chain([("tasks", Made::Hypergradient(Box::new(tasks)))]).map(|(name, made)| {
            let mut solver = solver(made, oracle, start.clone());
            for k in 0..STEPS {
                solver.step(k).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
            (name, [solver.x().to_data(), solver.y().to_data()], solver.cost())
        });
    steps.collect()
}

fn start(oracle: &Inner) -> [Vector; 2] {
    [oracle.upper_start(), oracle.lower_start()]
}

/// Relative differences due to rounding: of sums in another order, amplified by some steps.
fn rounding(oracle: &dyn Oracle) -> f64 {
    match oracle.lower_layout().leaves()[0].dtype {
        DType::F64 => 1e-12,
        _ => 1e-4,
    }
}

#[test]
fn every_method_takes_the_same_steps_on_any_number_of_ranks() {
    let run = |group| {
        let oracle = rank(group, BATCHES);
        all_methods(&oracle, start(&oracle))
    };
    let alone = on_ranks(1, run).remove(0);
    for size in [2, 4] {
        for (rank, found) in on_ranks(size, run).into_iter().enumerate() {
            for (found, expected) in found.iter().zip(&alone) {
                assert_eq!(found, expected, "rank {rank} of {size}");
            }
        }
    }
    let whole = whole(BATCHES);
    let tolerance = rounding(&whole);
    for (found, expected) in alone.iter().zip(all_methods(&whole, start(&whole))) {
        let (name, expected, cost) = expected;
        assert_eq!((found.0, found.2), (name, cost), "calls are of the whole data");
        for (found, expected) in found.1.iter().zip(&expected) {
            let list = |data: &[TensorData]| -> Vec<f64> {
                data.iter().flat_map(|data| data.iter::<f64>().collect::<Vec<_>>()).collect()
            };
            assert_close(name, &list(found), &list(expected), tolerance);
        }
    }
}

/// Of one hypergradient, or one step of a joint method.
fn traffic(method: impl Fn() -> Made + Sync) -> Traffic {
    let ranks = on_ranks(2, |group| {
        let oracle = rank(group, BATCHES);
        let mut solver = solver(method(), &oracle, start(&oracle));
        solver.step(0).unwrap();
        let before = oracle.group().traffic();
        solver.step(1).unwrap();
        Traffic { time: Duration::ZERO, ..oracle.group().traffic() - before }
    });
    assert_eq!(ranks[0], ranks[1]);
    ranks[0]
}

/// A new line for a method whose messages `docs/SCALING.md` counts. A gradient is sent with its loss.
#[test]
fn messages_are_as_predicted() {
    const T: u64 = 6;
    const K: u64 = 3;
    let (nx, ny) = (FEATURES as u64, FEATURES as u64);
    let gd = || descent(Gd::new(0.3), T as usize);
    let along = |method: Box<dyn HypergradientMethod>| Made::Hypergradient(method);
    let rates = || Rates::new(0.1, 0.1).unwrap();
    let cg = || Cg::new(K as usize, 1e-30).unwrap();
    let counts = |messages, numbers| Traffic { messages, numbers, time: Duration::ZERO };
    let rad = traffic(|| along(Box::new(Unrolled::rad(gd()))));
    assert_eq!(rad, counts(2 * T + 2, 2 * T * ny + (T + 1) * nx + T + 2), "rad");
    let cg = traffic(|| along(Box::new(Implicit::new(gd(), cg()))));
    assert_eq!(cg, counts(T + K + 4, (T + K + 2) * ny + 2 * nx + T + 3), "cg");
    let nsgame = traffic(|| Made::Joint(Box::new(NsGame::new(rates(), ""))));
    assert_eq!(nsgame, counts(3, 2 * ny + 2 * nx + 2), "nsgame");
    let soba = traffic(|| Made::Joint(Box::new(Soba::new(rates()))));
    assert_eq!(soba, counts(3, 3 * ny + 2 * nx + 2), "soba");
}

fn soba(oracle: &Rank) -> Box<dyn Solver + '_> {
    let soba = Soba::new(Rates::new(0.1, 0.1).unwrap());
    solver(Made::Joint(Box::new(soba)), oracle, start(oracle))
}

#[test]
fn a_run_goes_on_with_another_number_of_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let run = |steps: usize, file: CheckpointFile| {
        move |group| {
            let oracle = rank(group, BATCHES);
            let mut solver = soba(&oracle);
            let executor = Executor::new(steps).unwrap().in_group(oracle.group());
            let executor = executor.with_checkpoints(file.clone(), Every::Steps(2)).unwrap();
            executor.run(solver.as_mut()).unwrap();
            solver.save()
        }
    };
    let whole = on_ranks(1, run(6, CheckpointFile::new(path("whole.bin")))).remove(0);
    on_ranks(4, run(3, CheckpointFile::new(path("first.bin"))));
    for size in [1, 2] {
        let rest = CheckpointFile::new(path("rest.bin"));
        std::fs::copy(path("first.bin"), rest.path()).unwrap();
        let ended = on_ranks(size, run(6, rest));
        assert!(ended.iter().all(|found| *found == whole), "on {size} ranks");
    }
}

#[test]
fn what_one_rank_decides_holds_for_all() {
    let run = |decide: fn(usize, Executor<'_>) -> Executor<'_>| {
        on_ranks(2, |group| {
            let oracle = rank(group, BATCHES);
            let executor = Executor::new(6).unwrap().in_group(oracle.group());
            let executor = decide(oracle.group().rank(), executor);
            let outcome = executor.run(soba(&oracle).as_mut()).unwrap();
            (outcome.ending, outcome.steps)
        })
    };
    let watched = run(|rank, executor| {
        executor.observe(move |progress: &Progress<'_>| match (rank, progress.step) {
            (1, 2) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
    });
    assert_eq!(watched, [(Ending::Observer, 2); 2]);
    let timed = run(|rank, executor| match rank {
        0 => executor.with_time_limit(Duration::ZERO),
        _ => executor,
    });
    assert_eq!(timed, [(Ending::TimeLimit, 1); 2]);
}

#[test]
fn ranks_that_cannot_go_on_together_say_why() {
    let ended = on_ranks(4, |group| {
        let oracle = rank(group, BATCHES);
        let steps = if oracle.group().rank() == 1 { 1 } else { 3 };
        let executor = Executor::new(steps).unwrap().in_group(oracle.group());
        executor.run(soba(&oracle).as_mut()).map(|outcome| outcome.ending)
    });
    let left = Err(Error::Group(GroupError::Left { rank: 1 }));
    assert_eq!(ended, [left.clone(), Ok(Ending::StepLimit), left.clone(), left]);

    let apart = on_ranks(4, |group| {
        let oracle = rank(group, BATCHES);
        let [x, y] = start(&oracle);
        let y = if oracle.group().rank() == 2 {
            y.map(|leaf| bilevel_program::float::add_scalar(leaf, 1e-6))
        } else {
            y
        };
        let soba = Soba::new(Rates::new(0.1, 0.1).unwrap());
        let mut solver = solver(Made::Joint(Box::new(soba)), &oracle, [x, y]);
        Executor::new(3).unwrap().in_group(oracle.group()).run(solver.as_mut()).unwrap_err()
    });
    for error in apart {
        assert!(matches!(error, Error::Group(GroupError::Apart { rank: 2, .. })), "{error}");
    }

    let others = on_ranks(2, |group| match group.rank() {
        0 => group.sum_f64(&mut [0.0; 3]),
        _ => group.sum_f32(&mut [0.0; 3]),
    });
    for found in others {
        let text = found.unwrap_err().to_string();
        assert!(text.starts_with("rank 1 asks for a sum of 3 numbers in f32 where"), "{text}");
    }
}

/// The lower loss is a sum over samples.
struct Summed;

impl BilevelProblem for Summed {
    type Upper = Values;
    type Lower = Values;
    type Batch = Points;

    fn upper_loss(&self, x: &Values, w: &Values, batch: &Points) -> burn::tensor::Tensor<1> {
        Penalties { fit: FIT }.upper_loss(x, w, batch)
    }

    fn lower_loss(&self, x: &Values, w: &Values, batch: &Points) -> burn::tensor::Tensor<1> {
        let samples = batch.targets.dims()[0] as f64;
        Penalties { fit: FIT }.lower_loss(x, w, batch) * samples
    }
}

#[test]
fn what_is_no_mean_over_shards_is_refused() {
    let group = || InProcess::ranks(2).remove(0);
    for (inner, shards, setting) in [
        (whole(4), 0, "number of shards is 0 on 2 ranks"),
        (whole(4), 3, "number of shards is 3 on 2 ranks"),
        (whole(4), 6, "number of shards is 6 on 2 ranks"),
        (whole(1), 4, "data of a rank is 1 batches of the upper level"),
    ] {
        let error = DataParallel::new(inner, group(), shards).unwrap_err().to_string();
        assert!(error.starts_with(setting), "{error}");
    }
    fn on<P: BilevelProblem<Upper = Values, Lower = Values, Batch = Points>>(
        problem: P,
        [x, y]: [&Values; 2],
        parts: usize,
    ) -> AutodiffOracle<P, Batches<Points>> {
        let of = |objective| (0..parts).map(|at| part(objective, at, parts)).collect();
        let data = Batches::new(of(Objective::Upper), of(Objective::Lower)).unwrap();
        AutodiffOracle::new(problem, x, y, data).unwrap()
    }
    let modules = [&upper_module(&device()), &Values::new(&[0.3; FEATURES], &device())];
    let penalties = Penalties { fit: FIT };
    let means = DataParallel::new(on(penalties, modules, 4), Alone, 4).unwrap();
    let (x, y) = (means.upper_start(), means.lower_start());
    means.check_means(&on(penalties, modules, 1), &x, &y).unwrap();
    let sums = DataParallel::new(on(Summed, modules, 4), Alone, 4).unwrap();
    let (x, y) = (sums.upper_start(), sums.lower_start());
    let error = sums.check_means(&on(Summed, modules, 1), &x, &y).unwrap_err();
    assert!(matches!(error, Error::NotMeanOfShards { objective: Objective::Lower, .. }), "{error}");
}
