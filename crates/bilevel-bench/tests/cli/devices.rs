//! Backends and devices: which exist, and what is refused.

use super::*;

#[test]
fn wgpu_without_an_adapter_is_an_error_and_not_a_panic() {
    let out = tempdir().unwrap();
    let mut command = bilevel();
    command.args(["run", "hyper-cleaning", "--device", "wgpu", "--out"]).arg(out.path());
    // The Vulkan loader finds no driver where it is told to look at none.
    command
        .env("VK_DRIVER_FILES", "/nonexistent.json")
        .env("VK_ICD_FILENAMES", "/nonexistent.json");
    if cfg!(target_os = "linux") {
        // A build without wgpu has another remedy.
        let cure = if cfg!(feature = "wgpu") { "--device flex" } else { "another --device" };
        command.assert().code(4).stderr(contains(cure).and(contains("panicked").not()));
    }
}

#[test]
fn backends_without_their_driver_or_out_of_the_build_say_so() {
    for (name, built, driver) in [
        ("cuda", cfg!(feature = "cuda"), "/dev/nvidiactl"),
        ("rocm", cfg!(feature = "rocm"), "/dev/kfd"),
    ] {
        if built && std::path::Path::new(driver).exists() {
            continue;
        }
        let says = if built { "no driver of" } else { "is not in this build" };
        let run = ["run", "hyper-cleaning", "--device", name];
        let refused = bilevel().args(run).assert().code(4);
        refused.stderr(contains(says).and(contains("panicked").not()));
    }
}

#[test]
fn a_device_is_a_backend_and_a_number() {
    let on = |device: &str| {
        let mut command = bilevel();
        command.args(["hypergrad", "--workload", "small", "--lower-steps", "1"]);
        command.args(["--repetitions", "1", "--device", device]);
        command.assert()
    };
    for (name, says) in [
        ("gpu", "no device is called `gpu`, expected auto, flex"),
        ("wgpu:first", "no device is called `wgpu:first`"),
        ("flex:1", "flex has no devices to choose from: leave out `:1`"),
    ] {
        on(name).code(2).stderr(contains(says));
    }
    let old = bilevel().args(["hypergrad", "--backend", "flex"]).assert().code(2);
    old.stderr(contains("--backend is called --device now"));
    on("flex").success().stdout(contains("on flex"));
    if bilevel_bench::backend::adapters().is_empty() {
        return;
    }
    on("wgpu:0").success().stdout(contains("on wgpu"));
    let refused = on("wgpu:9").code(4);
    refused.stderr(contains("no device wgpu:9 on this machine").and(contains("wgpu:0 (")));
}

#[test]
fn doctor_and_list_say_what_there_is() {
    let doctor = bilevel().arg("doctor").assert().success().stdout(contains("auto picks"));
    let built =
        [("flex", true), ("ndarray", cfg!(feature = "ndarray")), ("wgpu", cfg!(feature = "wgpu"))];
    built
        .into_iter()
        .filter(|(_, built)| *built)
        .fold(doctor, |doctor, (name, _)| doctor.stdout(contains(name)));
    bilevel()
        .arg("list")
        .assert()
        .success()
        .stdout(contains("hyper-cleaning").and(contains("rad")));
    bilevel().arg("--help").assert().success().stdout(contains("Exit codes"));
    // The loaders of drivers complain where there is no such folder.
    let silent = || contains("XDG_RUNTIME_DIR").not();
    bilevel().arg("doctor").env_remove("XDG_RUNTIME_DIR").assert().success().stderr(silent());
    bilevel().arg("doctor").env("XDG_RUNTIME_DIR", "/none").assert().success().stderr(silent());
}
