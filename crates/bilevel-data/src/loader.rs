//! Batches of images for both levels, prepared during the computation on the previous one.
//!
//! Images stay bytes in memory; a batch is augmented, normalised and moved to the device when it is needed. `Sample(i)`
//! is batch `i mod m` of pass `i / m`, where m is the number of batches: each pass shuffles and augments anew, with
//! random numbers that depend only on the seed, the level, the pass and the image. So a handle is always the same
//! batch, whichever thread prepares it. Draw handles in order, by
//! [`Sampler::in_order`](bilevel_core::Sampler::in_order).
//!
//! Once two handles have been requested in order, a thread prepares the following ones, up to the
//! [limit](ImageBatches::with_ahead): reading, augmenting and the transfer to a GPU overlap with the computation. The
//! current batch is kept, as methods request it more than once.

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use bilevel_core::{Batch, Data, Objective, Sample};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::seq::SliceRandom;

use super::augment::{Augmentation, Normalisation};
use super::{DataError, Images, Purpose, stream_at};

/// Images on a device, and their labels.
#[derive(Clone, Debug, Batch)]
pub struct ImageBatch {
    /// `[n, channels, height, width]`
    pub images: Tensor<4>,
    /// `[n]`
    pub labels: Tensor<1, Int>,
}

impl ImageBatch {
    /// The images of `set` at `indices`, unchanged.
    ///
    /// # Panics
    /// If there is no such image, as a slice does.
    pub fn new(
        set: &Images,
        indices: &[usize],
        normalisation: &Normalisation,
        device: &Device,
    ) -> Self {
        Self::of(set, indices, normalisation, device, |index, out| {
            out.extend_from_slice(set.image(index));
        })
    }

    /// With the bytes that `variant` appends for each image.
    fn of(
        set: &Images,
        indices: &[usize],
        normalisation: &Normalisation,
        device: &Device,
        mut variant: impl FnMut(usize, &mut Vec<u8>),
    ) -> Self {
        let [channels, height, width] = set.shape();
        let mut numbers = Vec::with_capacity(indices.len() * set.features());
        let mut bytes = Vec::with_capacity(set.features());
        for &index in indices {
            bytes.clear();
            variant(index, &mut bytes);
            normalisation.apply(&bytes, height * width, &mut numbers);
        }
        let images = TensorData::new(numbers, [indices.len(), channels, height, width]);
        let labels: Vec<i32> = indices.iter().map(|&index| set.labels()[index] as i32).collect();
        let labels = TensorData::new(labels, [indices.len()]);
        Self {
            images: Tensor::from_data(images, device),
            labels: Tensor::from_data(labels, device),
        }
    }
}

/// How a loader processes an image set.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The maximal number of images in a batch; sizes of batches differ by at most one.
    pub size: usize,
    /// Random variants.
    pub augmentation: Augmentation,
    /// From bytes to numbers.
    pub normalisation: Normalisation,
    /// The seed of shuffling and augmentation.
    pub seed: u64,
}

/// Batches of both levels; see the [module](self).
#[derive(Debug)]
pub struct ImageBatches {
    upper: Stream,
    lower: Stream,
}

impl ImageBatches {
    /// Batches of `upper`, which F sees, and `lower`, which f sees; one batch is prepared ahead.
    ///
    /// # Errors
    /// [`DataError::BatchSize`] if the size is 0, [`DataError::Join`] if the images differ in shape.
    pub fn new(
        upper: impl Into<Arc<Images>>,
        lower: impl Into<Arc<Images>>,
        settings: Settings,
        device: Device,
    ) -> Result<Self, DataError> {
        let (upper, lower) = (upper.into(), lower.into());
        if settings.size == 0 {
            return Err(DataError::BatchSize);
        }
        if upper.shape() != lower.shape() {
            let (name, found) = (upper.name().to_owned(), upper.shape());
            return Err(DataError::Join { name, found, expected: lower.shape() });
        }
        let stream = |set, objective| {
            let source = Source { set, objective, settings: settings.clone() };
            Stream {
                source: Arc::new(source),
                device: device.clone(),
                ahead: 1,
                state: Mutex::new(State { last: None, ahead: None }),
            }
        };
        Ok(Self { upper: stream(upper, Objective::Upper), lower: stream(lower, Objective::Lower) })
    }

    /// With up to `batches` prepared ahead for each level; 0 for none, and no thread.
    pub fn with_ahead(mut self, batches: usize) -> Self {
        (self.upper.ahead, self.lower.ahead) = (batches, batches);
        self
    }

    fn of(&self, objective: Objective) -> &Stream {
        match objective {
            Objective::Upper => &self.upper,
            Objective::Lower => &self.lower,
        }
    }
}

impl Data<ImageBatch> for ImageBatches {
    fn batch(&self, objective: Objective, sample: Sample) -> ImageBatch {
        self.of(objective).batch(sample.0)
    }

    fn batches(&self, objective: Objective) -> usize {
        self.of(objective).source.batches()
    }
}

/// The images of one level, and which of them are in which batch.
#[derive(Debug)]
struct Source {
    set: Arc<Images>,
    objective: Objective,
    settings: Settings,
}

impl Source {
    fn batches(&self) -> usize {
        self.set.len().div_ceil(self.settings.size)
    }

    fn batch(&self, sample: u64, device: &Device) -> ImageBatch {
        let Settings { augmentation, normalisation, seed, .. } = &self.settings;
        let batches = self.batches() as u64;
        let (pass, at) = (sample / batches, (sample % batches) as usize);
        let objective = self.objective as u64;
        let mut order: Vec<usize> = (0..self.set.len()).collect();
        order.shuffle(&mut stream_at(*seed, Purpose::Batches, [objective, pass, 0]));
        let cut = |i: usize| i * order.len() / self.batches();
        let variant = |index: usize, out: &mut Vec<u8>| {
            let mut rng = stream_at(*seed, Purpose::Augment, [objective, pass, index as u64]);
            augmentation.apply(self.set.image(index), self.set.shape(), &mut rng, out);
        };
        ImageBatch::of(&self.set, &order[cut(at)..cut(at + 1)], normalisation, device, variant)
    }
}

/// The batches of one level, one after the other.
#[derive(Debug)]
struct Stream {
    source: Arc<Source>,
    device: Device,
    ahead: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: Option<(u64, ImageBatch)>,
    ahead: Option<Ahead>,
}

impl Stream {
    fn batch(&self, sample: u64) -> ImageBatch {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match &state.last {
            Some((last, batch)) if *last == sample => return batch.clone(),
            last => last.as_ref().map(|(last, _)| *last),
        };
        // The old one is dropped first, to free its memory.
        state.last = None;
        let made = state.ahead.as_mut().and_then(|ahead| ahead.take(sample));
        let batch = made.unwrap_or_else(|| {
            // A thread that is at other batches, if there is one, ends here.
            state.ahead = None;
            if self.ahead > 0 && before.is_some_and(|before| before.checked_add(1) == Some(sample))
            {
                state.ahead = Ahead::start(&self.source, sample, self.ahead, &self.device);
            }
            self.source.batch(sample, &self.device)
        });
        state.last = Some((sample, batch.clone()));
        batch
    }
}

/// A thread that prepares the batches `next`, `next + 1` and so on.
#[derive(Debug)]
struct Ahead {
    next: u64,
    /// Taken before waiting for the thread, which ends it.
    batches: Option<Receiver<ImageBatch>>,
    thread: Option<JoinHandle<()>>,
}

impl Ahead {
    /// Prepares up to `ahead` batches after `sample`. None if the system has no more threads.
    fn start(source: &Arc<Source>, sample: u64, ahead: usize, device: &Device) -> Option<Self> {
        let next = sample.checked_add(1)?;
        // The thread holds one more.
        let (sender, batches) = sync_channel(ahead - 1);
        let (source, device) = (source.clone(), device.clone());
        let work = move || {
            for sample in next.. {
                if sender.send(source.batch(sample, &device)).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("batches".into()).spawn(work).ok()?;
        Some(Self { next, batches: Some(batches), thread: Some(thread) })
    }

    /// Batch `sample`, if it is the next.
    fn take(&mut self, sample: u64) -> Option<ImageBatch> {
        let batch = if sample == self.next { self.batches.as_ref()?.recv().ok() } else { None };
        self.next += u64::from(batch.is_some());
        batch
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported, and its batch is prepared here instead.
            let _ = thread.join();
        }
    }
}
