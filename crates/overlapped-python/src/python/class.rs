//! What classes of ours are given: native methods on subclasses of the standard library's types, parameters for annotations. And
//! functions of our own, where PyO3's take longer to call, or are not shown as they are to be.

use std::ffi::CStr;
use std::ptr;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyType;

/// Puts native methods on a subclass of one of the standard library's types: 10 ns a call less than any other way.
pub(crate) fn install(class: &Bound<'_, PyAny>, methods: Vec<ffi::PyMethodDef>) -> PyResult<()> {
    let py = class.py();
    for method in Vec::leak(methods) {
        // SAFETY: the definition is leaked, so it outlives the type; its name is a C string.
        let descriptor = unsafe {
            let descriptor = ffi::PyDescr_NewMethod(class.as_ptr().cast(), method);
            Bound::from_owned_ptr_or_err(py, descriptor)?
        };
        let name = descriptor.getattr("__name__")?;
        class.setattr(name.cast::<pyo3::types::PyString>()?, descriptor)?;
    }
    Ok(())
}

/// A function of Python's; it is given `holder` where its definition wants an object, and says that it is of `module`.
pub(crate) fn function<'py>(
    py: Python<'py>,
    definition: ffi::PyMethodDef,
    holder: Option<&Bound<'py, PyAny>>,
    module: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let definition = Box::leak(Box::new(definition));
    let [holder, module] = [holder, module].map(|object| object.map_or(ptr::null_mut(), |object| object.as_ptr()));
    // SAFETY: the definition lives for ever; the function takes references of its own to the two objects. The result is a new
    // reference or null with an error set.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyCFunction_NewEx(definition, holder, module)) }
}

/// All that a method was called with, the named arguments at the end.
///
/// # Safety
/// Python calls it, with `count` arguments and the values of `names`, which may be null: they live as long as the call.
pub(crate) unsafe fn all_given<'a>(
    args: *const *mut PyObject,
    count: isize,
    names: *mut PyObject,
) -> &'a [*mut PyObject] {
    // SAFETY: the caller's promise.
    unsafe {
        let named = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) };
        match (count + named) as usize {
            0 => &[],
            all => std::slice::from_raw_parts(args, all),
        }
    }
}

/// The definition of a method that takes positional arguments alone.
pub(crate) fn fast(name: &'static CStr, method: ffi::PyCFunctionFast, doc: &'static CStr) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFast: method },
        ml_flags: ffi::METH_FASTCALL,
        ml_doc: doc.as_ptr(),
    }
}

/// The same of one that takes names as well.
pub(crate) fn keywords(
    name: &'static CStr,
    method: ffi::PyCFunctionFastWithKeywords,
    doc: &'static CStr,
) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: method },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: doc.as_ptr(),
    }
}

/// Turns a result into what such a method returns. Apart, so that waiting stacks do not hold its locals.
#[inline(never)]
pub(crate) fn give(result: PyResult<*mut PyObject>) -> *mut PyObject {
    result.unwrap_or_else(|error| {
        // SAFETY: called from Python, so the GIL is held.
        error.restore(unsafe { Python::assume_attached() });
        ptr::null_mut()
    })
}

/// A new reference, as pyo3 has it.
pub(crate) fn owned(py: Python<'_>, object: Option<*mut PyObject>) -> Option<Py<PyAny>> {
    // SAFETY: `object` is a new reference that nobody else drops.
    object.map(|object| unsafe { Bound::from_owned_ptr(py, object).unbind() })
}

/// The type with a parameter, as annotations have it.
pub(crate) fn generic<'py>(class: &Bound<'py, PyType>, item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    class.py().import("types")?.getattr("GenericAlias")?.call1((class, item))
}

/// As Python writes it.
pub(crate) fn truth(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}
