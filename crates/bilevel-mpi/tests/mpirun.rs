//! Ranks as processes: this binary starts itself by `mpirun`, with its task in the environment.

use std::hash::{DefaultHasher, Hasher};
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

use bilevel_core::catalogue::{self, At, Made, Settings};
use bilevel_core::*;
use bilevel_mpi::Mpi;
use bilevel_problems::{Quadratic, QuadraticData, QuadraticProblem, Values};
use bilevel_program::Vector;
use burn::tensor::{Device, FloatDType, IntDType};

const SHARDS: usize = 4;
const STEPS: usize = 3;
const N: usize = 6;
const WHAT: &str = "BILEVEL_MPI_TEST";

fn main() -> ExitCode {
    // Burn fixes the element types of a device once per process.
    Device::flex().configure((FloatDType::F64, IntDType::I64)).unwrap();
    match std::env::var(WHAT) {
        Ok(what) => rank(&what),
        Err(_) if !is_here() => {}
        Err(_) => {
            long_sums_are_those_of_the_tree();
            every_method_takes_the_same_steps();
            ranks_that_fail_end_all_and_resume();
        }
    }
    ExitCode::SUCCESS
}

// ---- a rank ------------------------------------------------------------------------------------

fn rank(what: &str) {
    let mpi = Mpi::start().unwrap();
    assert!(matches!(Mpi::start(), Err(bilevel_mpi::StartError::Twice)));
    let words: Vec<&str> = what.split(' ').collect();
    let code = match words[..] {
        ["sums"] => {
            let found = sums(&mpi);
            say(&mpi, &found);
            0
        }
        ["methods"] => {
            let found = methods(&mpi);
            say(&mpi, &found);
            0
        }
        ["run", file, failure] => match run(&mpi, file.as_ref(), failure) {
            Ok(found) => {
                say(&mpi, &format!("{found:016x}"));
                0
            }
            Err(_) => 5,
        },
        _ => unreachable!("{what}"),
    };
    std::process::exit(mpi.end(code).into());
}

fn say(group: &dyn Group, text: &str) {
    if group.rank() == 0 {
        print!("{text}");
    }
}

/// Digests of sums: short ones, a long one, and one of several blocks.
fn sums(group: &dyn Group) -> String {
    let of = |n: usize| {
        let number = |i: usize| ((i * 7 + group.rank() * 13 + 1) as f64).sin();
        let mut double: Vec<f64> = (0..n).map(number).collect();
        let mut single: Vec<f32> = (0..n).map(|i| number(i) as f32).collect();
        group.sum_f64(&mut double).unwrap();
        group.sum_f32(&mut single).unwrap();
        let mut hasher = DefaultHasher::new();
        double.iter().for_each(|number| hasher.write_u64(number.to_bits()));
        single.iter().for_each(|number| hasher.write_u32(number.to_bits()));
        format!("{n} {:016x}\n", hasher.finish())
    };
    let bytes = vec![group.rank() as u8 + 1; 5 + group.rank()];
    assert_eq!(group.broadcast(bytes).unwrap(), [1; 5]);
    [0, 1, 7, 1024, 1025, 20_003, (1 << 20) + 3].into_iter().map(of).collect()
}

type Inner = AutodiffOracle<QuadraticProblem, Batches<QuadraticData>>;

fn oracle(own: Range<usize>) -> Inner {
    let device = Device::flex();
    let problem = Quadratic::new(N, N, 0.3, 7).unwrap();
    let all = problem.batches(SHARDS, 0.2, &device).unwrap();
    let of = |objective| own.clone().map(|at| all.batch(objective, Sample(at as u64))).collect();
    let data = Batches::new(of(Objective::Upper), of(Objective::Lower)).unwrap();
    let values = |seed: f64| {
        let values: Vec<f64> = (0..N).map(|i| (seed + 1.7 * i as f64).sin()).collect();
        Values::new(&values, &device)
    };
    AutodiffOracle::new(problem.losses(), &values(0.4), &values(1.3), data).unwrap()
}

fn solver<'a>(made: Made, oracle: &'a dyn Oracle, [x, y]: [Vector; 2]) -> Box<dyn Solver + 'a> {
    match made {
        Made::Hypergradient(method) => {
            let upper = GradientStep::new(0.3).unwrap();
            Box::new(HypergradientSolver::new(oracle, method, upper, x, y))
        }
        Made::Joint(method) => Box::new(JointSolver::new(oracle, method, x, y).unwrap()),
    }
}

fn digest(solver: &dyn Solver) -> u64 {
    let mut hasher = DefaultHasher::new();
    for data in [solver.x().to_data(), solver.y().to_data()].concat() {
        hasher.write(data.as_bytes());
    }
    hasher.finish()
}

/// A line for each method of the catalogue, with a digest of x and y after some steps.
fn methods(group: &dyn Group) -> String {
    let oracle = DataParallel::new(oracle(group.share(SHARDS)), group, SHARDS).unwrap();
    let start = [oracle.upper_start(), oracle.lower_start()];
    let settings = Settings { lower_steps: 4, solver_iterations: 3, ..Settings::default() };
    let lines = catalogue::all().map(|entry| {
        let at = At { x: &start[0], y: &start[1], seed: 5 };
        let made = entry.make(&settings, &at).unwrap();
        let mut solver = solver(made, &oracle, start.clone());
        let run = Executor::new(STEPS).unwrap().in_group(group).run(solver.as_mut());
        run.unwrap_or_else(|error| panic!("{}: {error}", entry.name));
        format!("{} {:016x}\n", entry.name, digest(solver.as_ref()))
    });
    lines.collect()
}

/// After this many steps rank 1 fails, and the others continue.
const FAILS_AFTER: usize = 5;

/// The digest of x and y after eight steps of `saba`, starting from `file` if it exists. Rank 0 writes it after each
/// step.
fn run(group: &dyn Group, file: &Path, failure: &str) -> Result<u64, Error> {
    let oracle = DataParallel::new(oracle(group.share(SHARDS)), group, SHARDS)?;
    let start = [oracle.upper_start(), oracle.lower_start()];
    let made = Made::Joint(Box::new(Saba::new(Rates::new(0.05, 0.2)?)));
    let mut solver = solver(made, &oracle, start);
    // Rank 0 reads, all restore.
    let saved = match group.rank() {
        0 => std::fs::read(file).unwrap_or_default(),
        _ => Vec::new(),
    };
    let saved = group.broadcast(saved).map_err(Error::Group)?;
    let mut first = 0;
    if !saved.is_empty() {
        let (step, snapshot): (usize, Snapshot) = serde_json::from_slice(&saved).unwrap();
        solver.restore(snapshot)?;
        first = step;
    }
    let failing = group.rank() == 1 && failure != "none";
    Executor::new(if failing { FAILS_AFTER } else { 8 })?
        .starting_at(first)?
        .in_group(group)
        .observe(|progress: &Progress<'_>| {
            if group.rank() == 0 {
                let bytes = serde_json::to_vec(&(progress.step, progress.solver.save())).unwrap();
                std::fs::write(file, bytes).unwrap();
            }
            ControlFlow::Continue(())
        })
        .run(solver.as_mut())?;
    match failure {
        "killed" if failing => std::process::abort(),
        "panic" if failing => panic!("a panic of rank 1"),
        // Of this rank alone.
        "error" if failing => {
            Err(Error::NotFiniteAtStart { objective: Objective::Upper, found: f64::NAN })
        }
        _ => Ok(digest(solver.as_ref())),
    }
}

// ---- what starts ranks -------------------------------------------------------------------------

/// The limit that distinguishes an end from ranks that wait for one another: the start of `mpirun` on a busy machine is
/// within it.
const ENDED: Duration = Duration::from_secs(60);

/// If there is no MPI, only a machine that must have it fails. Only Open MPI supports the options used here.
fn is_here() -> bool {
    let asked = Command::new("mpirun").arg("--version").output();
    let found = asked.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains("Open MPI"));
    let required = std::env::var_os("BILEVEL_REQUIRE_MPI").is_some();
    assert!(found || !required, "there is no mpirun of Open MPI");
    if !found {
        println!("skipped: there is no mpirun of Open MPI on this machine");
    }
    found
}

/// This binary on `ranks` ranks, one thread each.
fn mpirun(ranks: usize, what: &str) -> (Output, Duration) {
    let begin = Instant::now();
    let output = Command::new("mpirun")
        .args(["--allow-run-as-root", "--oversubscribe", "-n", &ranks.to_string()])
        .arg(std::env::current_exe().unwrap())
        .env(WHAT, what)
        .env("RAYON_NUM_THREADS", "1")
        // Ranks share processors here: a waiting rank yields to others.
        .env("OMPI_MCA_mpi_yield_when_idle", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (output, begin.elapsed())
}

/// The output of rank 0 if all goes well.
fn printed(ranks: usize, what: &str) -> String {
    let (output, time) = mpirun(ranks, what);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what} on {ranks} ranks: {errors}");
    println!("{} on {ranks} ranks: {time:.1?}", what.split(' ').next().unwrap());
    String::from_utf8(output.stdout).unwrap()
}

fn long_sums_are_those_of_the_tree() {
    for size in [2, 3] {
        let expected = in_process(size, sums);
        assert_eq!(printed(size, "sums"), expected, "on {size} ranks");
    }
}

fn in_process(size: usize, run: fn(&dyn Group) -> String) -> String {
    std::thread::scope(|scope| {
        let ranks = InProcess::ranks(size).into_iter();
        let ranks: Vec<_> = ranks.map(|group| scope.spawn(move || run(&group))).collect();
        let found = ranks.into_iter().map(|rank| rank.join().unwrap());
        found.reduce(|a, b| if a == b { a } else { panic!("{a} and {b}") }).unwrap()
    })
}

fn every_method_takes_the_same_steps() {
    let alone = in_process(1, methods);
    assert!(alone.lines().count() > 30, "{alone}");
    for size in [1, 2, 4] {
        let found = printed(size, "methods");
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(&found), lines(&alone), "on {size} ranks");
    }
}

fn ranks_that_fail_end_all_and_resume() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let whole = printed(4, &format!("run {} none", file("whole")));
    for (failure, code) in [("killed", 134), ("panic", 101), ("error", 5)] {
        let state = file(failure);
        let (output, time) = mpirun(4, &format!("run {state} {failure}"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{failure}: {errors}");
        assert!(time < ENDED, "{failure} took {time:?}");
        println!("{failure}: code {code} after {time:.1?}");
        let resumed = printed(2, &format!("run {state} none"));
        assert_eq!(resumed, whole, "{failure}, resumed on 2 ranks");
    }
}
