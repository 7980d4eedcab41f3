//! `write` of a transport: what the socket takes at once goes out without a frame of Python's.

use std::io;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::{intern, types::PyBytes};

use super::receiving::fatal;
use crate::python::class::{fast, give, install};
use crate::python::error::from_io;

/// Puts the native `write` on the class of our transports.
#[pyfunction]
pub(crate) fn install_transport(class: &Bound<'_, PyAny>) -> PyResult<()> {
    install(class, vec![fast(c"write", write, c"Write some data. It is not to be changed before it was sent.")])
}

/// `transport.write(data)`: `bytes` that nothing stands against are sent here; the rest is the standard library's.
unsafe extern "C" fn write(
    transport: *mut PyObject,
    args: *mut *mut PyObject,
    count: ffi::Py_ssize_t,
) -> *mut PyObject {
    // SAFETY: called by Python, so the GIL is held and the arguments live.
    let (py, transport, args) = unsafe {
        let py = Python::assume_attached();
        let args: &[*mut PyObject] = if count == 0 { &[] } else { std::slice::from_raw_parts(args, count as usize) };
        (py, Bound::from_borrowed_ptr(py, transport), args)
    };
    let [data] = *args else {
        return give(Err(pyo3::exceptions::PyTypeError::new_err(format!(
            "write() takes exactly one argument ({count} given)"
        ))));
    };
    // SAFETY: a live object, as above.
    let data = unsafe { Bound::from_borrowed_ptr(py, data) };
    give(try_write(py, &transport, &data).map(|()| py.None().into_ptr()))
}

fn try_write(py: Python<'_>, transport: &Bound<'_, PyAny>, data: &Bound<'_, PyAny>) -> PyResult<()> {
    let bytes = match data.cast_exact::<PyBytes>() {
        Ok(bytes) if !bytes.as_bytes().is_empty() && is_clear(py, transport)? => bytes.as_bytes(),
        _ => return transport.call_method1(intern!(py, "_write"), (data,)).map(drop),
    };
    let descriptor: i32 = transport.getattr(intern!(py, "_sock_fd"))?.extract()?;
    match send(descriptor, bytes) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(count) => transport.call_method1(intern!(py, "_write_later"), (data, count)).map(drop),
        Err(error) => fatal(py, transport, from_io(error), intern!(py, "Fatal write error on socket transport")),
    }
}

/// Whether bytes may go out now: none wait before them, the side is not ended, the connection not lost, no file on its way.
fn is_clear(py: Python<'_>, transport: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(!transport.getattr(intern!(py, "_buffer"))?.is_truthy()?
        && !transport.getattr(intern!(py, "_eof"))?.is_truthy()?
        && !transport.getattr(intern!(py, "_conn_lost"))?.is_truthy()?
        && transport.getattr(intern!(py, "_empty_waiter"))?.is_none())
}

/// What the socket takes without a wait: 0 where it takes nothing.
fn send(descriptor: i32, bytes: &[u8]) -> io::Result<usize> {
    // Python ignores SIGPIPE where a system cannot be told by a flag.
    const FLAGS: i32 = libc::MSG_DONTWAIT | if cfg!(target_vendor = "apple") { 0 } else { libc::MSG_NOSIGNAL };
    // SAFETY: the bytes are the caller's, and stay.
    let sent = unsafe { libc::send(descriptor, bytes.as_ptr().cast(), bytes.len(), FLAGS) };
    if sent >= 0 {
        return Ok(sent as usize);
    }
    let error = io::Error::last_os_error();
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
        _ => Err(error),
    }
}
