//! What is seen of a method on the way, kept in the folder of the run so that a resumed run has it too.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::BenchError;
use crate::report::ReportError;
use crate::report::folder::RunFolder;

/// What is seen after a step.
pub trait Look: Serialize + DeserializeOwned {
    /// After how many upper steps.
    fn step(&self) -> usize;
}

fn file(method: &str) -> String {
    format!("looks-{method}.json")
}

/// All looks at a method so far.
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

/// Adds a look; later ones, of a run that was cut short after its last checkpoint, are dropped.
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
