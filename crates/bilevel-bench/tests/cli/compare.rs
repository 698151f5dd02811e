//! `solve`, `toys` and `compare`.

use bilevel_bench::compare::Contender;
use bilevel_bench::settings::Offered;

use super::*;

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
    let mut toys = bilevel();
    toys.args(["toys", "--problem", "quadratic", "--out"]).arg(out.path()).assert().success();
    for entry in fs::read_dir(out.path().join("toys-2")).unwrap() {
        let file = entry.unwrap();
        let is_lock = file.file_name() == "lock";
        assert!(is_lock || file.metadata().unwrap().len() > 0, "{:?}", file.file_name());
    }
    bilevel().args(["toys", "--problem", "none"]).assert().code(2).stderr(contains("quadratic"));
}

/// The page of such a folder is the same again, and an incomplete one has none.
#[test]
fn pages_of_comparisons_toys_and_tables_are_written_again() {
    let out = tempdir().unwrap();
    let mut toys = bilevel();
    toys.args(["toys", "--problem", "bda-counterexample", "--out"]).arg(out.path());
    toys.assert().success();
    let mut compare = bilevel();
    compare.args(["compare", "quadratic", "--method", "rad,soba", "--seeds", "1"]);
    compare.args(["--calls", "64", "--out"]).arg(out.path()).assert().success();
    let report = |folder: &Path| bilevel().arg("report").arg(folder).assert();
    for name in ["toys", "compare-quadratic"] {
        let folder = out.path().join(name);
        let page = fs::read_to_string(folder.join("report.html")).unwrap();
        fs::remove_file(folder.join("report.html")).unwrap();
        report(&folder).success().stdout(contains("report.html"));
        let again = fs::read_to_string(folder.join("report.html")).unwrap();
        assert!(page == again, "{name}: another page");
        fs::remove_file(folder.join("table.txt")).unwrap();
        report(&folder).code(2).stderr(contains("resume with: bilevel resume"));
    }
    let table = out.path().join("iaptt-table-3");
    fs::create_dir(&table).unwrap();
    let settings =
        "reproduce = \"iaptt-table-3\"\npreset = \"small\"\nseeds = 1\ndevice = \"flex\"\n";
    fs::write(table.join("settings.toml"), settings).unwrap();
    report(&table).success();
    let page = fs::read_to_string(table.join("report.html")).unwrap();
    let parts = ["difference", "table.svg", "bilevel resume", "iaptt-table-3"];
    assert!(parts.iter().all(|part| page.contains(part)));
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
                assert!(svg.contains("median of 2 seeds"));
                // A step of penalty takes more than 256 calls: its only point is at 0 seconds.
                assert!(svg.contains(method) || [method, axis] == ["penalty", "seconds"]);
            }
        }
    }
    let summary: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("summary.json")).unwrap()).unwrap();
    let of_cg = &summary["methods"][0];
    assert!(of_cg["squared slope"].is_f64() && of_cg["seconds"].is_f64(), "{of_cg}");
    assert!(of_cg["method"] == "cg" && of_cg["stopped"] == 0, "{of_cg}");
    // The same seeds, the same numbers, except for the time.
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
    let readme = fs::read_to_string("../../README.md");
    let count = format!("`bilevel compare quadratic` runs {} of them", Contender::all().len());
    assert!(readme.unwrap().contains(&count), "README.md does not say: {count}");
}

#[test]
fn methods_are_compared_on_problems_with_known_answers() {
    let out = tempdir().unwrap();
    let compare = |name: &str, more: &[&str]| {
        let mut compare = bilevel();
        compare.args(["compare", name, "--calls", "512"]).args(more);
        compare.arg("--out").arg(out.path()).assert()
    };
    // Bounds on x, and constraints and a bound on y.
    for (method, ignored) in [("kkt", "of the upper level"), ("soba", "of the lower level")] {
        let says = contains(method).and(contains(ignored)).and(contains("--barrier"));
        compare("bard-1988-1", &["--method", method]).code(2).stderr(says.and(contains("penalty")));
    }
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0, "before there is a folder");
    let quantities = || contains("distance").and(contains("violation"));
    compare("bard-1988-1", &["--method", "kkt,soba,penalty", "--barrier", "0.1"])
        .success()
        .stdout(quantities().and(contains("kkt")).and(contains("soba")));
    compare("shimizu-aiyoshi-1981-1", &[])
        .success()
        .stdout(quantities().and(contains("bvfim")).and(contains("newton").not()));
    let folder = out.path().join("compare-bard-1988-1");
    let resumed = bilevel().arg("resume").arg(folder).assert().success();
    resumed.stdout(quantities());
}
