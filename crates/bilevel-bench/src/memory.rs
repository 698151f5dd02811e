//! The peak memory of a phase of the program, such as one method on one problem.
//!
//! Two figures, and what each covers:
//! - **heap**: the most bytes that were allocated at once *above the level at which the phase began*, counted exactly
//!   at every allocation. Use this figure to compare methods: it starts at zero for each phase, does not depend on
//!   pages that the allocator keeps, and hardly on earlier phases: on flex, each thread keeps its scratch memory for
//!   convolutions, so that a phase with larger convolutions than before pays for it, some MiB per thread, and later
//!   ones do not.
//! - **resident**: the most physical memory that the *whole process* occupied during the phase, data set and code
//!   included, as reported by the operating system. Linux only, and a later phase inherits pages that an earlier one
//!   freed but the allocator kept: an upper bound, for sizing a machine.
//!
//! Neither includes the memory of a GPU: on such a backend the heap figure covers only the host.
//!
//! This module makes a counting wrapper of mimalloc the global allocator for every program that links this library; it
//! costs some nanoseconds per allocation. A block that grows is counted once, even if it has to move and there are
//! briefly two copies. The system's allocator returns large blocks to the system as soon as they are free, and every
//! operation on large tensors then begins with page faults: an MLP's gradient of 5000 samples takes half as much time
//! again.

mod counting;
mod pages;

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use mimalloc::MiMalloc;
use serde::{Deserialize, Serialize};

use counting::Counting;
pub use pages::keep_free_pages;

#[global_allocator]
static HEAP: Counting<MiMalloc> = Counting::new(MiMalloc);

/// Counts the phases, so that a phase notices if another has restarted the only counter.
static PHASE: AtomicU64 = AtomicU64::new(0);

/// Peak memory of a phase, in bytes; see the [module](self) for what each figure means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeakMemory {
    /// Heap above the level at the start; `None` if another phase began meanwhile.
    pub heap: Option<u64>,
    /// Physical memory of the whole process; `None` if the system does not report it or cannot reset it.
    pub resident: Option<u64>,
}

/// A phase being measured. There is one counter per process, so phases follow one another; threads of the phase are
/// counted, and so is everything else that runs meanwhile.
#[derive(Debug)]
pub struct Phase {
    number: u64,
    resident: bool,
}

impl Phase {
    /// Begins a phase, which ends any earlier one.
    pub fn start() -> Self {
        let number = PHASE.fetch_add(1, Ordering::SeqCst) + 1;
        // Linux: 5 resets the high-water mark of resident memory to the present size (man 5 proc).
        let resident = fs::write("/proc/self/clear_refs", "5").is_ok();
        HEAP.start_anew();
        Self { number, resident }
    }

    /// The peak since the start; may be called repeatedly.
    pub fn peak(&self) -> PeakMemory {
        let heap = HEAP.peak();
        let mine = PHASE.load(Ordering::SeqCst) == self.number;
        PeakMemory {
            heap: mine.then_some(heap),
            resident: (mine && self.resident).then(resident_high_water).flatten(),
        }
    }
}

/// The peak of physical memory of this process, in bytes, since its start or the last [`Phase`]; `None` if the system
/// does not report it. `VmHWM` on Linux.
pub fn resident_high_water() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
