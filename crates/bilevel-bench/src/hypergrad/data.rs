//! The numbers of a workload: generated from a seed, or read from a safetensors file.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorView, serialize};

use super::Workload;
use crate::report::ReportError;
use bilevel_data::{DataError, Purpose, files, stream};

/// The samples of one level.
pub(super) struct Part {
    /// f32, of the shape that the workload has for its samples.
    pub inputs: TensorData,
    /// i64 classes `[n]`, or f32 of the shape of the inputs.
    pub targets: TensorData,
}

/// All numbers of a workload.
pub(super) struct WorkloadData {
    /// Samples of each level; tasks of `meta-batch`.
    pub samples: usize,
    pub train: Part,
    pub validation: Part,
    /// The parameters of the network, layer by layer.
    pub weights: Vec<f64>,
}

/// Generates `samples` samples per level and the network: the same for a seed on every machine.
pub(super) fn draw(workload: Workload, samples: usize, seed: u64) -> WorkloadData {
    let rng = &mut stream(seed, Purpose::Problem);
    let train = draw_part(workload, samples, rng);
    let validation = draw_part(workload, samples, rng);
    let mut weights = Vec::new();
    for layer in workload.layers() {
        let count = layer.weight.iter().product();
        weights.extend(normal(rng, count).map(|z| f64::from(z) * layer.deviation));
        weights.resize(weights.len() + layer.bias[0], 0.0);
    }
    WorkloadData { samples, train, validation, weights }
}

fn draw_part(workload: Workload, samples: usize, rng: &mut ChaCha8Rng) -> Part {
    let shape = workload.inputs(samples);
    let inputs: Vec<f32> = normal(rng, shape.iter().product()).collect();
    let targets = match workload.classes() {
        // Equally many images of each class.
        Some(classes) if workload == Workload::Conv => {
            let labels = (0..samples).map(|at| (at % classes) as i64).collect();
            TensorData::new::<i64, _>(labels, [samples])
        }
        Some(classes) => {
            let labels = (0..samples).map(|_| rng.random_range(0..classes as i64)).collect();
            TensorData::new::<i64, _>(labels, [samples])
        }
        None => TensorData::new(inputs.iter().map(|z| z.sin()).collect(), shape.clone()),
    };
    Part { inputs: TensorData::new(inputs, shape), targets }
}

fn normal(rng: &mut ChaCha8Rng, count: usize) -> impl Iterator<Item = f32> {
    (0..count).map(|_| rng.sample(StandardNormal))
}

/// Maximal number of samples per level, generated or read: in a sparse file a few blocks hold any number of zeros.
pub(super) const MOST_SAMPLES: usize = 1_000_000;
/// Maximal number of bytes of a header, as in the safetensors library.
const MOST_HEADER: u64 = 100_000_000;

/// Why a safetensors file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// A file that the operating system cannot read.
    #[error("{}: {cause}; check the path and its permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The message of the operating system.
        cause: std::io::Error,
    },
    /// A file that cannot be opened.
    #[error(transparent)]
    Open(#[from] DataError),
    /// A file that is not valid safetensors, or does not hold what was requested.
    #[error("{}: {fault}", path.display())]
    Unsound {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: TensorFault,
    },
}

/// What is wrong with a safetensors file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorFault {
    /// Another format, or a damaged file.
    #[error("not a valid safetensors file ({0}); write it with the safetensors library")]
    Format(String),
    /// A missing tensor.
    #[error("no tensor {tensor}, found {}; add it, or take another --workload", found.join(", "))]
    Missing {
        /// Its name.
        tensor: String,
        /// The names in the file.
        found: Vec<String>,
    },
    /// Another element type than expected.
    #[error("tensor {tensor} is of type {found}, expected {expected}; convert it")]
    Type {
        /// Its name.
        tensor: String,
        /// Its element type.
        found: String,
        /// The expected one.
        expected: String,
    },
    /// Another shape than expected.
    #[error(
        "tensor {tensor} has the shape {found:?}, expected {expected}; give every level n samples, or take \
         another --workload"
    )]
    Shape {
        /// Its name.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The expected one.
        expected: String,
    },
    /// More samples than allowed.
    #[error("tensor {tensor} has {found} samples, expected 1 to {MOST_SAMPLES}; give fewer")]
    Samples {
        /// Its name.
        tensor: String,
        /// Its samples.
        found: usize,
    },
    /// Numbers that do not fit into memory.
    #[error("tensor {tensor} has {count} numbers, more than memory holds; give fewer samples")]
    Room {
        /// Its name.
        tensor: String,
        /// Its numbers.
        count: usize,
    },
    /// A label that no class has.
    #[error("tensor {tensor} has the label {found}, expected 0 to {}; number the classes from 0", classes - 1)]
    Label {
        /// The name of the labels.
        tensor: String,
        /// The label.
        found: i64,
        /// The number of classes.
        classes: usize,
    },
}

/// Reads `train_inputs`, `validation_inputs`, `train_labels` and `validation_labels` (i64), or `train_targets` and
/// `validation_targets` (f32) if a network fits numbers, and the network's `weight0`, `bias0`, `weight1` and so on:
/// `[inputs, outputs]` of a linear layer, `[outputs, inputs, height, width]` of a convolution.
///
/// # Errors
/// If the file cannot be read or is not safetensors; if a tensor is missing, or of another type or shape.
pub(super) fn read(path: &Path, workload: Workload) -> Result<WorkloadData, TensorError> {
    let mut tensors = Tensors::open(path)?;
    // Except for their number, the shape of the samples is the workload's.
    let samples = tensors.info("train_inputs")?.1.first().copied().unwrap_or(0).max(1);
    if samples > MOST_SAMPLES {
        let fault = TensorFault::Samples { tensor: "train_inputs".into(), found: samples };
        return Err(tensors.fault(fault));
    }
    let train = tensors.part("train", workload, samples)?;
    let validation = tensors.part("validation", workload, samples)?;
    let mut weights = Vec::new();
    for (name, shape) in workload.parameters() {
        weights.extend(tensors.floats(&name, &shape)?.into_iter().map(f64::from));
    }
    Ok(WorkloadData { samples, train, validation, weights })
}

/// A safetensors file, from which one tensor at a time is read into memory.
struct Tensors<'a> {
    path: &'a Path,
    file: BufReader<File>,
    metadata: Metadata,
    /// The offset of the numbers.
    begin: u64,
}

impl<'a> Tensors<'a> {
    fn open(path: &'a Path) -> Result<Self, TensorError> {
        let unreadable = |cause| TensorError::Read { path: path.into(), cause };
        let file = files::open(path)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let mut file = BufReader::new(file);
        let mut word = [0; 8];
        let unsound = |what: &str| fault(path, TensorFault::Format(what.into()));
        if length < 8 {
            return Err(unsound("shorter than 8 bytes"));
        }
        file.read_exact(&mut word).map_err(unreadable)?;
        let header = u64::from_le_bytes(word);
        if header > length - 8 {
            return Err(unsound("the header is longer than the file"));
        }
        if header > MOST_HEADER {
            return Err(unsound(&format!(
                "a header of {header} bytes, expected at most {MOST_HEADER}"
            )));
        }
        let mut text = vec![0; header as usize];
        file.read_exact(&mut text).map_err(unreadable)?;
        let metadata: Metadata =
            serde_json::from_slice(&text).map_err(|cause| unsound(&cause.to_string()))?;
        let begin = 8 + header;
        if begin.checked_add(metadata.data_len() as u64) != Some(length) {
            return Err(unsound("the file is not as long as its header says"));
        }
        Ok(Self { path, file, metadata, begin })
    }

    /// Type, shape and the position of the first byte.
    fn info(&self, name: &str) -> Result<(Dtype, Vec<usize>, u64), TensorError> {
        let info = self.metadata.info(name).ok_or_else(|| {
            let mut found = self.metadata.offset_keys();
            found.sort();
            self.fault(TensorFault::Missing { tensor: name.into(), found })
        })?;
        Ok((info.dtype, info.shape.clone(), self.begin + info.data_offsets.0 as u64))
    }

    fn part(&mut self, level: &str, workload: Workload, n: usize) -> Result<Part, TensorError> {
        let shape = workload.inputs(n);
        let inputs = self.floats(&format!("{level}_inputs"), &shape)?;
        let targets = match workload.classes() {
            None => {
                TensorData::new(self.floats(&format!("{level}_targets"), &shape)?, shape.clone())
            }
            Some(classes) => {
                let tensor = format!("{level}_labels");
                let labels = self.numbers(&tensor, &[n], Dtype::I64, i64::from_le_bytes)?;
                if let Some(&found) =
                    labels.iter().find(|label| !(0..classes as i64).contains(*label))
                {
                    return Err(self.fault(TensorFault::Label { tensor, found, classes }));
                }
                TensorData::new(labels, [n])
            }
        };
        Ok(Part { inputs: TensorData::new(inputs, shape), targets })
    }

    fn floats(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, TensorError> {
        self.numbers(name, shape, Dtype::F32, f32::from_le_bytes)
    }

    fn numbers<T, const N: usize>(
        &mut self,
        name: &str,
        shape: &[usize],
        dtype: Dtype,
        number: fn([u8; N]) -> T,
    ) -> Result<Vec<T>, TensorError> {
        let (found, found_shape, at) = self.info(name)?;
        let tensor = name.to_owned();
        if found != dtype {
            let (found, expected) = (format!("{found:?}"), format!("{dtype:?}"));
            return Err(self.fault(TensorFault::Type { tensor, found, expected }));
        }
        if found_shape != shape {
            let expected = format!("{shape:?}");
            return Err(self.fault(TensorFault::Shape { tensor, found: found_shape, expected }));
        }
        let unreadable = |cause| TensorError::Read { path: self.path.into(), cause };
        self.file.seek(SeekFrom::Start(at)).map_err(unreadable)?;
        let mut word = [0; N];
        let count = shape.iter().product();
        // A fallible iterator does not know its length, and the list would grow, and be copied, several times.
        let mut numbers = Vec::new();
        if numbers.try_reserve_exact(count).is_err() {
            return Err(self.fault(TensorFault::Room { tensor, count }));
        }
        for _ in 0..count {
            self.file.read_exact(&mut word).map_err(unreadable)?;
            numbers.push(number(word));
        }
        Ok(numbers)
    }

    fn fault(&self, what: TensorFault) -> TensorError {
        fault(self.path, what)
    }
}

fn fault(path: &Path, fault: TensorFault) -> TensorError {
    TensorError::Unsound { path: path.into(), fault }
}

/// Writes `values` as f32 tensors of these names and shapes, in this order, to a safetensors file, with metadata.
///
/// # Errors
/// If the file cannot be written.
///
/// # Panics
/// If there are fewer values than the shapes require.
pub(crate) fn write(
    path: &Path,
    tensors: &[(String, Vec<usize>)],
    values: &[f64],
    about: Option<HashMap<String, String>>,
) -> Result<(), ReportError> {
    let bytes: Vec<u8> = values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect();
    let mut rest = &bytes[..];
    let views = tensors.iter().map(|(name, shape)| {
        let (head, tail) = rest.split_at(4 * shape.iter().product::<usize>());
        rest = tail;
        TensorView::new(Dtype::F32, shape.clone(), head).map(|view| (name, view))
    });
    let file = views
        .collect::<Result<Vec<_>, _>>()
        .and_then(|views| serialize(views, about))
        .map_err(|cause| ReportError::Format { file: "gradient", what: cause.to_string() })?;
    fs::write(path, file).map_err(|cause| ReportError::Write { path: path.into(), cause })
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;
    use tempfile::tempdir;

    use super::*;

    /// Writes all numbers of a workload to a file that `read` takes.
    fn save(path: &Path, workload: Workload, numbers: &WorkloadData) {
        let kind = if workload.classes().is_some() { "labels" } else { "targets" };
        let mut tensors = Vec::new();
        for (level, part) in [("train", &numbers.train), ("validation", &numbers.validation)] {
            tensors.push((format!("{level}_inputs"), part.inputs.clone()));
            tensors.push((format!("{level}_{kind}"), part.targets.clone()));
        }
        let mut rest = &numbers.weights[..];
        for (name, shape) in workload.parameters() {
            let (head, tail) = rest.split_at(shape.iter().product());
            rest = tail;
            let values: Vec<f32> = head.iter().map(|&value| value as f32).collect();
            tensors.push((name, TensorData::new(values, shape)));
        }
        let views = tensors.iter().map(|(name, data)| {
            let dtype = if name.ends_with("labels") { Dtype::I64 } else { Dtype::F32 };
            (name, TensorView::new(dtype, data.shape().to_vec(), data.as_bytes()).unwrap())
        });
        fs::write(path, serialize(views, None).unwrap()).unwrap();
    }

    #[test]
    fn a_file_gives_the_hypergradient_of_its_numbers() {
        use crate::backend::BackendName;
        use crate::hypergrad::{Method, PlanName, Settings, run};

        let folder = tempdir().unwrap();
        let path = |name| folder.path().join(name);
        for &workload in Workload::value_variants() {
            save(&path("data"), workload, &draw(workload, 3, 7));
            let gradient = |data, to| {
                let settings = Settings {
                    workload,
                    method: Method::Rad,
                    steps: 2,
                    plan: PlanName::Trajectory,
                    keep: 0,
                    samples: 3,
                    iterations: 1,
                    damping: 0.0,
                    step_size: 0.01,
                    repetitions: 1,
                    data,
                    gradient: Some(path(to)),
                    device: BackendName::Flex.into(),
                    seed: 7,
                };
                run(&settings).unwrap();
                fs::read(path(to)).unwrap()
            };
            let drawn = gradient(None, "of-drawn");
            assert_eq!(gradient(Some(path("data")), "of-read"), drawn, "{workload:?}");
        }
    }

    #[test]
    fn a_file_gives_back_its_numbers() {
        let folder = tempdir().unwrap();
        for &workload in Workload::value_variants() {
            let drawn = draw(workload, 3, 7);
            let path = folder.path().join(workload.as_str());
            save(&path, workload, &drawn);
            let read = read(&path, workload).unwrap();
            assert_eq!(read.samples, 3);
            for (read, drawn) in [(read.train, drawn.train), (read.validation, drawn.validation)] {
                assert_eq!((read.inputs, read.targets), (drawn.inputs, drawn.targets));
            }
            let single = drawn.weights.iter().map(|&value| f64::from(value as f32));
            assert!(read.weights.into_iter().eq(single), "{workload:?}");
        }
    }
}
