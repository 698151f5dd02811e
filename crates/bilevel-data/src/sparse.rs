use std::io;

use super::DataError;

/// Labelled rows that are mostly zero, in memory as compressed sparse rows.
///
/// # Shapes
/// - labels: `n`, any finite numbers; [`classify`](Self::classify) turns them into classes
/// - rows: `n x features`, of which only nonzero values are stored: 8 bytes per number
#[derive(Debug, Clone, PartialEq)]
pub struct Sparse {
    labels: Vec<f64>,
    /// Row i is `offsets[i]..offsets[i + 1]` of the two below.
    offsets: Vec<usize>,
    /// From 0, strictly increasing within a row.
    columns: Vec<u32>,
    values: Vec<f32>,
    features: usize,
}

impl Sparse {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// The number of columns, including zeros.
    pub fn features(&self) -> usize {
        self.features
    }

    /// The number of nonzeros, over all rows.
    pub fn nonzeros(&self) -> usize {
        self.values.len()
    }

    /// One label per row, as in the file.
    pub fn labels(&self) -> &[f64] {
        &self.labels
    }

    /// The columns (from 0, increasing) and values of the nonzeros of a row.
    ///
    /// # Panics
    /// If `row` is not less than [`rows`](Self::rows), as a slice does.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = self.offsets[row]..self.offsets[row + 1];
        (&self.columns[range.clone()], &self.values[range])
    }

    /// These rows as dense rows, `rows.len() x features`, row-major; a row may repeat.
    ///
    /// Only the returned rows take memory. [`check_room`](Self::check_room) checks in advance whether it suffices.
    ///
    /// # Panics
    /// If a row is not less than [`rows`](Self::rows), as a slice does.
    pub fn dense(&self, rows: &[usize]) -> Vec<f32> {
        let mut dense = vec![0.0; rows.len() * self.features];
        // A set without features has no chunks, and nothing to write.
        for (&row, room) in rows.iter().zip(dense.chunks_exact_mut(self.features.max(1))) {
            let (columns, values) = self.row(row);
            for (&column, &value) in columns.iter().zip(values) {
                room[column as usize] = value;
            }
        }
        dense
    }

    /// Whether `rows` rows can be made dense at once.
    ///
    /// # Errors
    /// [`DataError::Room`] if they do not fit into memory: one huge index makes every row huge.
    pub fn check_room(&self, rows: usize) -> Result<(), DataError> {
        let fault = DataError::Room { rows, features: self.features };
        match rows.checked_mul(self.features) {
            Some(room) if Vec::<f32>::new().try_reserve_exact(room).is_ok() => Ok(()),
            _ => Err(fault),
        }
    }

    /// The same rows, each divided by its Euclidean norm; a row of zeros is unchanged.
    ///
    /// Word counts become term frequencies of norm 1, in which long and short documents have the same weight.
    pub fn unit_rows(mut self) -> Self {
        for ends in self.offsets.windows(2) {
            let row = &mut self.values[ends[0]..ends[1]];
            let norm = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
            row.iter_mut().for_each(|value| *value = (f64::from(*value) / norm) as f32);
        }
        self
    }

    /// The rows at `rows`, in that order; a row may repeat.
    ///
    /// # Panics
    /// If a row is not less than [`rows`](Self::rows), as a slice does.
    pub fn select(&self, rows: &[usize]) -> Self {
        let mut selected = Self { features: self.features, ..Self::new() };
        for &row in rows {
            let (columns, values) = self.row(row);
            selected.labels.push(self.labels[row]);
            selected.columns.extend_from_slice(columns);
            selected.values.extend_from_slice(values);
            selected.offsets.push(selected.values.len());
        }
        selected
    }

    /// The `count` columns that have a number in most rows, ascending; among equals the first ones. Empty columns are
    /// never included: memory is bounded by the stored numbers, not by the largest column.
    pub fn frequent_columns(&self, count: usize) -> Vec<u32> {
        let mut all = self.columns.clone();
        all.sort_unstable();
        let mut rows: Vec<(u32, usize)> =
            all.chunk_by(|a, b| a == b).map(|same| (same[0], same.len())).collect();
        rows.sort_by_key(|&(_, rows)| std::cmp::Reverse(rows));
        rows.truncate(count);
        let mut columns: Vec<u32> = rows.into_iter().map(|(column, _)| column).collect();
        columns.sort_unstable();
        columns
    }

    /// The same rows with only these columns, which are ascending: column `columns[j]` becomes column j.
    pub fn with_columns(&self, columns: &[u32]) -> Self {
        let mut kept = Self { features: columns.len(), ..Self::new() };
        for row in 0..self.rows() {
            let (there, values) = self.row(row);
            for (column, &value) in there.iter().zip(values) {
                if let Ok(at) = columns.binary_search(column) {
                    kept.columns.push(at as u32);
                    kept.values.push(value);
                }
            }
            kept.labels.push(self.labels[row]);
            kept.offsets.push(kept.values.len());
        }
        kept
    }

    /// The labels that occur, ascending: with [`classify`](Self::classify), classes in this order.
    pub fn distinct_labels(&self) -> Vec<f64> {
        let mut labels = self.labels.clone();
        labels.sort_unstable_by(f64::total_cmp);
        labels.dedup();
        labels
    }

    /// No rows, no features.
    pub(super) fn new() -> Self {
        Self {
            labels: Vec::new(),
            offsets: vec![0],
            columns: Vec::new(),
            values: Vec::new(),
            features: 0,
        }
    }

    /// Begins a new row.
    pub(super) fn push_row(&mut self, label: f64) -> io::Result<()> {
        self.labels.try_reserve(1).map_err(io::Error::other)?;
        self.offsets.try_reserve(1).map_err(io::Error::other)?;
        self.labels.push(label);
        self.offsets.push(self.values.len());
        Ok(())
    }

    /// Adds a number to the last row, in a column after those it has.
    pub(super) fn push_value(&mut self, column: u32, value: f32) -> io::Result<()> {
        self.columns.try_reserve(1).map_err(io::Error::other)?;
        self.values.try_reserve(1).map_err(io::Error::other)?;
        self.columns.push(column);
        self.values.push(value);
        if let Some(end) = self.offsets.last_mut() {
            *end = self.values.len();
        }
        Ok(())
    }

    /// The same rows with this many features, at least as many as the columns require.
    pub(super) fn with_features(self, features: usize) -> Self {
        Self { features, ..self }
    }
}
