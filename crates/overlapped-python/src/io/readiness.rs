//! Waiting for descriptors: what stands in for `select`, `poll` and the descriptors of `os`.

use std::ffi::c_int;
use std::time::Duration;

use overlapped::engine::{Interrupted, park};
use overlapped_port::sim::now;
use overlapped_port::{Interest, Op};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyFloat;

use super::descriptor::{self, SocketNumber, file, never_waits};
use super::file::{read_some, write_all};
use crate::python::buffer::View;
use crate::python::class::owned;
use crate::python::time::deadline;
use crate::thread::life::runtime;
use crate::thread::runtime::{program_ends, to_error};

/// Waits until one of several descriptors is ready (or has an error); false where `timeout` seconds were up. Each is given
/// with its interest: 1 readable, 2 writable, 4 urgent. Which one it was, the system's own call tells.
#[pyfunction]
#[pyo3(signature = (descriptors, timeout=None))]
pub(crate) fn wait_any(py: Python<'_>, descriptors: Vec<(SocketNumber, u8)>, timeout: Option<f64>) -> PyResult<bool> {
    let runtime = runtime(py)?;
    let deadline = deadline(timeout)?;
    if descriptors.is_empty() {
        while deadline.is_none_or(|deadline| now() < deadline) {
            if park(deadline, "poll").is_err() {
                return Err(runtime.raise(py));
            }
        }
        return Ok(false);
    }
    let ops = descriptors
        .into_iter()
        .map(|(number, interest)| Op::Poll { socket: descriptor::socket(number), interest: Interest(interest) });
    // SAFETY: as for `Runtime::operate`.
    match unsafe { runtime.scheduler.operate_any(ops, deadline) } {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut && !Interrupted::is(&error) => Ok(false),
        Err(error) => Err(to_error(py, &runtime, error)),
    }
}

/// To be called where something was answered without a wait: after some times in a row, lets others run.
#[pyfunction]
pub(crate) fn give_way(py: Python<'_>) -> PyResult<()> {
    if program_ends() {
        return Ok(());
    }
    let runtime = runtime(py)?;
    runtime.scheduler.give_way().map_err(|_| runtime.raise(py))
}

/// Reads from a descriptor, as `os.read`; `None` where the system's own call is to be made: the descriptor is in
/// non-blocking mode, or something is wrong with it.
#[pyfunction]
pub(crate) fn read_descriptor(py: Python<'_>, descriptor: c_int, size: usize) -> PyResult<Option<Py<PyAny>>> {
    if never_waits(descriptor) {
        return Ok(None);
    }
    read_some(py, file(py, descriptor)?, size, None).map(|bytes| owned(py, bytes))
}

/// Writes to a descriptor, as `os.write`: all of `data`, where nothing goes wrong in between. `None` as for
/// `read_descriptor`.
#[pyfunction]
pub(crate) fn write_descriptor(py: Python<'_>, descriptor: c_int, data: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
    if never_waits(descriptor) {
        return Ok(None);
    }
    // SAFETY: a live object; the GIL is held here, and when the view is dropped.
    let Some(view) = (unsafe { View::new(data.as_ptr(), pyo3::ffi::PyBUF_SIMPLE) }) else {
        return Err(PyErr::fetch(py));
    };
    write_all(py, file(py, descriptor)?, view.bytes())
}

/// As `time.sleep`: with its errors.
#[pyfunction]
#[pyo3(name = "sleep", signature = (seconds, /))]
pub(crate) fn sleep_as_time(py: Python<'_>, seconds: &Bound<'_, PyAny>) -> PyResult<()> {
    // An integer of any kind, and a float; what has `__float__` alone is none.
    let seconds: f64 = match seconds.is_instance_of::<PyFloat>() || seconds.hasattr(intern!(py, "__index__"))? {
        true => seconds.extract()?,
        false => {
            let kind = seconds.get_type().name()?;
            let or_float = if py.version_info() >= (3, 14) { " or float" } else { "" };
            let text = format!("'{kind}' object cannot be interpreted as an integer{or_float}");
            return Err(pyo3::exceptions::PyTypeError::new_err(text));
        }
    };
    if seconds.is_nan() {
        return Err(pyo3::exceptions::PyValueError::new_err("Invalid value NaN (not a number)"));
    }
    if Duration::try_from_secs_f64(seconds.abs()).is_err() || seconds.abs() > MOST_SECONDS {
        return Err(pyo3::exceptions::PyOverflowError::new_err("timestamp too large to convert to C _PyTime_t"));
    }
    crate::thread::time::sleep(py, seconds)
}

/// `_PyTime_t` counts nanoseconds in 64 bits.
const MOST_SECONDS: f64 = 9_223_372_036.0;
