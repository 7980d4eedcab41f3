//! Unix: the number is the descriptor, for files and for sockets.

use std::ffi::{OsStr, c_int};
use std::mem::MaybeUninit;
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::OsStrExt;

use overlapped_port::sys::{OpenHow, RawFile, RawSocket, SystemPath, is_ready};
use overlapped_port::{Address, Op, Outcome};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::super::stdlib::Socket;
use super::named;
use crate::thread::life::runtime;
use crate::thread::runtime::{program_ends, to_error};

/// No more bytes can be asked for in one read, as of the standard library's (`_PY_READ_MAX`).
pub(crate) const READ_MOST: usize = isize::MAX as usize;

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

/// Writes to a standard stream that takes so many bytes without a wait: there and then, so that a line which a thread prints
/// in pieces stays in one piece, as it does where threads are the system's. A pipe that is ready has room for `PIPE_BUF`. How
/// many bytes were written; `None` where none were.
pub(crate) fn write_at_once(py: Python<'_>, descriptor: c_int, bytes: &[u8]) -> Option<usize> {
    if bytes.len() > libc::PIPE_BUF || !is_ready(descriptor, false, true) {
        return None;
    }
    // SAFETY: the bytes are there during the call.
    let written = py.detach(|| unsafe { libc::write(descriptor, bytes.as_ptr().cast(), bytes.len()) });
    usize::try_from(written).ok()
}

/// Runs `write` with what is to be written to where a write to `file` is to go to its end: `O_APPEND` sees to that.
pub(crate) fn at_end<T>(file: RawFile, write: impl FnOnce(RawFile) -> T) -> T {
    write(file)
}

/// Whether the standard library is to say what is wrong. Here read(2) and write(2) have said it in the same words; and to
/// call them again where the descriptor is closed could wait in the system, and take what is not ours: its number may be
/// another's by now.
pub(crate) fn is_refused(_error: &std::io::Error) -> bool {
    false
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
    let runtime = runtime(py)?;
    // Read while this stack may be elsewhere, so all of it is on the heap: not the bytes of the path alone.
    let path = SystemPath::new(path).map(Box::new).map_err(|_| PyValueError::new_err("embedded null byte"))?;
    let how = OpenHow { flags: flags | libc::O_CLOEXEC, mode: 0o666 };
    match runtime.operate(Op::Open { path: &path, how }, None) {
        Ok(Outcome::File(file)) => Ok(file.into_raw_fd()),
        Ok(_) => unreachable!("an open brings a file"),
        Err(error) => Err(named(py, to_error(py, &runtime, error), name)),
    }
}

/// Whether the addresses that a receive on it brings are known here.
pub(crate) fn receives_messages(socket: Socket) -> bool {
    [libc::AF_INET, libc::AF_INET6, libc::AF_UNIX].contains(&socket.family())
}

/// The address of a Unix socket as Python has it: a path, empty for one without a name, or the bytes of an abstract name.
pub(crate) fn local_address(py: Python<'_>, address: &Address) -> PyResult<Option<Py<PyAny>>> {
    let bytes = address.as_bytes();
    let start = std::mem::offset_of!(libc::sockaddr_un, sun_path);
    let is_local = bytes.len() >= start && address.to_sockaddr().family() == libc::AF_UNIX as libc::sa_family_t;
    if !is_local {
        return Ok(None);
    }
    let path = &bytes[start..];
    if path.first() == Some(&0) {
        return Ok(Some(PyBytes::new(py, path).into_any().unbind()));
    }
    let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(Some(OsStr::from_bytes(path).into_pyobject(py)?.into_any().unbind()))
}

/// The parts of received control data: the level and type of each, and its bytes (cmsg(3)).
pub(crate) fn control_data(control: &[u8]) -> impl Iterator<Item = (c_int, c_int, &[u8])> {
    // SAFETY: all zeroes is a valid `msghdr`.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_control = control.as_ptr().cast_mut().cast();
    header.msg_controllen = control.len() as _;
    // SAFETY: the header tells of `control` alone, which is aligned (`receive`'s), and filled by the kernel.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    std::iter::from_fn(move || {
        // SAFETY: null, or a part that is whole within `control`; the last one's data may have been cut.
        let part = unsafe { next.as_ref()? };
        let (level, kind) = (part.cmsg_level, part.cmsg_type);
        // SAFETY: as above.
        let start = unsafe { libc::CMSG_DATA(part) as usize } - control.as_ptr() as usize;
        let length = (part.cmsg_len as usize).saturating_sub(start - (next as usize - control.as_ptr() as usize));
        // SAFETY: as above.
        next = unsafe { libc::CMSG_NXTHDR(&raw const header, next) };
        let end = (start + length).min(control.len());
        Some((level, kind, control.get(start..end).unwrap_or_default()))
    })
}

/// A receive with this flag tells the length of the whole message, also where the buffer is shorter (recv(2)).
#[cfg(target_os = "linux")]
pub(crate) const TRUE_LENGTH: c_int = libc::MSG_TRUNC;
/// Only Linux has a receive that tells the length of the whole message.
#[cfg(not(target_os = "linux"))]
pub(crate) const TRUE_LENGTH: c_int = 0;

/// The flag of a receive or a send that is not to wait.
pub(crate) const NOT_TO_WAIT: c_int = libc::MSG_DONTWAIT;

/// How much memory a receive on a stream is given that is allowed `size` bytes and likely to bring `expected`: with a byte
/// more it is not full, and so few more cost the allocator no second piece when the rest is given back.
pub(crate) fn room(size: usize, expected: usize) -> usize {
    size.min(expected.saturating_add(16))
}

/// How many bytes could be received from a stream at once, 0 also where nobody can tell. An error of the socket's stays.
pub(crate) fn unread(socket: RawSocket) -> usize {
    let mut count: c_int = 0;
    // SAFETY: the call fills an `int`; of a closed descriptor it fails.
    let asked = unsafe { libc::ioctl(socket, libc::FIONREAD, &raw mut count) };
    if asked < 0 { 0 } else { usize::try_from(count).unwrap_or(0) }
}

/// Receives what is there, and does not wait; returns how many bytes.
pub(crate) fn receive_what_is_there(socket: RawSocket, memory: &mut [MaybeUninit<u8>]) -> usize {
    // SAFETY: the memory is there, and may be filled.
    let received = unsafe { libc::recv(socket, memory.as_mut_ptr().cast(), memory.len(), libc::MSG_DONTWAIT) };
    usize::try_from(received).unwrap_or(0)
}

/// The flag of a receive from the queue of errors, which never waits.
#[cfg(target_os = "linux")]
pub(crate) const OF_ERRORS: c_int = libc::MSG_ERRQUEUE;
/// Only Linux has a queue of errors.
#[cfg(not(target_os = "linux"))]
pub(crate) const OF_ERRORS: c_int = 0;

/// Calls what is told by its arguments not to wait.
pub(crate) fn without_waiting<T>(_: RawSocket, _waits: bool, call: impl FnOnce() -> T) -> T {
    call()
}
