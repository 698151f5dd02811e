//! Folders in MNIST's format: MNIST itself, Fashion-MNIST, KMNIST and the like.

use std::fs;
use std::path::{Path, PathBuf};

use super::idx::{self, IdxFault};
use super::{DataError, Dataset, files};

/// The two parts of such a folder.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainTest {
    /// The training part.
    pub train: Dataset,
    /// The test part, with the same image shape and number of classes.
    pub test: Dataset,
    /// The label of each class, ascending: those that occur in the training part.
    pub labels: Vec<u32>,
}

impl TrainTest {
    /// Both parts as one set, the training part first.
    ///
    /// # Errors
    /// None for parts read by [`read_dir`]; otherwise see [`Dataset::join`].
    pub fn pooled(self) -> Result<Dataset, DataError> {
        self.train.join(self.test)
    }
}

/// Whether `dir` has training files in MNIST's format, plain or gzip.
///
/// # Errors
/// [`DataError::Read`] if there is no such folder, [`DataError::Packed`] if one is compressed in another format.
pub fn is_in(dir: &Path) -> Result<bool, DataError> {
    for file in ["train-labels-idx1-ubyte", "train-images-idx3-ubyte"] {
        if files::find(dir, &[], file)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
/// `t10k-labels-idx1-ubyte` of `dir`, each plain or with `.gz` added (the plain one first where both exist).
///
/// Images become shape `[1, height, width]` with pixels divided by 255. The set has the folder's name. Its classes are
/// the labels that occur in the training part, in order, whatever number they begin with: [`TrainTest::labels`].
///
/// # Errors
/// If a file is missing, unreadable or invalid, if images and labels differ in number, if the
/// parts differ in image shape, and if the test part has a label that the training part lacks.
pub fn read_dir(dir: &Path) -> Result<TrainTest, DataError> {
    let known =
        fs::canonicalize(dir).map_err(|cause| DataError::Read { path: dir.into(), cause })?;
    let name = known.file_name().map_or("data".into(), |name| name.to_string_lossy().into_owned());

    let given = read_labels(dir, "train-labels-idx1-ubyte")?;
    let mut labels = given.clone();
    labels.sort_unstable();
    labels.dedup();
    let given = number(&name, given, &labels)?;
    let train = read_part(&name, dir, "train-images-idx3-ubyte", given, labels.len())?;
    let given = number(&name, read_labels(dir, "t10k-labels-idx1-ubyte")?, &labels)?;
    let test = read_part(&name, dir, "t10k-images-idx3-ubyte", given, labels.len())?;
    if train.shape() != test.shape() {
        return Err(DataError::Join { name, found: test.shape(), expected: train.shape() });
    }
    Ok(TrainTest { train, test, labels })
}

fn read_labels(dir: &Path, file: &'static str) -> Result<Vec<u32>, DataError> {
    let path = find(dir, file)?;
    idx::read(&path)?.into_labels().map_err(|fault| DataError::Idx { path, fault })
}

/// The class of each label: its position among the `known` ones.
fn number(name: &str, given: Vec<u32>, known: &[u32]) -> Result<Vec<u32>, DataError> {
    let place = |(index, found): (usize, u32)| match known.binary_search(&found) {
        Ok(class) => Ok(class as u32),
        Err(_) => {
            Err(DataError::OtherLabel { name: name.into(), index, found, expected: listed(known) })
        }
    };
    given.into_iter().enumerate().map(place).collect()
}

/// Labels as text.
pub fn listed(labels: &[u32]) -> String {
    const MOST: usize = 10;
    let text =
        |labels: &[u32]| labels.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match labels {
        [first, .., last] if (last - first) as usize == labels.len() - 1 => {
            format!("{first} to {last}")
        }
        _ if labels.len() <= MOST => text(labels),
        _ => format!("{} and so on, {} in all", text(&labels[..MOST]), labels.len()),
    }
}

fn read_part(
    name: &str,
    dir: &Path,
    file: &'static str,
    labels: Vec<u32>,
    classes: usize,
) -> Result<Dataset, DataError> {
    let path = find(dir, file)?;
    let images = idx::read(&path)?.into_images();
    let (samples, [height, width], bytes) =
        images.map_err(|fault| DataError::Idx { path: path.clone(), fault })?;
    let mut images: Vec<f32> = Vec::new();
    images.try_reserve_exact(bytes.len()).map_err(|_| {
        let fault = IdxFault::Overflow(vec![samples, height, width]);
        DataError::Idx { path, fault }
    })?;
    images.extend(bytes.into_iter().map(|byte| f32::from(byte) / 255.0));
    Dataset::new(name, images, labels, [1, height, width], classes)
}

fn find(dir: &Path, file: &'static str) -> Result<PathBuf, DataError> {
    files::find(dir, &[], file)?.ok_or_else(|| DataError::Missing { dir: dir.into(), file })
}
