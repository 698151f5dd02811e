//! How long the allocator keeps pages that are free.
//!
//! Its options are functions of C, which is why there is `unsafe` here.
#![allow(unsafe_code)]

use std::env;

use libmimalloc_sys::{mi_option_set, mi_option_t};

/// `mi_option_purge_delay`, in milliseconds.
const PURGE_DELAY: mi_option_t = 15;

/// Keeps free pages for a second instead of the hundredth part, and for ten seconds where a whole segment is free,
/// as is where large tensors lie: they come and go several times in a step, and each page that comes back costs a
/// page fault. Where the variable `MIMALLOC_PURGE_DELAY` is set, it stays as it says.
///
/// # Safety
///
/// There are no other threads yet: the option is a plain number, which every thread reads that allocates.
pub unsafe fn keep_free_pages() {
    if env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: nobody else reads the number, as the caller promises.
        unsafe { mi_option_set(PURGE_DELAY, 1000) }
    }
}
