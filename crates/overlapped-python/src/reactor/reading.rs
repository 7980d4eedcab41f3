//! Transports that read where the port says that something is there: datagrams and pipes.
//!
//! A stream has a receive in flight; these have a poll. For datagrams, since a receive in flight is one message with its
//! sender's address and a buffer of the largest size, for each socket, idle or not, where a poll holds nothing; and since what
//! has come meanwhile is taken in one go. For pipes, since theirs are in non-blocking mode, as asyncio wants them, where a read
//! in flight is an error. What is there stays with the system until it is wanted: nothing is kept here.

use std::cell::RefCell;
use std::io;

use overlapped_port::Address;
use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::at_once::{self, is_not_now};
use super::receiving::{Receiving, Source};
use crate::io::descriptor;
use crate::python::error::from_io;

/// How many datagrams are told of before others have their turn.
const AT_ONCE: usize = 32;

/// As much as asyncio's transports read at once, which is also more than a datagram can be.
const MOST: usize = 256 * 1024;

thread_local! {
    /// Where it is read to. No code of Python's runs while it is borrowed.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Takes what is there, and tells the protocol.
///
/// # Errors
/// `SystemExit` and `KeyboardInterrupt`, as asyncio's transports; all else is the transport's own.
pub(super) fn take_what_is_there(py: Python<'_>, receiving: &Receiving) -> PyResult<()> {
    let Some(transport) = receiving.transport(py) else { return Ok(()) };
    let _inside = receiving.enter(py)?;
    let told = match receiving.source {
        Source::Datagrams => datagrams(py, receiving, &transport),
        #[cfg(unix)]
        Source::Pipe => super::pipe::read(py, receiving, &transport),
        Source::Stream | Source::Other => transport.call_method0(intern!(py, "_read_ready")).map(drop),
    };
    match told {
        Err(error) if !error.is_instance_of::<PySystemExit>(py) && !error.is_instance_of::<PyKeyboardInterrupt>(py) => {
            // As where the transport's reader was called for a handle.
            transport.call_method1(intern!(py, "_reader_failed"), (error.into_value(py),)).map(drop)
        }
        told => told,
    }
}

fn datagrams(py: Python<'_>, receiving: &Receiving, transport: &Bound<'_, PyAny>) -> PyResult<()> {
    for _ in 0..AT_ONCE {
        if !receiving.state().wanted {
            break;
        }
        let came = into_bytes(py, |buffer| at_once::receive_from(receiving.descriptor, buffer));
        let protocol = transport.getattr(intern!(py, "_protocol"))?;
        match came {
            Ok((bytes, sender)) => {
                let sender = known_sender(py, receiving, sender)?;
                protocol.call_method1(intern!(py, "datagram_received"), (bytes, sender))?;
            }
            Err(error) if is_not_now(&error) => break,
            Err(error) => {
                protocol.call_method1(intern!(py, "error_received"), (from_io(error).into_value(py),))?;
            }
        }
    }
    Ok(())
}

/// The sender as Python has it: the same object as of the last datagram where it is the same, by which `sendto` knows it.
fn known_sender(py: Python<'_>, receiving: &Receiving, sender: Address) -> PyResult<Option<Py<PyAny>>> {
    if let Some((object, last)) = &receiving.state().sender
        && last.as_bytes() == sender.as_bytes()
    {
        return Ok(Some(object.clone_ref(py)));
    }
    let object = descriptor::address(py, &sender)?;
    let known = object.as_ref().map(|object| (object.clone_ref(py), sender));
    let before = std::mem::replace(&mut receiving.state().sender, known);
    drop(before);
    Ok(object)
}

/// Has `read` fill some memory, and makes a bytes object of what it says it has filled.
pub(super) fn into_bytes<'py, T>(
    py: Python<'py>,
    read: impl FnOnce(&mut [u8]) -> io::Result<(usize, T)>,
) -> io::Result<(Bound<'py, PyBytes>, T)> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resize(MOST, 0);
        let (count, more) = read(scratch)?;
        Ok((PyBytes::new(py, &scratch[..count]), more))
    })
}
