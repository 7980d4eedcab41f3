//! The sockets of a simulated world, for `overlapped.sim`: what is asked of them without waiting. The waits are the port's, as
//! in the real world.

use std::ffi::c_int;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::IntoRawFd;

use overlapped_port::Address;
use overlapped_port::sim::calls;
use overlapped_port::sys::RawSocket;
use pyo3::exceptions::PyOSError;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::descriptor;
use super::stdlib::Socket;
use super::transfer::Method;
use crate::python::buffer::View;
use crate::python::error::from_io;

/// What the world says of a descriptor that is known to be a socket of it.
fn of_world<T>(answer: Option<io::Result<T>>) -> PyResult<T> {
    let stranger = || PyOSError::new_err((libc::ENOTSOCK, "no socket of the simulated world"));
    answer.ok_or_else(stranger)?.map_err(from_io)
}

fn address(py: Python<'_>, address: SocketAddr) -> PyResult<Option<Py<PyAny>>> {
    descriptor::address(py, &Address::from(address))
}

fn raw(bytes: &[u8]) -> PyResult<Address> {
    Address::from_bytes(bytes).map_err(from_io)
}

/// A new socket's descriptor; `None` where the thread is in no world, or worlds have none such.
#[pyfunction]
fn sim_open(family: c_int, kind: c_int) -> PyResult<Option<RawSocket>> {
    let opened = calls::open(family.into(), kind.into());
    opened.transpose().map(|fd| fd.map(IntoRawFd::into_raw_fd)).map_err(from_io)
}

/// Whether it is a socket of the thread's world.
#[pyfunction]
fn sim_has(fd: RawSocket) -> bool {
    calls::listens(fd).is_some()
}

#[pyfunction]
fn sim_listens(fd: RawSocket) -> bool {
    calls::listens(fd).unwrap_or_default()
}

#[pyfunction]
fn sim_duplicate(fd: RawSocket) -> PyResult<RawSocket> {
    of_world(calls::duplicate(fd)).map(IntoRawFd::into_raw_fd)
}

#[pyfunction]
fn sim_bind(fd: RawSocket, address: &[u8]) -> PyResult<()> {
    of_world(calls::bind(fd, raw(address)?.to_socket_addr()))
}

#[pyfunction]
fn sim_listen(fd: RawSocket, backlog: i32) -> PyResult<()> {
    of_world(calls::listen(fd, backlog))
}

#[pyfunction]
fn sim_name(py: Python<'_>, fd: RawSocket) -> PyResult<Option<Py<PyAny>>> {
    address(py, of_world(calls::local_address(fd).map(Ok))?)
}

#[pyfunction]
fn sim_peer(py: Python<'_>, fd: RawSocket) -> PyResult<Option<Py<PyAny>>> {
    address(py, of_world(calls::peer_address(fd))?)
}

#[pyfunction]
fn sim_connect(fd: RawSocket, address: &[u8]) -> PyResult<()> {
    of_world(calls::connect(fd, &raw(address)?))
}

#[pyfunction]
fn sim_accept(py: Python<'_>, fd: RawSocket) -> PyResult<(RawSocket, Option<Py<PyAny>>)> {
    let (socket, peer) = of_world(calls::accept(fd))?;
    Ok((socket.into_raw_fd(), address(py, peer)?))
}

/// To be called before the descriptor is closed.
#[pyfunction]
fn sim_close(fd: RawSocket) {
    calls::close(fd);
}

/// 0 receives, 1 sends, 2 both.
#[pyfunction]
fn sim_shutdown(fd: RawSocket, how: c_int) -> PyResult<()> {
    let how = match how {
        libc::SHUT_RD => Shutdown::Read,
        libc::SHUT_WR => Shutdown::Write,
        libc::SHUT_RDWR => Shutdown::Both,
        _ => return Err(from_io(io::Error::from_raw_os_error(libc::EINVAL))),
    };
    of_world(calls::shutdown(fd, how))
}

/// The number of the error that is pending, 0 for none.
#[pyfunction]
fn sim_take_error(fd: RawSocket) -> PyResult<i32> {
    let error = of_world(calls::take_error(fd).map(Ok))?;
    Ok(error.and_then(|error| error.raw_os_error()).unwrap_or(0))
}

/// The bits of poll(2); `None` of what is no socket of the world.
#[pyfunction]
fn sim_poll(fd: RawSocket, events: i16) -> Option<i16> {
    calls::poll(fd, events)
}

/// Sends from several buffers, to an address where one is given.
#[pyfunction]
fn sim_send(fd: RawSocket, buffers: Vec<Bound<'_, PyAny>>, to: Option<&[u8]>) -> PyResult<usize> {
    let views = buffers.iter().map(view).collect::<PyResult<Vec<_>>>()?;
    let slices: Vec<_> = views.iter().map(|view| IoSlice::new(view.bytes())).collect();
    let to = to.map(raw).transpose()?;
    of_world(calls::send(fd, &slices, to.as_ref()))
}

fn view(object: &Bound<'_, PyAny>) -> PyResult<View> {
    // SAFETY: a live object; the GIL is held here, and when the view is dropped.
    unsafe { View::new(object.as_ptr(), ffi::PyBUF_SIMPLE) }.ok_or_else(|| PyErr::fetch(object.py()))
}

/// The bytes, whether there were more, how many, and who has sent them.
type Received<'py> = (Bound<'py, PyBytes>, bool, usize, Option<Py<PyAny>>);

/// Receives up to `size` bytes: they, whether a datagram was longer, how long it was, and who has sent it.
#[pyfunction]
fn sim_recv(py: Python<'_>, fd: RawSocket, size: usize, flags: c_int) -> PyResult<Received<'_>> {
    let mut bytes = Vec::new();
    let received = of_world(calls::recv(fd, size, flags, |part| bytes.extend_from_slice(part)))?;
    let source = received.source.map_or(Ok(None), |source| address(py, source))?;
    Ok((PyBytes::new(py, &bytes), received.truncated, received.length, source))
}

/// What `recv`, `recv_into`, `send` and `sendall` of a socket return that is not to wait; `None` of what is no socket of the
/// world, or called in a way that the standard library's own is to speak of.
///
/// # Safety
/// `args` has `count` live objects, and the GIL is held.
#[cold]
pub(super) unsafe fn at_once(
    py: Python<'_>,
    method: Method,
    socket: Socket,
    args: *const *mut PyObject,
    count: isize,
) -> Option<PyResult<Py<PyAny>>> {
    let fd = socket.descriptor();
    if !sim_has(fd) || count < 1 {
        return None;
    }
    // SAFETY: the caller's promise.
    let argument = |at: isize| (at < count).then(|| unsafe { Bound::from_borrowed_ptr(py, *args.offset(at)) });
    let number = |at: isize| argument(at).map_or(Some(0), |given| given.extract::<isize>().ok());
    let first = argument(0)?;
    let count_of = |count: usize| {
        let Ok(count) = count.into_pyobject(py);
        count.into_any().unbind()
    };
    let done = match method {
        Method::Receive => {
            let (size, flags) = (usize::try_from(number(0)?).ok()?, number(1)? as c_int);
            sim_recv(py, fd, size, flags).map(|(bytes, ..)| bytes.into_any().unbind())
        }
        Method::ReceiveInto => {
            let (size, flags) = (usize::try_from(number(1)?).ok()?, number(2)? as c_int);
            // SAFETY: a live object; the GIL is held until the view is dropped.
            let mut view = unsafe { View::new(first.as_ptr(), ffi::PyBUF_WRITABLE) }.or_else(|| {
                drop(PyErr::take(py));
                None
            })?;
            let room = if size == 0 { view.len() } else { size };
            let memory = view.initialized().get_mut(..room)?;
            of_world(calls::recv_into(fd, memory, flags)).map(|received| count_of(received.length))
        }
        Method::Send => sim_send(fd, vec![first], None).map(count_of),
        Method::SendAll => send_all(fd, &first).map(|()| py.None()),
    };
    Some(done)
}

fn send_all(fd: RawSocket, data: &Bound<'_, PyAny>) -> PyResult<()> {
    let view = view(data)?;
    let mut left = view.bytes();
    loop {
        left = &left[of_world(calls::send(fd, &[IoSlice::new(left)], None))?..];
        if left.is_empty() {
            return Ok(());
        }
    }
}

pub(super) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    for function in [
        wrap_pyfunction!(sim_open, module)?,
        wrap_pyfunction!(sim_has, module)?,
        wrap_pyfunction!(sim_listens, module)?,
        wrap_pyfunction!(sim_duplicate, module)?,
        wrap_pyfunction!(sim_bind, module)?,
        wrap_pyfunction!(sim_listen, module)?,
        wrap_pyfunction!(sim_name, module)?,
        wrap_pyfunction!(sim_peer, module)?,
        wrap_pyfunction!(sim_connect, module)?,
        wrap_pyfunction!(sim_accept, module)?,
        wrap_pyfunction!(sim_close, module)?,
        wrap_pyfunction!(sim_shutdown, module)?,
        wrap_pyfunction!(sim_take_error, module)?,
        wrap_pyfunction!(sim_poll, module)?,
        wrap_pyfunction!(sim_send, module)?,
        wrap_pyfunction!(sim_recv, module)?,
    ] {
        module.add_function(function)?;
    }
    Ok(())
}
