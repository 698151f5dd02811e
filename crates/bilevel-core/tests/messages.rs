//! The compiler's messages for common mistakes: what is missing, and the remedy, in few lines.
//!
//! Each mistake is one edit of a program that compiles. The compiler is run on the crates that this test was
//! built with.

use std::env::current_exe;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = r"
use bilevel_core::*;
use burn::module::{Module, Param};
use burn::tensor::Tensor;

#[derive(Clone, Debug, Batch)]
struct Points {
    inputs: Tensor<2>,
    targets: Tensor<1>,
}

#[derive(Module, Debug)]
struct Weights {
    weights: Param<Tensor<1>>,
}

struct Ridge;

impl BilevelProblem for Ridge {
    type Upper = Param<Tensor<1>>;
    type Lower = Weights;
    type Batch = Points;

    fn upper_loss(&self, _: &Self::Upper, y: &Weights, points: &Points) -> Tensor<1> {
        let outputs = points.inputs.clone() * y.weights.val().unsqueeze();
        (outputs.sum_dim(1).squeeze_dim::<1>(1) - points.targets.clone()).powi_scalar(2).mean()
    }

    fn lower_loss(&self, x: &Self::Upper, y: &Weights, points: &Points) -> Tensor<1> {
        self.upper_loss(x, y, points) + (x.val().exp() * y.weights.val().powi_scalar(2)).sum()
    }
}

pub fn learn(x: &Param<Tensor<1>>, y: &Weights, points: Points) -> Result<(), Error> {
    let data = FullBatch { upper: points.clone(), lower: points };
    let dynamics = Gd::new(0.1)?;
    let descent = Descent::new(dynamics, 50)?;
    let solver = Cg::new(20, 1e-6)?;
    let method = Implicit::new(descent, solver);
    let upper = GradientStep::new(0.1)?;
    descend(Ridge, x, y, data, method, upper, 100)?;
    Ok(())
}
";

/// A mistake as a replacement in the program, and words that the message must have. A new one is an entry.
const MISTAKES: &[(&str, &str, &[&str])] = &[
    (
        "#[derive(Clone, Debug, Batch)]",
        "#[derive(Clone, Debug)]",
        &["`Points` is not the data of a loss", "#[derive(Clone, Batch)]"],
    ),
    (
        "targets: Tensor<1>,",
        "targets: Tensor<1>,\n    classes: usize,",
        &["`usize` is not the data of a loss", "#[batch(skip)]"],
    ),
    (
        "inputs: Tensor<2>,",
        "inputs: Tensor<2>,\n    teacher: Weights,",
        &["`Weights` is not the data of a loss", "Frozen"],
    ),
    (
        "type Batch = Points;",
        "type Batch = ();",
        &["expected `()`, found `Points`", "change the parameter type to match the trait"],
    ),
    (
        "exp() * y.weights.val()",
        "exp() * y.weight.val()",
        &["no field `weight` on type `&Weights`", "a field with a similar name exists"],
    ),
    (
        "let data = FullBatch { upper: points.clone(), lower: points };",
        "let data = points;",
        &["`Points` gives no batches of `Points`", "FullBatch { upper, lower }"],
    ),
    (
        "let dynamics = Gd::new(0.1)?;",
        "let dynamics = 0.1;",
        &["is no dynamics of the lower level", "Gd::new(step_size)?"],
    ),
    (
        "let dynamics = Gd::new(0.1)?;",
        "let dynamics = Gd::new(0.1);",
        &["is no dynamics of the lower level", "is a `?` missing?"],
    ),
    (
        "let solver = Cg::new(20, 1e-6)?;",
        "let solver = 20;",
        &["does not solve linear systems", "Cg::new(iterations, tolerance)?"],
    ),
    (
        "let method = Implicit::new(descent, solver);",
        "let method = descent;",
        &["Descent` does not compute hypergradients", "Unrolled::rad(descent)"],
    ),
    (
        "let upper = GradientStep::new(0.1)?;",
        "let upper = 0.1;",
        &["does not move x", "BurnOptimizer::new(config.build(), &x, rate)?"],
    ),
    (
        "descend(Ridge,",
        "descend((),",
        &["`()` is not a bilevel problem", "`Upper`, `Lower` and `Batch`"],
    ),
];

/// The longest message, in lines: a wrong type of batch is an error at each of its four uses.
const LONGEST: usize = 64;

/// The folder of the crates that this test was built with.
fn crates() -> PathBuf {
    current_exe().unwrap().parent().unwrap().to_owned()
}

/// The libraries of a crate, the newest first: a cached folder has old ones too.
fn libraries(name: &str) -> Vec<PathBuf> {
    let is = |path: &Path| {
        let file = path.file_name().unwrap().to_string_lossy();
        file.starts_with(&format!("lib{name}-")) && file.ends_with(".rlib")
    };
    let entries = fs::read_dir(crates()).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries.filter(|path| is(path)).collect();
    found.sort_by_key(|path| fs::metadata(path).unwrap().modified().unwrap());
    found.reverse();
    found
}

/// The compiler's message for a program, and whether it accepts it.
fn compiled(program: &str, core: &Path, burn: &Path) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("program.rs");
    fs::write(&file, program).unwrap();
    // The derive macro looks for the crate's name there.
    let manifest = "[package]\nname = 'program'\n[workspace]\n[dependencies]\nbilevel-core = '*'\n";
    fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let library = |name: &str, path: &Path| format!("{name}={}", path.display());
    let ran = Command::new(compiler)
        .args([
            "--edition",
            "2024",
            "--crate-type",
            "lib",
            "--emit",
            "metadata",
            "--color",
            "never",
        ])
        .arg("--out-dir")
        .arg(folder.path())
        .arg("-L")
        .arg(format!("dependency={}", crates().display()))
        .args(["--extern", &library("bilevel_core", core), "--extern", &library("burn", burn)])
        .arg(&file)
        .env("CARGO_MANIFEST_DIR", folder.path())
        .output()
        .unwrap();
    (ran.status.success(), String::from_utf8_lossy(&ran.stderr).into_owned())
}

#[test]
fn common_mistakes_are_named_with_their_cure() {
    let (cores, burns) = (libraries("bilevel_core"), libraries("burn"));
    let pairs = cores.iter().flat_map(|core| burns.iter().map(move |burn| (core, burn)));
    let mut said = String::new();
    let fits = |(core, burn): &(&PathBuf, &PathBuf)| {
        let (accepted, message) = compiled(PROGRAM, core, burn);
        said = message;
        accepted
    };
    let fitting = pairs.into_iter().find(fits);
    let (core, burn) = fitting.unwrap_or_else(|| panic!("the program does not compile: {said}"));
    for (right, wrong, words) in MISTAKES {
        assert_eq!(PROGRAM.matches(right).count(), 1, "{right}");
        let (accepted, message) = compiled(&PROGRAM.replace(right, wrong), core, burn);
        assert!(!accepted, "{wrong} compiles");
        for word in *words {
            assert!(message.contains(word), "{wrong}: no {word:?} in\n{message}");
        }
        let lines = message.lines().count();
        assert!(lines <= LONGEST, "{wrong}: {lines} lines:\n{message}");
    }
}
