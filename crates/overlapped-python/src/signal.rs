//! Signal handlers: what they raise is the main tasklet's, wherever Python happened to call them.

use pyo3::prelude::*;

use crate::thrown::throw_in_main;

/// A signal handler around another: Python calls handlers in whatever tasklet runs, while a program expects that they run
/// in its main thread and that what they raise (`KeyboardInterrupt` above all) ends what that one waits for.
#[pyclass(frozen, module = "overlapped._engine")]
pub(crate) struct MainHandler {
    /// The handler of the program's.
    #[pyo3(get)]
    handler: Py<PyAny>,
}

#[pymethods]
impl MainHandler {
    #[new]
    fn new(handler: Py<PyAny>) -> MainHandler {
        MainHandler { handler }
    }

    fn __call__(&self, py: Python<'_>, number: Py<PyAny>, frame: Py<PyAny>) -> PyResult<()> {
        match self.handler.call1(py, (number, frame)) {
            Ok(_) => Ok(()),
            Err(error) => throw_in_main(py, error),
        }
    }
}
