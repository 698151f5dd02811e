//! Tells the binary its commit, where it is built from a repository.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // A build for development would be made again at each commit.
    let profile = std::env::var("PROFILE").unwrap_or_default();
    let commit = if profile == "release" { commit() } else { None };
    println!("cargo:rustc-env=BILEVEL_COMMIT={}", commit.unwrap_or_default());
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
