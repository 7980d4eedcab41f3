//! Unix: the ends of pipes, which are in non-blocking mode.

use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::at_once::{self, is_not_now};
use super::reading::into_bytes;
use super::receiving::{Receiving, fatal};
use super::write::with_data;
use crate::python::class::{fast, install};
use crate::python::error::from_io;

/// Takes what is there, and tells the protocol.
pub(super) fn read(py: Python<'_>, receiving: &Receiving, transport: &Bound<'_, PyAny>) -> PyResult<()> {
    if !receiving.state().wanted {
        return Ok(());
    }
    let read = into_bytes(py, |buffer| at_once::read(receiving.descriptor, buffer).map(|count| (count, ())));
    match read {
        Ok((bytes, ())) if bytes.as_bytes().is_empty() => {
            transport.call_method0(intern!(py, "_peer_has_ended")).map(drop)
        }
        Ok((bytes, ())) => {
            let protocol = transport.getattr(intern!(py, "_protocol"))?;
            protocol.call_method1(intern!(py, "data_received"), (bytes,)).map(drop)
        }
        Err(error) if is_not_now(&error) => Ok(()),
        Err(error) => fatal(py, transport, from_io(error), intern!(py, "Fatal read error on pipe transport")),
    }
}

/// Puts the native `write` on the class of our transports that write to pipes.
#[pyfunction]
pub(crate) fn install_pipe_transport(class: &Bound<'_, PyAny>) -> PyResult<()> {
    let doc = c"Write some data. It is not to be changed before it was written.";
    install(class, vec![fast(c"write", write_to_pipe, doc)])
}

/// As `write`, to a pipe.
unsafe extern "C" fn write_to_pipe(
    transport: *mut PyObject,
    args: *mut *mut PyObject,
    count: ffi::Py_ssize_t,
) -> *mut PyObject {
    // SAFETY: called by Python.
    unsafe { with_data(transport, args, count, try_write_to_pipe) }
}

fn try_write_to_pipe(py: Python<'_>, transport: &Bound<'_, PyAny>, data: &Bound<'_, PyAny>) -> PyResult<()> {
    let leave = || transport.call_method1(intern!(py, "_write"), (data,)).map(drop);
    let Ok(bytes) = data.cast_exact::<PyBytes>() else { return leave() };
    if bytes.as_bytes().is_empty()
        || transport.getattr(intern!(py, "_buffer"))?.is_truthy()?
        || transport.getattr(intern!(py, "_closing"))?.is_truthy()?
        || transport.getattr(intern!(py, "_conn_lost"))?.is_truthy()?
    {
        return leave();
    }
    let descriptor: i32 = transport.getattr(intern!(py, "_fileno"))?.extract()?;
    match at_once::write(descriptor, bytes.as_bytes()) {
        Ok(count) if count == bytes.as_bytes().len() => Ok(()),
        Ok(count) if count > 0 => transport.call_method1(intern!(py, "_write_later"), (data, count)).map(drop),
        // It tries again, and knows what to do.
        _ => leave(),
    }
}
