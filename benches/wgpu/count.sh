#!/bin/sh
# Counts what one hypergradient on wgpu asks of the driver, by the log of wgpu:
#   benches/wgpu/count.sh target/release/bilevel --workload mlp --method rad --lower-steps 10 --samples 64
# Every hypergradient of `bilevel hypergrad` ends by waiting for the device, which the log shows: the last that
# is timed is counted, when kernels are compiled and data is there.
set -eu
bilevel=$1
shift
RUST_LOG=wgpu_core=trace "$bilevel" hypergrad --device wgpu --repetitions 1 "$@" 2>&1 >/dev/null | awk '
    /Queue::submit/ && !/returned/ { submits++ }
    /ComputePass::dispatch/ { dispatches++ }
    /Queue::write_buffer/ { writes++ }
    /Buffer::map_async .*Read/ { reads++ }
    /Queue::on_submitted_work_done/ && !/Id/ {
        last = sprintf("submissions %d, dispatches %d, writes %d, reads %d", submits, dispatches, writes, reads)
        submits = dispatches = writes = reads = 0
    }
    END { print last }'
