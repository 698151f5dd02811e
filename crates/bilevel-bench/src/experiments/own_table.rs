//! A user's table, as experiments read it.

use std::path::{Path, PathBuf};

use bilevel_data::table::{MOST_WORDS, Table, labels_apart};

use crate::error::BenchError;
use crate::settings::absolute;

/// [`Table::read`], with a warning for each column that is left out.
///
/// # Errors
/// Those of [`Table::read`].
pub fn read(paths: &[&Path], label: Option<&str>) -> Result<(Table, Vec<usize>), BenchError> {
    let (table, counts) = Table::read(paths, label)?;
    for (name, words) in &table.left_out {
        tracing::warn!(
            "column `{name}` is left out: {words} words, expected at most {MOST_WORDS} of a category; turn them \
             into numbers, or use fewer words"
        );
    }
    Ok((table, counts))
}

/// The paths of a table, and of its labels if these are in a separate file, as absolute paths.
///
/// # Errors
/// If a path is not UTF-8.
pub fn complete(data: &mut Option<PathBuf>, label: &mut Option<String>) -> Result<(), BenchError> {
    let Some(data) = data else { return Ok(()) };
    *data = absolute("--data", data)?;
    if let Some(label) = label.as_mut().filter(|label| labels_apart(data, label)) {
        *label = absolute("--label", Path::new(label))?.to_string_lossy().into_owned();
    }
    Ok(())
}
