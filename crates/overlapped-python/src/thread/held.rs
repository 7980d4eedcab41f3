//! Who is told of a tasklet that holds its thread: a function of Python's, or standard error where nobody has asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use overlapped::engine::{Listener, Scheduler, Told};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::explain::stack_of_thread;
use super::runtime::thread_ident;

/// A limit in seconds that a function was given.
pub(super) fn seconds_of(function: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|error| PyValueError::new_err(format!("{function}({seconds}): {error}")))
}

/// What calls `tell`.
pub(super) fn teller(tell: Py<PyAny>) -> Listener {
    let ident = thread_ident();
    Box::new(move |told| {
        let (held, stack) = match told {
            Told::Holds { held, still, .. } => match stack_of_thread(ident, still) {
                Some(stack) => (held, Some(stack)),
                None => return,
            },
            Told::LetsGo(held) => (held, None),
        };
        // Where the interpreter is going down, there is nobody to tell.
        let _ = Python::try_attach(|py| {
            if let Err(error) = tell.call1(py, (held.as_secs_f64(), stack)) {
                error.write_unraisable(py, Some(tell.bind(py)));
            }
        });
    })
}

/// The limit that threads which are tasklets are watched with where nothing else was said, in nanoseconds; 0: they are not.
static UNASKED: AtomicU64 = AtomicU64::new(0);

/// Has the threads of a program that are tasklets watched from when the first begins, with this limit, in seconds: the warning
/// of `watch` is printed where others stand still. Not where the thread is watched already.
#[pyfunction]
pub(crate) fn watch_threads(limit: f64) -> PyResult<()> {
    let limit = seconds_of("watch_threads", limit)?;
    UNASKED.store(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    Ok(())
}

/// To be called where a thread begins that is a tasklet.
pub(super) fn begin_to_watch(scheduler: &Scheduler) {
    let limit = UNASKED.load(Ordering::Relaxed);
    if limit == 0 || scheduler.is_watched() {
        return;
    }
    let ident = thread_ident();
    let warn = move |told: Told<'_>| {
        let Told::Holds { others: 1.., warning, still, .. } = told else { return };
        if let Some(stack) = stack_of_thread(ident, still) {
            eprintln!(
                "{}. OVERLAPPED_WATCH=0 ends these warnings, python -m overlapped --doctor knows more\n{stack}",
                warning()
            );
        }
    };
    // Where there is no thread for it, nobody is watched.
    let _ = scheduler.watch_with(Duration::from_nanos(limit), Box::new(warn));
}
