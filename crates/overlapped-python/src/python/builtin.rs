//! Functions of Python's that look like one of the interpreter's own: no method of a class that has one as an attribute, shown
//! and pickled by the name of what it stands for.

use std::ffi::CString;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

use super::class;

/// Makes `function` look like the built-in function `like`, and returns that.
#[pyfunction]
pub(crate) fn as_builtin<'py>(
    py: Python<'py>,
    function: Bound<'py, PyAny>,
    like: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let text = |name: &str| like.getattr(name).and_then(|text| text.extract::<String>());
    let (name, module) = (text("__name__")?, text("__module__")?);
    let signature = text("__text_signature__").unwrap_or_else(|_| "(...)".to_owned());
    let doc = CString::new(format!("{name}{signature}\n--\n\n{}", text("__doc__").unwrap_or_default()))?;
    // A built-in function whose own object is a module is pickled by its name, whatever module that is.
    let holder = PyModule::new(py, &module)?;
    holder.setattr("function", function)?;
    let definition = ffi::PyMethodDef {
        ml_name: CString::new(name)?.into_raw(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionWithKeywords: call },
        ml_flags: ffi::METH_VARARGS | ffi::METH_KEYWORDS,
        ml_doc: doc.into_raw(),
    };
    class::function(py, definition, Some(&holder), Some(module.into_pyobject(py)?.as_any()))
}

unsafe extern "C" fn call(holder: *mut PyObject, args: *mut PyObject, kwargs: *mut PyObject) -> *mut PyObject {
    // SAFETY: Python calls this with the object that the function was made with and with arguments as its call has them; an
    // error is passed on as it was set.
    unsafe {
        let function = ffi::PyObject_GetAttrString(holder, c"function".as_ptr());
        if function.is_null() {
            return function;
        }
        let result = ffi::PyObject_Call(function, args, kwargs);
        ffi::Py_DECREF(function);
        result
    }
}
