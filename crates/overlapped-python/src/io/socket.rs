//! The sockets of Python's face: the operations that a port does, as methods of a subclass of `socket.socket`.
//!
//! A socket has no state here: its descriptor and its time-out are in the standard library's own object. Each receive
//! asks for exactly what its caller wants and is ended with it: nothing is read ahead, so `MSG_PEEK`, `select`, `dup`,
//! `detach`, `ssl` and a hand-off see the socket as the kernel has it.
//!
//! What cannot block (a socket in non-blocking mode, `MSG_ERRQUEUE`, `MSG_DONTWAIT` without a time-out) is left to the
//! standard library's method, which is told not to wait: with a time-out, it would do so before it looks at the flags. With
//! `MSG_DONTWAIT` and a time-out Python waits, and so does the port.

use std::ffi::c_int;
use std::io;
use std::net::Shutdown;
use std::ptr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use overlapped::engine::park;
use overlapped_port::sys::{self, RawSocket};
use overlapped_port::{Address, Interest, Op, Outcome};

use pyo3::exceptions::{PyBlockingIOError, PyTimeoutError, PyValueError};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyTuple};

use super::descriptor::{self, NOT_TO_WAIT, OF_ERRORS, SocketNumber, TRUE_LENGTH, without_waiting};
use super::settle::settle;
use super::stdlib::Socket;
use crate::python::buffer::View;
use crate::python::bytes::NewBytes;
use crate::python::class::{fast, give, install};
use crate::python::error::from_io;
use crate::python::time::deadline;
use crate::thread::life::runtime;
use crate::thread::runtime::{Runtime, program_ends, to_error};
use crate::thread::signal::run_signal_handlers;

/// The most that a receive takes into a buffer of the port's, which must then be copied; an idle connection holds none.
const PROVIDED: usize = 16 << 10;

/// A socket whose last receive brought this much gets the next one straight into the object that is returned: measured on
/// an echo of 4 KiB messages over 500 connections, the copy and its cache misses cost a seventh of the whole request.
const LARGE: usize = 1 << 10;

/// `_socket.socket`'s own methods, for what never waits.
static BASE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Puts the native methods on `class`, a subclass of `socket.socket`.
#[pyfunction]
pub(crate) fn install_socket(class: Bound<'_, PyAny>) -> PyResult<()> {
    let py = class.py();
    BASE.get_or_try_init(py, || py.import("_socket")?.getattr("socket").map(Bound::unbind))?;
    let recv_into_method = ffi::PyMethodDef {
        ml_name: c"recv_into".as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: recv_into },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: c"recv_into(buffer, [nbytes[, flags]]) -> nbytes_read\n\nReceives into a writable buffer; only the calling tasklet waits.".as_ptr(),
    };
    let methods = vec![
        fast(c"recv", recv, c"recv(buffersize[, flags]) -> data\n\nReceives up to buffersize bytes; only the calling tasklet waits.\nAn empty result is the end of the stream."),
        fast(c"send", send, c"send(data[, flags]) -> count\n\nSends data and returns how many bytes the system took; only the calling tasklet waits."),
        fast(c"sendall", sendall, c"sendall(data[, flags])\n\nSends all of data; only the calling tasklet waits. After an error it is unknown how much was sent."),
        recv_into_method,
    ];
    install(&class, methods)
}

/// Calls the standard library's method of that name.
#[inline(never)]
unsafe fn base(name: &str, slf: *mut PyObject, args: *const *mut PyObject, count: isize) -> PyResult<Py<PyAny>> {
    // SAFETY: called from Python, so the GIL is held; `args` has `count` live objects.
    unsafe {
        let py = Python::assume_attached();
        let method = BASE.get(py).expect("set by install_socket").bind(py).getattr(name)?;
        let mut all = vec![Bound::from_borrowed_ptr(py, slf)];
        all.extend((0..count).map(|at| Bound::from_borrowed_ptr(py, *args.offset(at))));
        let all = PyTuple::new(py, all)?;
        let call = || method.call1(all).map(Bound::unbind);
        if program_ends() { call() } else { try_once(Socket::new(slf), call) }
    }
}

/// When an operation of `socket` that begins now has to be over.
pub(crate) fn due(socket: Socket) -> Option<Instant> {
    let timeout = socket.timeout();
    (timeout >= 0).then(|| Instant::now() + Duration::from_nanos(timeout as u64))
}

/// Whether a call with such flags does not wait: what then is not there is an error.
#[cfg_attr(windows, expect(clippy::bad_bit_mask, reason = "Windows has no such flags"))]
pub(crate) fn never_waits(socket: Socket, flags: c_int) -> bool {
    let timeout = socket.timeout();
    timeout == 0
        || flags & OF_ERRORS != 0
        || (flags & NOT_TO_WAIT != 0 && timeout < 0)
        || socket.descriptor() == CLOSED
        || program_ends()
}

/// The flags for an operation of the port's.
#[cfg_attr(windows, expect(clippy::no_effect, clippy::identity_op, reason = "Windows has no such flag"))]
pub(crate) fn waiting(flags: c_int) -> c_int {
    flags & !NOT_TO_WAIT
}

/// The descriptor of a closed socket object: -1, also as Windows's unsigned number.
const CLOSED: RawSocket = !0;

/// Reads `(required, flags=0)`; `None` where only the standard library can say what is wrong with them.
unsafe fn with_flags(args: *const *mut PyObject, count: isize) -> Option<(*mut PyObject, c_int)> {
    // SAFETY: `args` has `count` live objects; the GIL is held.
    unsafe {
        match count {
            1 => Some((*args, 0)),
            2 => {
                let flags = ffi::PyLong_AsLong(*args.offset(1));
                if flags == -1 && !ffi::PyErr_Occurred().is_null() {
                    ffi::PyErr_Clear();
                    return None;
                }
                Some((*args, c_int::try_from(flags).ok()?))
            }
            _ => None,
        }
    }
}

/// Sets the error of an operation.
#[cold]
#[inline(never)]
fn failed(py: Python<'_>, runtime: &Runtime, error: io::Error) -> *mut PyObject {
    give(Err(to_error(py, runtime, error)))
}

/// Runs an operation for Python; `CANCELLED` by a close shows as the closed descriptor that it is.
pub(crate) fn operate(py: Python<'_>, runtime: &Runtime, op: Op<'_>, due: Option<Instant>) -> PyResult<Outcome> {
    runtime.operate(op, due).map_err(|error| to_error(py, runtime, error))
}

pub(crate) fn count(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Count(count) => *count,
        _ => 0,
    }
}

unsafe extern "C" fn recv(slf: *mut PyObject, args: *mut *mut PyObject, nargs: isize) -> *mut PyObject {
    // SAFETY: Python calls this with a socket and `nargs` arguments, holding the GIL.
    unsafe {
        let py = Python::assume_attached();
        let socket = Socket::new(slf);
        let asked = with_flags(args, nargs).and_then(|(size, flags)| {
            let size = ffi::PyNumber_AsSsize_t(size, ffi::PyExc_OverflowError);
            if size == -1 {
                ffi::PyErr_Clear();
            }
            (size > 0 && !never_waits(socket, flags)).then_some((size as usize, flags))
        });
        let Some((size, flags)) = asked else { return give(base("recv", slf, args, nargs).map(Py::into_ptr)) };
        let runtime = match runtime(py) {
            Ok(runtime) => runtime,
            Err(error) => return give(Err(error)),
        };
        // Of a stream more comes with the next call; a message that does not fit is cut, and a peek always sees the same.
        // Of a receive that tells the message's true length, what is beyond the buffer is nobody's to show.
        let provided = (size <= PROVIDED && flags & TRUE_LENGTH == 0) || (socket.is_stream() && flags == 0);
        if provided && !runtime.expects_large(socket.descriptor()) {
            receive_provided(py, runtime, socket, size.min(PROVIDED), flags)
        } else {
            give(receive(py, &runtime, socket, size, flags))
        }
    }
}

/// Receives into a buffer of the port's; null where Python has set an error.
///
/// The tasklet waits in here, and its stack is copied away and back: what comes before is in a function that is left by then.
#[inline(never)]
fn receive_provided(py: Python<'_>, runtime: Rc<Runtime>, socket: Socket, limit: usize, flags: c_int) -> *mut PyObject {
    let (due, socket) = (due(socket), socket.descriptor());
    match runtime.operate(Op::RecvProvided { socket, limit, flags: waiting(flags) }, due) {
        Ok(outcome) => runtime.scheduler.consume(outcome, |bytes| {
            runtime.expect_large(socket, bytes.len() >= LARGE);
            // SAFETY: the GIL is held; the bytes are copied. Null, with an error set, where there is no memory.
            unsafe { ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), bytes.len() as isize) }
        }),
        Err(error) => failed(py, &runtime, error),
    }
}

/// Receives straight into the object that is returned.
#[inline(never)]
fn receive(py: Python<'_>, runtime: &Runtime, socket: Socket, size: usize, flags: c_int) -> PyResult<*mut PyObject> {
    let (due, socket) = (due(socket), socket.descriptor());
    let mut bytes = NewBytes::new(py, size)?;
    if flags & TRUE_LENGTH != 0 {
        bytes.clear();
    }
    let received = operate(py, runtime, Op::Recv { socket, buffer: bytes.memory(), flags: waiting(flags) }, due)?;
    runtime.expect_large(socket, count(&received) >= LARGE);
    bytes.finish(py, count(&received))
}

unsafe extern "C" fn recv_into(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    nargs: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: Python calls this with a socket, `nargs` arguments and the values of `names`, holding the GIL.
    unsafe {
        let py = Python::assume_attached();
        let call = || -> PyResult<*mut PyObject> {
            let socket = Socket::new(slf);
            let mut given = [None, None, None];
            if nargs > 3 {
                return base("recv_into", slf, args, nargs).map(Py::into_ptr);
            }
            for (at, place) in given.iter_mut().enumerate().take(nargs as usize) {
                *place = Some(Bound::from_borrowed_ptr(py, *args.add(at)));
            }
            if !names.is_null() {
                let names = Bound::from_borrowed_ptr(py, names);
                let names = names.cast::<PyTuple>()?;
                for (at, name) in names.iter().enumerate() {
                    let name: String = name.extract()?;
                    let place = ["buffer", "nbytes", "flags"].iter().position(|known| *known == name);
                    let Some(place) = place.filter(|place| given[*place].is_none()) else {
                        let problem = format!("recv_into() got an unexpected keyword argument '{name}'");
                        return Err(pyo3::exceptions::PyTypeError::new_err(problem));
                    };
                    given[place] = Some(Bound::from_borrowed_ptr(py, *args.offset(nargs).add(at)));
                }
            }
            let [buffer, size, flags] = &given;
            let Some(buffer) = buffer else { return base("recv_into", slf, args, nargs).map(Py::into_ptr) };
            let size = size.as_ref().map_or(Ok(0), |size| size.extract::<isize>())?;
            let flags = flags.as_ref().map_or(Ok(0), |flags| flags.extract::<c_int>())?;
            let view = if never_waits(socket, flags) { None } else { View::new(buffer.as_ptr(), ffi::PyBUF_WRITABLE) };
            let Some(mut view) = view else {
                // The standard library's own does it, or says what is wrong with the buffer.
                ffi::PyErr_Clear();
                let all = [
                    buffer.clone().unbind(),
                    size.into_pyobject(py)?.unbind().into_any(),
                    flags.into_pyobject(py)?.unbind().into_any(),
                ];
                let raw = all.each_ref().map(Py::as_ptr);
                return base("recv_into", slf, raw.as_ptr(), 3).map(Py::into_ptr);
            };
            if size < 0 {
                return Err(PyValueError::new_err("negative buffersize in recv_into"));
            }
            let limit = if size == 0 { view.len() } else { size as usize };
            if limit > view.len() {
                return Err(PyValueError::new_err("buffer too small for requested bytes"));
            }
            if limit == 0 {
                return Ok(ffi::PyLong_FromLong(0));
            }
            let runtime = runtime(py)?;
            let op =
                Op::Recv { socket: socket.descriptor(), buffer: &mut view.memory()[..limit], flags: waiting(flags) };
            let received = operate(py, &runtime, op, due(socket))?;
            Ok(ffi::PyLong_FromSize_t(count(&received)))
        };
        give(call())
    }
}

unsafe extern "C" fn send(slf: *mut PyObject, args: *mut *mut PyObject, nargs: isize) -> *mut PyObject {
    // SAFETY: as for `send_as`.
    unsafe {
        send_as("send", slf, args, nargs, |runtime, socket, data, flags, due| {
            let op = Op::Send { socket: socket.descriptor(), buffer: data, flags: waiting(flags), all: false };
            let sent = runtime.operate(op, due)?;
            Ok(ffi::PyLong_FromSize_t(count(&sent)))
        })
    }
}

unsafe extern "C" fn sendall(slf: *mut PyObject, args: *mut *mut PyObject, nargs: isize) -> *mut PyObject {
    // SAFETY: as for `send_as`.
    unsafe {
        send_as("sendall", slf, args, nargs, |runtime, socket, mut rest, flags, due| {
            loop {
                // Asked anew each time: a closed socket's number may soon be another's.
                let op = Op::Send { socket: socket.descriptor(), buffer: rest, flags: waiting(flags), all: true };
                let sent = count(&runtime.operate(op, due)?);
                rest = &rest[sent..];
                if rest.is_empty() {
                    return Ok(ffi::Py_NewRef(ffi::Py_None()));
                }
                // What a handler raises, the next send does.
                run_signal_handlers(Python::assume_attached(), runtime);
                // Short: an error came between, which the next send tells; or the time was up.
                if due.is_some_and(|due| Instant::now() >= due) {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "timed out"));
                }
            }
        })
    }
}

/// What `send` and `sendall` have in common: `how` sends the bytes.
///
/// # Safety
/// To be called by Python with a socket and `nargs` arguments, holding the GIL.
#[inline(always)]
unsafe fn send_as(
    name: &str,
    slf: *mut PyObject,
    args: *const *mut PyObject,
    nargs: isize,
    how: impl FnOnce(&Runtime, Socket, &[u8], c_int, Option<Instant>) -> io::Result<*mut PyObject>,
) -> *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe {
        let py = Python::assume_attached();
        let socket = Socket::new(slf);
        let Some((data, flags)) = with_flags(args, nargs).filter(|(_, flags)| !never_waits(socket, *flags)) else {
            return give(base(name, slf, args, nargs).map(Py::into_ptr));
        };
        let Some(view) = View::new(data, ffi::PyBUF_SIMPLE) else { return ptr::null_mut() };
        let runtime = match runtime(py) {
            Ok(runtime) => runtime,
            Err(error) => return give(Err(error)),
        };
        how(&runtime, socket, view.bytes(), flags, due(socket)).unwrap_or_else(|error| failed(py, &runtime, error))
    }
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
            park_until(py, &runtime, due, Instant::now() + pause)?;
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
    while Instant::now() < until {
        park(Some(until), "socket").map_err(|_| runtime.raise(py))?;
    }
    if due.is_some_and(|due| Instant::now() >= due) { Err(PyTimeoutError::new_err("timed out")) } else { Ok(()) }
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

/// Calls something of the standard library's while `socket` passes for one in non-blocking mode.
fn try_once<T>(socket: Socket, call: impl FnOnce() -> T) -> T {
    let timeout = socket.replace_timeout(0);
    let result = without_waiting(socket.descriptor(), timeout < 0, call);
    socket.replace_timeout(timeout);
    result
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
    settle(|scheduler| scheduler.cancel_socket(socket), |scheduler| scheduler.in_flight_on_socket(socket))
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
