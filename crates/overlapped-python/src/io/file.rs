//! The raw files of Python's face: reads and writes on the port, as methods of a subclass of `io.FileIO`.
//!
//! Opening, seeking, names, modes and the errors of wrong use stay the standard library's; so does everything above
//! the raw file. Reads and writes go at the descriptor's own position.

use std::ffi::c_int;

use overlapped_port::sys::RawFile;
use overlapped_port::{Op, Outcome};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyTuple};

use super::descriptor::{at_end, file, is_refused, never_waits, remaining};
use super::settle::settle;
use super::stdlib::{file_appends, file_descriptor};
use crate::python::buffer::View;
use crate::python::class::{fast, give, install};
use crate::thread::life::runtime;
use crate::thread::runtime::to_error;
use crate::thread::signal::run_signal_handlers;

static BASE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The first piece of a file whose size is not known, and the least by which the next ones grow.
const PIECE: usize = 64 << 10;

/// Puts the native methods on `class`, a subclass of `io.FileIO`.
#[pyfunction]
pub(crate) fn install_file(class: Bound<'_, PyAny>) -> PyResult<()> {
    let py = class.py();
    BASE.get_or_try_init(py, || py.import("_io")?.getattr("FileIO").map(Bound::unbind))?;
    let methods = vec![
        fast(c"readinto", readinto, c"readinto(buffer, /)\n--\n\nReads into a writable buffer and returns how many bytes; only the calling tasklet waits."),
        fast(c"write", write, c"write(b, /)\n--\n\nWrites b and returns how many bytes were written; only the calling tasklet waits."),
        fast(c"readall", readall, c"readall()\n--\n\nReads to the end of the file; only the calling tasklet waits."),
    ];
    install(&class, methods)
}

/// Calls the standard library's method of that name: it says what is wrong.
#[inline(never)]
fn base(py: Python<'_>, name: &str, slf: *mut PyObject, args: &[*mut PyObject]) -> PyResult<*mut PyObject> {
    let method = BASE.get(py).expect("set by install_file").bind(py).getattr(name)?;
    // SAFETY: Python's caller keeps the objects.
    let all = unsafe { std::iter::once(&slf).chain(args).map(|object| Bound::from_borrowed_ptr(py, *object)) };
    Ok(method.call1(PyTuple::new(py, all.collect::<Vec<_>>())?)?.into_ptr())
}

/// Runs an operation on a file. `None` where the standard library is to say what is wrong, or what to return: the
/// descriptor does not allow it, or is in non-blocking mode.
fn operate(py: Python<'_>, op: Op<'_>) -> PyResult<Option<usize>> {
    let runtime = runtime(py)?;
    match runtime.scheduler.operate(op, None) {
        Ok(Outcome::Count(count)) => Ok(Some(count)),
        Ok(_) => Ok(None),
        Err(error) if is_refused(&error) => Ok(None),
        Err(error) => Err(to_error(py, &runtime, error)),
    }
}

/// Writes until all is written, as write(2) does on a pipe whose reader is slow; returns how many bytes were. Where an
/// error, an interrupt or a signal's handler ends it after a part, that part counts: what ended it comes with the next
/// wait, or right after the call where it was a handler's. `None` as for [`operate`].
pub(crate) fn write_all(py: Python<'_>, file: RawFile, bytes: &[u8]) -> PyResult<Option<usize>> {
    let op = |rest| Op::Write { file, buffer: rest, offset: None };
    let Some(mut written) = operate(py, op(bytes))? else { return Ok(None) };
    let runtime = runtime(py)?;
    while written < bytes.len() && run_signal_handlers(py, &runtime) {
        match runtime.scheduler.operate(op(&bytes[written..]), None) {
            Ok(Outcome::Count(count)) if count > 0 => written += count,
            _ => break,
        }
    }
    Ok(Some(written))
}

/// A method of the class: what `how` brings, from the descriptor and the arguments, of which there must be `count`. Where
/// that is `None`, where the descriptor never waits, and with other arguments, the standard library's method is called.
///
/// # Safety
/// Python calls it with a FileIO and `nargs` arguments, holding the GIL.
unsafe fn method(
    name: &str,
    slf: *mut PyObject,
    args: *mut *mut PyObject,
    (nargs, count): (isize, usize),
    how: impl FnOnce(Python<'_>, c_int, &[*mut PyObject]) -> PyResult<Option<*mut PyObject>>,
) -> *mut PyObject {
    // SAFETY: the caller's promise.
    let (py, descriptor) = unsafe { (Python::assume_attached(), file_descriptor(slf)) };
    // Without arguments Python may pass no array of them.
    // SAFETY: the caller's promise.
    let given = if nargs == 0 { &[] } else { unsafe { std::slice::from_raw_parts(args, nargs as usize) } };
    let result = if given.len() == count && !never_waits(descriptor) { how(py, descriptor, given) } else { Ok(None) };
    give(result.and_then(|object| object.map_or_else(|| base(py, name, slf, given), Ok)))
}

fn number(count: Option<usize>) -> Option<*mut PyObject> {
    // SAFETY: called by methods that hold the GIL.
    count.map(|count| unsafe { ffi::PyLong_FromSize_t(count) })
}

unsafe extern "C" fn readinto(slf: *mut PyObject, args: *mut *mut PyObject, nargs: isize) -> *mut PyObject {
    let how = |py: Python<'_>, descriptor, given: &[_]| {
        // SAFETY: an argument of the method; the view is dropped while the GIL is held.
        let Some(mut view) = (unsafe { View::new(given[0], ffi::PyBUF_WRITABLE) }) else {
            drop(PyErr::take(py));
            return Ok(None);
        };
        operate(py, Op::Read { file: file(py, descriptor)?, buffer: view.memory(), offset: None }).map(number)
    };
    // SAFETY: Python calls this.
    unsafe { method("readinto", slf, args, (nargs, 1), how) }
}

unsafe extern "C" fn write(slf: *mut PyObject, args: *mut *mut PyObject, nargs: isize) -> *mut PyObject {
    let how = |py: Python<'_>, descriptor, given: &[_]| {
        // SAFETY: an argument of the method; the view is dropped while the GIL is held.
        let Some(view) = (unsafe { View::new(given[0], ffi::PyBUF_SIMPLE) }) else { return Err(PyErr::fetch(py)) };
        let file = file(py, descriptor)?;
        let write = |file| write_all(py, file, view.bytes());
        // SAFETY: `slf` is the method's FileIO.
        let appends = unsafe { file_appends(slf) };
        if appends { at_end(file, write) } else { write(file) }.map(number)
    };
    // SAFETY: Python calls this.
    unsafe { method("write", slf, args, (nargs, 1), how) }
}

unsafe extern "C" fn readall(slf: *mut PyObject, args: *mut *mut PyObject, nargs: isize) -> *mut PyObject {
    let how = |py: Python<'_>, descriptor, _: &[_]| {
        let file = file(py, descriptor)?;
        // One more, so that the end shows in one read.
        let mut bytes: Vec<u8> = Vec::with_capacity(remaining(file).map_or(PIECE, |left| left + 1));
        loop {
            if bytes.capacity() == bytes.len() {
                bytes.reserve(PIECE.max(bytes.len()));
            }
            let op = Op::Read { file, buffer: bytes.spare_capacity_mut(), offset: None };
            let Some(count) = operate(py, op)? else { return Ok(None) };
            py.check_signals()?;
            if count == 0 {
                return Ok(Some(PyBytes::new(py, &bytes).into_ptr()));
            }
            // SAFETY: the read has filled them.
            unsafe { bytes.set_len(bytes.len() + count) };
        }
    };
    // SAFETY: Python calls this.
    unsafe { method("readall", slf, args, (nargs, 0), how) }
}

/// Reads at most `size` bytes at `offset`.
#[pyfunction]
pub(crate) fn read_at(py: Python<'_>, descriptor: c_int, size: usize, offset: u64) -> PyResult<Py<PyBytes>> {
    let runtime = runtime(py)?;
    let mut bytes: Vec<u8> = Vec::with_capacity(size);
    let op =
        Op::Read { file: file(py, descriptor)?, buffer: &mut bytes.spare_capacity_mut()[..size], offset: Some(offset) };
    match runtime.scheduler.operate(op, None) {
        // SAFETY: the read has filled them.
        Ok(Outcome::Count(count)) => unsafe { bytes.set_len(count) },
        Ok(_) => unreachable!("a read brings a number of bytes"),
        Err(error) => return Err(to_error(py, &runtime, error)),
    }
    Ok(PyBytes::new(py, &bytes).unbind())
}

/// Before a descriptor is closed: ends what other tasklets have in flight on it, and waits until that has ended.
#[pyfunction]
pub(crate) fn cancel_file(py: Python<'_>, descriptor: c_int) -> PyResult<()> {
    let file = file(py, descriptor)?;
    settle(|port| port.cancel_file(file), |port| port.in_flight_on_file(file))
}

/// Waits until the file's data has reached the device, as os.fsync.
#[pyfunction]
pub(crate) fn fsync(py: Python<'_>, descriptor: c_int) -> PyResult<()> {
    operate(py, Op::Sync { file: file(py, descriptor)?, data_only: false }).map(drop)
}
