//! The raw files of Python's face: reads and writes on the port, as methods of a subclass of `io.FileIO`.
//!
//! Opening, seeking, names, modes and the errors of wrong use stay the standard library's; so does everything above
//! the raw file. Reads and writes go at the descriptor's own position.

use std::ffi::c_int;
use std::ops::RangeInclusive;

use overlapped_port::sys::RawFile;
use overlapped_port::{Op, Outcome};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};

use super::descriptor::{READ_MOST, at_end, file, is_refused, never_waits, remaining, write_at_once};
use super::settle::settle;
use super::stdlib::{Mode, file_descriptor, is_for};
use crate::python::buffer::View;
use crate::python::bytes::NewBytes;
use crate::python::class::{fast, give, install, owned};
use crate::thread::life::runtime;
use crate::thread::runtime::to_error;
use crate::thread::signal::run_signal_handlers;

static BASE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// The first piece of a file whose size is not known, and the least by which the next ones grow.
const PIECE: usize = 64 << 10;

/// Puts the native methods on `class`, a subclass of `io.FileIO`.
#[pyfunction]
pub(crate) fn install_file(class: Bound<'_, PyType>) -> PyResult<()> {
    let py = class.py();
    let _ = CLASS.set(py, class.clone().unbind());
    BASE.get_or_try_init(py, || py.import("_io")?.getattr("FileIO").map(Bound::unbind))?;
    let methods = vec![
        fast(c"read", read, c"read(size=-1, /)\n--\n\nReads at most size bytes, in one operation; all to the end of the file where it is negative or None.\nOnly the calling tasklet waits."),
        fast(c"readinto", readinto, c"readinto(buffer, /)\n--\n\nReads into a writable buffer and returns how many bytes; only the calling tasklet waits."),
        fast(c"write", write, c"write(b, /)\n--\n\nWrites b and returns how many bytes were written; only the calling tasklet waits."),
        fast(c"readall", readall, c"readall()\n--\n\nReads to the end of the file; only the calling tasklet waits."),
    ];
    install(&class, methods)
}

/// The class that has them.
pub(super) fn class(py: Python<'_>) -> Option<Py<PyType>> {
    CLASS.get(py).map(|class| class.clone_ref(py))
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
    match runtime.operate(op, None) {
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
        match runtime.operate(op(&bytes[written..]), None) {
            Ok(Outcome::Count(count)) if count > 0 => written += count,
            _ => break,
        }
    }
    Ok(Some(written))
}

/// A method of the class, of a file that is open for `mode`: what `how` brings, from the descriptor and the arguments, of
/// which there must be one of `counts`. Where that is `None`, where the descriptor never waits, where the file is not open
/// for it, and with other arguments, the standard library's method is called: it says what is wrong.
///
/// # Safety
/// Python calls it with a FileIO and `nargs` arguments, holding the GIL.
unsafe fn method(
    (name, mode): (&str, Mode),
    slf: *mut PyObject,
    (args, nargs): (*mut *mut PyObject, isize),
    counts: RangeInclusive<usize>,
    how: impl FnOnce(Python<'_>, c_int, &[*mut PyObject]) -> PyResult<Option<*mut PyObject>>,
) -> *mut PyObject {
    // SAFETY: the caller's promise. Without arguments there may be no pointer to them either.
    let (py, given) = unsafe {
        let given = if nargs == 0 { &[][..] } else { std::slice::from_raw_parts(args, nargs as usize) };
        (Python::assume_attached(), given)
    };
    // SAFETY: the caller's promise.
    let (descriptor, is_open) = unsafe { (file_descriptor(slf), is_for(slf, mode)) };
    let is_ours = is_open && counts.contains(&given.len()) && !never_waits(descriptor);
    let result = if is_ours { how(py, descriptor, given) } else { Ok(None) };
    give(result.and_then(|object| object.map_or_else(|| base(py, name, slf, given), Ok)))
}

fn number(count: Option<usize>) -> Option<*mut PyObject> {
    // SAFETY: called by methods that hold the GIL.
    count.map(|count| unsafe { ffi::PyLong_FromSize_t(count) })
}

/// Reads at most `size` bytes in one operation. `None` as for [`operate`].
pub(crate) fn read_some(
    py: Python<'_>,
    file: RawFile,
    size: usize,
    offset: Option<u64>,
) -> PyResult<Option<*mut PyObject>> {
    let mut bytes = NewBytes::new(py, size)?;
    match operate(py, Op::Read { file, buffer: bytes.memory(), offset })? {
        Some(count) => bytes.finish(py, count).map(Some),
        None => Ok(None),
    }
}

fn read_all(py: Python<'_>, file: RawFile) -> PyResult<Option<*mut PyObject>> {
    // One more, so that the end shows in one read.
    let mut bytes = NewBytes::new(py, remaining(file).map_or(PIECE, |left| left + 1))?;
    let mut filled = 0;
    loop {
        if filled == bytes.len() {
            bytes.resize(py, filled + filled.max(PIECE))?;
        }
        let op = Op::Read { file, buffer: &mut bytes.memory()[filled..], offset: None };
        let Some(count) = operate(py, op)? else { return Ok(None) };
        py.check_signals()?;
        if count == 0 {
            return bytes.finish(py, filled).map(Some);
        }
        filled += count;
    }
}

unsafe extern "C" fn read(slf: *mut PyObject, args: *mut *mut PyObject, nargs: isize) -> *mut PyObject {
    let how = |py: Python<'_>, descriptor, given: &[*mut PyObject]| {
        let size = given.first().map_or(-1, |size| {
            // SAFETY: an argument of the method; the GIL is held.
            unsafe {
                if ffi::Py_IsNone(*size) != 0 { -1 } else { ffi::PyNumber_AsSsize_t(*size, ffi::PyExc_OverflowError) }
            }
        });
        if PyErr::take(py).is_some() || size == 0 {
            return Ok(None);
        }
        let file = file(py, descriptor)?;
        match usize::try_from(size) {
            Ok(size) => read_some(py, file, size.min(READ_MOST), None),
            Err(_) => read_all(py, file),
        }
    };
    // SAFETY: Python calls this.
    unsafe { method(("read", Mode::Reads), slf, (args, nargs), 0..=1, how) }
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
    unsafe { method(("readinto", Mode::Reads), slf, (args, nargs), 1..=1, how) }
}

unsafe extern "C" fn write(slf: *mut PyObject, args: *mut *mut PyObject, nargs: isize) -> *mut PyObject {
    let how = |py: Python<'_>, descriptor, given: &[_]| {
        // SAFETY: an argument of the method; the view is dropped while the GIL is held.
        let Some(view) = (unsafe { View::new(given[0], ffi::PyBUF_SIMPLE) }) else { return Err(PyErr::fetch(py)) };
        let file = file(py, descriptor)?;
        let write = |file| write_all(py, file, view.bytes());
        // SAFETY: `slf` is the method's FileIO.
        let appends = unsafe { is_for(slf, Mode::Appends) };
        if appends { at_end(file, write) } else { write(file) }.map(number)
    };
    // SAFETY: Python calls this, with a FileIO and `nargs` objects.
    unsafe {
        let at_once = if nargs == 1 { number(written_at_once(slf, *args)) } else { None };
        at_once.unwrap_or_else(|| method(("write", Mode::Writes), slf, (args, nargs), 1..=1, how))
    }
}

/// How many bytes of an object were written at once, if any were.
///
/// # Safety
/// `slf` is a FileIO and `object` lives, and the GIL is held.
unsafe fn written_at_once(slf: *mut PyObject, object: *mut PyObject) -> Option<usize> {
    // SAFETY: the caller's promise.
    let (py, descriptor, is_open) =
        unsafe { (Python::assume_attached(), file_descriptor(slf), is_for(slf, Mode::Writes)) };
    if !is_open || !matches!(descriptor, 1 | 2) {
        return None;
    }
    // SAFETY: the caller's promise; the view is dropped while the GIL is held.
    let Some(view) = (unsafe { View::new(object, ffi::PyBUF_SIMPLE) }) else {
        drop(PyErr::take(py));
        return None;
    };
    write_at_once(py, descriptor, view.bytes())
}

unsafe extern "C" fn readall(slf: *mut PyObject, args: *mut *mut PyObject, nargs: isize) -> *mut PyObject {
    let how = |py: Python<'_>, descriptor, _: &[_]| read_all(py, file(py, descriptor)?);
    // SAFETY: Python calls this.
    unsafe { method(("readall", Mode::Reads), slf, (args, nargs), 0..=0, how) }
}

/// Reads at most `size` bytes at `offset`; `None` where the descriptor does not allow it.
#[pyfunction]
pub(crate) fn read_at(py: Python<'_>, descriptor: c_int, size: usize, offset: u64) -> PyResult<Option<Py<PyAny>>> {
    read_some(py, file(py, descriptor)?, size, Some(offset)).map(|bytes| owned(py, bytes))
}

/// Before a descriptor is closed: ends what other tasklets have in flight on it, and waits until that has ended.
#[pyfunction]
pub(crate) fn cancel_file(py: Python<'_>, descriptor: c_int) -> PyResult<()> {
    let file = file(py, descriptor)?;
    settle(|scheduler| scheduler.cancel_file(file))
}

/// Waits until the file's data has reached the device, as os.fsync.
#[pyfunction]
pub(crate) fn fsync(py: Python<'_>, descriptor: c_int) -> PyResult<()> {
    operate(py, Op::Sync { file: file(py, descriptor)?, data_only: false }).map(drop)
}
