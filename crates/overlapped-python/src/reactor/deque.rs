//! `collections.deque` without a look-up of its methods at each call.

use pyo3::ffi::{self, PyCFunction, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The functions behind `append` and `popleft`, as the class says, where they take what they are expected to.
struct Functions {
    class: Py<PyAny>,
    append: Option<PyCFunction>,
    popleft: Option<PyCFunction>,
}

static FUNCTIONS: PyOnceLock<Functions> = PyOnceLock::new();

fn functions(py: Python<'_>) -> PyResult<&Functions> {
    FUNCTIONS.get_or_try_init(py, || {
        let class = py.import("collections")?.getattr("deque")?;
        let example = class.call0()?;
        let function = |name, flags| {
            let method = example.getattr(name)?;
            // SAFETY: the type is compared first; where it is one, the flags say how the function is to be called.
            PyResult::Ok(unsafe {
                let is_native = ffi::PyCFunction_CheckExact(method.as_ptr()) != 0;
                if is_native && ffi::PyCFunction_GetFlags(method.as_ptr()) == flags {
                    ffi::PyCFunction_GetFunction(method.as_ptr())
                } else {
                    None
                }
            })
        };
        let (append, popleft) = (function("append", ffi::METH_O)?, function("popleft", ffi::METH_NOARGS)?);
        Ok(Functions { class: class.unbind(), append, popleft })
    })
}

/// A deque, or what somebody has put in the place of one.
pub(super) struct Deque<'a, 'py>(&'a Bound<'py, PyAny>);

impl<'a, 'py> Deque<'a, 'py> {
    pub(super) fn of(object: &'a Bound<'py, PyAny>) -> Deque<'a, 'py> {
        Deque(object)
    }

    /// As `deque.append`.
    #[inline]
    pub(super) fn append(&self, item: &Bound<'py, PyAny>) -> PyResult<()> {
        let py = item.py();
        let functions = functions(py)?;
        match functions.append.filter(|_| self.is_one(functions)) {
            Some(append) => self.call(append, item.as_ptr()).map(drop),
            None => self.0.call_method1(intern!(py, "append"), (item,)).map(drop),
        }
    }

    /// As `deque.popleft`.
    #[inline]
    pub(super) fn popleft(&self) -> PyResult<Bound<'py, PyAny>> {
        let py = self.0.py();
        let functions = functions(py)?;
        match functions.popleft.filter(|_| self.is_one(functions)) {
            Some(popleft) => self.call(popleft, std::ptr::null_mut()),
            None => self.0.call_method0(intern!(py, "popleft")),
        }
    }

    fn is_one(&self, functions: &Functions) -> bool {
        self.0.get_type_ptr().cast() == functions.class.as_ptr()
    }

    fn call(&self, function: PyCFunction, argument: *mut PyObject) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: a method of the class's, on an instance, with the arguments that its flags name; the GIL is held. It
        // returns a new reference, or null with an error set.
        unsafe { Bound::from_owned_ptr_or_err(self.0.py(), function(self.0.as_ptr(), argument)) }
    }
}
