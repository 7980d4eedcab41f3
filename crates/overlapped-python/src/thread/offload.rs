//! Functions that block, on a thread of the port's pool.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::life::runtime;
use super::runtime::to_error;

/// What a function on a thread has returned. Where nobody waits for it any more, it is destroyed there and then.
struct Returned(Option<PyResult<Py<PyAny>>>);

impl Drop for Returned {
    fn drop(&mut self) {
        if let Some(result) = self.0.take() {
            Python::attach(|_| drop(result));
        }
    }
}

/// Runs `function(*args)` on a thread of the port's pool; only the calling tasklet waits.
#[pyfunction]
#[pyo3(signature = (function, *args))]
pub(crate) fn offload(py: Python<'_>, function: Py<PyAny>, args: Py<PyTuple>) -> PyResult<Py<PyAny>> {
    let runtime = runtime(py)?;
    let called = overlapped::offload(move || {
        Python::attach(|py| {
            let result = function.call1(py, args);
            drop(function);
            Returned(Some(result))
        })
    });
    match called {
        Ok(mut returned) => returned.0.take().expect("it is taken once"),
        Err(error) => Err(to_error(py, &runtime, error)),
    }
}
