//! CIFAR-10 and CIFAR-100, in their binary versions.
//!
//! A file is a sequence of records: the label, a byte (CIFAR-100: the coarse label, then the fine one, which is the
//! label here), and 3072 bytes of pixels, the red, green and blue channel of 32 rows of 32. Files are plain or gzip,
//! detected by content.
//! Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009, and its web page.
//!
//! Memory is bounded by what has been read, and never exceeds [`MOST`] records.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::{DataError, Images, files, gzip};

/// Channels, height and width of an image.
pub const SHAPE: [usize; 3] = [3, 32, 32];
const PIXELS: usize = 3072;
/// The maximal number of records read from a file; the largest of the sources has 50,000.
pub const MOST: usize = 100_000;
/// The records of each `data_batch`.
const BATCH: usize = 10_000;

/// Which of the two sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Ten classes, one label a record.
    Ten,
    /// A hundred classes in twenty groups, two labels a record.
    Hundred,
}

impl Version {
    /// The classes of each label of a record, the one in use last.
    fn labels(self) -> &'static [usize] {
        match self {
            Self::Ten => &[10],
            Self::Hundred => &[20, 100],
        }
    }

    /// Number of classes.
    pub fn classes(self) -> usize {
        match self {
            Self::Ten => 10,
            Self::Hundred => 100,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CIFAR-{}", self.classes())
    }
}

/// The contents of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// The label of each.
    pub labels: Vec<u32>,
    /// 3072 bytes each.
    pub pixels: Vec<u8>,
}

/// What is wrong with a file; the text ends with the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CifarFault {
    /// The operating system failed to read.
    #[error("cannot be read: {0}; check the disk and the permissions")]
    Io(io::Error),
    /// The gzip layer is truncated, damaged or followed by something else.
    #[error("damaged gzip data: {0}; fetch the file again")]
    Gzip(io::Error),
    /// A compression format other than gzip, or gzip data that unpack to more than allowed.
    #[error("{0}")]
    Packing(io::Error),
    /// A file without records.
    #[error("is empty, expected records of {0}; fetch the file again")]
    Empty(Version),
    /// A file that ends within a record.
    #[error(
        "ends after {found} bytes of record {record} (from 0), a record of {version} has {expected}; fetch the \
         binary version again"
    )]
    Truncated {
        /// The record, from 0.
        record: usize,
        /// Its bytes.
        found: usize,
        /// Those that it should have.
        expected: usize,
        /// The set.
        version: Version,
    },
    /// A label that no class has.
    #[error(
        "label {found} of record {record} (from 0), expected 0 to {} in {version}; fetch the binary version \
         again", classes - 1
    )]
    Label {
        /// The record, from 0.
        record: usize,
        /// Its label.
        found: u8,
        /// Number of classes.
        classes: usize,
        /// The set.
        version: Version,
    },
    /// More records than any file of the sets has.
    #[error("more than {MOST} records, expected at most 50000; split the file")]
    TooMany,
}

/// The images of a folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Cifar {
    /// The training part: all `data_batch` files present, in the order of their numbers.
    pub train: Images,
    /// The test part.
    pub test: Images,
    /// The index of each training image in the whole training set, by which files of human labels are
    /// [ordered](super::noise::human).
    pub origin: Vec<usize>,
}

/// Whether `dir` has training files of CIFAR-10 or CIFAR-100, plain or gzip.
///
/// # Errors
/// [`DataError::Read`] if there is no such folder, [`DataError::Packed`] if one is compressed in another format.
pub fn is_in(dir: &Path) -> Result<bool, DataError> {
    let batches = (1..=5).map(|i| format!("data_batch_{i}.bin"));
    for file in batches.chain(["train.bin".to_owned()]) {
        if files::find(dir, &[], &file)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads CIFAR-10 (`data_batch_1.bin` to 5, any of them, and `test_batch.bin`) or CIFAR-100 (`train.bin` and
/// `test.bin`) from `dir`, each plain or with `.gz` added (the plain one first where both exist).
///
/// # Errors
/// If the folder or a file is missing, unreadable or invalid.
pub fn read_dir(dir: &Path) -> Result<Cifar, DataError> {
    let find = |file: &str| files::find(dir, &[], file);
    let missing = |file| move || DataError::NoCifar { dir: dir.into(), file };
    let (version, parts, test) = match find("train.bin")? {
        Some(train) => (Version::Hundred, vec![(0, train)], "test.bin"),
        None => {
            let part = |i: usize| {
                let found = find(&format!("data_batch_{i}.bin"));
                found.transpose().map(|path| path.map(|path| (i - 1, path)))
            };
            let parts = (1..=5).filter_map(part).collect::<Result<Vec<_>, _>>()?;
            (Version::Ten, parts, "test_batch.bin")
        }
    };
    if parts.is_empty() {
        return Err(missing("data_batch_1.bin")());
    }
    let test = read(&find(test)?.ok_or_else(missing(test))?, version)?;
    let (mut train, mut origin) = (Records::default(), Vec::new());
    for (batch, path) in parts {
        let mut more = read(&path, version)?;
        origin.extend((0..more.labels.len()).map(|i| batch * BATCH + i));
        train.labels.append(&mut more.labels);
        train.pixels.append(&mut more.pixels);
    }
    let set = |Records { labels, pixels }| {
        Images::from_bytes(version.to_string(), pixels, labels, SHAPE, version.classes())
    };
    Ok(Cifar { train: set(train)?, test: set(test)?, origin })
}

/// Reads the file at `path`, plain or gzip.
///
/// # Errors
/// [`DataError::Read`] and [`DataError::NoFile`] if it cannot be opened, [`DataError::Cifar`] if its contents
/// are invalid.
pub fn read(path: &Path, version: Version) -> Result<Records, DataError> {
    let file = files::open(path)?;
    let fault = |fault| DataError::Cifar { path: path.into(), fault };
    parse(BufReader::new(file), version).map_err(fault)
}

/// Reads one file from a source of bytes, plain or gzip, to its end.
///
/// # Errors
/// See [`CifarFault`].
pub fn parse(source: impl BufRead, version: Version) -> Result<Records, CifarFault> {
    let sort = |fault, zipped| match fault {
        CifarFault::Io(error) if gzip::is_packing(&error) => CifarFault::Packing(error),
        CifarFault::Io(error) if zipped && gzip::is_damage(&error) => CifarFault::Gzip(error),
        other => other,
    };
    let (bytes, zipped) = gzip::open(source).map_err(|error| sort(CifarFault::Io(error), false))?;
    decode(bytes, version).map_err(|fault| sort(fault, zipped))
}

fn decode(mut source: impl Read, version: Version) -> Result<Records, CifarFault> {
    let kinds = version.labels();
    let expected = kinds.len() + PIXELS;
    let mut records = Records::default();
    let mut bytes = Vec::with_capacity(expected);
    for record in 0.. {
        bytes.clear();
        source.by_ref().take(expected as u64).read_to_end(&mut bytes).map_err(CifarFault::Io)?;
        if bytes.is_empty() {
            break;
        }
        if record == MOST {
            return Err(CifarFault::TooMany);
        }
        if bytes.len() < expected {
            return Err(CifarFault::Truncated { record, found: bytes.len(), expected, version });
        }
        let (labels, pixels) = bytes.split_at(kinds.len());
        for (&found, &classes) in labels.iter().zip(kinds) {
            if usize::from(found) >= classes {
                return Err(CifarFault::Label { record, found, classes, version });
            }
        }
        records.labels.extend(labels.last().copied().map(u32::from));
        records.pixels.extend_from_slice(pixels);
    }
    if records.labels.is_empty() {
        return Err(CifarFault::Empty(version));
    }
    Ok(records)
}
