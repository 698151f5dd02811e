//! Columns in Apache Parquet, uncompressed or by snappy or gzip, as pandas and DuckDB write them by default.

use std::fs::File;
use std::path::Path;
use std::thread;

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::schema::types::{Type, TypePtr};
use serde_json::Value;

use super::cells::{Cells, is_label};
use super::fault;
use super::times::Clock;
use crate::gzip::most_unpacked;
use crate::{DataError, files};

/// Columns by which pandas stores an index without a name: not features.
const INDEX: &str = "__index_level_";
/// Nanoseconds.
const MICRO: i128 = 1000;
const MILLI: i128 = 1000 * MICRO;
/// Bytes of the text of a time, at most.
const LONGEST_TIME: u64 = 48;

/// The thread on which a reader that may panic runs: the panic becomes an error, so that a hook need not tell it.
pub const READER: &str = "bilevel-reader";
/// Its stack, as large as that of the main thread.
const STACK: usize = 8 << 20;

/// The cells, with the names of the columns; missing ones are empty. Columns of an index are left out, unless the
/// `label` is one.
pub(super) fn read(path: &Path, label: Option<&str>) -> Result<Cells, DataError> {
    let refuse = |cause| DataError::Read { path: path.into(), cause };
    let file = files::open(path)?;
    let size = file.metadata().map_err(refuse)?.len();
    let label = label.map(str::to_owned);
    // The crate panics on some damaged files and on rare types.
    let reader = thread::Builder::new().name(READER.into()).stack_size(STACK).spawn(move || {
        cells(SerializedFileReader::new(file)?, most_unpacked(size), label.as_deref())
    });
    let cells = reader.map_err(refuse)?.join();
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

/// A column.
struct Column {
    name: String,
    /// Whether it is one of the table.
    kept: bool,
    /// Whether its numbers are times.
    clock: Option<Clock>,
    /// These numbers.
    times: Vec<Option<i64>>,
}

/// The cells of at most `most` bytes of text, one more for each cell and for each row.
fn cells(
    reader: SerializedFileReader<File>,
    most: u64,
    label: Option<&str>,
) -> Result<Cells, Refused> {
    let about = reader.metadata().file_metadata();
    let index = index(about.key_value_metadata().map_or(&[], Vec::as_slice));
    let is_index = |name: &str| name.starts_with(INDEX) || index.iter().any(|of| of == name);
    let column = |column: &TypePtr| {
        let (name, clock) = (column.name().to_owned(), clock(column));
        Column { kept: is_label(&name, label) || !is_index(&name), name, clock, times: Vec::new() }
    };
    let mut columns: Vec<Column> = about.schema().get_fields().iter().map(column).collect();
    let (mut rows, mut bytes) = (Vec::new(), 0);
    for row in reader.get_row_iter(None)? {
        let mut cells = Vec::with_capacity(columns.len());
        let fields = columns.iter_mut().zip(row?.into_columns());
        for (column, (_, field)) in fields.filter(|(column, _)| column.kept) {
            if column.clock.is_some() {
                column.times.push(number(&field));
                bytes += LONGEST_TIME;
                cells.push(String::new());
                continue;
            }
            cells.push(text(field).ok_or_else(|| Refused::Nested(column.name.clone()))?);
        }
        bytes += 1 + cells.iter().map(|cell| cell.len() as u64 + 1).sum::<u64>();
        if bytes > most {
            return Err(Refused::Large(most));
        }
        rows.push(cells);
    }
    columns.retain(|column| column.kept);
    for (at, column) in columns.iter().enumerate() {
        let Some(clock) = column.clock else { continue };
        for (row, text) in rows.iter_mut().zip(clock.texts(&column.times)) {
            row[at] = text;
        }
    }
    Ok(Cells { header: Some(columns.into_iter().map(|column| column.name).collect()), rows })
}

/// The columns by which pandas stores an index that has names.
fn index(about: &[KeyValue]) -> Vec<String> {
    let pandas = about.iter().find(|entry| entry.key == "pandas");
    let text = pandas.and_then(|entry| entry.value.as_deref()).unwrap_or_default();
    let pandas: Value = serde_json::from_str(text).unwrap_or_default();
    // What is not a name is a range, which no column has.
    let names = pandas["index_columns"].as_array().into_iter().flatten();
    names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

/// Whether the numbers of a column are times.
fn clock(column: &Type) -> Option<Clock> {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::MILLIS => MILLI,
        TimeUnit::MICROS => MICRO,
        TimeUnit::NANOS => 1,
    };
    let about = column.get_basic_info();
    match (about.logical_type_ref(), about.converted_type()) {
        (Some(LogicalType::Date), _) | (_, ConvertedType::DATE) => Some(Clock::Date),
        (Some(LogicalType::Time(of)), _) => Some(Clock::Time(unit(&of.unit))),
        (Some(LogicalType::Timestamp(of)), _) => {
            Some(Clock::Stamp { unit: unit(&of.unit), utc: of.is_adjusted_to_u_t_c })
        }
        (_, ConvertedType::TIME_MILLIS) => Some(Clock::Time(MILLI)),
        (_, ConvertedType::TIME_MICROS) => Some(Clock::Time(MICRO)),
        (_, ConvertedType::TIMESTAMP_MILLIS) => Some(Clock::Stamp { unit: MILLI, utc: true }),
        (_, ConvertedType::TIMESTAMP_MICROS) => Some(Clock::Stamp { unit: MICRO, utc: true }),
        // The crate reads it in milliseconds.
        _ if column.is_primitive() && column.get_physical_type() == PhysicalType::INT96 => {
            Some(Clock::Stamp { unit: MILLI, utc: false })
        }
        _ => None,
    }
}

/// The number of a time.
fn number(field: &Field) -> Option<i64> {
    match *field {
        Field::Int(number) | Field::Date(number) | Field::TimeMillis(number) => Some(number.into()),
        Field::Long(number)
        | Field::TimeMicros(number)
        | Field::TimestampMillis(number)
        | Field::TimestampMicros(number) => Some(number),
        _ => None,
    }
}

/// A value as the text of a cell; none if it holds others.
fn text(field: Field) -> Option<String> {
    Some(match field {
        Field::Null => String::new(),
        Field::Str(text) => text,
        Field::Bytes(bytes) => String::from_utf8_lossy(bytes.data()).into_owned(),
        Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => return None,
        // As Python writes them: with as many digits as are needed to read the same number again, and with a point.
        Field::Float(number) => format!("{number:?}"),
        Field::Double(number) => format!("{number:?}"),
        Field::Bool(true) => "True".into(),
        Field::Bool(false) => "False".into(),
        other => other.to_string(),
    })
}
