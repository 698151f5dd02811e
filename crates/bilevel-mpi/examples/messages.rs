//! What a message costs here: `t = a + bytes / b` of a rank, as `docs/SCALING.md` has it.
//!
//! ```text
//! mpirun -n 2 target/release/examples/messages
//! ```

use std::process::ExitCode;
use std::time::Instant;

use bilevel_core::Group;
use bilevel_mpi::Mpi;

/// Numbers of a sum, and how often it is timed.
const SUMS: [(usize, usize); 6] =
    [(1, 2000), (1000, 2000), (10_000, 500), (100_000, 100), (1_000_000, 20), (10_000_000, 3)];

fn main() -> ExitCode {
    let group = match Mpi::start() {
        Ok(group) => group,
        Err(error) => panic!("{error}"),
    };
    let say = |line: String| {
        if group.rank() == 0 {
            println!("{line}");
        }
    };
    let size = group.size();
    say(format!("{size} ranks, sums in f32"));
    say(format!("{:>12} {:>12} {:>14} {:>10}", "numbers", "bytes sent", "microseconds", "GB/s"));
    for (numbers, times) in SUMS {
        let mut values = vec![0.5_f32; numbers];
        let mut seconds: Vec<f64> = (0..times)
            .map(|_| {
                let begin = Instant::now();
                group.sum_f32(&mut values).expect("an error of MPI ends the process");
                values.fill(0.5);
                begin.elapsed().as_secs_f64()
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        let median = seconds[times / 2];
        let sent = 4.0 * 2.0 * (size - 1) as f64 / size as f64 * numbers as f64;
        let rate = sent / median / 1e9;
        say(format!("{numbers:>12} {sent:>12.0} {:>14.1} {rate:>10.3}", 1e6 * median));
    }
    group.end(0).into()
}
