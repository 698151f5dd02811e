//! `bilevel toys`: what the sources say about methods on problems with known answers, and what we see.

use std::path::Path;

use bilevel_problems::claims::{self, Claim, Findings};
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::backend::flex_in_f64;
use crate::error::BenchError;
use crate::report::folder::RunFolder;
use crate::report::{ReportError, convergence};

/// Runs the claims on `problem`, or on all problems, on flex in f64 and writes the table and the figures to
/// a new folder under `root`.
///
/// # Errors
/// Where the folder cannot be written, a run diverges, or this process has already computed in f32 on
/// flex.
pub fn run(problem: Option<&str>, root: &Path) -> Result<(Findings, RunFolder), BenchError> {
    let device = flex_in_f64()?;
    let folder = RunFolder::create(root, "toys")?;
    let findings = claims::run(problem, &device)?;
    folder.write_file("claims.csv", &csv(&findings.claims)?)?;
    for figure in &findings.figures {
        let name = format!("{}.svg", figure.name);
        folder.write_file(&name, convergence::svg(&figure.into())?.as_bytes())?;
    }
    Ok((findings, folder))
}

/// The table of the terminal.
pub fn table(claims: &[Claim]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(110);
    table.set_header(["problem", "method", "the source says", "we see", "verdict"]);
    for claim in claims {
        let row = [claim.problem, &claim.method, claim.says, &claim.sees, verdict(claim)];
        table.add_row(row);
    }
    let held = claims.iter().filter(|claim| claim.holds).count();
    format!("{table}\n\n{held} of {} claims hold", claims.len())
}

fn verdict(claim: &Claim) -> &'static str {
    if claim.holds { "holds" } else { "FINDING" }
}

/// A row of `claims.csv`.
#[derive(Serialize)]
struct Row<'a> {
    problem: &'a str,
    method: &'a str,
    the_source_says: &'a str,
    we_see: &'a str,
    verdict: &'a str,
}

fn csv(claims: &[Claim]) -> Result<Vec<u8>, ReportError> {
    let refuse = |what: String| ReportError::Format { file: "claims.csv", what };
    let mut rows = csv::Writer::from_writer(Vec::new());
    for claim in claims {
        let row = Row {
            problem: claim.problem,
            method: &claim.method,
            the_source_says: claim.says,
            we_see: &claim.sees,
            verdict: verdict(claim),
        };
        rows.serialize(row).map_err(|e| refuse(e.to_string()))?;
    }
    rows.into_inner().map_err(|e| refuse(e.to_string()))
}
