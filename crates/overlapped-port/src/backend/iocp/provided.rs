//! Receives into the port's own buffers.
//!
//! A receive in flight owns its buffer, so thousands of idle connections would hold thousands of buffers. A receive of
//! no bytes owns none, and ends when bytes are there (WSARecv, "zero-byte receive"): that waits, and then a buffer is
//! taken and filled by a second call, which finds the bytes and ends at once. On a datagram socket a receive of no
//! bytes would take the datagram and throw it away, so there it only looks (`MSG_PEEK`).

use windows_sys::Win32::Networking::WinSock::{MSG_PEEK, WSABUF, WSARecv};

use super::error::Ending;
use super::handles::Facts;
use super::request::{Awaits, Request};
use super::socket::{Received, answered_receive, receive_flags};
use super::{Call, Core, Next};
use crate::backend::Event;

impl Core {
    pub(super) fn issue_provided(
        &mut self,
        request: &mut Request,
        socket: usize,
        limit: usize,
        flags: i32,
        facts: Facts,
    ) -> Call {
        let (mut buffer, mut flags) = (WSABUF { len: 0, buf: std::ptr::null_mut() }, flags);
        if request.fetch {
            let Some(mut taken) = request.buffer.take().or_else(|| self.pool.take()) else {
                request.awaits = Awaits::Buffer;
                self.starving.push(&mut self.starved, request.id, ());
                return Call::InFlight;
            };
            let room = limit.min(self.pool.size());
            let rest = &mut taken.room()[request.moved..room];
            buffer = WSABUF { len: rest.len() as u32, buf: rest.as_mut_ptr() };
            request.buffer = Some(taken);
        } else if !facts.stream {
            flags |= MSG_PEEK;
        }
        let flags = request.packet.flags(receive_flags(flags));
        let overlapped = request.packet.prepare(request.id, 0, 0);
        let mut bytes = 0;
        // SAFETY: the buffer is the request's until the packet has come, and so is the packet; its memory does not move.
        let result = unsafe { WSARecv(socket, &buffer, 1, &raw mut bytes, flags, overlapped, None) };
        answered_receive(&request.packet, result, bytes, facts)
    }

    /// Takes in how a call ended. A multishot receive goes on after its bytes, another until its buffer holds `wanted`.
    pub(super) fn absorb_provided(
        &mut self,
        request: &mut Request,
        socket: usize,
        (wanted, is_multishot): (usize, bool),
        ending: Ending,
    ) -> Next {
        let taken = request.buffer.take();
        let received = self.received(request, socket, taken.is_some(), ending);
        let Some(mut buffer) = taken else {
            return match received {
                // Bytes are there, or the end is: the next call tells which.
                Received::Bytes { .. } => {
                    request.fetch = true;
                    Next::Again
                }
                Received::Again => Next::Again,
                Received::Failed(code) => Next::fails(code),
            };
        };
        if let Received::Bytes { count, .. } = received {
            let room = wanted.min(self.pool.size());
            buffer.fill(request.moved + count);
            // Without memory of its own it cannot wait for the rest: it ends short.
            if count > 0 && buffer.len() < room && !request.cancelled && buffer.keep(room).is_ok() {
                request.moved = buffer.len();
                request.buffer = Some(buffer);
                return Next::Again;
            }
        } else {
            buffer.fill(request.moved);
        }
        request.fetch = false;
        if buffer.is_empty() {
            return match received {
                Received::Bytes { .. } => Next::Over(Ok(0), None),
                Received::Again => Next::Again,
                Received::Failed(code) => Next::fails(code),
            };
        }
        let count = buffer.len();
        if is_multishot {
            self.ready.push(Event { id: request.id, result: Ok(count), buffer: Some(buffer), more: true });
            return Next::Again;
        }
        Next::Over(Ok(count), Some(buffer))
    }
}
