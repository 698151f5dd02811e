//! Tables that are complete, that lack seeds, and that contain failed runs.

use std::fs;
use std::time::Duration;

use tempfile::{TempDir, tempdir};

use super::*;
use crate::backend::BackendName;
use crate::report::StepRecord;
use bilevel_data::noise::Detection;

const MANNER: Manner = Manner {
    progress: false,
    save_every: Duration::from_secs(30),
    ranks: &bilevel_core::Alone,
    accept_changes: false,
};
const DIVERGED: &str = "diverged at step 3: reduce the lower step size";

/// `settings.toml`, as written by a run of this version.
fn made_here(settings: &Complete) -> toml::Table {
    let mut table = settings.table();
    let origin = "version = \"0.1.0\"\ndata = \"\"\nprocessor = \"\"\nthreads = 1";
    table.insert("made-by".into(), origin.parse::<toml::Table>().unwrap().into());
    table
}

/// Six rows of four figures each, which one run gives.
fn reproduction() -> Reproduction {
    Reproduction {
        reproduce: TableName::IapttTable3,
        preset: Preset::Small,
        seeds: 3,
        data_dir: None,
        data_set: None,
        upper_steps: None,
        device: BackendName::Flex.into(),
        made_by: None,
    }
}

fn cells() -> Vec<Cell> {
    cells_of(&reproduction())
}

fn cells_of(reproduction: &Reproduction) -> Vec<Cell> {
    reproduction.reproduce.cells(reproduction).unwrap()
}

/// The report of a method that ended well, with this accuracy under seed 0 and a hundredth more under each next.
fn ended(method: &str, accuracy: f64, seed: u64) -> MethodReport {
    let accuracy = accuracy + 0.01 * seed as f64;
    let detection = Detection {
        accuracy,
        precision: 0.8,
        recall: 0.8,
        f1: 0.8,
        f1_clean: 0.9,
        found: 1,
        wrong: 1,
    };
    let record = |step| StepRecord {
        step,
        test_accuracy: Some(accuracy / (4 - step) as f64),
        f1: Some(0.5),
        ..StepRecord::default()
    };
    MethodReport {
        name: method.into(),
        ok: true,
        status: "3 upper steps".into(),
        test_accuracy: Some(accuracy),
        detection: Some(detection),
        series: (0..4).map(record).collect(),
        ..MethodReport::default()
    }
}

fn failed(method: &str) -> MethodReport {
    MethodReport { name: method.into(), status: DIVERGED.into(), ..MethodReport::default() }
}

/// The finished runs: `of` decides for each method and seed.
fn done(of: impl Fn(&'static str, u64) -> Option<MethodReport>) -> Vec<Option<Vec<MethodReport>>> {
    let cells = cells();
    let method = |run: &Planned| cells.iter().find(|cell| run.gives(cell)).unwrap().method;
    let runs = plan(&cells, 3);
    runs.iter().map(|run| of(method(run), run.seed).map(|report| vec![report])).collect()
}

fn gathered(done: &[Option<Vec<MethodReport>>]) -> Reproduced {
    gather(TableName::IapttTable3, &cells(), &plan(&cells(), 3), done)
}

/// `table.txt`, `table.csv` and `table.json`.
fn written(reproduced: &Reproduced) -> [String; 3] {
    let root = tempdir().unwrap();
    let folder = RunFolder::create(root.path(), "table").unwrap();
    render::write(reproduced, &folder).unwrap();
    ["table.txt", "table.csv", "table.json"]
        .map(|name| fs::read_to_string(folder.path().join(name)).unwrap())
}

/// `small` needs no data: the settings of every run are valid, and no two cells of a table are the same.
#[test]
fn every_table_has_cells() {
    for about in TABLES {
        let reproduction = Reproduction { reproduce: about.name, ..reproduction() };
        let cells = about.name.cells(&reproduction).unwrap();
        assert!(!cells.is_empty() && !plan(&cells, 1).is_empty(), "{}", about.title);
        for (at, cell) in cells.iter().enumerate() {
            let place = |cell: &Cell| (cell.row, cell.column);
            let twice = cells[..at].iter().any(|other| place(other) == place(cell));
            assert!(!twice, "{}: {:?}", about.title, place(cell));
        }
        let unread = Reproduction { preset: Preset::Full, ..reproduction };
        assert!(unread.check_data().is_err(), "{}", about.title);
    }
}

#[test]
fn first_seeds_come_first_and_every_run_once() {
    let runs = plan(&cells(), 3);
    let seeds: Vec<u64> = runs.iter().map(|run| run.seed).collect();
    assert_eq!(seeds, [[0; 6], [1; 6], [2; 6]].concat());
    let mut folders: Vec<_> = runs.iter().map(|run| run.folder.clone()).collect();
    folders.sort();
    folders.dedup();
    assert_eq!((folders.len(), &folders[0][..]), (18, "runs/00-0"));
}

#[test]
fn a_whole_table_has_mean_deviation_and_difference() {
    let table = gathered(&done(|method, seed| Some(ended(method, 0.9, seed))));
    assert_eq!((table.left, table.failures.len(), table.cells.len()), (0, 0, 24));
    let cell = &table.cells[0];
    let near = |found: Option<f64>, expected: f64| (found.unwrap() - expected).abs() < 1e-9;
    assert!(near(cell.mean(), 91.0) && near(cell.deviation(), 1.0));
    assert!(near(cell.difference(), 91.0 - 89.19));
    assert_eq!((cell.ours.len(), cell.failed, table.cells[1].ours[0]), (3, 0, 90.0));
    let [text, csv, _] = written(&table);
    assert!(text.contains("91.00 ± 1.00 (3)") && text.contains("+1.81"), "{text}");
    assert!(!text.contains("failed") && !text.contains("left"), "{text}");
    assert!(csv.starts_with("row,column,seeds,failed,mean,"), "{csv}");
    assert!(csv.contains("\nLS,accuracy,3,0,91"), "{csv}");
}

#[test]
fn missing_seeds_are_left_and_failed_ones_are_shown_as_failed() {
    let table = gathered(&done(|method, seed| match (method, seed) {
        ("neumann", 1) => Some(failed(method)),
        ("neumann", 2) | ("iaptt", _) => None,
        _ => Some(ended(method, 0.9, seed)),
    }));
    assert_eq!(table.left, 4);
    // One run gives accuracy and F1: it failed once.
    let failure = Failure { run: "runs/01-1".into(), method: "neumann", status: DIVERGED.into() };
    assert_eq!(table.failures, [failure]);
    let of = |row: &str| table.cells.iter().find(|cell| cell.row == row).unwrap();
    assert_eq!((of("LS").ours.len(), of("LS").failed), (3, 0));
    assert_eq!((of("NS").ours.len(), of("NS").failed), (1, 1));
    assert_eq!((of("IAPTT-GM").mean(), of("IAPTT-GM").failed), (None, 0));

    let [text, csv, json] = written(&table);
    assert!(text.contains("90.00 (1, 1 failed)") && text.contains("- (0)"), "{text}");
    assert!(text.contains(&format!("failed: neumann in runs/01-1: {DIVERGED}\n")), "{text}");
    assert!(text.contains("4 runs are left"), "{text}");
    assert!(
        csv.contains("\nNS,accuracy,1,1,90") && csv.contains("\nIAPTT-GM,F1 of clean,0,0,,,"),
        "{csv}"
    );
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["cells"][4]["failed"], 1);
    assert_eq!(json["failures"][0]["run"], "runs/01-1");
    assert_eq!(json["failures"][0]["status"], DIVERGED);
}

#[test]
fn a_figure_that_is_missing_or_not_a_number_is_a_failure() {
    let table = gathered(&done(|method, seed| {
        let mut report = ended(method, 0.9, seed);
        match (method, seed) {
            ("cg", 0) => report.test_accuracy = None,
            ("cg", 1) => report.test_accuracy = Some(f64::NAN),
            ("cg", 2) => report.name = "other".into(),
            _ => {}
        }
        Some(report)
    }));
    assert_eq!((table.cells[0].mean(), table.cells[0].failed), (None, 3));
    // Their F1 is there.
    assert_eq!((table.cells[1].ours.len(), table.cells[1].failed), (2, 1));
    let text = text(&table);
    assert!(text.contains("failed: cg in runs/00-0: 3 upper steps, without this figure"), "{text}");
    assert!(text.contains("failed: cg in runs/00-2: not in the report of the run"), "{text}");
}

#[test]
fn curves_are_drawn_where_there_are_several_seeds() {
    let of = |most: u64| {
        let done = done(|method, seed| (seed < most).then(|| ended(method, 0.9, seed)));
        curves::svg(&cells(), &plan(&cells(), 3), &done).unwrap()
    };
    assert_eq!(of(1), None);
    let svg = of(3).unwrap();
    for word in [
        "LS, 3 seeds",
        "accuracy: medians",
        "F1 of wrong: medians",
        "test accuracy %",
        "upper steps",
    ] {
        assert!(svg.contains(word), "no {word:?} in the figure");
    }
    // A band for each of six rows in each of two panels.
    assert_eq!(svg.matches("<polygon").count(), 12);
}

/// A table whose runs are all done except one, `runs/03-2`.
fn almost_whole(reproduction: &Reproduction) -> (TempDir, RunFolder) {
    let root = tempdir().unwrap();
    let folder = RunFolder::create(root.path(), "table").unwrap();
    folder.write_settings(reproduction).unwrap();
    let cells = cells_of(reproduction);
    for run in plan(&cells, 3).iter().filter(|run| run.folder != "runs/03-2") {
        let inner = folder.inner(&run.folder);
        inner.make().unwrap();
        let method = cells.iter().find(|cell| run.gives(cell)).unwrap().method;
        let report = crate::report::RunReport {
            experiment: run.settings.experiment.name.into(),
            seed: run.seed,
            settings: inner.write_settings(&made_here(&run.settings)).unwrap(),
            methods: vec![match run.seed {
                0 => failed(method),
                _ => ended(method, 0.9, run.seed),
            }],
        };
        inner.write(&report).unwrap();
    }
    (root, folder)
}

#[test]
fn runs_that_are_done_or_that_another_process_is_at_are_not_made() {
    let (_root, folder) = almost_whole(&reproduction());
    folder.inner("runs/03-2").make().unwrap();
    let _held = folder.inner("runs/03-2").hold().unwrap();
    let table = fill(&reproduction(), &folder, MANNER).unwrap();
    assert_eq!((table.left, table.failures.len()), (1, 6));
    assert_eq!(table.cells.iter().map(|cell| cell.ours.len()).sum::<usize>(), 44);
    let mut files: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let expected = [
        "curves.svg",
        "report.html",
        "runs",
        "settings.toml",
        "table.csv",
        "table.json",
        "table.svg",
        "table.txt",
    ];
    assert_eq!(files, expected);
    // Their steps are read from the folders of the runs: six rows in two panels.
    let svg = fs::read_to_string(folder.path().join("curves.svg")).unwrap();
    assert_eq!(svg.matches("<polygon").count(), 12);
}

#[test]
fn a_run_of_another_version_is_refused() {
    let (_root, folder) = almost_whole(&reproduction());
    let other = cells()[0].settings.clone().with_seed(7);
    folder.inner("runs/00-0").write_settings(&made_here(&other)).unwrap();
    let text = fill(&reproduction(), &folder, MANNER).unwrap_err().to_string();
    assert!(text.contains("runs/00-0") && text.contains("another version"), "{text}");
}

#[test]
fn a_table_goes_on_with_other_data_only_if_it_may_and_says_so() {
    let short = Reproduction { upper_steps: Some("1".parse().unwrap()), ..reproduction() };
    let began = Origin { data: "other".into(), ..short.origin(MANNER).unwrap() };
    let short = Reproduction { made_by: Some(began), ..short };
    let (_root, folder) = almost_whole(&short);
    let text = fill(&short, &folder, MANNER).unwrap_err().to_string();
    assert!(text.contains("data other") && text.contains("--accept-changes"), "{text}");
    let accepting = Manner { accept_changes: true, ..MANNER };
    let whole = fill(&short, &folder, accepting).unwrap();
    let says = "origin: the data changed in the middle of the run, which began with other";
    assert!(render::text(&whole).contains(says) && whole.left == 0, "{}", render::text(&whole));
    assert!(whole.json().unwrap().contains("the data changed"));
    // What was accepted is what it began with for who goes on.
    fs::remove_file(folder.inner("runs/03-2").path().join("summary.json")).unwrap();
    let after: Reproduction = folder.settings().unwrap();
    assert!(render::text(&fill(&after, &folder, MANNER).unwrap()).contains(says));
}

/// A folder of an early version.
#[test]
fn a_table_that_does_not_tell_its_origin_goes_on_only_if_it_may() {
    let (_root, folder) = almost_whole(&reproduction());
    let text = fill(&reproduction(), &folder, MANNER).unwrap_err().to_string();
    assert!(text.contains("version unknown") && text.contains("--accept-changes"), "{text}");
}

#[test]
fn changed_data_of_any_run_of_a_table_is_noticed() {
    let root = tempdir().unwrap();
    let rows = "-1 1:0.5 2:1\n1 3:1\n".repeat(40);
    let [a, b] = ["a", "b"].map(|name| {
        let dir = root.path().join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("ijcnn1"), &rows).unwrap();
        let given = format!("problem = \"ijcnn1\"\ndata-dir = \"{}\"", dir.display());
        Complete::given("hpo", &given.parse().unwrap()).unwrap()
    });
    let data = || origin_of([&a, &b, &a], MANNER).unwrap().data;
    let before = data();
    assert_eq!(before, origin_of([&a, &b], MANNER).unwrap().data);
    fs::write(root.path().join("b/ijcnn1"), rows.replacen("0.5", "0.25", 1)).unwrap();
    assert_ne!(data(), before);
}

#[test]
fn the_columns_are_those_of_the_data_set() {
    for (data_set, preset, penalty) in
        [(None, "paper", 97.51), (Some(DataSet::Cifar10), "paper-cifar-10", 79.03)]
    {
        let cells = cells_of(&Reproduction {
            reproduce: TableName::PenaltyTable2,
            preset: Preset::Full,
            data_set,
            upper_steps: Some("7".parse().unwrap()),
            ..reproduction()
        });
        let last = cells.last().unwrap();
        assert_eq!((last.row, last.column, last.paper), ("Penalty", "50 % wrong", Some(penalty)));
        let settings = last.settings.table();
        assert_eq!(settings["preset"].as_str(), Some(preset));
        assert_eq!(settings["upper-steps"].as_integer(), Some(7));
    }
}
