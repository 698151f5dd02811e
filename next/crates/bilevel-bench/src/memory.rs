//! The peak memory of a phase of the program, such as one method on one problem.
//!
//! Two figures, and what each is honest about:
//! - **heap**: the most bytes that were allocated at once *above the level at which the phase began*, counted
//!   exactly at every allocation. This is the figure to compare methods by: it starts at zero for each
//!   phase and does not depend on pages that the allocator keeps for later, and hardly on what ran before:
//!   on flex, each thread keeps the room in which it convolves, so that a phase with larger convolutions than
//!   all before pays for it, some MiB a thread, and later ones do not.
//! - **resident**: the most physical memory that the *whole process* occupied during the phase, data set and
//!   code included, as the operating system tells. Linux only, and a later phase inherits pages that an
//!   earlier one freed but the allocator kept: an upper bound, for sizing a machine.
//!
//! Neither sees the memory of a GPU: on such a backend the heap figure covers the host side alone.
//!
//! This module makes a counting wrapper of mimalloc the global allocator for whatever links this library;
//! it costs some nanoseconds an allocation. A block that grows is counted once, also where it has to move
//! and for a moment there are both copies. The system's allocator gives large blocks back to the system as
//! soon as they are free, and every operation on large tensors then begins with page faults: on an MLP's
//! gradient of 5000 samples half as much time again.

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

/// Counts the phases, so that a phase notices when another has restarted the one counter there is.
static PHASE: AtomicU64 = AtomicU64::new(0);

/// Peak memory of a phase, in bytes; see the [module](self) for what each figure means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeakMemory {
    /// Heap above the level at the start; `None` where another phase began meanwhile.
    pub heap: Option<u64>,
    /// Physical memory of the whole process; `None` where the system does not tell or cannot start anew.
    pub resident: Option<u64>,
}

/// A phase being measured. There is one counter a process, so phases follow each other; threads of the
/// phase are counted, and so is whatever else runs meanwhile.
#[derive(Debug)]
pub struct Phase {
    number: u64,
    resident: bool,
}

impl Phase {
    /// Begins a phase, which ends any earlier one.
    pub fn start() -> Self {
        let number = PHASE.fetch_add(1, Ordering::SeqCst) + 1;
        // Linux: 5 sets the high-water mark of resident memory back to the present size (man 5 proc).
        let resident = fs::write("/proc/self/clear_refs", "5").is_ok();
        HEAP.start_anew();
        Self { number, resident }
    }

    /// The peak since the start; may be asked repeatedly.
    pub fn peak(&self) -> PeakMemory {
        let heap = HEAP.peak();
        let mine = PHASE.load(Ordering::SeqCst) == self.number;
        PeakMemory {
            heap: mine.then_some(heap),
            resident: (mine && self.resident).then(resident_high_water).flatten(),
        }
    }
}

/// The most physical memory of this process, in bytes, since its start or the last [`Phase`]; `None` where the system
/// does not tell. `VmHWM` on Linux.
pub fn resident_high_water() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
