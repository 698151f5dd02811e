//! Folders that are written in parts, by processes killed in between.

use super::*;

/// The rows of a CSV without its column `seconds`.
fn without_seconds(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let at = text.lines().next().unwrap().split(',').position(|column| column == "seconds");
    let cells = |row: &str| {
        let cells = row.split(',').enumerate().filter(|(i, _)| Some(*i) != at);
        cells.map(|(_, cell)| cell).collect::<Vec<_>>().join(",")
    };
    text.lines().map(cells).collect()
}

#[test]
fn a_comparison_that_was_killed_left_nothing() {
    use std::process::{Command, Stdio};
    let (whole, cut) = (tempdir().unwrap(), tempdir().unwrap());
    let methods = "cg(damping = 0.1),penalty,soba,saba,stn,rad";
    let compare = |out: &Path| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("bilevel"));
        command.args(["compare", "quadratic", "--seeds", "3", "--calls", "512"]);
        command.args(["--method", methods, "--out"]).arg(out);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    assert!(compare(whole.path()).status().unwrap().success());
    let mut process = compare(cut.path()).spawn().unwrap();
    let folder = cut.path().join("compare-quadratic");
    while !folder.join("runs.csv").exists() {
        assert!(process.try_wait().unwrap().is_none(), "it ended without a run");
        std::thread::sleep(Duration::from_millis(2));
    }
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(!folder.join("table.txt").exists(), "it ended too early for this test");
    // The results are from the settings with which the folder was begun.
    let settings = fs::read_to_string(folder.join("settings.toml")).unwrap();
    fs::write(folder.join("settings.toml"), settings.replace("calls = 512", "calls = 64")).unwrap();
    bilevel(&["resume"]).arg(&folder).assert().code(6).stderr(contains("settings"));
    fs::write(folder.join("settings.toml"), settings).unwrap();
    bilevel(&["resume", "--json"]).arg(&folder).assert().code(2).stderr(contains("--json"));

    let ended = bilevel(&["resume"]).arg(&folder).assert().success();
    let whole = whole.path().join("compare-quadratic");
    for file in ["metrics.csv", "runs.csv"] {
        // The fingerprint of the settings has the date.
        let made_of = |rows: Vec<String>| match file {
            "runs.csv" => rows.iter().map(|row| row.rsplit_once(',').unwrap().0.into()).collect(),
            _ => rows,
        };
        let [made, expected] =
            [&folder, &whole].map(|folder| made_of(without_seconds(&folder.join(file))));
        assert_eq!(made, expected, "{file}");
    }
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    };
    assert_eq!(names(&folder), names(&whole));
    // A complete one is read.
    let read = bilevel(&["resume"]).arg(&folder).assert().success();
    assert_eq!(read.get_output().stdout, ended.get_output().stdout);
}

/// Each problem is written when it is done.
#[test]
fn toys_that_were_killed_among_their_problems_lost_all_of_them() {
    let out = tempdir().unwrap();
    bilevel(&["toys", "--problem", "constrained", "--out"]).arg(out.path()).assert().success();
    let folder = out.path().join("toys");
    let path = folder.join("settings.toml");
    let all = ["constrained", "many-solutions", "nsgame-toy"];
    let mut settings: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
    settings["toys"] = all.to_vec().into();
    fs::write(&path, settings.to_string()).unwrap();
    let begin = || {
        for file in ["table.txt", "claims.csv", "runs.csv"] {
            fs::remove_file(folder.join(file)).unwrap();
        }
        // Problems without curves have none.
        let _ = fs::remove_file(folder.join("metrics.csv"));
    };
    let rows = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
    begin();
    bilevel(&["resume"]).arg(&folder).assert().success();
    let whole = [rows("claims.csv"), rows("metrics.csv")];
    begin();
    let mut resume = std::process::Command::new(assert_cmd::cargo::cargo_bin!("bilevel"));
    let mut process = resume.arg("resume").arg(&folder).spawn().unwrap();
    while !folder.join("runs.csv").exists() {
        assert!(process.try_wait().unwrap().is_none(), "it ended without a problem");
        std::thread::sleep(Duration::from_millis(2));
    }
    process.kill().unwrap();
    process.wait().unwrap();
    let done = rows("runs.csv").lines().count() - 1;
    assert!((1..all.len()).contains(&done), "{done} of {} problems", all.len());
    bilevel(&["resume"]).arg(&folder).assert().success();
    assert_eq!([rows("claims.csv"), rows("metrics.csv")], whole);
}

#[test]
fn toys_that_were_killed_left_nothing() {
    let out = tempdir().unwrap();
    let mut toys = bilevel(&["toys", "--problem", "bda-counterexample", "--out"]);
    toys.arg(out.path()).assert().success();
    let folder = out.path().join("toys");
    let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
    let (claims, table) = (read("claims.csv"), read("table.txt"));
    let resumed = |done: &str| {
        let ran = bilevel(&["resume"]).arg(&folder).assert().success();
        let printed = String::from_utf8(ran.get_output().stdout.clone()).unwrap();
        assert!(printed.starts_with(&table), "{done}: {printed}");
        assert_eq!(
            (read("claims.csv"), read("table.txt")),
            (claims.clone(), table.clone()),
            "{done}"
        );
    };
    resumed("all");
    fs::remove_file(folder.join("table.txt")).unwrap();
    resumed("all but the table");
    fs::remove_file(folder.join("table.txt")).unwrap();
    fs::remove_file(folder.join("runs.csv")).unwrap();
    resumed("claims without the word that they are whole");
    fs::remove_file(folder.join("table.txt")).unwrap();
    // Claims that are not there, by a count that overflowed.
    let runs = read("runs.csv");
    let forged =
        runs.replacen(&format!(",{},", claims.lines().count() - 1), &format!(",{},", u64::MAX), 1);
    assert_ne!(runs, forged);
    fs::write(folder.join("runs.csv"), forged).unwrap();
    bilevel(&["resume"]).arg(&folder).assert().code(6).stderr(contains("claims.csv"));
    fs::write(folder.join("runs.csv"), runs).unwrap();
    let other = read("settings.toml").replace("bda-counterexample", "penalty");
    fs::write(folder.join("settings.toml"), other).unwrap();
    bilevel(&["resume"]).arg(&folder).assert().code(6).stderr(contains("settings"));
}
