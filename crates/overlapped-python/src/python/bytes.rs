//! Bytes objects whose memory the system fills.

use std::mem::MaybeUninit;

use pyo3::exceptions::PyOverflowError;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

use super::capi::_PyBytes_Resize;

/// A bytes object that nobody knows yet, while it is filled. Its memory is asked of Python, so that a size that is not to
/// be had is a `MemoryError` and not the end of the process, as of a `Vec`'s; and it is not touched before it is filled: of
/// 2 GB asked for, a file of six bytes costs six.
pub(crate) struct NewBytes {
    object: *mut PyObject,
    length: usize,
}

impl NewBytes {
    /// # Errors
    /// `MemoryError`, and `OverflowError` for what no object can have.
    pub(crate) fn new(py: Python<'_>, length: usize) -> PyResult<NewBytes> {
        let asked = isize::try_from(length).map_err(|_| PyOverflowError::new_err("byte string is too large"))?;
        // SAFETY: the GIL is held; the call returns a new reference, or null with an error set.
        let object = unsafe { ffi::PyBytes_FromStringAndSize(std::ptr::null(), asked) };
        if object.is_null() { Err(PyErr::fetch(py)) } else { Ok(NewBytes { object, length }) }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn memory(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: the object has that many bytes, and only this value knows it.
        unsafe { std::slice::from_raw_parts_mut(ffi::PyBytes_AsString(self.object).cast(), self.length) }
    }

    /// The same, where no system call is to be told that nobody has written there yet.
    pub(crate) fn plain(&mut self) -> &mut [u8] {
        let memory = self.memory();
        // SAFETY: whatever bytes are there are bytes, and who gets them does not read them before they are filled.
        unsafe { std::slice::from_raw_parts_mut(memory.as_mut_ptr().cast(), memory.len()) }
    }

    /// Fills it with zeroes: of what may be returned without having been filled.
    pub(crate) fn clear(&mut self) {
        self.memory().fill(MaybeUninit::new(0));
    }

    /// Makes it longer or shorter; what is beyond its length so far is to be filled.
    ///
    /// # Errors
    /// As for `new`; the object is gone then.
    pub(crate) fn resize(&mut self, py: Python<'_>, length: usize) -> PyResult<()> {
        if length == self.length {
            return Ok(());
        }
        let asked = isize::try_from(length).map_err(|_| PyOverflowError::new_err("byte string is too large"))?;
        self.length = 0;
        // SAFETY: nobody else has a reference. Where it fails, it drops the object and puts null in its place.
        if unsafe { _PyBytes_Resize(&raw mut self.object, asked) } != 0 {
            return Err(PyErr::fetch(py));
        }
        self.length = length;
        Ok(())
    }

    /// The object, cut to its first `length` bytes, which have been filled. Where it is to be longer than it was, as after a
    /// receive that tells the true length of what it has cut, zeroes follow.
    pub(crate) fn finish(mut self, py: Python<'_>, length: usize) -> PyResult<*mut PyObject> {
        let filled = self.length.min(length);
        self.resize(py, length)?;
        self.memory()[filled..].fill(MaybeUninit::new(0));
        Ok(std::mem::replace(&mut self.object, std::ptr::null_mut()))
    }
}

impl Drop for NewBytes {
    fn drop(&mut self) {
        // SAFETY: the GIL is held wherever one is made; null is nothing.
        unsafe { ffi::Py_XDECREF(self.object) };
    }
}
