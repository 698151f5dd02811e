//! Columns in Apache Parquet, uncompressed or by snappy or gzip, as pandas and DuckDB write them by default.

use std::panic;
use std::path::Path;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use super::cells::Cells;
use super::fault;
use crate::gzip::most_unpacked;
use crate::{DataError, files};

/// Columns by which pandas stores the index of a table: not features.
const INDEX: &str = "__index_level_";

/// The cells, with the names of the columns; missing ones are empty.
pub(super) fn read(path: &Path) -> Result<Cells, DataError> {
    let file = files::open(path)?;
    let size = file.metadata().map_err(|cause| DataError::Read { path: path.into(), cause })?.len();
    // The crate panics on some damaged files and on rare types.
    let cells =
        panic::catch_unwind(|| cells(SerializedFileReader::new(file)?, most_unpacked(size)));
    let cells = cells.map_err(|_| Refused::Parquet("a value or type that cannot be read".into()));
    cells.flatten().map_err(|refused| match refused {
        Refused::Parquet(what) => {
            fault(path, &what, "write it again, with snappy compression, or as CSV")
        }
        Refused::Nested(column) => {
            let what =
                format!("column `{column}` holds lists or structures, expected numbers and text");
            fault(path, &what, "give each of their entries a column of its own, or drop the column")
        }
        Refused::Large(most) => {
            let what = format!("{size} bytes that unpack to more than {most}");
            fault(path, &what, "take fewer rows, or save the table as CSV if it is the right one")
        }
    })
}

/// Why a file is refused.
enum Refused {
    Parquet(String),
    Nested(String),
    Large(u64),
}

impl From<ParquetError> for Refused {
    fn from(error: ParquetError) -> Self {
        Self::Parquet(error.to_string())
    }
}

/// The cells of at most `most` bytes of text, one more for each cell and for each row.
fn cells(reader: SerializedFileReader<std::fs::File>, most: u64) -> Result<Cells, Refused> {
    let schema = reader.metadata().file_metadata().schema();
    let kept: Vec<bool> =
        schema.get_fields().iter().map(|column| !column.name().starts_with(INDEX)).collect();
    let names = schema.get_fields().iter().map(|column| column.name().to_owned());
    let header = names.zip(&kept).filter_map(|(name, &kept)| kept.then_some(name)).collect();
    let (mut rows, mut bytes) = (Vec::new(), 0);
    for row in reader.get_row_iter(None)? {
        let cells = row?.into_columns().into_iter().zip(&kept).filter(|(_, kept)| **kept);
        let cells = cells.map(|((name, field), _)| text(field).ok_or(Refused::Nested(name)));
        let cells: Vec<String> = cells.collect::<Result<_, _>>()?;
        bytes += 1 + cells.iter().map(|cell| cell.len() as u64 + 1).sum::<u64>();
        if bytes > most {
            return Err(Refused::Large(most));
        }
        rows.push(cells);
    }
    Ok(Cells { header: Some(header), rows })
}

/// A value as the text of a cell; none if it holds others.
fn text(field: Field) -> Option<String> {
    Some(match field {
        Field::Null => String::new(),
        Field::Str(text) => text,
        Field::Bytes(bytes) => String::from_utf8_lossy(bytes.data()).into_owned(),
        Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => return None,
        // Displayed with as many digits as are needed to read the same number again.
        Field::Float(number) => number.to_string(),
        Field::Double(number) => number.to_string(),
        other => other.to_string(),
    })
}
