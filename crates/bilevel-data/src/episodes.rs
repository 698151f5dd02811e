//! Tasks of few-shot classification: N classes, M images of each for training and some more for testing.

use bilevel_core::{Data, Objective, Sample};
use burn::tensor::{Device, Tensor, TensorData};
use rand::seq::index;

use super::augment::Augmentation;
use super::loader::ImageBatch;
use super::{DataError, ImageClasses, Purpose, stream_at};

/// The size of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Classes, N.
    pub way: usize,
    /// Training images per class, M.
    pub shot: usize,
    /// Test images per class.
    pub query: usize,
}

/// Episodes of a set of classes: `Sample(i)` is the i-th task, always the same. f sees the training images, F the test
/// images. Within a task images are sorted by class, and the order of the classes is random.
///
/// Source: O. Vinyals et al., "Matching networks for one shot learning", 2016.
#[derive(Clone, Debug)]
pub struct Episodes {
    classes: ImageClasses,
    way: Way,
    seed: u64,
    part: u64,
    augmentation: Augmentation,
    device: Device,
}

impl Episodes {
    /// Tasks of this size. The same seed gives other tasks for another `part`, such as training and test.
    ///
    /// # Errors
    /// If there are too few classes, or a class has too few images.
    pub fn new(
        classes: ImageClasses,
        way: Way,
        [seed, part]: [u64; 2],
        device: Device,
    ) -> Result<Self, DataError> {
        let name = || classes.name().to_owned();
        if way.way > classes.len() {
            let (found, expected) = (classes.len(), way.way);
            return Err(DataError::FewClasses { name: name(), found, expected });
        }
        let expected = way.shot + way.query;
        for at in 0..classes.len() {
            let (class, found) = classes.class(at);
            if found < expected {
                let class = class.to_owned();
                return Err(DataError::FewImages { name: name(), class, found, expected });
            }
        }
        Ok(Self { classes, way, seed, part, augmentation: Augmentation::NONE, device })
    }

    /// With a random variant of each image in place of the image; each image of each task has its own.
    pub fn with_augmentation(mut self, augmentation: Augmentation) -> Self {
        self.augmentation = augmentation;
        self
    }

    /// The size of a task.
    pub fn way(&self) -> Way {
        self.way
    }

    /// The classes.
    pub fn classes(&self) -> &ImageClasses {
        &self.classes
    }

    /// The images of a level of a task.
    pub fn task(&self, level: Objective, task: u64) -> ImageBatch {
        let Way { way, shot, query } = self.way;
        let rng = &mut stream_at(self.seed, Purpose::Episodes, [self.part, task, 0]);
        let (each, number) = match level {
            Objective::Lower => (shot, 0),
            Objective::Upper => (query, 1),
        };
        let varied = &mut stream_at(self.seed, Purpose::Augment, [self.part, task, number]);
        let shape = self.classes.shape();
        let (mut original, mut bytes) = (Vec::new(), Vec::new());
        for class in index::sample(rng, self.classes.len(), way) {
            let images = index::sample(rng, self.classes.class(class).1, shot + query).into_vec();
            let (of_lower, of_upper) = images.split_at(shot);
            let wanted = match level {
                Objective::Lower => of_lower,
                Objective::Upper => of_upper,
            };
            for &image in wanted {
                original.clear();
                self.classes.append(class, image, &mut original);
                self.augmentation.apply(&original, shape, varied, &mut bytes);
            }
        }
        let [channels, height, width] = shape;
        let pixels: Vec<f32> = bytes.into_iter().map(|byte| f32::from(byte) / 255.0).collect();
        let labels: Vec<i32> = (0..way * each).map(|at| (at / each) as i32).collect();
        let n = labels.len();
        let images = TensorData::new(pixels, [n, channels, height, width]);
        ImageBatch {
            images: Tensor::from_data(images, &self.device),
            labels: Tensor::from_data(TensorData::new(labels, [n]), &self.device),
        }
    }
}

impl Data<ImageBatch> for Episodes {
    fn batch(&self, level: Objective, sample: Sample) -> ImageBatch {
        self.task(level, sample.0)
    }
}
