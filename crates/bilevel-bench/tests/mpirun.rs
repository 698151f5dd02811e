//! One run on several ranks of MPI: the same bits on any number of them, and all end if one fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bilevel_bench::cli::Cli;
use bilevel_bench::failure;
use bilevel_bench::ranks::Ranks;
use clap::Parser;
use tempfile::tempdir;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The binary on `ranks` ranks, one thread each.
fn mpirun(ranks: usize, args: &[&str]) -> Command {
    mpirun_of(assert_cmd::cargo::cargo_bin!("bilevel"), ranks, args)
}

fn mpirun_of(binary: &Path, ranks: usize, args: &[&str]) -> Command {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    // Its own: two that start at once fail to make the folder that they would share.
    let number = STARTED.fetch_add(1, Ordering::Relaxed).to_string();
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR")).join(number);
    fs::create_dir_all(&temporary).unwrap();
    let mut command = Command::new("mpirun");
    command
        .env("TMPDIR", temporary)
        .args(["--allow-run-as-root", "--oversubscribe", "-n", &ranks.to_string()])
        .arg(binary)
        .args(args)
        .env("RAYON_NUM_THREADS", "1")
        // Ranks share processors here: a waiting rank yields to others.
        .env("OMPI_MCA_mpi_yield_when_idle", "1")
        .stdin(Stdio::null());
    command
}

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

/// A run of seconds, in four parts: of its tasks.
fn tasks(out: &Path) -> Vec<&str> {
    let fixed = "run few-shot --preset smoke --meta-batch 4 --shards 4 --device flex --method \
                 rad,approx-grad,penalty,maml";
    fixed.split_whitespace().chain(["--out", text(out)]).collect()
}

/// The same: of its data.
fn run<'a>(method: &'a str, steps: &'a str, out: &'a Path) -> Vec<&'a str> {
    let fixed = "run hyper-cleaning --preset smoke --shards 4 --device flex --save-every 0";
    let given = ["--method", method, "--upper-steps", steps, "--out", text(out)];
    fixed.split(' ').chain(given).collect()
}

/// The limit that distinguishes an end from ranks that wait for one another: the start of `mpirun` on a busy machine is
/// within it.
const ENDED: Duration = Duration::from_secs(60);

const METHODS: &str = "noisy,rad,cg,bome";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The curves, without the time they took.
fn curves(folder: &Path) -> Vec<String> {
    let metrics = fs::read_to_string(folder.join("metrics.csv")).unwrap();
    let mut lines = metrics.lines();
    let names = lines.next().unwrap();
    let seconds = names.split(',').position(|name| name == "seconds").unwrap();
    let without = |line: &str| {
        let of: Vec<_> = line.split(',').enumerate().filter(|(at, _)| *at != seconds).collect();
        of.into_iter().map(|(_, field)| field).collect::<Vec<_>>().join(",")
    };
    lines.map(without).collect()
}

fn ended(mut command: Command) -> (Output, Duration) {
    let begin = Instant::now();
    (command.output().unwrap(), begin.elapsed())
}

fn run_of(out: &Path) -> PathBuf {
    out.join("hyper-cleaning-0")
}

#[test]
fn a_run_has_the_same_bits_on_any_number_of_ranks() {
    if !is_here() {
        return;
    }
    type Args = fn(&Path) -> Vec<&str>;
    let runs: [(&str, Args); 2] =
        [("hyper-cleaning-0", |out| run(METHODS, "4", out)), ("few-shot-0", tasks)];
    for (name, args) in runs {
        let root = tempdir().unwrap();
        let alone = root.path().join("alone");
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("bilevel"));
        command.args(args(&alone)).env("RAYON_NUM_THREADS", "1");
        assert!(command.output().unwrap().status.success());
        let expected = curves(&alone.join(name));
        assert!(expected.len() >= 12, "{expected:?}");
        for ranks in [2, 4] {
            let out = root.path().join(ranks.to_string());
            let (output, _) = ended(mpirun(ranks, &args(&out)));
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{errors}");
            assert_eq!(curves(&out.join(name)), expected, "{name} on {ranks} ranks");
            // Only rank 0 has a folder, and prints.
            assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
            let printed = String::from_utf8_lossy(&output.stdout);
            assert_eq!(printed.matches("Results: ").count(), 1, "{printed}");
        }
    }
}

/// The processes that `mpirun` has started, by their parent.
fn children(of: &Child) -> Vec<u32> {
    let path = format!("/proc/{0}/task/{0}/children", of.id());
    let listed = fs::read_to_string(path).unwrap_or_default();
    listed.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

#[test]
#[cfg(target_os = "linux")]
fn a_rank_that_is_killed_ends_all_and_the_run_resumes() {
    if !is_here() {
        return;
    }
    let root = tempdir().unwrap();
    let (whole, killed) = (root.path().join("whole"), root.path().join("killed"));
    // Steps for seconds, so that the kill comes before the last one.
    let start = |out: &Path| mpirun(2, &run("rad", "600", out));
    let (output, _) = ended(start(&whole));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let mut run = start(&killed).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let checkpoint = run_of(&killed).join("checkpoint.bin");
    while !checkpoint.exists() {
        assert!(run.try_wait().unwrap().is_none(), "the run ended before it was killed");
        sleep(Duration::from_millis(5));
    }
    let last = *children(&run).last().unwrap();
    let begin = Instant::now();
    assert!(Command::new("kill").args(["-KILL", &last.to_string()]).status().unwrap().success());
    let code = run.wait().unwrap().code();
    assert!(begin.elapsed() < ENDED, "{:?}", begin.elapsed());
    assert_eq!(code, Some(137), "128 and the number of the signal");

    let (output, _) = ended(mpirun(4, &["resume", text(&run_of(&killed))]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(curves(&run_of(&killed)), curves(&run_of(&whole)));
}

#[test]
fn an_error_of_one_rank_ends_all_with_its_code() {
    if !is_here() {
        return;
    }
    let root = tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    // Only rank 0 creates the folder.
    let (output, time) = ended(mpirun(2, &run("rad", "4", &file.join("runs"))));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{errors}");
    assert!(time < ENDED, "{time:?}");
    assert_eq!(errors.matches("error: ").count(), 1, "{errors}");
    // A number of shards that cannot be divided among three.
    let (output, _) = ended(mpirun(3, &run("rad", "4", root.path())));
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What happens on a rank, and the number of the rank.
const CASE: &str = "BILEVEL_RANK_TEST";

/// The time of day.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// A rank where `mpirun` has started this binary, with what the binary `bilevel` does around a command: it fails as the
/// case says, or waits for the one that does.
#[test]
fn a_rank_of_this_binary() {
    let Ok(case) = std::env::var(CASE) else { return };
    let (what, failing) = case.split_once(' ').unwrap();
    let run = Cli::try_parse_from(["bilevel", "run", "hyper-cleaning", "--shards", "4"]).unwrap();
    let ranks = Ranks::join(&run).unwrap();
    let group = ranks.group();
    tracing_subscriber::registry().with(failure::watch()).init();
    let ended = failure::caught(|| {
        for step in 0.. {
            group.sum_f64(&mut [1.0]).unwrap();
            if step == 3 && failing == group.rank().to_string() {
                eprintln!("failed at {}", now().as_millis());
                match what {
                    "panic" => panic!("an index out of bounds"),
                    "thread" => {
                        drop(std::thread::spawn(|| panic!("an index out of bounds")).join())
                    }
                    _ => panic!("the device failed while a tensor was read: no memory"),
                }
            }
        }
        Ok(())
    });
    let code = ended.map_or_else(|error| error.exit_code(), |()| 0);
    std::process::exit(ranks.end(code).into());
}

#[test]
fn a_panic_or_a_device_that_fails_on_any_rank_ends_all_within_seconds() {
    if !is_here() {
        return;
    }
    let this = std::env::current_exe().unwrap();
    for (what, expected) in [("panic", 101), ("thread", 101), ("device", 4)] {
        for failing in ["0", "1", "2"] {
            let args = ["--exact", "a_rank_of_this_binary", "--nocapture"];
            let mut command = mpirun_of(&this, 3, &args);
            let output = command.env(CASE, format!("{what} {failing}")).output().unwrap();
            let end = now();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(expected), "{what} of rank {failing}: {errors}");
            let (_, rest) = errors.split_once("failed at ").unwrap();
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
            let took = end - Duration::from_millis(digits.parse().unwrap());
            println!("{what} of rank {failing}: code {expected} after {took:.1?}");
            assert!(took < Duration::from_secs(5), "{what} of rank {failing}: {took:?}");
            assert_eq!(errors.contains("panicked"), expected == 101, "{errors}");
        }
    }
}
