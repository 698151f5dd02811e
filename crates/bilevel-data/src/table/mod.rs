//! A user's table: rows of features, each with a label, from various kinds of files.
//!
//! | data | what |
//! |---|---|
//! | `.csv` | comma-separated, a header or none; the label is a column by its name, or by its number from 1 |
//! | `.parquet` | columns of numbers, text and times, uncompressed or by snappy or gzip; the label is a column by its name |
//! | `.npy` | `n x columns`; the label is a column by its number from 1, or in a separate file |
//! | `.npz` | `inputs` (or `x`, `X`) of `n x ...`, and `labels` (or `y`) of `n` |
//! | `.safetensors` | `inputs` of `n x ...` in f32 and `labels` of `n` in i64 |
//! | a folder in MNIST's format | its training and test part together |
//! | a folder in CIFAR's format | its training part |
//! | a folder of class folders, or a `.tar` of such | PNG and JPEG files, resized to 32 x 32 pixels in three channels |
//! | a file that begins with two zeros | IDX: images, with labels in a separate file |
//! | any other file | libsvm |
//!
//! Files other than Parquet may be compressed, as `.gz`. A column of words becomes one column per word (one-hot); one of
//! more than [`MOST_WORDS`] words is left out, and named in [`Table::left_out`]. Dates and times are words, in Parquet as in
//! CSV. [`Scaling`] centres and scales features.

mod arrays;
mod cells;
mod csv;
mod images;
mod labels;
mod npy;
mod parquet;
mod scaling;
mod times;

pub use cells::MOST_WORDS;
pub use parquet::READER;
pub use scaling::Scaling;

use std::io::{BufReader, Read};
use std::path::Path;

use super::{DataError, Dataset, Digest, files, gzip, idx, libsvm};

/// The maximal number of features of a table, each with a name; and of its numbers, including zeros. Otherwise one
/// wrong index of a sparse file would require any amount of memory.
const MOST_FEATURES: usize = 1 << 22;
/// See [`MOST_FEATURES`].
const MOST_NUMBERS: usize = 1 << 28;
/// The maximal number of bytes read from a file of arrays, unpacked.
const MOST_BYTES: u64 = 1 << 31;

/// Rows of features, and a label each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The name of each feature.
    pub features: Vec<String>,
    /// `n x features`, row-major, unscaled; NaN where a number is missing.
    pub inputs: Vec<f32>,
    /// Whether each feature has its own unit, and is standardised.
    pub units: bool,
    /// The class of each row.
    pub labels: Vec<u32>,
    /// The name of each class.
    pub classes: Vec<String>,
    /// Channels, height and width if rows are images.
    pub shape: Option<[usize; 3]>,
    /// The rows as text of the file, and their header; empty if they were not text.
    pub text: Vec<Vec<String>>,
    /// The file of each row, if each has one.
    pub files: Vec<String>,
    /// Columns that are left out, with the number of their words.
    pub left_out: Vec<(String, usize)>,
    /// If rows are some of a larger set: the index of each in it.
    origin: Vec<usize>,
}

impl Table {
    /// Reads the tables of several files with the same columns, one after the other; and the number of rows of each.
    /// `label` names the column of the label [default: the last, or the one called `label`, `class` or `target`], or
    /// the file of the labels of the first table, see [`labels_apart`].
    ///
    /// # Errors
    /// If a file cannot be read, or has no label, no features or fewer than two classes.
    pub fn read(paths: &[&Path], label: Option<&str>) -> Result<(Self, Vec<usize>), DataError> {
        let first = paths.first().copied().unwrap_or(Path::new(""));
        let kind = Kind::of(first)?;
        for path in paths {
            if Kind::of(path)? != kind {
                return Err(fault(first, "files of two kinds", "give files of one kind"));
            }
        }
        if let Kind::Csv | Kind::Parquet = kind {
            return cells::read(paths, label);
        }
        let apart = label.filter(|label| labels_apart(first, label));
        if apart.is_some() && paths.len() > 1 {
            let what = "labels in a separate file, with a second file of rows";
            return Err(fault(first, what, "give files with their labels, or trust a share"));
        }
        let parts: Vec<Self> = paths
            .iter()
            .map(|path| match kind {
                Kind::Npy => {
                    arrays::read_npy(path, label.filter(|_| apart.is_none()), apart.is_some())
                }
                Kind::Npz => arrays::read_npz(path),
                Kind::Safetensors => arrays::read_safetensors(path),
                Kind::Idx => images::read_idx(path, apart.is_some()),
                Kind::Mnist => images::read_mnist(path),
                Kind::Cifar => images::read_cifar(path),
                Kind::ClassFolders => images::read_class_folders(path),
                Kind::Csv | Kind::Parquet | Kind::Libsvm => read_libsvm(path),
            })
            .collect::<Result<_, _>>()?;
        let counts = parts.iter().map(|part| part.labels.len()).collect();
        let mut parts = parts.into_iter();
        let mut whole = parts.next().ok_or_else(|| fault(first, "no file", "name one"))?;
        for part in parts {
            if part.features != whole.features || part.classes != whole.classes {
                let cure = "give files with the same features and classes";
                return Err(fault(first, "files of other columns", cure));
            }
            whole.inputs.extend(part.inputs);
            whole.labels.extend(part.labels);
            whole.files.extend(part.files);
        }
        if let Some(file) = apart {
            let words = whole.labels_in(Path::new(file))?;
            whole.label_by(&words, &[(Path::new(file), words.len())])?;
        }
        Ok((whole.checked(first)?, counts))
    }

    /// The images of a set as rows.
    pub fn of_images(set: &Dataset) -> Self {
        images::of(set)
    }

    fn checked(self, path: &Path) -> Result<Self, DataError> {
        if let (true, [(name, words), ..]) = (self.features.is_empty(), &self.left_out[..]) {
            let what = format!("no features: column `{name}` has {words} words");
            return Err(fault(path, &what, "turn them into numbers, or use fewer words"));
        }
        if self.features.is_empty() || self.labels.is_empty() {
            return Err(fault(path, "no features or no rows", "give a table with both"));
        }
        if self.classes.len() < 2 {
            return Err(fault(path, "fewer than two classes", "name the column of the label"));
        }
        if self.classes.len() * 2 > self.labels.len() {
            let what = format!("{} classes in {} rows", self.classes.len(), self.labels.len());
            return Err(fault(path, &what, "name the column of the label, which is a class"));
        }
        Ok(self)
    }
}

/// Whether `label` is a file of labels, one per row, and not a column of `data`: only CSV and Parquet have columns
/// with names, and an array columns with numbers.
pub fn labels_apart(data: &Path, label: &str) -> bool {
    match Kind::of(data) {
        Ok(Kind::Csv | Kind::Parquet) => false,
        Ok(Kind::Npy) => label.parse::<usize>().is_err(),
        _ => true,
    }
}

/// Whether a cell is empty or a missing value.
fn is_missing(cell: &str) -> bool {
    ["", "na", "nan", "null", "?"].contains(&cell.to_lowercase().as_str())
}

/// The file of a row of several files, each with its rows, and its number there from 1, without the header.
fn place<'a>(mut row: usize, files: &[(&'a Path, usize)]) -> (&'a Path, usize) {
    for &(path, rows) in files {
        if row < rows {
            return (path, row + 1);
        }
        row -= rows;
    }
    unreachable!("a row is in a file")
}

/// A number beyond the range of f32.
fn too_large(found: &str, column: &str, row: usize, files: &[(&Path, usize)]) -> DataError {
    let (path, row) = place(row, files);
    let what = format!("{found} in row {row}, column `{column}`, expected at most 3.4e38 in size");
    fault(path, &what, "correct the number, or leave it empty if it is missing")
}

fn fault(path: &Path, what: &str, cure: &'static str) -> DataError {
    DataError::Table { path: path.into(), what: what.into(), cure }
}

/// A file, decompressed if it is gzip.
fn bytes_of(path: &Path, cure: &'static str) -> Result<Vec<u8>, DataError> {
    let refuse = |what: String| fault(path, &what, cure);
    let source = gzip::open(BufReader::new(files::open(path)?));
    let (source, _) = source.map_err(|error| refuse(error.to_string()))?;
    let mut bytes = Vec::new();
    let read = source.take(MOST_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| refuse(error.to_string()))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(refuse(format!("more than {MOST_BYTES} bytes")));
    }
    Ok(bytes)
}

/// The kind of a file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Csv,
    Parquet,
    Npy,
    Npz,
    Safetensors,
    Libsvm,
    Idx,
    Mnist,
    Cifar,
    ClassFolders,
}

impl Kind {
    /// For a file by its ending, for a folder by its contents.
    fn of(path: &Path) -> Result<Self, DataError> {
        if path.is_dir() {
            return images::kind(path);
        }
        let name = path.with_extension("");
        let plain = if path.extension().is_some_and(|of| of == "gz") { &name } else { path };
        Ok(match plain.extension().and_then(|ending| ending.to_str()) {
            Some("csv") => Self::Csv,
            Some("parquet") => Self::Parquet,
            Some("npy") => Self::Npy,
            Some("npz") => Self::Npz,
            Some("safetensors") => Self::Safetensors,
            Some("tar") => Self::ClassFolders,
            _ if idx::is_idx(path) => Self::Idx,
            _ => Self::Libsvm,
        })
    }
}

fn read_libsvm(path: &Path) -> Result<Table, DataError> {
    let rows = libsvm::read(path, None)?;
    let (count, features) = (rows.rows(), rows.features());
    if features > MOST_FEATURES || count.saturating_mul(features) > MOST_NUMBERS {
        let what = format!(
            "{count} rows of {features} features, expected at most {MOST_FEATURES} features and {MOST_NUMBERS} numbers, \
             zeros included"
        );
        return Err(fault(path, &what, "correct the index that is too large, or take fewer rows"));
    }
    let classes = rows.distinct_labels();
    let rows = rows.classify(&classes)?;
    let all: Vec<usize> = (0..rows.rows().rows()).collect();
    Ok(Table {
        features: numbered(rows.rows().features()),
        inputs: rows.rows().dense(&all),
        units: true,
        labels: rows.classes().to_vec(),
        classes: classes.iter().map(f64::to_string).collect(),
        ..Table::default()
    })
}

/// Columns without names: their numbers from 1.
fn numbered(columns: usize) -> Vec<String> {
    (1..=columns).map(|column| column.to_string()).collect()
}

impl Digest for Table {
    fn feed(&self, to: &mut blake3::Hasher) {
        for value in &self.inputs {
            to.update(&value.to_le_bytes());
        }
        for label in &self.labels {
            to.update(&label.to_le_bytes());
        }
        for class in &self.classes {
            to.update(class.as_bytes());
            to.update(&[0]);
        }
    }
}
