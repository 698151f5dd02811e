use std::io;
use std::path::PathBuf;

use super::cifar::CifarFault;
use super::idx::IdxFault;
use super::libsvm::LibsvmFault;

/// Why data cannot be used: what was found, what was expected, and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder that the operating system cannot read.
    #[error("{}: {cause}; check the path and its permissions", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The message of the operating system.
        cause: io::Error,
    },
    /// A path that is not a regular file.
    #[error("{} is {found}, expected a file; name the file, or copy to one what it gives", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// A table that cannot be used.
    #[error("{}: {what}; {cure}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What to do.
        cure: &'static str,
    },
    /// A file in a compression format that is not read here.
    #[error("{}: expected a file that is plain or .gz; unpack it by {cure}", path.display())]
    Packed {
        /// The file.
        path: PathBuf,
        /// The tool that unpacks it.
        cure: &'static str,
    },
    /// A file that a folder lacks.
    #[error(
        "{} holds neither {name} nor {name}.gz{}; add the file, or name another folder",
        dir.display(),
        if folders.is_empty() { String::new() } else { format!(", nor does {} in it", folders.join(", ")) }
    )]
    Absent {
        /// The folder.
        dir: PathBuf,
        /// The missing file, without `.gz`.
        name: String,
        /// Its subfolders that were searched too.
        folders: Vec<String>,
    },
    /// A folder lacks one of the four files of MNIST's format, and has no other format that is known.
    #[error(
        "{} holds neither {file} nor {file}.gz; a folder in MNIST's format has \
         train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and \
         t10k-labels-idx1-ubyte, one of CIFAR-10 data_batch_1.bin (to 5) and test_batch.bin, one of \
         CIFAR-100 train.bin and test.bin, each plain or .gz: add the missing file or name another \
         folder",
        dir.display()
    )]
    Missing {
        /// The folder.
        dir: PathBuf,
        /// The missing file, without `.gz`.
        file: &'static str,
    },
    /// A file that is not valid IDX, or not of the expected kind.
    #[error("{}: {fault}", path.display())]
    Idx {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: IdxFault,
    },
    /// A file that is not a valid PNG.
    #[error("{}: {what}; expected a PNG file: fetch it again, or take it out of the folder", path.display())]
    Png {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A folder without CIFAR's files.
    #[error(
        "{} lacks {file}; a folder of CIFAR-10 has data_batch_1.bin (to 5) and test_batch.bin, one of CIFAR-100 \
         train.bin and test.bin, each plain or with .gz added: fetch the binary version, or name another folder",
        dir.display()
    )]
    NoCifar {
        /// The folder.
        dir: PathBuf,
        /// The missing file, without `.gz`.
        file: &'static str,
    },
    /// A file that is not one of CIFAR's.
    #[error("{}: {fault}", path.display())]
    Cifar {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: CifarFault,
    },
    /// A file that is not valid libsvm text.
    #[error("{}: {fault}", path.display())]
    Libsvm {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: LibsvmFault,
    },
    /// A row whose label is none of those of the classes.
    #[error(
        "row {row} (from 0) has label {found}, expected one of {expected:?}; name every label of the \
         file, or take the file that belongs to these"
    )]
    UnknownLabel {
        /// Row, from 0.
        row: usize,
        /// Its label.
        found: f64,
        /// The labels of the classes.
        expected: Vec<f64>,
    },
    /// A division of rows that leaves a part empty.
    #[error(
        "{train} training and {validation} validation rows of {rows}, expected at least 1 each; \
         ask for another number of validation rows"
    )]
    Parts {
        /// Rows left for training.
        train: usize,
        /// Rows for validation.
        validation: usize,
        /// Rows in all.
        rows: usize,
    },
    /// Batches without rows.
    #[error("batches of 0 rows, expected at least 1; ask for larger batches")]
    BatchSize,
    /// Training and validation rows of different kinds.
    #[error(
        "validation rows of {found} features and labels {found_labels:?}, training rows of {expected} and \
         {expected_labels:?}; read and classify both files alike"
    )]
    Kinds {
        /// Features of the validation rows.
        found: usize,
        /// The labels of their classes.
        found_labels: Vec<f64>,
        /// Features of the training rows.
        expected: usize,
        /// The labels of their classes.
        expected_labels: Vec<f64>,
    },
    /// Rows that do not fit into memory as dense rows.
    #[error(
        "{rows} dense rows of {features} features are beyond this machine's memory; take smaller batches, or \
         declare the number of features when reading, in case an index is wrong"
    )]
    Room {
        /// Rows requested at once.
        rows: usize,
        /// Numbers per row.
        features: usize,
    },
    /// The embedded digits do not parse; a damaged build.
    #[error("the embedded digits, line {line}: {what}; build from an undamaged checkout")]
    Digits {
        /// Line of the CSV, from 1.
        line: usize,
        /// What was found there.
        what: String,
    },
    /// No sample, no pixel or no class.
    #[error(
        "{name}: {samples} images of {shape:?} (channels, height, width) and {classes} classes; \
         none of these may be 0: check the files"
    )]
    Empty {
        /// Name of the set.
        name: String,
        /// Number of labels.
        samples: usize,
        /// Channels, height, width.
        shape: [usize; 3],
        /// Number of classes.
        classes: usize,
    },
    /// Numbers of pixels and labels that do not match.
    #[error(
        "{name}: {found} pixel values, expected {samples} labels x {features} pixels; \
         take images and labels of the same set"
    )]
    Length {
        /// Name of the set.
        name: String,
        /// Number of pixel values found.
        found: usize,
        /// Number of labels.
        samples: usize,
        /// Pixels per image.
        features: usize,
    },
    /// A pixel outside 0 to 1.
    #[error("{name}: pixel {found} in image {index}, expected 0 to 1; scale the images before use")]
    Pixel {
        /// Name of the set.
        name: String,
        /// Image, from 0.
        index: usize,
        /// The value.
        found: f32,
    },
    /// A label that no class has.
    #[error(
        "{name}: label {found} of sample {index}, expected 0 to {}; check the label file",
        classes.saturating_sub(1)
    )]
    Label {
        /// Name of the set.
        name: String,
        /// Sample, from 0.
        index: usize,
        /// The label.
        found: u32,
        /// Number of classes.
        classes: usize,
    },
    /// A label that is none of those of the training part.
    #[error("{name}: label {found} of sample {index}, expected {expected}; check the label file")]
    OtherLabel {
        /// Name of the set.
        name: String,
        /// Sample, from 0.
        index: usize,
        /// The label.
        found: u32,
        /// The labels of the training part.
        expected: String,
    },
    /// A sample beyond the end of the set.
    #[error("{name}: sample {index} asked for, expected less than {samples}; split this very set")]
    Index {
        /// Name of the set.
        name: String,
        /// The sample requested.
        index: usize,
        /// Number of samples.
        samples: usize,
    },
    /// Files that are not images, or cannot be read.
    #[error(
        "{name}: {found} of its files cannot be read, expected PNG or JPEG images; repair or remove them: {first}"
    )]
    BadImages {
        /// The folder or archive.
        name: String,
        /// How many.
        found: usize,
        /// The first of them, and what is wrong with each.
        first: String,
    },
    /// A folder or archive without images.
    #[error(
        "{} holds no images, expected a folder for each class with .png, .jpg or .jpeg files in it; name the folder \
         above these", path.display()
    )]
    NoImages {
        /// The folder or archive.
        path: PathBuf,
    },
    /// Images that cannot be rotated.
    #[error(
        "{name}: images of {height}x{width}, expected squares for rotations; leave rotations out"
    )]
    NotSquare {
        /// Name of the set.
        name: String,
        /// Height.
        height: usize,
        /// Width.
        width: usize,
    },
    /// Fewer classes than a task has.
    #[error(
        "{name}: {found} classes, expected at least {expected} for a task; ask for fewer ways, or add classes"
    )]
    FewClasses {
        /// Name of the set.
        name: String,
        /// Classes of the set.
        found: usize,
        /// Classes of a task.
        expected: usize,
    },
    /// A class with fewer images than a task takes.
    #[error(
        "{name}: class {class} has {found} images, expected at least {expected}, the shots and queries of a class; \
         ask for fewer, or add images"
    )]
    FewImages {
        /// Name of the set.
        name: String,
        /// Name of the class.
        class: String,
        /// Its images.
        found: usize,
        /// Images of a class in a task.
        expected: usize,
    },
    /// Two sets that cannot be joined.
    #[error(
        "{name}: cannot join images of {found:?} to images of {expected:?} (channels, height, width); \
         take both from the same set"
    )]
    Join {
        /// Name of the second set.
        name: String,
        /// Shape of its images.
        found: [usize; 3],
        /// Shape of the images of the first.
        expected: [usize; 3],
    },
}
