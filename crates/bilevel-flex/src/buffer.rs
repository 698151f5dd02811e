//! New buffers, filled by all threads with vectorised code, and written once.
//!
//! Zeroing a buffer before it is written costs a pass over memory, as much as an operation such as a sum.
//! This is the reason for the `unsafe` code here: memory is allocated uninitialised, and each function writes
//! every element before it returns the buffer.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

/// Elements that one thread processes at a time: enough to be worth distributing, and small enough for its
/// cache. Two of these are not worth waking another thread.
pub(crate) const CHUNK: usize = if cfg!(miri) { 1 << 4 } else { 1 << 15 };

/// A loop over chunks, compiled for each instruction set.
// A closure given to `Arch::dispatch` is not always inlined into the specialised code; these structs are.
struct Fill<Out, In, F>(Out, In, F);

impl<A: Copy, T, F: Fn(A) -> T> NullaryFnOnce for Fill<&mut [MaybeUninit<T>], &[A], F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (out, a) in self.0.iter_mut().zip(self.1) {
            out.write((self.2)(*a));
        }
    }
}

impl<A: Copy, B: Copy, T, F> NullaryFnOnce for Fill<&mut [MaybeUninit<T>], (&[A], &[B]), F>
where
    F: Fn(A, B) -> T,
{
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for ((out, a), b) in self.0.iter_mut().zip(self.1.0).zip(self.1.1) {
            out.write((self.2)(*a, *b));
        }
    }
}

/// The same, in place.
struct Change<Out, In, F>(Out, In, F);

impl<T: Copy, F: Fn(T) -> T> NullaryFnOnce for Change<&mut [T], (), F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for a in self.0 {
            *a = (self.2)(*a);
        }
    }
}

impl<T: Copy, B: Copy, F: Fn(T, B) -> T> NullaryFnOnce for Change<&mut [T], &[B], F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (a, b) in self.0.iter_mut().zip(self.1) {
            *a = (self.2)(*a, *b);
        }
    }
}

/// How one operand is broadcast over the other.
#[derive(Clone, Copy)]
pub(crate) enum Repeat {
    /// The whole operand, repeated.
    All,
    /// Each element, repeated this many times in a row.
    Each(usize),
}

/// A loop over runs, each of which uses either the whole broadcast operand or one of its elements.
struct FillRuns<Out, In, F>(Out, In, Repeat, F);

impl<T: Copy, F> NullaryFnOnce for FillRuns<&mut [MaybeUninit<T>], (&[T], &[T]), F>
where
    F: Fn(T, T) -> T,
{
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self(out, (a, b), repeat, f) = self;
        match repeat {
            Repeat::All => {
                for (out, a) in out.chunks_mut(b.len()).zip(a.chunks(b.len())) {
                    out.iter_mut().zip(a).zip(b).for_each(|((out, a), b)| _ = out.write(f(*a, *b)));
                }
            }
            Repeat::Each(length) => {
                for ((out, a), &b) in out.chunks_mut(length).zip(a.chunks(length)).zip(b) {
                    out.iter_mut().zip(a).for_each(|(out, a)| _ = out.write(f(*a, b)));
                }
            }
        }
    }
}

/// The same, in place.
struct ChangeRuns<Out, In, F>(Out, In, Repeat, F);

impl<T: Copy, F: Fn(T, T) -> T> NullaryFnOnce for ChangeRuns<&mut [T], &[T], F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self(a, b, repeat, f) = self;
        match repeat {
            Repeat::All => {
                for a in a.chunks_mut(b.len()) {
                    a.iter_mut().zip(b).for_each(|(a, b)| *a = f(*a, *b));
                }
            }
            Repeat::Each(length) => {
                for (a, &b) in a.chunks_mut(length).zip(b) {
                    a.iter_mut().for_each(|a| *a = f(*a, b));
                }
            }
        }
    }
}

impl Repeat {
    /// The length of a run.
    ///
    /// # Panics
    /// If the runs of `b` do not cover exactly `of` elements, or there are none.
    fn run<T>(self, of: usize, b: &[T]) -> usize {
        let (run, runs) = match self {
            Self::All => (b.len(), of / b.len()),
            Self::Each(length) => (length, b.len()),
        };
        assert!(run > 0 && run * runs == of, "{runs} runs of {run} elements, not {of} elements");
        run
    }

    /// The part of `b` that belongs to the runs from `first` on.
    fn part<T>(self, b: &[T], first: usize) -> &[T] {
        match self {
            Self::All => b,
            Self::Each(_) => &b[first..],
        }
    }
}

/// A buffer of zeros that is changed in chunks: `change(i, chunk)` gets chunk i from the thread that has just zeroed it.
///
/// # Panics
/// If a chunk has no elements.
pub(crate) fn in_chunks<T, F>(len: usize, chunk: usize, change: F) -> Vec<T>
where
    T: Copy + num_traits::Zero + Send,
    F: Fn(usize, &mut [T]) + Sync + Send,
{
    let mut out = Vec::with_capacity(len);
    let spare: &mut [MaybeUninit<T>] = &mut out.spare_capacity_mut()[..len];
    spare.par_chunks_mut(chunk).enumerate().for_each(|(at, chunk)| {
        let zero = |chunk: &mut [MaybeUninit<T>]| chunk.fill(MaybeUninit::new(T::zero()));
        if chunk.len() <= 2 * CHUNK {
            zero(chunk);
        } else {
            chunk.par_chunks_mut(CHUNK).for_each(zero);
        }
        // SAFETY: all of it was just written.
        change(at, unsafe { chunk.assume_init_mut() });
    });
    // SAFETY: the chunks cover all elements.
    unsafe { out.set_len(len) };
    out
}

/// `f(a[i])`.
pub(crate) fn map<A, T, F>(a: &[A], f: F) -> Vec<T>
where
    A: Copy + Sync,
    T: Copy + Send,
    F: Fn(A) -> T + Copy + Sync + Send,
{
    let mut out = Vec::with_capacity(a.len());
    let fill = |(out, a): (&mut [MaybeUninit<T>], &[A])| {
        Arch::new().dispatch(Fill(out, a, f));
    };
    let spare = &mut out.spare_capacity_mut()[..a.len()];
    if a.len() <= 2 * CHUNK {
        fill((spare, a));
    } else {
        spare.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK)).for_each(fill);
    }
    // SAFETY: `spare` has the length of `a`, hence so do their chunks, pairwise: every element is written.
    unsafe { out.set_len(a.len()) };
    out
}

/// `f(a[i], b[i])`.
///
/// # Panics
/// If the lengths differ.
pub(crate) fn zip<A, B, T, F>(a: &[A], b: &[B], f: F) -> Vec<T>
where
    A: Copy + Sync,
    B: Copy + Sync,
    T: Copy + Send,
    F: Fn(A, B) -> T + Copy + Sync + Send,
{
    assert_eq!(a.len(), b.len(), "two operands of one length");
    let mut out = Vec::with_capacity(a.len());
    let fill = |out: &mut [MaybeUninit<T>], a: &[A], b: &[B]| {
        Arch::new().dispatch(Fill(out, (a, b), f));
    };
    let spare = &mut out.spare_capacity_mut()[..a.len()];
    if a.len() <= 2 * CHUNK {
        fill(spare, a, b);
    } else {
        spare
            .par_chunks_mut(CHUNK)
            .zip(a.par_chunks(CHUNK))
            .zip(b.par_chunks(CHUNK))
            .for_each(|((out, a), b)| fill(out, a, b));
    }
    // SAFETY: `spare`, `a` and `b` have the same length, hence so do their chunks: every element is written.
    unsafe { out.set_len(a.len()) };
    out
}

/// `f` on each element of `a`, in place.
pub(crate) fn map_in_place<T, F>(a: &mut [T], f: F)
where
    T: Copy + Send,
    F: Fn(T) -> T + Copy + Sync + Send,
{
    let fill = |a: &mut [T]| Arch::new().dispatch(Change(a, (), f));
    if a.len() <= 2 * CHUNK { fill(a) } else { a.par_chunks_mut(CHUNK).for_each(fill) }
}

/// `a[i] = f(a[i], b[i])`.
///
/// # Panics
/// If the lengths differ.
pub(crate) fn zip_in_place<T, B, F>(a: &mut [T], b: &[B], f: F)
where
    T: Copy + Send,
    B: Copy + Sync,
    F: Fn(T, B) -> T + Copy + Sync + Send,
{
    assert_eq!(a.len(), b.len(), "two operands of one length");
    let fill = |(a, b): (&mut [T], &[B])| {
        Arch::new().dispatch(Change(a, b, f));
    };
    if a.len() <= 2 * CHUNK {
        fill((a, b));
    } else {
        a.par_chunks_mut(CHUNK).zip(b.par_chunks(CHUNK)).for_each(fill);
    }
}

/// `f(a[i], b)` with the element of b that is broadcast to i.
///
/// # Panics
/// If the length of b, broadcast, differs from that of a, or is 0.
pub(crate) fn zip_repeated<T, F>(a: &[T], b: &[T], repeat: Repeat, f: F) -> Vec<T>
where
    T: Copy + Send + Sync,
    F: Fn(T, T) -> T + Copy + Sync + Send,
{
    let run = repeat.run(a.len(), b);
    let mut out = Vec::with_capacity(a.len());
    let fill = |out: &mut [MaybeUninit<T>], a: &[T], b: &[T]| {
        Arch::new().dispatch(FillRuns(out, (a, b), repeat, f));
    };
    let spare = &mut out.spare_capacity_mut()[..a.len()];
    if a.len() <= 2 * CHUNK {
        fill(spare, a, b);
    } else {
        let runs = (CHUNK / run).max(1);
        let chunks = spare.par_chunks_mut(runs * run).zip(a.par_chunks(runs * run)).enumerate();
        chunks.for_each(|(chunk, (out, a))| fill(out, a, repeat.part(b, chunk * runs)));
    }
    // SAFETY: `spare` and `a` have the same length and consist of whole runs, and so do their chunks. As
    // `run` has checked, there is an element of b for each element of a run, or for each run: every element
    // is written.
    unsafe { out.set_len(a.len()) };
    out
}

/// `a[i] = f(a[i], b)`, likewise.
///
/// # Panics
/// If the length of b, broadcast, differs from that of a, or is 0.
pub(crate) fn zip_repeated_in_place<T, F>(a: &mut [T], b: &[T], repeat: Repeat, f: F)
where
    T: Copy + Send + Sync,
    F: Fn(T, T) -> T + Copy + Sync + Send,
{
    let run = repeat.run(a.len(), b);
    let fill = |a: &mut [T], b: &[T]| Arch::new().dispatch(ChangeRuns(a, b, repeat, f));
    if a.len() <= 2 * CHUNK {
        fill(a, b);
    } else {
        let runs = (CHUNK / run).max(1);
        let chunks = a.par_chunks_mut(runs * run).enumerate();
        chunks.for_each(|(chunk, a)| fill(a, repeat.part(b, chunk * runs)));
    }
}
