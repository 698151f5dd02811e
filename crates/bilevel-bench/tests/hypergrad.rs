//! `bilevel hypergrad` from outside.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;
use safetensors::tensor::{TensorView, serialize};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use tempfile::tempdir;

const WORKLOADS: [&str; 6] = ["softmax", "mlp", "mlp-tanh", "small", "conv", "meta-batch"];

fn hypergrad(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("bilevel").unwrap();
    command.args(["hypergrad", "--device", "flex", "--repetitions", "2"]).args(arguments);
    command
}

/// The report of a hypergradient of few samples in five steps.
fn quick(workload: &str, more: &[&str]) -> Value {
    let samples = if workload == "conv" { "2" } else { "40" };
    let mut command = hypergrad(&["--workload", workload, "--json"]);
    if !more.contains(&"--lower-steps") {
        command.args(["--lower-steps", "5"]);
    }
    report(command.args(["--samples", samples, "--step-size", "0.01"]).args(more))
}

/// The one line that a successful run prints.
fn report(command: &mut Command) -> Value {
    let ran = command.assert().success().stderr("");
    let text = String::from_utf8(ran.get_output().stdout.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn every_workload_and_method_is_timed() {
    let of = |report: &Value, calls: &str| report["oracle_calls"][calls].as_u64().unwrap();
    for workload in WORKLOADS {
        let report = quick(workload, &[]);
        assert_eq!(report["workload"], workload);
        assert_eq!((&report["method"], &report["device"]), (&"rad".into(), &"flex".into()));
        assert_eq!(report["seconds_all"].as_array().unwrap().len(), 2);
        for figure in ["seconds_median", "hypergradient_norm", "upper_loss"] {
            assert!(report[figure].as_f64().unwrap() > 0.0, "{report}");
        }
        if cfg!(target_os = "linux") {
            assert!(report["peak_resident_mib"].as_f64().unwrap() > 1.0, "{report}");
        }
        assert_eq!((of(&report, "lower_gradients"), of(&report, "lower_products")), (5, 5));
    }
    for workload in &WORKLOADS[..3] {
        // Damped enough that the Hessian of every network is positive definite.
        let cg = ["--method", "cg", "--solver-iterations", "4", "--damping", "10"];
        let report = quick(workload, &cg);
        assert!(report["hypergradient_norm"].as_f64().unwrap() > 0.0, "{report}");
        assert_eq!(of(&report, "lower_products"), 5, "{report}");
    }
    hypergrad(&["--samples", "20", "--lower-steps", "2"])
        .assert()
        .success()
        .stdout(contains("seconds").and(contains("peak resident")).and(contains("norm")));
}

/// `rad` keeps the states of y, and linearisations up to a bound: ten times the steps must not keep more.
#[test]
fn the_memory_of_rad_grows_by_the_states_alone() {
    if cfg!(not(target_os = "linux")) {
        return;
    }
    let peak = |plan: &[&str], steps: &str| {
        let report = quick("mlp", &[plan, &["--lower-steps", steps]].concat());
        report["peak_resident_mib"].as_f64().unwrap()
    };
    // y: 784 x 300 + 300 + 300 x 10 + 10 numbers of four bytes, in blocks of an allocator that rounds up.
    let y = 4.0 * 238_510.0 / f64::from(1 << 20);
    for (plan, bound) in [(&["--plan", "trajectory"][..], 0.0), (&["--keep", "8"], 8.0)] {
        let grown = peak(plan, "150") - peak(plan, "15");
        let states = 135.0 * y;
        assert!((0.9 * states..=1.25 * states + bound).contains(&grown), "{plan:?}: {grown} MiB");
    }
}

#[test]
fn a_seed_gives_the_same_bits_by_every_plan() {
    let folder = tempdir().unwrap();
    let gradient = |workload: &str, more: &[&str]| {
        let path = folder.path().join("gradient");
        let path = path.to_str().unwrap();
        quick(workload, &[&["--gradient", path], more].concat());
        fs::read(path).unwrap()
    };
    for workload in WORKLOADS {
        let all = gradient(workload, &["--plan", "trajectory"]);
        assert_eq!(all, gradient(workload, &["--plan", "sqrt"]), "{workload}");
        assert_eq!(all, gradient(workload, &["--plan", "results"]), "{workload}");
    }
    assert_ne!(gradient("small", &[]), gradient("small", &["--seed", "1"]));
}

/// Tensors of f32 by name, with their shapes.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn write(path: &Path, tensors: &Tensors) {
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
    let all: Vec<_> =
        tensors.iter().map(|(name, (shape, values))| (name, shape, bytes(values))).collect();
    let views = all.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap())
    });
    fs::write(path, serialize(views, None).unwrap()).unwrap();
}

fn read(path: &Path) -> BTreeMap<String, Vec<f64>> {
    let bytes = fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let number = |word: &[u8]| f64::from(f32::from_le_bytes(word.try_into().unwrap()));
    let values = |view: TensorView<'_>| view.data().chunks(4).map(number).collect();
    tensors.tensors().into_iter().map(|(name, view)| (name, values(view))).collect()
}

/// The data of `tasks` tasks, each of ten points: of `small` if `tasks` is a range of one task.
fn tasks(tasks: std::ops::Range<usize>, shape: &[usize]) -> Tensors {
    let mut tensors = Tensors::new();
    let mut put = |name: &str, shape: &[usize], value: &dyn Fn(usize) -> f32| {
        let count = shape.iter().product::<usize>();
        tensors.insert(name.into(), (shape.to_vec(), (0..count).map(value).collect()));
    };
    let begin = 10 * tasks.start;
    let points = |phase: f32| move |at: usize| ((begin + at) as f32 * 1.7 + phase).sin() * 2.0;
    for (level, phase) in [("train", 0.0), ("validation", 1.0)] {
        put(&format!("{level}_inputs"), shape, &points(phase));
        put(&format!("{level}_targets"), shape, &|at| points(phase)(at).sin());
    }
    for (at, (inputs, outputs)) in [(1, 40), (40, 40), (40, 1)].into_iter().enumerate() {
        let weight = |k: usize| ((k * k + 3 * k + at) as f32).sin() * 0.3;
        put(&format!("weight{at}"), &[inputs, outputs], &weight);
        put(&format!("bias{at}"), &[outputs], &|k| (k as f32).cos() * 0.1);
    }
    tensors
}

/// Read from files, the shared start of several tasks has the mean of their own hypergradients.
#[test]
fn the_hypergradient_of_many_tasks_is_the_mean_of_theirs() {
    let folder = tempdir().unwrap();
    let (data, gradient) = (folder.path().join("data"), folder.path().join("gradient"));
    let [data_path, gradient_path] = [&data, &gradient].map(|path| path.to_str().unwrap());
    let files = ["--data", data_path, "--gradient", gradient_path, "--json"];
    let of = |workload: &str, tensors: &Tensors| {
        write(&data, tensors);
        let run = ["--workload", workload, "--lower-steps", "5", "--step-size", "0.05"];
        let report = report(&mut hypergrad(&[&run[..], &files].concat()));
        (report["upper_loss"].as_f64().unwrap(), read(&gradient))
    };
    let (loss, whole) = of("meta-batch", &tasks(0..4, &[4, 10, 1]));
    let single: Vec<_> = (0..4).map(|task| of("small", &tasks(task..task + 1, &[10, 1]))).collect();
    let mean = single.iter().map(|(loss, _)| loss / 4.0).sum::<f64>();
    assert!((loss - mean).abs() < 1e-5 * mean, "{loss} and {mean}");
    for (name, found) in whole {
        for (at, found) in found.into_iter().enumerate() {
            let mean: f64 = single.iter().map(|(_, gradient)| gradient[&name][at] / 4.0).sum();
            assert!((found - mean).abs() < 1e-4, "{name} {at}: {found}, expected {mean}");
        }
    }
}

#[test]
fn a_broken_data_file_ends_with_code_3_and_a_cure() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("numbers");
    let sound = tasks(0..1, &[10, 1]);
    let without = |name: &str| {
        let mut tensors = sound.clone();
        tensors.remove(name);
        tensors
    };
    let mut flat = sound.clone();
    flat.insert("bias1".into(), (vec![1, 40], vec![0.0; 40]));
    let mut short = sound.clone();
    short.insert("validation_inputs".into(), (vec![9, 1], vec![0.0; 9]));
    let check = |workload: &str, says: [&str; 2]| {
        let arguments = ["--workload", workload, "--data", data.to_str().unwrap()];
        let ran = hypergrad(&arguments).assert().code(3);
        let text = String::from_utf8_lossy(&ran.get_output().stderr).into_owned();
        assert!(text.starts_with("error: ") && text.contains("numbers"), "{text}");
        assert!(says.iter().all(|part| text.contains(part)), "{says:?}: {text}");
        assert!(!text.contains("panicked"), "{text}");
    };
    check("small", ["numbers", "check the path"]);
    for (tensors, says) in [
        (without("weight2"), ["no tensor weight2", "add it"]),
        (without("train_inputs"), ["no tensor train_inputs", "add it"]),
        (flat, ["bias1 has the shape [1, 40]", "expected [40]"]),
        (short, ["validation_inputs has the shape [9, 1]", "expected [10, 1]"]),
    ] {
        write(&data, &tensors);
        check("small", says);
    }

    write(&data, &sound);
    check("softmax", ["train_inputs has the shape [10, 1]", "expected [10, 784]"]);
    let whole = fs::read(&data).unwrap();
    let damaged = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        bytes
    };
    for bytes in [
        vec![],
        b"PK".to_vec(),
        whole[..whole.len() - 1].to_vec(),
        whole[..20].to_vec(),
        damaged(7, 255),
        damaged(8, b'x'),
    ] {
        fs::write(&data, bytes).unwrap();
        check("small", ["not a valid safetensors file", "write it with"]);
    }

    // Labels are the integers of the classes.
    let zeros = vec![0; 4 * 784 * 2];
    let with = |dtype, label: &[u8]| {
        let views = [
            ("train_inputs", TensorView::new(Dtype::F32, vec![2, 784], &zeros).unwrap()),
            ("train_labels", TensorView::new(dtype, vec![2], label).unwrap()),
        ];
        fs::write(&data, serialize(views, None).unwrap()).unwrap();
    };
    with(Dtype::F32, &[0; 8]);
    check("softmax", ["train_labels is of type F32, expected I64", "convert it"]);
    with(Dtype::I64, &[3_i64, 10].map(i64::to_le_bytes).concat());
    check("softmax", ["train_labels has the label 10", "expected 0 to 9"]);
}

#[test]
fn bad_settings_end_with_code_2_and_a_cure() {
    for (arguments, says) in [
        (&["--lower-steps", "0"][..], "a count of at least 1"),
        (&["--samples", "0"], "0 is not in 1..=1000000"),
        (&["--samples", "1000001"], "1000001 is not in 1..=1000000"),
        (&["--repetitions=0"], "0 is not in 1.."),
        (
            &["--repetitions=18446744073709551615"],
            "for '--repetitions <REPETITIONS>': number too large",
        ),
        (&["--step-size", "NaN"], "found NaN, expected a finite number above 0"),
        (&["--step-size=-1"], "found -1, expected a finite number above 0"),
        (&["--method", "cg", "--solver-iterations", "0"], "a count of at least 1"),
        (&["--method", "cg", "--damping=-1"], "found -1, expected a finite number of at least 0"),
        (&["--method", "cg", "--plan", "sqrt"], "leave it out"),
        (&["--plan", "sqrt", "--keep", "3"], "leave it or --plan out"),
        (&["--plan", "results", "--keep", "0"], "0 is not in 1.."),
        (&["--solver-iterations", "3"], "leave it out"),
        (&["--damping", "3"], "leave it out"),
        (&["--method", "cg", "--workload", "small"], "expected rad"),
        (&["--method", "cg", "--workload", "meta-batch"], "expected rad"),
        (&["--workload", "magic"], "meta-batch"),
        (&["--samples", "3", "--data", "file"], "cannot be used with"),
    ] {
        let mut command = Command::cargo_bin("bilevel").unwrap();
        command.arg("hypergrad").args(arguments);
        command.assert().code(2).stderr(contains(says));
    }
}

#[test]
fn a_run_that_diverges_and_a_file_that_cannot_be_written_have_codes_of_their_own() {
    let small = ["--workload", "small", "--lower-steps", "30"];
    let mut diverging = hypergrad(&small);
    diverging.args(["--step-size", "1e9"]);
    diverging.assert().code(5).stderr(contains("lower"));
    let mut unwritable = hypergrad(&small);
    unwritable.args(["--gradient", "no/such/folder/gradient"]);
    unwritable.assert().code(6).stderr(contains("no/such/folder"));
}
