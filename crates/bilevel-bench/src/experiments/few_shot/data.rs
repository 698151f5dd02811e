//! The training and test classes, and their tasks.

use std::path::Path;

use bilevel_core::{Data, Objective, Sample};
use bilevel_data::augment::Augmentation;
use bilevel_data::episodes::Episodes;
use bilevel_data::loader::ImageBatch;
use bilevel_data::{DataError, HELD, ImageClasses, Purpose, digits, omniglot, stream};
use burn::tensor::Device;
use rand::seq::SliceRandom;

use super::Settings;
use crate::error::BenchError;

/// The fraction of training classes of a folder that is not divided.
const TRAINING: f64 = 0.7;

/// The training classes and the test classes.
///
/// | folder | classes |
/// |---|---|
/// | none | the embedded digits, 0 to 4 against 5 to 9, without rotations |
/// | of Omniglot, in IDX | 1200 characters against 423, at random |
/// | with `train` and `test`, or `train.tar` and `test.tar` | these two parts |
/// | other class folders | 70 % against the others, at random |
///
/// # Errors
/// If they cannot be read.
pub fn read(settings: &Settings) -> Result<[ImageClasses; 2], BenchError> {
    let rotations = settings.rotations.get();
    let seed = settings.common.seed;
    let Some(dir) = settings.common.data_dir.as_deref() else {
        let all = ImageClasses::new(digits::load()?.to_bytes());
        let train = all.select(&[0, 1, 2, 3, 4]).with_rotations(rotations)?;
        return Ok([train, all.select(&[5, 6, 7, 8, 9])]);
    };
    let [train, test] = if omniglot::is_in(dir) {
        omniglot::read(dir, seed)?
    } else {
        in_files(dir, [settings.channels.get(), settings.side.get()], seed)?
    };
    Ok([train.with_rotations(rotations)?, test.with_rotations(rotations)?])
}

fn in_files(dir: &Path, shape: [usize; 2], seed: u64) -> Result<[ImageClasses; 2], DataError> {
    let read = |path: &Path| ImageClasses::read(path, shape, HELD / 2);
    for names in [["train", "test"], ["train.tar", "test.tar"]] {
        let [train, test] = names.map(|name| dir.join(name));
        if train.exists() && test.exists() {
            return Ok([read(&train)?, read(&test)?]);
        }
    }
    let all = read(dir)?;
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.shuffle(&mut stream(seed, Purpose::Split));
    let (train, test) = order.split_at((TRAINING * all.len() as f64).ceil() as usize);
    Ok([all.select(train), all.select(test)])
}

/// The tasks of both parts: `Sample(i)` is the i-th training task, from [`Tasks::TEST`] on the test tasks.
#[derive(Debug)]
pub struct Tasks {
    train: Episodes,
    test: Episodes,
}

impl Tasks {
    /// The number of the first test task.
    pub const TEST: u64 = 1 << 60;

    /// Of the training and the test classes.
    ///
    /// # Errors
    /// If a part has too few classes, or a class too few images.
    pub fn new(
        [train, test]: [ImageClasses; 2],
        settings: &Settings,
        device: &Device,
    ) -> Result<Self, DataError> {
        let seed = settings.common.seed;
        let of =
            |classes, part| Episodes::new(classes, settings.way(), [seed, part], device.clone());
        let augmentation = if settings.augment { Augmentation::CIFAR } else { Augmentation::NONE };
        Ok(Self { train: of(train, 0)?.with_augmentation(augmentation), test: of(test, 1)? })
    }

    /// The images of a level of a task.
    pub fn of(&self, level: Objective, task: u64) -> ImageBatch {
        match task.checked_sub(Self::TEST) {
            Some(task) => self.test.task(level, task),
            None => self.train.task(level, task),
        }
    }
}

impl Data<ImageBatch> for Tasks {
    fn batch(&self, level: Objective, sample: Sample) -> ImageBatch {
        self.of(level, sample.0)
    }
}
