//! The state of a solver, as plain data.

mod restore;

use std::collections::BTreeMap;

use bilevel_program::Vector;
use burn::tensor::TensorData;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// All that the later steps of a [`Solver`](crate::Solver) depend on, except for its settings and the data: named
/// entries, such as `x/0`, `method/z/0`, `upper/0/moment_1`.
///
/// Numbers are kept by their bytes, so that no file format rounds them: any format of serde works.
///
/// ```
/// # use bilevel_core::*;
/// # fn example(solver: &dyn Solver, fresh: &mut dyn Solver) -> Result<(), Error> {
/// let saved: Snapshot = solver.save();
/// // A solver made as the first one was goes on where that one stood.
/// fresh.restore(saved)?;
/// Executor::new(200)?.starting_at(100)?.run(fresh)?;
/// # Ok(())
/// # }
/// ```
///
/// A method writes its entries by the `put` methods and reads them back by the `take` methods, under the same names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Snapshot {
    entries: BTreeMap<String, Entry>,
}

/// One entry of a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// Numbers of one element type.
    Numbers(TensorData),
    /// A count.
    Count(u64),
    /// A name.
    Name(String),
}

impl Snapshot {
    /// The entries by their names.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// Adds a vector: an entry `name/i` for its i-th variable.
    pub fn put_vector(&mut self, name: &str, vector: &Vector) {
        for (at, data) in vector.to_data().into_iter().enumerate() {
            self.put_data(&format!("{name}/{at}"), data);
        }
    }

    /// Adds a vector, if there is one.
    pub fn put_optional_vector(&mut self, name: &str, vector: Option<&Vector>) {
        if let Some(vector) = vector {
            self.put_vector(name, vector);
        }
    }

    /// Adds vectors by their positions.
    pub fn put_vectors<'a>(&mut self, name: &str, vectors: impl IntoIterator<Item = &'a Vector>) {
        for (at, vector) in vectors.into_iter().enumerate() {
            self.put_vector(&format!("{name}/{at}"), vector);
        }
    }

    /// Adds the numbers of a tensor.
    pub fn put_data(&mut self, name: &str, data: TensorData) {
        self.entries.insert(name.to_owned(), Entry::Numbers(data));
    }

    /// Adds a list of numbers.
    pub fn put_numbers(&mut self, name: &str, numbers: &[f64]) {
        self.put_data(name, TensorData::new(numbers.to_vec(), [numbers.len()]));
    }

    /// Adds a list of numbers whose length is not known when it is read back.
    pub fn put_list(&mut self, name: &str, numbers: &[f64]) {
        self.put_count(&format!("{name}/count"), numbers.len());
        if !numbers.is_empty() {
            self.put_numbers(&format!("{name}/numbers"), numbers);
        }
    }

    /// Adds a count.
    pub fn put_count(&mut self, name: &str, count: usize) {
        self.entries.insert(name.to_owned(), Entry::Count(count as u64));
    }

    /// Adds a name, which is compared with that of the solver that restores it.
    pub fn put_name(&mut self, name: &str, value: &str) {
        self.entries.insert(name.to_owned(), Entry::Name(value.to_owned()));
    }

    /// Adds a random number generator: its seed, its stream and its position.
    pub fn put_generator(&mut self, name: &str, rng: &ChaCha8Rng) {
        let mut bytes = rng.get_seed().to_vec();
        bytes.extend(rng.get_stream().to_le_bytes());
        bytes.extend(rng.get_word_pos().to_le_bytes());
        self.put_data(name, TensorData::new(bytes, [GENERATOR]));
    }

    /// Adds what `part` writes, each entry below `name`.
    pub fn put_within(&mut self, name: &str, part: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        part(&mut inner);
        for (below, entry) in inner.entries {
            self.entries.insert(format!("{name}/{below}"), entry);
        }
    }

    /// Adds the entries of another one.
    pub fn put_all(&mut self, other: Self) {
        self.entries.extend(other.entries);
    }

    /// Whether there is something at `name` or below it.
    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name) || self.below(&format!("{name}/")).next().is_some()
    }

    fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a String> {
        let from = self.entries.range(prefix.to_owned()..);
        from.map(|(name, _)| name).take_while(move |name| name.starts_with(prefix))
    }
}

/// The bytes of a generator: 32 of the seed, 8 of the stream, 16 of the position.
const GENERATOR: usize = 56;

/// The greatest count: no run gets there, and those who count on from it do not overflow.
pub(crate) const MOST: u64 = 1 << 53;
