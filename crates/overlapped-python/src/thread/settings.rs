//! What a program may choose for the ports of its threads, before they are made.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use overlapped_port::Config;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use super::runtime::existing;
use super::stack;

/// 0 where nothing was chosen.
static THREADS: AtomicUsize = AtomicUsize::new(0);
/// 0 where nothing was chosen.
static THREAD_STACK: AtomicUsize = AtomicUsize::new(0);
/// In nanoseconds; 0 where nothing was chosen, and 1 where that was 0.
static CLEANUP: AtomicU64 = AtomicU64::new(0);
/// How long the end of a thread or of the program waits for tasklets to end, unless told.
const AT_THE_END: Duration = Duration::from_secs(1);
/// How long a tasklet that was told to leave cleans up, unless told: as in Rust, where nobody is waiting to go home.
const OF_TASKLET: Duration = Duration::from_secs(5);

/// How the port of a thread is made.
pub(super) fn config(py: Python<'_>) -> PyResult<Config> {
    let mut config = Config::new();
    let threads = THREADS.load(Ordering::Relaxed);
    if threads > 0 {
        config = config.threads(threads);
    }
    let stack = match THREAD_STACK.load(Ordering::Relaxed) {
        0 => stack::size(py)?,
        chosen => Some(chosen),
    };
    Ok(match stack {
        Some(bytes) => config.thread_stack(bytes),
        None => config,
    })
}

/// How long the end of a thread or of the program waits for tasklets to end.
pub(super) fn cleanup() -> Duration {
    chosen_cleanup().unwrap_or(AT_THE_END)
}

/// How long the waits of a tasklet's cleanup are left alone, from when it was told to leave.
pub(super) fn cleanup_of_tasklet() -> Duration {
    chosen_cleanup().unwrap_or(OF_TASKLET)
}

fn chosen_cleanup() -> Option<Duration> {
    match CLEANUP.load(Ordering::Relaxed) {
        0 => None,
        nanoseconds => Some(Duration::from_nanos(nanoseconds)),
    }
}

/// Chooses for the ports that are made from now on. What is `None` stays as it is.
#[pyfunction]
#[pyo3(signature = (*, threads=None, thread_stack=None, cleanup=None))]
pub(crate) fn configure(threads: Option<usize>, thread_stack: Option<usize>, cleanup: Option<f64>) -> PyResult<()> {
    if threads == Some(0) || thread_stack == Some(0) {
        return Err(PyValueError::new_err("configure(): threads and thread_stack are to be 1 or more"));
    }
    if (threads.is_some() || thread_stack.is_some()) && existing().is_some() {
        return Err(PyRuntimeError::new_err(
            "configure(): this thread has its completion port already; choose threads and thread_stack before the first wait",
        ));
    }
    if let Some(seconds) = cleanup {
        let duration = Duration::try_from_secs_f64(seconds);
        let duration =
            duration.map_err(|error| PyValueError::new_err(format!("configure(cleanup={seconds}): {error}")))?;
        CLEANUP.store(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    }
    if let Some(threads) = threads {
        THREADS.store(threads, Ordering::Relaxed);
    }
    if let Some(bytes) = thread_stack {
        THREAD_STACK.store(bytes, Ordering::Relaxed);
    }
    Ok(())
}
