//! Unix: writing to the ends of pipes, which are in non-blocking mode.

use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::at_once;
use super::slots::WritePipe;
use super::write::with_data;
use crate::python::class::{fast, install};

/// Puts the native `write` on the class of our transports that write to pipes.
#[pyfunction]
pub(crate) fn install_pipe_transport(class: &Bound<'_, PyAny>) -> PyResult<()> {
    WritePipe::load(class)?;
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
    let (bytes, descriptor) = match (data.cast_exact::<PyBytes>(), descriptor_if_clear(transport)?) {
        (Ok(bytes), Some(descriptor)) if !bytes.as_bytes().is_empty() => (bytes.as_bytes(), descriptor),
        _ => return leave(),
    };
    match at_once::write(descriptor, bytes) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(count) if count > 0 => transport.call_method1(intern!(py, "_write_later"), (data, count)).map(drop),
        // It tries again, and knows what to do.
        _ => leave(),
    }
}

/// The pipe, where bytes may go out now: none wait before them, and the transport is neither closed nor lost.
fn descriptor_if_clear(transport: &Bound<'_, PyAny>) -> PyResult<Option<i32>> {
    let (py, inside) = (transport.py(), transport.as_ptr());
    let slots = WritePipe::known(py)?;
    // SAFETY: `write` is of that class, and the GIL is held.
    let [buffer, closing, lost, descriptor] =
        unsafe { [slots.buffer, slots.closing, slots.lost, slots.descriptor].map(|slot| slot.taken(py, inside)) };
    let (Some(buffer), Some(closing), Some(lost), Some(descriptor)) = (buffer, closing, lost, descriptor) else {
        return Ok(None);
    };
    let is_clear = buffer.is_empty()? && !closing.is_truthy()? && !lost.is_truthy()?;
    if is_clear { descriptor.extract().map(Some) } else { Ok(None) }
}
