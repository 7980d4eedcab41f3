//! `threading.local`: attributes that each tasklet (and each thread) has for itself.
//!
//! A local keeps one dictionary for each tasklet that has used it, by that tasklet's identifier; the tasklet keeps weak
//! references to the locals in which it has one, and takes its dictionaries out when it ends. A thread that is no tasklet
//! keeps its weak references in its thread state, which Python clears when the thread ends. So neither keeps the other
//! alive, and an identifier that is given out again finds nothing of its predecessor's.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType, PyWeakrefReference};
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::python::capi::{_PyObject_GenericGetAttrWithDict, _PyObject_GenericSetAttrWithDict};
use crate::thread::runtime::ident;
use crate::thread::tasklet::in_tasklet;

type Arguments = (Py<PyTuple>, Option<Py<PyDict>>);

/// Attributes that each tasklet has for itself. As `threading.local`.
#[pyclass(frozen, subclass, weakref, name = "_local", module = "_thread")]
pub(crate) struct Local {
    /// What `__init__` of a subclass is called with, in each tasklet.
    arguments: Mutex<Option<Arguments>>,
    has_init: bool,
    dicts: Mutex<HashMap<u64, Py<PyDict>>>,
}

impl Local {
    fn dicts(&self) -> MutexGuard<'_, HashMap<u64, Py<PyDict>>> {
        self.dicts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The dictionary of whoever calls; made at its first use.
fn dict<'py>(local: &Bound<'py, Local>) -> PyResult<Bound<'py, PyDict>> {
    let py = local.py();
    let me = ident();
    if let Some(dict) = local.get().dicts().get(&me) {
        return Ok(dict.bind(py).clone());
    }
    let dict = begin(local, me)?;
    if local.get().has_init {
        let arguments = {
            let arguments = local.get().arguments.lock().unwrap_or_else(PoisonError::into_inner);
            arguments
                .as_ref()
                .map(|(args, kwargs)| (args.clone_ref(py), kwargs.as_ref().map(|dict| dict.clone_ref(py))))
        };
        if let Some((args, kwargs)) = arguments {
            let initialized = local
                .getattr(intern!(py, "__init__"))
                .and_then(|init| init.call(args.into_bound(py), kwargs.as_ref().map(|kwargs| kwargs.bind(py))));
            if let Err(error) = initialized {
                // As if it had never been used here: the next use tries again.
                let dict = local.get().dicts().remove(&me);
                drop(dict);
                return Err(error);
            }
        }
    }
    Ok(dict)
}

/// Gives `me`, who calls, an empty dictionary.
fn begin<'py>(local: &Bound<'py, Local>, me: u64) -> PyResult<Bound<'py, PyDict>> {
    let py = local.py();
    let dict = PyDict::new(py);
    let weak = PyWeakrefReference::new(local.as_any())?.unbind();
    match in_tasklet(py)? {
        Some(tasklet) => tasklet.get().at_end(move |py| forget(py, me, vec![weak])),
        None => of_thread(py)?.get().0.lock().unwrap_or_else(PoisonError::into_inner).push(weak),
    }
    let before = local.get().dicts().insert(me, dict.clone().unbind());
    drop(before);
    Ok(dict)
}

/// Takes the dictionaries of the one that ends out of its locals.
pub(crate) fn forget(py: Python<'_>, me: u64, locals: Vec<Py<PyWeakrefReference>>) {
    for weak in locals {
        let Some(local) = upgrade(py, &weak) else { continue };
        // What was in it is dropped outside of the lock: that may run anything.
        let dict = local.get().dicts().remove(&me);
        drop(dict);
    }
}

fn upgrade<'py>(py: Python<'py>, weak: &Py<PyWeakrefReference>) -> Option<Bound<'py, Local>> {
    use pyo3::types::PyWeakrefMethods;
    weak.bind(py).upgrade()?.cast_into().ok()
}

/// The locals of a thread that is no tasklet; in its thread state's dictionary.
#[pyclass(frozen, module = "overlapped._engine")]
struct LocalsOfThread(Mutex<Vec<Py<PyWeakrefReference>>>, u64);

impl Drop for LocalsOfThread {
    fn drop(&mut self) {
        let locals = std::mem::take(self.0.get_mut().unwrap_or_else(PoisonError::into_inner));
        // SAFETY: an object of Python's is dropped while the GIL is held.
        forget(unsafe { Python::assume_attached() }, self.1, locals);
    }
}

/// Makes the type that [`LocalsOfThread`] is to Python.
pub(super) fn prepare(py: Python<'_>) {
    let _ = py.get_type::<LocalsOfThread>();
}

fn of_thread(py: Python<'_>) -> PyResult<Bound<'_, LocalsOfThread>> {
    let key = intern!(py, "overlapped.locals");
    // SAFETY: the GIL is held; the result is borrowed, or null where there is no dictionary.
    let state = unsafe { Bound::from_borrowed_ptr_or_opt(py, ffi::PyThreadState_GetDict()) };
    let state = state.ok_or_else(|| PyTypeError::new_err("this thread has no state"))?.cast_into::<PyDict>()?;
    if let Some(known) = state.get_item(key)? {
        return Ok(known.cast_into()?);
    }
    let fresh = Bound::new(py, LocalsOfThread(Mutex::default(), ident()))?;
    state.set_item(key, &fresh)?;
    Ok(fresh)
}

#[pymethods]
impl Local {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*args, **kwargs))]
    fn new(class: &Bound<'_, PyType>, args: Bound<'_, PyTuple>, kwargs: Option<Bound<'_, PyDict>>) -> PyResult<Local> {
        let py = class.py();
        let name = intern!(py, "__init__");
        let has_init = !class.getattr(name)?.is(py.get_type::<PyAny>().getattr(name)?);
        let given = !args.is_empty() || kwargs.as_ref().is_some_and(|kwargs| !kwargs.is_empty());
        if given && !has_init {
            return Err(PyTypeError::new_err("Initialization arguments are not supported"));
        }
        Ok(Local {
            arguments: Mutex::new(Some((args.unbind(), kwargs.map(Bound::unbind)))),
            has_init,
            dicts: Mutex::default(),
        })
    }

    fn __getattribute__(slf: &Bound<'_, Local>, name: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let dict = dict(slf)?;
        if name.eq(intern!(py, "__dict__"))? {
            return Ok(dict.into_any().unbind());
        }
        // SAFETY: live objects; the result is a new reference or null with an error set.
        unsafe {
            let found = _PyObject_GenericGetAttrWithDict(slf.as_ptr(), name.as_ptr(), dict.as_ptr(), 0);
            Bound::from_owned_ptr_or_err(py, found).map(Bound::unbind)
        }
    }

    fn __setattr__(slf: &Bound<'_, Local>, name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        change(slf, name, value.as_ptr())
    }

    fn __delattr__(slf: &Bound<'_, Local>, name: &Bound<'_, PyAny>) -> PyResult<()> {
        change(slf, name, std::ptr::null_mut())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // The collector runs with the GIL held, and nobody keeps these locks while Python code may run.
        if let Ok(arguments) = self.arguments.try_lock()
            && let Some((args, kwargs)) = &*arguments
        {
            visit.call(args)?;
            visit.call(kwargs)?;
        }
        if let Ok(dicts) = self.dicts.try_lock() {
            dicts.values().try_for_each(|dict| visit.call(dict))?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let arguments = self.arguments.lock().unwrap_or_else(PoisonError::into_inner).take();
        let dicts = std::mem::take(&mut *self.dicts());
        drop((arguments, dicts));
    }
}

/// Sets an attribute, or deletes it where `value` is null. Python sees to it that the name is a string.
fn change(local: &Bound<'_, Local>, name: &Bound<'_, PyAny>, value: *mut PyObject) -> PyResult<()> {
    let py = local.py();
    let dict = dict(local)?;
    if name.eq(intern!(py, "__dict__"))? {
        let class = local.get_type().name()?;
        return Err(PyAttributeError::new_err(format!("'{class}' object attribute '__dict__' is read-only")));
    }
    // SAFETY: live objects, or null for the value, which deletes.
    let failed = unsafe { _PyObject_GenericSetAttrWithDict(local.as_ptr(), name.as_ptr(), value, dict.as_ptr()) } != 0;
    if failed { Err(PyErr::fetch(py)) } else { Ok(()) }
}
