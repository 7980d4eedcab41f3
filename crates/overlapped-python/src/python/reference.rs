//! A field of a class that holds an object of Python's, for what is read too often for a lock.

use std::cell::UnsafeCell;

use pyo3::PyTraverseError;
use pyo3::PyVisit;
use pyo3::prelude::*;

/// An object, or none. It is read and replaced with the GIL held, which `py` shows.
#[derive(Default)]
pub(crate) struct Reference(UnsafeCell<Option<Py<PyAny>>>);

// SAFETY: whoever comes to it holds the GIL, and nothing of Python's runs between the first look at it and the last.
unsafe impl Sync for Reference {}

impl Reference {
    #[inline]
    pub(crate) fn get<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        // SAFETY: the GIL is held, and counting a reference runs no code.
        unsafe { &*self.0.get() }.as_ref().map(|object| object.bind(py).clone())
    }

    pub(crate) fn set(&self, object: Option<Bound<'_, PyAny>>) {
        let object = object.map(Bound::unbind);
        // SAFETY: the GIL is held, by who has the object or is being cleared; what was here is dropped when this is in order.
        let before = unsafe { std::mem::replace(&mut *self.0.get(), object) };
        drop(before);
    }

    /// For the collector of a class that has it.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector runs with the GIL held.
        visit.call(unsafe { &*self.0.get() })
    }
}
