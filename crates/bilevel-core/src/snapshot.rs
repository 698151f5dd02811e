//! What a solver remembers, as plain data.

use std::collections::BTreeMap;

use bilevel_autodiff::Vector;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Shape, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::Error;

/// All that the later steps of a [`Solver`](crate::Solver) depend on, but for its settings and the data:
/// named entries, as `x/0`, `method/z/0`, `upper/0/moment_1`.
///
/// Numbers are kept by their bytes, so that no file format rounds them: any format of serde serves.
///
/// ```
/// # use bilevel_core::*;
/// # use burn::tensor::backend::Backend;
/// # fn example<B: Backend>(solver: &dyn Solver<B>, fresh: &mut dyn Solver<B>) -> Result<(), Error> {
/// let saved: Snapshot = solver.save();
/// // A solver made as the first one was goes on where that one stood.
/// fresh.restore(saved)?;
/// Executor::new(200)?.starting_at(100)?.run(fresh)?;
/// # Ok(())
/// # }
/// ```
///
/// A method writes its pieces by the `put` methods and takes them back by the `take` ones, by the same names.
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
    pub fn put_vector<B: Backend>(&mut self, name: &str, vector: &Vector<B>) {
        for (at, data) in vector.to_data().into_iter().enumerate() {
            self.put_data(&format!("{name}/{at}"), data);
        }
    }

    /// Adds a vector, if there is one.
    pub fn put_optional_vector<B: Backend>(&mut self, name: &str, vector: Option<&Vector<B>>) {
        if let Some(vector) = vector {
            self.put_vector(name, vector);
        }
    }

    /// Adds vectors by their positions.
    pub fn put_vectors<'a, B: Backend>(
        &mut self,
        name: &str,
        vectors: impl IntoIterator<Item = &'a Vector<B>>,
    ) {
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

    /// Adds a list of counts.
    pub fn put_counts(&mut self, name: &str, counts: &[u64]) {
        self.put_data(name, TensorData::new(counts.to_vec(), [counts.len()]));
    }

    /// Adds a count.
    pub fn put_count(&mut self, name: &str, count: usize) {
        self.entries.insert(name.to_owned(), Entry::Count(count as u64));
    }

    /// Adds a name, against which another solver's is held.
    pub fn put_name(&mut self, name: &str, value: &str) {
        self.entries.insert(name.to_owned(), Entry::Name(value.to_owned()));
    }

    /// Adds a generator of random numbers: its seed, its stream and how far it is.
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

    /// Takes a vector, with the variables, the element types and the device of `like`.
    ///
    /// # Errors
    /// If it is not there as that.
    pub fn take_vector<B: Backend>(
        &mut self,
        name: &str,
        like: &Vector<B>,
    ) -> Result<Vector<B>, Error> {
        let leaves = like.layout().leaves().iter().enumerate();
        let data: Result<Vec<_>, _> = leaves
            .map(|(at, leaf)| self.take_data(&format!("{name}/{at}"), &leaf.shape, leaf.dtype))
            .collect();
        Ok(Vector::from_data(like.layout(), data?, &like.device()))
    }

    /// Takes a vector that need not be there.
    ///
    /// # Errors
    /// If it is there as something else.
    pub fn take_optional_vector<B: Backend>(
        &mut self,
        name: &str,
        like: &Vector<B>,
    ) -> Result<Option<Vector<B>>, Error> {
        self.has(name).then(|| self.take_vector(name, like)).transpose()
    }

    /// Takes vectors that were put by their positions, each like the one of `like`.
    ///
    /// # Errors
    /// If they are not there as that.
    pub fn take_vectors<'a, B: Backend>(
        &mut self,
        name: &str,
        like: impl IntoIterator<Item = &'a Vector<B>>,
    ) -> Result<Vec<Vector<B>>, Error> {
        let like = like.into_iter().enumerate();
        like.map(|(at, like)| self.take_vector(&format!("{name}/{at}"), like)).collect()
    }

    /// The same for so many vectors.
    ///
    /// # Errors
    /// If they are not there as that.
    pub fn take_array<B: Backend, const N: usize>(
        &mut self,
        name: &str,
        like: [&Vector<B>; N],
    ) -> Result<[Vector<B>; N], Error> {
        let taken = self.take_vectors(name, like)?;
        Ok(taken.try_into().unwrap_or_else(|_| unreachable!("one vector for each of `like`")))
    }

    /// Takes the numbers of a tensor of this shape and element type.
    ///
    /// # Errors
    /// If they are not there as that.
    pub fn take_data(
        &mut self,
        name: &str,
        shape: &Shape,
        dtype: DType,
    ) -> Result<TensorData, Error> {
        match self.entries.remove(name) {
            Some(Entry::Numbers(data))
                if data.shape == *shape && data.dtype == dtype && is_whole(&data) =>
            {
                Ok(data)
            }
            entry => {
                let expected = format!("{dtype:?} numbers of the shape {:?}", shape.to_vec());
                Err(wrong(name, describe_any(entry.as_ref()), expected))
            }
        }
    }

    /// Takes a list of so many numbers.
    ///
    /// # Errors
    /// If it is not there as that.
    pub fn take_numbers(&mut self, name: &str, count: usize) -> Result<Vec<f64>, Error> {
        let data = self.take_data(name, &Shape::new([count]), DType::F64)?;
        Ok(data.iter::<f64>().collect())
    }

    /// Takes one number.
    ///
    /// # Errors
    /// If it is not there as that.
    pub fn take_number(&mut self, name: &str) -> Result<f64, Error> {
        Ok(self.take_numbers(name, 1)?[0])
    }

    /// Takes a list of counts, of any length, each below `bound`.
    ///
    /// # Errors
    /// If it is not there as that.
    pub fn take_counts(&mut self, name: &str, bound: usize) -> Result<Vec<u64>, Error> {
        let below = |data: &TensorData| data.iter::<u64>().all(|count| count < bound as u64);
        match self.entries.remove(name) {
            Some(Entry::Numbers(data))
                if data.dtype == DType::U64 && is_whole(&data) && below(&data) =>
            {
                Ok(data.iter::<u64>().collect())
            }
            entry => {
                let expected = format!("a list of counts below {bound}");
                Err(wrong(name, describe_any(entry.as_ref()), expected))
            }
        }
    }

    /// Takes a count.
    ///
    /// # Errors
    /// If it is not there as that.
    pub fn take_count(&mut self, name: &str) -> Result<usize, Error> {
        let found = match self.entries.remove(name) {
            Some(Entry::Count(count)) => match usize::try_from(count) {
                Ok(count) => return Ok(count),
                Err(_) => count.to_string(),
            },
            entry => describe_any(entry.as_ref()),
        };
        Err(wrong(name, found, "a count".into()))
    }

    /// Takes a count that is to be `value`.
    ///
    /// # Errors
    /// If it is another one.
    pub fn take_count_of(&mut self, name: &str, value: usize) -> Result<(), Error> {
        match self.entries.remove(name) {
            Some(Entry::Count(found)) if found == value as u64 => Ok(()),
            entry => Err(wrong(name, describe_any(entry.as_ref()), format!("the count {value}"))),
        }
    }

    /// Takes a name that is to be `value`.
    ///
    /// # Errors
    /// If it is another one.
    pub fn take_name(&mut self, name: &str, value: &str) -> Result<(), Error> {
        match self.entries.remove(name) {
            Some(Entry::Name(found)) if found == value => Ok(()),
            entry => Err(wrong(name, describe_any(entry.as_ref()), format!("the name `{value}`"))),
        }
    }

    /// Takes a generator of random numbers.
    ///
    /// # Errors
    /// If it is not there as that.
    pub fn take_generator(&mut self, name: &str) -> Result<ChaCha8Rng, Error> {
        let data = self.take_data(name, &Shape::new([GENERATOR]), DType::U8)?;
        let (mut seed, mut stream, mut position) = ([0; 32], [0; 8], [0; 16]);
        let (head, rest) = data.bytes.split_at(seed.len());
        let (middle, tail) = rest.split_at(stream.len());
        seed.copy_from_slice(head);
        stream.copy_from_slice(middle);
        position.copy_from_slice(tail);
        let mut rng = ChaCha8Rng::from_seed(seed);
        rng.set_stream(u64::from_le_bytes(stream));
        rng.set_word_pos(u128::from_le_bytes(position));
        Ok(rng)
    }

    /// Lets `part` take what is below `name`.
    ///
    /// # Errors
    /// Those of `part`, and if it leaves an entry there.
    pub fn take_within<T>(
        &mut self,
        name: &str,
        part: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let prefix = format!("{name}/");
        let mut inner = Self::default();
        let below: Vec<_> = self.below(&prefix).cloned().collect();
        for full in below {
            if let Some(entry) = self.entries.remove(&full) {
                inner.entries.insert(full[prefix.len()..].to_owned(), entry);
            }
        }
        let taken = part(&mut inner).and_then(|taken| inner.finish().map(|()| taken));
        taken.map_err(|error| match error {
            Error::Snapshot { entry, found, expected } => {
                Error::Snapshot { entry: format!("{prefix}{entry}"), found, expected }
            }
            other => other,
        })
    }

    /// Whether there is something at `name` or below it.
    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name) || self.below(&format!("{name}/")).next().is_some()
    }

    /// Ends the taking.
    ///
    /// # Errors
    /// If an entry is left, which nothing here remembers.
    pub fn finish(&self) -> Result<(), Error> {
        match self.entries.first_key_value() {
            None => Ok(()),
            Some((name, entry)) => Err(wrong(name, describe(entry), "no such entry".into())),
        }
    }

    fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a String> {
        let from = self.entries.range(prefix.to_owned()..);
        from.map(|(name, _)| name).take_while(move |name| name.starts_with(prefix))
    }
}

/// The bytes of a generator: 32 of the seed, 8 of the stream, 16 of the position.
const GENERATOR: usize = 56;

/// Whether the bytes are as many as shape and type say: files may hold anything.
fn is_whole(data: &TensorData) -> bool {
    let simple = !matches!(data.dtype, DType::QFloat(_));
    simple && data.bytes.len() == data.shape.num_elements() * data.dtype.size()
}

fn describe(entry: &Entry) -> String {
    match entry {
        Entry::Numbers(data) => {
            let (bytes, shape) = (data.bytes.len(), data.shape.to_vec());
            format!("{:?} numbers of the shape {shape:?} in {bytes} bytes", data.dtype)
        }
        Entry::Count(count) => format!("the count {count}"),
        Entry::Name(name) => format!("the name `{name}`"),
    }
}

fn describe_any(entry: Option<&Entry>) -> String {
    entry.map_or("missing".into(), describe)
}

fn wrong(entry: &str, found: String, expected: String) -> Error {
    Error::Snapshot { entry: entry.to_owned(), found, expected }
}
