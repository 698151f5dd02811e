//! Peak memory. One test in a binary of its own: the counter sees whatever else the process does.

use std::hint::black_box;

use bilevel_bench::data::idx;
use bilevel_bench::memory::Phase;

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
    // What an earlier phase used, kept or freed leaves no trace.
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
