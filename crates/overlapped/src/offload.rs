//! Blocking functions on the port's threads.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use crate::scheduler;

/// Runs a function that blocks the thread on one of the port's pool of threads, and returns what it returns; only the
/// calling tasklet waits.
///
/// Where the tasklet is cancelled or its time is up, it does not wait for the function: one that no thread has begun
/// never runs, one that has begun goes on, and its result is dropped. At the end of [`run`](crate::run) such functions
/// are waited for, some seconds at most.
///
/// The pool has a few threads ([`overlapped_port::Config::threads`]); more functions than threads wait in line.
///
/// ```
/// overlapped::run(|| {
///     let sum = overlapped::offload(|| (1..=1000).sum::<u64>()).unwrap();
///     assert_eq!(sum, 500_500);
/// });
/// ```
///
/// # Errors
/// Outside of [`run`](crate::run); where no thread can be started; and in a foreign tasklet, the interrupt that ended
/// the wait.
///
/// # Panics
/// With the panic of `function`.
pub fn offload<T: Send + 'static>(function: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let place = Arc::new(Mutex::new(None));
    let theirs = Arc::clone(&place);
    let job = move || {
        let result = catch_unwind(AssertUnwindSafe(function));
        *theirs.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        Ok(0)
    };
    scheduler::current()?.call(job, None)?;
    let result = place.lock().unwrap_or_else(PoisonError::into_inner).take();
    match result.expect("a function that has ended has left its result") {
        Ok(value) => Ok(value),
        Err(payload) => resume_unwind(payload),
    }
}

/// As [`offload`], for a function with errors of its own.
pub(crate) fn offload_io<T: Send + 'static>(
    function: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    offload(function)?
}
