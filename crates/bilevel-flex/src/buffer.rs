//! New buffers, filled by all threads, vectorised, and written once.
//!
//! A buffer that is zeroed before it is written costs a pass over memory, as much as the operation itself where
//! that is a sum. This is why there is `unsafe` here: memory is taken uninitialised, and each function writes
//! every element of it before it is handed out.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use pulp::Arch;
use rayon::prelude::*;

/// Elements that one thread takes at a time: enough to be worth handing over, and fits its cache.
const CHUNK: usize = 1 << 15;

/// `f(a[i])`.
pub(crate) fn map<A, T, F>(a: &[A], f: F) -> Vec<T>
where
    A: Copy + Sync,
    T: Copy + Send,
    F: Fn(A) -> T + Copy + Sync + Send,
{
    let mut out = Vec::with_capacity(a.len());
    let fill = |(out, a): (&mut [MaybeUninit<T>], &[A])| {
        Arch::new().dispatch(|| {
            for (out, a) in out.iter_mut().zip(a) {
                out.write(f(*a));
            }
        })
    };
    let spare = &mut out.spare_capacity_mut()[..a.len()];
    if a.len() <= CHUNK {
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
    let fill = |((out, a), b): ((&mut [MaybeUninit<T>], &[A]), &[B])| {
        Arch::new().dispatch(|| {
            for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
                out.write(f(*a, *b));
            }
        })
    };
    let spare = &mut out.spare_capacity_mut()[..a.len()];
    if a.len() <= CHUNK {
        fill(((spare, a), b));
    } else {
        spare
            .par_chunks_mut(CHUNK)
            .zip(a.par_chunks(CHUNK))
            .zip(b.par_chunks(CHUNK))
            .for_each(fill);
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
    let fill = |a: &mut [T]| Arch::new().dispatch(|| a.iter_mut().for_each(|a| *a = f(*a)));
    if a.len() <= CHUNK { fill(a) } else { a.par_chunks_mut(CHUNK).for_each(fill) }
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
        Arch::new().dispatch(|| a.iter_mut().zip(b).for_each(|(a, b)| *a = f(*a, *b)))
    };
    if a.len() <= CHUNK {
        fill((a, b));
    } else {
        a.par_chunks_mut(CHUNK).zip(b.par_chunks(CHUNK)).for_each(fill);
    }
}
