//! Memory that is soon needed, on its way into the cache.
//!
//! Of some hundred tasklets that are gone to in turn, each has its stack and what is known of it where the processor's nearer
//! caches have lost it meanwhile, and each switch then waits for memory. The loop knows who comes next: while one runs, the
//! memory of the next is fetched. It is a hint, which changes no value and faults on no address. Where only few are ready
//! everything is near anyhow, and nothing is done.
//!
//! Measured on an echo over 500 connections of 64 B: of the time a request 0.8 µs were spent outside of the kernel, 0.5 with
//! this. Tried, and without an effect: to fetch what the port knows of an operation before its completion is looked at.

/// The bytes of a line of the cache.
const LINE: usize = 64;

/// Has `BYTES` from `start` on fetched, wherever in a line that is.
#[inline]
pub(crate) fn fetch<const BYTES: usize>(start: usize) {
    for line in (0..(BYTES + LINE - 1).div_ceil(LINE)).map(|line| start.wrapping_add(line * LINE)) {
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code, reason = "it takes an address")]
        // SAFETY: a hint, allowed for any address (PREFETCHh, Intel's and AMD's manuals).
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::without_provenance(line));
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }
}
