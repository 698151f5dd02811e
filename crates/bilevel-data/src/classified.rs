use std::collections::HashMap;

use rand::seq::SliceRandom;

use super::{DataError, Purpose, Sparse, stream};

/// Sparse rows, each with a class.
#[derive(Debug, Clone, PartialEq)]
pub struct Classified {
    rows: Sparse,
    classes: Vec<u32>,
    labels: Vec<f64>,
}

/// The parts that a bilevel problem needs; made by [`Classified::split`], or from two files.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainValidation {
    /// What f sees.
    pub train: Classified,
    /// What F sees.
    pub validation: Classified,
}

impl Sparse {
    /// Makes class c of label `labels[c]`: `[-1.0, 1.0]` for the two classes of ijcnn1,
    /// [`distinct_labels`](Self::distinct_labels) for the labels of a training file, and those of the training file for
    /// its test file.
    ///
    /// # Errors
    /// [`DataError::UnknownLabel`] if a row has another label.
    pub fn classify(self, labels: &[f64]) -> Result<Classified, DataError> {
        // Both zeros are one label.
        let key = |label: f64| (label + 0.0).to_bits();
        let known: HashMap<u64, u32> =
            labels.iter().zip(0..).map(|(&label, class)| (key(label), class)).collect();
        let classes = self.labels().iter().enumerate().map(|(row, &found)| {
            let class = known.get(&key(found)).copied();
            class.ok_or_else(|| DataError::UnknownLabel { row, found, expected: labels.into() })
        });
        let classes = classes.collect::<Result<_, _>>()?;
        Ok(Classified { rows: self, classes, labels: labels.into() })
    }
}

impl Classified {
    /// The rows.
    pub fn rows(&self) -> &Sparse {
        &self.rows
    }

    /// The class of each row, less than the number of [`labels`](Self::labels).
    pub fn classes(&self) -> &[u32] {
        &self.classes
    }

    /// The label that each class stands for.
    pub fn labels(&self) -> &[f64] {
        &self.labels
    }

    /// The rows at `rows`, in that order; a row may repeat.
    ///
    /// # Panics
    /// If a row is beyond the last one, as a slice does.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            rows: self.rows.select(rows),
            classes: rows.iter().map(|&row| self.classes[row]).collect(),
            labels: self.labels.clone(),
        }
    }

    /// Draws `validation` rows under `seed`, uniformly without replacement; all others are for training. Both
    /// parts keep the order of this set.
    ///
    /// # Errors
    /// [`DataError::Parts`] if a part would be empty.
    pub fn split(&self, validation: usize, seed: u64) -> Result<TrainValidation, DataError> {
        let rows = self.rows.rows();
        let train = rows.saturating_sub(validation);
        if train == 0 || validation == 0 {
            return Err(DataError::Parts { train, validation, rows });
        }
        let mut order: Vec<usize> = (0..rows).collect();
        order.shuffle(&mut stream(seed, Purpose::Split));
        let (chosen, others) = order.split_at_mut(validation);
        chosen.sort_unstable();
        others.sort_unstable();
        Ok(TrainValidation { train: self.select(others), validation: self.select(chosen) })
    }
}
