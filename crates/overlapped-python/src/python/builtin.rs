//! Functions of Python's that PyO3 does not make: some that look like one of the interpreter's own, which are no method of a
//! class that has one as an attribute, shown and pickled by the name of what they stand for; and one that is called as the
//! interpreter calls fastest, with arguments that are no tuple yet.

use std::ffi::{CStr, CString};

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// A call as the interpreter makes it: some arguments in an array, those with a name last, and the names.
pub(crate) struct Call<'a, 'py> {
    positional: &'a [*mut PyObject],
    named: &'a [*mut PyObject],
    names: Option<Bound<'py, PyTuple>>,
    py: Python<'py>,
}

impl<'py> Call<'_, 'py> {
    /// The first positional argument.
    pub(crate) fn first(&self) -> Option<Bound<'py, PyAny>> {
        // SAFETY: an argument of a call is a live object.
        self.positional.first().map(|first| unsafe { Bound::from_borrowed_ptr(self.py, *first) })
    }

    /// The positional arguments after the first, and those with a name, where there are any.
    pub(crate) fn rest(&self) -> PyResult<(Bound<'py, PyTuple>, Option<Bound<'py, PyDict>>)> {
        let rest = self.positional.get(1..).unwrap_or_default();
        // SAFETY: the tuple has as many places, each is given a reference of its own to a live object, and nobody sees it
        // before that.
        let args = unsafe {
            let args = ffi::PyTuple_New(rest.len() as ffi::Py_ssize_t);
            let args = Bound::from_owned_ptr_or_err(self.py, args)?.cast_into_unchecked::<PyTuple>();
            for (place, argument) in (0..).zip(rest) {
                ffi::Py_INCREF(*argument);
                ffi::PyTuple_SET_ITEM(args.as_ptr(), place, *argument);
            }
            args
        };
        let Some(names) = self.names.as_ref().filter(|_| !self.named.is_empty()) else { return Ok((args, None)) };
        let kwargs = PyDict::new(self.py);
        for (name, value) in names.iter().zip(self.named) {
            // SAFETY: as above.
            kwargs.set_item(name, unsafe { Bound::from_borrowed_ptr(self.py, *value) })?;
        }
        Ok((args, Some(kwargs)))
    }
}

/// What a function does that is called so.
pub(crate) trait Called {
    /// Its name, and after that what [`ffi::PyMethodDef`] has in `ml_doc`.
    const NAME: &'static CStr;
    const DOC: &'static CStr;

    fn call<'py>(call: &Call<'_, 'py>) -> PyResult<Bound<'py, PyAny>>;
}

/// Adds such a function to a module.
pub(crate) fn add_called<F: Called>(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let definition = Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: F::NAME.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: enter::<F> },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: F::DOC.as_ptr(),
    }));
    let name = module.name()?;
    // SAFETY: the definition lives for ever; the function takes a reference of its own to the name.
    let made = unsafe {
        let made = ffi::PyCFunction_NewEx(definition, std::ptr::null_mut(), name.as_ptr());
        Bound::from_owned_ptr_or_err(module.py(), made)?
    };
    module.add(F::NAME.to_string_lossy().as_ref(), made)
}

/// A panic in here ends the process, as in any function that C calls.
unsafe extern "C" fn enter<F: Called>(
    _: *mut PyObject,
    args: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: Python calls this with the GIL held, with `count` arguments in an array, after which come as many as there are
    // names in the tuple, where there is one. All live for the call.
    let call = unsafe {
        let py = Python::assume_attached();
        let names = Bound::from_borrowed_ptr_or_opt(py, names).map(|names| names.cast_into_unchecked::<PyTuple>());
        let (count, named) = (count as usize, names.as_ref().map_or(0, |names| names.len()));
        let all: &[*mut PyObject] = if args.is_null() { &[] } else { std::slice::from_raw_parts(args, count + named) };
        let (positional, named) = all.split_at(count);
        Call { positional, named, names, py }
    };
    match F::call(&call) {
        Ok(result) => result.into_ptr(),
        Err(error) => {
            error.restore(call.py);
            std::ptr::null_mut()
        }
    }
}

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
    let definition = Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: CString::new(name)?.into_raw(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionWithKeywords: call },
        ml_flags: ffi::METH_VARARGS | ffi::METH_KEYWORDS,
        ml_doc: doc.into_raw(),
    }));
    let module = module.into_pyobject(py)?;
    // SAFETY: the definition lives for ever; the function takes references of its own to the two objects.
    unsafe {
        let made = ffi::PyCFunction_NewEx(definition, holder.as_ptr(), module.as_ptr());
        Bound::from_owned_ptr_or_err(py, made)
    }
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
