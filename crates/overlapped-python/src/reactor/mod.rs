//! What is hot in `overlapped.asyncio`: the loop's turns and the calls that it makes; bytes that come for its transports, and
//! bytes that go out at once.
//!
//! Transports, protocols, handles and the loop are asyncio's own classes. The loop has a native base ([`event_loop`]), under which
//! are its timers, its handles and its wait. A transport of ours differs in how it receives and in its `write` (see
//! `python/overlapped/asyncio/_transport.py`); what comes for asyncio's own streams goes straight to their readers
//! ([`stream_reader`]). One of a stream or a pipe has one multishot receive or read in flight for as long
//! as it reads; for datagrams see [`reading`]. On Windows the ends of pipes are asyncio's own, and wait in tasklets
//! (`python/overlapped/asyncio/_windows.py`).
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

mod at_once;
mod calls;
mod deliver;
mod deque;
mod event_loop;
mod handles;
#[cfg(unix)]
mod pipe;
mod reading;
mod receiving;
mod shared;
mod slots;
mod standard;
mod stream_reader;
mod timers;
mod wait;
mod write;

use pyo3::prelude::*;

/// Adds what Python sees of this to the module.
pub(crate) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<event_loop::LoopCore>()?;
    module.add_class::<wait::LoopWait>()?;
    module.add_function(wrap_pyfunction!(calls::install_loop, module)?)?;
    module.add_class::<deliver::Reactor>()?;
    module.add_class::<receiving::Receiving>()?;
    module.add_function(wrap_pyfunction!(write::install_transport, module)?)?;
    module.add_function(wrap_pyfunction!(write::install_datagram_transport, module)?)?;
    #[cfg(unix)]
    module.add_function(wrap_pyfunction!(pipe::install_pipe_transport, module)?)?;
    Ok(())
}
