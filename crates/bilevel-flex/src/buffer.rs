//! New buffers, filled by all threads, vectorised, and written once.
//!
//! A buffer that is zeroed before it is written costs a pass over memory, as much as the operation itself where
//! that is a sum. This is why there is `unsafe` here: memory is taken uninitialised, and each function writes
//! every element of it before it is handed out.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

/// Elements that one thread takes at a time: enough to be worth handing over, and they fit its cache. Two of
/// these are not worth waking another thread for.
pub(crate) const CHUNK: usize = 1 << 15;

/// A loop over chunks, compiled for each kind of processor.
// A closure given to `Arch::dispatch` is not always inlined where the instructions are known; these are.
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
    // SAFETY: `spare` has the length of `a`, and so have their chunks, pair by pair: all is written.
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
    // SAFETY: `spare`, `a` and `b` are of one length, and so are their chunks: all is written.
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
