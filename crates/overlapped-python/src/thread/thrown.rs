//! Exceptions on their way to the tasklets that are to raise them.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use overlapped::engine::{Cause, Scheduler, TaskletId};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The last number that was given, and the exceptions by their numbers.
type Thrown = (u64, HashMap<u64, Py<PyAny>>);

static THROWN: LazyLock<Mutex<Thrown>> = LazyLock::new(Mutex::default);

/// Keeps an exception until the tasklet that is to raise it does; returns its number.
pub(crate) fn keep_thrown(exception: Py<PyAny>) -> u64 {
    let mut thrown = THROWN.lock().unwrap_or_else(PoisonError::into_inner);
    thrown.0 += 1;
    let number = thrown.0;
    thrown.1.insert(number, exception);
    number
}

/// Takes a kept exception.
pub(crate) fn take_thrown(number: u64) -> Option<Py<PyAny>> {
    THROWN.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&number)
}

/// Raises `exception` in a tasklet.
pub(crate) fn throw(scheduler: &Scheduler, id: TaskletId, exception: Py<PyAny>) {
    scheduler.interrupt(id, Cause::Thrown(keep_thrown(exception)));
}

/// The error to return for an interrupt of the current tasklet.
pub(crate) fn raise(py: Python<'_>, scheduler: &Scheduler) -> PyErr {
    match scheduler.take_interrupt() {
        Some(Cause::Thrown(number)) => match take_thrown(number) {
            Some(exception) => PyErr::from_value(exception.into_bound(py)),
            None => PyRuntimeError::new_err("an interrupt was withdrawn while it was raised"),
        },
        _ => PyRuntimeError::new_err("the tasklet was interrupted"),
    }
}

/// `overlapped.TaskletExit`.
pub(crate) fn exit_type(py: Python<'_>) -> &Bound<'_, PyAny> {
    static TYPE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    TYPE.get_or_init(py, || {
        let exit = PyErr::new_type(
            py,
            c"overlapped.TaskletExit",
            Some(c"Ends a tasklet silently: raised in it by Tasklet.cancel()."),
            Some(&py.get_type::<pyo3::exceptions::PyBaseException>()),
            None,
        );
        exit.expect("an exception type can be made").into_any()
    })
    .bind(py)
}
