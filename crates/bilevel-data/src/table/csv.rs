//! Comma-separated values.

use std::io::BufReader;
use std::path::Path;

use super::cells::{Cells, is_label};
use super::fault;
use crate::{DataError, files, gzip};

/// The cells; the first row is a header if the label is in it, or if it looks like one.
pub(super) fn read(path: &Path, label: Option<&str>) -> Result<Cells, DataError> {
    let refuse = |what: String| fault(path, &what, "correct the file");
    let (text, _) = gzip::open(BufReader::new(files::open(path)?))
        .map_err(|error| refuse(error.to_string()))?;
    let mut rows =
        csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(text);
    let mut all: Vec<Vec<String>> = Vec::new();
    for row in rows.records() {
        let row = row.map_err(|error| refuse(error.to_string()))?;
        all.push(row.iter().map(str::to_owned).collect());
    }
    // A header, if the label's name is in it, or if none of the first row is a number and some of the second are.
    let numbers = |row: &[String]| row.iter().filter(|cell| cell.parse::<f64>().is_ok()).count();
    let has_header = match &all[..] {
        [first, second, ..] => {
            first.iter().any(|cell| is_label(cell, label))
                || (numbers(first) == 0 && numbers(second) > 0)
        }
        _ => false,
    };
    let header = has_header.then(|| all.remove(0));
    Ok(Cells { header, rows: all })
}
