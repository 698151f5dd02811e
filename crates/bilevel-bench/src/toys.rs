//! `bilevel toys`: the claims of the sources about methods on problems with known answers, and our results.
//!
//! Claims and figures are written after each problem; [`resume`] completes an interrupted run.

use std::path::Path;

use bilevel_problems::claims::{self, Claim, Length};
use serde::{Deserialize, Serialize};

use crate::backend::flex_in_f64;
use crate::error::{BenchError, resume as resume_with};
use crate::experiments::{Left, Origin, Partly, RUNS};
use crate::progress::Bar;
use crate::report::ReportError;
use crate::report::convergence;
use crate::report::folder::{RunFolder, SUMMARY, Versioned, settings_toml};
use crate::report::page::{Page, PageColumn, PageLine, PagePanel, PageTable, facts};
use crate::report::table::{prose, terminal_width};

/// The key of `settings.toml` that marks such a folder.
pub(crate) const KEY: &str = "toys";

/// `settings.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// The problems.
    toys: Vec<String>,
}

/// A row of `claims.csv`.
#[derive(Serialize, Deserialize)]
struct Row {
    problem: String,
    method: String,
    the_source_says: String,
    we_see: String,
    verdict: String,
}

/// A row of `runs.csv`: a finished problem, and the number of its rows of `claims.csv`.
#[derive(Serialize, Deserialize)]
struct Ended {
    problem: String,
    claims: usize,
    settings: String,
}

/// A row of `metrics.csv`: a point of a figure.
#[derive(Clone, Serialize, Deserialize)]
struct Point {
    problem: String,
    figure: String,
    quantity: String,
    curve: String,
    step: f64,
    value: f64,
}

/// `summary.json`.
#[derive(Serialize)]
struct Summary<'a> {
    toys: &'a [String],
    claims: &'a [Row],
    hold: usize,
    warning: Option<String>,
}

const METRICS: &str = "metrics.csv";
const CLAIMS: &str = "claims.csv";

/// Runs the claims on `problem`, or on all problems, on flex in f64 in a new folder under `root`; returns the table for
/// the terminal.
///
/// # Errors
/// If the folder cannot be written, a run diverges, or this process has already computed in f32 on
/// flex.
pub fn start(problem: Option<&str>, root: &Path) -> Result<(String, RunFolder), BenchError> {
    let toys = match problem {
        Some(problem) => vec![problem.to_owned()],
        None => claims::PROBLEMS.map(str::to_owned).to_vec(),
    };
    let partly = Partly::create(Settings { toys }, &Origin::here(data()), root, "toys")?;
    let folder = (*partly.folder).clone();
    Ok((complete(&partly)?, folder))
}

/// Completes an interrupted folder. A complete one is read. Another version than before may be `accepted`.
///
/// # Errors
/// See [`start`]; if the folder cannot be used.
pub fn resume(folder: &RunFolder, accepted: bool) -> Result<String, BenchError> {
    match Partly::<Settings>::resume(folder, |_| Ok::<_, BenchError>(data()), accepted)? {
        Left::Nothing(table) => Ok(table),
        Left::Rest(partly) => complete(&partly),
    }
}

/// Writes the page of a complete folder again.
///
/// # Errors
/// If it is not complete, or cannot be read or written.
pub fn report(folder: &RunFolder) -> Result<(), BenchError> {
    let partly = Partly::done(folder)?;
    let (rows, points): (Vec<Row>, Vec<Point>) = (partly.rows(CLAIMS)?, partly.rows(METRICS)?);
    Ok(page(&partly, &rows, &points)?.write(&partly.folder)?)
}

/// The fingerprint of the data: there is none.
fn data() -> String {
    "none".into()
}

fn complete(partly: &Partly<Settings>) -> Result<String, BenchError> {
    let device = flex_in_f64()?;
    let (mut rows, mut ended): (Vec<Row>, Vec<Ended>) = (partly.rows(CLAIMS)?, partly.rows(RUNS)?);
    for done in &ended {
        partly.check(&done.settings)?;
    }
    // Claims of a problem at whose end the process was killed are made again.
    let claims = ended.iter().fold(0, |sum: usize, done| sum.saturating_add(done.claims));
    if claims > rows.len() {
        let path = partly.folder.path().join(CLAIMS);
        let what = format!("{} claims, expected the {claims} that {RUNS} names", rows.len());
        return Err(ReportError::Damaged { path, what }.into());
    }
    rows.truncate(claims);
    let is_done = |point: &Point| ended.iter().any(|done| done.problem == point.problem);
    let mut points: Vec<Point> = partly.rows(METRICS)?;
    points.retain(is_done);
    let bar = Bar::new("problems", partly.settings.toys.len());
    bar.set_position(ended.len() as u64);
    for problem in &partly.settings.toys {
        if ended.iter().any(|done| done.problem == *problem) {
            continue;
        }
        bar.set_message(problem);
        let findings = claims::run(Some(problem), Length::Paper, &device)?;
        for figure in &findings.figures {
            let name = format!("{}.svg", figure.name);
            partly.folder.write_file(&name, convergence::svg(&figure.into())?.as_bytes())?;
            points.extend(figure.curves.iter().flat_map(|curve| {
                curve.points.iter().map(|&(step, value)| Point {
                    problem: problem.clone(),
                    figure: figure.name.clone(),
                    quantity: figure.quantity.into(),
                    curve: curve.label.clone(),
                    step,
                    value,
                })
            }));
        }
        let settings = partly.fingerprint.clone();
        ended.push(Ended { problem: problem.clone(), claims: findings.claims.len(), settings });
        rows.extend(findings.claims.into_iter().map(Row::from));
        partly.write_rows(METRICS, &points)?;
        partly.write_rows(CLAIMS, &rows)?;
        partly.write_rows(RUNS, &ended)?;
        bar.inc(1);
    }
    bar.clear();
    page(partly, &rows, &points)?.write(&partly.folder)?;
    let hold = rows.iter().filter(|row| row.verdict == HOLDS).count();
    let warning = partly.changed()?;
    let summary = Summary { toys: &partly.settings.toys, claims: &rows, hold, warning };
    partly.folder.write_file(SUMMARY, Versioned::json(&summary)?.as_bytes())?;
    Ok(partly.end(table(&rows))?)
}

/// The page.
fn page(partly: &Partly<Settings>, rows: &[Row], points: &[Point]) -> Result<Page, ReportError> {
    let mut panels: Vec<PagePanel> = Vec::new();
    for point in points {
        let title = format!("{}: {}", point.problem, point.figure);
        if panels.last().is_none_or(|panel| panel.title != title) {
            let axes = vec!["upper steps".into()];
            let (quantity, lines) = (point.quantity.clone(), Vec::new());
            panels.push(PagePanel { title, quantity, axes, logarithmic: true, lines });
        }
        let Some(panel) = panels.last_mut() else { continue };
        if panel.lines.last().is_none_or(|line| line.label != point.curve) {
            let (label, x) = (point.curve.clone(), vec![Vec::new()]);
            panel.lines.push(PageLine { label, x, ..PageLine::default() });
        }
        let Some(line) = panel.lines.last_mut() else { continue };
        line.x[0].push(point.step);
        line.y.push(Some(point.value).filter(|value| value.is_finite()));
    }
    let columns = HEADER.map(|title| PageColumn { title: title.into(), note: None, words: true });
    let all: toml::Table = partly.folder.settings()?;
    Ok(Page {
        title: "Claims of sources about methods, and our results".into(),
        facts: facts(&all),
        tables: vec![PageTable {
            title: "Claims".into(),
            columns: columns.to_vec(),
            rows: rows.iter().map(Row::cells).collect(),
        }],
        warnings: partly.changed()?.map(|text| ("origin".into(), text)).into_iter().collect(),
        panels,
        commands: vec![format!("# {}", resume_with(partly.folder.path()))],
        settings: settings_toml(&all)?,
    })
}

const HEADER: [&str; 5] = ["problem", "method", "the source says", "we see", "verdict"];

impl Row {
    fn cells(&self) -> Vec<String> {
        let Self { problem, method, the_source_says, we_see, verdict } = self;
        [problem, method, the_source_says, we_see, verdict].map(String::clone).to_vec()
    }
}

/// The table for the terminal.
fn table(rows: &[Row]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(Row::cells).collect();
    let table = prose(&HEADER.map(String::from), &rows, terminal_width());
    let held = rows.iter().filter(|row| row[4] == HOLDS).count();
    format!("{table}\n\n{held} of {} claims hold\n", rows.len())
}

const HOLDS: &str = "holds";

impl From<Claim> for Row {
    fn from(claim: Claim) -> Self {
        Self {
            problem: claim.problem,
            method: claim.method,
            the_source_says: claim.says.into(),
            we_see: claim.sees,
            verdict: if claim.holds { HOLDS } else { "FINDING" }.into(),
        }
    }
}
