//! `queue.SimpleQueue`, whose original waits in C: it would block the thread.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use pyo3::{PyTraverseError, PyVisit};

use super::semaphore::acquire;

/// An unbounded first-in, first-out queue. As `queue.SimpleQueue`: `put` never waits, so that destructors and signal
/// handlers may call it.
#[pyclass(frozen, weakref, subclass, module = "overlapped")]
pub(crate) struct SimpleQueue {
    items: Mutex<VecDeque<Py<PyAny>>>,
    count: overlapped::Semaphore,
}

impl SimpleQueue {
    fn items(&self) -> MutexGuard<'_, VecDeque<Py<PyAny>>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl SimpleQueue {
    #[new]
    fn new() -> SimpleQueue {
        SimpleQueue { items: Mutex::default(), count: overlapped::Semaphore::new(0) }
    }

    /// Puts an item in. `block` and `timeout` are ignored.
    #[pyo3(signature = (item, block=true, timeout=None))]
    fn put(&self, item: Py<PyAny>, block: bool, timeout: Option<Py<PyAny>>) {
        let _ = (block, timeout);
        self.put_nowait(item);
    }

    /// Puts an item in.
    fn put_nowait(&self, item: Py<PyAny>) {
        self.items().push_back(item);
        self.count.release();
    }

    /// Takes an item out, waiting for one at most `timeout` seconds. Raises `queue.Empty` where none came.
    #[pyo3(signature = (block=true, timeout=None))]
    fn get(&self, py: Python<'_>, block: bool, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let timeout = timeout.filter(|_| block);
        if timeout.is_some_and(|seconds| seconds < 0.0) {
            return Err(PyValueError::new_err("'timeout' must be a non-negative number"));
        }
        let taken = acquire(&self.count, py, block, timeout, "queue")?;
        let item = if taken { self.items().pop_front() } else { None };
        item.ok_or_else(|| match empty(py) {
            Ok(empty) => PyErr::from_type(empty.clone(), ()),
            Err(error) => error,
        })
    }

    /// Takes an item out, or raises `queue.Empty`.
    fn get_nowait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.get(py, false, None)
    }

    /// Whether no item is in the queue.
    fn empty(&self) -> bool {
        self.items().is_empty()
    }

    /// How many items are in the queue.
    fn qsize(&self) -> usize {
        self.items().len()
    }

    #[classmethod]
    fn __class_getitem__(class: &Bound<'_, PyType>, item: Py<PyAny>) -> PyResult<Py<PyAny>> {
        let alias = class.py().import("types")?.getattr("GenericAlias")?;
        alias.call1((class, item)).map(Bound::unbind)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // The collector runs with the GIL held, and nobody keeps this lock while Python code may run.
        match self.items.try_lock() {
            Ok(items) => items.iter().try_for_each(|item| visit.call(item)),
            Err(_) => Ok(()),
        }
    }

    fn __clear__(&self) {
        let items = std::mem::take(&mut *self.items());
        drop(items);
    }
}

/// Has the exception for an empty queue at hand.
pub(super) fn prepare(py: Python<'_>) -> PyResult<()> {
    empty(py).map(drop)
}

fn empty(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static EMPTY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    EMPTY.import(py, "queue", "Empty")
}
