//! An allocator that counts.
//!
//! A global allocator is an `unsafe` trait, which is why there is `unsafe` here; every block comes from the inner
//! allocator and is returned to it unchanged.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// Counts the bytes of the blocks of `A`.
#[derive(Debug)]
pub struct Counting<A> {
    inner: A,
    /// Above the level at the start; negative if older blocks were freed.
    level: AtomicI64,
    peak: AtomicI64,
}

impl<A> Counting<A> {
    /// Counts from zero.
    pub const fn new(inner: A) -> Self {
        Self { inner, level: AtomicI64::new(0), peak: AtomicI64::new(0) }
    }

    /// Takes the present level as zero.
    pub fn start_anew(&self) {
        self.level.store(0, Relaxed);
        self.peak.store(0, Relaxed);
    }

    /// The highest level since the start.
    pub fn peak(&self) -> u64 {
        self.peak.load(Relaxed).unsigned_abs()
    }

    fn add(&self, bytes: usize) {
        let bytes = bytes as i64;
        let level = self.level.fetch_add(bytes, Relaxed) + bytes;
        // Most allocations are below the peak: reading it is cheaper than writing.
        if level > self.peak.load(Relaxed) {
            self.peak.fetch_max(level, Relaxed);
        }
    }

    fn take(&self, bytes: usize) {
        self.level.fetch_sub(bytes as i64, Relaxed);
    }
}

// SAFETY: everything is delegated to the inner allocator, which keeps the contract; counting neither allocates nor
// panics.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        let block = unsafe { self.inner.alloc(layout) };
        if !block.is_null() {
            self.add(layout.size());
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        let block = unsafe { self.inner.alloc_zeroed(layout) };
        if !block.is_null() {
            self.add(layout.size());
        }
        block
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        let moved = unsafe { self.inner.realloc(block, layout, size) };
        if !moved.is_null() {
            self.take(layout.size());
            self.add(size);
        }
        moved
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { self.inner.dealloc(block, layout) };
        self.take(layout.size());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::System;

    #[test]
    fn the_peak_is_that_of_what_lives_at_once() {
        let heap = Counting::new(System);
        let block = |size| Layout::from_size_align(size, 8).unwrap();
        // SAFETY: blocks are used and freed with the layout with which they were allocated.
        unsafe {
            let (a, b) = (heap.alloc(block(100)), heap.alloc_zeroed(block(50)));
            heap.dealloc(a, block(100));
            let b = heap.realloc(b, block(50), 80);
            assert_eq!(heap.peak(), 150);
            heap.start_anew();
            heap.dealloc(b, block(80));
            let c = heap.alloc(block(70));
            assert_eq!(heap.peak(), 0, "70 more after 80 less is below the start");
            heap.dealloc(c, block(70));
        }
    }
}
