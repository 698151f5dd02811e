//! `bilevel toys`: what the sources say about methods on problems with known answers, and what we see.
//!
//! Claims and figures are written after each problem; [`resume`] completes what was cut short.

use std::path::Path;

use bilevel_problems::claims::{self, Claim, Length};
use comfy_table::{ContentArrangement, Table, presets};
use serde::{Deserialize, Serialize};

use crate::backend::flex_in_f64;
use crate::error::BenchError;
use crate::experiments::{Left, Partly};
use crate::report::convergence;
use crate::report::folder::RunFolder;

/// The key of `settings.toml` that says that a folder is of this.
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

/// A row of `runs.csv`: a problem that is done, and how many rows of `claims.csv` are its.
#[derive(Serialize, Deserialize)]
struct Ended {
    problem: String,
    claims: usize,
    settings: String,
}

const CLAIMS: &str = "claims.csv";
const RUNS: &str = "runs.csv";

/// Runs the claims on `problem`, or on all problems, on flex in f64 in a new folder under `root`; gives the table of the
/// terminal.
///
/// # Errors
/// Where the folder cannot be written, a run diverges, or this process has already computed in f32 on
/// flex.
pub fn start(problem: Option<&str>, root: &Path) -> Result<(String, RunFolder), BenchError> {
    let toys = match problem {
        Some(problem) => vec![problem.to_owned()],
        None => claims::PROBLEMS.map(str::to_owned).to_vec(),
    };
    let partly = Partly::create(Settings { toys }, data(), root, "toys")?;
    let folder = (*partly.folder).clone();
    Ok((complete(&partly)?, folder))
}

/// Completes what was cut short in a folder. What is complete is read.
///
/// # Errors
/// See [`start`]; where the folder cannot be used.
pub fn resume(folder: &RunFolder) -> Result<String, BenchError> {
    match Partly::<Settings>::resume(folder, |_| Ok::<_, BenchError>(data()))? {
        Left::Nothing(table) => Ok(table),
        Left::Rest(partly) => complete(&partly),
    }
}

/// The fingerprint of the data: there are none.
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
    rows.truncate(ended.iter().map(|done| done.claims).sum());
    for problem in &partly.settings.toys {
        if ended.iter().any(|done| done.problem == *problem) {
            continue;
        }
        let findings = claims::run(Some(problem), Length::Paper, &device)?;
        for figure in &findings.figures {
            let name = format!("{}.svg", figure.name);
            partly.folder.write_file(&name, convergence::svg(&figure.into())?.as_bytes())?;
        }
        let settings = partly.fingerprint.clone();
        ended.push(Ended { problem: problem.clone(), claims: findings.claims.len(), settings });
        rows.extend(findings.claims.into_iter().map(Row::from));
        partly.write_rows(CLAIMS, &rows)?;
        partly.write_rows(RUNS, &ended)?;
    }
    Ok(partly.end(table(&rows))?)
}

/// The table of the terminal.
fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(110);
    table.set_header(["problem", "method", "the source says", "we see", "verdict"]);
    for Row { problem, method, the_source_says, we_see, verdict } in rows {
        table.add_row([problem, method, the_source_says, we_see, verdict]);
    }
    let held = rows.iter().filter(|row| row.verdict == HOLDS).count();
    format!("{table}\n\n{held} of {} claims hold\n", rows.len())
}

const HOLDS: &str = "holds";

impl From<Claim> for Row {
    fn from(claim: Claim) -> Self {
        Self {
            problem: claim.problem.into(),
            method: claim.method,
            the_source_says: claim.says.into(),
            we_see: claim.sees,
            verdict: if claim.holds { HOLDS } else { "FINDING" }.into(),
        }
    }
}
