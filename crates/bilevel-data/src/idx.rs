//! The IDX format of MNIST and similar data sets.
//!
//! A file is two zero bytes, the type of its elements, the number of dimensions, one big-endian `u32` per dimension,
//! then the elements, row-major and big-endian; plain or gzip, detected by content. Supported: `u8` (type `0x08`) and
//! `i32` (type `0x0c`).
//! Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section File formats.
//!
//! A file is accepted only if its length is exactly what its header says. Memory is bounded by what has been read,
//! never by what a header claims, and never exceeds [`MOST`] bytes unless more is requested.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::{DataError, files, gzip};

/// The maximal number of bytes of elements that [`read`] and [`parse`] read; the files of the sources have a quarter.
pub const MOST: u64 = 1 << 31;

/// The initial capacity for elements; it doubles as they arrive.
const FIRST_ROOM: usize = 1 << 16;

/// The contents of one IDX file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idx {
    /// Length of each dimension, outermost first; at least one.
    pub dims: Vec<usize>,
    /// The elements, row-major, as many as the product of `dims`.
    pub elements: Elements,
}

/// Elements of an IDX file, by type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Elements {
    /// Type `0x08`: unsigned bytes.
    U8(Vec<u8>),
    /// Type `0x0c`: signed 32-bit integers.
    I32(Vec<i32>),
}

/// What is wrong with an IDX file; the text ends with the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdxFault {
    /// The operating system failed to read.
    #[error("cannot be read: {0}; check the disk and the permissions")]
    Io(io::Error),
    /// The gzip layer is truncated, damaged or followed by something else.
    #[error("damaged gzip data: {0}; fetch the file again")]
    Gzip(io::Error),
    /// The file ends before its header does.
    #[error("ends after {found} bytes, inside the IDX header of {expected}; fetch the file again")]
    Header {
        /// Bytes found.
        found: usize,
        /// Bytes of the header.
        expected: usize,
    },
    /// A compression format other than gzip, or gzip data that unpack to more than allowed.
    #[error("{0}")]
    Packing(io::Error),
    /// More elements than allowed.
    #[error(
        "dimensions {dims:?} require {expected} bytes after the header, expected at most {most}; fetch the file \
         again if it should be smaller, otherwise split it"
    )]
    Most {
        /// Dimensions in the header.
        dims: Vec<usize>,
        /// Bytes that these require.
        expected: usize,
        /// The maximal number of bytes that are read.
        most: u64,
    },
    /// Not an IDX file.
    #[error("begins with {0:02x?}, an IDX file with [00, 00]; give an IDX file, plain or gzip")]
    Magic([u8; 2]),
    /// An element type that is not supported.
    #[error("elements of type {0:#04x}, expected 0x08 (u8) or 0x0c (i32); convert the file")]
    Type(u8),
    /// A header without dimensions.
    #[error("no dimensions, expected at least 1; fetch the file again")]
    NoDimensions,
    /// More elements than this machine can address.
    #[error(
        "dimensions {0:?} are beyond this machine's memory; fetch the file again if it should be smaller, otherwise \
         split it"
    )]
    Overflow(Vec<usize>),
    /// Fewer elements than the header says.
    #[error(
        "dimensions {dims:?} require {expected} bytes after the header, found {found}; fetch the file again"
    )]
    Truncated {
        /// Dimensions in the header.
        dims: Vec<usize>,
        /// Bytes that these require.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// More elements than the header says.
    #[error(
        "dimensions {dims:?} require {expected} bytes after the header, found more; fetch the file again"
    )]
    Trailing {
        /// Dimensions in the header.
        dims: Vec<usize>,
        /// Bytes that these require.
        expected: usize,
    },
    /// A valid file of another kind than expected.
    #[error("holds {found}, expected {expected}; check which file has which name")]
    Kind {
        /// What the file holds.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A label below zero.
    #[error("label {found} of sample {index}, expected 0 or more; check the label file")]
    NegativeLabel {
        /// Sample, from 0.
        index: usize,
        /// The label.
        found: i32,
    },
}

/// Reads the IDX file at `path`, plain or gzip.
///
/// # Errors
/// [`DataError::Read`] and [`DataError::NoFile`] if it cannot be opened, [`DataError::Idx`] if its contents
/// are invalid.
pub fn read(path: &Path) -> Result<Idx, DataError> {
    read_within(path, MOST)
}

/// Whether a file, plain or gzip, begins as an IDX file does, with two zeros; not if it cannot be read.
pub fn is_idx(path: &Path) -> bool {
    let begins = || {
        let (mut source, _) = gzip::open(BufReader::new(files::open(path).ok()?)).ok()?;
        let mut bytes = [1; 2];
        source.read_exact(&mut bytes).ok()?;
        Some(bytes == [0; 2])
    };
    begins().unwrap_or(false)
}

/// The same, of up to `most` bytes of elements.
///
/// # Errors
/// See [`read`].
pub fn read_within(path: &Path, most: u64) -> Result<Idx, DataError> {
    let file = files::open(path)?;
    parse_within(BufReader::new(file), most)
        .map_err(|fault| DataError::Idx { path: path.into(), fault })
}

/// Reads one IDX file from a source of bytes, plain or gzip, to its end.
///
/// Holds at most twice the decompressed bytes read so far (and 64 KiB), whatever the header claims.
///
/// # Errors
/// See [`IdxFault`].
pub fn parse(source: impl BufRead) -> Result<Idx, IdxFault> {
    parse_within(source, MOST)
}

/// The same, of up to `most` bytes of elements.
///
/// # Errors
/// See [`IdxFault`].
pub fn parse_within(source: impl BufRead, most: u64) -> Result<Idx, IdxFault> {
    let sort = |fault, zipped| match fault {
        IdxFault::Io(error) if gzip::is_packing(&error) => IdxFault::Packing(error),
        IdxFault::Io(error) if zipped && gzip::is_damage(&error) => IdxFault::Gzip(error),
        other => other,
    };
    let (bytes, zipped) = gzip::open(source).map_err(|error| sort(IdxFault::Io(error), false))?;
    decode(bytes, most).map_err(|fault| sort(fault, zipped))
}

fn decode(mut source: impl Read, most: u64) -> Result<Idx, IdxFault> {
    let mut header = [0; 4];
    let found = fill(&mut source, &mut header)?;
    if found < 4 {
        return Err(IdxFault::Header { found, expected: 4 });
    }
    let [zero, nil, kind, rank] = header;
    if [zero, nil] != [0, 0] {
        return Err(IdxFault::Magic([zero, nil]));
    }
    let width = match kind {
        0x08 => 1,
        0x0c => size_of::<i32>(),
        other => return Err(IdxFault::Type(other)),
    };
    if rank == 0 {
        return Err(IdxFault::NoDimensions);
    }
    let mut sizes = vec![0; 4 * usize::from(rank)];
    let found = fill(&mut source, &mut sizes)?;
    if found < sizes.len() {
        return Err(IdxFault::Header { found: 4 + found, expected: 4 + sizes.len() });
    }
    let dims: Vec<usize> =
        sizes.as_chunks().0.iter().map(|&size| u32::from_be_bytes(size) as usize).collect();
    let Some(expected) = dims.iter().try_fold(width, |a: usize, &b| a.checked_mul(b)) else {
        return Err(IdxFault::Overflow(dims));
    };

    // A wrong header of a truncated file is the lesser fault: reading goes as far as possible.
    let within = expected.min(usize::try_from(most).unwrap_or(usize::MAX));
    let bytes = read_elements(&mut source, within)?;
    if bytes.len() == within && within < expected {
        return Err(IdxFault::Most { dims, expected, most });
    }
    if bytes.len() < expected {
        return Err(IdxFault::Truncated { dims, expected, found: bytes.len() });
    }
    // Reading on to the end also makes the gzip decoder verify its checksum.
    if fill(&mut source, &mut [0])? > 0 {
        return Err(IdxFault::Trailing { dims, expected });
    }
    let elements = match kind {
        0x08 => Elements::U8(bytes),
        _ => Elements::I32(
            bytes.as_chunks().0.iter().map(|&four| i32::from_be_bytes(four)).collect(),
        ),
    };
    Ok(Idx { dims, elements })
}

/// Fills `room` as far as the source allows; returns the bytes read.
fn fill(source: &mut impl Read, room: &mut [u8]) -> Result<usize, IdxFault> {
    let mut filled = 0;
    while filled < room.len() {
        match source.read(&mut room[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(IdxFault::Io(error)),
        }
    }
    Ok(filled)
}

/// Reads up to `expected` bytes, allocating no more than have already been read.
fn read_elements(source: &mut impl Read, expected: usize) -> Result<Vec<u8>, IdxFault> {
    let mut bytes = Vec::new();
    while bytes.len() < expected {
        let room = bytes.len().max(FIRST_ROOM).min(expected - bytes.len());
        bytes.try_reserve_exact(room).map_err(|error| IdxFault::Io(io::Error::other(error)))?;
        let found = source.take(room as u64).read_to_end(&mut bytes).map_err(IdxFault::Io)?;
        if found < room {
            break;
        }
    }
    Ok(bytes)
}

impl Idx {
    /// Takes the file as grey images: their number, `[height, width]` and the bytes.
    ///
    /// # Errors
    /// [`IdxFault::Kind`] if it is not `u8` in three dimensions.
    pub fn into_images(self) -> Result<(usize, [usize; 2], Vec<u8>), IdxFault> {
        match (self.dims.as_slice(), self.elements) {
            (&[samples, height, width], Elements::U8(bytes)) => {
                Ok((samples, [height, width], bytes))
            }
            (dims, elements) => Err(IdxFault::Kind {
                found: format!("{} in dimensions {dims:?}", elements.kind()),
                expected: "images: u8 in 3 dimensions (samples, height, width)",
            }),
        }
    }

    /// Takes the file as labels.
    ///
    /// # Errors
    /// [`IdxFault::Kind`] if it has more than one dimension, [`IdxFault::NegativeLabel`].
    pub fn into_labels(self) -> Result<Vec<u32>, IdxFault> {
        if self.dims.len() != 1 {
            return Err(IdxFault::Kind {
                found: format!("{} in dimensions {:?}", self.elements.kind(), self.dims),
                expected: "labels: u8 or i32 in 1 dimension",
            });
        }
        match self.elements {
            Elements::U8(bytes) => Ok(bytes.into_iter().map(u32::from).collect()),
            Elements::I32(values) => values
                .into_iter()
                .enumerate()
                .map(|(index, found)| {
                    u32::try_from(found).map_err(|_| IdxFault::NegativeLabel { index, found })
                })
                .collect(),
        }
    }
}

impl Elements {
    fn kind(&self) -> &'static str {
        match self {
            Self::U8(_) => "u8",
            Self::I32(_) => "i32",
        }
    }
}
