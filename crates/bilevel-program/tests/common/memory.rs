//! The memory that repeated calls leave behind in the process.

use std::fs::read_to_string;

/// The resident memory of this process in MiB, where the system tells.
fn resident() -> Option<f64> {
    let status = read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes / 1024.0)
}

/// MiB that the rounds may leave behind.
const BOUND: f64 = 0.02;

/// # Panics
/// If the memory grows in each of a few tries: the allocator may take a page once more.
pub fn keeps_memory(name: &str, rounds: usize, round: &dyn Fn()) {
    if resident().is_none() {
        eprintln!("skipped: this system has no /proc/self/status");
        return;
    }
    let run = |count: usize| (0..count).for_each(|_| round());
    // Until everything that is cached exists.
    run(500);
    let mut grown = f64::INFINITY;
    for _ in 0..3 {
        let before = resident().unwrap();
        run(rounds);
        grown = resident().unwrap() - before;
        eprintln!("{rounds} times {name}: {grown:+.3} MiB");
        if grown <= BOUND {
            return;
        }
    }
    panic!("{rounds} times {name} left {grown:.3} MiB behind");
}
