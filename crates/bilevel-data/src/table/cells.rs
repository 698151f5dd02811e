//! Cells of text, from files whose columns may have names.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Kind, Table, csv, fault, is_missing, numbered, parquet, too_large};
use crate::DataError;

/// A column with more words than this is not categorical, but a name or a row number.
pub const MOST_WORDS: usize = 64;

/// Default names of the label column.
const USUAL: [&str; 3] = ["label", "class", "target"];

/// Whether a column of this name is the label that is asked for, or may be if none is.
pub(super) fn is_label(name: &str, label: Option<&str>) -> bool {
    match label {
        Some(label) => name == label,
        None => USUAL.contains(&name.to_lowercase().as_str()),
    }
}

/// The raw cells of a file.
#[derive(Default)]
pub(super) struct Cells {
    pub(super) header: Option<Vec<String>>,
    pub(super) rows: Vec<Vec<String>>,
}

/// See [`Table::read`].
pub(super) fn read(paths: &[&Path], label: Option<&str>) -> Result<(Table, Vec<usize>), DataError> {
    let mut all = Cells::default();
    let mut files: Vec<(&Path, usize)> = Vec::new();
    for path in paths {
        let cells = Cells::read(path, label)?;
        let width = |of: &Cells| of.rows.first().map_or(0, Vec::len);
        let same = cells.header == all.header && width(&cells) == width(&all);
        if !files.is_empty() && !same {
            let cure = "give the same columns";
            return Err(fault(path, "other columns than the first file", cure));
        }
        files.push((path, cells.rows.len()));
        all.header = cells.header;
        all.rows.extend(cells.rows);
    }
    let table = all.table(&files, label)?.checked(paths[0])?;
    Ok((table, files.into_iter().map(|(_, rows)| rows).collect()))
}

impl Cells {
    /// Of a file of one of the kinds with columns.
    pub(super) fn read(path: &Path, label: Option<&str>) -> Result<Self, DataError> {
        match Kind::of(path)? {
            Kind::Parquet => parquet::read(path, label),
            _ => csv::read(path, label),
        }
    }

    /// The table of these files, each with its rows, with `label` as the label.
    fn table(self, files: &[(&Path, usize)], label: Option<&str>) -> Result<Table, DataError> {
        let columns = self.rows.first().map_or(0, Vec::len);
        let names: Vec<String> = match &self.header {
            Some(header) => header.clone(),
            None => numbered(columns),
        };
        let at = match label {
            Some(label) => names.iter().position(|name| name == label),
            None => names.iter().position(|name| is_label(name, None)).or(columns.checked_sub(1)),
        };
        let Some(at) = at else {
            let what = format!("no column `{}` in {}", label.unwrap_or(""), names.join(", "));
            return Err(fault(files[0].0, &what, "name one of these as the label"));
        };
        let mut table = Table { units: true, ..Table::default() };
        let labels: Vec<String> = self.rows.iter().map(|row| row[at].clone()).collect();
        table.label_by(&labels, files)?;
        let mut columns_of: Vec<(String, Vec<f32>)> = Vec::new();
        for (column, name) in names.iter().enumerate().filter(|(column, _)| *column != at) {
            let cells: Vec<&str> = self.rows.iter().map(|row| row[column].as_str()).collect();
            if let Some(numbers) = numbers(&cells) {
                if let Some(row) = numbers.iter().position(|number| number.is_infinite()) {
                    return Err(too_large(cells[row], name, row, files));
                }
                columns_of.push((name.clone(), numbers));
                continue;
            }
            match one_hot(name, &cells) {
                Ok(columns) => columns_of.extend(columns),
                Err(words) => table.left_out.push((name.clone(), words)),
            }
        }
        table.inputs.reserve(columns_of.len() * self.rows.len());
        for row in 0..self.rows.len() {
            table.inputs.extend(columns_of.iter().map(|(_, values)| values[row]));
        }
        table.features = columns_of.into_iter().map(|(name, _)| name).collect();
        table.text = std::iter::once(names).chain(self.rows).collect();
        Ok(table)
    }
}

/// A column of numbers, if all cells are numbers: NaN where one is missing, infinite where it is too large.
fn numbers(cells: &[&str]) -> Option<Vec<f32>> {
    let number = |cell: &&str| if is_missing(cell) { Some(f32::NAN) } else { cell.parse().ok() };
    cells.iter().map(number).collect()
}

/// One column for each word; or the number of words, if there are too many.
fn one_hot(name: &str, cells: &[&str]) -> Result<Vec<(String, Vec<f32>)>, usize> {
    let words: BTreeSet<&str> = cells.iter().copied().collect();
    if words.len() > MOST_WORDS {
        return Err(words.len());
    }
    let is = |word: &str| cells.iter().map(|cell| f32::from(*cell == word)).collect();
    Ok(words.into_iter().map(|word| (format!("{name} = {word}"), is(word))).collect())
}
