//! The binary from outside: what it prints, what it writes, how it ends.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;
use tempfile::{TempDir, tempdir};

fn bilevel() -> Command {
    Command::cargo_bin("bilevel").unwrap()
}

/// Hyper-cleaning in a few seconds, on flex.
fn quick(out: &Path, more: &[&str]) -> Command {
    let mut command = bilevel();
    command.args(["run", "hyper-cleaning", "--device", "flex", "--upper-steps", "3"]);
    command.args(["--lower-steps", "5", "--out"]).arg(out).args(more);
    command
}

fn idx(kind: u8, dims: &[u32], body: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, kind, dims.len() as u8];
    file.extend(dims.iter().flat_map(|d| d.to_be_bytes()));
    file.extend(body);
    file
}

/// A sound folder in MNIST's format: 40 + 20 images of 2x2 pixels, 2 classes.
fn folder() -> TempDir {
    let dir = tempdir().unwrap();
    for (part, n) in [("train", 40_u32), ("t10k", 20)] {
        let labels: Vec<u8> = (0..n).map(|i| (i % 2) as u8).collect();
        let pixels: Vec<u8> = labels
            .iter()
            .flat_map(|&l| if l == 0 { [250, 10, 20, 30] } else { [20, 30, 240, 5] })
            .collect();
        let images = idx(8, &[n, 2, 2], &pixels);
        fs::write(dir.path().join(format!("{part}-images-idx3-ubyte")), images).unwrap();
        fs::write(dir.path().join(format!("{part}-labels-idx1-ubyte")), idx(8, &[n], &labels))
            .unwrap();
    }
    dir
}

fn on_folder(dir: &Path, out: &Path) -> Command {
    let mut command = quick(out, &["--train", "10", "--validation", "10", "--method", "rad"]);
    command.arg("--data-dir").arg(dir);
    command
}

#[test]
fn a_run_prints_a_table_and_writes_its_folder() {
    let out = tempdir().unwrap();
    quick(out.path(), &[]).assert().success().stdout(
        contains("noisy").and(contains("rad")).and(contains("cg")).and(contains("oracle calls")),
    );
    let run = out.path().join("hyper-cleaning-0");
    for file in ["summary.json", "metrics.csv", "settings.toml", "curves.svg", "report.html"] {
        assert!(fs::metadata(run.join(file)).unwrap().len() > 100, "{file}");
    }
    assert_eq!(fs::read_to_string(run.join("metrics.csv")).unwrap().lines().count(), 1 + 2 * 4 + 2);
}

#[test]
fn data_in_shards_gives_the_same_up_to_rounding() {
    let out = tempdir().unwrap();
    let losses = |more: &[&str]| -> Vec<f64> {
        let args = [&["--json", "--method", "noisy,rad,cg,penalty"], more].concat();
        let ran = quick(out.path(), &args).assert().success();
        let summary: serde_json::Value = serde_json::from_slice(&ran.get_output().stdout).unwrap();
        let methods = summary["methods"].as_array().unwrap();
        let losses =
            methods.iter().flat_map(|method| [&method["upper_loss"], &method["lower_loss"]]);
        losses.map(|loss| loss.as_f64().unwrap()).collect()
    };
    for (found, expected) in losses(&["--shards", "4"]).iter().zip(losses(&[])) {
        assert!((found - expected).abs() < 1e-4 * expected, "{found}, {expected}");
    }
    let refused = |mut command: Command, text: &'static str| {
        command.assert().code(2).stderr(contains(text));
    };
    refused(quick(out.path(), &["--shards", "3"]), "--shards is 3, expected a divisor of the 500");
    let mut other = bilevel();
    other.args(["run", "importance", "--shards", "2"]);
    refused(other, "no means over equal parts");
}

#[test]
fn the_summary_repeats_itself_for_a_seed_and_differs_for_another() {
    let out = tempdir().unwrap();
    let accuracies = |seed: &str| -> Vec<f64> {
        let ran = quick(out.path(), &["--json", "--seed", seed]).assert().success();
        let summary: serde_json::Value = serde_json::from_slice(&ran.get_output().stdout).unwrap();
        let methods = summary["methods"].as_array().unwrap();
        methods.iter().map(|method| method["upper_loss"].as_f64().unwrap()).collect()
    };
    let first = accuracies("7");
    assert_eq!(first.len(), 4);
    assert_eq!(first, accuracies("7"));
    assert_ne!(first, accuracies("8"));
}

/// The default run: what the README promises of it.
#[test]
fn both_methods_clean_the_digits() {
    let out = tempdir().unwrap();
    let mut command = bilevel();
    command.args(["run", "hyper-cleaning", "--device", "flex", "--json", "--out"]).arg(out.path());
    let ran = command.assert().success();
    let summary: serde_json::Value = serde_json::from_slice(&ran.get_output().stdout).unwrap();
    let accuracy = |name: &str| {
        let mut methods = summary["methods"].as_array().unwrap().iter();
        let method = methods.find(|method| method["name"] == name).unwrap();
        100.0 * method["test_accuracy"].as_f64().unwrap()
    };
    for method in ["rad", "cg"] {
        assert!(accuracy(method) >= accuracy("noisy") + 5.0, "{summary:#}");
        assert!(accuracy(method) >= accuracy("clean-labels") - 3.0, "{summary:#}");
    }
    // The summary is the last row of the series.
    let series = fs::read_to_string(out.path().join("hyper-cleaning-0/metrics.csv")).unwrap();
    let last = series.lines().rfind(|row| row.starts_with("rad,")).unwrap();
    let columns: Vec<&str> = series.lines().next().unwrap().split(',').collect();
    let column = |name: &str| {
        let at = columns.iter().position(|column| *column == name).unwrap();
        last.split(',').nth(at).unwrap().parse::<f64>().unwrap()
    };
    let rad = &summary["methods"].as_array().unwrap()[1];
    assert_eq!(column("f1"), rad["detection"]["f1"].as_f64().unwrap());
    assert_eq!(column("test_accuracy"), rad["test_accuracy"].as_f64().unwrap());
    assert_eq!(column("step"), 150.0);
}

#[test]
fn a_folder_in_the_format_of_mnist_is_read() {
    let (data, out) = (folder(), tempdir().unwrap());
    on_folder(data.path(), out.path()).assert().success().stdout(contains("rad"));
}

#[test]
fn damaged_data_ends_with_code_3_and_a_cure() {
    let out = tempdir().unwrap();
    let images = "train-images-idx3-ubyte";
    /// What was done, what the error must say of it, and how it is done.
    type Case<'a> = (&'a str, [&'a str; 2], &'a dyn Fn(&Path));
    let cases: [Case<'_>; 5] = [
        ("truncated", ["160 bytes after the header, found 157", "fetch"], &|dir| {
            let file = dir.join(images);
            let whole = fs::read(&file).unwrap();
            fs::write(&file, &whole[..whole.len() - 3]).unwrap();
        }),
        ("bit-flipped", ["images", "fetch"], &|dir| {
            let file = dir.join(images);
            let mut bytes = fs::read(&file).unwrap();
            bytes[7] ^= 1 << 4;
            fs::write(&file, bytes).unwrap();
        }),
        ("empty", ["images", "fetch"], &|dir| fs::write(dir.join(images), []).unwrap()),
        ("missing", ["images", "MNIST"], &|dir| fs::remove_file(dir.join(images)).unwrap()),
        ("of a wrong shape", ["39 labels", "same set"], &|dir| {
            fs::write(dir.join("train-labels-idx1-ubyte"), idx(8, &[39], &[0; 39])).unwrap();
        }),
    ];
    for (what, says, damage) in cases {
        let data = folder();
        damage(data.path());
        let ran = on_folder(data.path(), out.path()).assert().code(3);
        let text = String::from_utf8_lossy(&ran.get_output().stderr).into_owned();
        assert!(text.starts_with("error: "), "{what}: {text}");
        assert!(says.iter().all(|part| text.contains(part)), "{what}: {text}");
        assert!(!text.contains("panicked"), "{what}: {text}");
    }
}

#[test]
fn a_folder_that_is_not_there_ends_with_code_3() {
    let out = tempdir().unwrap();
    on_folder(Path::new("no/such/folder"), out.path())
        .assert()
        .code(3)
        .stderr(contains("no/such/folder"));
}

#[test]
fn settings_out_of_range_end_with_code_2_and_a_cure() {
    let out = tempdir().unwrap();
    for (flag, value) in [
        ("--lower-steps", "0"),
        ("--upper-steps", "0"),
        ("--step-size", "-1"),
        ("--step-size", "NaN"),
        ("--learning-rate", "0"),
        ("--noise", "1.5"),
        ("--solver-iterations", "0"),
    ] {
        let mut command = bilevel();
        command
            .args(["run", "hyper-cleaning", &format!("{flag}={value}"), "--out"])
            .arg(out.path());
        command.assert().code(2).stderr(contains(flag).and(contains("expected")));
    }
    quick(out.path(), &["--train", "5000"]).assert().code(3).stderr(contains("smaller parts"));
}

#[test]
fn an_unknown_method_ends_with_code_2_and_the_known_ones() {
    let out = tempdir().unwrap();
    quick(out.path(), &["--method", "magic"])
        .assert()
        .code(2)
        .stderr(contains("magic").and(contains("rad")).and(contains("cg")));
}

#[test]
fn auto_is_replaced_by_what_was_chosen() {
    let out = tempdir().unwrap();
    let auto = ["--method", "noisy,auto", "--step-size", "auto", "--train", "100"];
    let settings = |run: &str| -> toml::Table {
        let text = fs::read_to_string(out.path().join(run).join("settings.toml")).unwrap();
        let mut table: toml::Table = text.parse().unwrap();
        // With the date.
        table.remove("made-by").unwrap();
        table
    };
    let said = contains("measured").and(contains("chosen")).and(contains("because"));
    quick(out.path(), &auto).assert().success().stderr(said);
    let first = settings("hyper-cleaning-0");
    let methods = first["method"].as_array().unwrap();
    let chosen = methods[1].as_str().unwrap();
    assert!(methods.len() == 2 && chosen != "auto", "{methods:?}");
    assert!(first["step-size"].as_float().unwrap() > 0.0);
    // The same again, and by the name of what was chosen.
    quick(out.path(), &auto).assert().success();
    assert_eq!(settings("hyper-cleaning-0-2"), first);
    quick(out.path(), &["--train", "100", "--method", chosen]).assert().success();
    bilevel().arg("resume").arg(out.path().join("hyper-cleaning-0")).assert().success();

    let mut compare = bilevel();
    compare.args(["compare", "quadratic", "--method", "auto", "--seeds", "2", "--calls", "128"]);
    compare.arg("--out").arg(out.path()).assert().success().stdout(contains("saba"));
    let without = ["run", "sinusoid", "--preset", "smoke", "--step-size", "auto", "--out"];
    let mut without_auto = bilevel();
    without_auto.args(without).arg(out.path());
    without_auto.assert().code(2).stderr(contains("sinusoid has no auto"));
}

#[test]
fn a_step_size_that_diverges_ends_with_code_5_and_a_cure() {
    let out = tempdir().unwrap();
    for model in ["softmax", "mlp"] {
        quick(out.path(), &["--step-size", "1e9", "--method", "noisy,rad,cg", "--network", model])
            .assert()
            .code(5)
            .stdout(contains("reduce the lower step size"))
            .stderr(contains("noisy, rad, cg did not end well"));
    }
}

#[test]
fn results_that_cannot_be_written_end_with_code_6() {
    let out = tempdir().unwrap();
    let file = out.path().join("file");
    fs::write(&file, "").unwrap();
    quick(&file, &["--method", "noisy"]).assert().code(6).stderr(contains("file"));
}

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
        // A build without wgpu has another cure.
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

#[test]
fn the_derivatives_of_an_experiment_are_checked() {
    let data = folder();
    let on_folder = ["--data-dir", data.path().to_str().unwrap()];
    for more in [&[][..], &["--network", "mlp"]] {
        let mut command = bilevel();
        command.args(["check", "hyper-cleaning"]).args(more);
        command.assert().success().stderr("").stdout(
            contains("The upper loss")
                .and(contains("The lower loss"))
                .and(contains("hessian   x.logits"))
                .and(contains("symmetry"))
                .and(contains("WRONG").not()),
        );
    }
    // Its data and its settings are read as a run reads them.
    let mut command = bilevel();
    command.args(["check", "hyper-cleaning"]).args(on_folder);
    command.assert().code(3).stderr(contains("smaller parts"));
}

#[test]
fn small_problems_are_solved_without_a_setting() {
    bilevel().arg("solve").assert().success().stdout(contains("bard-1988-1").and(contains("17")));
    let solved = bilevel().args(["solve", "toll-setting"]).assert().success();
    let printed = String::from_utf8(solved.get_output().stdout.clone()).unwrap();
    // The line `F`, not `known`.
    let found = printed.lines().find_map(|line| line.strip_prefix("F "));
    let found: f64 = found.expect(&printed).trim().parse().unwrap();
    assert!((found + 9.0625).abs() < 1e-3, "{printed}");
    bilevel().args(["solve", "no-such"]).assert().code(2).stderr(contains("TOML file"));
    let folder = tempdir().unwrap();
    let file = folder.path().join("own.toml");
    let with = |constraint: &str| {
        let formulas = "F = '(x1 - 3)^2 + y1^2'\nf = '(y1 - x1)^2'\nx = [0]\ny = [0]\n";
        fs::write(&file, format!("{formulas}{constraint}")).unwrap();
        let mut solve = bilevel();
        solve.arg("solve").arg(&file);
        solve.assert()
    };
    with("g = ['x1 + y1 - 2']").success().stdout(contains("0.500000").and(contains("stationary")));
    with("G = ['1 - x1', 'x1']").code(5).stderr(contains("a constraint is violated"));
    with("G = ['x9']").code(2).stderr(contains("expected x1 to x1"));
    let two = "F = '(x1 - 1)^2 + x1 * y1'\nf = '(y1^2 - 1)^2'\nx = [2]\ny = [0.3]\n";
    fs::write(&file, two).unwrap();
    let solve = |args: &[&str]| bilevel().arg("solve").arg(&file).args(args).assert().success();
    solve(&[]).stdout(contains("1.500000"));
    solve(&["--pessimistic"]).stdout(contains("0.500000"));
}

#[test]
fn toys_hold_sources_to_their_word() {
    let out = tempdir().unwrap();
    let mut toys = bilevel();
    toys.args(["toys", "--problem", "bda-counterexample", "--out"]).arg(out.path());
    toys.assert().success().stdout(contains("rhg").and(contains("15 of 16 claims hold")));
    let folder = out.path().join("toys");
    for file in ["claims.csv", "bda-starts.svg", "bda-steps.svg", "bda-weights.svg"] {
        assert!(fs::metadata(folder.join(file)).unwrap().len() > 100, "{file}");
    }
    bilevel().args(["toys", "--problem", "none"]).assert().code(2).stderr(contains("quadratic"));
}

#[test]
fn methods_are_compared_over_seeds() {
    let out = tempdir().unwrap();
    let compare = |more: &[&str]| {
        let mut compare = bilevel();
        compare.args(["compare", "quadratic", "--seeds", "2", "--calls", "256", "--out"]);
        compare.arg(out.path()).args(more);
        compare
    };
    let methods = ["--method", "cg,penalty,soba,stn"];
    let ran = compare(&methods).assert().success().stdout(contains("squared slope"));
    let printed = String::from_utf8(ran.get_output().stdout.clone()).unwrap();
    let folder = out.path().join("compare-quadratic");
    let marks = fs::read_to_string(folder.join("metrics.csv")).unwrap();
    for (method, family) in
        [("cg", "hypergradient"), ("penalty", "joint"), ("soba", "stochastic"), ("stn", "proxy")]
    {
        assert!(
            printed.contains(method) && marks.contains(&format!("quadratic,{family},{method},1,"))
        );
        for quantity in ["slope", "value"] {
            for axis in ["calls", "seconds"] {
                let file = folder.join(format!("{family}-{quantity}-by-{axis}.svg"));
                let svg = fs::read_to_string(file).unwrap();
                assert!(svg.contains(method) && svg.contains("median of 2 seeds"));
            }
        }
    }
    // The same seeds, the same numbers, but for the time.
    compare(&methods).assert().success();
    let again = fs::read_to_string(out.path().join("compare-quadratic-2/metrics.csv")).unwrap();
    let without_time = |text: &str| -> Vec<String> {
        let rows = text.lines().map(|row| row.split(',').collect::<Vec<_>>());
        rows.map(|row| [&row[..5], &row[6..]].concat().join(",")).collect()
    };
    assert_eq!(without_time(&marks), without_time(&again));

    compare(&["--method", "gradient-guess"])
        .assert()
        .code(2)
        .stderr(contains("no method is called `gradient-guess`").and(contains("soba")));
    let mut without_data = bilevel();
    without_data.args(["compare", "ijcnn1", "--out"]).arg(out.path());
    without_data.assert().code(2).stderr(contains("--data-dir"));
}

#[test]
fn every_contender_runs() {
    let out = tempdir().unwrap();
    let mut compare = bilevel();
    compare.args(["compare", "quadratic", "--method", "all", "--seeds", "1", "--calls", "512"]);
    let ran = compare.arg("--out").arg(out.path()).assert().success();
    let printed = String::from_utf8(ran.get_output().stdout.clone()).unwrap();
    assert!(!printed.contains("1 of 1") && !printed.contains("inf"), "{printed}");
}

/// `mwn` or `mlc` on the digits, a few iterations.
fn robust(experiment: &str, out: &Path, more: &[&str]) -> Command {
    let mut command = bilevel();
    command.args([
        "run",
        experiment,
        "--device",
        "flex",
        "--iterations",
        "6",
        "--repetitions",
        "1",
    ]);
    command.args(["--batch", "32", "--evaluations", "2", "--out"]).arg(out).args(more);
    command
}

#[test]
fn robust_training_reports_cost_accuracy_and_what_was_learned() {
    for (experiment, figure, learned) in
        [("mwn", "weights", "AUC"), ("mlc", "transition", "T error")]
    {
        let out = tempdir().unwrap();
        let ran = robust(experiment, out.path(), &["--json"]).assert().success();
        let summary: serde_json::Value = serde_json::from_slice(&ran.get_output().stdout).unwrap();
        let methods = summary["methods"].as_array().unwrap();
        let game = format!("nsgame-{experiment}");
        let names: Vec<_> = methods.iter().map(|method| method["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["plain", experiment, &game]);
        for method in methods {
            let number = |of: &serde_json::Value| of.as_f64().is_some_and(f64::is_finite);
            let figures = &method["figures"];
            assert!(
                method["ok"].as_bool().unwrap() && number(&method["test_accuracy"]),
                "{method}"
            );
            assert!(number(&figures["s/iteration"]), "{method}");
            assert!(number(&figures["extra MiB"]), "{method}");
            assert_eq!(number(&figures[learned]), method["name"] != "plain", "{method}");
        }
        let run = out.path().join(format!("{experiment}-0"));
        for method in [experiment, &game] {
            assert!(fs::metadata(run.join(format!("{figure}-{method}.svg"))).unwrap().len() > 1000);
        }
        // What a seed fixes: all but what was measured.
        let again = robust(experiment, out.path(), &["--json"]).assert().success();
        let again: serde_json::Value = serde_json::from_slice(&again.get_output().stdout).unwrap();
        for (one, other) in methods.iter().zip(again["methods"].as_array().unwrap()) {
            for figure in ["test_accuracy", "upper_loss", "lower_loss", "oracle_calls"] {
                assert_eq!(one[figure], other[figure], "{figure} of {experiment}");
            }
        }
    }
}

#[test]
fn robust_training_refuses_settings_and_data_with_a_cure() {
    let out = tempdir().unwrap();
    for (more, code, text) in [
        (&["--noise", "1.5"][..], 2, "a share of at least 0 and below 1"),
        (&["--noise-kind", "human"], 2, "--human-labels is missing"),
        (&["--imbalance", "0.5"], 3, "an imbalance factor of 0.5"),
        (&["--clean", "200"], 3, "ask for smaller parts"),
        (&["--clean", "0"], 2, "a count of at least 1"),
        (&["--data-dir", "."], 3, "lacks data_batch_1.bin"),
    ] {
        robust("mwn", out.path(), more).assert().code(code).stderr(contains(text));
    }
    assert!(fs::read_dir(out.path()).unwrap().next().is_none(), "no folder is left");
}

#[test]
fn a_program_is_shown_drawn_and_counted() {
    let shown = |form: &str| {
        let command = bilevel()
            .args(["program", "hyper-cleaning", "--samples", "20", "--form", form])
            .assert();
        String::from_utf8(command.success().get_output().stdout.clone()).unwrap()
    };
    let text = shown("text");
    assert!(text.lines().next().unwrap().starts_with("%0 = input F32 [20]"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("output ")).count(), 3, "{text}");
    assert!(text.ends_with(&shown("count")), "{text}");
    let drawn = shown("dot");
    assert!(drawn.starts_with("digraph program {") && drawn.ends_with("}\n"), "{drawn}");
}

/// A table of two classes, the first feature of which tells them apart; the last five labels are wrong.
fn table(folder: &Path) -> std::path::PathBuf {
    let row = |at: usize| {
        let (class, wrong) = (at % 2, at >= 115);
        let kind = if (class == 0) != wrong { "even" } else { "odd" };
        format!("{},{},{kind}\n", class as f64 + 0.1 * (at % 7) as f64, at % 5)
    };
    let file = folder.join("table.csv");
    let rows: String = (0..120).map(row).collect();
    fs::write(&file, format!("size,noise,kind\n{rows}")).unwrap();
    file
}

#[test]
fn a_table_of_ones_own_is_cleaned_and_tuned() {
    let out = tempdir().unwrap();
    let data = table(out.path());
    let run = |command: &str, more: &[&str]| {
        let mut run = bilevel();
        run.arg(command).arg(&data).args(["--label", "kind", "--device", "flex", "--out"]);
        run.arg(out.path()).args(more).assert()
    };
    run("clean", &["--trusted", "0.2"]).success().stdout(contains("suspects"));
    let folder = out.path().join("clean-0");
    let suspects = fs::read_to_string(folder.join("suspects-rad.csv")).unwrap();
    let rows = suspects.lines().skip(1).filter(|row| !row.ends_with("true"));
    let first = |row: &str| row.split(',').next().unwrap().parse::<usize>().unwrap();
    let mut worst: Vec<usize> = rows.map(first).take(3).collect();
    worst.retain(|row| *row > 115);
    assert_eq!(worst.len(), 3, "{suspects}");
    let cleaned = fs::read_to_string(folder.join("cleaned-rad.csv")).unwrap();
    assert!(cleaned.starts_with("size,noise,kind\n") && cleaned.lines().count() < 121);
    run("clean", &["--trusted", "1.5"]).code(2).stderr(contains("a share between 0 and 1"));
    run("clean", &["--trusted", "none.csv"]).code(3).stderr(contains("none.csv"));

    let quick = ["--calls", "900", "--lower-steps", "50", "--evaluations", "2"];
    run("tune", &quick).success().stdout(contains("test loss"));
    let model = fs::read(out.path().join("hpo-0/model-cg.safetensors")).unwrap();
    let model = safetensors::SafeTensors::deserialize(&model).unwrap();
    assert_eq!(model.tensor("weight").unwrap().shape(), [2, 2]);
    assert_eq!(model.tensor("log_penalty").unwrap().shape(), [2]);
    // The features are centred by the rows that train: not by all, whose mean this is.
    let mean = model.tensor("mean").unwrap().data()[..8].try_into().map(f64::from_le_bytes);
    assert!((mean.unwrap() - (0.5 + 0.1 * 2.975)).abs() > 1e-6, "{mean:?}");
}

/// The lines of a file of a run.
fn lines(out: &Path, file: &str) -> Vec<String> {
    let text = fs::read_to_string(out.join(file)).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn what_is_cleaned_is_the_data_and_as_it_was_read() {
    let out = tempdir().unwrap();
    let row = |at: usize| {
        let class = at % 2;
        format!("{} 1:{} 3:0.{}\n", 2 * class as i32 - 1, 10 * class + 100, at + 100)
    };
    let [data, trusted] = [(0..60), (60..90)].map(|rows| {
        let path = out.path().join(format!("{}.libsvm", rows.start));
        fs::write(&path, rows.map(row).collect::<String>()).unwrap();
        path
    });
    let mut clean = bilevel();
    clean.arg("clean").arg(&data).arg("--trusted").arg(&trusted).args(["--method", "noisy"]);
    clean.args(["--judge-steps", "100", "--device", "flex", "--out"]).arg(out.path());
    clean.assert().success();
    let cleaned = lines(out.path(), "clean-0/cleaned-noisy.csv");
    assert_eq!((cleaned.len(), &*cleaned[0]), (61, "1,2,3,label"));
    assert_eq!(cleaned[1..3], ["100,0,0.1,-1", "110,0,0.101,1"]);
}

#[test]
fn images_in_class_folders_and_labels_of_people_are_cleaned() {
    let out = tempdir().unwrap();
    let images = out.path().join("images");
    for (class, shade) in [("cat", 40), ("dog", 200)] {
        fs::create_dir_all(images.join(class)).unwrap();
        for image in 0..20 {
            let pixels = [shade + image; 16];
            let file = images.join(format!("{class}/{image:02}.png"));
            fs::write(file, bilevel_data::gray::png(&pixels, 4)).unwrap();
        }
    }
    let run = |more: &[&str]| {
        let mut run = bilevel();
        run.arg("clean").arg(&images).args(["--preset", "smoke", "--method", "noisy"]);
        run.args(["--device", "flex", "--out"]).arg(out.path()).args(more).assert()
    };
    run(&["--trusted", "0.5"]).success();
    let suspects = lines(out.path(), "clean-0/suspects-noisy.csv");
    assert!(suspects[0].ends_with(",file") && suspects[1].ends_with(".png"), "{suspects:?}");
    let cleaned = lines(out.path(), "clean-0/cleaned-noisy.csv");
    assert_eq!(cleaned[0], "file,label");
    assert!(cleaned[1..].iter().all(|row| row.contains("cat/") == row.ends_with(",cat")));

    // Labels of people, three of them wrong, in files of their own.
    let [given, right] = [3, 0].map(|wrong| {
        let label = |at: usize| if (at < 20) != (at < wrong) { "cat\n" } else { "dog\n" };
        let file = out.path().join(format!("{wrong}.csv"));
        fs::write(&file, (0..40).map(label).collect::<String>()).unwrap();
        file.to_str().unwrap().to_owned()
    });
    let labels = ["--label", &given, "--right-labels", &right];
    let judged = run(&[&labels[..], &["--trusted", "0.4", "--judge-steps", "200"]].concat());
    judged.success().stdout(contains("average precision %").and(contains("100.00")));
    // All rows that are not trusted.
    assert_eq!(lines(out.path(), "clean-0-2/suspects-noisy.csv").len(), 25);
    run(&["--label", &given, "--trusted", &right]).code(3).stderr(contains("two kinds"));
    run(&["--label", "kind", "--trusted", "0.5"]).code(3).stderr(contains("kind"));
}

#[test]
fn a_folder_that_nothing_reads_is_refused_with_a_cure() {
    for (run, cure) in [
        (&["hpo"][..], "--problem ijcnn1 or 20newsgroups"),
        (&["hpo", "--problem", "table"], "--data, a file or a folder"),
        (&["gan"], "--data digits"),
        (&["actor-critic"], "leave it out"),
        (&["sinusoid"], "leave it out"),
        (&["clean"], "name it there"),
    ] {
        let mut command = bilevel();
        command.arg("run").args(run).args(["--data-dir", ".", "--dry-run"]);
        command.assert().code(2).stderr(contains("--data-dir").and(contains(cure)));
    }
}

#[test]
fn columns_of_too_many_words_are_named() {
    let out = tempdir().unwrap();
    let row = |at: usize| format!("name{at},{},{}\n", at % 7, ["a", "b"][at % 2]);
    let data = out.path().join("t.csv");
    let rows: String = (0..80).map(row).collect();
    fs::write(&data, format!("name,size,kind\n{rows}")).unwrap();
    let quick = ["--method", "grid", "--calls", "50", "--lower-steps", "5", "--device", "flex"];
    let mut tune = bilevel();
    tune.arg("tune").arg(&data).args(["--label", "kind"]).args(quick).arg("--out").arg(out.path());
    tune.assert().success().stderr(contains("column `name` is left out: 80 words"));
}

#[test]
fn runs_under_several_seeds_are_listed_compared_and_shown() {
    let out = tempdir().unwrap();
    let more = ["--seeds", "3", "--method", "noisy,rad,cg", "--quiet"];
    let ran = quick(out.path(), &more).assert().success().stderr("");
    ran.stdout(contains("rad - cg:").and(contains("paired over 3 seeds")));
    let folder = out.path().join("hyper-cleaning-0-seeds-3");
    for file in ["summary.json", "metrics.csv", "curves.svg", "report.html"] {
        assert!(fs::metadata(folder.join(file)).unwrap().len() > 100, "{file}");
    }
    let metrics = fs::read_to_string(folder.join("metrics.csv")).unwrap();
    assert!(metrics.starts_with("seed,method,step,") && metrics.contains("\n2,cg,3,"));
    bilevel().arg("resume").arg(&folder).assert().success();
    bilevel()
        .arg("runs")
        .arg(out.path())
        .assert()
        .success()
        .stdout(contains("hyper-cleaning, 3 seeds").and(contains("complete")));
    let [first, second] = ["seed-0", "seed-1"].map(|seed| folder.join(seed));
    bilevel().arg("diff").args([&first, &second]).assert().success().stdout(
        contains("seed").and(contains("test accuracy %")).and(contains("lower-steps").not()),
    );
    fs::remove_file(first.join("report.html")).unwrap();
    bilevel().arg("report").args([&first, &folder]).assert().success();
    let page = fs::read_to_string(first.join("report.html")).unwrap();
    for part in ["bilevel run hyper-cleaning", "uPlot", "test accuracy", "made-by"] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn messages_go_where_they_are_wanted() {
    let out = tempdir().unwrap();
    let log = out.path().join("log");
    let more = ["--method", "noisy,rad", "--quiet", "--log"];
    quick(out.path(), &more).arg(&log).assert().success().stderr("");
    assert!(fs::read_to_string(&log).unwrap().contains("gradient_norm"));
    bilevel().args(["completions", "bash"]).assert().success().stdout(contains("hyper-cleaning"));
    bilevel().arg("man").arg(out.path().join("man")).assert().success();
    assert!(out.path().join("man/bilevel-clean.1").exists());
}
