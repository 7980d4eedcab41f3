//! `write` of a transport: what the socket takes at once goes out without a frame of Python's.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::{intern, types::PyBytes};

use super::at_once::{self, is_not_now};
use super::receiving::{Receiving, fatal};
use super::slots::{Datagrams, Stream};
use crate::io::descriptor::SocketNumber;
use crate::python::class::{all_given, fast, give, install, keywords};
use crate::python::error::from_io;

/// Puts the native `write` on the class of our transports.
#[pyfunction]
pub(crate) fn install_transport(class: &Bound<'_, PyAny>) -> PyResult<()> {
    Stream::load(class)?;
    install(class, vec![fast(c"write", write, c"Write some data. It is not to be changed before it was sent.")])
}

/// `transport.write(data)`: `bytes` that nothing stands against are sent here; the rest is the standard library's.
unsafe extern "C" fn write(
    transport: *mut PyObject,
    args: *mut *mut PyObject,
    count: ffi::Py_ssize_t,
) -> *mut PyObject {
    // SAFETY: called by Python.
    unsafe { with_data(transport, args, count, try_write) }
}

/// Has `write` do what it is to do with the one argument that a method of a transport has got.
///
/// # Safety
/// The GIL is held; the transport and its `count` arguments live.
pub(super) unsafe fn with_data(
    transport: *mut PyObject,
    args: *mut *mut PyObject,
    count: ffi::Py_ssize_t,
    write: impl FnOnce(Python<'_>, &Bound<'_, PyAny>, &Bound<'_, PyAny>) -> PyResult<()>,
) -> *mut PyObject {
    // SAFETY: the caller's promise.
    let (py, transport, data) = unsafe {
        let py = Python::assume_attached();
        let data = if count == 1 { Some(Bound::from_borrowed_ptr(py, *args)) } else { None };
        (py, Bound::from_borrowed_ptr(py, transport), data)
    };
    let Some(data) = data else {
        return give(Err(PyTypeError::new_err(format!("write() takes exactly one argument ({count} given)"))));
    };
    give(write(py, &transport, &data).map(|()| py.None().into_ptr()))
}

fn try_write(py: Python<'_>, transport: &Bound<'_, PyAny>, data: &Bound<'_, PyAny>) -> PyResult<()> {
    let (bytes, descriptor) = match (data.cast_exact::<PyBytes>(), descriptor_if_clear(transport)?) {
        (Ok(bytes), Some(descriptor)) if !bytes.as_bytes().is_empty() => (bytes.as_bytes(), descriptor),
        _ => return transport.call_method1(intern!(py, "_write"), (data,)).map(drop),
    };
    let write_later = |count| transport.call_method1(intern!(py, "_write_later"), (data, count)).map(drop);
    match at_once::send(descriptor, bytes) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(count) => write_later(count),
        Err(error) if is_not_now(&error) => write_later(0),
        Err(error) => fatal(py, transport, from_io(error), intern!(py, "Fatal write error on socket transport")),
    }
}

/// The socket, where bytes may go out now: none wait before them, the side is not ended, the connection not lost, no file on
/// its way.
fn descriptor_if_clear(transport: &Bound<'_, PyAny>) -> PyResult<Option<SocketNumber>> {
    let (py, inside) = (transport.py(), transport.as_ptr());
    let slots = Stream::known(py)?;
    // SAFETY: `write` is of that class, and the GIL is held.
    let [buffer, eof, lost, waiter, descriptor] = unsafe {
        [slots.buffer, slots.eof, slots.lost, slots.empty_waiter, slots.descriptor].map(|slot| slot.taken(py, inside))
    };
    let (Some(buffer), Some(eof), Some(lost), Some(waiter), Some(descriptor)) = (buffer, eof, lost, waiter, descriptor)
    else {
        return Ok(None);
    };
    let is_clear = buffer.is_empty()? && !eof.is_truthy()? && !lost.is_truthy()? && waiter.is_none();
    if is_clear { descriptor.extract().map(Some) } else { Ok(None) }
}

/// Puts the native `sendto` on the class of our datagram transports.
#[pyfunction]
pub(crate) fn install_datagram_transport(class: &Bound<'_, PyAny>) -> PyResult<()> {
    Datagrams::load(class)?;
    let doc = c"Send a datagram. It is not to be changed before it was sent.";
    install(class, vec![keywords(c"sendto", send_to, doc)])
}

/// `transport.sendto(data, addr=None)`: `bytes` to where the transport is connected to, or to who has sent the last datagram, are
/// sent here, where nothing waits before them; the rest is the standard library's.
unsafe extern "C" fn send_to(
    transport: *mut PyObject,
    args: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by Python, so the GIL is held, and there are as many arguments as are said, the named ones at the end.
    let (py, transport, args) = unsafe {
        let py = Python::assume_attached();
        (py, Bound::from_borrowed_ptr(py, transport), all_given(args, count, names))
    };
    let as_usual = names.is_null() && (1..=2).contains(&args.len());
    // SAFETY: arguments live as long as the call.
    let given = args.iter().map(|argument| unsafe { Bound::from_borrowed_ptr(py, *argument) }).collect::<Vec<_>>();
    if as_usual {
        let to = given.get(1).filter(|to| !to.is_none());
        match try_send_to(py, &transport, &given[0], to) {
            Ok(false) => {}
            told => return give(told.map(|_| py.None().into_ptr())),
        }
    }
    give(transport.getattr(intern!(py, "_sendto")).and_then(|method| {
        // SAFETY: what the caller has given, with its names; a new reference, or null with an error set.
        unsafe {
            let sent = ffi::PyObject_Vectorcall(method.as_ptr(), args.as_ptr(), count as usize, names);
            Bound::from_owned_ptr_or_err(py, sent).map(Bound::into_ptr)
        }
    }))
}

/// False where the standard library is to do it.
fn try_send_to(
    py: Python<'_>,
    transport: &Bound<'_, PyAny>,
    data: &Bound<'_, PyAny>,
    to: Option<&Bound<'_, PyAny>>,
) -> PyResult<bool> {
    let Ok(bytes) = data.cast_exact::<PyBytes>() else { return Ok(false) };
    let (slots, inside) = (Datagrams::known(py)?, transport.as_ptr());
    // SAFETY: `sendto` is of that class, and the GIL is held.
    let [buffer, lost, address, extra, receiving] = unsafe {
        [slots.buffer, slots.lost, slots.address, slots.extra, slots.receiving].map(|slot| slot.taken(py, inside))
    };
    let (Some(buffer), Some(lost), Some(address), Some(extra), Some(receiving)) =
        (buffer, lost, address, extra, receiving)
    else {
        return Ok(false);
    };
    if bytes.as_bytes().is_empty() || !buffer.is_empty()? || lost.is_truthy()? {
        return Ok(false);
    }
    let receiving = receiving.cast_exact::<Receiving>()?.get();
    let is_connected = extra.get_item(intern!(py, "peername"))?.is_truthy()?;
    let sent = match to {
        None if is_connected => at_once::send(receiving.descriptor, bytes.as_bytes()),
        Some(to) if !is_connected && !address.is_truthy()? => {
            let Some(to) = receiving.address_of(to) else { return Ok(false) };
            at_once::send_to(receiving.descriptor, bytes.as_bytes(), &to)
        }
        _ => return Ok(false),
    };
    match sent {
        Ok(_) => Ok(true),
        Err(error) if is_not_now(&error) => Ok(false),
        Err(error) => {
            let protocol = transport.getattr(intern!(py, "_protocol"))?;
            protocol.call_method1(intern!(py, "error_received"), (from_io(error).into_value(py),))?;
            Ok(true)
        }
    }
}
