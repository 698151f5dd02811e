//! The embedded data set: handwritten digits of 8x8 pixels.
//!
//! Source: the file `digits.csv.gz` of scikit-learn (BSD-3), which is the test part of "Optical Recognition
//! of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI Machine Learning Repository (CC BY 4.0).
//! Licences and checksum: `assets/digits/`.

use flate2::read::GzDecoder;

use super::{DataError, Dataset};

const FILE: &[u8] = include_bytes!("../assets/digits/digits.csv.gz");
const PIXELS: usize = 64;
const DEPTH: u8 = 16;
const CLASSES: usize = 10;

/// Reads the embedded set: 1797 images of shape `[1, 8, 8]`, ten classes, pixels divided by 16.
///
/// # Errors
/// Only from a build whose embedded file is damaged.
pub fn load() -> Result<Dataset, DataError> {
    let mut rows = csv::ReaderBuilder::new().has_headers(false).from_reader(GzDecoder::new(FILE));
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for (row, record) in rows.deserialize::<Vec<u8>>().enumerate() {
        let fault = |what: String| DataError::Digits { line: row + 1, what };
        let record = record.map_err(|error| fault(error.to_string()))?;
        match record.split_last() {
            Some((&label, pixels))
                if pixels.len() == PIXELS && pixels.iter().all(|&pixel| pixel <= DEPTH) =>
            {
                images.extend(pixels.iter().map(|&pixel| f32::from(pixel) / f32::from(DEPTH)));
                labels.push(u32::from(label));
            }
            _ => {
                let expected = format!("expected {PIXELS} pixels of 0 to {DEPTH} and a label");
                return Err(fault(format!("found {record:?}, {expected}")));
            }
        }
    }
    Dataset::new("digits", images, labels, [1, 8, 8], CLASSES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_known_set() {
        let set = load().unwrap();
        assert_eq!((set.len(), set.shape(), set.classes()), (1797, [1, 8, 8], 10));
        assert_eq!(set.class_counts(), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        assert_eq!(set.labels()[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(set.image(0)[..8], [0.0, 0.0, 5.0, 13.0, 9.0, 1.0, 0.0, 0.0].map(|p| p / 16.0));
        // The sum of all pixels before scaling, counted once with an independent tool.
        assert_eq!(set.images().iter().map(|&p| f64::from(p) * 16.0).sum::<f64>(), 561_718.0);
    }
}
