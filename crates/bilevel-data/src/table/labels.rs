//! Labels in a separate file.

use std::collections::BTreeSet;
use std::path::Path;

use super::cells::Cells;
use super::{Kind, Table, fault, is_missing, npy, place};
use crate::{DataError, idx};

impl Table {
    /// The label of each row in a separate file: `.npy` of `n`, `.csv` or `.parquet` with one column, or else IDX. For a
    /// part of a larger set, such as one batch of CIFAR-10, the file may be that of the whole set.
    ///
    /// # Errors
    /// If the file cannot be read, or has another number of labels.
    pub fn labels_in(&self, path: &Path) -> Result<Vec<String>, DataError> {
        let words: Vec<String> = match Kind::of(path)? {
            Kind::Npy => npy::read(path)?.words(),
            Kind::Csv | Kind::Parquet => {
                let rows = Cells::read(path, None)?.rows;
                if rows.iter().any(|row| row.len() != 1) {
                    return Err(fault(path, "more columns than one", "keep that of the labels"));
                }
                rows.into_iter().flatten().collect()
            }
            _ => {
                let labels = idx::read(path)?.into_labels();
                let labels = labels.map_err(|fault| DataError::Idx { path: path.into(), fault })?;
                labels.iter().map(u32::to_string).collect()
            }
        };
        let n = self.labels.len();
        if words.len() == n {
            return Ok(words);
        }
        match self.origin.iter().map(|&at| words.get(at).cloned()).collect::<Option<Vec<_>>>() {
            Some(of_rows) if of_rows.len() == n => Ok(of_rows),
            _ => {
                let what = format!("{} labels, for {n} rows", words.len());
                Err(fault(path, &what, "give one label per row"))
            }
        }
    }

    /// Gives each row the class of this name, as in these files, each with its rows; classes are in the order of their
    /// names.
    ///
    /// # Errors
    /// If one is missing.
    pub(super) fn label_by(
        &mut self,
        words: &[String],
        files: &[(&Path, usize)],
    ) -> Result<(), DataError> {
        if let Some(row) = words.iter().position(|word| is_missing(word)) {
            let (path, at) = place(row, files);
            let what = format!("row {at} without a label: `{}`", words[row]);
            return Err(fault(path, &what, "leave such rows out, or give the class another name"));
        }
        let classes: BTreeSet<&String> = words.iter().collect();
        self.classes = classes.into_iter().cloned().collect();
        let class = |word: &String| self.classes.partition_point(|known| known < word) as u32;
        self.labels = words.iter().map(class).collect();
        Ok(())
    }

    /// The class of each of these names.
    ///
    /// # Errors
    /// The first name that is not a class, as an error of a label in `path`.
    pub fn classes_of(&self, words: &[String], path: &Path) -> Result<Vec<u32>, DataError> {
        let class = |word: &String| {
            let place = self.classes.iter().position(|class| class == word);
            place.map(|class| class as u32).ok_or_else(|| {
                let what = format!("label `{word}`, which no row of the data has");
                fault(path, &what, "give labels of the same classes")
            })
        };
        words.iter().map(class).collect()
    }
}
