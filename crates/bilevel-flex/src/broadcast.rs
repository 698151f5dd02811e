//! Operations on a tensor and one that is repeated over it: a bias, a mean, what tasks share.

use burn_flex::FlexTensor;
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

use crate::buffer::{self, CHUNK};
use crate::elementwise::{Number, is_whole, like};

/// Below so many numbers side by side, Flex is as fast.
const SHORT: usize = 4;

/// How the smaller tensor lies over the larger one, whose numbers are cut into runs of equal length.
struct Runs {
    length: usize,
    /// One number of the smaller tensor for a run, or as many as the run has.
    repeats_one: bool,
    /// Sizes of the dimensions before the run, and the strides of the smaller tensor in them.
    outer: Vec<(usize, usize)>,
    start: usize,
}

impl Runs {
    /// `None` unless `small`, by repetition, has the shape of `large`, in runs that are worth it.
    fn of(large: &FlexTensor, small: &FlexTensor) -> Option<Self> {
        let (sizes, layout) = (large.layout().shape().as_slice(), small.layout());
        if layout.shape().num_dims() != sizes.len() {
            return None;
        }
        let mut strides = Vec::with_capacity(sizes.len());
        for ((&size, &own), &stride) in
            sizes.iter().zip(layout.shape().iter()).zip(layout.strides())
        {
            strides.push(match own {
                _ if own == size && size > 1 => usize::try_from(stride).ok()?,
                1 => 0,
                _ => return None,
            });
        }
        let dims: Vec<(usize, usize)> = sizes.iter().copied().zip(strides).collect();
        // The run: the dimensions at the end that the smaller tensor has in a row, or lacks.
        let repeats_one = dims.iter().rev().find(|dim| dim.0 > 1).is_none_or(|dim| dim.1 == 0);
        let (mut length, mut cut) = (1, dims.len());
        for &(size, stride) in dims.iter().rev() {
            let goes_on = size == 1 || stride == if repeats_one { 0 } else { length };
            if !goes_on {
                break;
            }
            length *= size;
            cut -= 1;
        }
        let outer = dims[..cut].to_vec();
        (length >= SHORT).then(|| Self { length, repeats_one, outer, start: layout.start_offset() })
    }

    /// Where the numbers of a run begin in the smaller tensor.
    fn offset(&self, mut run: usize) -> usize {
        let mut offset = self.start;
        for &(size, stride) in self.outer.iter().rev() {
            offset += run % size * stride;
            run /= size;
        }
        offset
    }
}

/// Some runs, on one thread.
struct Apply<'a, T, F> {
    values: &'a mut [T],
    small: &'a [T],
    runs: &'a Runs,
    first: usize,
    f: F,
}

impl<T: Number, F: Fn(T, T) -> T> NullaryFnOnce for Apply<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { values, small, runs, first, f } = self;
        for (at, run) in values.chunks_mut(runs.length).enumerate() {
            let offset = runs.offset(first + at);
            if runs.repeats_one {
                let one = small[offset];
                run.iter_mut().for_each(|a| *a = f(*a, one));
            } else {
                run.iter_mut().zip(&small[offset..]).for_each(|(a, b)| *a = f(*a, *b));
            }
        }
    }
}

/// `f(large, small)`, `small` repeated to the shape of `large`.
pub(crate) fn broadcast<T: Number>(
    mut large: FlexTensor,
    small: &FlexTensor,
    f: impl Fn(T, T) -> T + Copy + Sync + Send,
) -> Result<FlexTensor, FlexTensor> {
    let runs =
        (is_whole::<T>(&large) && small.dtype() == T::dtype()).then(|| Runs::of(&large, small));
    let Some(runs) = runs.flatten() else {
        return Err(large);
    };
    let small = small.storage::<T>();
    if let Some(values) = large.try_storage_mut::<T>() {
        apply(values, small, &runs, f);
        return Ok(large);
    }
    let mut values = buffer::map(large.storage::<T>(), |a| a);
    apply(&mut values, small, &runs, f);
    Ok(like(&large, values))
}

fn apply<T: Number>(
    values: &mut [T],
    small: &[T],
    runs: &Runs,
    f: impl Fn(T, T) -> T + Copy + Sync + Send,
) {
    let some = |first, values| Arch::new().dispatch(Apply { values, small, runs, first, f });
    if values.len() <= 2 * CHUNK {
        return some(0, values);
    }
    let at_once = (CHUNK / runs.length).max(1);
    let chunks = values.par_chunks_mut(at_once * runs.length).enumerate();
    chunks.for_each(|(chunk, values)| some(chunk * at_once, values));
}
