//! Descriptors, as Python numbers files and sockets, and what the system has under these numbers.

use std::net::SocketAddr;

use overlapped_port::Address;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::*;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;

/// An address as Python has it; `None` where there is none, as with what a connected stream brings, and for a family that is
/// not known here.
pub(crate) fn address(py: Python<'_>, address: &Address) -> PyResult<Option<Py<PyAny>>> {
    let known = match address.to_socket_addr() {
        Some(SocketAddr::V4(v4)) => (v4.ip().to_string(), v4.port()).into_pyobject(py)?.into_any(),
        Some(SocketAddr::V6(v6)) => {
            (v6.ip().to_string(), v6.port(), v6.flowinfo(), v6.scope_id()).into_pyobject(py)?.into_any()
        }
        None => return local_address(py, address),
    };
    Ok(Some(known.unbind()))
}

/// An error of opening `name`, which is its file's name then, as it was given.
fn named(py: Python<'_>, error: PyErr, name: Py<PyAny>) -> PyErr {
    if error.is_instance_of::<PyOSError>(py) {
        error.value(py).setattr("filename", name).err().unwrap_or(error)
    } else {
        error
    }
}
