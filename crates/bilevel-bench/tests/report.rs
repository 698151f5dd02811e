//! The report: what is written can be read back, nothing is overwritten, and the page works.

use std::fs;

use bilevel_bench::memory::PeakMemory;
use bilevel_bench::report::folder::{RunFolder, default_name, metrics_csv};
use bilevel_bench::report::seeds::Together;
use bilevel_bench::report::{MethodReport, RunReport, StepRecord, curves, table};
use bilevel_data::noise::Detection;

fn detection(f1: f64) -> Option<Detection> {
    let (accuracy, precision, recall, f1_clean) = (f1, f1, f1, f1);
    Some(Detection { accuracy, precision, recall, f1, f1_clean, found: 250, wrong: 250 })
}

fn bilevel(name: &str, speed: f64, best: f64) -> MethodReport {
    let series = (0..=100).map(|step| {
        let grown = 1.0 - (-speed * step as f64).exp();
        StepRecord {
            step,
            seconds: 0.1 * step as f64,
            upper_loss: Some(2.3 - 2.0 * grown),
            lower_loss: Some(1.0 - 0.3 * grown),
            test_accuracy: Some(0.62 + (best - 0.62) * grown),
            f1: Some(0.9 * grown),
            grad_norm: (step > 0).then_some(0.1 * (1.0 - grown)),
            calls: 201 * step,
            retrained: false,
        }
    });
    MethodReport {
        name: name.into(),
        ok: true,
        status: "reached the limit of 100 upper steps".into(),
        test_accuracy: Some(best),
        detection: detection(0.9),
        upper_loss: Some(0.3),
        lower_loss: Some(0.7),
        seconds: 10.04,
        peak_memory: PeakMemory { heap: Some(12_345_678), resident: None },
        oracle_calls: [("lower_gradient".into(), 10_000), ("product".into(), 10_100)].into(),
        series: series.collect(),
        ..Default::default()
    }
}

fn baseline(name: &str, accuracy: f64) -> MethodReport {
    MethodReport {
        name: name.into(),
        baseline: true,
        ok: true,
        status: "trained".into(),
        test_accuracy: Some(accuracy),
        seconds: 0.21,
        peak_memory: PeakMemory { heap: Some(400_000), resident: None },
        oracle_calls: [("lower_gradient".into(), 100)].into(),
        ..Default::default()
    }
}

fn report() -> RunReport {
    let mut settings = toml::Table::new();
    settings.insert("noise".into(), 0.5.into());
    settings.insert("steps".into(), 100.into());
    let failed = MethodReport {
        name: "cg".into(),
        status: "stopped at step 3: the hypergradient is NaN; lower the step size".into(),
        seconds: 0.3,
        series: vec![StepRecord { upper_loss: Some(f64::NAN), ..Default::default() }],
        ..Default::default()
    };
    RunReport {
        experiment: "hyper-cleaning".into(),
        seed: 0,
        settings,
        methods: vec![
            baseline("noisy", 0.621),
            bilevel("rad", 0.06, 0.912),
            failed,
            baseline("oracle", 0.934),
        ],
    }
}

const FILES: [&str; 5] =
    ["curves.svg", "metrics.csv", "report.html", "settings.toml", "summary.json"];

#[test]
fn a_folder_holds_all_files_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let run = RunFolder::create(&root.path().join("runs"), &default_name("hyper-cleaning", 0));
    let run = run.unwrap();
    assert!(run.path().ends_with("runs/hyper-cleaning-0"));
    let report = report();
    run.write(&report).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(run.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, FILES);

    let text = |name: &str| fs::read_to_string(run.path().join(name)).unwrap();
    let mut expected = report.clone();
    expected.methods.iter_mut().for_each(|method| method.series.clear());
    assert_eq!(serde_json::from_str::<RunReport>(&text("summary.json")).unwrap(), expected);
    assert!(text("summary.json").contains("\"schema\": 1,"));
    assert_eq!(toml::from_str::<toml::Table>(&text("settings.toml")).unwrap(), report.settings);

    let metrics = text("metrics.csv");
    let mut lines = metrics.lines();
    let head = "method,step,seconds,upper_loss,lower_loss,test_accuracy,f1,grad_norm,calls,retrained,baseline";
    assert_eq!(lines.next(), Some(head));
    assert_eq!(lines.next(), Some("noisy,0,0.21,,,0.621,,,100,false,true"));
    let start = lines.next().unwrap();
    assert!(start.starts_with("rad,0,0.0,2.3,1.0,0.62,0.0,"), "{start}");
    assert_eq!(lines.count(), 102, "100 more steps of rad, one row of cg, one of a baseline");
    assert!(
        metrics.contains("cg,0,0.0,,,,,,0,false,false\n"),
        "a figure that is not finite is empty"
    );

    let mut expected = report;
    expected.methods[2].series[0].upper_loss = None;
    assert_eq!(run.report_with_series().unwrap().unwrap(), expected);
}

#[test]
fn a_baseline_has_the_row_of_its_result_once() {
    let rows = |series: &[f64]| {
        let record = |(step, accuracy): (u64, &f64)| StepRecord {
            step,
            test_accuracy: Some(*accuracy),
            ..StepRecord::default()
        };
        let mut of_one = report();
        of_one.methods = vec![baseline("plain", 0.9)];
        of_one.methods[0].series = (0..).zip(series).map(record).collect();
        let text = String::from_utf8(metrics_csv(&of_one).unwrap()).unwrap();
        let place = |row: &str| row.split(',').nth(1).map(str::to_owned);
        text.lines().skip(1).filter_map(place).collect::<Vec<_>>()
    };
    assert_eq!(rows(&[]), ["0"]);
    assert_eq!(rows(&[0.8, 0.9]), ["0", "1"], "its last step has the result");
    assert_eq!(rows(&[0.8, 1.0]), ["0", "1", "2"], "its result is the median");
}

/// Three seeds of a run.
fn together() -> Together {
    let run = |seed| {
        let mut run = report();
        run.seed = seed;
        for record in run.methods.iter_mut().flat_map(|method| &mut method.series) {
            let by = seed as f64;
            record.upper_loss = record.upper_loss.map(|loss| loss + 0.5 * by);
            record.test_accuracy = record.test_accuracy.map(|share| share - 0.02 * by);
            record.f1 = record.f1.map(|share| share * (1.0 - 0.1 * by));
        }
        run
    };
    let runs = [0, 1, 2].map(run).to_vec();
    Together { experiment: "hyper-cleaning".into(), seeds: 3, runs, warning: None }
}

#[test]
fn the_page_of_seeds_says_how_to_repeat_them() {
    let root = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(root.path(), "seeds").unwrap();
    let commands = together().page(&folder).unwrap().commands;
    let settings = folder.path().join("seed-0/settings.toml");
    let repeat = format!("bilevel run hyper-cleaning --config {} --seeds 3", settings.display());
    assert!(commands.contains(&repeat), "{commands:?}");
}

/// Records errors of a page, from its first line on.
const FAULTS: &str = r#"<head><script>const faults = [];
addEventListener("error", (event) => faults.push(event.message), true);
console.error = console.warn = (...words) => faults.push(words.join(" "));</script>"#;

/// No error on the console, lines that vanish with their bands and come back with their names, other axes: in Chromium.
#[test]
fn pages_answer_to_the_mouse() {
    let root = tempfile::tempdir().unwrap();
    let [run, seeds] = ["run", "seeds"].map(|name| RunFolder::create(root.path(), name).unwrap());
    run.write(&report()).unwrap();
    answers_to_the_mouse(&run);
    together().page(&seeds).unwrap().write(&seeds).unwrap();
    answers_to_the_mouse(&seeds);
}

fn answers_to_the_mouse(folder: &RunFolder) {
    let root = tempfile::tempdir().unwrap();
    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    let script = concat!("<script>", include_str!("report.js"), "</script></body>");
    let page = page.replacen("<head>", FAULTS, 1).replacen("</body>", script, 1);
    let file = root.path().join("page.html");
    fs::write(&file, page).unwrap();
    for browser in ["chromium", "chromium-browser", "google-chrome"] {
        // Some are a script that says how to install one.
        let probe = assert_cmd::Command::new(browser)
            .arg("--version")
            .timeout(std::time::Duration::from_secs(30))
            .output();
        if !probe.is_ok_and(|probe| probe.status.success()) {
            continue;
        }
        let mut command = assert_cmd::Command::new(browser);
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--virtual-time-budget=20000",
        ]);
        command.arg(format!("--user-data-dir={}", root.path().join("user").display()));
        command.args(["--window-size=1200,2400", "--dump-dom"]).arg(&file);
        let Ok(ran) = command.timeout(std::time::Duration::from_secs(120)).output() else {
            continue;
        };
        let page = String::from_utf8_lossy(&ran.stdout).into_owned();
        if !page.contains("<html") {
            eprintln!("{browser} prints no page");
            continue;
        }
        let said = page.split_once("data-result=\"").and_then(|(_, rest)| rest.split_once('"'));
        assert_eq!(said.map(|(said, _)| said), Some("ok"));
        return;
    }
    eprintln!("skipped: no Chromium that prints a page");
}

#[test]
fn a_folder_is_never_taken_twice() {
    let root = tempfile::tempdir().unwrap();
    let made = || RunFolder::create(root.path(), "run").unwrap();
    assert!(made().path().ends_with("run"));
    assert!(made().path().ends_with("run-2"));
    assert!(made().path().ends_with("run-3"));
}

#[test]
fn refuses_with_cause_and_cure() {
    let root = tempfile::tempdir().unwrap();
    for name in ["", "..", ".hidden", "a/b", "a b", "a\\b", "ä"] {
        assert_eq!(
            RunFolder::create(root.path(), name).unwrap_err().to_string(),
            format!(
                "run name {name:?}, expected 1 to 100 letters, digits, '-', '_' or '.', not first a \
                 '.'; rename the run"
            )
        );
    }
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let text = RunFolder::create(&file, "run").unwrap_err().to_string();
    assert!(text.starts_with(&format!("{}: ", file.display())), "{text}");
    assert!(text.ends_with("; check that the folder exists, is writable and has room"), "{text}");
}

const TABLE: &str = "\
\x20method   test accuracy %    F1 %   seconds   peak memory   oracle calls
─────────────────────────────────────────────────────────────────────────
 noisy              62.10       -       0.2       391 KiB            100
 rad                91.20   90.00      10.0      11.8 MiB         20,100
 cg                     -       -       0.3             -              -
 oracle             93.40       -       0.2       391 KiB            100
cg: stopped at step 3: the hypergradient is NaN; lower the step size";

#[test]
fn the_table_has_the_width_of_the_terminal_and_whole_words() {
    let text = table::render(&report(), Some(80));
    let (lines, notes) = text.split_once("\n\n").unwrap();
    assert_eq!(lines, TABLE);
    assert!(notes.contains("F1 %: of finding"), "{notes}");
    assert!(notes.lines().all(|line| line.len() <= 80), "{notes}");
    let mut wide = report();
    wide.methods[1].figures = [("% at 50".into(), 50.0), ("extra MiB".into(), 1.5)].into();
    wide.methods[1].oracle_calls.insert("product".into(), 123_456_789_012);
    let redirected = table::render(&wide, None);
    for width in [30, 59, 60, 80, 90, 100, 200] {
        let text = table::render(&wide, Some(width));
        let (table, _) = text.split_once("\ncg: ").unwrap();
        let widest = table.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= width.max(36), "{width}: {text}");
        for whole in ["test", "accuracy", "123,456,799,012", "11.8 MiB", "1.5000", "MiB"] {
            assert!(table.contains(whole), "{width}, {whole}: {text}");
        }
        assert_eq!(table.contains("\n  seconds"), width < 90, "a block a method: {text}");
    }
    assert_eq!(redirected, table::render(&wide, Some(100)));
}

#[test]
fn counts_have_no_decimals_and_percentages_two() {
    let mut report = report();
    for (at, modes, good, loss) in [(0, 8.0, 99.126, 0.25), (1, 10.0, 90.0, 1.0)] {
        let figures = [("modes", modes), ("good %", good), ("loss", loss)];
        report.methods[at].figures = figures.map(|(name, of)| (name.to_owned(), of)).into();
    }
    let text = table::render(&report, Some(200));
    let row = |name| text.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
    let figures = |name| row(name).split_whitespace().skip(3).take(3).collect::<Vec<_>>();
    // In the order of their names.
    assert_eq!(figures("noisy"), ["99.13", "0.2500", "8"]);
    assert_eq!(figures("rad"), ["90.00", "1.0000", "10"]);
}

#[test]
fn curves_are_drawn_of_anything() {
    let whole = curves::svg(&report()).unwrap().unwrap();
    if let Some(path) = std::env::var_os("BILEVEL_CURVES") {
        fs::write(path, &whole).unwrap();
    }
    for word in
        ["hyper-cleaning, seed 0", "test accuracy (%)", "F1 of", "upper steps", "oracle", "rad"]
    {
        assert!(whole.contains(word), "no {word:?} in the figure");
    }
    // A value after a final training is a mark, not part of the curve.
    assert!(!whole.contains("<polygon"));
    let mut odd = report();
    odd.methods[1].series.last_mut().unwrap().retrained = true;
    assert!(curves::svg(&odd).unwrap().unwrap().contains("<polygon"));
    // There is no panel for a quantity that no method has, and no figure for none.
    odd.methods[1].series.iter_mut().for_each(|record| record.test_accuracy = None);
    assert!(!curves::svg(&odd).unwrap().unwrap().contains("test accuracy"));
    odd.methods.truncate(1);
    assert_eq!(curves::svg(&odd).unwrap(), None);
    let mut odd = report();
    odd.experiment = "<&\">".into();
    odd.methods[1].series[3].test_accuracy = Some(f64::INFINITY);
    let text = curves::svg(&odd).unwrap().unwrap();
    assert!(text.contains("&lt;&amp;&quot;&gt;") && !text.contains("<&"));
    assert!(text.ends_with("</svg>\n"));
}
