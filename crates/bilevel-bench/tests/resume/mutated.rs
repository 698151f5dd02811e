//! Files of the binary that were damaged: cut, flipped, with bytes put in. Each is refused with a cure, or taken; none ends
//! the process or asks for memory that it does not hold.

#[path = "../../../bilevel-data/tests/data/mutated.rs"]
mod bytes;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::sync::mpsc::channel;
use std::thread::spawn;

use bilevel_bench::experiments::{self, Complete, Manner, Registered, read_config, seeds};
use bilevel_bench::memory::Phase;
use bilevel_bench::report::folder::RunFolder;
use bilevel_bench::reproduce::Reproduction;
use bilevel_bench::{BenchError, runs};
use bilevel_core::Alone;

use self::bytes::mutated;
use super::*;

const MANNER: Manner =
    Manner { progress: false, save_every: Duration::MAX, ranks: &Alone, accept_changes: false };

/// Far more than any of these files, and than the runs that go on from them.
const MOST: u64 = 256 << 20;

/// Whether something that reads a damaged file takes it; if not, the error has a cure.
fn takes(what: &str, read: impl FnOnce() -> Result<(), BenchError>) -> bool {
    let phase = Phase::start();
    let found = catch_unwind(AssertUnwindSafe(read));
    let Ok(found) = found else { panic!("{what} ends in a panic") };
    let heap = phase.peak().heap.unwrap_or_default();
    assert!(heap < MOST, "{what} takes {heap} bytes");
    let Err(error) = found else { return true };
    let text = error.to_string();
    assert!([2, 3, 5, 6].contains(&error.exit_code()), "{what}: {text}");
    assert!(text.contains("; ") || text.contains(": "), "{what}: {text}");
    false
}

/// Copies a folder and what is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (entry, name) = (entry.as_ref().unwrap().path(), entry.unwrap().file_name());
        match entry.is_dir() {
            true => copy(&entry, &to.join(name)),
            false => drop(fs::copy(&entry, to.join(name)).unwrap()),
        }
    }
}

/// The contents of a checkpoint after its length and their CRC-32, which make them look sound.
fn sound(contents: &[u8]) -> Vec<u8> {
    let byte = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    };
    let crc = !contents.iter().fold(u32::MAX, byte);
    [&(contents.len() as u64).to_le_bytes()[..], &crc.to_le_bytes(), contents].concat()
}

/// Where the contents of a checkpoint begin.
const HEADER: usize = 12;

/// The integers of a file in MessagePack: where each is.
fn integers(file: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&kind) = file.get(at) {
        let number = |from: usize, bytes: usize| {
            file[from..from + bytes].iter().fold(0, |n, &byte| n << 8 | usize::from(byte))
        };
        let (begin, after) = (at, at + 1);
        at = match kind {
            0xa0..0xc0 => after + usize::from(kind & 0x1f),
            0xc4 | 0xd9 => after + 1 + number(after, 1),
            0xc5 | 0xda => after + 2 + number(after, 2),
            0xc6 | 0xdb => after + 4 + number(after, 4),
            0xca | 0xce | 0xd2 | 0xdd | 0xdf => after + 4,
            0xcb | 0xcf | 0xd3 => after + 8,
            0xcc | 0xd0 => after + 1,
            0xcd | 0xd1 | 0xdc | 0xde => after + 2,
            _ => after,
        };
        if matches!(kind, 0x00..0x80 | 0xcc..0xd4) {
            found.push(begin..at);
        }
    }
    assert_eq!(at, file.len());
    found
}

/// With another integer at a place.
fn forged(contents: &[u8], place: &Range<usize>, number: u64) -> Vec<u8> {
    let number = [&[0xcf], &number.to_be_bytes()[..]].concat();
    [&contents[..place.start], &number, &contents[place.end..]].concat()
}

/// Where a checkpoint has a method in progress: the state of its solver.
const SOLVER: &[u8] = b"\xa6solver";

/// The files of a run that goes on from its last step.
struct Cut {
    name: &'static str,
    settings: String,
    checkpoint: Vec<u8>,
}

impl Cut {
    /// Makes the whole run: that which goes on from its files takes a moment.
    fn of(short: &Short) -> Self {
        let out = tempdir().unwrap();
        let mut process = short.run(out.path()).spawn().unwrap();
        let folder = short.folder(out.path());
        let mut checkpoint = Vec::new();
        while process.try_wait().unwrap().is_none() {
            let read = fs::read(folder.join("checkpoint-before.bin")).unwrap_or_default();
            if read.windows(SOLVER.len()).any(|bytes| bytes == SOLVER) {
                checkpoint = read;
            }
            sleep(Duration::from_millis(1));
        }
        assert!(process.wait().unwrap().success() && !checkpoint.is_empty(), "{}", short.name);
        assert_eq!(sound(&checkpoint[HEADER..]), checkpoint, "{}", short.name);
        let settings = fs::read_to_string(folder.join("settings.toml")).unwrap();
        Self { name: short.name, settings, checkpoint }
    }

    fn contents(&self) -> &[u8] {
        &self.checkpoint[HEADER..]
    }

    /// Whether the run goes on from a checkpoint, which must end.
    fn goes_on_from(&self, what: &str, checkpoint: &[u8]) -> bool {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("settings.toml"), &self.settings).unwrap();
        fs::write(folder.path().join("checkpoint.bin"), checkpoint).unwrap();
        let folder = RunFolder::open(folder.path()).unwrap();
        takes(what, || {
            let (ended, end) = channel();
            spawn(move || ended.send(experiments::resume(&folder, MANNER).map(drop)));
            end.recv_timeout(ENDS).unwrap()
        })
    }
}

/// One of each experiment.
static CUTS: LazyLock<Vec<Cut>> = LazyLock::new(|| EXPERIMENTS.iter().map(Cut::of).collect());

/// Far longer than any of these runs.
const ENDS: Duration = Duration::from_secs(120);

#[test]
fn no_damaged_checkpoint_ends_the_process() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut taken = [0, 0];
    for cut in &*CUTS {
        assert!(cut.goes_on_from(cut.name, &cut.checkpoint), "{} as it is", cut.name);
        for at in 0..8 {
            let forged = at % 2 == 1;
            let bytes = match forged {
                true => sound(&mutated(cut.contents(), &mut rng)),
                false => mutated(&cut.checkpoint, &mut rng),
            };
            if bytes != cut.checkpoint {
                let what = format!("{}, checkpoint {at}", cut.name);
                taken[usize::from(forged)] += usize::from(cut.goes_on_from(&what, &bytes));
            }
        }
    }
    println!("{taken:?} of those with another and with a sound checksum are gone on with");
    assert_eq!(taken[0], 0, "a checksum that is wrong is refused");
}

/// Numbers of steps, parts, draws and calls, and shapes.
#[test]
fn no_number_of_a_checkpoint_ends_the_process_or_keeps_it_from_ending() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for cut in &*CUTS {
        let (contents, begin) = (cut.contents(), Instant::now());
        let places = integers(contents);
        let named = |name: &[u8]| {
            let named = |place: &&Range<usize>| contents[..place.start].ends_with(name);
            places.iter().rev().filter(named).collect::<Vec<_>>()
        };
        // Those of the method in progress come last: its step, and the counts of its solver.
        let [steps, counts] = [named(b"\xa4step"), named(b"\xa5count")];
        let of_method = steps.into_iter().take(1).chain(counts.into_iter().take(2));
        let solver = contents.windows(SOLVER.len()).rposition(|bytes| bytes == SOLVER).unwrap();
        let of_solver = places.partition_point(|place| place.start < solver);
        // Two of all, and two of the solver.
        let any = [0, 0, of_solver, of_solver];
        let any = any.map(|from| (&places[rng.random_range(from..places.len())], u64::MAX));
        let mut taken = 0;
        for (place, number) in of_method.map(|place| (place, 1 << 40)).chain(any) {
            let what = format!("{}, {number} at {place:?}", cut.name);
            let file = sound(&forged(contents, place, number));
            taken += usize::from(cut.goes_on_from(&what, &file));
        }
        println!("{}: {taken} are gone on with, {:.1?}", cut.name, begin.elapsed());
    }
}

/// A file of a folder that was made by the binary, and what reads it.
struct File {
    made_by: &'static [&'static str],
    folder: &'static str,
    name: &'static str,
    reader: Reader,
}

enum Reader {
    Function(fn(&Path) -> Result<(), BenchError>),
    /// `bilevel resume`, for what takes flex in double precision; so often, since each takes a part of a second, and
    /// seconds where a result is made again.
    Process(usize),
}

impl Reader {
    /// Whether the file is taken.
    fn takes(&self, what: &str, folder: &Path) -> bool {
        match self {
            Self::Function(read) => takes(what, || read(folder)),
            Self::Process(_) => {
                let code = resume(folder).status().unwrap().code();
                assert!([0, 2, 5, 6].map(Some).contains(&code), "{what}: {code:?}");
                code == Some(0)
            }
        }
    }
}

fn hyper_cleaning() -> &'static Registered {
    experiments::EXPERIMENTS.iter().find(|known| known.name == "hyper-cleaning").unwrap()
}

/// Every file but checkpoints that the binary reads of its own. A new one is one entry.
fn files() -> Vec<File> {
    const RUN: &[&str] =
        &["run", "hyper-cleaning", "--preset", "smoke", "--method", "rad,cg", "--device", "flex"];
    const SEEDS: &[&str] = &[
        "run",
        "hyper-cleaning",
        "--preset",
        "smoke",
        "--method",
        "rad",
        "--device",
        "flex",
        "--seeds",
        "2",
    ];
    const COMPARE: &[&str] =
        &["compare", "quadratic", "--method", "soba,cg", "--seeds", "1", "--calls", "64"];
    const TOYS: &[&str] = &["toys", "--problem", "bda-counterexample"];
    let run = |name, read| {
        let reader = Reader::Function(read);
        File { made_by: RUN, folder: "hyper-cleaning-0", name, reader }
    };
    let of_seeds = |name| {
        let reader = Reader::Function(|path| seeds::read(&RunFolder::open(path)?).map(drop));
        File { made_by: SEEDS, folder: "hyper-cleaning-0-seeds-2", name, reader }
    };
    let of_compare = |name| File {
        made_by: COMPARE,
        folder: "compare-quadratic",
        name,
        reader: Reader::Process(60),
    };
    let of_toys = |name, times| {
        let reader = Reader::Process(times);
        File { made_by: TOYS, folder: "toys", name, reader }
    };
    vec![
        run("settings.toml", |path| {
            runs::list(path.parent().unwrap_or(path), None)?;
            experiments::settings_of(&RunFolder::open(path)?)?;
            Ok(())
        }),
        run("settings.toml", |path| {
            let given = read_config(&path.join("settings.toml"), hyper_cleaning())?;
            Complete::given("hyper-cleaning", &given).map(drop)
        }),
        run("settings.toml", |path| {
            Ok(RunFolder::open(path)?.settings::<Reproduction>().map(drop)?)
        }),
        run("summary.json", |path| runs::write_page(&RunFolder::open(path)?)),
        run("metrics.csv", |path| runs::write_page(&RunFolder::open(path)?)),
        of_seeds("settings.toml"),
        of_seeds("seed-1/summary.json"),
        of_compare("settings.toml"),
        of_compare("metrics.csv"),
        of_compare("runs.csv"),
        of_toys("settings.toml", 60),
        of_toys("claims.csv", 60),
        of_toys("metrics.csv", 60),
        of_toys("runs.csv", 4),
    ]
}

#[test]
fn no_damaged_file_ends_the_process() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let (mut made, out) = (Vec::new(), tempdir().unwrap());
    for File { made_by, folder, name, reader } in files() {
        let whole = out.path().join(folder);
        if !made.contains(&folder) {
            let ran = bilevel().args(made_by).arg("--out").arg(out.path()).status().unwrap();
            assert!(ran.success(), "{made_by:?}");
            // So that what is there is read, and what is missing made again.
            let _ = fs::remove_file(whole.join("table.txt"));
            made.push(folder);
        }
        let bytes = fs::read(whole.join(name)).unwrap();
        let begin = Instant::now();
        let mut refused = 0;
        let times = match reader {
            Reader::Process(times) => times,
            Reader::Function(_) => 400,
        };
        for _ in 0..times {
            let copies = tempdir().unwrap();
            let to = copies.path().join("run");
            copy(&whole, &to);
            fs::write(to.join(name), mutated(&bytes, &mut rng)).unwrap();
            refused += usize::from(!reader.takes(&format!("{folder}/{name}"), &to));
        }
        println!("{folder}/{name}: {refused} refused, {:.1} s", begin.elapsed().as_secs_f64());
        assert!(refused > times / 10, "{folder}/{name}: {refused} of {times} refused");
    }
}

/// Burn looks for it in the working folder.
#[test]
fn no_damaged_configuration_of_burn_ends_the_process() {
    let whole = b"[cubecl.streaming]\nmax_streams = 4\n\n[cubecl.compilation]\nlogger = { level = \"disabled\" }\n";
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for at in 0..16 {
        let folder = tempdir().unwrap();
        let bytes = if at == 0 { whole.to_vec() } else { mutated(whole, &mut rng) };
        fs::write(folder.path().join("burn.toml"), &bytes).unwrap();
        let mut run = bilevel();
        run.args(["run", "hyper-cleaning", "--preset", "smoke", "--method", "rad"]);
        run.args(["--device", "flex", "--out", "runs"]).current_dir(folder.path());
        assert!(run.status().unwrap().success(), "{}", String::from_utf8_lossy(&bytes));
    }
}
