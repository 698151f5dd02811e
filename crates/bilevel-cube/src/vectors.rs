//! Operations on vectors that consist of several tensors: one kernel for all of them.
//!
//! The tensors are in f32 and on one device, and all of a vector have fewer than 2^32 entries together.

use std::sync::Arc;

use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::{empty_device_contiguous_dtype, zeros_client};
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use crate::{RESERVED, sequence};

/// Tensors of one kernel, at most: each of its units looks for its own.
const MOST: usize = 32;

/// Units of a cube that adds.
const UNITS: usize = 256;

/// Entries of a partial sum, at least.
const SHARE: usize = 16 * UNITS;

/// The most partial sums of a long vector: they are added on the host.
const SUMS: usize = 1024;

/// `a + c b` for tensors in f32 on one device, each of `a` with that of `b` at its place: one dispatch for as many as the
/// device binds to a kernel, at most 32.
///
/// # Panics
/// If two tensors of one place have different numbers of entries, or one has no other.
pub fn axpy(a: Vec<CubeTensor>, c: f32, b: Vec<CubeTensor>) -> Vec<CubeTensor> {
    assert_eq!(a.len(), b.len(), "as many tensors on both sides");
    in_parts(a, c, b)
}

/// `c b` for tensors in f32 on one device, as [`axpy`].
pub fn scale(c: f32, b: Vec<CubeTensor>) -> Vec<CubeTensor> {
    in_parts(Vec::new(), c, b)
}

/// `a + c b`, or `c b` without any `a`.
fn in_parts(mut a: Vec<CubeTensor>, c: f32, mut b: Vec<CubeTensor>) -> Vec<CubeTensor> {
    let bindings = if a.is_empty() { 2 } else { 3 };
    let mut results = Vec::with_capacity(b.len());
    while let Some(first) = b.first() {
        let together = together(first, 0, bindings);
        results.extend(one_kernel(next(&mut a, together), c, next(&mut b, together)));
    }
    results
}

/// How many tensors a kernel takes that binds `own` buffers, and so many for each of them.
fn together(tensor: &CubeTensor, own: usize, each: usize) -> usize {
    let most = tensor.client.properties().hardware.max_bindings as usize;
    (most.saturating_sub(RESERVED + own) / each).clamp(1, MOST)
}

/// Takes the next tensors, in the order of their entries.
fn next(all: &mut Vec<CubeTensor>, count: usize) -> Vec<CubeTensor> {
    all.drain(..count.min(all.len())).map(into_contiguous).collect()
}

/// A number on the device that is 0 if all entries of tensors in f32 are finite, and otherwise 1; none without tensors.
pub fn not_finite(mut tensors: Vec<CubeTensor>) -> Option<CubeTensor> {
    let first = tensors.first()?;
    let (client, device) = (first.client.clone(), first.device.clone());
    let flag = zeros_client(client.clone(), device, [1].into(), first.dtype);
    while let Some(first) = tensors.first() {
        let together = together(first, 1, 1);
        let tensors = next(&mut tensors, together);
        let lengths: Vec<_> = tensors.iter().map(|each| each.meta.num_elements()).collect();
        let len = lengths.iter().sum();
        let dimension = CubeDim::new(&client, len);
        find_not_finite::launch(
            &client,
            calculate_cube_count_elemwise(&client, len, dimension),
            dimension,
            sequence!(tensors),
            flag.clone().into_buffer_arg(),
            Arc::new(lengths),
        );
    }
    Some(flag)
}

/// Numbers whose sum is the inner product, the sum of all `a_i b_i`, of tensors in f32 on one device with as many entries at
/// each place: one for each tensor, and up to 1024 more. None without tensors, or if the device has no cubes of 256 units.
///
/// # Panics
/// If two tensors of one place have different numbers of entries, or one has no other.
pub fn products(mut a: Vec<CubeTensor>, mut b: Vec<CubeTensor>) -> Option<CubeTensor> {
    assert_eq!(a.len(), b.len(), "as many tensors on both sides");
    let same = a.iter().zip(&b).all(|(a, b)| a.meta.num_elements() == b.meta.num_elements());
    assert!(same, "two tensors of one place have as many entries");
    let first = a.first()?;
    let (client, device, dtype) = (first.client.clone(), first.device.clone(), first.dtype);
    let hardware = &client.properties().hardware;
    if hardware.max_units_per_cube.min(hardware.max_cube_dim.0) < UNITS as u32 {
        return None;
    }
    let entries: usize = a.iter().map(|each| each.meta.num_elements()).sum();
    let share = entries.div_ceil(SUMS).max(SHARE);
    let sums = a.iter().map(|each| each.meta.num_elements().div_ceil(share)).sum::<usize>();
    let out = empty_device_contiguous_dtype(client.clone(), device, [sums].into(), dtype);
    let mut begin = 0;
    while let Some(first) = a.first() {
        let together = together(first, 1, 2);
        let (a, b) = (next(&mut a, together), next(&mut b, together));
        let lengths: Vec<_> = a.iter().map(|each| each.meta.num_elements()).collect();
        let cubes: usize = lengths.iter().map(|len| len.div_ceil(share)).sum();
        let dimension = CubeDim::new_1d(UNITS as u32);
        sums_of_products::launch(
            &client,
            calculate_cube_count_elemwise(&client, cubes * UNITS, dimension),
            dimension,
            sequence!(a),
            sequence!(b),
            out.clone().into_buffer_arg(),
            begin,
            share,
            Arc::new(lengths),
        );
        begin += cubes;
    }
    Some(out)
}

fn one_kernel(a: Vec<CubeTensor>, c: f32, b: Vec<CubeTensor>) -> Vec<CubeTensor> {
    let entries = |tensor: &CubeTensor| tensor.meta.num_elements();
    let same = a.iter().zip(&b).all(|(a, b)| entries(a) == entries(b));
    assert!(same, "two tensors of one place have as many entries");
    let client = b[0].client.clone();
    let empty = |like: &CubeTensor| {
        let (device, shape) = (like.device.clone(), like.meta.shape().clone());
        empty_device_contiguous_dtype(client.clone(), device, shape, like.dtype)
    };
    let results: Vec<_> = b.iter().map(empty).collect();
    let lengths: Vec<_> = b.iter().map(entries).collect();
    let len = lengths.iter().sum();
    let dimension = CubeDim::new(&client, len);
    let (has_a, out) = (!a.is_empty(), results.clone());
    combine::launch(
        &client,
        calculate_cube_count_elemwise(&client, len, dimension),
        dimension,
        sequence!(a),
        c,
        sequence!(b),
        sequence!(out),
        has_a,
        Arc::new(lengths),
    );
    results
}

/// The entries of all results, one after the other.
#[cube(launch)]
fn combine(
    a: &Sequence<Box<[f32]>>,
    c: f32,
    b: &Sequence<Box<[f32]>>,
    out: &mut Sequence<Box<[f32]>>,
    #[comptime] has_a: bool,
    #[comptime] lengths: Arc<Vec<usize>>,
) {
    let position = ABSOLUTE_POS;
    #[unroll]
    for at in 0..lengths.len() {
        let start = comptime!(lengths[..at].iter().sum::<usize>());
        let end = comptime!(start + lengths[at]);
        if position >= start && position < end {
            let entry = position - start;
            let multiple = c * b.index(at)[entry];
            if comptime!(has_a) {
                out.index_mut(at)[entry] = a.index(at)[entry] + multiple;
            } else {
                out.index_mut(at)[entry] = multiple;
            }
        }
    }
}

/// Sets the flag if an entry is NaN or infinite: its exponent has all bits, whatever a compiler assumes of numbers.
#[cube(launch)]
fn find_not_finite(
    tensors: &Sequence<Box<[f32]>>,
    flag: &mut [f32],
    #[comptime] lengths: Arc<Vec<usize>>,
) {
    let position = ABSOLUTE_POS;
    #[unroll]
    for at in 0..lengths.len() {
        let start = comptime!(lengths[..at].iter().sum::<usize>());
        let end = comptime!(start + lengths[at]);
        if position >= start && position < end {
            let bits = u32::reinterpret(tensors.index(at)[position - start]);
            if bits & 0x7f80_0000 == 0x7f80_0000 {
                // Whoever writes it writes the same.
                flag[0] = 1.0;
            }
        }
    }
}

/// One sum for each cube, of a share of the entries of one tensor.
#[cube(launch)]
fn sums_of_products(
    a: &Sequence<Box<[f32]>>,
    b: &Sequence<Box<[f32]>>,
    out: &mut [f32],
    #[comptime] begin: usize,
    #[comptime] share: usize,
    #[comptime] lengths: Arc<Vec<usize>>,
) {
    let unit = UNIT_POS as usize;
    let cube = CUBE_POS;
    let mut sum = 0.0f32;
    #[unroll]
    for at in 0..lengths.len() {
        let first = comptime!(lengths[..at].iter().map(|len| len.div_ceil(share)).sum::<usize>());
        let after = comptime!(first + lengths[at].div_ceil(share));
        if cube >= first && cube < after {
            let start = (cube - first) * share;
            let end = (start + share).min(lengths[at]);
            let mut entry = start + unit;
            while entry < end {
                sum += a.index(at)[entry] * b.index(at)[entry];
                entry += UNITS;
            }
        }
    }
    let mut shared = Shared::<[f32]>::new_slice(UNITS);
    shared[unit] = sum;
    sync_cube();
    #[unroll]
    for level in 1..=UNITS.ilog2() {
        let half = comptime!(UNITS >> level);
        if unit < half {
            let other = shared[unit + half];
            shared[unit] += other;
        }
        sync_cube();
    }
    let cubes = comptime!(lengths.iter().map(|len| len.div_ceil(share)).sum::<usize>());
    if unit == 0 && cube < cubes {
        out[begin + cube] = shared[0];
    }
}
