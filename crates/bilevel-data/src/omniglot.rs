//! Omniglot in IDX files: 1623 characters of 50 alphabets, 20 drawings of each.
//!
//! Source: B. Lake et al., "Human-level concept learning through probabilistic program induction", 2015.

use std::path::Path;

use rand::seq::SliceRandom;

use super::{DataError, ImageClasses, Images, Purpose, files, idx, stream};

/// The number of characters in the training part; the others are the test part, as in A. Santoro et al., "Meta-learning
/// with memory-augmented neural networks", 2016.
pub const TRAINING: usize = 1200;

const PARTS: [&str; 2] = ["background", "evaluation"];

/// Whether a folder has the files.
pub fn is_in(dir: &Path) -> bool {
    let file = images_of(PARTS[0]);
    matches!(files::find(dir, &[], &file), Ok(Some(_)))
}

/// The characters of both parts of a folder, divided at random into [`TRAINING`] and the others.
///
/// # Errors
/// If a file is missing or damaged.
pub fn read(dir: &Path, seed: u64) -> Result<[ImageClasses; 2], DataError> {
    let part = |part: &str| {
        let fault = |path: &Path, fault| DataError::Idx { path: path.into(), fault };
        let images = files::require(dir, &[], &images_of(part))?;
        let labels = files::require(dir, &[], &format!("{part}-labels-idx1-int"))?;
        let pixels = idx::read(&images)?.into_images().map_err(|error| fault(&images, error))?;
        let named = idx::read(&labels)?.into_labels().map_err(|error| fault(&labels, error))?;
        let (_, [height, width], bytes) = pixels;
        let name = images.display().to_string();
        // There are no more of them, so no class is without an image.
        let all = named.len();
        if let Some(index) = named.iter().position(|&label| label as usize >= all) {
            let (name, found) = (labels.display().to_string(), named[index]);
            return Err(DataError::Label { name, index, found, classes: all });
        }
        let classes = named.iter().max().map_or(0, |most| *most as usize + 1);
        let set = Images::from_bytes(name, bytes, named, [1, height, width], classes)?;
        Ok::<_, DataError>(ImageClasses::new(set))
    };
    let all = part(PARTS[0])?.join(part(PARTS[1])?)?;
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.shuffle(&mut stream(seed, Purpose::Split));
    let (train, test) = order.split_at(TRAINING.min(order.len()));
    Ok([all.select(train), all.select(test)])
}

fn images_of(part: &str) -> String {
    format!("{part}-images28-idx3-ubyte")
}
