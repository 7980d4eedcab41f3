//! Unix: `errno`; a signal ends a wait in the kernel by itself.

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

/// Has `wake` called when a signal has come. A wait in the kernel ends by itself then.
pub(crate) fn on_signal(_wake: impl Fn() + Send + Sync + 'static) {}

/// The `OSError` of an error number.
pub(crate) fn error(py: Python<'_>, number: i32) -> PyErr {
    let text = py.import("os").and_then(|os| os.call_method1("strerror", (number,)));
    match text {
        Ok(text) => PyOSError::new_err((number, text.unbind())),
        Err(error) => error,
    }
}
