//! Transports that read where the port says that something is there: datagrams, and the devices that asyncio takes for pipes.
//!
//! A stream or a pipe has a receive in flight; these have a poll. For datagrams, since a receive in flight is one message with
//! its sender's address and a buffer of the largest size, for each socket, idle or not, where a poll holds nothing; and since
//! what has come meanwhile is taken in one go. Devices are asyncio's own to read. What is there stays with the system until it
//! is wanted: nothing is kept here.

use std::cell::RefCell;
use std::io;

use overlapped_port::Address;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::at_once::{self, is_not_now};
use super::receiving::{Receiving, Source, State, reader_failed};
use crate::io::descriptor;
use crate::python::error::from_io;

/// How many datagrams are told of before others have their turn.
const AT_ONCE: usize = 32;

/// Where they come one by one, a second is looked for behind one in so many. Each look that finds none is a call in vain,
/// and what it does not find the poll tells.
const LOOKS: u8 = 8;

/// As much as asyncio's transports receive at once, which is more than a datagram can be.
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
        _ => transport.call_method0(intern!(py, "_read_ready")).map(drop),
    };
    told.or_else(|error| reader_failed(py, &transport, error))
}

impl State {
    /// How many datagrams to take now.
    fn datagrams_to_take(&mut self) -> usize {
        self.looks = self.looks.wrapping_add(1);
        let looks = std::mem::take(&mut self.together) || self.looks.is_multiple_of(LOOKS);
        if looks { AT_ONCE } else { 1 }
    }

    /// So many have come at once by now.
    fn came_together(&mut self, count: usize) {
        self.together = count > 1;
    }
}

fn datagrams(py: Python<'_>, receiving: &Receiving, transport: &Bound<'_, PyAny>) -> PyResult<()> {
    let most = receiving.state().datagrams_to_take();
    let mut taken = 0;
    while taken < most && receiving.state().wanted {
        let came = into_bytes(py, |buffer| at_once::receive_from(receiving.descriptor, buffer));
        match came {
            Ok((bytes, sender)) => {
                taken += 1;
                receiving.state().came_together(taken);
                let protocol = receiving.protocol(transport)?;
                let sender = known_sender(py, receiving, sender)?;
                protocol.call_method1(intern!(py, "datagram_received"), (bytes, sender))?;
            }
            Err(error) if is_not_now(&error) => break,
            Err(error) => {
                let protocol = receiving.protocol(transport)?;
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
