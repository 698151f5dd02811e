#!/usr/bin/env bash
# Checks beyond `cargo test`; CONTRIBUTING.md describes each, with costs and findings.
#
#   scripts/guard.sh kill      SIGKILL at each system call of a run, of its resuming and of a table; then `resume`
#   scripts/guard.sh full      a full disk; then space is freed, and `resume`
#   scripts/guard.sh fuzz [S]  every fuzz target for S seconds [60]
#   scripts/guard.sh asan      the tests of bilevel-flex under AddressSanitizer
#   scripts/guard.sh miri      the code with raw pointers in bilevel-flex, under Miri, without Burn
#   scripts/guard.sh mutants   the mutants of the methods and of the tangent rules
#
# BILEVEL is the binary [default: that of `cargo build`]. `fuzz` and `miri` require the nightly toolchain, `kill`
# requires strace, `full` the right to mount.
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-$PWD/target}"

fail() {
    echo "guard: $*" >&2
    exit 1
}

needs() {
    command -v "$1" >/dev/null || fail "no $1, which \`$2\` takes; install it"
}

binary() {
    if [ -z "${BILEVEL:-}" ]; then
        cargo build
        BILEVEL="$target/debug/bilevel"
    fi
    # The order of sums on several threads is none of the questions here.
    export RAYON_NUM_THREADS=1
    work="$(mktemp -d)"
    trap 'umount -q "$work/disk" 2>/dev/null || true; rm -rf "$work"' EXIT
}

run=(run hyper-cleaning --upper-steps 3 --lower-steps 2 --train 10 --validation 10 --method rad,cg --save-every 0
    --device flex --quiet)
table=(reproduce iaptt-table-3 --seeds 1 --upper-steps 1 --device flex --quiet)
# The system calls that create, change and remove files.
calls=openat,mkdir,write,fsync,fchmod,flock,rename,renameat,renameat2,unlink,ftruncate,linkat

# The numbers of a run or of all runs of a table, without seconds.
numbers() {
    find "$1" -name metrics.csv | sort | while read -r file; do cut -d, -f1,2,4- "$file"; done
}

# The folder that `--out $1` got.
made() {
    [ ! -e "$1" ] || find "$1" -mindepth 1 -maxdepth 1 -type d | sort | head -n 1
}

# Resumes what is in $1 and compares it with the numbers in $2; the command follows.
goes_on() {
    local out="$1" expected="$2" folder
    shift 2
    folder="$(made "$out")"
    if [ -n "$folder" ] && [ -e "$folder/settings.toml" ]; then
        "$BILEVEL" resume "$folder" --quiet >"$work/log" 2>&1 || fail "resume fails after $what: $(cat "$work/log")"
    else
        # Nothing was promised yet.
        rm -rf "$out"
        "$BILEVEL" "$@" --out "$out" >"$work/log" 2>&1 || fail "a new run fails after $what: $(cat "$work/log")"
        folder="$(made "$out")"
    fi
    numbers "$folder" | diff -q - "$expected" >/dev/null || fail "other numbers after $what"
    local rest
    rest="$(find "$folder" -name '.unfinished-*' -o -name lock -o -name 'checkpoint*')"
    [ -z "$rest" ] || fail "left after $what: $rest"
}

# Ends the command that follows at call $2 of those in $1, as `kill -9` does; whether there was such a call.
ended_at() {
    local which="$1" at="$2" code=0
    shift 2
    # In a shell of its own, which says of the kill where nobody reads it.
    (strace -f -qq -o /dev/null -e trace="$which" -e inject="$which:signal=KILL:when=$at" "$BILEVEL" "$@"; exit $?) \
        >/dev/null 2>&1 || code=$?
    [ "$code" -eq 0 ] && return 1
    [ "$code" -eq 137 ] || fail "code $code, killed at call $at"
}

# At every $1-th call of the command that follows.
kill_at_each() {
    local every="$1" at=1 of
    shift
    "$BILEVEL" "$@" --out "$work/whole" >/dev/null 2>&1
    numbers "$work/whole" >"$work/expected"
    for of in "$calls" rename; do # the second by the thread that writes checkpoints
        at=1
        while rm -rf "$work/out" && ended_at "$of" "$at" "$@" --out "$work/out"; do
            what="call $at of $of"
            goes_on "$work/out" "$work/expected" "$@"
            at=$((at + every))
        done
        echo "$1: killed at $(((at - 1) / every)) calls of $of, resumed with the same numbers"
        every=1
    done
}

kill_all() {
    needs strace kill
    binary
    kill_at_each 1 "${run[@]}"
    # Resuming is cut short too.
    rm -rf "$work/out"
    ended_at rename 2 "${run[@]}" --out "$work/out" || fail "no second checkpoint"
    local at=1
    while rm -rf "$work/again" && cp -r "$work/out" "$work/again" &&
        ended_at "$calls" "$at" resume "$(made "$work/again")" --quiet; do
        what="call $at of resume"
        goes_on "$work/again" "$work/expected" "${run[@]}"
        at=$((at + 1))
    done
    echo "resume: killed at $((at - 1)) calls"
    rm -rf "$work/whole"
    kill_at_each "${EVERY:-40}" "${table[@]}"
}

full() {
    binary
    mkdir "$work/disk"
    mount -t tmpfs -o size=1m tmpfs "$work/disk" || fail "no right to mount a disk of 1 MiB"
    "$BILEVEL" "${run[@]}" --out "$work/whole" >/dev/null 2>&1
    numbers "$work/whole" >"$work/expected"
    local free code refused=0
    for free in 0 4 8 12 16 24 32 48 64 96 128 256; do
        rm -rf "$work/disk/"*
        head -c $(((1024 - free) * 1024)) /dev/zero >"$work/disk/filler" 2>/dev/null || true
        code=0
        "$BILEVEL" "${run[@]}" --out "$work/disk/out" >"$work/log" 2>&1 || code=$?
        if [ "$code" -ne 0 ]; then
            [ "$code" -eq 6 ] || fail "code $code with $free KiB: $(cat "$work/log")"
            grep -qi "no space" "$work/log" || fail "no word of the space: $(cat "$work/log")"
            refused=$((refused + 1))
        fi
        rm "$work/disk/filler"
        what="a disk with $free KiB"
        # A run that was whole is whole: resuming it says so.
        [ "$code" -eq 0 ] || goes_on "$work/disk/out" "$work/expected" "${run[@]}"
    done
    echo "full: refused by code 6 on $refused of 12 disks, resumed with the same numbers"
}

fuzz() {
    local seconds="$1" host=x86_64-unknown-linux-gnu name targets
    # Counters at each edge and the operands of comparisons, which libFuzzer reads: what cargo-fuzz asks for too.
    local counted="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 --cfg fuzzing -Zsanitizer=address"
    local kinds="-inline-8bit-counters -pc-table -trace-compares" kind
    for kind in $kinds; do counted+=" -Cllvm-args=-sanitizer-coverage$kind"; done
    # By a triple of its own, so that build scripts and macros are not counted.
    (cd fuzz && RUSTFLAGS="$counted" nice -n 19 cargo +nightly build --release --target "$host" --target-dir "$target/fuzz")
    targets="$(basename -s .rs -a fuzz/targets/*.rs)"
    for name in $targets; do
        mkdir -p "$target/fuzz/corpus/$name" "$target/fuzz/finds"
        echo "fuzz: $name for $seconds s"
        "$target/fuzz/$host/release/$name" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 \
            -artifact_prefix="$target/fuzz/finds/$name-" "$target/fuzz/corpus/$name" "fuzz/seeds/$name" \
            >"$target/fuzz/$name.log" 2>&1 || fail "$name: $(tail -n 5 "$target/fuzz/$name.log")"
        grep -E "number_of_executed_units|peak_rss_mb" "$target/fuzz/$name.log"
    done
}

asan() {
    # RUSTC_BOOTSTRAP gives the sanitizer to the stable toolchain, and a triple of its own keeps it out of build scripts
    # and macros. proptest and rayon leak at the end. No debugging information: less disk.
    local tests=(env RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address ASAN_OPTIONS=detect_leaks=0 CARGO_INCREMENTAL=0
        CARGO_PROFILE_DEV_DEBUG=0 cargo test --package bilevel-flex --lib --tests --target x86_64-unknown-linux-gnu
        --target-dir "$target/asan") begin
    "${tests[@]}" --no-run
    begin=$SECONDS
    "${tests[@]}" | tee "$target/asan/log"
    echo "asan: $(awk '/^test result: ok/ { n += $4 } END { print n }' "$target/asan/log") tests in $((SECONDS - begin)) s"
}

miri() {
    cargo +nightly miri --version || fail "no Miri; rustup component add miri rust-src --toolchain nightly"
    # Two threads share the work, by the rules of Tree Borrows: those of Stacked Borrows stop in the queues of rayon, whose
    # threads outlive the tests.
    (cd fuzz && RAYON_NUM_THREADS=2 MIRIFLAGS="-Zmiri-tree-borrows -Zmiri-permissive-provenance -Zmiri-ignore-leaks" \
        cargo +nightly miri test -p flex-kernels --target-dir "$target/miri" -- --skip gemm)
}

mutants() {
    local list code=0
    for list in scripts/mutants-core.txt scripts/mutants.txt; do
        python3 scripts/mutate.py --jobs "$(nproc)" "$list" || code=$?
    done
    return "$code"
}

case "${1:-}" in
kill) kill_all ;;
fuzz) fuzz "${2:-60}" ;;
full | asan | miri | mutants) "$1" ;;
*)
    sed -n '2,12p' "$0" | cut -c3-
    exit 2
    ;;
esac
