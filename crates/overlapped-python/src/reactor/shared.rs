//! Calls that other threads have asked for: since Python 3.14, who cancels one while it is made waits for its end.
//!
//! asyncio makes a lock with each such handle, and holds it during the call. Here the loop knows which call it makes, and only who
//! has to wait for that makes a lock.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi::PyObject;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;
use pyo3::{PyTraverseError, PyVisit};

use crate::python::reference::Reference;

/// The one that a loop makes, if it does. All is done with the GIL held.
#[derive(Default)]
pub(super) struct SharedCall {
    /// Its handle, which the loop has, and which is only compared.
    handle: AtomicPtr<PyObject>,
    /// The locks of those who wait for its end.
    locks: Reference,
}

impl SharedCall {
    /// Makes the call of a handle.
    pub(super) fn make(&self, handle: &Bound<'_, PyAny>, call: impl FnOnce() -> PyResult<()>) -> PyResult<()> {
        self.handle.store(handle.as_ptr(), Ordering::Relaxed);
        let made = call();
        self.handle.store(ptr::null_mut(), Ordering::Relaxed);
        let py = handle.py();
        if let Some(locks) = self.locks.get(py) {
            self.locks.set(None);
            for lock in locks.try_iter()? {
                lock?.call_method0(intern!(py, "release"))?;
            }
        }
        made
    }

    /// Whether the call of a handle is being made; then the lock is released when it has ended.
    pub(super) fn release_at_end(&self, handle: &Bound<'_, PyAny>, lock: Bound<'_, PyAny>) -> bool {
        let is_made = self.handle.load(Ordering::Relaxed) == handle.as_ptr();
        if is_made {
            let py = handle.py();
            let locks = self.locks.get(py).and_then(|locks| locks.cast_into::<PyList>().ok());
            let locks = locks.unwrap_or_else(|| PyList::empty(py));
            let _ = locks.append(lock);
            self.locks.set(Some(locks.into_any()));
        }
        is_made
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.locks.traverse(visit)
    }

    pub(super) fn clear(&self) {
        self.locks.set(None);
    }
}
