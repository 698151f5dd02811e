//! The output for the evaluated rows.

use super::run::Prepared;
use super::suspect_rows::picture;
use crate::error::BenchError;
use crate::report::ReportError;
use crate::report::convergence::{Axis, Chart, Curve, svg};
use crate::report::folder::RunFolder;

/// The prediction for a row by a network that was not trained on it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Judged {
    /// The row, from 0.
    pub row: usize,
    /// The given class.
    pub label: u32,
    /// The probability of this class.
    pub given: f32,
    /// The weight learned for the row.
    pub weight: f32,
    /// The most probable class.
    pub best: u32,
    /// Its probability.
    pub confidence: f32,
}

impl Judged {
    /// For a row with these class probabilities.
    pub fn new(row: usize, label: u32, weight: f32, shares: &[f32]) -> Self {
        let (best, &confidence) =
            shares.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap_or((0, &0.0));
        let given = shares.get(label as usize).copied().unwrap_or(0.0);
        Self { row, label, given, weight, best: best as u32, confidence }
    }

    /// Whether another class is more probable.
    pub fn is_suspect(&self) -> bool {
        self.best != self.label
    }
}

/// An evaluated row, and what is known of it.
struct Found {
    judged: Judged,
    /// Whether its label is wrong, if known.
    known: Option<bool>,
    /// Whether it is a trusted row.
    held: bool,
}

/// Writes the files of a method, with its name in theirs.
pub fn write(
    of: &Prepared,
    judged: &[Judged],
    method: &str,
    folder: &RunFolder,
) -> Result<(), BenchError> {
    let found = judged.iter().zip(of.known.iter().zip(&of.held));
    let mut sorted: Vec<Found> =
        found.map(|(&judged, (&known, &held))| Found { judged, known, held }).collect();
    sorted.sort_by(|a, b| a.judged.given.total_cmp(&b.judged.given));
    folder.write_file(&format!("suspects-{method}.csv"), &suspects(of, &sorted)?)?;
    folder.write_file(&format!("cleaned-{method}.csv"), &cleaned(of, judged)?)?;
    let points = precision(&sorted);
    if !points.is_empty() {
        let chart = Chart {
            title: "known errors: precision over recall".into(),
            axis: Axis::Linear("recall (%)"),
            quantity: Axis::Linear("precision (%)"),
            curves: vec![Curve { label: method.into(), points, band: Vec::new() }],
        };
        folder.write_file(&format!("precision-{method}.svg"), svg(&chart)?.as_bytes())?;
    }
    let own = sorted.iter().filter(|found| !found.held).map(|found| found.judged);
    let picture = picture(of, &own.collect::<Vec<_>>());
    folder.write_file(&format!("suspects-{method}.svg"), picture.as_bytes())?;
    Ok(())
}

fn csv_of<R: IntoIterator<Item = Vec<String>>>(rows: R) -> Result<Vec<u8>, ReportError> {
    let refuse = |what: String| ReportError::Format { file: "suspects.csv", what };
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).map_err(|error| refuse(error.to_string()))?;
    }
    writer.into_inner().map_err(|error| refuse(error.to_string()))
}

/// The rows that are not trusted, the most suspect first.
fn suspects(of: &Prepared, sorted: &[Found]) -> Result<Vec<u8>, ReportError> {
    let names = ["row", "given", "probability", "weight", "would_say", "confidence"];
    let file = |row: usize| of.table.files.get(row).cloned();
    let names = names.map(String::from).into_iter();
    let names = names.chain(file(0).map(|_| "file".to_owned())).collect();
    let class = |class: u32| of.table.classes[class as usize].clone();
    // Some labels of trusted rows are planted, not the data's.
    let own = sorted.iter().filter(|found| !found.held);
    let row = |Found { judged, .. }: &Found| {
        let cells = [
            (judged.row + 1).to_string(),
            class(judged.label),
            judged.given.to_string(),
            judged.weight.to_string(),
            class(judged.best),
            judged.confidence.to_string(),
        ];
        cells.into_iter().chain(file(judged.row)).collect()
    };
    csv_of(std::iter::once(names).chain(own.map(row)))
}

/// The rows of the data that are not suspect, as they were read; for images their files, or their row numbers. Planted
/// rows have their own labels again, and are kept.
fn cleaned(of: &Prepared, judged: &[Judged]) -> Result<Vec<u8>, ReportError> {
    let mut suspects = vec![false; of.table.labels.len()];
    for (judged, held) in judged.iter().zip(&of.held) {
        suspects[judged.row] = judged.is_suspect() && !held;
    }
    let kept = (0..of.own).filter(|&row| !suspects[row]);
    if let Some((header, rows)) = of.table.text.split_first() {
        let rows = kept.map(|row| rows[row].clone());
        // Columns without names in the file are numbered.
        let numbered = header.iter().enumerate().all(|(at, name)| *name == (at + 1).to_string());
        return csv_of((!numbered).then(|| header.clone()).into_iter().chain(rows));
    }
    let class = |row: usize| of.table.classes[of.table.labels[row] as usize].clone();
    if of.table.shape.is_some() {
        let key = if of.table.files.is_empty() { "row" } else { "file" };
        let name = |row: usize| of.table.files.get(row).cloned().unwrap_or((row + 1).to_string());
        let rows = kept.map(|row| vec![name(row), class(row)]);
        return csv_of(std::iter::once(vec![key.into(), "label".into()]).chain(rows));
    }
    let features = of.table.features.len();
    let header = of.table.features.iter().cloned().chain(["label".into()]).collect();
    let row = |row: usize| {
        let inputs = of.table.inputs[row * features..][..features].iter().map(f32::to_string);
        inputs.chain([class(row)]).collect()
    };
    csv_of(std::iter::once(header).chain(kept.map(row)))
}

/// Recall and precision after each known error found, in per cent.
fn precision(sorted: &[Found]) -> Vec<(f64, f64)> {
    let known: Vec<bool> = sorted.iter().filter_map(|found| found.known).collect();
    let wrong = known.iter().filter(|wrong| **wrong).count() as f64;
    let mut found = 0.0;
    let mut points = Vec::new();
    for (at, wrong_label) in known.iter().enumerate() {
        if *wrong_label {
            found += 1.0;
            points.push((100.0 * found / wrong, 100.0 * found / (at + 1) as f64));
        }
    }
    points
}
