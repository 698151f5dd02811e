//! Images as rows.

use std::path::Path;

use super::{Kind, Table, fault};
use crate::{DataError, Dataset, HELD, ImageClasses, cifar, idx, mnist};

/// Height and width of images from files.
const SIDE: usize = 32;

/// Which images a folder holds.
pub(super) fn kind(path: &Path) -> Result<Kind, DataError> {
    if mnist::is_in(path)? {
        return Ok(Kind::Mnist);
    }
    if cifar::is_in(path)? {
        return Ok(Kind::Cifar);
    }
    let entries = std::fs::read_dir(path);
    let entries = entries.map_err(|cause| DataError::Read { path: path.into(), cause })?;
    if entries.filter_map(Result::ok).any(|entry| entry.path().is_dir()) {
        return Ok(Kind::ClassFolders);
    }
    let cure = "give a folder in MNIST's or CIFAR's format, or one of class folders";
    Err(fault(path, "a folder without data of a known format", cure))
}

pub(super) fn read_mnist(path: &Path) -> Result<Table, DataError> {
    let mnist::TrainTest { train, test, labels } = mnist::read_dir(path)?;
    let classes = labels.iter().map(u32::to_string).collect();
    Ok(Table { classes, ..of(&train.join(test)?) })
}

/// Images alone, whose labels are in another file.
pub(super) fn read_idx(path: &Path, apart: bool) -> Result<Table, DataError> {
    let images = idx::read(path)?.into_images();
    let (n, [height, width], bytes) =
        images.map_err(|fault| DataError::Idx { path: path.into(), fault })?;
    if !apart {
        return Err(fault(path, "images without labels", "name the file of the labels by --label"));
    }
    let inputs = bytes.into_iter().map(|byte| f32::from(byte) / 255.0).collect();
    Ok(pixels([1, height, width], inputs, vec![0; n], Vec::new()))
}

/// The training part only, as its images are numbered by files of labels.
pub(super) fn read_cifar(path: &Path) -> Result<Table, DataError> {
    let cifar::Cifar { train, origin, .. } = cifar::read_dir(path)?;
    Ok(Table { origin, ..of(&train.to_numbers()) })
}

pub(super) fn read_class_folders(path: &Path) -> Result<Table, DataError> {
    let set = ImageClasses::read(path, [3, SIDE], HELD)?;
    let (mut bytes, mut labels, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for class in 0..set.len() {
        for image in 0..set.class(class).1 {
            set.append(class, image, &mut bytes);
            labels.push(class as u32);
            files.push(set.file(class, image).unwrap_or_default());
        }
    }
    let inputs = bytes.into_iter().map(|byte| f32::from(byte) / 255.0).collect();
    let classes = (0..set.len()).map(|class| set.class(class).0.to_owned()).collect();
    Ok(Table { files, ..pixels(set.shape(), inputs, labels, classes) })
}

/// The images of a set.
pub(super) fn of(set: &Dataset) -> Table {
    let classes = (0..set.classes()).map(|class| class.to_string()).collect();
    pixels(set.shape(), set.images().to_vec(), set.labels().to_vec(), classes)
}

fn pixels(shape: [usize; 3], inputs: Vec<f32>, labels: Vec<u32>, classes: Vec<String>) -> Table {
    let features = (1..=shape.iter().product()).map(|pixel: usize| format!("pixel {pixel}"));
    let (features, shape) = (features.collect(), Some(shape));
    Table { features, inputs, labels, classes, shape, ..Table::default() }
}
