//! Windows: handles that no descriptor stands for, as asyncio has the ends of its pipes, and its child processes.

use std::os::windows::io::BorrowedHandle;

use overlapped_port::sys::RawFile;
use overlapped_port::{Op, Outcome, on_signal};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::python::buffer::View;
use crate::python::error::from_io;
use crate::thread::life::runtime;
use crate::thread::runtime::to_error;

/// Reads into a buffer; returns how many bytes, 0 where the other end is closed.
#[pyfunction]
fn read_handle(py: Python<'_>, handle: isize, buffer: &Bound<'_, PyAny>) -> PyResult<usize> {
    let mut view = view(buffer, ffi::PyBUF_WRITABLE)?;
    operate(py, Op::Read { file: handle as RawFile, buffer: view.memory(), offset: None })
}

/// Writes some bytes; returns how many the system took.
#[pyfunction]
fn write_handle(py: Python<'_>, handle: isize, data: &Bound<'_, PyAny>) -> PyResult<usize> {
    let view = view(data, ffi::PyBUF_SIMPLE)?;
    operate(py, Op::Write { file: handle as RawFile, buffer: view.bytes(), offset: None })
}

/// Waits until a handle is signalled, as a process's is at its end.
#[pyfunction]
fn await_handle(py: Python<'_>, handle: isize) -> PyResult<()> {
    let runtime = runtime(py)?;
    let signalled = overlapped::Event::new();
    let theirs = signalled.clone();
    // SAFETY: the caller has it, and the GIL is held until it was copied.
    let handle = unsafe { BorrowedHandle::borrow_raw(handle as RawFile) };
    let _watch = on_signal(handle, move || theirs.set()).map_err(from_io)?;
    signalled.wait_until(None).map(drop).map_err(|_| runtime.raise(py))
}

fn view(object: &Bound<'_, PyAny>, flags: std::ffi::c_int) -> PyResult<View> {
    // SAFETY: a live object; the GIL is held here, and when the view is dropped.
    unsafe { View::new(object.as_ptr(), flags) }.ok_or_else(|| PyErr::fetch(object.py()))
}

fn operate(py: Python<'_>, op: Op<'_>) -> PyResult<usize> {
    let runtime = runtime(py)?;
    match runtime.operate(op, None) {
        Ok(Outcome::Count(count)) => Ok(count),
        Ok(_) => Ok(0),
        Err(error) => Err(to_error(py, &runtime, error)),
    }
}

pub(super) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(read_handle, module)?)?;
    module.add_function(wrap_pyfunction!(write_handle, module)?)?;
    module.add_function(wrap_pyfunction!(await_handle, module)?)
}
