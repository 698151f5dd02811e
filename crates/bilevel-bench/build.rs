//! Passes the commit to the binary, if it is built from a repository, and reduces its size.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // A development build would otherwise be repeated at each commit.
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = if is_release { commit() } else { None };
    println!("cargo:rustc-env=BILEVEL_COMMIT={}", commit.unwrap_or_default());
    let is_debugged = env::var("DEBUG").is_ok_and(|debug| debug != "false");
    if is_release && !is_debugged && links_by_lld() {
        // Identical functions are merged: a tenth of the code.
        println!("cargo:rustc-link-arg-bins=-Wl,--strip-all,--icf=all");
    }
}

/// Whether the linker is the one that comes with Rust for this target, and no other one was requested.
fn links_by_lld() -> bool {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let is = |name: &str| env::var(name).is_ok_and(|target| target == TARGET);
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let sysroot = || {
        let ran = Command::new(env::var_os("RUSTC")?).args(["--print", "sysroot"]).output().ok()?;
        Some(PathBuf::from(String::from_utf8(ran.stdout).ok()?.trim()))
    };
    let has_lld = || {
        sysroot().is_some_and(|root| {
            root.join("lib/rustlib").join(TARGET).join("bin/gcc-ld/ld.lld").exists()
        })
    };
    is("TARGET")
        && is("HOST")
        && env::var_os("RUSTC_LINKER").is_none()
        && !flags.contains("link")
        && has_lld()
}

fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let ran = Command::new("git").args(args).output().ok()?;
        ran.status.success().then(|| String::from_utf8_lossy(&ran.stdout).trim().to_owned())
    };
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    println!("cargo:rerun-if-changed={log}");
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(git(&["rev-parse", "--short=12", "HEAD"])? + if changed { ", with changes" } else { "" })
}
