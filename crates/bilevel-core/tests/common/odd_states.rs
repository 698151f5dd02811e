//! States that no solver saved, as of a file that was edited: each is refused, or gone on with, and none ends the process
//! or takes longer than the sound one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use bilevel_core::{Entry, Error, Snapshot, Solver};
use burn::tensor::TensorData;
use serde_json::{Value, from_value, to_value};

/// The longest time of a step, many times that of a sound one.
const LONGEST: Duration = Duration::from_secs(20);

/// What may stand in the place of an entry; null for nothing.
fn odd(entry: &Entry) -> Vec<Value> {
    let numbers = |values: Vec<f64>| {
        let count = values.len();
        Entry::Numbers(TensorData::new(values, [count]))
    };
    let mut all = vec![
        Entry::Count(0),
        Entry::Count(1 << 20),
        // As many of anything would take hours.
        Entry::Count(1 << 40),
        Entry::Count(1 << 53),
        Entry::Count(u64::MAX),
        Entry::Name(String::new()),
        numbers(Vec::new()),
        numbers(vec![-1e308]),
    ];
    if let Entry::Numbers(data) = entry {
        for byte in [0x00, 0x7f, 0xff] {
            let bytes = vec![byte; data.as_bytes().len()];
            let like = TensorData::from_bytes_vec(bytes, data.shape().clone(), data.dtype());
            all.push(Entry::Numbers(like));
        }
    }
    let all = all.iter().map(|entry| to_value(entry).unwrap());
    all.chain([Value::Null]).collect()
}

/// Puts odd entries in the place of each entry of `saved`, and goes on with step `k` from what `solver` takes, which takes
/// the sound state in the end.
pub fn assert_odd_states_end_nothing(
    name: &str,
    saved: &Snapshot,
    k: usize,
    solver: &mut dyn Solver,
) {
    let whole = to_value(saved).unwrap();
    for (at, entry) in saved.entries() {
        for odd in odd(entry) {
            let mut file = whole.clone();
            let entries = file.as_object_mut().unwrap();
            match odd {
                Value::Null => drop(entries.remove(at)),
                _ => drop(entries.insert(at.into(), odd.clone())),
            }
            let state: Snapshot = from_value(file).unwrap();
            let go_on = || -> Result<(), Error> {
                solver.restore(state)?;
                solver.step(k).map(drop)
            };
            let begin = Instant::now();
            let ended = catch_unwind(AssertUnwindSafe(go_on));
            assert!(ended.is_ok(), "{name}: {odd} for {at}");
            assert!(begin.elapsed() < LONGEST, "{name}: {odd} for {at}, {:.1?}", begin.elapsed());
        }
    }
    solver.restore(saved.clone()).unwrap();
    assert_eq!(solver.save(), *saved, "{name}: the sound state");
}
