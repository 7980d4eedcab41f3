//! Functions of CPython's C interface that `pyo3::ffi` does not have.
//!
//! On Windows each version of CPython has them in a library of its own name, which the linker is to be told.

use std::ffi::c_int;

use pyo3::ffi::PyObject;

#[cfg_attr(all(windows, not(Py_3_12)), link(name = "python311", kind = "raw-dylib"))]
#[cfg_attr(all(windows, Py_3_12, not(Py_3_13)), link(name = "python312", kind = "raw-dylib"))]
#[cfg_attr(all(windows, Py_3_13, not(Py_3_14)), link(name = "python313", kind = "raw-dylib"))]
#[cfg_attr(all(windows, Py_3_14), link(name = "python314", kind = "raw-dylib"))]
unsafe extern "C" {
    /// Whether the interpreter is going down (C API reference, "Initialization, Finalization, and Threads").
    #[cfg_attr(not(Py_3_13), link_name = "_Py_IsFinalizing")]
    fn Py_IsFinalizing() -> c_int;

    /// Cuts a bytes object that nobody else knows (C API reference, "Bytes Objects").
    pub(crate) fn _PyBytes_Resize(bytes: *mut *mut PyObject, size: isize) -> c_int;

    /// A method of an object (C API reference, "Instance Method Objects").
    pub(crate) fn PyMethod_New(function: *mut PyObject, object: *mut PyObject) -> *mut PyObject;

    /// What `object.__getattribute__` does, with another dictionary (CPython, Objects/object.c); `_thread._local` is
    /// made with it too.
    pub(crate) fn _PyObject_GenericGetAttrWithDict(
        object: *mut PyObject,
        name: *mut PyObject,
        dict: *mut PyObject,
        suppress: c_int,
    ) -> *mut PyObject;

    /// The same of `object.__setattr__`.
    pub(crate) fn _PyObject_GenericSetAttrWithDict(
        object: *mut PyObject,
        name: *mut PyObject,
        value: *mut PyObject,
        dict: *mut PyObject,
    ) -> c_int;

    /// Has Python call the handler of a signal as if it had come (C API reference, "Exception Handling").
    pub(crate) fn PyErr_SetInterruptEx(number: c_int) -> c_int;

    /// Sets the `OSError` of an error code of Windows's, and returns null (C API reference, "Exception Handling").
    #[cfg(windows)]
    pub(crate) fn PyErr_SetFromWindowsErr(number: c_int) -> *mut PyObject;

    /// The event that Ctrl-C sets (CPython, Modules/signalmodule.c): what `time.sleep` waits for.
    #[cfg(windows)]
    pub(crate) fn _PyOS_SigintEvent() -> *mut std::ffi::c_void;
}

/// Whether the interpreter is going down: modules are emptied, and greenlet is no more.
pub(crate) fn is_finalizing() -> bool {
    // SAFETY: it may be called at any time.
    unsafe { Py_IsFinalizing() != 0 }
}
