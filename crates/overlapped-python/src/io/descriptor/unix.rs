//! Unix: the number is the descriptor, for files and for sockets.

use std::ffi::c_int;
use std::os::fd::IntoRawFd;

use overlapped_port::sys::{OpenHow, RawFile, RawSocket, SystemPath};
use overlapped_port::{Op, Outcome};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::thread::life::runtime;
use crate::thread::runtime::{program_ends, to_error};

/// A socket's number as Python has it, -1 where it is closed.
pub(crate) type SocketNumber = c_int;

/// The socket of that number.
pub(crate) fn socket(number: SocketNumber) -> RawSocket {
    number
}

/// The file of that number.
#[expect(clippy::unnecessary_wraps, reason = "on Windows it can fail")]
pub(crate) fn file(_: Python<'_>, descriptor: c_int) -> PyResult<RawFile> {
    Ok(descriptor)
}

/// Whether a read or write of the descriptor is not to wait: then it is not the port's.
pub(crate) fn never_waits(descriptor: c_int) -> bool {
    // SAFETY: a flag of a descriptor is asked for; one that is closed gives an error.
    let non_blocking = unsafe { libc::fcntl(descriptor, libc::F_GETFL) } & libc::O_NONBLOCK != 0;
    descriptor < 0 || non_blocking || program_ends()
}

/// Runs `write` with what is to be written to where a write to `file` is to go to its end: `O_APPEND` sees to that.
pub(crate) fn at_end<T>(file: RawFile, write: impl FnOnce(RawFile) -> T) -> T {
    write(file)
}

/// Whether the error is that the descriptor is closed, or not open for this.
pub(crate) fn is_refused(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(overlapped_port::sys::CLOSED)
}

/// How many bytes a regular file has from its position to its end; `None` where that is not known.
pub(crate) fn remaining(file: RawFile) -> Option<usize> {
    // SAFETY: `stat` is a plain value that the call fills; the descriptor is the caller's.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        let here = libc::lseek(file, 0, libc::SEEK_CUR);
        let known = here >= 0 && libc::fstat(file, &raw mut stat) == 0 && stat.st_size > here;
        known.then(|| (stat.st_size - here) as usize)
    }
}

/// Opens a file and returns its descriptor: the opener of `overlapped.io.FileIO`. `name` is for the error.
#[pyfunction]
pub(crate) fn open(py: Python<'_>, path: &[u8], flags: c_int, name: Py<PyAny>) -> PyResult<c_int> {
    if program_ends() {
        return py.import("os")?.call_method1("open", (name, flags, 0o666))?.extract();
    }
    let runtime = runtime(py)?;
    // Read while this stack may be elsewhere, so all of it is on the heap: not the bytes of the path alone.
    let path = SystemPath::new(path).map(Box::new).map_err(|_| PyValueError::new_err("embedded null byte"))?;
    let how = OpenHow { flags: flags | libc::O_CLOEXEC, mode: 0o666 };
    match runtime.scheduler.operate(Op::Open { path: &path, how }, None) {
        Ok(Outcome::File(file)) => Ok(file.into_raw_fd()),
        Ok(_) => unreachable!("an open brings a file"),
        Err(error) => {
            let error = to_error(py, &runtime, error);
            if error.is_instance_of::<PyOSError>(py) {
                error.value(py).setattr("filename", name)?;
            }
            Err(error)
        }
    }
}

/// Flags of a receive or a send that never waits.
#[cfg(target_os = "linux")]
pub(crate) const NEVER_WAITS: c_int = libc::MSG_DONTWAIT | libc::MSG_ERRQUEUE;
/// Flags of a receive or a send that never waits.
#[cfg(not(target_os = "linux"))]
pub(crate) const NEVER_WAITS: c_int = libc::MSG_DONTWAIT;

/// Calls what is told by its arguments not to wait.
pub(crate) fn without_waiting<T>(_: RawSocket, _waits: bool, call: impl FnOnce() -> T) -> T {
    call()
}
