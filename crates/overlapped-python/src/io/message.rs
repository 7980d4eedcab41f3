//! Receives that tell more than bytes: who sent them, control data, flags. As those of `socket`, each is the port's, so that
//! those who wait on one socket are served in the order in which they came, and a datagram wakes one of them.
//!
//! Rejected: the standard library's methods, tried again whenever the socket is readable. A thousand that wait are then all
//! woken by each datagram, and a socket whose receiving side was shut down is readable for ever with nothing to be read.

use std::ffi::c_int;
use std::io::IoSliceMut;

use overlapped_port::{Op, RecvMessage};
use pyo3::exceptions::{PyMemoryError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::calls::{count, due, never_waits, operate, tells_true_length, waiting};
use super::descriptor;
use super::stdlib::Socket;
use crate::python::buffer::View;
use crate::python::bytes::NewBytes;
use crate::python::class::owned;
use crate::thread::life::runtime;

/// Control data, by level and type.
type Control = Vec<(c_int, c_int, Py<PyBytes>)>;

/// The bytes, or how many they are; and what came with them: control data, flags, and the sender.
type Received<Bytes> = (Bytes, Control, c_int, Option<Py<PyAny>>);

/// Receives into `memory`, in order, with room for so many bytes of control data, within the socket's time-out.
fn receive(socket: &Bound<'_, PyAny>, memory: Vec<&mut [u8]>, room: usize, flags: c_int) -> PyResult<Received<usize>> {
    let py = socket.py();
    // SAFETY: only `overlapped.socket` calls this, with its own sockets.
    let socket = unsafe { Socket::new(socket.as_ptr()) };
    let runtime = runtime(py)?;
    // All that the kernel sees is on the heap: this stack may be elsewhere meanwhile. Control data is aligned as a `cmsghdr`.
    let mut buffers: Vec<_> = memory.into_iter().map(IoSliceMut::new).collect();
    let mut control: Vec<u64> = Vec::new();
    control.try_reserve_exact(room.div_ceil(8)).map_err(|_| PyMemoryError::new_err(()))?;
    control.resize(room.div_ceil(8), 0);
    // SAFETY: these are numbers, as bytes.
    let control = unsafe { std::slice::from_raw_parts_mut(control.as_mut_ptr().cast(), room) };
    let mut message = Box::new(RecvMessage::new(&mut buffers).with_control(control));
    let op = Op::RecvMessage { socket: socket.descriptor(), message: message.lend(), flags: waiting(flags) };
    let received = operate(py, &runtime, op, due(socket))?;
    let control = descriptor::control_data(message.control());
    let control = control.map(|(level, kind, data)| (level, kind, PyBytes::new(py, data).unbind())).collect();
    Ok((count(&received), control, message.flags(), descriptor::address(py, message.address())?))
}

/// Whether a receive is the port's, and not one of the standard library's: where it never waits, and where the port does not
/// know how addresses are written.
#[pyfunction]
pub(crate) fn port_receives(socket: &Bound<'_, PyAny>, flags: c_int) -> bool {
    // SAFETY: only `overlapped.socket` calls this, with its own sockets.
    let socket = unsafe { Socket::new(socket.as_ptr()) };
    !never_waits(socket, flags) && descriptor::receives_messages(socket)
}

/// Receives up to `size` bytes: `(data, ancdata, msg_flags, address)`.
#[pyfunction]
pub(crate) fn receive_message(
    socket: &Bound<'_, PyAny>,
    size: usize,
    room: usize,
    flags: c_int,
) -> PyResult<Received<Option<Py<PyAny>>>> {
    let py = socket.py();
    let mut bytes = NewBytes::new(py, size)?;
    if tells_true_length(flags) {
        bytes.clear();
    }
    let (count, control, flags, address) = receive(socket, vec![bytes.plain()], room, flags)?;
    Ok((owned(py, Some(bytes.finish(py, count)?)), control, flags, address))
}

/// Receives into writable buffers, in order: `(nbytes, ancdata, msg_flags, address)`.
#[pyfunction]
pub(crate) fn receive_message_into(
    socket: &Bound<'_, PyAny>,
    buffers: Vec<Bound<'_, PyAny>>,
    room: usize,
    flags: c_int,
) -> PyResult<Received<usize>> {
    let view = |buffer: &Bound<'_, PyAny>| {
        // SAFETY: a live object; the GIL is held here, and when the view is dropped.
        unsafe { View::new(buffer.as_ptr(), ffi::PyBUF_WRITABLE) }.ok_or_else(|| {
            drop(PyErr::take(buffer.py()));
            PyTypeError::new_err(
                "recvmsg_into() argument 1 must be an iterable of single-segment read-write bytes-like objects",
            )
        })
    };
    let mut views = buffers.iter().map(view).collect::<PyResult<Vec<_>>>()?;
    receive(socket, views.iter_mut().map(View::initialized).collect(), room, flags)
}
