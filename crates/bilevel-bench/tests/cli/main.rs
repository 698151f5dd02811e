//! The binary from outside: its output, its files, its exit codes.

mod auto;
mod cifar;
mod compare;
mod devices;
mod help;
mod own_data;
mod robust;

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

/// A valid folder in MNIST's format: 40 + 20 images of 2x2 pixels, 2 classes.
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
    let other = |name: &str| {
        let mut other = bilevel();
        other.args(["run", name, "--shards", "2"]);
        other
    };
    refused(other("importance"), "not means over equal parts");
    refused(other("few-shot"), "--shards is 2, expected 4, the tasks of a meta-batch");
}

#[test]
fn kept_samples_and_the_validation_set_train_a_classifier() {
    let out = tempdir().unwrap();
    let kept = |least: &str, more: &[&str]| -> Vec<[f64; 2]> {
        let args = ["--json", "--method", "noisy,rad,clean-labels", "--keep-above", least];
        let ran = quick(out.path(), &[&args, more].concat()).assert().success();
        let summary: serde_json::Value = serde_json::from_slice(&ran.get_output().stdout).unwrap();
        let names = ["kept samples", "accuracy on kept %"];
        let methods = summary["methods"].as_array().unwrap().iter();
        methods.map(|method| names.map(|name| method["figures"][name].as_f64().unwrap())).collect()
    };
    let found = kept("0.5", &[]);
    let [[all, noisy], [some, _], [right, clean]] = found[..] else { panic!("{found:?}") };
    assert_eq!((all, right), (500.0, 250.0));
    assert!(some > 0.0 && some < all, "{found:?}");
    assert!(clean > noisy + 3.0 && clean < 100.0, "{found:?}");
    assert_eq!(kept("0.5", &["--shards", "4"])[2], [right, clean], "kept samples have no shards");
    // Only the validation set is left.
    let none = kept("0.99999", &[]);
    assert!(none.iter().all(|method| *method == [0.0, none[0][1]]), "{none:?}");
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

/// The default run, as promised in the README.
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
    /// The command, the expected error, and its remedy.
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
    // Its data and its settings are read as those of a run.
    let mut command = bilevel();
    command.args(["check", "hyper-cleaning"]).args(on_folder);
    command.assert().code(3).stderr(contains("smaller parts"));
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
    bilevel().arg("diff").args([&first, &folder]).assert().code(2).stderr(
        contains("expected the folder of one run").and(contains("remove the folder").not()),
    );
    fs::remove_file(first.join("report.html")).unwrap();
    bilevel().arg("report").args([&first, &folder]).assert().success();
    let page = fs::read_to_string(first.join("report.html")).unwrap();
    for part in ["bilevel run hyper-cleaning", "uPlot", "test accuracy", "made-by"] {
        assert!(page.contains(part), "{part}");
    }
}

/// The table of a paper is written after each of its runs.
#[test]
fn a_table_that_lacks_runs_is_not_complete() {
    let out = tempdir().unwrap();
    let folder = out.path().join("bda-table-2");
    fs::create_dir(&folder).unwrap();
    let settings =
        "reproduce = \"bda-table-2\"\npreset = \"small\"\nseeds = 1\ndevice = \"flex\"\n";
    fs::write(folder.join("settings.toml"), settings).unwrap();
    fs::write(folder.join("table.txt"), "a part").unwrap();
    let listed = bilevel().arg("runs").arg(out.path()).assert().success();
    listed.stdout(contains("bilevel resume").and(contains("complete").not()));
    let refused = bilevel().arg("diff").args([&folder, &folder]).assert().code(2);
    refused.stderr(contains("reproduce").and(contains("expected the folder of a run")));
}

#[test]
fn commands_are_described_by_what_they_do() {
    let help = bilevel().args(["run", "mwn", "--help"]).assert().success();
    help.stdout(
        contains("Arguments of").not().and(contains("Weight training images by their losses")),
    );
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
