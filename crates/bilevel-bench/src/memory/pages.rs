//! How long the allocator keeps pages that are free.
//!
//! Its options are functions of C, which is why there is `unsafe` here.
#![allow(unsafe_code)]

use libmimalloc_sys::{mi_option_set, mi_option_t};

/// `mi_option_purge_delay`, in milliseconds.
const PURGE_DELAY: mi_option_t = 15;

/// Keeps free pages for a second instead of the hundredth part: large tensors come and go several times in a
/// step, and each page that comes back costs a page fault. To be called before there are other threads.
pub fn keep_free_pages() {
    // SAFETY: sets a number; `main` calls it before it starts a thread, as the function asks for.
    unsafe { mi_option_set(PURGE_DELAY, 1000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_that_of_the_allocator_in_use() {
        // SAFETY: reads a number.
        let delay = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(delay(), 10, "its default: another option has taken this number");
        keep_free_pages();
        assert_eq!(delay(), 1000);
    }
}
