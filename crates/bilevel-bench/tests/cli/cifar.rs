//! Experiments on images, given a folder in CIFAR's format.

use super::*;

/// CIFAR-10 of 60 training and 20 test images; each class has its own brightness, with noise.
fn cifar() -> TempDir {
    let folder = tempdir().unwrap();
    for (file, images) in [("data_batch_1.bin", 60_u32), ("test_batch.bin", 20)] {
        let mut bytes = Vec::new();
        for image in 0..images {
            let class = image % 10;
            bytes.push(class as u8);
            let pixel = |at: u32| (class * 25 + (at * 7 + image * 13) % 20) as u8;
            bytes.extend((0..3072).map(pixel));
        }
        fs::write(folder.path().join(file), bytes).unwrap();
    }
    folder
}

#[test]
fn every_experiment_on_images_reads_it() {
    let data = cifar();
    let few = ["--train", "30", "--validation", "20"];
    for (name, more) in [
        ("hyper-cleaning", &few[..]),
        ("importance", &[&few[..], &["--network", "small", "--test", "7"]].concat()),
        ("importance", &[&few[..], &["--network", "resnet-8", "--method", "penalty,rad"]].concat()),
        ("distillation", &["--train", "30"]),
        ("poisoning", &few),
        ("poisoning", &["--attack", "clean-label", "--train", "8", "--validation", "2"]),
        ("dictionary", &["--train", "30"]),
    ] {
        let out = tempdir().unwrap();
        let mut command = bilevel();
        command.args(["run", name, "--preset", "smoke", "--device", "flex"]).args(more);
        command.arg("--data-dir").arg(data.path()).arg("--out").arg(out.path());
        // Code 5: a method did not end well, on so few images; those of importance do.
        let codes: &[i32] = if name == "importance" { &[0] } else { &[0, 5] };
        command.assert().code(predicate::in_iter(codes.iter().copied()));
    }
}

#[test]
fn a_table_shows_the_figures_of_its_data_sets_only() {
    for (table, set, says) in [
        ("penalty-table-2", "fashion-mnist", "expected mnist or cifar-10 for penalty-table-2"),
        ("iaptt-table-3", "cifar-10", "expected mnist or fashion-mnist for iaptt-table-3"),
        ("bda-table-2", "mnist", "expected none: this table has figures of one data set"),
    ] {
        let out = tempdir().unwrap();
        let mut command = bilevel();
        command.args(["reproduce", table, "--data-set", set, "--out"]).arg(out.path());
        command.assert().code(2).stderr(contains("--data-set").and(contains(says)));
    }
}
