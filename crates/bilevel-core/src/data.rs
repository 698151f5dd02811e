//! Where batches come from.

use std::sync::{Arc, Mutex, PoisonError};

use auto_impl::auto_impl;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::at_least_one;
use crate::{Error, Objective, Oracle, Samples, Snapshot};

/// A handle to one draw of data: the same handle always gives the same batch.
///
/// Methods that reduce variance evaluate one sample at two points, or remember what they saw of it; resumed runs draw
/// what the interrupted run would have drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sample(pub u64);

/// A source of batches for both levels.
#[diagnostic::on_unimplemented(
    message = "`{Self}` gives no batches of `{T}`",
    label = "neither level has data",
    note = "the same data at each step: `FullBatch {{ upper, lower }}`; batches in turn: `Batches`"
)]
#[auto_impl(&)]
pub trait Data<T>: Sync {
    /// The batch of `sample` for the loss of `objective`. Must depend only on the arguments.
    fn batch(&self, objective: Objective, sample: Sample) -> T;

    /// How many batches n a level is divided into: `Sample(0)` to `Sample(n - 1)` are all of them.
    fn batches(&self, objective: Objective) -> usize {
        let _ = objective;
        1
    }
}

impl<T, D: Data<T> + Send + ?Sized> Data<T> for Arc<D> {
    fn batch(&self, objective: Objective, sample: Sample) -> T {
        (**self).batch(objective, sample)
    }

    fn batches(&self, objective: Objective) -> usize {
        (**self).batches(objective)
    }
}

/// The whole data at every evaluation.
#[derive(Clone, Debug)]
pub struct FullBatch<T> {
    /// What F sees: validation data.
    pub upper: T,
    /// What f sees: training data.
    pub lower: T,
}

impl<T: Clone + Sync> Data<T> for FullBatch<T> {
    fn batch(&self, objective: Objective, _: Sample) -> T {
        match objective {
            Objective::Upper => self.upper.clone(),
            Objective::Lower => self.lower.clone(),
        }
    }
}

/// Data that is divided into batches: `Sample(i)` is batch i of its level, modulo their number. If all have the same
/// size, the mean over them is the loss on the whole.
#[derive(Clone, Debug)]
pub struct Batches<T> {
    upper: Vec<T>,
    lower: Vec<T>,
}

impl<T> Batches<T> {
    /// The batches of both levels.
    ///
    /// # Errors
    /// If a level has none.
    pub fn new(upper: Vec<T>, lower: Vec<T>) -> Result<Self, Error> {
        at_least_one("number of upper batches", upper.len())?;
        at_least_one("number of lower batches", lower.len())?;
        Ok(Self { upper, lower })
    }

    fn of(&self, objective: Objective) -> &[T] {
        match objective {
            Objective::Upper => &self.upper,
            Objective::Lower => &self.lower,
        }
    }
}

impl<T: Clone + Sync> Data<T> for Batches<T> {
    fn batch(&self, objective: Objective, sample: Sample) -> T {
        let batches = self.of(objective);
        batches[(sample.0 % batches.len() as u64) as usize].clone()
    }

    fn batches(&self, objective: Objective) -> usize {
        self.of(objective).len()
    }
}

/// Draws a [`Sample`] for each level, independently: which of its batches comes next.
///
/// Draw n of a level depends only on the seed and n: [`Sampler::at`] gives any of them, at any time, and takes no longer
/// the greater n is.
#[derive(Clone, Debug)]
pub struct Sampler {
    upper: Draws,
    lower: Draws,
}

#[derive(Debug)]
struct Draws {
    /// Where the stream of the level's first block begins.
    rng: ChaCha8Rng,
    batches: usize,
    order: Order,
    made: u64,
    /// Two, since sweeps back and forth go to and fro between neighbours. The first was used last.
    blocks: Mutex<[Block; 2]>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    /// Any batch at any time.
    Replacement,
    /// Passes through all of them.
    Epochs,
    /// The next handle.
    Counting,
    /// This one.
    Always(u64),
}

impl Order {
    fn name(self) -> &'static str {
        match self {
            Self::Replacement => "with replacement",
            Self::Epochs => "epochs",
            Self::Counting => "in order",
            Self::Always(_) => "one",
        }
    }
}

/// The draws are made in passes, and passes in blocks, each of which has a stream of its own: so the time that any draw
/// takes does not grow with its number.
#[derive(Clone, Debug, Default)]
struct Block {
    number: u64,
    /// Where in its stream each of its passes ends.
    ends: Vec<u128>,
    /// The pass that was used last, by its place in the block.
    last: Option<(usize, Vec<u64>)>,
}

/// Draws in a block, or one pass if that is longer.
const BLOCK: u64 = 1 << 20;

/// The streams of a block: one for each level.
const LEVELS: u64 = 2;

impl Sampler {
    /// One batch per level, always the same.
    pub fn full() -> Self {
        let once = |objective| Draws::new(1, 0, objective, Order::Replacement);
        Self { upper: once(Objective::Upper), lower: once(Objective::Lower) }
    }

    /// These samples, at every draw.
    pub(crate) fn always(samples: Samples) -> Self {
        let always = |objective, Sample(at)| Draws::new(1, 0, objective, Order::Always(at));
        Self {
            upper: always(Objective::Upper, samples.upper),
            lower: always(Objective::Lower, samples.lower),
        }
    }

    /// Passes through `upper` and `lower` batches, each pass in a new random order.
    ///
    /// # Errors
    /// If a level has no batches.
    pub fn epochs(upper: usize, lower: usize, seed: u64) -> Result<Self, Error> {
        Self::new(upper, lower, seed, Order::Epochs)
    }

    /// One of `upper` and one of `lower` batches at each draw, with equal probability.
    ///
    /// # Errors
    /// If a level has no batches.
    pub fn with_replacement(upper: usize, lower: usize, seed: u64) -> Result<Self, Error> {
        Self::new(upper, lower, seed, Order::Replacement)
    }

    /// The handles 0, 1, 2 and so on without end, for data that shuffles itself: batch `i mod m` of pass
    /// `i / m`, where a level has m batches.
    ///
    /// # Errors
    /// If a level has no batches.
    pub fn in_order(upper: usize, lower: usize) -> Result<Self, Error> {
        Self::new(upper, lower, 0, Order::Counting)
    }

    fn new(upper: usize, lower: usize, seed: u64, order: Order) -> Result<Self, Error> {
        at_least_one("number of upper batches", upper)?;
        at_least_one("number of lower batches", lower)?;
        Ok(Self {
            upper: Draws::new(upper, seed, Objective::Upper, order),
            lower: Draws::new(lower, seed, Objective::Lower, order),
        })
    }

    /// The next batch of a level.
    pub fn draw(&mut self, objective: Objective) -> Sample {
        match objective {
            Objective::Upper => self.upper.next(),
            Objective::Lower => self.lower.next(),
        }
    }

    /// Draw `n` of a level, counted from 0.
    pub fn at(&self, objective: Objective, n: u64) -> Sample {
        match objective {
            Objective::Upper => self.upper.at(n),
            Objective::Lower => self.lower.at(n),
        }
    }

    /// How many batches a level has.
    pub fn batches(&self, objective: Objective) -> usize {
        match objective {
            Objective::Upper => self.upper.batches,
            Objective::Lower => self.lower.batches,
        }
    }

    /// Whether it draws from as many batches as the data of `oracle` has.
    pub(crate) fn check(&self, oracle: &dyn Oracle) -> Result<(), Error> {
        let both = [Objective::Upper, Objective::Lower];
        let found = both.map(|objective| self.batches(objective));
        let expected = both.map(|objective| oracle.batches(objective));
        if found == expected { Ok(()) } else { Err(Error::Sampler { found, expected }) }
    }

    /// Writes the positions of the draws.
    pub(crate) fn save(&self, to: &mut Snapshot) {
        to.put_within("upper", |to| self.upper.save(to));
        to.put_within("lower", |to| self.lower.save(to));
    }

    /// Restores them.
    pub(crate) fn restore(&mut self, from: &mut Snapshot) -> Result<(), Error> {
        from.take_within("upper", |from| self.upper.restore(from))?;
        from.take_within("lower", |from| self.lower.restore(from))
    }
}

impl Draws {
    fn new(batches: usize, seed: u64, objective: Objective, order: Order) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(objective as u64);
        Self { rng, batches, order, made: 0, blocks: Mutex::default() }
    }

    fn save(&self, to: &mut Snapshot) {
        to.put_generator("generator", &self.rng);
        to.put_count("batches", self.batches);
        to.put_name("order", self.order.name());
        to.put_count("made", self.made as usize);
    }

    fn restore(&mut self, from: &mut Snapshot) -> Result<(), Error> {
        self.rng = from.take_generator("generator")?;
        from.take_count_of("batches", self.batches)?;
        from.take_name("order", self.order.name())?;
        self.made = from.take_count("made")? as u64;
        self.blocks = Mutex::default();
        Ok(())
    }

    fn next(&mut self) -> Sample {
        self.made += 1;
        self.at(self.made - 1)
    }

    fn at(&self, n: u64) -> Sample {
        let length = match self.order {
            Order::Counting => return Sample(n),
            Order::Always(at) => return Sample(at),
            _ if self.batches == 1 => return Sample(0),
            Order::Epochs => self.batches as u64,
            Order::Replacement => 1024,
        };
        let (pass, place) = (n / length, (n % length) as usize);
        let of_block = (BLOCK / length).max(1);
        let (number, pass) = (pass / of_block, (pass % of_block) as usize);
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if blocks[0].number != number {
            blocks.swap(0, 1);
        }
        let block = &mut blocks[0];
        if block.number != number {
            *block = Block { number, ..Block::default() };
        }
        if block.last.as_ref().is_none_or(|(last, _)| *last != pass) {
            let mut rng = self.rng.clone();
            rng.set_stream(rng.get_stream().wrapping_add(LEVELS * number));
            let mut found = Vec::new();
            for next in block.ends.len().min(pass)..=pass {
                let begin = next.checked_sub(1).map_or(0, |before| block.ends[before]);
                rng.set_word_pos(begin);
                found = self.pass(&mut rng, length);
                if next == block.ends.len() {
                    block.ends.push(rng.get_word_pos());
                }
            }
            block.last = Some((pass, found));
        }
        let (_, drawn) = block.last.as_ref().expect("the pass was made");
        Sample(drawn[place])
    }

    fn pass(&self, rng: &mut ChaCha8Rng, length: u64) -> Vec<u64> {
        if self.order == Order::Replacement {
            return (0..length).map(|_| rng.random_range(0..self.batches as u64)).collect();
        }
        let mut pass: Vec<u64> = (0..length).collect();
        pass.shuffle(rng);
        pass.reverse();
        pass
    }
}

impl Clone for Draws {
    fn clone(&self) -> Self {
        let blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Self { rng, batches, order, made, .. } = self;
        Self {
            rng: rng.clone(),
            batches: *batches,
            order: *order,
            made: *made,
            blocks: Mutex::new(blocks),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draw `n` of the lower level, and how many passes of its block were made for it.
    fn made(sampler: &Sampler, n: u64) -> (Sample, usize) {
        let ends =
            || sampler.lower.blocks.lock().unwrap().clone().map(|b| (b.number, b.ends.len()));
        let before = ends();
        let drawn = sampler.at(Objective::Lower, n);
        let [(number, after), _] = ends();
        let before =
            before.into_iter().filter(|block| block.0 == number).map(|block| block.1).max();
        (drawn, after - before.unwrap_or(0))
    }

    #[test]
    fn a_draw_takes_no_longer_the_greater_its_number_is() {
        for (make, length) in
            [(Sampler::epochs as fn(_, _, _) -> _, 3), (Sampler::with_replacement, 1024)]
        {
            let of_block = BLOCK / length;
            let sampler: Sampler = make(5, 3, 9).unwrap();
            for n in [BLOCK, 1 << 30, 1 << 40, 1 << 53, u64::MAX - 10_000] {
                let (_, passes) = made(&sampler, n);
                assert!(passes as u64 <= of_block, "draw {n}: {passes} passes");
                assert_eq!(made(&sampler, n).1, 0, "draw {n} again");
            }
        }
    }

    #[test]
    fn draws_to_and_fro_over_the_end_of_a_block_are_not_made_again() {
        for make in [Sampler::epochs as fn(_, _, _) -> _, Sampler::with_replacement] {
            let sampler: Sampler = make(5, 3, 9).unwrap();
            // 1024 divides the size of a block, and 3 leaves a remainder: the last whole pass before.
            let ends = [BLOCK - 2, BLOCK + 2];
            let first = ends.map(|n| made(&sampler, n).0);
            for _ in 0..4 {
                assert_eq!(ends.map(|n| made(&sampler, n)), first.map(|drawn| (drawn, 0)));
            }
        }
    }
}
