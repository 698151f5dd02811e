//! A user's table: rows of features, each with a label, from whatever file.
//!
//! | ending | what |
//! |---|---|
//! | `.csv` | comma-separated, a header or none; the label is a column by its name, or by its number from 1 |
//! | `.safetensors` | `inputs` of `n x ...` in f32 and `labels` of `n` in i64 |
//! | a folder | in MNIST's format, its training and test part together |
//! | any other | libsvm |
//!
//! Each may be packed, as `.gz`. A column of numbers is centred and scaled to variance 1, with its mean where a number
//! is missing; a column of words becomes one column a word (one-hot). The rows are then scaled so that their mean
//! squared norm is about 1: a step size of gradient descent that fits one table fits another.

use std::collections::BTreeSet;
use std::io::BufReader;
use std::path::Path;

use super::{DataError, Dataset, files, gzip, libsvm, mnist};

/// A column with more words than this is no category: a name, or a number of a row.
const MOST_WORDS: usize = 64;

/// Rows of features, and a label each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What each feature is.
    pub features: Vec<String>,
    /// `n x features`, row-major.
    pub inputs: Vec<f32>,
    /// What was taken off each feature, and by what the rest was divided.
    pub mean: Vec<f64>,
    /// See `mean`.
    pub scale: Vec<f64>,
    /// The class of each row.
    pub labels: Vec<u32>,
    /// What each class is called.
    pub classes: Vec<String>,
    /// Channels, height and width where rows are images.
    pub shape: Option<[usize; 3]>,
    /// The rows as they stood in the file, and their header; empty where they were no text.
    pub text: Vec<Vec<String>>,
    /// The column of the label in `text`.
    pub label: usize,
}

/// Cells of a file before anything is made of them.
#[derive(Default)]
struct Cells {
    header: Option<Vec<String>>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads the tables of several files, which are the same in their columns, one after the other; and how many rows
    /// each has. `label` names the column of the label [default: the last, or the one called `label`, `class` or
    /// `target`].
    ///
    /// # Errors
    /// Where a file cannot be read, or has no label, no features or fewer than two classes.
    pub fn read(paths: &[&Path], label: Option<&str>) -> Result<(Self, Vec<usize>), DataError> {
        let first = paths.first().copied().unwrap_or(Path::new(""));
        let kind = kind(first);
        if paths.iter().any(|path| self::kind(path) != kind) {
            return Err(fault(first, "files of two kinds", "give files of one kind"));
        }
        if kind == "csv" {
            return Self::read_csv(paths, label);
        }
        if label.is_some() {
            return Err(fault(
                first,
                "a label column is named",
                "leave it out: only a CSV has columns",
            ));
        }
        let parts: Vec<Self> = paths
            .iter()
            .map(|path| match kind {
                "folder" => Self::read_images(path),
                "safetensors" => Self::read_safetensors(path),
                _ => Self::read_libsvm(path),
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
        }
        whole.prepare(kind == "libsvm");
        Ok((whole.checked(first)?, counts))
    }

    fn checked(self, path: &Path) -> Result<Self, DataError> {
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

    fn read_csv(paths: &[&Path], label: Option<&str>) -> Result<(Self, Vec<usize>), DataError> {
        let mut all = Cells::default();
        let mut counts = Vec::new();
        for path in paths {
            let cells = Cells::read(path, label)?;
            let width = |of: &Cells| of.rows.first().map_or(0, Vec::len);
            let same = cells.header == all.header && width(&cells) == width(&all);
            if !counts.is_empty() && !same {
                return Err(fault(
                    path,
                    "other columns than the first file",
                    "give the same columns",
                ));
            }
            counts.push(cells.rows.len());
            all.header = cells.header;
            all.rows.extend(cells.rows);
        }
        Ok((all.table(paths[0], label)?.checked(paths[0])?, counts))
    }

    fn read_images(path: &Path) -> Result<Self, DataError> {
        let mnist::TrainTest { train, test, labels } = mnist::read_dir(path)?;
        let classes = labels.iter().map(u32::to_string).collect();
        Ok(Self { classes, ..Self::pixels(&train.join(test)?) })
    }

    /// The images of a set as rows, scaled as rows are.
    pub fn of_images(set: &Dataset) -> Self {
        let mut table = Self::pixels(set);
        table.prepare(false);
        table
    }

    fn pixels(set: &Dataset) -> Self {
        Self {
            features: (1..=set.features()).map(|pixel| format!("pixel {pixel}")).collect(),
            inputs: set.images().to_vec(),
            labels: set.labels().to_vec(),
            classes: (0..set.classes()).map(|class| class.to_string()).collect(),
            shape: Some(set.shape()),
            ..Self::default()
        }
    }

    fn read_libsvm(path: &Path) -> Result<Self, DataError> {
        let rows = libsvm::read(path, None)?;
        rows.check_room(rows.rows())?;
        let classes = rows.distinct_labels();
        let rows = rows.classify(&classes)?;
        let all: Vec<usize> = (0..rows.rows().rows()).collect();
        Ok(Self {
            features: (1..=rows.rows().features()).map(|column| column.to_string()).collect(),
            inputs: rows.rows().dense(&all),
            labels: rows.classes().to_vec(),
            classes: classes.iter().map(f64::to_string).collect(),
            shape: None,
            ..Self::default()
        })
    }

    fn read_safetensors(path: &Path) -> Result<Self, DataError> {
        use safetensors::{Dtype, SafeTensors};
        let refuse = |what: String| {
            let cure = "write `inputs` of n x ... in F32 and `labels` of n in I64";
            fault(path, &what, cure)
        };
        let bytes =
            std::fs::read(path).map_err(|cause| DataError::Read { path: path.into(), cause })?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| refuse(error.to_string()))?;
        let tensor = |name: &str, kind: Dtype| {
            let found = file.tensor(name).map_err(|error| refuse(format!("`{name}`: {error}")))?;
            match found.dtype() {
                found if found != kind => Err(refuse(format!("`{name}` is {found:?}"))),
                _ => Ok(found),
            }
        };
        let (inputs, labels) = (tensor("inputs", Dtype::F32)?, tensor("labels", Dtype::I64)?);
        let n = inputs.shape().first().copied().unwrap_or(0);
        if labels.shape() != [n] {
            return Err(refuse(format!(
                "inputs {:?}, labels {:?}",
                inputs.shape(),
                labels.shape()
            )));
        }
        let numbers = inputs.data().chunks_exact(4);
        let inputs: Vec<f32> =
            numbers.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        if inputs.iter().any(|number| !number.is_finite()) {
            return Err(refuse("a number that is not finite".into()));
        }
        let labels: Vec<i64> = labels
            .data()
            .chunks_exact(8)
            .map(|b| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
            .collect();
        let classes: BTreeSet<i64> = labels.iter().copied().collect();
        let class = |label| classes.iter().position(|known| *known == label).unwrap_or(0) as u32;
        let columns = inputs.len() / n.max(1);
        Ok(Self {
            features: (1..=columns).map(|column| column.to_string()).collect(),
            inputs,
            labels: labels.iter().map(|&label| class(label)).collect(),
            classes: classes.iter().map(i64::to_string).collect(),
            shape: None,
            ..Self::default()
        })
    }
}

fn fault(path: &Path, what: &str, cure: &'static str) -> DataError {
    DataError::Table { path: path.into(), what: what.into(), cure }
}

/// Names of the column of the label, where none is given.
const USUAL: [&str; 3] = ["label", "class", "target"];

/// What a file holds, by its ending.
fn kind(path: &Path) -> &'static str {
    if path.is_dir() {
        return "folder";
    }
    let name = path.with_extension("");
    let plain = if path.extension().is_some_and(|of| of == "gz") { &name } else { path };
    match plain.extension().and_then(|ending| ending.to_str()) {
        Some("csv") => "csv",
        Some("safetensors") => "safetensors",
        _ => "libsvm",
    }
}

impl Cells {
    fn read(path: &Path, label: Option<&str>) -> Result<Self, DataError> {
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
        // Names, where the label's is among them, or where none of the first row is a number and some of the second are.
        let numbers =
            |row: &[String]| row.iter().filter(|cell| cell.parse::<f64>().is_ok()).count();
        let has_header = match &all[..] {
            [first, second, ..] => {
                let named = |cell: &String| match label {
                    Some(label) => cell == label,
                    None => USUAL.contains(&cell.to_lowercase().as_str()),
                };
                first.iter().any(named) || (numbers(first) == 0 && numbers(second) > 0)
            }
            _ => false,
        };
        let header = has_header.then(|| all.remove(0));
        Ok(Self { header, rows: all })
    }

    /// The table, with `label` as the label.
    fn table(self, path: &Path, label: Option<&str>) -> Result<Table, DataError> {
        let columns = self.rows.first().map_or(0, Vec::len);
        let names: Vec<String> = match &self.header {
            Some(header) => header.clone(),
            None => (1..=columns).map(|column| column.to_string()).collect(),
        };
        let at = match label {
            Some(label) => names.iter().position(|name| name == label),
            None => {
                let named = |name: &String| USUAL.contains(&name.to_lowercase().as_str());
                names.iter().position(named).or(columns.checked_sub(1))
            }
        };
        let Some(at) = at else {
            let what = format!("no column `{}` in {}", label.unwrap_or(""), names.join(", "));
            return Err(fault(path, &what, "name one of these as the label"));
        };
        let words: BTreeSet<&String> = self.rows.iter().map(|row| &row[at]).collect();
        if words.contains(&String::new()) {
            return Err(fault(path, "a row without a label", "leave such rows out"));
        }
        let classes: Vec<String> = words.into_iter().cloned().collect();
        let class = |row: &Vec<String>| classes.partition_point(|known| *known < row[at]) as u32;
        let labels = self.rows.iter().map(class).collect();
        let mut columns_of: Vec<(String, Vec<f32>)> = Vec::new();
        for (column, name) in names.iter().enumerate().filter(|(column, _)| *column != at) {
            let cells: Vec<&str> = self.rows.iter().map(|row| row[column].as_str()).collect();
            columns_of.extend(encode(name, &cells));
        }
        let width = columns_of.len();
        let mut inputs = Vec::with_capacity(width * self.rows.len());
        for row in 0..self.rows.len() {
            inputs.extend(columns_of.iter().map(|(_, values)| values[row]));
        }
        let features = columns_of.into_iter().map(|(name, _)| name).collect();
        let text = std::iter::once(names).chain(self.rows).collect();
        let mut table =
            Table { features, inputs, labels, classes, text, label: at, ..Table::default() };
        table.prepare(true);
        Ok(table)
    }
}

/// A column of numbers, or one column for each word. A number that is missing is NaN.
fn encode(name: &str, cells: &[&str]) -> Vec<(String, Vec<f32>)> {
    let missing =
        |cell: &str| ["", "na", "nan", "null", "?"].contains(&cell.to_lowercase().as_str());
    let number = |cell: &str| match missing(cell) {
        true => Some(f32::NAN),
        false => cell.parse::<f32>().ok().filter(|number| number.is_finite()),
    };
    if let Some(numbers) = cells.iter().map(|cell| number(cell)).collect::<Option<Vec<f32>>>() {
        return vec![(name.into(), numbers)];
    }
    let words: BTreeSet<&str> = cells.iter().copied().collect();
    if words.len() > MOST_WORDS {
        return Vec::new();
    }
    let is = |word: &str| cells.iter().map(|cell| f32::from(*cell == word)).collect();
    words.into_iter().map(|word| (format!("{name} = {word}"), is(word))).collect()
}

impl Table {
    /// Centres features and scales them to variance 1 if `columns`, a constant one to zeros; then scales all, so that
    /// rows have a mean squared norm of 1.
    fn prepare(&mut self, columns: bool) {
        let width = self.features.len();
        let (mut mean, mut scale) = (vec![0.0; width], vec![1.0; width]);
        for column in (0..width).filter(|_| columns) {
            let values = self.inputs.iter().skip(column).step_by(width).map(|v| f64::from(*v));
            let there: Vec<f64> = values.filter(|value| value.is_finite()).collect();
            let n = there.len().max(1) as f64;
            mean[column] = there.iter().sum::<f64>() / n;
            let squares = there.iter().map(|value| (value - mean[column]).powi(2));
            let variance = squares.sum::<f64>() / n;
            let varies = variance > 1e-12 * mean[column].powi(2);
            scale[column] = if varies { variance.sqrt() } else { f64::INFINITY };
        }
        let all = |at: usize, value: f32| (f64::from(value) - mean[at % width]) / scale[at % width];
        let inputs = self.inputs.iter().enumerate().map(|(at, &value)| all(at, value));
        let inputs: Vec<f64> = inputs.map(|v| if v.is_finite() { v } else { 0.0 }).collect();
        let rows = self.labels.len().max(1) as f64;
        let norm = (inputs.iter().map(|value| value * value).sum::<f64>() / rows).sqrt();
        let norm = if norm > 0.0 { norm } else { 1.0 };
        self.inputs = inputs.iter().map(|value| (value / norm) as f32).collect();
        (self.mean, self.scale) = (mean, scale.iter().map(|scale| scale * norm).collect());
    }
}

impl super::Digest for Table {
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn written(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn a_csv_becomes_numbers() {
        let text = "size, colour, kind\n1,red,a\n3,blue,b\n,red,a\n1,blue,b\n3,red,a\n2,blue,b\n";
        let (_folder, path) = written("t.csv", text);
        let (table, counts) = Table::read(&[&path], Some("kind")).unwrap();
        assert_eq!(counts, [6]);
        assert_eq!(table.features, ["size", "colour = blue", "colour = red"]);
        assert_eq!(
            (table.labels, table.classes),
            (vec![0, 1, 0, 1, 0, 1], vec!["a".into(), "b".into()])
        );
        assert_eq!(table.text[0], ["size", "colour", "kind"]);
        // The mean where a number is missing; columns of variance 1, and rows of mean squared norm 1.
        assert_eq!(table.inputs[6], 0.0);
        let squares: f32 = table.inputs.iter().map(|v| v * v).sum();
        assert!((squares / 6.0 - 1.0).abs() < 1e-5);
        // By default the label is the last column, and the same rows in a file without a header are the same.
        let (_other, bare) = written("t.csv", text.split_once('\n').unwrap().1);
        let (bare, _) = Table::read(&[&bare], None).unwrap();
        assert_eq!(bare.inputs, table.inputs);
        assert_eq!(bare.features[0], "1");
    }

    #[test]
    fn the_same_rows_in_other_files_are_the_same() {
        let (_a, csv) = written("t.csv", "1,0,-1\n0,2,1\n3,1,-1\n0,1,1\n");
        let (_b, libsvm) = written("t.libsvm", "-1 1:1\n1 2:2\n-1 1:3 2:1\n1 2:1\n");
        let (csv, _) = Table::read(&[&csv], None).unwrap();
        let (libsvm, _) = Table::read(&[&libsvm], None).unwrap();
        assert_eq!(csv.inputs, libsvm.inputs);
        assert_eq!(csv.labels, libsvm.labels);
    }

    #[test]
    fn a_header_without_a_number_below_it_is_known_by_the_label() {
        let text = "colour,shape,kind\nred,round,a\nblue,flat,b\nred,flat,a\nblue,round,b\n";
        let (_folder, path) = written("t.csv", text);
        for label in [Some("kind"), Some("shape")] {
            let (table, counts) = Table::read(&[&path], label).unwrap();
            assert_eq!((counts, table.classes.len()), (vec![4], 2));
        }
        let (_usual, path) = written("t.csv", &text.replace("kind", "Class"));
        assert_eq!(Table::read(&[&path], None).unwrap().1, [4]);
    }

    #[test]
    fn files_of_other_widths_are_not_one_table() {
        let (_a, narrow) = written("t.csv", "1,0,-1\n0,2,1\n3,1,-1\n0,1,1\n");
        let (_b, wide) = written("t.csv", "1,0,5,-1\n0,2,5,1\n3,1,5,-1\n0,1,5,1\n");
        for files in [[&*narrow, &*wide], [&*wide, &*narrow]] {
            let error = Table::read(&files, None).unwrap_err().to_string();
            assert!(error.contains("other columns"), "{error}");
        }
    }

    #[test]
    fn refuses_with_a_cure() {
        for (text, label, says) in [
            ("a,b\n1,2\n3,4\n", Some("c"), "no column `c` in a, b; name one of these"),
            ("1,2\n3,4,5\n", None, "correct the file"),
            ("a,b\n1,0.5\n2,0.25\n", None, "2 classes in 2 rows; name the column"),
            ("a,b\n1,x\n2,x\n", None, "fewer than two classes"),
            ("a,b\n1,x\n2,\n", None, "a row without a label"),
            ("1\n2\n2\n1\n", None, "no features or no rows"),
            ("", None, "no column"),
        ] {
            let (_folder, path) = written("t.csv", text);
            let error = Table::read(&[&path], label).unwrap_err().to_string();
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }
}
