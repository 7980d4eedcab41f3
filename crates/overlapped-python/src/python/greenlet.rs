//! greenlet's C interface (`greenlet.h`), taken from its capsule at import.

use std::ffi::c_void;
use std::ptr;
use std::sync::OnceLock;

use pyo3::exceptions::PyImportError;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

/// Places in the capsule's table (`greenlet.h`).
const NEW: usize = 3;
const GET_CURRENT: usize = 4;
const SWITCH: usize = 6;

type New = unsafe extern "C" fn(*mut PyObject, *mut PyObject) -> *mut PyObject;
type GetCurrent = unsafe extern "C" fn() -> *mut PyObject;
type Switch = unsafe extern "C" fn(*mut PyObject, *mut PyObject, *mut PyObject) -> *mut PyObject;

struct Api {
    new: New,
    get_current: GetCurrent,
    switch: Switch,
}

static API: OnceLock<Api> = OnceLock::new();

/// Finds greenlet's functions; called once, at import.
pub(crate) fn load(py: Python<'_>) -> PyResult<()> {
    py.import("greenlet")?;
    // SAFETY: the capsule's name and the order of its table are greenlet's published interface.
    let table = unsafe { ffi::PyCapsule_Import(c"greenlet._C_API".as_ptr(), 0) }.cast::<*const c_void>();
    if table.is_null() {
        let cause = PyErr::fetch(py);
        return Err(PyImportError::new_err(format!(
            "overlapped needs greenlet 3 with its C interface, which could not be had: {cause}"
        )));
    }
    // SAFETY: the entries at these places are functions of these types (`greenlet.h`).
    let api = unsafe {
        Api {
            new: std::mem::transmute::<*const c_void, New>(*table.add(NEW)),
            get_current: std::mem::transmute::<*const c_void, GetCurrent>(*table.add(GET_CURRENT)),
            switch: std::mem::transmute::<*const c_void, Switch>(*table.add(SWITCH)),
        }
    };
    let _ = API.set(api);
    Ok(())
}

fn api() -> &'static Api {
    API.get().expect("greenlet was loaded at import")
}

/// Makes something of Python's while no garbage is collected: what greenlet allocates is allocated between two states (of
/// this thread's tasklets, or of greenlet itself, which is just making its main greenlet), where a finalizer that waits
/// would be nobody's. From Python 3.12 on only the interpreter's loop collects.
fn uncollected<T>(_: Python<'_>, make: impl FnOnce() -> T) -> T {
    // SAFETY: the collector's switch is the interpreter's, and the GIL is held until it is as it was.
    unsafe {
        let collects = ffi::PyGC_Disable() != 0;
        let made = make();
        if collects {
            ffi::PyGC_Enable();
        }
        made
    }
}

/// A new greenlet that will call `run`, with `parent` to go to when it ends. Nothing of Python's runs meanwhile.
pub(crate) fn new(run: &Bound<'_, PyAny>, parent: &Py<PyAny>) -> PyResult<Py<PyAny>> {
    let py = run.py();
    // SAFETY: both are live objects, `parent` a greenlet; the result is a new reference or null with an error set.
    uncollected(py, || unsafe { Bound::from_owned_ptr_or_err(py, (api().new)(run.as_ptr(), parent.as_ptr())) })
        .map(Bound::unbind)
}

/// The greenlet that runs. Nothing of Python's runs meanwhile.
pub(crate) fn current(py: Python<'_>) -> Py<PyAny> {
    // SAFETY: returns a new reference; it fails only where memory is out.
    uncollected(py, || unsafe { Bound::from_owned_ptr(py, (api().get_current)()) }).unbind()
}

/// Gives the thread to another greenlet; returns when somebody switches back. False where that was done with an
/// error, which is then set.
///
/// The rules of the house: no error may be set, no borrow guard or lock may be held, and no pointer to a local of any
/// caller may be known to anybody else, for this stack is copied away meanwhile.
pub(crate) fn switch(target: &Py<PyAny>) -> bool {
    // SAFETY: `target` is a live greenlet of this thread; without arguments an empty tuple is passed.
    unsafe {
        let result = (api().switch)(target.as_ptr(), ptr::null_mut(), ptr::null_mut());
        ffi::Py_XDECREF(result);
        !result.is_null()
    }
}
