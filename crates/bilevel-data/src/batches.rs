//! Batches of both levels from sparse rows: the data of problems over [`LabelledRows`].
//!
//! | source | holds | for |
//! |---|---|---|
//! | [`DenseBatches`] | every batch on the device | few features (ijcnn1: 22) |
//! | [`SparseBatches`] | the sparse rows; a batch is made when requested | many features (20newsgroups: 130107) |
//! | [`full_batch`] | all rows of both levels as one batch each, on the device | measuring, deterministic methods |
//!
//! The rows of a level are shuffled once, by a seed, and divided into `ceil(rows / size)` batches. `Sample(i)` is batch
//! `i` modulo their number, so that increasing i cycles through all rows. Sizes of batches differ by at most one row,
//! none is larger than `size`: if the number of batches divides the number of rows, the mean over batches is exactly
//! that over rows.

use bilevel_core::{Data, FullBatch, Objective, Sample};
use bilevel_problems::LabelledRows;
use burn::tensor::{Device, Tensor, TensorData};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{Classified, DataError, Purpose, TrainValidation, stream};

impl Classified {
    /// The rows at `rows` on a device, dense.
    ///
    /// # Panics
    /// If a row is beyond the last one, as a slice does.
    pub fn on_device(&self, rows: &[usize], device: &Device) -> LabelledRows {
        let inputs = TensorData::new(self.rows().dense(rows), [rows.len(), self.rows().features()]);
        let classes: Vec<i32> = rows.iter().map(|&row| self.classes()[row] as i32).collect();
        LabelledRows {
            inputs: Tensor::from_data(inputs, device),
            classes: Tensor::from_data(TensorData::new(classes, [rows.len()]), device),
        }
    }
}

/// All batches of both levels, made once and held on the device; each is passed on without a copy.
#[derive(Debug, Clone)]
pub struct DenseBatches {
    upper: Vec<LabelledRows>,
    lower: Vec<LabelledRows>,
}

impl DenseBatches {
    /// Batches of at most `size` rows, shuffled by `seed`.
    ///
    /// # Errors
    /// If `size` is 0, a part has no rows, the parts differ in features or labels, or memory does not hold
    /// them dense.
    pub fn new(
        parts: &TrainValidation,
        size: usize,
        seed: u64,
        device: &Device,
    ) -> Result<Self, DataError> {
        let orders = Orders::new(parts, size, seed)?;
        check_room_for_all(parts)?;
        let make = |set: &Classified, order: &Order| {
            (0..order.batches).map(|i| set.on_device(order.batch(i), device)).collect()
        };
        Ok(Self {
            upper: make(&parts.validation, &orders.upper),
            lower: make(&parts.train, &orders.lower),
        })
    }

    fn of(&self, objective: Objective) -> &[LabelledRows] {
        match objective {
            Objective::Upper => &self.upper,
            Objective::Lower => &self.lower,
        }
    }
}

impl Data<LabelledRows> for DenseBatches {
    fn batch(&self, objective: Objective, sample: Sample) -> LabelledRows {
        let batches = self.of(objective);
        batches[wrap(sample, batches.len())].clone()
    }

    fn batches(&self, objective: Objective) -> usize {
        self.of(objective).len()
    }
}

/// The sparse rows of both levels; a batch is made dense when it is requested, and never kept.
#[derive(Debug, Clone)]
pub struct SparseBatches {
    parts: TrainValidation,
    orders: Orders,
    device: Device,
}

impl SparseBatches {
    /// Batches of at most `size` rows, shuffled by `seed`.
    ///
    /// # Errors
    /// If `size` is 0, a part has no rows, the parts differ in features or labels, or memory does not hold
    /// one dense batch.
    pub fn new(
        parts: TrainValidation,
        size: usize,
        seed: u64,
        device: Device,
    ) -> Result<Self, DataError> {
        let orders = Orders::new(&parts, size, seed)?;
        for set in [&parts.train, &parts.validation] {
            set.rows().check_room(size.min(set.rows().rows()))?;
        }
        Ok(Self { parts, orders, device })
    }

    fn of(&self, objective: Objective) -> (&Classified, &Order) {
        match objective {
            Objective::Upper => (&self.parts.validation, &self.orders.upper),
            Objective::Lower => (&self.parts.train, &self.orders.lower),
        }
    }
}

impl Data<LabelledRows> for SparseBatches {
    fn batch(&self, objective: Objective, sample: Sample) -> LabelledRows {
        let (set, order) = self.of(objective);
        set.on_device(order.batch(wrap(sample, order.batches)), &self.device)
    }

    fn batches(&self, objective: Objective) -> usize {
        self.of(objective).1.batches
    }
}

/// All rows of each level as one batch, in the order of the parts.
///
/// # Errors
/// If a part has no rows, the parts differ in features or labels, or memory does not hold them dense.
pub fn full_batch(
    parts: &TrainValidation,
    device: &Device,
) -> Result<FullBatch<LabelledRows>, DataError> {
    check(parts)?;
    check_room_for_all(parts)?;
    let all = |set: &Classified| {
        let rows: Vec<usize> = (0..set.rows().rows()).collect();
        set.on_device(&rows, device)
    };
    Ok(FullBatch { upper: all(&parts.validation), lower: all(&parts.train) })
}

/// The rows of one level in random order, and the number of batches into which they are divided.
#[derive(Debug, Clone)]
struct Order {
    rows: Vec<usize>,
    batches: usize,
}

impl Order {
    fn new(rows: usize, size: usize, rng: &mut ChaCha8Rng) -> Self {
        let mut order: Vec<usize> = (0..rows).collect();
        order.shuffle(rng);
        Self { rows: order, batches: rows.div_ceil(size) }
    }

    /// Batch `i`, less than the number of batches.
    fn batch(&self, i: usize) -> &[usize] {
        let cut = |i: usize| i * self.rows.len() / self.batches;
        &self.rows[cut(i)..cut(i + 1)]
    }
}

#[derive(Debug, Clone)]
struct Orders {
    upper: Order,
    lower: Order,
}

impl Orders {
    fn new(parts: &TrainValidation, size: usize, seed: u64) -> Result<Self, DataError> {
        check(parts)?;
        if size == 0 {
            return Err(DataError::BatchSize);
        }
        let mut rng = stream(seed, Purpose::Batches);
        let lower = Order::new(parts.train.rows().rows(), size, &mut rng);
        let upper = Order::new(parts.validation.rows().rows(), size, &mut rng);
        Ok(Self { upper, lower })
    }
}

/// Parts from two files may be of different kinds, or empty.
fn check(TrainValidation { train, validation }: &TrainValidation) -> Result<(), DataError> {
    let [found, expected] = [validation, train].map(|part| part.rows().features());
    if found != expected || validation.labels() != train.labels() {
        return Err(DataError::Kinds {
            found,
            found_labels: validation.labels().into(),
            expected,
            expected_labels: train.labels().into(),
        });
    }
    let [train, validation] = [train, validation].map(|part| part.rows().rows());
    if train == 0 || validation == 0 {
        return Err(DataError::Parts { train, validation, rows: train + validation });
    }
    Ok(())
}

fn check_room_for_all(parts: &TrainValidation) -> Result<(), DataError> {
    let rows = parts.train.rows().rows() + parts.validation.rows().rows();
    parts.train.rows().check_room(rows)
}

fn wrap(sample: Sample, batches: usize) -> usize {
    (sample.0 % batches as u64) as usize
}
