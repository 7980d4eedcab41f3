//! Functions that block, on a thread of the port's pool.
//!
//! The function blocks the signals that its caller's thread does, as on a thread that the caller has started: programs that it
//! starts inherit that. (The pool's threads themselves block all.)

use overlapped::Lane;
use overlapped_port::sim::is_simulated;
use overlapped_port::sys::{SignalMask, block_signals};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::life::runtime;
use super::runtime::{thread_ident, to_error};
use crate::python::unfinished::{attach, call_once, give_up};

/// What a function on a thread has returned. Where nobody waits for it any more, it is destroyed there and then.
struct Returned(Option<PyResult<Py<PyAny>>>);

impl Drop for Returned {
    fn drop(&mut self) {
        if let Some(result) = self.0.take() {
            attach(|py| match result {
                Ok(object) => give_up(py, object),
                Err(error) => give_up(py, error.into_value(py).into_any()),
            });
        }
    }
}

/// Runs `function(*args)` on a thread of the port's pool; only the calling tasklet waits.
#[pyfunction]
#[pyo3(signature = (function, *args))]
pub(crate) fn offload(py: Python<'_>, function: Py<PyAny>, args: Py<PyTuple>) -> PyResult<Py<PyAny>> {
    offload_in(py, Lane::Long, function, args)
}

/// The same for what ends by itself, soon: it waits for no other function, and where no thread can be started it is called here.
#[pyfunction]
#[pyo3(signature = (function, *args))]
pub(crate) fn offload_short(py: Python<'_>, function: Py<PyAny>, args: Py<PyTuple>) -> PyResult<Py<PyAny>> {
    offload_in(py, Lane::Short, function, args)
}

/// The same for what may wait without end: it has a thread at once, and holds back no other function.
#[pyfunction]
#[pyo3(signature = (function, *args))]
pub(crate) fn offload_endless(py: Python<'_>, function: Py<PyAny>, args: Py<PyTuple>) -> PyResult<Py<PyAny>> {
    offload_in(py, Lane::Endless, function, args)
}

fn offload_in(py: Python<'_>, lane: Lane, function: Py<PyAny>, args: Py<PyTuple>) -> PyResult<Py<PyAny>> {
    let runtime = runtime(py)?;
    // Where the system has no thread, what is short is called on this one: in the middle of what the port does, when no
    // Python code may run, for that may wait. So it is called afterwards. So is what is offloaded in a simulated world, where
    // all wait for it: its thread is to be in the world, too.
    let (home, simulated) = (thread_ident(), is_simulated());
    let mask = SignalMask::of_this_thread();
    let job = move || match simulated || thread_ident() == home {
        true => Err((function, args)),
        false => {
            mask.set();
            let returned = attach(|py| Returned(Some(call_once(py, function, args))));
            block_signals();
            Ok(returned)
        }
    };
    match overlapped::offload_in(lane, job) {
        Ok(Ok(mut returned)) => returned.0.take().expect("it is taken once"),
        Ok(Err((function, args))) => call_once(py, function, args),
        Err(error) => Err(to_error(py, &runtime, error)),
    }
}
