//! The engine's errors as Python's.

use std::io;

use pyo3::exceptions::{PyOSError, PyTimeoutError};
use pyo3::prelude::*;

/// The exception for an error of the system: `OSError` with its number, of the subclass that goes with it; the
/// standard library's `TimeoutError('timed out')` where the engine gave up.
pub(crate) fn from_io(error: io::Error) -> PyErr {
    match error.raw_os_error() {
        // Only the close of the handle cancels an operation whose own tasklet still waits.
        Some(overlapped_port::sys::CANCELLED) => numbered(overlapped_port::sys::CLOSED),
        Some(number) => numbered(number),
        None if error.kind() == io::ErrorKind::TimedOut => PyTimeoutError::new_err("timed out"),
        None => PyOSError::new_err(error.to_string()),
    }
}

/// The error of a thread that got no port: with its number, by which programs tell that descriptors have run out.
pub(crate) fn no_port(py: Python<'_>, error: &io::Error) -> PyErr {
    let what = format!("overlapped: no completion port: {error}");
    // The words about a likely cause have the system's error as their source.
    let source = error.get_ref().and_then(|words| words.source()?.downcast_ref::<io::Error>());
    let Some(number) = source.unwrap_or(error).raw_os_error() else { return PyOSError::new_err(what) };
    let numbered = numbered(number);
    match numbered.value(py).setattr("strerror", what) {
        Ok(()) => numbered,
        Err(error) => error,
    }
}

fn numbered(number: i32) -> PyErr {
    Python::attach(|py| super::system::error(py, number))
}
