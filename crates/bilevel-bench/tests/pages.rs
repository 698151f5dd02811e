//! The allocator's option, in a process with one thread: without the test harness.
#![allow(unsafe_code)]

use std::env;
use std::ffi::c_long;
use std::process::Command;

use bilevel_bench::memory::keep_free_pages;
use libmimalloc_sys::mi_option_get;

const VARIABLE: &str = "MIMALLOC_PURGE_DELAY";

/// `mi_option_purge_delay`
fn delay() -> c_long {
    // SAFETY: reads a number, and there is one thread.
    unsafe { mi_option_get(15) }
}

fn main() {
    // The process itself asks for two others, one with the variable and one without.
    let expected = match env::var("EXPECTED_DELAYS") {
        Ok(expected) => expected,
        Err(_) => {
            for (variable, expected) in [(None, "10, 1000"), (Some("50"), "50, 50")] {
                let mut child = Command::new(env::current_exe().expect("a path of its own"));
                child.env_remove(VARIABLE).env("EXPECTED_DELAYS", expected);
                child.envs(variable.map(|delay| (VARIABLE, delay)));
                assert!(child.status().expect("a process").success(), "{VARIABLE} {variable:?}");
            }
            return;
        }
    };
    let before = delay();
    // SAFETY: there is one thread.
    unsafe { keep_free_pages() };
    assert_eq!(format!("{before}, {}", delay()), expected, "before and after");
}
