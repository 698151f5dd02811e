//! Evaluations of a method during a run, kept in its folder so that a resumed run has them too.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::BenchError;
use crate::report::ReportError;
use crate::report::folder::RunFolder;

/// An evaluation after a step.
pub trait Look: Serialize + DeserializeOwned {
    /// The number of upper steps.
    fn step(&self) -> usize;
}

fn file(method: &str) -> String {
    format!("looks-{method}.json")
}

/// All evaluations of a method so far.
///
/// # Errors
/// If their file cannot be read.
pub fn all<L: Look>(folder: &RunFolder, method: &str) -> Result<Vec<L>, BenchError> {
    let Some(text) = folder.read_file(&file(method))? else { return Ok(Vec::new()) };
    let looks = serde_json::from_slice(&text);
    Ok(looks.map_err(|error| ReportError::Damaged {
        path: folder.path().join(file(method)),
        what: error.to_string(),
    })?)
}

/// Adds an evaluation; later ones, of a run that was interrupted after its last checkpoint, are dropped.
///
/// # Errors
/// If the file cannot be read or written.
pub fn note<L: Look>(folder: &RunFolder, method: &str, look: L) -> Result<(), BenchError> {
    let mut looks = all::<L>(folder, method)?;
    looks.retain(|before| before.step() < look.step());
    looks.push(look);
    let text = serde_json::to_vec(&looks).expect("numbers are JSON");
    Ok(folder.write_file(&file(method), &text)?)
}
