//! Folders in MNIST's format: MNIST itself, Fashion-MNIST, KMNIST and the like.

use std::fs;
use std::path::{Path, PathBuf};

use super::{DataError, Dataset, idx};

/// The two parts that such a folder comes in.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainTest {
    /// The training part.
    pub train: Dataset,
    /// The test part, with the same image shape and number of classes.
    pub test: Dataset,
}

impl TrainTest {
    /// Both parts as one set, the training part first.
    ///
    /// # Errors
    /// None for parts read by [`read_dir`]; else see [`Dataset::join`].
    pub fn pooled(self) -> Result<Dataset, DataError> {
        self.train.join(self.test)
    }
}

/// Reads `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
/// `t10k-labels-idx1-ubyte` of `dir`, each plain or with `.gz` added (the plain one first where both exist).
///
/// Images become shape `[1, height, width]` with pixels divided by 255. The set has the folder's name and
/// as many classes as the largest training label says.
///
/// # Errors
/// Where a file is missing, unreadable or unsound, where images and labels differ in number, where the
/// parts differ in image shape, and where the test part has a label beyond those of the training part.
pub fn read_dir(dir: &Path) -> Result<TrainTest, DataError> {
    // Asked first, so that a mistyped folder is not reported as a folder that lacks a file.
    let known = fs::canonicalize(dir).and_then(|dir| fs::read_dir(&dir).map(|_| dir));
    let known = known.map_err(|cause| DataError::Read { path: dir.into(), cause })?;
    let name = known.file_name().map_or("data".into(), |name| name.to_string_lossy().into_owned());

    let labels = read_labels(dir, "train-labels-idx1-ubyte")?;
    let classes = labels.iter().max().map_or(0, |&label| label as usize + 1);
    let train = read_part(&name, dir, "train-images-idx3-ubyte", labels, classes)?;
    let labels = read_labels(dir, "t10k-labels-idx1-ubyte")?;
    let test = read_part(&name, dir, "t10k-images-idx3-ubyte", labels, classes)?;
    if train.shape() != test.shape() {
        return Err(DataError::Join { name, found: test.shape(), expected: train.shape() });
    }
    Ok(TrainTest { train, test })
}

fn read_labels(dir: &Path, file: &'static str) -> Result<Vec<u32>, DataError> {
    let path = find(dir, file)?;
    idx::read(&path)?.into_labels().map_err(|fault| DataError::Idx { path, fault })
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
    let (_, [height, width], bytes) = images.map_err(|fault| DataError::Idx { path, fault })?;
    let images = bytes.into_iter().map(|byte| f32::from(byte) / 255.0).collect();
    Dataset::new(name, images, labels, [1, height, width], classes)
}

fn find(dir: &Path, file: &'static str) -> Result<PathBuf, DataError> {
    [dir.join(file), dir.join(format!("{file}.gz"))]
        .into_iter()
        .find(|path| path.exists())
        .ok_or_else(|| DataError::Missing { dir: dir.into(), file })
}
