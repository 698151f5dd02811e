//! Peak memory. One test in a separate binary: the counter includes everything that the process does.

use std::hint::black_box;

use bilevel_bench::memory::Phase;
use bilevel_data::{idx, libsvm};

/// Parameters of an MLP 784-300-10 in f32.
const Y: usize = 4 * (784 * 300 + 300 + 300 * 10 + 10);

/// Peak of holding `steps` states of size y, as a reverse sweep does.
fn sweep(steps: usize) -> u64 {
    let phase = Phase::start();
    let states: Vec<Vec<u8>> = (0..steps).map(|_| vec![1; Y]).collect();
    drop(black_box(states));
    phase.peak().heap.unwrap()
}

#[test]
fn is_exact_starts_anew_and_notices_another_phase() {
    // Memory that an earlier phase used, kept or freed has no effect.
    let kept = black_box(vec![1_u8; 50 << 20]);
    let (short, long, again) = (sweep(10), sweep(100), sweep(10));
    let growth = (long - short) as f64 / (90 * Y) as f64;
    assert!((growth - 1.0).abs() < 1e-3, "grew by {growth} x 90 x the size of y");
    // The test harness has a thread of its own, whose few bytes count as well.
    assert!(short.abs_diff(again) < 1 << 12, "{short} bytes, then {again}");
    drop(kept);

    let phase = Phase::start();
    std::thread::spawn(|| drop(black_box(vec![1_u8; Y]))).join().unwrap();
    let peak = phase.peak();
    assert!(peak.heap.unwrap() >= Y as u64, "the allocation of a thread was missed");
    if let Some(resident) = peak.resident {
        assert!(resident > 1 << 20 && resident < 1 << 40, "resident peak of {resident} bytes");
    }
    let other = Phase::start();
    assert_eq!(phase.peak(), Default::default(), "read the counter of another phase");
    assert!(other.peak().heap.is_some());

    idx_reader_holds_at_most_twice_the_file();
    libsvm_reader_holds_what_it_has_read();
    batches::sparse_ones_hold_one_dense_batch();
}

fn idx_reader_holds_at_most_twice_the_file() {
    let mut file = vec![0, 0, 8, 1];
    file.extend((1_u32 << 24).to_be_bytes());
    file.resize(8 + (1 << 24), 7);
    for end in [file.len(), file.len() / 3, 1000, 8] {
        let phase = Phase::start();
        let read = idx::parse(&file[..end]);
        let peak = phase.peak().heap.unwrap();
        assert_eq!(read.is_ok(), end == file.len());
        assert!(peak <= 2 * end as u64 + (1 << 17), "{peak} bytes held for a file of {end}");
    }
    // A claim of 2^64 - 2^33 + 1 elements costs nothing.
    let phase = Phase::start();
    assert!(idx::parse(&[0, 0, 8, 2, 255, 255, 255, 255, 255, 255, 255, 255, 1][..]).is_err());
    assert!(phase.peak().heap.unwrap() < 1 << 17);
}

fn libsvm_reader_holds_what_it_has_read() {
    let peak_of = |text: &str| {
        let phase = Phase::start();
        let read = libsvm::parse(text.as_bytes(), None);
        let peak = phase.peak().heap.unwrap();
        drop(read);
        peak
    };
    // A huge index costs nothing, and neither does text that is only one token.
    assert!(peak_of("1 4294967295:1") < 1 << 14);
    assert!(peak_of(&"7".repeat(1 << 24)) < 1 << 14);
    assert!(peak_of(&" # nothing".repeat(1 << 20)) < 1 << 14);
    // The shortest entry is 4 bytes of text, the shortest row 2: 8 and 16 bytes of memory, in vectors that
    // double.
    let entries: String = (1..100_000).map(|index| format!(" {index}:1")).collect();
    let text = format!("1{entries}");
    assert!(peak_of(&text) <= 8 * 2 * 100_000 + (1 << 17));
    let text = format!("1 1:1\n{}", "1\n".repeat(100_000));
    assert!(peak_of(&text) <= 16 * 2 * 100_000 + (1 << 17));
}

mod batches {
    use std::hint::black_box;
    use std::path::PathBuf;
    use std::{env, fmt::Write};

    use bilevel_bench::memory::Phase;
    use bilevel_core::{Data, Objective, Sample};
    use bilevel_data::batches::SparseBatches;
    use bilevel_data::{Classified, libsvm};
    use burn::tensor::Device;

    const SIZE: usize = 64;

    pub fn sparse_ones_hold_one_dense_batch() {
        let mut text = String::new();
        for row in 1..=1000 {
            writeln!(text, "{} {row}:1 {}:1", row % 2, 10_000 + 2 * row).unwrap();
        }
        let set = libsvm::parse(text.as_bytes(), Some(50_000)).unwrap();
        holds_one_batch("1000 rows", &set.classify(&[0.0, 1.0]).unwrap());

        let Some(dir) = env::var_os("BILEVEL_DATA_DIR").map(PathBuf::from) else {
            eprintln!("skipped: set BILEVEL_DATA_DIR to a folder with 20newsgroups/");
            return;
        };
        let phase = Phase::start();
        let path = dir.join("20newsgroups/train.counts.libsvm.gz");
        let set = libsvm::read(&path, None).unwrap().unit_rows();
        let labels = set.distinct_labels();
        let set = set.classify(&labels).unwrap();
        eprintln!("20newsgroups: peak {} KiB while read", phase.peak().heap.unwrap() >> 10);
        holds_one_batch("20newsgroups", &set);
    }

    fn holds_one_batch(name: &str, set: &Classified) {
        let parts = set.split(set.rows().rows() / 5, 0).unwrap();
        let data = SparseBatches::new(parts, SIZE, 0, Device::flex()).unwrap();
        let phase = Phase::start();
        for i in 0..20 {
            drop(black_box(data.batch(Objective::Lower, Sample(i))));
        }
        let peak = phase.peak().heap.unwrap();
        let batch = (4 * SIZE * set.rows().features()) as u64;
        eprintln!("{name}: peak {} KiB over 20 batches of {} KiB", peak >> 10, batch >> 10);
        assert!(peak <= batch + (1 << 17), "{peak} bytes held for a batch of {batch}");
    }
}
