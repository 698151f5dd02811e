//! Runs the problems of other projects in f64, and compares each with its independent result.

#[allow(dead_code)]
#[path = "../embed/main.rs"]
mod embed;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use burn::tensor::Device;

/// Flex has one random generator and one precision per process: the tests take turns to seed it.
fn turn() -> (MutexGuard<'static, ()>, &'static Device) {
    static TURN: Mutex<()> = Mutex::new(());
    static DEVICE: OnceLock<Device> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let device = DEVICE.get_or_init(embed::device);
    device.seed(7);
    (turn, device)
}

#[track_caller]
fn close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1e-3_f64, |most, value| most.max(value.abs()));
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() <= tolerance * scale, "{found:?} is not {expected:?}");
    }
}

#[test]
fn each_is_short_run_here_and_in_the_guide() {
    let folder = "embed";
    let (tests, guide) = (include_str!("embed.rs"), include_str!("../../docs/EMBEDDING.md"));
    let mut examples = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name == "main" {
            continue;
        }
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 80, "{name} has {lines} lines, expected fewer than 80");
        assert!(tests.contains(&format!("embed::{name}::run(device)")), "no test runs {name}");
        assert!(guide.contains(&format!("embed/{name}.rs)")), "EMBEDDING.md lacks {name}");
        examples += 1;
    }
    assert!(examples >= 10, "{examples}");
}

#[test]
fn maml() {
    let (_turn, device) = turn();
    let (report, [before, after]) = embed::maml::run(device).unwrap();
    report.assert_ok();
    assert!(after < 0.8 * before, "{before} {after}");
}

#[test]
fn few_shot() {
    let (_turn, device) = turn();
    let (report, [before, after]) = embed::few_shot::run(device).unwrap();
    report.assert_ok();
    assert!(after < 0.9 * before, "{before} {after}");
}

#[test]
fn domains() {
    let (_turn, device) = turn();
    for report in embed::domains::run(device).unwrap() {
        report.assert_ok();
    }
}

#[test]
fn elastic_net() {
    let (_turn, device) = turn();
    let [rad, fixed_point, expected] = embed::elastic_net::run(device).unwrap();
    close(&rad, &expected, 1e-10);
    close(&fixed_point, &expected, 1e-10);
}

#[test]
fn svm() {
    let (_turn, device) = turn();
    let [fixed_point, rad, expected] = embed::svm::run(device).unwrap();
    assert!(expected.abs() > 1e-3, "{expected}");
    close(&[fixed_point, rad], &[expected; 2], 1e-8);
}

#[test]
fn learned_optimiser() {
    let (_turn, device) = turn();
    let (report, [before, after]) = embed::learned_optimiser::run(device).unwrap();
    report.assert_ok();
    assert!(after < 0.5 * before, "{before} {after}");
}

#[test]
fn equilibrium() {
    let (_turn, device) = turn();
    let [found, expected] = embed::equilibrium::run(device).unwrap();
    close(&found, &expected, 1e-9);
}

#[test]
fn distillation() {
    let (_turn, device) = turn();
    let (report, [before, after]) = embed::distillation::run(device).unwrap();
    report.assert_ok();
    assert!(after < 0.1 * before, "{before} {after}");
}

#[test]
fn game() {
    let (_turn, device) = turn();
    let [found, expected] = embed::game::run(device).unwrap();
    close(&found, &expected, 1e-8);
}

#[test]
fn two_lower_problems() {
    let (_turn, device) = turn();
    let [unrolled, implicit, expected] = embed::shared::run(device).unwrap();
    close(&[unrolled, implicit], &[expected; 2], 1e-10);
}

#[test]
fn three_levels() {
    let (_turn, device) = turn();
    let [found, expected] = embed::three_levels::run(device).unwrap();
    close(&found[..1], &expected[..1], 1e-8);
    close(&found[1..], &expected[1..], 1e-6);
}

#[test]
fn own_method() {
    let (_turn, device) = turn();
    let [found, expected] = embed::own_method::run(device).unwrap();
    close(&[found], &[expected], 1e-10);
}

#[test]
fn saving() {
    let (_turn, device) = turn();
    let [whole, parts] = embed::saving::run(device).unwrap();
    assert_eq!(whole, parts, "bit for bit");
    assert!(whole.iter().all(|number| *number != 0.0), "{whole:?}");
}

#[test]
fn many_machines() {
    let (_turn, device) = turn();
    let [alone, first, second, expected] = embed::many_machines::run(device).unwrap();
    assert_eq!([first, second], [alone; 2], "bit for bit");
    close(&[alone], &[expected], 1e-10);
}
