//! Fingerprints of data, so that a run is not resumed on other data than it began with.

use blake3::Hasher;

use crate::split::Parts;
use crate::{Classified, Dataset, Images, TrainValidation};

/// Data with a fingerprint.
pub trait Digest {
    /// Feeds all numbers to the hash.
    fn feed(&self, to: &mut Hasher);
}

/// The fingerprint of data: 16 hexadecimal digits.
pub fn digest(data: &dyn Digest) -> String {
    let mut hasher = Hasher::new();
    data.feed(&mut hasher);
    hasher.finalize().to_hex()[..16].to_owned()
}

fn feed_all<const N: usize>(to: &mut Hasher, numbers: impl ExactSizeIterator<Item = [u8; N]>) {
    to.update(&(numbers.len() as u64).to_le_bytes());
    // Updates are fast on long slices.
    let mut block = Vec::with_capacity(1 << 16);
    for number in numbers {
        block.extend_from_slice(&number);
        if block.len() + N > block.capacity() {
            to.update(&block);
            block.clear();
        }
    }
    to.update(&block);
}

impl Digest for Dataset {
    fn feed(&self, to: &mut Hasher) {
        feed_all(to, self.shape().into_iter().map(|n| (n as u64).to_le_bytes()));
        feed_all(to, self.labels().iter().map(|label| label.to_le_bytes()));
        feed_all(to, self.images().iter().map(|pixel| pixel.to_le_bytes()));
    }
}

impl Digest for Images {
    fn feed(&self, to: &mut Hasher) {
        feed_all(to, self.shape().into_iter().map(|n| (n as u64).to_le_bytes()));
        feed_all(to, self.labels().iter().map(|label| label.to_le_bytes()));
        to.update(self.images());
    }
}

impl Digest for Classified {
    fn feed(&self, to: &mut Hasher) {
        let rows = self.rows();
        feed_all(to, self.classes().iter().map(|class| class.to_le_bytes()));
        for row in 0..rows.rows() {
            let (columns, values) = rows.row(row);
            feed_all(to, columns.iter().map(|column| column.to_le_bytes()));
            feed_all(to, values.iter().map(|value| value.to_le_bytes()));
        }
    }
}

impl Digest for Parts {
    fn feed(&self, to: &mut Hasher) {
        [&self.train, &self.validation, &self.test].into_iter().for_each(|part| part.feed(to));
    }
}

impl Digest for TrainValidation {
    fn feed(&self, to: &mut Hasher) {
        self.train.feed(to);
        self.validation.feed(to);
    }
}

impl<D: Digest> Digest for Option<D> {
    fn feed(&self, to: &mut Hasher) {
        to.update(&[u8::from(self.is_some())]);
        self.iter().for_each(|data| data.feed(to));
    }
}

impl<D: Digest> Digest for [D] {
    fn feed(&self, to: &mut Hasher) {
        self.iter().for_each(|data| data.feed(to));
    }
}

/// The bytes of a file.
impl Digest for Vec<u8> {
    fn feed(&self, to: &mut Hasher) {
        to.update(self);
    }
}

/// Rows of numbers, each with its target.
impl Digest for Vec<(Vec<f64>, f64)> {
    fn feed(&self, to: &mut Hasher) {
        for (row, target) in self {
            feed_all(
                to,
                row.iter()
                    .chain([target])
                    .copied()
                    .collect::<Vec<_>>()
                    .into_iter()
                    .map(f64::to_le_bytes),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_number_is_another_digest() {
        let set = |pixel: f32, label: u32| {
            Dataset::new("set", vec![0.0, 0.5, pixel, 1.0], vec![0, label], [1, 1, 2], 3).unwrap()
        };
        let first = digest(&set(0.25, 1));
        assert_eq!(first, digest(&set(0.25, 1)));
        assert_eq!(first.len(), 16);
        assert_ne!(first, digest(&set(0.250_000_03, 1)));
        assert_ne!(first, digest(&set(0.25, 2)));
    }
}
