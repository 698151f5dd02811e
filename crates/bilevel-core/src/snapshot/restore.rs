//! Reading a [`Snapshot`] back.

use bilevel_program::Vector;
use burn::tensor::{DType, Shape, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Entry, GENERATOR, MOST, Snapshot};
use crate::Error;

impl Snapshot {
    /// Takes a vector, with the variables, the element types and the device of `like`.
    ///
    /// # Errors
    /// If it is missing or different.
    pub fn take_vector(&mut self, name: &str, like: &Vector) -> Result<Vector, Error> {
        let leaves = like.layout().leaves().iter().enumerate();
        let data: Result<Vec<_>, _> = leaves
            .map(|(at, leaf)| self.take_data(&format!("{name}/{at}"), &leaf.shape, leaf.dtype))
            .collect();
        Ok(Vector::from_data(like.layout(), data?, &like.device()))
    }

    /// Takes an optional vector.
    ///
    /// # Errors
    /// If it is a different entry.
    pub fn take_optional_vector(
        &mut self,
        name: &str,
        like: &Vector,
    ) -> Result<Option<Vector>, Error> {
        self.has(name).then(|| self.take_vector(name, like)).transpose()
    }

    /// Takes vectors that were stored by position, each like that of `like`.
    ///
    /// # Errors
    /// If they are missing or different.
    pub fn take_vectors<'a>(
        &mut self,
        name: &str,
        like: impl IntoIterator<Item = &'a Vector>,
    ) -> Result<Vec<Vector>, Error> {
        let like = like.into_iter().enumerate();
        like.map(|(at, like)| self.take_vector(&format!("{name}/{at}"), like)).collect()
    }

    /// The same for a given number of vectors.
    ///
    /// # Errors
    /// If they are missing or different.
    pub fn take_array<const N: usize>(
        &mut self,
        name: &str,
        like: [&Vector; N],
    ) -> Result<[Vector; N], Error> {
        let taken = self.take_vectors(name, like)?;
        Ok(taken.try_into().unwrap_or_else(|_| unreachable!("one vector for each of `like`")))
    }

    /// Takes the numbers of a tensor of this shape and element type.
    ///
    /// # Errors
    /// If they are missing or different.
    pub fn take_data(
        &mut self,
        name: &str,
        shape: &Shape,
        dtype: DType,
    ) -> Result<TensorData, Error> {
        match self.entries.remove(name) {
            Some(Entry::Numbers(data)) if *data.shape() == *shape && data.dtype() == dtype => {
                Ok(data)
            }
            entry => {
                let expected = format!("{dtype:?} numbers of the shape {:?}", shape.to_vec());
                Err(wrong(name, describe_any(entry.as_ref()), expected))
            }
        }
    }

    /// Takes a list of bytes, of any length.
    ///
    /// # Errors
    /// If it is missing or different.
    pub fn take_bytes(&mut self, name: &str) -> Result<Vec<u8>, Error> {
        match self.entries.remove(name) {
            Some(Entry::Numbers(data)) if data.dtype() == DType::U8 => Ok(data.as_bytes().to_vec()),
            entry => Err(wrong(name, describe_any(entry.as_ref()), "a list of bytes".into())),
        }
    }

    /// Takes a list of `count` numbers.
    ///
    /// # Errors
    /// If it is missing or different.
    pub fn take_numbers(&mut self, name: &str, count: usize) -> Result<Vec<f64>, Error> {
        let data = self.take_data(name, &Shape::new([count]), DType::F64)?;
        Ok(data.iter::<f64>().collect())
    }

    /// Takes a list of numbers of any length.
    ///
    /// # Errors
    /// If there is none.
    pub fn take_list(&mut self, name: &str) -> Result<Vec<f64>, Error> {
        match self.take_count(&format!("{name}/count"))? {
            0 => Ok(Vec::new()),
            count => self.take_numbers(&format!("{name}/numbers"), count),
        }
    }

    /// Takes a list of `count` numbers, or an empty one.
    ///
    /// # Errors
    /// If it is missing or different.
    pub fn take_list_of(&mut self, name: &str, count: usize) -> Result<Vec<f64>, Error> {
        let list = self.take_list(name)?;
        if list.is_empty() || list.len() == count {
            return Ok(list);
        }
        Err(wrong(name, format!("{} numbers", list.len()), format!("{count}, or none")))
    }

    /// Takes one number.
    ///
    /// # Errors
    /// If it is missing or different.
    pub fn take_number(&mut self, name: &str) -> Result<f64, Error> {
        Ok(self.take_numbers(name, 1)?[0])
    }

    /// Takes a count.
    ///
    /// # Errors
    /// If it is missing or different.
    pub fn take_count(&mut self, name: &str) -> Result<usize, Error> {
        let found = match self.entries.remove(name) {
            Some(Entry::Count(count)) => match usize::try_from(count) {
                Ok(fits) if count <= MOST => return Ok(fits),
                _ => count.to_string(),
            },
            entry => describe_any(entry.as_ref()),
        };
        Err(wrong(name, found, format!("a count of at most {MOST}")))
    }

    /// Takes a count that must be `value`.
    ///
    /// # Errors
    /// If it is different.
    pub fn take_count_of(&mut self, name: &str, value: usize) -> Result<(), Error> {
        match self.entries.remove(name) {
            Some(Entry::Count(found)) if found == value as u64 => Ok(()),
            entry => Err(wrong(name, describe_any(entry.as_ref()), format!("the count {value}"))),
        }
    }

    /// Takes a name that must be `value`.
    ///
    /// # Errors
    /// If it is different.
    pub fn take_name(&mut self, name: &str, value: &str) -> Result<(), Error> {
        match self.entries.remove(name) {
            Some(Entry::Name(found)) if found == value => Ok(()),
            entry => Err(wrong(name, describe_any(entry.as_ref()), format!("the name `{value}`"))),
        }
    }

    /// Takes a generator of random numbers.
    ///
    /// # Errors
    /// If it is missing or different.
    pub fn take_generator(&mut self, name: &str) -> Result<ChaCha8Rng, Error> {
        let data = self.take_data(name, &Shape::new([GENERATOR]), DType::U8)?;
        let (mut seed, mut stream, mut position) = ([0; 32], [0; 8], [0; 16]);
        let (head, rest) = data.as_bytes().split_at(seed.len());
        let (middle, tail) = rest.split_at(stream.len());
        seed.copy_from_slice(head);
        stream.copy_from_slice(middle);
        position.copy_from_slice(tail);
        let mut rng = ChaCha8Rng::from_seed(seed);
        rng.set_stream(u64::from_le_bytes(stream));
        rng.set_word_pos(u128::from_le_bytes(position));
        Ok(rng)
    }

    /// Lets `part` take the entries below `name`.
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

    /// Ends reading.
    ///
    /// # Errors
    /// If an entry is left that nobody has read.
    pub fn finish(&self) -> Result<(), Error> {
        match self.entries.first_key_value() {
            None => Ok(()),
            Some((name, entry)) => Err(wrong(name, describe(entry), "no such entry".into())),
        }
    }
}

fn describe(entry: &Entry) -> String {
    match entry {
        Entry::Numbers(data) => {
            format!("{:?} numbers of the shape {:?}", data.dtype(), data.shape().to_vec())
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
