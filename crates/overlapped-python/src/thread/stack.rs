//! The stack of the threads on which Python functions run.
//!
//! A recursion in C that is fine in a thread of Python's own overflows the two megabytes of a thread of Rust's: SIGSEGV in place of
//! `RecursionError`.

use pyo3::prelude::*;

/// How much stack an offloaded function has, in bytes: as much as a thread of Python's own, for it may be the same code. `None`:
/// not known.
pub(super) fn size(py: Python<'_>) -> PyResult<Option<usize>> {
    let asked: usize = py.import("_thread")?.call_method0("stack_size")?.extract()?;
    Ok(if asked > 0 { Some(asked) } else { usual_size() })
}

/// That of a thread for which none was asked for: on Linux it follows `ulimit -s` (pthread_create(3)).
#[cfg(all(unix, not(target_vendor = "apple")))]
fn usual_size() -> Option<usize> {
    let mut size = 0;
    // SAFETY: `attributes` is made by the first call, read by the second and ended by the third.
    let known = unsafe {
        let mut attributes = std::mem::zeroed();
        if libc::pthread_attr_init(&raw mut attributes) != 0 {
            return None;
        }
        let known = libc::pthread_attr_getstacksize(&raw const attributes, &raw mut size) == 0;
        libc::pthread_attr_destroy(&raw mut attributes);
        known
    };
    known.then_some(size)
}

/// 16 MiB, as Python has it there (`THREAD_STACK_SIZE`, Python/thread_pthread.h).
#[cfg(target_vendor = "apple")]
fn usual_size() -> Option<usize> {
    Some(16 << 20)
}

#[cfg(windows)]
fn usual_size() -> Option<usize> {
    None
}
