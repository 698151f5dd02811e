//! Runs ended by a signal.

use super::*;

/// The same command with no signal ignored, whatever the environment of the tests: an ignored signal stays ignored.
#[cfg(target_os = "linux")]
fn listening(command: &Command) -> Command {
    let mut env = Command::new("env");
    env.arg("--default-signal=HUP,INT,TERM").arg(command.get_program()).args(command.get_args());
    env.stdout(Stdio::null()).stderr(Stdio::piped());
    env
}

/// Sends a signal to a process.
#[cfg(target_os = "linux")]
fn signal(process: &Child, name: &str) {
    let kill = Command::new("kill").args(["-s", name, &process.id().to_string()]).status();
    assert!(kill.unwrap().success());
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_ends_a_run_after_a_step_with_a_checkpoint_and_how_to_resume() {
    let whole = tempdir().unwrap();
    assert!(HYPER_CLEANING.run(whole.path()).status().unwrap().success());
    let expected = findings(&HYPER_CLEANING.folder(whole.path()));
    for (name, code) in [("HUP", 129), ("INT", 130), ("TERM", 143)] {
        let out = tempdir().unwrap();
        // Checkpoints are written for the signal alone.
        let command = HYPER_CLEANING.run_saving(out.path(), "1000");
        let process = listening(&command).spawn().unwrap();
        let folder = HYPER_CLEANING.folder(out.path());
        while !folder.join("checkpoint.bin").exists() {
            sleep(Duration::from_millis(5));
        }
        signal(&process, name);
        let ran = process.wait_with_output().unwrap();
        let text = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(code), "{name}: {text}");
        let cure = format!("resume with: bilevel resume {}", folder.display());
        assert!(text.contains(&cure) && text.contains("what is done is kept"), "{name}: {text}");
        assert!(!folder.join("lock").exists(), "{name}");
        assert!(resume(&folder).status().unwrap().success());
        assert!(findings(&folder) == expected, "{name}: it came to other numbers");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_second_signal_ends_at_once_and_what_has_no_checkpoint_says_that_it_starts_again() {
    let out = tempdir().unwrap();
    let mut command = bilevel();
    // One step of it takes minutes.
    command.args(["run", "hyper-cleaning", "--device", "flex", "--method", "cg"]);
    command.args(["--lower-steps", "1000000", "--out"]).arg(out.path());
    let process = listening(&command).spawn().unwrap();
    let folder = out.path().join("hyper-cleaning-0");
    while !folder.join("settings.toml").exists() {
        sleep(Duration::from_millis(5));
    }
    signal(&process, "INT");
    sleep(Duration::from_millis(300));
    signal(&process, "INT");
    let ran = process.wait_with_output().unwrap();
    let text = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.status.code() == Some(130) && text.contains("a second Ctrl-C"), "{text}");
    let settings = fs::read_to_string(folder.join("settings.toml")).unwrap();
    let again = listening(&resume(&folder)).spawn().unwrap();
    while !folder.join("lock").exists() {
        sleep(Duration::from_millis(5));
    }
    sleep(Duration::from_millis(500));
    for _ in 0..2 {
        signal(&again, "INT");
        sleep(Duration::from_millis(300));
    }
    let text = String::from_utf8(again.wait_with_output().unwrap().stderr).unwrap();
    assert!(text.contains("the run starts over"), "{text}");
    assert_eq!(fs::read_to_string(folder.join("settings.toml")).unwrap(), settings);
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_during_the_probes_of_auto_ends_at_once_and_says_that_there_is_no_result() {
    use std::io::{BufRead, BufReader};
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let out = tempdir().unwrap();
        let mut command = bilevel();
        command.args(["run", "hyper-cleaning", "--device", "flex", "--method", "auto", "--out"]);
        let mut process = listening(command.arg(out.path())).spawn().unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.contains("measuring the problem"), "{line}");
        signal(&process, name);
        let text: Vec<String> = said.lines().map(Result::unwrap).collect();
        assert_eq!(process.wait().unwrap().code(), Some(code), "{name}: {text:?}");
        assert!(text.iter().any(|line| line.contains("start it again")), "{name}: {text:?}");
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn comparisons_are_resumable_and_measurements_say_that_they_are_not() {
    let out = tempdir().unwrap();
    let comparison = out.path().join("compare-quadratic");
    let cases: [(&[&str], &str); 2] = [
        (
            &["compare", "quadratic", "--method", "rad,cg,soba", "--seeds", "2", "--out"],
            "bilevel resume ",
        ),
        (&["hypergrad", "--device", "flex", "--repetitions", "100000", "--gradient"], "start it"),
    ];
    for (args, says) in cases {
        let mut command = bilevel();
        command.args(args).arg(out.path());
        let process = listening(&command).spawn().unwrap();
        while args[0] == "compare" && !comparison.join("runs.csv").exists() {
            sleep(Duration::from_millis(5));
        }
        sleep(Duration::from_millis(if args[0] == "compare" { 0 } else { 1000 }));
        signal(&process, "TERM");
        let ran = process.wait_with_output().unwrap();
        let text = String::from_utf8(ran.stderr).unwrap();
        assert!(ran.status.code() == Some(143) && text.contains(says), "{args:?}: {text}");
    }
    assert!(resume(&comparison).status().unwrap().code() == Some(0));
}
