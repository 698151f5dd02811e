//! The files of bilevel-flex that have `unsafe` code, against plain loops.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use flex_kernels::{CHUNK, elements, product};
use libfuzzer_sys::arbitrary;

#[derive(Arbitrary, Debug)]
enum Case {
    /// Length, run.
    Elements(u32, u16),
    /// Rows, columns, terms, gap, whether transposed, added and on all threads.
    Product(u8, u8, u16, u8, [bool; 3]),
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    match Unstructured::new(bytes).arbitrary() {
        Ok(Case::Elements(length, run)) => {
            elements(length as usize % (5 * CHUNK), 1 + usize::from(run));
        }
        Ok(Case::Product(m, n, k, gap, flags)) => {
            let [m, n, k, gap] = [m.into(), n.into(), usize::from(k) % 1200, usize::from(gap) % 9];
            product([m, n, k, gap], flags);
        }
        Err(_) => {}
    }
});
