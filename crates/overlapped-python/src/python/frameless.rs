//! Functions that leave no frame between their caller and what they call.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::capi::PyMethod_New;

/// A function or method that calls in its stead what `choose` answers to its arguments: a function, arguments, and keyword
/// arguments. The frame of `choose` is gone by then, so a warning of that function in C points at the caller.
#[pyclass(frozen, dict, module = "overlapped._engine")]
pub(crate) struct Frameless {
    choose: Py<PyAny>,
}

#[pymethods]
impl Frameless {
    #[new]
    fn new(choose: Py<PyAny>) -> Frameless {
        Frameless { choose }
    }

    #[pyo3(signature = (*args, **kwargs))]
    fn __call__<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        type Chosen<'py> = (Bound<'py, PyAny>, Bound<'py, PyTuple>, Bound<'py, PyDict>);
        let chosen = self.choose.bind(args.py()).call(args, kwargs)?;
        let (function, args, kwargs): Chosen<'py> = chosen.extract()?;
        drop(chosen);
        function.call(args, Some(&kwargs))
    }

    fn __get__<'py>(
        slf: Bound<'py, Frameless>,
        instance: Option<Bound<'py, PyAny>>,
        _owner: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Some(instance) = instance else { return Ok(slf.into_any()) };
        // SAFETY: two live objects; the result is a new reference or null with an error set.
        unsafe { Bound::from_owned_ptr_or_err(slf.py(), PyMethod_New(slf.as_ptr(), instance.as_ptr())) }
    }
}
