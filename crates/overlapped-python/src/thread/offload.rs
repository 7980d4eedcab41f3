//! Functions that block, on a thread of the port's pool.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::life::runtime;
use super::runtime::to_error;
use crate::python::unfinished::{attach, call_once, give_up};

/// What a function on a thread has returned. Where nobody waits for it any more, it is destroyed there and then.
struct Returned(Option<PyResult<Py<PyAny>>>);

impl Drop for Returned {
    fn drop(&mut self) {
        if let Some(result) = self.0.take() {
            attach(|py| match result {
                Ok(object) => give_up(py, object),
                Err(error) => give_up(py, error.into_value(py).into_any()),
            });
        }
    }
}

/// Runs `function(*args)` on a thread of the port's pool; only the calling tasklet waits.
#[pyfunction]
#[pyo3(signature = (function, *args))]
pub(crate) fn offload(py: Python<'_>, function: Py<PyAny>, args: Py<PyTuple>) -> PyResult<Py<PyAny>> {
    let runtime = runtime(py)?;
    let called = overlapped::offload(move || attach(|py| Returned(Some(call_once(py, function, args)))));
    match called {
        Ok(mut returned) => returned.0.take().expect("it is taken once"),
        Err(error) => Err(to_error(py, &runtime, error)),
    }
}
