//! Messages of tensors and of bytes.

use bilevel_program::{Layout, float};
use burn::backend::{DispatchTensor, TensorMetadata};
use burn::tensor::{DType, Element, Shape, Slice, TensorData};

use super::{Group, GroupError, tree};
use crate::Error;

/// How many of the `n` items that are called `setting` each of `size` ranks has: a power of two, so that the sum over the
/// items of a rank is a branch of their [`tree`].
///
/// # Errors
/// If there are none, or they cannot be divided so.
pub(crate) fn divided(setting: &'static str, n: usize, size: usize) -> Result<usize, Error> {
    let own = n / size;
    if n == 0 || !n.is_multiple_of(size) || (size > 1 && !own.is_power_of_two()) {
        return Err(Error::InvalidSetting {
            setting,
            found: format!("{n} on {size} ranks"),
            expected: "1, 2, 4, 8, ... for each rank",
            cure: "take the number of ranks times a power of two: the order of sums rests on it",
        });
    }
    Ok(own)
}

/// The element type of all variables, in which sums over ranks are sent.
///
/// # Errors
/// If it is not f32 or f64, or not the same for all.
pub(crate) fn dtype(upper: &Layout, lower: &Layout) -> Result<DType, Error> {
    let leaves = upper.leaves().iter().chain(lower.leaves());
    let mut dtypes: Vec<_> = leaves.map(|leaf| leaf.dtype).collect();
    dtypes.dedup();
    match dtypes[..] {
        [dtype @ (DType::F32 | DType::F64)] => Ok(dtype),
        _ => Err(Error::InvalidSetting {
            setting: "element types of x and y",
            found: format!("{dtypes:?}"),
            expected: "F32 or F64, the same for all variables",
            cure: "cast the parameters: sums over ranks are in one of these",
        }),
    }
}

/// The sums of lists of tensors, by a [`tree`] in the order of the lists.
pub(crate) fn in_tree(lists: impl Iterator<Item = Vec<DispatchTensor>>) -> Vec<DispatchTensor> {
    let add = |a: Vec<_>, b: Vec<_>| {
        debug_assert_eq!(a.len(), b.len(), "lists of one length");
        a.into_iter().zip(b).map(|(a, b)| float::add(a, b)).collect()
    };
    tree(lists, add).unwrap_or_default()
}

/// Means, given the sums of `n` terms.
pub(crate) fn means(sums: Vec<DispatchTensor>, n: usize) -> Vec<DispatchTensor> {
    if n == 1 {
        return sums;
    }
    let share = 1.0 / n as f64;
    sums.into_iter().map(|sum| float::mul_scalar(sum, share)).collect()
}

/// The sums of tensors over ranks: one message, none on one rank.
pub(crate) fn sums(
    group: &dyn Group,
    terms: Vec<DispatchTensor>,
) -> Result<Vec<DispatchTensor>, GroupError> {
    if group.size() == 1 || terms.is_empty() {
        return Ok(terms);
    }
    let shapes: Vec<Shape> = terms.iter().map(TensorMetadata::shape).collect();
    let lists = terms
        .into_iter()
        .zip(&shapes)
        .map(|(term, shape)| float::reshape(term, Shape::new([shape.num_elements()])));
    let list = float::cat(lists.collect(), 0);
    let device = burn::tensor::Device::new(list.device());
    let data = float::read(list);
    let data = match data.dtype() {
        DType::F32 => through(data, |values| group.sum_f32(values)),
        _ => through(data, |values| group.sum_f64(values)),
    };
    let list = float::write(data?, &device);
    let mut at = 0;
    let sums = shapes.into_iter().map(|shape| {
        let from = at;
        at += shape.num_elements();
        float::reshape(float::slice(list.clone(), &[Slice::from(from..at)]), shape)
    });
    Ok(sums.collect())
}

fn through<E: Element>(
    data: TensorData,
    sum: impl Fn(&mut [E]) -> Result<(), GroupError>,
) -> Result<TensorData, GroupError> {
    let shape = data.shape().clone();
    let mut values: Vec<E> = data.try_into_vec().expect("the numbers are of this type");
    sum(&mut values)?;
    Ok(TensorData::new(values, shape))
}

/// The bytes of all ranks, in their order: two messages.
pub(crate) fn gather(group: &dyn Group, own: &[u8]) -> Result<Vec<Vec<u8>>, GroupError> {
    let rank = group.rank();
    // Sums of zeros and one number, which f64 represents exactly.
    let mut lengths = vec![0.0; group.size()];
    lengths[rank] = own.len() as f64;
    group.sum_f64(&mut lengths)?;
    let lengths = lengths.into_iter().map(|length| length as usize);
    let words = |bytes: usize| bytes.div_ceil(WORD);
    let before: usize = lengths.clone().take(rank).map(words).sum();
    let mut all = vec![0.0; lengths.clone().map(words).sum()];
    for (word, bytes) in all[before..].iter_mut().zip(own.chunks(WORD)) {
        let mut padded = [0; WORD];
        padded[..bytes.len()].copy_from_slice(bytes);
        *word = f64::from(u32::from_le_bytes(padded));
    }
    group.sum_f64(&mut all)?;
    let mut all = all.into_iter().flat_map(|word| (word as u32).to_le_bytes());
    let of = |length: usize| {
        let mut bytes: Vec<u8> = all.by_ref().take(words(length) * WORD).collect();
        bytes.truncate(length);
        bytes
    };
    Ok(lengths.map(of).collect())
}

/// The bytes of a number in a message.
const WORD: usize = size_of::<u32>();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::InProcess;

    #[test]
    fn every_rank_receives_the_bytes_of_all() {
        let texts = ["", "seven b", "of rank 2", "four"];
        let found = std::thread::scope(|scope| {
            let ranks = InProcess::ranks(4).into_iter().map(|group| {
                scope.spawn(move || gather(&group, texts[group.rank()].as_bytes()).unwrap())
            });
            let ranks: Vec<_> = ranks.collect();
            ranks.into_iter().map(|rank| rank.join().unwrap()).collect::<Vec<_>>()
        });
        let expected = texts.map(|text| text.as_bytes().to_vec()).to_vec();
        assert_eq!(found, vec![expected; 4]);
    }
}
