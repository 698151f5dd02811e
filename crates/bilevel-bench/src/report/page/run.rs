//! The page of a run.

use super::{Page, PageColumn, PageLine, PagePanel, PageTable};
use crate::error::{command_line, resume};
use crate::experiments::{ORIGIN, changed};
use crate::report::folder::{RunFolder, settings_toml};
use crate::report::{MethodReport, ReportError, RunReport, StepRecord, table};

/// The page of a run, with the contents of its folder.
///
/// # Errors
/// If settings have no form in TOML.
pub fn of_run(report: &RunReport, folder: &RunFolder) -> Result<Page, ReportError> {
    let troubled = report.methods.iter().filter(|method| !method.ok || method.warnings > 0);
    let changed = changed(&report.settings).map(|text| ("origin".to_owned(), text));
    Ok(Page {
        title: format!("{}, seed {}", report.experiment, report.seed),
        facts: facts(&report.settings),
        tables: vec![results(report)],
        warnings: troubled.map(|m| (m.name.clone(), m.status.clone())).chain(changed).collect(),
        panels: QUANTITIES.iter().filter_map(|shown| panel(report, shown)).collect(),
        commands: commands(report, folder),
        settings: settings_toml(&report.settings)?,
    })
}

/// The origin of the run, from `settings.toml`.
pub(crate) fn facts(settings: &toml::Table) -> Vec<(String, String)> {
    let word = |value: &toml::Value| value.as_str().map_or(value.to_string(), str::to_owned);
    let origin = settings.get(ORIGIN).and_then(toml::Value::as_table);
    let made = origin.into_iter().flatten().filter(|(_, value)| value.as_str() != Some(""));
    let device = settings.get("device").map(|device| ("device".to_owned(), word(device)));
    made.map(|(name, value)| (name.clone(), word(value))).chain(device).collect()
}

/// The commands that resume, repeat and show the run.
fn commands(report: &RunReport, folder: &RunFolder) -> Vec<String> {
    let resume = resume(folder.path());
    let settings = folder.path().join("settings.toml").display().to_string();
    let folder = folder.path().display().to_string();
    vec![
        format!("# {resume}"),
        command_line(["bilevel", "run", &report.experiment, "--config", &settings]),
        command_line(["bilevel", "report", &folder]),
    ]
}

fn results(report: &RunReport) -> PageTable {
    let (columns, rows) = table::cells(report);
    let column = |(at, (title, note)): (usize, (String, Option<&str>))| PageColumn {
        title,
        note: note.map(str::to_owned),
        words: at == 0,
    };
    PageTable {
        title: "Results".into(),
        columns: columns.into_iter().enumerate().map(column).collect(),
        rows,
    }
}

/// The quantity of a panel.
struct Quantity {
    title: &'static str,
    scale: f64,
    of_step: fn(&StepRecord) -> Option<f64>,
    of_method: fn(&MethodReport) -> Option<f64>,
}

const QUANTITIES: [Quantity; 5] = [
    Quantity {
        title: "test accuracy (%)",
        scale: 100.0,
        of_step: |record| record.test_accuracy,
        of_method: |method| method.test_accuracy,
    },
    Quantity {
        title: "F1 of finding wrong labels (%)",
        scale: 100.0,
        of_step: |record| record.f1,
        of_method: MethodReport::f1,
    },
    Quantity {
        title: "upper loss",
        scale: 1.0,
        of_step: |record| record.upper_loss,
        of_method: |method| method.upper_loss,
    },
    Quantity {
        title: "lower loss",
        scale: 1.0,
        of_step: |record| record.lower_loss,
        of_method: |method| method.lower_loss,
    },
    Quantity {
        title: "norm of the hypergradient",
        scale: 1.0,
        of_step: |record| record.grad_norm,
        of_method: |_| None,
    },
];

/// The curves of a quantity, if any method has one.
fn panel(report: &RunReport, shown: &Quantity) -> Option<PagePanel> {
    let scaled = |value: Option<f64>| value.map(|v| v * shown.scale).filter(|v| v.is_finite());
    let of_baselines = |at: fn(&StepRecord) -> f64| {
        let records = report.methods.iter().flat_map(|method| &method.series);
        records.map(at).fold(0.0, f64::max)
    };
    let places: [fn(&StepRecord) -> f64; 3] =
        [|record| record.step as f64, |record| record.calls as f64, |record| record.seconds];
    let line = |label: String, records: Vec<&StepRecord>| PageLine {
        label,
        x: places.iter().map(|at| records.iter().map(|record| at(record)).collect()).collect(),
        y: records.iter().map(|record| scaled((shown.of_step)(record))).collect(),
        ..PageLine::default()
    };
    let mut lines = Vec::new();
    for method in &report.methods {
        if method.baseline {
            let Some(level) = scaled((shown.of_method)(method)) else { continue };
            let x = places.map(|at| vec![0.0, of_baselines(at)]).to_vec();
            let (label, y) = (method.name.clone(), vec![Some(level); 2]);
            lines.push(PageLine { label, baseline: true, x, y, ..PageLine::default() });
            continue;
        }
        let of = |last: bool| method.series.iter().filter(|r| r.retrained == last).collect();
        lines.push(line(method.name.clone(), of(false)));
        let last: Vec<&StepRecord> = of(true);
        if !last.is_empty() {
            let label = format!("{}, at the end", method.name);
            lines.push(PageLine { mark: true, ..line(label, last) });
        }
    }
    let drawn = |line: &&PageLine| !line.baseline && line.y.iter().any(Option::is_some);
    lines.iter().any(|line| drawn(&line)).then(|| PagePanel {
        title: String::new(),
        quantity: shown.title.into(),
        axes: ["upper steps", "oracle calls", "seconds"].map(str::to_owned).to_vec(),
        logarithmic: false,
        lines: lines.into_iter().filter(|line| line.y.iter().any(Option::is_some)).collect(),
    })
}
