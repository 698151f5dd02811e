use super::DataError;

/// Labelled images in memory, validated when built. P is the type of a pixel: `f32`, or `u8` in a quarter of the
/// memory, see [`Images`].
///
/// # Shapes
/// - images: `n x (channels * height * width)`, row-major, each value in `[0, 1]`, or 0 to 255 if a byte
/// - labels: `n`, each less than `classes`
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset<P = f32> {
    name: String,
    images: Vec<P>,
    labels: Vec<u32>,
    shape: [usize; 3],
    classes: usize,
}

/// Images of bytes, which become numbers one batch at a time; see [`loader`](super::loader).
pub type Images = Dataset<u8>;

impl Dataset {
    /// Takes images of `shape` (channels, height, width) and one label each.
    ///
    /// # Errors
    /// If there are no samples, pixels or classes, if the lengths do not match, and if a pixel is
    /// outside `[0, 1]` or a label is not less than `classes`.
    pub fn new(
        name: impl Into<String>,
        images: Vec<f32>,
        labels: Vec<u32>,
        shape: [usize; 3],
        classes: usize,
    ) -> Result<Self, DataError> {
        let set = Self::sized(name.into(), images, labels, shape, classes)?;
        if let Some(at) = set.images.iter().position(|pixel| !(0.0..=1.0).contains(pixel)) {
            let (index, found) = (at / set.features(), set.images[at]);
            return Err(DataError::Pixel { name: set.name, index, found });
        }
        Ok(set)
    }

    /// The same set with pixels of bytes: 0 to 1 becomes 0 to 255, rounded to the nearest.
    pub fn to_bytes(&self) -> Images {
        Dataset {
            name: self.name.clone(),
            images: self.images.iter().map(|pixel| (255.0 * pixel).round() as u8).collect(),
            labels: self.labels.clone(),
            shape: self.shape,
            classes: self.classes,
        }
    }
}

impl Images {
    /// Takes images of `shape` (channels, height, width), one byte per number, and one label each.
    ///
    /// # Errors
    /// If there are no samples, pixels or classes, if the lengths do not match, and if a label is
    /// not less than `classes`.
    pub fn from_bytes(
        name: impl Into<String>,
        images: Vec<u8>,
        labels: Vec<u32>,
        shape: [usize; 3],
        classes: usize,
    ) -> Result<Self, DataError> {
        Self::sized(name.into(), images, labels, shape, classes)
    }

    /// The same set with pixels of numbers: 0 to 255 becomes 0 to 1.
    pub fn to_numbers(&self) -> Dataset {
        Dataset {
            name: self.name.clone(),
            images: self.images.iter().map(|&byte| f32::from(byte) / 255.0).collect(),
            labels: self.labels.clone(),
            shape: self.shape,
            classes: self.classes,
        }
    }
}

impl<P: Copy> Dataset<P> {
    /// All checks but those of the pixels.
    fn sized(
        name: String,
        images: Vec<P>,
        labels: Vec<u32>,
        shape: [usize; 3],
        classes: usize,
    ) -> Result<Self, DataError> {
        let samples = labels.len();
        // An overflow is not a shape that memory could hold, so it fails the length check below.
        let features =
            shape.iter().try_fold(1_usize, |a, &b| a.checked_mul(b)).unwrap_or(usize::MAX);
        if samples == 0 || features == 0 || classes == 0 {
            return Err(DataError::Empty { name, samples, shape, classes });
        }
        if samples.checked_mul(features) != Some(images.len()) {
            return Err(DataError::Length { name, found: images.len(), samples, features });
        }
        let set = Self { name, images, labels: Vec::new(), shape, classes };
        set.with_labels(labels)
    }

    /// The same images under other labels, such as noisy ones.
    ///
    /// # Errors
    /// If their number is not that of the images, or one is not less than the number of classes.
    pub fn with_labels(self, labels: Vec<u32>) -> Result<Self, DataError> {
        let (features, classes) = (self.features(), self.classes);
        if labels.len() * features != self.images.len() {
            return Err(DataError::Length {
                name: self.name,
                found: self.images.len(),
                samples: labels.len(),
                features,
            });
        }
        if let Some(index) = labels.iter().position(|&label| label as usize >= classes) {
            return Err(DataError::Label { name: self.name, index, found: labels[index], classes });
        }
        Ok(Self { labels, ..self })
    }

    /// The samples at `indices`, in that order; an index may repeat.
    ///
    /// # Errors
    /// If an index is beyond the end, or there are none.
    pub fn select(&self, indices: &[usize]) -> Result<Self, DataError> {
        let samples = self.len();
        if let Some(&index) = indices.iter().find(|&&index| index >= samples) {
            return Err(DataError::Index { name: self.name.clone(), index, samples });
        }
        if indices.is_empty() {
            return Err(DataError::Empty {
                name: self.name.clone(),
                samples: 0,
                shape: self.shape,
                classes: self.classes,
            });
        }
        let mut images = Vec::with_capacity(indices.len() * self.features());
        for &index in indices {
            images.extend_from_slice(self.image(index));
        }
        Ok(Self {
            name: self.name.clone(),
            images,
            labels: indices.iter().map(|&index| self.labels[index]).collect(),
            shape: self.shape,
            classes: self.classes,
        })
    }

    /// This set followed by `other`, under this set's name; the classes are those of the larger range.
    ///
    /// # Errors
    /// If the images differ in shape.
    pub fn join(mut self, mut other: Self) -> Result<Self, DataError> {
        if self.shape != other.shape {
            return Err(DataError::Join {
                name: other.name,
                found: other.shape,
                expected: self.shape,
            });
        }
        self.images.reserve_exact(other.images.len());
        self.images.append(&mut other.images);
        self.labels.append(&mut other.labels);
        self.classes = self.classes.max(other.classes);
        Ok(self)
    }

    /// Name of the set, as reports print it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All pixels, `n x features`, row-major.
    pub fn images(&self) -> &[P] {
        &self.images
    }

    /// The pixels of one image.
    ///
    /// # Panics
    /// If `index` is not less than [`len`](Self::len), as a slice does.
    pub fn image(&self, index: usize) -> &[P] {
        let features = self.features();
        &self.images[index * features..][..features]
    }

    /// One label per sample, each less than [`classes`](Self::classes).
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Channels, height and width of an image.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Pixels per image, over all channels.
    pub fn features(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of classes; a class may have no sample.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Number of samples, at least 1.
    #[allow(clippy::len_without_is_empty, reason = "a set is never empty")]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The samples of each class, ascending.
    pub fn members(&self) -> Vec<Vec<usize>> {
        let mut members = vec![Vec::new(); self.classes];
        for (index, &label) in self.labels.iter().enumerate() {
            members[label as usize].push(index);
        }
        members
    }

    /// Number of samples of each class.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes];
        for &label in &self.labels {
            counts[label as usize] += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> Dataset {
        Dataset::new("tiny", vec![0.0, 0.25, 0.5, 1.0], vec![0, 1], [1, 1, 2], 2).unwrap()
    }

    fn refusal(images: Vec<f32>, labels: Vec<u32>, shape: [usize; 3], classes: usize) -> String {
        Dataset::new("tiny", images, labels, shape, classes).unwrap_err().to_string()
    }

    #[test]
    fn selects_and_joins() {
        let set = tiny();
        let reversed = set.select(&[1, 0, 1]).unwrap();
        assert_eq!(reversed.images(), [0.5, 1.0, 0.0, 0.25, 0.5, 1.0]);
        assert_eq!(reversed.labels(), [1, 0, 1]);
        let joined = set.clone().join(reversed).unwrap();
        assert_eq!((joined.len(), joined.class_counts()), (5, vec![2, 3]));
        assert_eq!(joined.image(2), [0.5, 1.0]);
    }

    #[test]
    fn bytes_are_the_nearest() {
        let bytes = tiny().to_bytes();
        assert_eq!((bytes.images(), bytes.labels()), (&[0, 64, 128, 255][..], &[0, 1][..]));
        assert_eq!(
            bytes,
            Images::from_bytes("tiny", vec![0, 64, 128, 255], vec![0, 1], [1, 1, 2], 2).unwrap()
        );
        let short = Images::from_bytes("tiny", vec![0; 3], vec![0, 1], [1, 1, 2], 2).unwrap_err();
        assert!(
            short.to_string().starts_with("tiny: 3 pixel values, expected 2 labels x 2 pixels")
        );
    }

    #[test]
    fn refuses_with_cause_and_cure() {
        assert_eq!(
            refusal(vec![], vec![], [1, 2, 2], 10),
            "tiny: 0 images of [1, 2, 2] (channels, height, width) and 10 classes; none of these may \
             be 0: check the files"
        );
        assert_eq!(
            refusal(vec![0.0; 7], vec![0, 1], [1, 2, 2], 10),
            "tiny: 7 pixel values, expected 2 labels x 4 pixels; take images and labels of the same set"
        );
        assert_eq!(
            refusal(vec![0.0, 0.5, 0.0, 1.5], vec![0, 1], [1, 1, 2], 2),
            "tiny: pixel 1.5 in image 1, expected 0 to 1; scale the images before use"
        );
        assert!(
            refusal(vec![f32::NAN], vec![0], [1, 1, 1], 2)
                .starts_with("tiny: pixel NaN in image 0")
        );
        assert_eq!(
            refusal(vec![0.0; 2], vec![0, 2], [1, 1, 1], 2),
            "tiny: label 2 of sample 1, expected 0 to 1; check the label file"
        );
        assert!(
            refusal(vec![0.0], vec![0], [usize::MAX, 2, 2], 1).contains("1 pixel values, expected")
        );
        assert_eq!(
            tiny().select(&[0, 2]).unwrap_err().to_string(),
            "tiny: sample 2 asked for, expected less than 2; split this very set"
        );
        let tall = Dataset::new("tall", vec![0.0; 2], vec![0], [1, 2, 1], 2).unwrap();
        assert_eq!(
            tiny().join(tall).unwrap_err().to_string(),
            "tall: cannot join images of [1, 2, 1] to images of [1, 1, 2] (channels, height, width); \
             take both from the same set"
        );
    }
}
