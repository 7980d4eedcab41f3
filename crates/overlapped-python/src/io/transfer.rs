//! `recv`, `recv_into`, `send` and `sendall` of a socket: what waits, in one function.
//!
//! **One depth.** While a tasklet waits, its C stack is copied to memory that is asked of `malloc` at each switch, as large as
//! the stack is deep. Who receives and who sends are equally deep, for both wait in [`transfer`], and what one gives back fits
//! the other. Where sends were 144 bytes deeper, `malloc` cut and joined pieces at each switch: 3% of an echo server's CPU
//! time. For the same reason a call is made ready, and its result given, in functions that are left while it waits, and what
//! is to be remembered of a call lies in [`Call`]. (Rejected: stacks that are rounded up to a common depth. All that is
//! copied more costs as much as is won.)
//!
//! **Objects of the right size.** A receive into a buffer of the port's holds no memory while it waits, and its bytes are
//! copied. Where a stream brings much, that copy costs more than memory: the next receive goes straight into the object that
//! is returned. It is made for what the last ones brought, not for all that the caller allows: to make 16 KiB and give 12 of
//! them back cost an eighth to a quarter of an echo of 4 KiB over 500 connections. Where it is filled and more has come, that is
//! taken too, so the caller sees nothing of this: a message that is there is not cut but where the caller cuts it. (Not where
//! others receive on the same socket, or send: what follows may be theirs then. The next receive brings it.)
//!
//! **What was tried and did not pay**, of a server's CPU time a request of 64 bytes over 8, 50 and 500 connections. A `send`
//! that is tried at once (send(2)) needs no switch, and costs 8 to 19% more: it is a call for each, where a turn's sends
//! enter the kernel together. A receive that polls first (`IORING_RECVSEND_POLL_FIRST`) costs 6% more at 8 connections and saves
//! 2% at 50: of a busy server's receives nine in ten, and three in four, find their bytes at their first try. Rejected without
//! a trial: a `send` that answers before the system has the bytes. What a program does next would overtake them, and be it to
//! compute for a second or to end; and errors would come to the wrong call.

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::time::Instant;

use overlapped_port::sim::now;
use overlapped_port::sys::RawSocket;
use overlapped_port::{Op, Outcome};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::calls::{base, count, due, never_waits, tells_true_length, waiting};
use super::descriptor;
use super::stdlib::Socket;
use crate::python::buffer::View;
use crate::python::bytes::NewBytes;
use crate::python::class::give;
use crate::thread::life::runtime;
use crate::thread::runtime::{Runtime, to_error};
use crate::thread::signal::run_signal_handlers;

/// The most that a receive takes into a buffer of the port's, which must then be copied; an idle connection holds none.
const PROVIDED: usize = 16 << 10;

/// The methods.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Receive,
    ReceiveInto,
    Send,
    SendAll,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Method::Receive => "recv",
            Method::ReceiveInto => "recv_into",
            Method::Send => "send",
            Method::SendAll => "sendall",
        }
    }
}

pub(super) unsafe extern "C" fn recv(slf: *mut PyObject, args: *mut *mut PyObject, nargs: isize) -> *mut PyObject {
    // SAFETY: Python calls this with a socket and `nargs` arguments, holding the GIL.
    unsafe { transfer(Method::Receive, slf, args, nargs, std::ptr::null_mut()) }
}

pub(super) unsafe extern "C" fn recv_into(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    nargs: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: Python calls this with a socket, `nargs` arguments and the values of `names`, holding the GIL.
    unsafe { transfer(Method::ReceiveInto, slf, args, nargs, names) }
}

pub(super) unsafe extern "C" fn send(slf: *mut PyObject, args: *mut *mut PyObject, nargs: isize) -> *mut PyObject {
    // SAFETY: as for `recv`.
    unsafe { transfer(Method::Send, slf, args, nargs, std::ptr::null_mut()) }
}

pub(super) unsafe extern "C" fn sendall(slf: *mut PyObject, args: *mut *mut PyObject, nargs: isize) -> *mut PyObject {
    // SAFETY: as for `recv`.
    unsafe { transfer(Method::SendAll, slf, args, nargs, std::ptr::null_mut()) }
}

/// Does what a method is to do. The tasklet waits in here.
///
/// # Safety
/// To be called by Python with a socket, `nargs` arguments and the values of `names`, which may be null, holding the GIL.
#[inline(never)]
unsafe fn transfer(
    method: Method,
    slf: *mut PyObject,
    args: *const *mut PyObject,
    nargs: isize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the caller's promise.
    let mut call = Call::new(method, unsafe { Socket::new(slf) });
    // SAFETY: the caller's promise.
    if let Some(given) = unsafe { call.begin(slf, args, nargs, names) } {
        return given;
    }
    loop {
        // SAFETY: what the call lends is there until its end, which comes after the operation's.
        let outcome = call.runtime().operate(unsafe { call.op() }, call.due);
        if let Some(given) = call.end(outcome) {
            return given;
        }
    }
}

/// One call of a method, while it waits. It is filled where it stays: to hand it from function to function took as long as all
/// that is done with it.
struct Call {
    method: Method,
    socket: Socket,
    /// Set when it has begun.
    runtime: Option<Rc<Runtime>>,
    flags: c_int,
    due: Option<Instant>,
    /// The bytes to send, or the memory to fill; null for a buffer of the port's, of which so many bytes may be filled.
    start: *mut u8,
    length: usize,
    /// The object that is returned, where it is filled.
    object: Option<NewBytes>,
    /// How many bytes the caller allows, and how many receives had begun on the socket when this had.
    asked: usize,
    begun: u32,
    /// The caller's object, where it is more than bytes that the arguments keep.
    view: Option<Box<View>>,
}

impl Call {
    #[inline(always)]
    fn new(method: Method, socket: Socket) -> Call {
        let (runtime, due, start, object, view) = (None, None, std::ptr::null_mut(), None, None);
        Call { method, socket, runtime, flags: 0, due, start, length: 0, object, asked: 0, begun: 0, view }
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("the call has begun")
    }

    /// Makes the call ready to wait. Else what the method returns: the standard library's own does it, or says what is wrong
    /// with the arguments. Null where Python has set an error.
    ///
    /// # Safety
    /// As for [`transfer`].
    #[inline(never)]
    unsafe fn begin(
        &mut self,
        slf: *mut PyObject,
        args: *const *mut PyObject,
        nargs: isize,
        names: *mut PyObject,
    ) -> Option<*mut PyObject> {
        // SAFETY: the caller's promise.
        unsafe {
            let py = Python::assume_attached();
            if self.method == Method::ReceiveInto {
                return self.receive_into(py, slf, args, nargs, names).unwrap_or_else(|error| Some(give(Err(error))));
            }
            let asked = with_flags(args, nargs).filter(|(_, flags)| !never_waits(self.socket, *flags));
            let Some((given, flags)) = asked else { return Some(give(leave(self.method, slf, args, nargs))) };
            if self.method != Method::Receive {
                return self.send(py, given, flags);
            }
            let size = ffi::PyNumber_AsSsize_t(given, ffi::PyExc_OverflowError);
            if size <= 0 {
                ffi::PyErr_Clear();
                return Some(give(leave(self.method, slf, args, nargs)));
            }
            self.receive(py, size as usize, flags).err().map(|error| give(Err(error)))
        }
    }

    /// What all begin with, when the arguments are right.
    fn wait_on(&mut self, py: Python<'_>, flags: c_int) -> PyResult<()> {
        self.runtime = Some(runtime(py)?);
        (self.flags, self.due) = (waiting(flags), due(self.socket));
        Ok(())
    }

    /// A call of `recv`.
    fn receive(&mut self, py: Python<'_>, size: usize, flags: c_int) -> PyResult<()> {
        self.wait_on(py, flags)?;
        let (expected, begun) = self.runtime().expectations.begin(self.socket.descriptor());
        (self.asked, self.begun) = (size, begun);
        // Of a stream more comes with the next call; a message that does not fit is cut, and a peek always sees the same.
        // Of a receive that tells the message's true length, what is beyond the buffer is nobody's to show.
        let is_plain = self.socket.is_stream() && flags == 0;
        self.length = match expected {
            None if is_plain || size <= PROVIDED && !tells_true_length(flags) => {
                self.length = size.min(PROVIDED);
                return Ok(());
            }
            Some(expected) if is_plain => descriptor::room(size, expected),
            _ => size,
        };
        let object = self.object.insert(NewBytes::new(py, self.length)?);
        if tells_true_length(flags) {
            object.clear();
        }
        self.start = object.memory().as_mut_ptr().cast();
        Ok(())
    }

    /// A call of `send` or `sendall`.
    ///
    /// # Safety
    /// `data` is an argument of the call's.
    unsafe fn send(&mut self, py: Python<'_>, data: *mut PyObject, flags: c_int) -> Option<*mut PyObject> {
        // SAFETY: the caller's promise, and the GIL is held.
        unsafe {
            if ffi::PyBytes_CheckExact(data) != 0 {
                // They never change, and the arguments keep them.
                self.start = ffi::PyBytes_AS_STRING(data).cast_mut().cast();
                self.length = ffi::Py_SIZE(data) as usize;
            } else {
                let Some(view) = View::new(data, ffi::PyBUF_SIMPLE) else { return Some(std::ptr::null_mut()) };
                (self.start, self.length) = (view.bytes().as_ptr().cast_mut(), view.len());
                self.view = Some(Box::new(view));
            }
        }
        self.wait_on(py, flags).err().map(|error| give(Err(error)))
    }

    /// A call of `recv_into`.
    ///
    /// # Safety
    /// As for [`transfer`].
    unsafe fn receive_into(
        &mut self,
        py: Python<'_>,
        slf: *mut PyObject,
        args: *const *mut PyObject,
        nargs: isize,
        names: *mut PyObject,
    ) -> PyResult<Option<*mut PyObject>> {
        // SAFETY: the caller's promise.
        unsafe {
            let leave = |args, nargs| leave(Method::ReceiveInto, slf, args, nargs).map(Some);
            let mut given = [None, None, None];
            if nargs > 3 {
                return leave(args, nargs);
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
                        return Err(PyTypeError::new_err(problem));
                    };
                    given[place] = Some(Bound::from_borrowed_ptr(py, *args.offset(nargs).add(at)));
                }
            }
            let [buffer, size, flags] = &given;
            let Some(buffer) = buffer else { return leave(args, nargs) };
            let size = size.as_ref().map_or(Ok(0), |size| size.extract::<isize>())?;
            let flags = flags.as_ref().map_or(Ok(0), |flags| flags.extract::<c_int>())?;
            let waits = !never_waits(self.socket, flags);
            let view = if waits { View::new(buffer.as_ptr(), ffi::PyBUF_WRITABLE) } else { None };
            let Some(mut view) = view else {
                // The standard library's own does it, or says what is wrong with the buffer.
                ffi::PyErr_Clear();
                let all = [
                    buffer.clone().unbind(),
                    size.into_pyobject(py)?.unbind().into_any(),
                    flags.into_pyobject(py)?.unbind().into_any(),
                ];
                let raw = all.each_ref().map(Py::as_ptr);
                return leave(raw.as_ptr(), 3);
            };
            if size < 0 {
                return Err(PyValueError::new_err("negative buffersize in recv_into"));
            }
            let limit = if size == 0 { view.len() } else { size as usize };
            if limit > view.len() {
                return Err(PyValueError::new_err("buffer too small for requested bytes"));
            }
            if limit == 0 {
                return Ok(Some(ffi::PyLong_FromLong(0)));
            }
            (self.start, self.length) = (view.memory().as_mut_ptr().cast(), limit);
            self.view = Some(Box::new(view));
            self.wait_on(py, flags)?;
        }
        self.runtime().expectations.begin(self.socket.descriptor());
        Ok(None)
    }

    /// The operation.
    ///
    /// # Safety
    /// The call is not dropped before it has ended.
    #[inline(always)]
    unsafe fn op<'a>(&self) -> Op<'a> {
        // Asked anew each time: a closed socket's number may soon be another's.
        let (socket, flags) = (self.socket.descriptor(), self.flags);
        // SAFETY: the call keeps what its memory is in, or the arguments do; nobody else fills it.
        unsafe {
            match self.method {
                Method::Receive | Method::ReceiveInto if self.start.is_null() => {
                    Op::RecvProvided { socket, limit: self.length, flags }
                }
                Method::Receive | Method::ReceiveInto => {
                    let buffer = std::slice::from_raw_parts_mut(self.start.cast::<MaybeUninit<u8>>(), self.length);
                    Op::Recv { socket, buffer, flags }
                }
                Method::Send | Method::SendAll => {
                    let buffer = std::slice::from_raw_parts(self.start, self.length);
                    Op::Send { socket, buffer, flags, all: self.method == Method::SendAll }
                }
            }
        }
    }

    /// What the method returns after the operation, null with an error set; `None` where another is to follow.
    #[inline(never)]
    fn end(&mut self, outcome: io::Result<Outcome>) -> Option<*mut PyObject> {
        // SAFETY: Python's methods run with the GIL held.
        let py = unsafe { Python::assume_attached() };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return Some(self.failed(py, error)),
        };
        match self.method {
            Method::Receive => Some(self.received(py, outcome)),
            // SAFETY: a new reference, or null with an error set.
            Method::ReceiveInto | Method::Send => Some(unsafe { ffi::PyLong_FromSize_t(count(&outcome)) }),
            Method::SendAll => self.sent(py, count(&outcome)),
        }
    }

    #[cold]
    fn failed(&self, py: Python<'_>, error: io::Error) -> *mut PyObject {
        give(Err(to_error(py, self.runtime(), error)))
    }

    fn received(&mut self, py: Python<'_>, outcome: Outcome) -> *mut PyObject {
        let socket = self.socket.descriptor();
        let Some(object) = self.object.take() else {
            return self.runtime().scheduler.consume(outcome, |bytes| {
                self.learn(socket, bytes.len());
                // SAFETY: the GIL is held; the bytes are copied. Null, with an error set, where there is no memory.
                unsafe { ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), bytes.len() as isize) }
            });
        };
        let received = count(&outcome);
        if received < self.length || received >= self.asked {
            self.learn(socket, received);
            return give(object.finish(py, received));
        }
        give(self.take_rest(py, object))
    }

    /// Notes what a receive has brought. What one is told by flags, as a look ahead is, says nothing of the next.
    fn learn(&self, socket: RawSocket, brought: usize) {
        if self.flags == 0 {
            self.runtime().expectations.end(socket, brought);
        }
    }

    /// The object is full, and was made for less than the caller allows: takes what else is there, in line with it.
    #[cold]
    #[inline(never)]
    fn take_rest(&self, py: Python<'_>, mut object: NewBytes) -> PyResult<*mut PyObject> {
        let (socket, runtime) = (self.socket.descriptor(), self.runtime());
        // Who has begun to receive since may have had what follows.
        let is_last =
            runtime.expectations.begun(socket) == self.begun && runtime.scheduler.in_flight_on_socket(socket) == 0;
        let rest = if is_last { descriptor::unread(socket).min(self.asked - self.length) } else { 0 };
        let mut received = self.length;
        if rest > 0 {
            object.resize(py, self.length + rest)?;
            received += descriptor::receive_what_is_there(socket, &mut object.memory()[self.length..]);
        }
        // It may have been more.
        self.learn(socket, if is_last { received } else { 2 * received });
        object.finish(py, received)
    }

    /// So many more bytes of all were sent.
    fn sent(&mut self, py: Python<'_>, sent: usize) -> Option<*mut PyObject> {
        self.start = self.start.wrapping_add(sent);
        self.length -= sent;
        if self.length == 0 {
            // SAFETY: the GIL is held.
            return Some(unsafe { ffi::Py_NewRef(ffi::Py_None()) });
        }
        // What a handler raises, the next send does.
        run_signal_handlers(py, self.runtime());
        // Short: an error came between, which the next send tells; or the time was up.
        let expired = self.due.is_some_and(|due| now() >= due);
        expired.then(|| self.failed(py, io::Error::new(io::ErrorKind::TimedOut, "timed out")))
    }
}

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

/// What the standard library's own method returns.
///
/// # Safety
/// As for [`transfer`].
unsafe fn leave(
    method: Method,
    slf: *mut PyObject,
    args: *const *mut PyObject,
    nargs: isize,
) -> PyResult<*mut PyObject> {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(unix)]
        if let Some(done) = super::simulated::at_once(Python::assume_attached(), method, Socket::new(slf), args, nargs)
        {
            return done.map(Py::into_ptr);
        }
        base(method.name(), slf, args, nargs).map(Py::into_ptr)
    }
}
