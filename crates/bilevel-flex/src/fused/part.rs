//! Consecutive entries of a fused pass, computed block after block.

use std::mem::{MaybeUninit, take};

use pulp::NullaryFnOnce;
use smallvec::SmallVec;

use super::{BLOCK, Fused, NONE};
use crate::slices::{Real, numbers, numbers_mut};

/// An argument as it is read.
pub(super) enum Source<'a, T> {
    Each(&'a [T]),
    /// A result is written to it, after each block.
    Own(&'a mut [T]),
    Mask(&'a [u8]),
    Repeated(&'a [T]),
    Runs(&'a [T], usize),
    /// The product of two matrices in row-major order.
    Product {
        a: &'a [T],
        b: &'a [T],
        terms: usize,
        columns: usize,
    },
}

/// Where a result is written.
pub(super) enum Target<'a, T> {
    Numbers(&'a mut [MaybeUninit<T>]),
    Mask(&'a mut [MaybeUninit<u8>]),
    /// Over what was there.
    Old(&'a mut [T]),
    /// In place of this argument.
    Own(usize),
    /// Nowhere: it is another result.
    None,
}

/// Lists that are usually short.
pub(super) type Few<T> = SmallVec<[T; 8]>;

/// Some consecutive entries.
pub(super) struct Part<'a, T> {
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) sources: Few<Source<'a, T>>,
    pub(super) targets: Few<Target<'a, T>>,
}

impl<'a, T> Part<'a, T> {
    /// # Panics
    /// If an argument does not have as many entries as are read.
    pub(super) fn check(&self) {
        for source in &self.sources {
            let fits = match source {
                Source::Each(all) => all.len() == self.len,
                Source::Own(all) => all.len() == self.len,
                Source::Mask(all) => all.len() == self.len,
                Source::Repeated(all) => !all.is_empty() && self.len.is_multiple_of(all.len()),
                Source::Runs(all, run) => all.len() * run == self.len,
                Source::Product { a, b, terms, columns } => {
                    terms * columns > 0
                        && b.len() == terms * columns
                        && a.len() % terms == 0
                        && a.len() / terms * columns == self.len
                }
            };
            assert!(fits, "an argument has as many entries as are read");
        }
    }

    /// Parts of at most `len` entries.
    pub(super) fn split(self, len: usize) -> Vec<Self> {
        let parts = self.len.div_ceil(len);
        let mut split: Vec<_> = (0..parts)
            .map(|at| Part {
                start: self.start + at * len,
                len: len.min(self.len - at * len),
                sources: Few::with_capacity(self.sources.len()),
                targets: Few::with_capacity(self.targets.len()),
            })
            .collect();
        macro_rules! distribute {
            ($chunks:expr, $to:ident, $wrap:expr) => {
                split.iter_mut().zip($chunks).for_each(|(part, chunk)| part.$to.push($wrap(chunk)))
            };
        }
        for source in self.sources {
            match source {
                Source::Each(all) => distribute!(all.chunks(len), sources, Source::Each),
                Source::Own(all) => distribute!(all.chunks_mut(len), sources, Source::Own),
                Source::Mask(all) => distribute!(all.chunks(len), sources, Source::Mask),
                Source::Repeated(all) => {
                    split.iter_mut().for_each(|part| part.sources.push(Source::Repeated(all)));
                }
                Source::Runs(all, run) => {
                    split.iter_mut().for_each(|part| part.sources.push(Source::Runs(all, run)));
                }
                Source::Product { a, b, terms, columns } => split.iter_mut().for_each(|part| {
                    part.sources.push(Source::Product { a, b, terms, columns });
                }),
            }
        }
        for target in self.targets {
            match target {
                Target::Numbers(all) => {
                    distribute!(all.chunks_mut(len), targets, Target::Numbers);
                }
                Target::Mask(all) => distribute!(all.chunks_mut(len), targets, Target::Mask),
                Target::Old(all) => distribute!(all.chunks_mut(len), targets, Target::Old),
                Target::Own(argument) => {
                    split.iter_mut().for_each(|part| part.targets.push(Target::Own(argument)));
                }
                Target::None => {
                    split.iter_mut().for_each(|part| part.targets.push(Target::None));
                }
            }
        }
        split
    }
}

/// The loop over the blocks of a part, compiled for each instruction set.
pub(super) struct Blocks<'b, 'a, T> {
    pub(super) fused: &'b Fused,
    pub(super) part: &'b mut Part<'a, T>,
    pub(super) buffers: &'b mut Vec<Box<[f64]>>,
    pub(super) at: &'b mut usize,
}

impl<T: Real> NullaryFnOnce for Blocks<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { fused, part, buffers, at } = self;
        while *at < part.len {
            let len = (BLOCK / size_of::<T>()).min(part.len - *at);
            read(fused, part, buffers, *at, len);
            for (number, step) in fused.steps.iter().enumerate() {
                let buffer = fused.buffers[fused.arguments.len() + number];
                // Its own arguments are in other buffers.
                let mut out = take(&mut buffers[buffer]);
                let of = |place: usize| value(fused, part, buffers, step.of[place], *at, len);
                step.operation.compute::<T>(&mut numbers_mut::<T>(&mut out)[..len], of);
                buffers[buffer] = out;
            }
            write(fused, part, buffers, *at, len);
            *at += len;
        }
    }
}

/// Arguments that are not in memory in the order in which they are used.
#[inline(always)]
fn read<T: Real>(
    fused: &Fused,
    part: &Part<'_, T>,
    buffers: &mut [Box<[f64]>],
    at: usize,
    len: usize,
) {
    for (source, &buffer) in part.sources.iter().zip(&fused.buffers) {
        if buffer == NONE {
            continue;
        }
        let out = &mut numbers_mut::<T>(&mut buffers[buffer])[..len];
        let start = part.start + at;
        match source {
            Source::Each(_) | Source::Own(_) => {}
            Source::Mask(mask) => {
                for (out, &set) in out.iter_mut().zip(&mask[at..]) {
                    *out = T::select(set != 0, T::ONE, T::ZERO);
                }
            }
            Source::Repeated([number]) => out.fill(*number),
            Source::Repeated(all) => {
                let (mut out, mut from) = (out, start % all.len());
                while !out.is_empty() {
                    let run = (all.len() - from).min(out.len());
                    let (now, rest) = out.split_at_mut(run);
                    now.copy_from_slice(&all[from..from + run]);
                    (out, from) = (rest, 0);
                }
            }
            Source::Runs(all, run) => {
                let (mut out, mut number, mut left) = (out, start / run, run - start % run);
                while !out.is_empty() {
                    let (now, rest) = out.split_at_mut(left.min(out.len()));
                    now.fill(all[number]);
                    (out, number, left) = (rest, number + 1, *run);
                }
            }
            Source::Product { a, b, terms, columns } => {
                let (mut out, mut row, mut column) = (out, start / columns, start % columns);
                while !out.is_empty() {
                    let (now, rest) = out.split_at_mut((columns - column).min(out.len()));
                    let factors = &a[row * terms..(row + 1) * terms];
                    combine(now, factors, &b[column..], *columns);
                    (out, row, column) = (rest, row + 1, 0);
                }
            }
        }
    }
}

/// Entries of a row of a product: `out[j] = sum_k factors[k] b[k columns + j]`.
#[inline(always)]
fn combine<T: Real>(out: &mut [T], factors: &[T], b: &[T], columns: usize) {
    let at = blocks::<T, 128>(out, 0, 64, factors, b, columns);
    let at = blocks::<T, 64>(out, at, 16, factors, b, columns);
    let at = blocks::<T, 16>(out, at, 0, factors, b, columns);
    blocks::<T, 1>(out, at, 0, factors, b, columns);
}

/// `N` entries at a time, from `at`; if more than `rest` are left, the last `N` of the row, some of them again. Returns
/// where it ends.
#[inline(always)]
fn blocks<T: Real, const N: usize>(
    out: &mut [T],
    mut at: usize,
    rest: usize,
    factors: &[T],
    b: &[T],
    columns: usize,
) -> usize {
    let len = out.len();
    while len - at >= N {
        together::<T, N>(&mut out[at..at + N], factors, &b[at..], columns);
        at += N;
    }
    if len - at > rest && len >= N {
        together::<T, N>(&mut out[len - N..], factors, &b[len - N..], columns);
        return len;
    }
    at
}

#[inline(always)]
fn together<T: Real, const N: usize>(out: &mut [T], factors: &[T], b: &[T], columns: usize) {
    let mut sums = [T::ZERO; N];
    for (k, &factor) in factors.iter().enumerate() {
        let row = &b[k * columns..k * columns + N];
        for (sum, &b) in sums.iter_mut().zip(row) {
            *sum = factor.mul_add(b, *sum);
        }
    }
    out.copy_from_slice(&sums);
}

/// A block of a value.
#[inline(always)]
fn value<'a, T: Real>(
    fused: &Fused,
    part: &'a Part<'_, T>,
    buffers: &'a [Box<[f64]>],
    value: usize,
    at: usize,
    len: usize,
) -> &'a [T] {
    if fused.buffers[value] != NONE {
        return &numbers::<T>(&buffers[fused.buffers[value]])[..len];
    }
    match &part.sources[value] {
        Source::Each(all) => &all[at..at + len],
        Source::Own(all) => &all[at..at + len],
        _ => unreachable!("other arguments have a buffer"),
    }
}

/// The results of a block.
#[inline(always)]
fn write<T: Real>(
    fused: &Fused,
    part: &mut Part<'_, T>,
    buffers: &[Box<[f64]>],
    at: usize,
    len: usize,
) {
    let Part { sources, targets, .. } = part;
    for (target, result) in targets.iter_mut().zip(&fused.results) {
        let from = &numbers::<T>(&buffers[fused.buffers[result.value]])[..len];
        match target {
            Target::Numbers(all) => {
                all[at..at + len].write_copy_of_slice(from);
            }
            Target::Old(all) => all[at..at + len].copy_from_slice(from),
            Target::Mask(all) => {
                let all = &mut all[at..at + len];
                assert_eq!(all.len(), from.len());
                for (out, &number) in all.iter_mut().zip(from) {
                    out.write(u8::from(number != T::ZERO));
                }
            }
            Target::Own(argument) => match &mut sources[*argument] {
                Source::Own(all) => all[at..at + len].copy_from_slice(from),
                _ => unreachable!("the argument was taken for a result"),
            },
            Target::None => {}
        }
    }
}
