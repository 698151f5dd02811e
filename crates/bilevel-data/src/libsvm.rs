//! The text format of libsvm and svmlight: sparse rows, one per line.
//!
//! A line is `label index:value index:value ...`, separated by blanks or tabs; indices count from 1 and increase
//! strictly, omitted values are zero. `#` begins a comment, lines without anything else are skipped; lines end in LF or
//! CRLF, the last one optionally. A UTF-8 byte-order mark is skipped. Plain or gzip, detected by content.
//! Source: C.-C. Chang, C.-J. Lin, "LIBSVM: a library for support vector machines", 2011, and its README.
//!
//! Numbers are decimal, with or without an exponent; numbers that are not finite are refused, and values also if they
//! are not finite in single precision. Zero values are not stored, but their index counts. Not supported: ranking
//! (`qid:`) and rows with several labels.
//!
//! Text is read as a stream and memory is bounded by what has been read: a huge index costs no more than a small one. A
//! plain file that was truncated at the end of an entry cannot be told from a complete one; inside gzip it can.

use std::io::{self, BufRead, BufReader};
use std::path::Path;

use super::{DataError, Sparse, files, gzip};

/// The maximal number of bytes of a label or an entry; an f64 written out in full has fewer.
const LONGEST: usize = 1024;
/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The number of its bytes that an error shows.
const SHOWN: usize = 40;

/// What is wrong with a libsvm file; lines count from 1, and the text ends with the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LibsvmFault {
    /// The operating system failed to read.
    #[error("line {line} cannot be read: {cause}; check the disk, the permissions and the memory")]
    Io {
        /// Line reached.
        line: usize,
        /// The message of the operating system.
        cause: io::Error,
    },
    /// The gzip layer is truncated, damaged or followed by something else.
    #[error("line {line}: damaged gzip data: {cause}; fetch the file again")]
    Gzip {
        /// Line reached.
        line: usize,
        /// The message of the decoder.
        cause: io::Error,
    },
    /// A compression format other than gzip, or gzip data that unpack to more than allowed.
    #[error("line {line}: {cause}")]
    Packing {
        /// Line reached.
        line: usize,
        /// What is wrong with it, and the remedy.
        cause: io::Error,
    },
    /// Not text.
    #[error("line {line}: byte {found:#04x}, a libsvm file is text; give one, plain or gzip")]
    Binary {
        /// Line of the byte.
        line: usize,
        /// The byte.
        found: u8,
    },
    /// A line that does not begin with a number.
    #[error("line {line}: label `{found}`, expected a finite number such as -1; check the line")]
    Label {
        /// Line of the label.
        line: usize,
        /// The text found there.
        found: String,
    },
    /// Neither an entry nor a comment.
    #[error("line {line}: `{found}`, expected index:value such as 7:0.5; check the line")]
    Entry {
        /// Line of the entry.
        line: usize,
        /// The text found there.
        found: String,
    },
    /// A value that is not a number, or too large.
    #[error(
        "line {line}: value `{found}` of index {index}, expected a number that is finite in single \
         precision; check the line or scale the data"
    )]
    Value {
        /// Line of the value.
        line: usize,
        /// Its index.
        index: u64,
        /// The text found there.
        found: String,
    },
    /// Indices that count from 0.
    #[error("line {line}: index 0, expected 1 or more; add 1 to every index of the file")]
    ZeroIndex {
        /// Line of the index.
        line: usize,
    },
    /// Indices that repeat or decrease.
    #[error(
        "line {line}: index {found} after index {before}, expected strictly increasing indices; \
         sort the entries of the line and keep one per index"
    )]
    Order {
        /// Line of the index.
        line: usize,
        /// The index.
        found: u64,
        /// The index before it.
        before: u64,
    },
    /// An index beyond the declared number of features, or beyond the maximum.
    #[error(
        "line {line}: index {found}, expected at most {limit}; check the line or declare more features"
    )]
    Beyond {
        /// Line of the index.
        line: usize,
        /// The index.
        found: u64,
        /// The largest index allowed.
        limit: u64,
    },
    /// No row at all.
    #[error("no row, expected a line such as `-1 3:0.5 7:1`; fetch the file again")]
    Empty,
    /// Rows without any entries.
    #[error("{rows} rows without an entry, expected at least one feature; check the file")]
    NoFeatures {
        /// Rows found.
        rows: usize,
    },
}

/// Reads the libsvm file at `path`, plain or gzip.
///
/// `features` declares the number of features, as for a test file that must match its training file; otherwise it is
/// the largest index of the file.
///
/// # Errors
/// [`DataError::Read`] and [`DataError::NoFile`] if it cannot be opened, [`DataError::Libsvm`] if its contents
/// are invalid.
pub fn read(path: &Path, features: Option<usize>) -> Result<Sparse, DataError> {
    let file = files::open(path)?;
    parse(BufReader::new(file), features)
        .map_err(|fault| DataError::Libsvm { path: path.into(), fault })
}

/// Reads one libsvm file from a source of bytes, plain or gzip, to its end; see [`read`].
///
/// # Errors
/// See [`LibsvmFault`].
pub fn parse(source: impl BufRead, features: Option<usize>) -> Result<Sparse, LibsvmFault> {
    let sort = |line, cause, zipped| match cause {
        cause if gzip::is_packing(&cause) => LibsvmFault::Packing { line, cause },
        cause if zipped && gzip::is_damage(&cause) => LibsvmFault::Gzip { line, cause },
        cause => LibsvmFault::Io { line, cause },
    };
    let (mut text, zipped) = gzip::open(source).map_err(|cause| sort(1, cause, false))?;
    let mut reader = Reader::new(features);
    loop {
        let block = match text.fill_buf() {
            Ok(block) => block,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => return Err(sort(reader.line, cause, zipped)),
        };
        if block.is_empty() {
            return reader.finish();
        }
        block.iter().try_for_each(|&byte| reader.take(byte))?;
        let taken = block.len();
        text.consume(taken);
    }
}

/// The rows so far, and the position in the text.
struct Reader {
    rows: Sparse,
    /// The largest index that is allowed, and whether it was declared.
    limit: u64,
    declared: Option<usize>,
    largest: u64,
    /// From 1.
    line: usize,
    /// The last index of this line; `None` before its label.
    before: Option<u64>,
    in_comment: bool,
    /// The label or entry being read.
    token: Vec<u8>,
}

impl Reader {
    fn new(declared: Option<usize>) -> Self {
        let most = u64::from(u32::MAX);
        Self {
            rows: Sparse::new(),
            limit: declared.map_or(most, |features| most.min(features as u64)),
            declared,
            largest: 0,
            line: 1,
            before: None,
            in_comment: false,
            token: Vec::new(),
        }
    }

    fn take(&mut self, byte: u8) -> Result<(), LibsvmFault> {
        match byte {
            b'\n' => {
                self.end_token()?;
                self.line += 1;
                self.before = None;
                self.in_comment = false;
            }
            _ if self.in_comment => {}
            b' ' | b'\t' | b'\r' => self.end_token()?,
            b'#' => {
                self.end_token()?;
                self.in_comment = true;
            }
            0..0x20 | 0x7f => return Err(LibsvmFault::Binary { line: self.line, found: byte }),
            _ => {
                self.token.push(byte);
                // A token without blanks, however long, must not fill the memory.
                if self.token.len() > LONGEST {
                    let (line, found) = (self.line, shown(&self.token));
                    return Err(match self.before {
                        None => LibsvmFault::Label { line, found },
                        Some(_) => LibsvmFault::Entry { line, found },
                    });
                }
            }
        }
        Ok(())
    }

    fn end_token(&mut self) -> Result<(), LibsvmFault> {
        if self.token.is_empty() {
            return Ok(());
        }
        match self.before {
            None => {
                // Some editors write it at the beginning of a file.
                if self.rows.rows() == 0 && self.token.starts_with(BYTE_ORDER_MARK) {
                    self.token.drain(..BYTE_ORDER_MARK.len());
                    if self.token.is_empty() {
                        return Ok(());
                    }
                }
                self.end_label()?;
            }
            Some(before) => self.end_entry(before)?,
        }
        self.token.clear();
        Ok(())
    }

    fn end_label(&mut self) -> Result<(), LibsvmFault> {
        let line = self.line;
        match number::<f64>(&self.token).filter(|label| label.is_finite()) {
            None => Err(LibsvmFault::Label { line, found: shown(&self.token) }),
            Some(label) => {
                self.before = Some(0);
                // Both zeros are one label.
                self.rows.push_row(label + 0.0).map_err(|cause| LibsvmFault::Io { line, cause })
            }
        }
    }

    fn end_entry(&mut self, before: u64) -> Result<(), LibsvmFault> {
        let line = self.line;
        let colon = self.token.iter().position(|&byte| byte == b':');
        let parts = colon.map(|at| (&self.token[..at], &self.token[at + 1..]));
        let parts = parts.and_then(|(index, value)| Some((number::<u64>(index)?, value)));
        let Some((index, value)) = parts else {
            return Err(LibsvmFault::Entry { line, found: shown(&self.token) });
        };
        if index == 0 {
            return Err(LibsvmFault::ZeroIndex { line });
        }
        if index <= before {
            return Err(LibsvmFault::Order { line, found: index, before });
        }
        let column = u32::try_from(index - 1).ok().filter(|_| index <= self.limit);
        let Some(column) = column else {
            return Err(LibsvmFault::Beyond { line, found: index, limit: self.limit });
        };
        let Some(value) = number::<f32>(value).filter(|value| value.is_finite()) else {
            return Err(LibsvmFault::Value { line, index, found: shown(value) });
        };
        self.before = Some(index);
        self.largest = self.largest.max(index);
        if value != 0.0 {
            let pushed = self.rows.push_value(column, value);
            pushed.map_err(|cause| LibsvmFault::Io { line, cause })?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Sparse, LibsvmFault> {
        self.end_token()?;
        let rows = self.rows.rows();
        if rows == 0 {
            return Err(LibsvmFault::Empty);
        }
        let features = self.declared.unwrap_or(self.largest as usize);
        if features == 0 {
            return Err(LibsvmFault::NoFeatures { rows });
        }
        Ok(self.rows.with_features(features))
    }
}

fn number<T: std::str::FromStr>(token: &[u8]) -> Option<T> {
    std::str::from_utf8(token).ok()?.parse().ok()
}

/// The beginning of a token, printable.
fn shown(token: &[u8]) -> String {
    let start = &token[..token.len().min(SHOWN)];
    let rest = if start.len() < token.len() { "..." } else { "" };
    format!("{}{rest}", start.escape_ascii())
}
