//! Carrying an operation on: the calls that it needs, and what each brings.

use windows_sys::Win32::Foundation::{ERROR_OPERATION_ABORTED, HANDLE};
use windows_sys::Win32::Networking::WinSock::WSAECONNRESET;
use windows_sys::Win32::System::IO::{CancelIoEx, OVERLAPPED};

use super::error::Ending;
use super::handles::Facts;
use super::request::Request;
use super::socket::{self, Received};
use super::{Call, Core, Next, Step, pipe};
use crate::op::{Brings, Op};
use crate::sys;

impl Core {
    /// Carries an operation on: makes its next call, takes in how a call ended, until a packet is awaited or it is
    /// over.
    pub(super) fn drive(&mut self, request: &mut Request, arrived: Option<(usize, Ending)>) -> Step {
        if request.op.as_ref().is_some_and(|op| op.facts().brings == Brings::Socket) {
            return self.accept(request, arrived);
        }
        let mut ended = arrived.map(|(_, ending)| ending);
        loop {
            if let Some(ending) = ended {
                match self.absorb(request, ending) {
                    Next::Again => {}
                    Next::Over(result, buffer) => return Step::Over(result, buffer),
                }
            }
            self.entries += 1;
            match self.issue(request) {
                Call::InFlight => return Step::InFlight,
                Call::Ended(ending) => ended = Some(ending),
            }
        }
    }

    /// Makes the call that the operation needs next.
    fn issue(&mut self, request: &mut Request) -> Call {
        let Some(facts) = request.entered.map_or(Some(Facts::default()), |key| self.facts(key)) else {
            // Closed with this in flight.
            return Call::Ended(Ending::failed(ERROR_OPERATION_ABORTED));
        };
        if let Err(code) = request.packet.watch(facts.elsewhere, self.queue.handle()) {
            return Call::Ended(Ending::failed(code));
        }
        // The operation is put back below; while it is out, the request's other fields can be lent.
        let mut op = request.op.take().expect("in flight");
        let call = match &mut op {
            Op::Connect { socket, address } => {
                socket::issue_connect(&mut request.packet, request.id, sys::socket_key(*socket), address, facts)
            }
            Op::Recv { socket, buffer, flags } => {
                let memory = (buffer.as_mut_ptr().cast(), buffer.len());
                socket::issue_recv(request, sys::socket_key(*socket), memory, *flags, facts)
            }
            Op::RecvProvided { socket, limit, flags } => {
                self.issue_provided(request, sys::socket_key(*socket), *limit, *flags, facts)
            }
            Op::RecvMultishot { socket } => {
                self.issue_provided(request, sys::socket_key(*socket), usize::MAX, 0, facts)
            }
            Op::RecvMessage { socket, message, flags } => {
                socket::issue_recv_message(request, sys::socket_key(*socket), message.0, *flags, facts)
            }
            Op::Send { socket, buffer, flags, .. } => {
                socket::issue_send(request, sys::socket_key(*socket), buffer, *flags, facts)
            }
            Op::SendMessage { socket, message, flags } => {
                socket::issue_send_message(request, sys::socket_key(*socket), message, *flags, facts)
            }
            Op::Disconnect { socket } => socket::issue_disconnect(request, sys::socket_key(*socket), facts),
            Op::AcceptPipe { pipe } => pipe::issue_accept(request, *pipe, facts),
            Op::Poll { socket, interest } => self.issue_poll(request, sys::socket_key(*socket), *interest),
            op => self.issue_transfer(request, op, facts),
        };
        request.op = Some(op);
        call
    }

    /// Takes in how a call ended.
    fn absorb(&mut self, request: &mut Request, ending: Ending) -> Next {
        let facts = request.entered.and_then(|key| self.facts(key)).unwrap_or_default();
        let mut op = request.op.take().expect("in flight");
        let next = match &mut op {
            Op::Connect { socket, address } => socket::absorb_connect(sys::socket_key(*socket), address, ending.code),
            Op::Recv { socket, buffer, flags } => {
                let (key, room) = (sys::socket_key(*socket), buffer.len());
                match self.received(request, key, room > 0, ending) {
                    Received::Bytes { count, .. } => {
                        progress(request, count, room, facts.stream && socket::waits_for_all(*flags))
                    }
                    Received::Again => Next::Again,
                    Received::Failed(code) => Next::fails(code),
                }
            }
            Op::RecvMessage { socket, message, flags } => {
                let (key, room) = (sys::socket_key(*socket), socket::room(message.0));
                match self.received(request, key, room > 0, ending) {
                    Received::Bytes { count, truncated } => {
                        socket::absorb_recv_message(message.0, facts, truncated);
                        progress(request, count, room, facts.stream && socket::waits_for_all(*flags))
                    }
                    Received::Again => Next::Again,
                    Received::Failed(code) => Next::fails(code),
                }
            }
            Op::RecvProvided { socket, limit, flags } => {
                let wanted = if facts.stream && socket::waits_for_all(*flags) { *limit } else { 1 };
                self.absorb_provided(request, sys::socket_key(*socket), (wanted, false), ending)
            }
            Op::RecvMultishot { socket } => self.absorb_provided(request, sys::socket_key(*socket), (1, true), ending),
            Op::Send { socket, buffer, all, .. } => match ending.code {
                0 if ending.bytes == 0 && !buffer.is_empty() && facts.stream => SENT_NOTHING,
                0 => progress(request, ending.bytes, buffer.len(), *all && facts.stream),
                code => {
                    // Under Wine a cancelled send says what it has moved.
                    request.moved += ending.bytes;
                    self.unsent(sys::socket_key(*socket), facts, None, code)
                }
            },
            Op::SendMessage { socket, message, .. } => match ending.code {
                0 if ending.bytes == 0 && facts.stream && message.buffers.iter().any(|buffer| !buffer.is_empty()) => {
                    SENT_NOTHING
                }
                0 => progress(request, ending.bytes, 0, false),
                code => {
                    request.moved += ending.bytes;
                    self.unsent(sys::socket_key(*socket), facts, message.address, code)
                }
            },
            Op::Disconnect { socket } => self.absorb_disconnect(request, sys::socket_key(*socket), ending),
            Op::AcceptPipe { .. } => pipe::absorb_accept(ending.code),
            Op::Poll { interest, .. } => self.absorb_poll(&request.packet, *interest, ending.code),
            op => self.absorb_transfer(request, op, facts, ending),
        };
        request.op = Some(op);
        let next = match next {
            // What was moved before an error or a cancel is told first; the error shows at the next operation.
            Next::Over(Err(_), buffer) if request.moved > 0 => Next::Over(Ok(request.moved), buffer),
            Next::Again if request.cancelled && request.moved > 0 => Next::Over(Ok(request.moved), None),
            Next::Over(Err(_), _) | Next::Again if request.cancelled => Next::fails(ERROR_OPERATION_ABORTED),
            next => next,
        };
        match (&next, request.entered) {
            (Next::Over(Ok(_), _), Some(key)) => self.move_on(request, key),
            (Next::Over(Err(error), _), Some(key)) if error.raw_os_error() == Some(WSAECONNRESET) => {
                if let Some(handle) = self.handles.get(key) {
                    handle.reset_told = true;
                }
            }
            _ => {}
        }
        next
    }

    /// What a handle is; `None` where it was closed.
    fn facts(&mut self, key: usize) -> Option<Facts> {
        self.handles.get(key).map(|handle| handle.facts)
    }

    pub(super) fn cancel_call(&mut self, target: HANDLE, overlapped: *mut OVERLAPPED) {
        self.entries += 1;
        // It fails where the call has ended, and then its packet is under way.
        // SAFETY: the `OVERLAPPED` is that of a call whose packet has not been dequeued.
        unsafe { CancelIoEx(target, overlapped) };
    }
}

/// Under Wine a send on a stream that had to wait may end well and have sent nothing: it is begun again.
const SENT_NOTHING: Next = Next::Again;

/// What an operation that may take several calls does after `count` bytes more.
fn progress(request: &mut Request, count: usize, room: usize, all: bool) -> Next {
    request.moved += count;
    if all && count > 0 && request.moved < room { Next::Again } else { Next::Over(Ok(request.moved), None) }
}
