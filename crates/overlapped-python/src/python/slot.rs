//! Slots of classes that are written in Python (`__slots__`), read and written without a look-up of their names.

use pyo3::exceptions::PyImportError;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

/// Where a slot lies in an instance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot(isize);

impl Slot {
    /// # Errors
    /// `ImportError` where the class has no slot of that name.
    pub(crate) fn of(class: &Bound<'_, PyAny>, name: &str) -> PyResult<Slot> {
        let descriptor = class.getattr(name)?;
        // SAFETY: the type is compared before anything is read.
        unsafe {
            if ffi::Py_TYPE(descriptor.as_ptr()) != &raw mut ffi::PyMemberDescr_Type {
                return Err(unknown(name));
            }
            let descriptor: *const ffi::PyMemberDescrObject = descriptor.as_ptr().cast();
            Ok(Slot((*(*descriptor).d_member).offset))
        }
    }

    /// The place itself.
    ///
    /// # Safety
    /// `instance` is an instance of the class whose slot it is, or of a subclass.
    #[inline]
    pub(crate) unsafe fn place(self, instance: *mut PyObject) -> *mut *mut PyObject {
        // SAFETY: the caller's promise.
        unsafe { instance.byte_offset(self.0).cast() }
    }

    /// What is in it, borrowed; null where nothing is.
    ///
    /// # Safety
    /// As for `place`, with the GIL held.
    #[inline]
    pub(crate) unsafe fn get(self, instance: *mut PyObject) -> *mut PyObject {
        // SAFETY: the caller's promise.
        unsafe { *self.place(instance) }
    }

    /// The same, as a reference of the caller's own.
    ///
    /// # Safety
    /// As for `get`.
    #[inline]
    pub(crate) unsafe fn taken<'py>(self, py: Python<'py>, instance: *mut PyObject) -> Option<Bound<'py, PyAny>> {
        // SAFETY: the caller's promise.
        unsafe { Bound::from_borrowed_ptr_or_opt(py, self.get(instance)) }
    }

    /// Puts an object there, whose reference is given up; what was there is dropped, which may run any code.
    ///
    /// # Safety
    /// As for `get`.
    #[inline]
    pub(crate) unsafe fn put(self, instance: *mut PyObject, object: *mut PyObject) {
        // SAFETY: the caller's promise.
        unsafe { ffi::Py_XDECREF(self.place(instance).replace(object)) };
    }
}

/// The error of a class that is not as it is taken for.
pub(crate) fn unknown(what: &str) -> PyErr {
    let version = Python::version_str();
    PyImportError::new_err(format!(
        "overlapped does not know the insides of asyncio in this Python ({version}): {what}"
    ))
}
