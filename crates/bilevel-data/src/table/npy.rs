//! NumPy's files: `.npy`, one array; `.npz`, a zip archive of arrays, by name.
//!
//! An `.npy` file is the magic `\x93NUMPY`, two bytes of version, the length of the header in two (version 1) or four
//! bytes, the header, and the numbers. The header is a Python dictionary: `{'descr': '<f4', 'fortran_order': False,
//! 'shape': (150, 4), }`. Source: numpy.lib.format of NumPy's documentation.

use std::io::Read;
use std::path::Path;

use super::{bytes_of, fault};
use crate::DataError;
use crate::gzip::most_unpacked;

/// An array of numbers.
#[derive(Debug)]
pub(super) struct Array {
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f64>,
}

impl Array {
    /// The numbers as names of classes.
    pub fn words(&self) -> Vec<String> {
        self.values.iter().map(f64::to_string).collect()
    }
}

const CURE: &str = "save numbers by numpy.save, without objects or strings, integers up to 2^53";

/// Reads an `.npy` file, plain or gzip.
pub(super) fn read(path: &Path) -> Result<Array, DataError> {
    let bytes = bytes_of(path, CURE)?;
    parse(&bytes).map_err(|what| fault(path, &what, CURE))
}

/// Reads the first of these names that exists in an `.npz` archive.
pub(super) fn read_member(path: &Path, names: &[&str]) -> Result<Array, DataError> {
    let refuse = |what: String| fault(path, &what, CURE);
    let file = bytes_of(path, CURE)?;
    let archive =
        rawzip::ZipArchive::from_slice(&file).map_err(|error| refuse(error.to_string()))?;
    let (mut entries, mut found) = (archive.entries(), Vec::new());
    let chosen = loop {
        let Some(entry) = entries.next_entry().map_err(|error| refuse(error.to_string()))? else {
            let what = format!("no array `{}` among {}", names.join("`, `"), found.join(", "));
            return Err(fault(path, &what, "save by numpy.savez(file, inputs=..., labels=...)"));
        };
        let name = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
        let name = name.trim_end_matches(".npy");
        if names.contains(&name) {
            break entry;
        }
        found.push(name.to_owned());
    };
    let member =
        archive.get_entry(chosen.wayfinder()).map_err(|error| refuse(error.to_string()))?;
    let data: Box<dyn Read + '_> = match chosen.compression_method() {
        rawzip::CompressionMethod::STORE => Box::new(member.data()),
        rawzip::CompressionMethod::DEFLATE => {
            Box::new(flate2::bufread::DeflateDecoder::new(member.data()))
        }
        other => return Err(refuse(format!("packed by {other:?}"))),
    };
    let packed = member.data().len() as u64;
    let most = most_unpacked(packed);
    let mut bytes = Vec::new();
    let read = member.verifying_reader(data).take(most).read_to_end(&mut bytes);
    read.map_err(|error| refuse(error.to_string()))?;
    if bytes.len() as u64 == most {
        let what = format!("{packed} bytes that unpack to {most} and more");
        return Err(fault(path, &what, "check where it comes from, or save by numpy.savez"));
    }
    parse(&bytes).map_err(refuse)
}

fn parse(bytes: &[u8]) -> Result<Array, String> {
    let short = || "the file ends within its header".to_owned();
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or("not a NumPy file: it begins differently")?;
    let (length, from) = match *rest.get(..6).ok_or_else(short)? {
        [1, _, low, high, ..] => (u32::from(u16::from_le_bytes([low, high])), 4),
        [2 | 3, _, a, b, c, d] => (u32::from_le_bytes([a, b, c, d]), 6),
        [version, ..] => return Err(format!("version {version} of the format")),
        [] => return Err(short()),
    };
    let rest = &rest[from..];
    let header = rest.get(..length as usize).ok_or_else(short)?;
    let header = std::str::from_utf8(header).map_err(|error| error.to_string())?;
    let data = &rest[length as usize..];
    let after = |key: &str| {
        let at = header.find(&format!("'{key}':")).ok_or(format!("a header without {key}"))?;
        Ok::<_, String>(header[at + key.len() + 3..].trim_start())
    };
    let shape = after("shape")?.strip_prefix('(').and_then(|text| text.split_once(')'));
    let shape = shape.ok_or("a header without a shape")?.0.split(',').map(str::trim);
    let shape: Vec<usize> = shape
        .filter(|size| !size.is_empty())
        .map(|size| size.parse().map_err(|_| format!("the size `{size}`")))
        .collect::<Result<_, _>>()?;
    let kind = after("descr")?.strip_prefix('\'').and_then(|text| text.split_once('\''));
    let kind = kind.ok_or("numbers of several kinds")?.0;
    let count = shape.iter().try_fold(1_usize, |all, &size| all.checked_mul(size));
    // If one size is 0, the others may be anything.
    let count = count.filter(|count| *count > 0).ok_or("a shape of no or too many numbers")?;
    let values = numbers(data, kind, count)?;
    let values = match after("fortran_order")?.starts_with("True") {
        true => row_major(&values, &shape),
        false => values,
    };
    Ok(Array { shape, values })
}

fn numbers(data: &[u8], kind: &str, count: usize) -> Result<Vec<f64>, String> {
    let (order, kind) = kind.split_at_checked(1).ok_or("numbers without a kind")?;
    let big = match order {
        "<" | "|" => false,
        ">" => true,
        _ => return Err(format!("the byte order `{order}`")),
    };
    let size = match kind {
        "b1" | "i1" | "u1" => 1,
        "i2" | "u2" => 2,
        "f4" | "i4" | "u4" => 4,
        "f8" | "i8" | "u8" => 8,
        _ => return Err(format!("numbers of the kind {kind}")),
    };
    let expected = count.checked_mul(size).ok_or("too many numbers")?;
    if data.len() != expected {
        return Err(format!("{} bytes of numbers, expected {expected}", data.len()));
    }
    macro_rules! read {
        ($number:ty, $size:literal, $into:ty) => {
            data.chunks_exact($size)
                .map(|bytes| {
                    let mut of = [0; $size];
                    of.copy_from_slice(bytes);
                    (if big { <$number>::from_be_bytes(of) } else { <$number>::from_le_bytes(of) })
                        as $into
                })
                .collect()
        };
    }
    Ok(match kind {
        "f4" => read!(f32, 4, f64),
        "f8" => read!(f64, 8, f64),
        "b1" | "u1" => read!(u8, 1, f64),
        "i1" => read!(i8, 1, f64),
        "u2" => read!(u16, 2, f64),
        "i2" => read!(i16, 2, f64),
        "u4" => read!(u32, 4, f64),
        "i4" => read!(i32, 4, f64),
        "u8" => exact(read!(u64, 8, i128))?,
        _ => exact(read!(i64, 8, i128))?,
    })
}

/// Integers as f64, if all are represented exactly.
fn exact(integers: Vec<i128>) -> Result<Vec<f64>, String> {
    let number = |integer: i128| match integer as f64 {
        number if number as i128 == integer => Ok(number),
        number => Err(format!("the integer {integer}, which becomes {number}")),
    };
    integers.into_iter().map(number).collect()
}

/// Reorders values from first index fastest to last index fastest.
fn row_major(values: &[f64], shape: &[usize]) -> Vec<f64> {
    let place = |mut at: usize| {
        let (mut place, mut stride) = (0, values.len());
        for &size in shape.iter().rev() {
            stride /= size;
            place += (at % size) * stride;
            at /= size;
        }
        place
    };
    (0..values.len()).map(|at| values[place(at)]).collect()
}
