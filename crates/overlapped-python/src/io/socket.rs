//! The sockets of Python's face: the operations that a port does, as methods of a subclass of `socket.socket`.
//!
//! A socket has no state here: its descriptor and its time-out are in the standard library's own object. Each receive
//! asks for no more than its caller wants and is ended with it: nothing is read ahead, so `MSG_PEEK`, `select`, `dup`,
//! `detach`, `ssl` and a hand-off see the socket as the kernel has it.

use std::ffi::c_int;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use overlapped::engine::park;
use overlapped_port::sim::now;
use overlapped_port::sys::{self, RawSocket};
use overlapped_port::{Address, Interest, Op, Outcome};

use pyo3::exceptions::{PyBlockingIOError, PyTimeoutError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use super::calls::{count, due, know_the_standard_librarys, never_waits, operate, try_once};
use super::descriptor::{self, SocketNumber};
use super::settle::settle;
use super::stdlib::Socket;
use super::transfer;
use crate::python::class::{fast, install};
use crate::python::error::from_io;
use crate::python::time::deadline;
use crate::thread::life::runtime;
use crate::thread::runtime::{Runtime, program_ends};

/// Puts the native methods on `class`, a subclass of `socket.socket`.
#[pyfunction]
pub(crate) fn install_socket(class: Bound<'_, PyAny>) -> PyResult<()> {
    let py = class.py();
    know_the_standard_librarys(py)?;
    let recv_into_method = ffi::PyMethodDef {
        ml_name: c"recv_into".as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: transfer::recv_into },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: c"recv_into(buffer, [nbytes[, flags]]) -> nbytes_read\n\nReceives into a writable buffer; only the calling tasklet waits.".as_ptr(),
    };
    let methods = vec![
        fast(c"recv", transfer::recv, c"recv(buffersize[, flags]) -> data\n\nReceives up to buffersize bytes; only the calling tasklet waits.\nAn empty result is the end of the stream."),
        fast(c"send", transfer::send, c"send(data[, flags]) -> count\n\nSends data and returns how many bytes the system took; only the calling tasklet waits."),
        fast(c"sendall", transfer::sendall, c"sendall(data[, flags])\n\nSends all of data; only the calling tasklet waits. After an error it is unknown how much was sent."),
        recv_into_method,
    ];
    install(&class, methods)
}

/// Calls a method of the standard library's until it does not say that it would block, waiting for the socket to be
/// ready in between; within the socket's time-out. With `flags` that say not to wait, calls it once. The method must be told
/// not to block by its arguments, or be one that cannot.
///
/// There are sockets that are ready and still would block, and others may be faster: then the call is made at growing
/// intervals, so that it costs next to nothing whatever the reason.
#[pyfunction]
#[pyo3(signature = (method, socket, writable, flags, *args))]
pub(crate) fn retry(
    method: Bound<'_, PyAny>,
    socket: Bound<'_, PyAny>,
    writable: bool,
    flags: c_int,
    args: Bound<'_, PyTuple>,
) -> PyResult<Py<PyAny>> {
    let py = method.py();
    // SAFETY: only `overlapped.socket` calls this, with its own sockets.
    let inside = unsafe { Socket::new(socket.as_ptr()) };
    let mut all = vec![socket.clone()];
    all.extend(args.iter());
    let all = PyTuple::new(py, all)?;
    if program_ends() {
        return method.call1(all).map(Bound::unbind);
    }
    let runtime = runtime(py)?;
    // Nothing is done yet that an interrupt could lose.
    runtime.scheduler.give_way().map_err(|_| runtime.raise(py))?;
    let (due, waits) = (due(inside), !never_waits(inside, flags));
    let mut pause = Duration::ZERO;
    loop {
        match try_once(inside, || method.call1(&all)) {
            Err(error) if waits && error.is_instance_of::<PyBlockingIOError>(py) => {}
            result => return result.map(Bound::unbind),
        }
        if !pause.is_zero() {
            park_until(py, &runtime, due, now() + pause)?;
        }
        let interest = if writable { Interest::WRITABLE } else { Interest::READABLE };
        operate(py, &runtime, Op::Poll { socket: inside.descriptor(), interest }, due)?;
        pause = (2 * pause + FIRST_PAUSE).min(LONGEST_PAUSE);
    }
}

/// How long a call that would block on a ready socket waits at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_micros(500);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Lets time pass until `until`; past `due` that is the end of the call.
fn park_until(py: Python<'_>, runtime: &Runtime, due: Option<Instant>, until: Instant) -> PyResult<()> {
    let until = due.map_or(until, |due| until.min(due));
    while now() < until {
        park(Some(until), "socket").map_err(|_| runtime.raise(py))?;
    }
    if due.is_some_and(|due| now() >= due) { Err(PyTimeoutError::new_err("timed out")) } else { Ok(()) }
}

/// Calls `method(*args)` while `socket` passes for one in non-blocking mode, whatever its time-out: OpenSSL's calls then
/// say that they want to read or write, and do not wait for it.
#[pyfunction]
#[pyo3(signature = (socket, method, *args))]
pub(crate) fn call_without_waiting(
    socket: Bound<'_, PyAny>,
    method: Bound<'_, PyAny>,
    args: Bound<'_, PyTuple>,
) -> PyResult<Py<PyAny>> {
    // SAFETY: only `overlapped.ssl` calls this, with its own sockets.
    let inside = unsafe { Socket::new(socket.as_ptr()) };
    try_once(inside, || method.call1(args)).map(Bound::unbind)
}

/// Takes a connection off a listening socket: its descriptor and the peer's address, `None` for a family that is not known
/// here.
#[pyfunction]
pub(crate) fn accept(
    py: Python<'_>,
    listener: SocketNumber,
    timeout: Option<f64>,
) -> PyResult<(RawSocket, Option<Py<PyAny>>)> {
    let runtime = runtime(py)?;
    // The kernel fills it while this stack may be elsewhere.
    let mut peer = Box::new(Address::empty());
    let op = Op::Accept { listener: descriptor::socket(listener), peer: Some(&mut peer) };
    match operate(py, &runtime, op, deadline(timeout)?)? {
        Outcome::Socket(socket) => {
            let address = descriptor::address(py, &peer)?;
            Ok((sys::into_raw_socket(socket), address))
        }
        _ => unreachable!("an accept brings a socket"),
    }
}

/// Shuts one or both directions of a connection down: 0 receives, 1 sends, 2 both. What waits for them ends.
#[pyfunction]
pub(crate) fn shutdown(py: Python<'_>, socket: SocketNumber, how: c_int) -> PyResult<()> {
    let how = match how {
        0 => Shutdown::Read,
        1 => Shutdown::Write,
        _ => Shutdown::Both,
    };
    operate(py, &*runtime(py)?, Op::Shutdown { socket: descriptor::socket(socket), how }, None).map(drop)
}

/// Connects a socket to a `sockaddr`, given as bytes.
#[pyfunction]
pub(crate) fn connect(py: Python<'_>, socket: SocketNumber, address: &[u8], timeout: Option<f64>) -> PyResult<()> {
    let runtime = runtime(py)?;
    let address = Box::new(Address::from_bytes(address).map_err(from_io)?);
    operate(py, &runtime, Op::Connect { socket: descriptor::socket(socket), address: &address }, deadline(timeout)?)
        .map(drop)
}

/// Waits until a descriptor is ready; returns the bits that are. 1 readable, 2 writable, 4 urgent, 8 error, 16 hang-up.
#[pyfunction]
#[pyo3(signature = (descriptor, interest, timeout=None))]
pub(crate) fn wait(py: Python<'_>, descriptor: SocketNumber, interest: u8, timeout: Option<f64>) -> PyResult<usize> {
    let runtime = runtime(py)?;
    let op = Op::Poll { socket: descriptor::socket(descriptor), interest: Interest(interest) };
    operate(py, &runtime, op, deadline(timeout)?).map(|outcome| count(&outcome))
}

/// Before a descriptor is closed: ends what other tasklets have in flight on it, and waits until that has ended.
#[pyfunction]
pub(crate) fn cancel_socket(socket: RawSocket) -> PyResult<()> {
    sys::forget_socket(socket);
    settle(|scheduler| scheduler.cancel_socket(socket))
}

/// The bytes of the `sockaddr` of a numeric host, a port, and for IPv6 flow information and scope; `None` where the
/// host is a name.
#[pyfunction]
#[pyo3(signature = (host, port, flowinfo=0, scope=0))]
pub(crate) fn numeric_address(py: Python<'_>, host: &str, port: u16, flowinfo: u32, scope: u32) -> Option<Py<PyBytes>> {
    let address: std::net::SocketAddr = match host.parse().ok()? {
        std::net::IpAddr::V4(ip) => std::net::SocketAddrV4::new(ip, port).into(),
        std::net::IpAddr::V6(ip) => std::net::SocketAddrV6::new(ip, port, flowinfo, scope).into(),
    };
    Some(PyBytes::new(py, Address::from(address).as_bytes()).unbind())
}
