//! Every experiment runs, on embedded data, on flex and on wgpu, and writes what it promises.
//!
//! wgpu is skipped with a message if there is no graphics adapter; with `BILEVEL_REQUIRE_GPU` set that is a failure.

use std::fs;
use std::sync::Arc;

use assert_cmd::Command;
use bilevel_bench::backend::BackendName;
use bilevel_bench::experiments::few_shot::{
    Extractor, Heads, Judge, Settings, TaskFeatures, Tasks,
};
use bilevel_bench::experiments::{Complete, EXPERIMENTS};
use bilevel_bench::report::folder::RunFolder;
use bilevel_core::{
    Cg, Descent, Gd, HypergradientMethod, Iaptt, Implicit, JointStep, LowerProblem, OnFeatures,
    Penalty, PenaltySettings, Rates, Sample, Samples, Unrolled,
};
use bilevel_data::{ImageClasses, digits};
use bilevel_models::{ConvNetConfig, ImageClassifierConfig};
use burn::nn::LinearConfig;
use burn::tensor::Device;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use tempfile::tempdir;

/// What a run of the preset `smoke` names in its table and writes besides the files of every run.
struct Smoke {
    experiment: &'static str,
    more: &'static [&'static str],
    says: &'static [&'static str],
    files: &'static [&'static str],
}

/// Every experiment runs without a line here, which lists its additional promises.
const PROMISES: &[Smoke] = &[
    Smoke {
        experiment: "hyper-cleaning",
        more: &[],
        says: &["noisy", "rad", "cg", "clean-labels"],
        files: &[],
    },
    Smoke {
        experiment: "hpo",
        more: &[],
        says: &["rad", "fad", "grid", "random", "validation loss", "test loss"],
        files: &["validation-loss-by-calls.svg", "validation-loss-by-seconds.svg"],
    },
    Smoke {
        experiment: "hpo",
        more: &["--problem", "table", "--method", "cg,grid"],
        says: &["test loss"],
        files: &["model-cg.safetensors", "model-grid.safetensors"],
    },
    Smoke {
        experiment: "clean",
        more: &[],
        says: &["noisy", "rad", "average precision %", "suspects"],
        files: &["suspects-rad.csv", "cleaned-rad.csv", "precision-rad.svg", "suspects-rad.svg"],
    },
    Smoke {
        experiment: "mwn",
        more: &[],
        says: &["plain", "mwn", "nsgame", "AUC"],
        files: &["weights-mwn.svg", "weights-nsgame-mwn.svg"],
    },
    Smoke {
        experiment: "mlc",
        more: &[],
        says: &["plain", "mlc", "nsgame", "T error"],
        files: &["transition-mlc.svg", "transition-nsgame-mlc.svg"],
    },
    Smoke {
        experiment: "few-shot",
        more: &["--method", "all"],
        says: &["rad", "iaptt", "penalty", "maml", "warpgrad", "protonet", "interval"],
        files: &["curves.svg"],
    },
    Smoke {
        experiment: "sinusoid",
        more: &["--method", "all"],
        says: &["error before", "meta-curv"],
        files: &["fitted-maml.svg", "fitted-reptile.svg"],
    },
    Smoke {
        experiment: "importance",
        more: &[],
        says: &["clean-labels", "val-only", "train-val", "approx-grad", "penalty"],
        files: &[],
    },
    Smoke {
        experiment: "poisoning",
        more: &[],
        says: &["clean", "flipped", "rad", "approx-grad", "penalty"],
        files: &["poisons-rad.svg", "poisons-penalty.svg"],
    },
    Smoke {
        experiment: "denoising",
        more: &[],
        says: &["noisy", "tv", "cg", "rad", "PSNR", "SSIM"],
        files: &["denoised.svg", "denoised-cg.png", "filters-cg.svg"],
    },
    Smoke {
        experiment: "distillation",
        more: &[],
        says: &["samples", "k-means", "rad", "random"],
        files: &["images-rad.svg", "images-k-means.svg"],
    },
    Smoke {
        experiment: "distillation",
        more: &["--method", "rad", "--initialisation", "random", "--labels", "learned"],
        says: &["rad"],
        files: &["images-rad.svg"],
    },
    Smoke {
        experiment: "gan",
        more: &[],
        says: &["data", "first-order", "rad", "nsgame", "modes", "distance"],
        files: &["samples.svg", "quality.svg"],
    },
    Smoke {
        experiment: "gan",
        more: &["--data", "digits", "--game", "min-max", "--method", "rad"],
        says: &["rad"],
        files: &["samples.svg"],
    },
    Smoke {
        experiment: "actor-critic",
        more: &[],
        says: &["start", "first-order", "cg", "f2sa", "over the"],
        files: &["excess.svg"],
    },
    Smoke {
        experiment: "actor-critic",
        more: &["--task", "cart-pole"],
        says: &["start", "first-order", "mean return"],
        files: &["excess.svg"],
    },
    Smoke {
        experiment: "dictionary",
        more: &[],
        says: &["softmax", "unsupervised", "fixed-point", "rad"],
        files: &["atoms-rad.svg", "atoms-unsupervised.svg"],
    },
    Smoke {
        experiment: "nas",
        more: &["--angles", "1", "--reference-steps", "1"],
        says: &["random", "one-stage", "rank of 2", "skips"],
        files: &["cell-one-stage.svg", "weights-one-stage.svg", "skips.svg", "angles.svg"],
    },
    Smoke {
        experiment: "poisoning",
        more: &["--attack", "clean-label"],
        says: &["collision", "penalty-projected", "% at 20"],
        files: &["success.svg"],
    },
];

/// Every second experiment, from `first` on.
fn run(backend: &str, first: usize) {
    for registered in EXPERIMENTS.iter().skip(first).step_by(2) {
        let of_it = PROMISES.iter().filter(|smoke| smoke.experiment == registered.name);
        let mut promises: Vec<_> =
            of_it.map(|smoke| (smoke.more, smoke.says, smoke.files)).collect();
        if promises.is_empty() {
            promises.push((&[], &[], &[]));
        }
        for (more, says, files) in promises {
            let (name, out) = (registered.name, tempdir().unwrap());
            let mut command = Command::cargo_bin("bilevel").unwrap();
            command.args(["run", name, "--preset", "smoke", "--device", backend, "--out"]);
            let mut ran = command.arg(out.path()).args(more).assert().success();
            for word in says {
                ran = ran.stdout(contains(*word));
            }
            let folder = out.path().join(format!("{name}-0"));
            let report = RunFolder::open(&folder).unwrap().report_with_series().unwrap().unwrap();
            for method in report.methods.iter().filter(|method| !method.baseline) {
                assert!(!method.series.is_empty(), "{name}: no rows of {}", method.name);
                let Some(accuracy) = method.test_accuracy else { continue };
                let last = method.series.last().and_then(|row| row.test_accuracy);
                let is_last = last.is_some_and(|last| (last - accuracy).abs() < 1e-12);
                assert!(is_last, "{name}: {} ends with {last:?}, not {accuracy}", method.name);
            }
            let written = ["summary.json", "metrics.csv", "settings.toml", "report.html"];
            for file in written.iter().chain(files) {
                assert!(
                    fs::metadata(folder.join(file)).unwrap().len() > 50,
                    "{name} on {backend}: {file}"
                );
            }
        }
    }
}

fn run_on_wgpu(first: usize) {
    match BackendName::Wgpu.resolve() {
        Ok(_) => run("wgpu", first),
        Err(error) => {
            assert!(std::env::var_os("BILEVEL_REQUIRE_GPU").is_none(), "{error}");
            eprintln!("wgpu is skipped: {error}");
        }
    }
}

#[test]
fn on_flex() {
    run("flex", 0);
    run("flex", 1);
}

// Two tests, for two cores: kernels are compiled on one.
#[test]
fn on_wgpu() {
    run_on_wgpu(0);
}

#[test]
fn on_wgpu_the_others() {
    run_on_wgpu(1);
}

/// All methods of hyper-cleaning, on flex only: a method that does not fit would fail at its first step.
#[test]
fn every_method_of_hyper_cleaning() {
    let out = tempdir().unwrap();
    let mut command = Command::cargo_bin("bilevel").unwrap();
    command.args([
        "run",
        "hyper-cleaning",
        "--method",
        "all",
        "--upper-steps",
        "2",
        "--lower-steps",
        "5",
    ]);
    command.args(["--train", "50", "--validation", "50", "--device", "flex", "--out"]);
    command.arg(out.path()).assert().success().stdout(contains("bvfim"));
}

/// Until x moves, a step makes no product.
#[test]
fn x_waits_for_the_warm_up() {
    let out = tempdir().unwrap();
    let waiting = |passes: &str| {
        let mut command = Command::cargo_bin("bilevel").unwrap();
        command.args(["run", "mwn", "--preset", "smoke", "--method", "mwn,tbp,nsgame-mwn"]);
        command.args([
            "--iterations",
            "3",
            "--batch",
            "150",
            "--warm-up",
            passes,
            "--device",
            "flex",
        ]);
        command.arg("--out").arg(out.path().join(passes)).assert()
    };
    waiting("1").success();
    let summary = fs::read_to_string(out.path().join("1/mwn-0/summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    for method in summary["methods"].as_array().unwrap() {
        let calls = &method["oracle_calls"];
        assert_eq!(calls["lower products"], 1, "two batches are a pass of three steps: {method}");
        assert_eq!(method["ok"], true, "{method}");
    }
    waiting("15").code(2).stderr(contains("--warm-up").and(contains("fewer passes")));
}

#[test]
fn reproduce_refuses_what_it_cannot_do() {
    let out = tempdir().unwrap();
    let mut command = Command::cargo_bin("bilevel").unwrap();
    command.args(["reproduce", "bda-table-2", "--preset", "full", "--out"]).arg(out.path());
    command.assert().code(2).stderr(contains("--data-dir"));

    let folder = out.path().join("table");
    fs::create_dir(&folder).unwrap();
    let settings =
        "reproduce = \"iaptt-table-3\"\npreset = \"small\"\nseeds = 1\ndevice = \"none\"\n";
    fs::write(folder.join("settings.toml"), settings).unwrap();
    let mut command = Command::cargo_bin("bilevel").unwrap();
    command.arg("resume").arg(&folder).assert().code(6).stderr(contains("settings.toml"));
}

#[test]
fn hypergradients_through_features_are_those_of_the_whole_problem() {
    let given = "preset = \"smoke\"\ndevice = \"flex\"\nregularisation = 0.1".parse().unwrap();
    let settings = Complete::given("few-shot", &given).unwrap().settings().clone();
    let settings: Settings = settings.try_into().unwrap();
    let device = Device::flex();
    let digits = ImageClasses::new(digits::load().unwrap().to_bytes());
    let tasks = Arc::new(Tasks::new([digits.clone(), digits], &settings, &device).unwrap());
    let body = ConvNetConfig::new([1, 8, 8], 3).with_channels(vec![4, 4]);
    let head = || LinearConfig::new(16, 3).init(&device);
    let body = ImageClassifierConfig::ConvNet(body).init(&device);
    let (x, y) = (Extractor { body, head: head(), norm: 4.0 }, head());
    let heads = Heads { judge: Judge::Head, regularisation: 0.1, exponent: 0.5 };
    let features = TaskFeatures::new(heads, &x, &y, tasks).unwrap();
    let (x, y) = (features.whole.upper_start(), features.whole.lower_start());
    let samples = Samples { upper: Sample(5), lower: Sample(5), index: 0 };
    let descent = || Descent::new(Gd::new(0.1).unwrap(), 4).unwrap();
    let methods: [fn(Descent) -> Box<dyn HypergradientMethod>; 4] = [
        |descent| Box::new(Unrolled::rad(descent)),
        |descent| Box::new(Iaptt::new(descent)),
        |descent| Box::new(Implicit::new(descent, Cg::new(3, 1e-6).unwrap())),
        |_| {
            let rates = Rates::new(1.0, 0.05).unwrap();
            Box::new(JointStep::new(
                Penalty::new(rates, PenaltySettings { steps: 3, gamma: 1.0, tolerance: 1.0 })
                    .unwrap(),
            ))
        },
    ];
    for make in methods {
        let problem = LowerProblem::new(&features, &x, samples);
        let expected = make(descent()).hypergradient(problem, &y).unwrap();
        let mut through = OnFeatures::new(make(descent()));
        let found = through.hypergradient(problem, &y).unwrap();
        let off = found.gradient.sub(&expected.gradient).norm() / expected.gradient.norm();
        assert!(off < 1e-3, "{}: off by {off}", through.describe());
        assert!(found.lower.sub(&expected.lower).norm() < 1e-4);
    }
}
