//! Arrays with a row for each first index.

use std::path::Path;

use super::{Table, bytes_of, fault, npy, numbered, too_large};
use crate::DataError;

/// The names of an array of inputs, and of labels.
const INPUTS: [&str; 3] = ["inputs", "x", "X"];
const LABELS: [&str; 2] = ["labels", "y"];

/// An `.npy` file, whose label is the column of this number from 1, or the last; or whose labels are in another file.
pub(super) fn read_npy(path: &Path, label: Option<&str>, apart: bool) -> Result<Table, DataError> {
    let array = npy::read(path)?;
    if apart {
        return table(path, array);
    }
    let [n, width] = array.shape[..] else {
        let what = format!("an array of shape {:?}, without labels", array.shape);
        return Err(fault(path, &what, "name the file of the labels by --label"));
    };
    let column = match label {
        Some(label) => label.parse().unwrap_or(0),
        None => width,
    };
    let Some(at) = column.checked_sub(1).filter(|at| *at < width) else {
        let what = format!("no column {column} among {width}");
        return Err(fault(path, &what, "give a number from 1, or the file of the labels"));
    };
    let split = |keep: bool| -> Vec<f64> {
        let places = array.values.iter().enumerate().filter(|(i, _)| (i % width == at) == keep);
        places.map(|(_, value)| *value).collect()
    };
    let names: Vec<String> = split(true).iter().map(f64::to_string).collect();
    // By their numbers in the file.
    let features =
        numbered(width).into_iter().enumerate().filter(|(i, _)| *i != at).map(|f| f.1).collect();
    let mut table = of_rows(path, n, &split(false), features)?;
    table.label_by(&names, &[(path, n)])?;
    Ok(table)
}

/// An `.npz` file.
pub(super) fn read_npz(path: &Path) -> Result<Table, DataError> {
    let inputs = npy::read_member(path, &INPUTS)?;
    let labels = npy::read_member(path, &LABELS)?;
    if labels.shape != [rows(&inputs)] {
        let what = format!("inputs of shape {:?}, labels of {:?}", inputs.shape, labels.shape);
        return Err(fault(path, &what, "give one label per row"));
    }
    let mut table = table(path, inputs)?;
    table.label_by(&labels.words(), &[(path, labels.values.len())])?;
    Ok(table)
}

/// A `.safetensors` file.
pub(super) fn read_safetensors(path: &Path) -> Result<Table, DataError> {
    use safetensors::{Dtype, SafeTensors};
    let cure = "write `inputs` of n x ... in F32 and `labels` of n in I64";
    let refuse = |what: String| fault(path, &what, cure);
    let bytes = bytes_of(path, cure)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| refuse(error.to_string()))?;
    let tensor = |name: &str, kind: Dtype| {
        let found = file.tensor(name).map_err(|error| refuse(format!("`{name}`: {error}")))?;
        match found.dtype() {
            found if found != kind => Err(refuse(format!("`{name}` is {found:?}"))),
            _ => Ok(found),
        }
    };
    let (inputs, labels) = (tensor("inputs", Dtype::F32)?, tensor("labels", Dtype::I64)?);
    let n = inputs.shape().first().copied().unwrap_or(0);
    if labels.shape() != [n] {
        let what = format!("inputs {:?}, labels {:?}", inputs.shape(), labels.shape());
        return Err(refuse(what));
    }
    let values = inputs.data().chunks_exact(4);
    let values: Vec<f64> =
        values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).into()).collect();
    if values.iter().any(|number| !number.is_finite()) {
        return Err(refuse("a number that is not finite".into()));
    }
    let names = labels.data().chunks_exact(8);
    let names: Vec<String> = names
        .map(|b| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]).to_string())
        .collect();
    let mut table = table(path, npy::Array { shape: inputs.shape().to_vec(), values })?;
    table.label_by(&names, &[(path, n)])?;
    Ok(table)
}

fn rows(array: &npy::Array) -> usize {
    array.shape.first().copied().unwrap_or(0)
}

/// Rows whose labels are elsewhere. The columns of a matrix have their own units; what has more dimensions is an image
/// or the like, in one unit.
fn table(path: &Path, array: npy::Array) -> Result<Table, DataError> {
    let n = rows(&array);
    if n == 0 {
        return Err(fault(path, "no rows", "give an array of n x ..."));
    }
    let features = numbered(array.values.len() / n);
    let units = array.shape.len() <= 2;
    Ok(Table { units, ..of_rows(path, n, &array.values, features)? })
}

fn of_rows(
    path: &Path,
    n: usize,
    values: &[f64],
    features: Vec<String>,
) -> Result<Table, DataError> {
    let inputs: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    if let Some(at) = inputs.iter().position(|input| input.is_infinite()) {
        let (row, column) = (at / features.len(), at % features.len());
        return Err(too_large(&values[at].to_string(), &features[column], row, &[(path, n)]));
    }
    Ok(Table { features, inputs, units: true, labels: vec![0; n], ..Table::default() })
}
