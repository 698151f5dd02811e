//! How long the allocator keeps free pages.
//!
//! Its options are C functions, which is why there is `unsafe` here.
#![allow(unsafe_code)]

use std::env;

use libmimalloc_sys::{mi_option_set, mi_option_t};

/// `mi_option_purge_delay`, in milliseconds.
const PURGE_DELAY: mi_option_t = 15;

/// Keeps free pages for a second instead of a hundredth of one, and for ten seconds if a whole segment is free, as with
/// large tensors: they come and go several times per step, and each returned page costs a page fault. If the variable
/// `MIMALLOC_PURGE_DELAY` is set, it takes precedence.
///
/// # Safety
///
/// There must be no other threads yet: the option is a plain number, read by every thread that allocates.
pub unsafe fn keep_free_pages() {
    if env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: nobody else reads the number, as the caller promises.
        unsafe { mi_option_set(PURGE_DELAY, 1000) }
    }
}
