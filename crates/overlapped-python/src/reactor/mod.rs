//! What is hot in the transports of `overlapped.asyncio`: bytes that come, and bytes that go out at once.
//!
//! Transports, protocols and the loop are asyncio's own classes; a transport of ours differs in how it receives and in its
//! `write` (see `python/overlapped/asyncio/_transport.py`). It has one multishot receive in flight for as long as it reads:
//!
//! ```text
//!   port ── a completion ──▶ inbox ── the loop's tasklet goes on ──▶ Reactor.deliver ──▶ protocol.data_received
//! ```
//!
//! Rejected:
//! - Calling the protocol from the completion itself. That comes while the thread waits in the port, without the GIL and
//!   between two tasklets, where nothing may wait; a protocol may, as any callback of the loop may block its tasklet.
//! - A handle of asyncio's for each completion: it costs more than the call that it stands for. In debug mode there is one for
//!   all that has come, so that what is slow is told of.
//! - Classes of ours in the place of asyncio's: programs ask `isinstance`, patch attributes and read the texts of exceptions,
//!   and all that is not hot would be written, and would differ, a second time.
//! - Sending through the port what the socket takes at once: one system call is saved where many send in one turn, but the
//!   bytes would have to be kept until then, and the peer waits for them.
//!
//! A flight belongs to a thread's port, and a loop may be run on one thread after the other: so nothing is in flight while it
//! rests, and a [`Reactor`](deliver::Reactor) is of one run.

mod deliver;
mod receiving;
mod write;

use pyo3::prelude::*;

/// Adds what Python sees of this to the module.
pub(crate) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<deliver::Reactor>()?;
    module.add_class::<receiving::Receiving>()?;
    module.add_function(wrap_pyfunction!(write::install_transport, module)?)
}
