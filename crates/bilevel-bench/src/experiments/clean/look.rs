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

/// Rows with their standardised features, below the means of their classes: in the features that tell the classes apart
/// best.
fn rows(of: &Prepared, shown: &[Judged]) -> String {
    let (table, width) = (&of.table, of.table.features.len());
    let all: Vec<usize> = (0..table.labels.len()).collect();
    let mut values: Vec<f64> = of.scaling.inputs(table, &all).into_iter().map(f64::from).collect();
    standardise(&mut values, width);
    let mut means = vec![vec![0.0; width]; table.classes.len()];
    let mut counts = vec![0.0; means.len()];
    for (row, &class) in values.chunks_exact(width).zip(&table.labels) {
        counts[class as usize] += 1.0;
        means[class as usize].iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    for (mean, count) in means.iter_mut().zip(&counts) {
        mean.iter_mut().for_each(|sum| *sum /= f64::max(*count, 1.0));
    }
    let apart = |feature: usize| -> f64 {
        let squares = means.iter().map(|mean| mean[feature].powi(2));
        squares.zip(&counts).map(|(square, count)| square * count).sum()
    };
    let mut best: Vec<usize> = (0..width).collect();
    best.sort_by(|a, b| apart(*b).total_cmp(&apart(*a)));
    best.truncate(FEATURES);
    best.sort_unstable();
    let names: Vec<String> = best.iter().map(|&feature| table.features[feature].clone()).collect();
    let chosen = |row: &[f64]| best.iter().map(|&feature| row[feature]).collect();
    let mut classes: Vec<u32> = shown.iter().flat_map(|of| [of.label, of.best]).collect();
    classes.sort_unstable();
    classes.dedup();
    let mean = |class: u32| Line {
        words: vec!["mean".into(), class_name(of, class).into()],
        values: chosen(&means[class as usize]),
    };
    let row = |judged: &Judged| {
        let [given, best] = [judged.label, judged.best].map(|class| class_name(of, class).into());
        Line {
            words: vec![(judged.row + 1).to_string(), given, best],
            values: chosen(&values[judged.row * width..][..width]),
        }
    };
    let groups = [classes.into_iter().map(mean).collect(), shown.iter().map(row).collect()];
    row_map(&["row", "given", "suggested"], &names, &groups)
}

/// Gives each column mean 0 and variance 1, or zeros.
fn standardise(values: &mut [f64], width: usize) {
    let n = (values.len() / width) as f64;
    for column in 0..width {
        let mut column: Vec<&mut f64> = values.iter_mut().skip(column).step_by(width).collect();
        let mean = column.iter().map(|value| **value).sum::<f64>() / n;
        column.iter_mut().for_each(|value| **value -= mean);
        let deviation = (column.iter().map(|value| value.powi(2)).sum::<f64>() / n).sqrt();
        let scale = if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
        column.iter_mut().for_each(|value| **value *= scale);
    }
}

/// A file's name after that of its folder.
fn in_folder(file: &str) -> String {
    let parts: Vec<_> = Path::new(file).components().collect();
    parts[parts.len().saturating_sub(2)..].iter().collect::<PathBuf>().display().to_string()
}

fn class_name(of: &Prepared, class: u32) -> &str {
    &of.table.classes[class as usize]
}
