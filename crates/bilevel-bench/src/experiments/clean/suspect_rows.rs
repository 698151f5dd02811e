//! Pictures of the most suspect rows.

use std::path::{Path, PathBuf};

use super::run::Prepared;
use super::suspects::Judged;
use crate::report::pictures::sheet;
use crate::report::row_map::{Line, row_map};

/// The number of images shown, and in a line.
const IMAGES: usize = 40;
const COLUMNS: usize = 8;
/// The number of rows and of features shown of a table.
const ROWS: usize = 20;
const FEATURES: usize = 24;

/// The most suspect of the rows, which are sorted.
pub fn picture(of: &Prepared, sorted: &[Judged]) -> String {
    match of.table.shape {
        Some(shape) => images(of, &sorted[..sorted.len().min(IMAGES)], shape),
        None => rows(of, &sorted[..sorted.len().min(ROWS)]),
    }
}

/// Images with their file or row, given label and suggested one.
fn images(of: &Prepared, shown: &[Judged], shape: [usize; 3]) -> String {
    let (table, pixels) = (&of.table, of.table.features.len());
    let most = table.inputs.iter().copied().fold(0.0, f32::max).max(f32::MIN_POSITIVE);
    let image = |of_row: &Judged| -> Vec<f32> {
        table.inputs[of_row.row * pixels..][..pixels].iter().map(|v| v / most).collect()
    };
    let images: Vec<Vec<f32>> = shown.iter().map(image).collect();
    let captions = |judged: &Judged| {
        let row = || format!("row {}", judged.row + 1);
        let name = table.files.get(judged.row).map_or_else(row, |file| in_folder(file));
        let [given, best] = [judged.label, judged.best].map(|class| class_name(of, class));
        vec![name, format!("given {given}"), format!("suggested {best}")]
    };
    let images = shown.iter().map(captions).zip(images.iter().map(|image| &**image));
    sheet(&images.collect::<Vec<_>>(), shape, COLUMNS)
}

/// Rows with their standardised features, below the means of their classes: for the features that best separate the
/// classes.
fn rows(of: &Prepared, shown: &[Judged]) -> String {
    let table = &of.table;
    let columns = Columns::of(of);
    let mut best: Vec<usize> = (0..columns.mean.len()).collect();
    best.sort_by(|a, b| columns.separation(*b).total_cmp(&columns.separation(*a)));
    best.truncate(FEATURES);
    best.sort_unstable();
    let names: Vec<String> = best.iter().map(|&feature| table.features[feature].clone()).collect();
    let mut classes: Vec<u32> = shown.iter().flat_map(|of| [of.label, of.best]).collect();
    classes.sort_unstable();
    classes.dedup();
    let mean = |class: u32| Line {
        words: vec!["mean".into(), class_name(of, class).into()],
        values: best.iter().map(|&feature| columns.of_class(class as usize, feature)).collect(),
    };
    let row = |judged: &Judged| {
        let [given, suggested] =
            [judged.label, judged.best].map(|class| class_name(of, class).into());
        let values = of.scaling.inputs(table, &[judged.row]);
        let value = |&feature: &usize| columns.standardised(feature, values[feature].into());
        Line {
            words: vec![(judged.row + 1).to_string(), given, suggested],
            values: best.iter().map(value).collect(),
        }
    };
    let groups = [classes.into_iter().map(mean).collect(), shown.iter().map(row).collect()];
    row_map(&["row", "given", "suggested"], &names, &groups)
}

/// The means and deviations of the features of a table.
struct Columns {
    mean: Vec<f64>,
    /// The inverse of the standard deviation; 0 for constants.
    scale: Vec<f64>,
    /// The mean of each class, and its share of the rows.
    classes: Vec<(Vec<f64>, f64)>,
}

impl Columns {
    /// In parts of rows, since a table may be large.
    fn of(prepared: &Prepared) -> Self {
        let (table, width) = (&prepared.table, prepared.table.features.len());
        let n = table.labels.len() as f64;
        let mut squares = vec![0.0; width];
        let mut classes = vec![(vec![0.0; width], 0.0); table.classes.len()];
        let all: Vec<usize> = (0..table.labels.len()).collect();
        for part in all.chunks(PART) {
            let values = prepared.scaling.inputs(table, part);
            for (row, &at) in values.chunks_exact(width.max(1)).zip(part) {
                let (sums, count) = &mut classes[table.labels[at] as usize];
                *count += 1.0;
                for ((sum, square), &value) in sums.iter_mut().zip(&mut squares).zip(row) {
                    *sum += f64::from(value);
                    *square += f64::from(value).powi(2);
                }
            }
        }
        let mean = |at: usize| classes.iter().map(|(sums, _)| sums[at]).sum::<f64>() / n;
        let mean: Vec<f64> = (0..width).map(mean).collect();
        let scale = |(square, mean): (&f64, &f64)| {
            let variance = square / n - mean.powi(2);
            if variance > 1e-12 * square / n { 1.0 / variance.sqrt() } else { 0.0 }
        };
        let scale = squares.iter().zip(&mean).map(scale).collect();
        for (sums, count) in &mut classes {
            sums.iter_mut().for_each(|sum| *sum /= f64::max(*count, 1.0));
            *count /= n;
        }
        Self { mean, scale, classes }
    }

    fn standardised(&self, feature: usize, value: f64) -> f64 {
        (value - self.mean[feature]) * self.scale[feature]
    }

    /// The mean of a class.
    fn of_class(&self, class: usize, feature: usize) -> f64 {
        self.standardised(feature, self.classes[class].0[feature])
    }

    /// The variance of a feature between the classes, of its variance 1.
    fn separation(&self, feature: usize) -> f64 {
        let shares = self.classes.iter().enumerate();
        shares.map(|(class, (_, share))| share * self.of_class(class, feature).powi(2)).sum()
    }
}

/// The number of rows read at once.
const PART: usize = 1024;

/// A file's name after that of its folder.
fn in_folder(file: &str) -> String {
    let parts: Vec<_> = Path::new(file).components().collect();
    parts[parts.len().saturating_sub(2)..].iter().collect::<PathBuf>().display().to_string()
}

fn class_name(of: &Prepared, class: u32) -> &str {
    &of.table.classes[class as usize]
}
