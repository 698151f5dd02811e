//! How features are centred and scaled.

use super::Table;

/// A feature becomes `(value - mean) / scale`, and 0 where its number is missing.
///
/// Features with their own units are centred and scaled to variance 1, a constant one to zeros. All are then divided by
/// one number, so that rows have a mean squared norm of 1: a step size of gradient descent that fits one table fits
/// another.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    /// The offset of each feature.
    pub mean: Vec<f64>,
    /// The divisor of each feature; infinite where it is constant.
    pub scale: Vec<f64>,
}

impl Scaling {
    /// From the rows at `rows` only.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn of(table: &Table, rows: &[usize]) -> Self {
        let width = table.features.len();
        let mut scaling = Self { mean: vec![0.0; width], scale: vec![1.0; width] };
        for column in (0..width).filter(|_| table.units) {
            let values = rows.iter().map(|row| f64::from(table.inputs[row * width + column]));
            let there: Vec<f64> = values.filter(|value| value.is_finite()).collect();
            let n = there.len().max(1) as f64;
            let mean = there.iter().sum::<f64>() / n;
            let variance = there.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
            let varies = variance > 1e-12 * mean.powi(2);
            scaling.mean[column] = mean;
            scaling.scale[column] = if varies { variance.sqrt() } else { f64::INFINITY };
        }
        let squares = rows.iter().flat_map(|&row| scaling.row(table, row)).map(|v| v * v);
        let norm = (squares.sum::<f64>() / rows.len().max(1) as f64).sqrt();
        if norm > 0.0 {
            scaling.scale.iter_mut().for_each(|scale| *scale *= norm);
        }
        scaling
    }

    /// The features of the rows at `rows`, `rows.len() x features`, row-major.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn inputs(&self, table: &Table, rows: &[usize]) -> Vec<f32> {
        rows.iter().flat_map(|&row| self.row(table, row)).map(|value| value as f32).collect()
    }

    fn row(&self, table: &Table, row: usize) -> impl Iterator<Item = f64> {
        let width = table.features.len();
        let values = table.inputs[row * width..][..width].iter();
        values.zip(self.mean.iter().zip(&self.scale)).map(|(&value, (mean, scale))| {
            let value = (f64::from(value) - mean) / scale;
            if value.is_finite() { value } else { 0.0 }
        })
    }
}
