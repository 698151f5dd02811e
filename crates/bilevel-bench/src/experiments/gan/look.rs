//! What is seen of a generator on the way, kept in the folder of the run so that a resumed run has it too.

use serde::{Deserialize, Serialize};

use crate::error::BenchError;
use crate::report::ReportError;
use crate::report::folder::RunFolder;

/// A look at the samples of a generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// After how many upper steps.
    pub step: usize,
    /// Modes covered.
    pub modes: usize,
    /// Share of good samples.
    pub good: f64,
    /// Discrepancy from the data.
    pub distance: f64,
    /// Some samples, row-major.
    pub samples: Vec<f32>,
}

fn file(method: &str) -> String {
    format!("looks-{method}.json")
}

/// All looks at a method so far.
///
/// # Errors
/// If their file cannot be read.
pub fn all(folder: &RunFolder, method: &str) -> Result<Vec<Look>, BenchError> {
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
pub fn note(folder: &RunFolder, method: &str, look: Look) -> Result<(), BenchError> {
    let mut looks = all(folder, method)?;
    looks.retain(|before| before.step < look.step);
    looks.push(look);
    let text = serde_json::to_vec(&looks).expect("numbers are JSON");
    Ok(folder.write_file(&file(method), &text)?)
}
