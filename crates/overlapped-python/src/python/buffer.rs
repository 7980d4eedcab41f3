//! Buffers of Python's objects, lent to the engine (PEP 3118).

use std::ffi::c_int;

use pyo3::ffi::{self, PyObject};

/// A buffer of Python's, released when dropped. It lives on the heap or in objects that the caller holds: only its
/// description is here, and nobody but this frame looks at that.
pub(crate) struct View(ffi::Py_buffer);

impl View {
    /// # Safety
    /// `object` must be a live object; the GIL must be held here and at the drop.
    ///
    /// # Errors
    /// Returns `None` with a Python error set.
    pub(crate) unsafe fn new(object: *mut PyObject, flags: c_int) -> Option<View> {
        let mut view = ffi::Py_buffer::new();
        // SAFETY: the caller's promise.
        if unsafe { ffi::PyObject_GetBuffer(object, &raw mut view, flags) } != 0 {
            return None;
        }
        Some(View(view))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len as usize
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        if self.0.len == 0 {
            return &[];
        }
        // SAFETY: an exported, contiguous buffer stays where it is until it is released.
        unsafe { std::slice::from_raw_parts(self.0.buf.cast(), self.len()) }
    }

    /// The memory to be filled; for views taken with `PyBUF_WRITABLE`.
    pub(crate) fn memory(&mut self) -> &mut [std::mem::MaybeUninit<u8>] {
        if self.0.len == 0 {
            return &mut [];
        }
        // SAFETY: as above, and it is writable. Python code may look at it meanwhile, as it may under any `recv_into`.
        unsafe { std::slice::from_raw_parts_mut(self.0.buf.cast(), self.len()) }
    }

    /// The same, for what wants to know that there are bytes already: buffers of Python's are never without.
    pub(crate) fn initialized(&mut self) -> &mut [u8] {
        let memory = self.memory();
        // SAFETY: whatever bytes are there are bytes.
        unsafe { std::slice::from_raw_parts_mut(memory.as_mut_ptr().cast(), memory.len()) }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: taken in `new`, released once, with the GIL.
        unsafe { ffi::PyBuffer_Release(&raw mut self.0) };
    }
}
