//! The slots of the class of our transports of streams: what each receive and each write looks at.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::python::slot::{Slot, unknown};

pub(super) struct Slots {
    pub(super) protocol: Slot,
    pub(super) buffer: Slot,
    pub(super) eof: Slot,
    pub(super) lost: Slot,
    pub(super) empty_waiter: Slot,
    pub(super) descriptor: Slot,
}

static SLOTS: PyOnceLock<Slots> = PyOnceLock::new();

/// Finds out where they lie.
pub(super) fn load(class: &Bound<'_, PyAny>) -> PyResult<()> {
    let slot = |name| Slot::of(class, name);
    let slots = Slots {
        protocol: slot("_protocol")?,
        buffer: slot("_buffer")?,
        eof: slot("_eof")?,
        lost: slot("_conn_lost")?,
        empty_waiter: slot("_empty_waiter")?,
        descriptor: slot("_sock_fd")?,
    };
    let _ = SLOTS.set(class.py(), slots);
    Ok(())
}

/// What was found; there is no transport before.
pub(super) fn slots(py: Python<'_>) -> PyResult<&Slots> {
    SLOTS.get(py).ok_or_else(|| unknown("_SelectorSocketTransport"))
}

/// The protocol of a transport of a stream.
///
/// # Errors
/// `ImportError` where the class is not known.
pub(super) fn protocol_of<'py>(transport: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = transport.py();
    // SAFETY: a transport of the class, and the GIL is held.
    let protocol = unsafe { slots(py)?.protocol.taken(py, transport.as_ptr()) };
    Ok(protocol.unwrap_or_else(|| py.None().into_bound(py)))
}
