//! A send with nothing beside it is done at once, by send(2).
//!
//! The sends of a turn enter the kernel together, and where several are under way that is what makes them cheap. But who is
//! served alone (a wait has brought one event, and nothing is queued since) has an entry into the kernel for itself, whose
//! completion is then to be looked at and told: the call is cheaper. An echo over one connection takes 2 % less of the
//! processor's time, which is what a bare loop with the ring alone takes.
//!
//! One such send is made after each wait, no more: what is done at once is no wait, and who sends without end would keep
//! completions waiting. What the socket does not take is left to the ring.
//!
//! Tried, and not worth it: to do so with up to four at once (nothing gained at 8, 50 and 500 connections, nor with short
//! connections), and to have receives wait for readiness first where the one before has left nothing
//! (`IORING_RECVSEND_POLL_FIRST`): between the two entries of a turn the answer has often come, and at 8 and 50 connections
//! that cost 6 to 8 % more.

use std::io;

use super::entry::send_flags;

/// Whether the next send may be alone.
#[derive(Default)]
pub(super) struct Alone(bool);

impl Alone {
    /// A wait has brought so many events.
    pub(super) fn brought(&mut self, events: usize) {
        self.0 = events == 1;
    }

    pub(super) fn may_be(&self) -> bool {
        self.0
    }

    /// Sends what the socket takes at once; `None` where it takes nothing now.
    pub(super) fn send(&mut self, socket: i32, buffer: &[u8], flags: i32) -> Option<io::Result<usize>> {
        self.0 = false;
        // SAFETY: the bytes are there, as many as said.
        let sent = unsafe { libc::send(socket, buffer.as_ptr().cast(), buffer.len(), send_flags(flags)) };
        if let Ok(sent) = usize::try_from(sent) {
            return Some(Ok(sent));
        }
        let error = io::Error::last_os_error();
        (!matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)).then_some(Err(error))
    }
}
