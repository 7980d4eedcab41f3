//! What becomes of a request, from its first issue to its final event.
//!
//! **A request that cannot go on is this backend's business** ([`State`]): the caller's operation stays in flight while
//!
//! - the descriptor is in non-blocking mode and the kernel answers `EAGAIN`, for then it leaves the waiting to us: a
//!   poll request stands in, and the operation is issued again;
//! - a send finds no room, or not enough for all: likewise, whatever the descriptor's mode;
//! - a receive that is to fill its buffer has filled a part;
//! - a connect is under way: a poll stands in, and the connect is called again, for its end is told to that call;
//! - the buffers have run out (`ENOBUFS`): the operation is parked and issued again when buffers come back;
//! - another operation is at the own position of the same file: read(2) and write(2) take turns there, and the kernel's
//!   requests do not: two that it gives to its threads begin at the same place (`io_kiocb_update_pos`, io_uring/rw.c).
//!
//! **Cancels may miss.** `ASYNC_CANCEL` answers `ENOENT` for a request that the kernel is just about to run again: it
//! would then wait as if nobody had asked. Each such answer is looked at: where the operation is still in flight, the
//! cancel is asked for again a moment later. A cancel that hits is silent.
//!
//! **Polls may lie.** A Unix socket whose peer's queue is full polls as writable, and a poll request always ends when the
//! peer sends no more, whatever it waits for (`IO_POLL_UNMASK`, io_uring/poll.c). Where a poll has said that the operation
//! could go on and it could not, a pause comes before the next try: 1 ms at first, 16 ms at last.
//!
//! **An error is told once.** A call that meets a reset takes it off the socket. An operation that goes on after a part
//! looks at what poll says first, and leaves an error for the next operation, as it has bytes to report.

use std::io;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::Timespec;
use io_uring::{cqueue, opcode};

use super::Uring;
use super::entry::{self, Kind, Parts, Rest};
use crate::backend::{Event, is_stream};
use crate::buffers::Buffer;
use crate::op::Interest;
use crate::slots::OpId;
use crate::sys;

/// How long to wait before something is tried again for which the kernel has no event: longer each time, up to 16 ms.
pub(super) static PAUSES: [Timespec; 5] = [pause(1), pause(2), pause(4), pause(8), pause(16)];

const fn pause(milliseconds: u32) -> Timespec {
    Timespec::new().nsec(milliseconds * 1_000_000)
}

/// What a request of the backend's own is for: the numbers with generation 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Internal {
    /// The poll of the notifier.
    Notifier,
    /// A cancel of the operation in this slot, or the pause before the next.
    Cancel(usize),
    /// The poll or pause that stands in for the operation in this slot.
    StandIn(usize),
}

impl Internal {
    pub(super) fn to_u64(self) -> u64 {
        let number = match self {
            Internal::Notifier => 0,
            Internal::Cancel(slot) => slot << 2 | 1,
            Internal::StandIn(slot) => slot << 2 | 2,
        };
        OpId::new(u32::try_from(number).expect("fewer than 2^30 operations in flight"), 0).to_u64()
    }

    fn from_slot(number: usize) -> Internal {
        match number & 3 {
            0 => Internal::Notifier,
            1 => Internal::Cancel(number >> 2),
            _ => Internal::StandIn(number >> 2),
        }
    }
}

/// Where an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The slot is empty.
    Free,
    /// Its own request is queued or in the kernel.
    Issued,
    /// A poll stands in for it, or a pause.
    StoodIn,
    /// It waits for a provided buffer.
    Parked,
    /// It waits for its turn at the file's own position.
    InTurn,
}

/// An operation in flight, with all that it takes to issue it again.
pub(super) struct Request {
    entry: Entry,
    id: OpId,
    handle: i32,
    kind: Kind,
    state: State,
    cancelled: bool,
    /// A poll said that it is ready, and nothing has come of it yet.
    polled: bool,
    /// How many pauses it took since anything came of it.
    pauses: u8,
    /// What came of a provided receive that waits for the rest, in memory of its own.
    kept: Option<Buffer>,
}

impl Request {
    fn free() -> Request {
        Request {
            entry: opcode::Nop::new().build(),
            id: OpId::new(0, 0),
            handle: -1,
            kind: Kind::Plain,
            state: State::Free,
            cancelled: false,
            polled: false,
            pauses: 0,
            kept: None,
        }
    }
}

/// What an interrupted call of the kernel's own returns; it should not leave the kernel, and io_uring lets it
/// (include/linux/errno.h).
const ERESTARTSYS: i32 = 512;

impl Uring {
    /// Takes an operation in and issues it.
    pub(super) fn open(&mut self, id: OpId, handle: i32, entry: Entry, kind: Kind) {
        let slot = id.slot();
        if slot >= self.requests.len() {
            self.requests.resize_with(slot + 64, Request::free);
        }
        let request = &mut self.requests[slot];
        debug_assert!(request.state == State::Free, "two operations in one slot");
        *request = Request { entry: entry.user_data(id.to_u64()), id, handle, kind, ..Request::free() };
        if kind.is_here() {
            let there = self.here.entry(handle).or_default();
            if *there > 0 && entry::keeps_position(handle) {
                request.state = State::InTurn;
                return self.turns.push_back(id);
            }
            *there += 1;
        }
        self.issue(slot);
    }

    /// An operation at the own position of `file` has ended: the next has its turn.
    fn leave_position(&mut self, file: i32) {
        let at = self.turns.iter().position(|id| self.requests[id.slot()].handle == file);
        if let Some(next) = at.and_then(|at| self.turns.remove(at)) {
            return self.issue(next.slot());
        }
        let there = self.here.get_mut(&file).expect("it is counted until it ends");
        *there -= 1;
        if *there == 0 {
            self.here.remove(&file);
        }
    }

    /// Issues the operation in `slot`, for the first time or again.
    fn issue(&mut self, slot: usize) {
        let request = &mut self.requests[slot];
        if request.kind.takes_buffer() && (self.buffers.available() == 0 || !self.parked.is_empty()) {
            // Those that wait already come first.
            request.state = State::Parked;
            self.parked.push_back(request.id);
            return;
        }
        if let Kind::WriteHere(placed) = &mut request.kind {
            placed.note(request.handle);
        }
        request.state = State::Issued;
        let entry = request.entry.clone();
        self.push(&entry);
    }

    /// Issues parked operations, as many as there are buffers; true where some remain that could be issued next, for
    /// those on an idle socket take none.
    pub(super) fn unpark(&mut self) -> bool {
        let mut available = self.buffers.available();
        while available > 0 {
            let Some(id) = self.parked.pop_front() else { return false };
            let request = &mut self.requests[id.slot()];
            if request.id == id && request.state == State::Parked {
                request.state = State::Issued;
                let entry = request.entry.clone();
                self.push(&entry);
                available -= 1;
            }
        }
        !self.parked.is_empty() && self.buffers.available() > 0
    }

    /// Lets a request of the backend's own stand in for the operation in `slot`.
    fn stand_in(&mut self, slot: usize, entry: Entry) {
        self.requests[slot].state = State::StoodIn;
        self.push(&entry.user_data(Internal::StandIn(slot).to_u64()));
    }

    /// The operation in `slot` has to wait, and the kernel leaves that to us: a poll stands in. Where one has just said
    /// that it is ready, and it was not, a pause does.
    fn await_readiness(&mut self, slot: usize) {
        let request = &mut self.requests[slot];
        if request.polled {
            return self.pause(slot);
        }
        request.polled = true;
        let poll = entry::readiness(&request.entry, request.handle);
        self.stand_in(slot, poll);
    }

    /// Issues the operation in `slot` again after a while: where no poll can tell when.
    fn pause(&mut self, slot: usize) {
        let request = &mut self.requests[slot];
        request.polled = false;
        let timespec = &PAUSES[usize::from(request.pauses).min(PAUSES.len() - 1)];
        request.pauses = request.pauses.saturating_add(1);
        self.stand_in(slot, opcode::Timeout::new(timespec).build());
    }

    /// Asks for the end of an operation, if it is in flight.
    pub(super) fn ask_to_cancel(&mut self, id: OpId) {
        let slot = id.slot();
        let Some(request) = self.requests.get_mut(slot) else { return };
        if request.id != id || request.state == State::Free || request.cancelled {
            return;
        }
        request.cancelled = true;
        if matches!(request.state, State::Parked | State::InTurn) {
            request.state = State::Free;
            self.turns.retain(|waiting| *waiting != id);
            self.ended.push(id);
        } else {
            self.push_cancel(slot);
        }
    }

    /// Asks the kernel to cancel what it has of the operation in `slot`.
    fn push_cancel(&mut self, slot: usize) {
        let request = &self.requests[slot];
        let target = match request.state {
            State::Issued => request.id.to_u64(),
            State::StoodIn => Internal::StandIn(slot).to_u64(),
            State::Free | State::Parked | State::InTurn => return,
        };
        let entry = opcode::AsyncCancel::new(target).build().flags(Flags::SKIP_SUCCESS);
        self.push(&entry.user_data(Internal::Cancel(slot).to_u64()));
    }

    /// Frees the slot of an operation and reports its end.
    fn finish(
        &mut self,
        slot: usize,
        mut result: io::Result<usize>,
        mut buffer: Option<Buffer>,
        events: &mut Vec<Event>,
    ) {
        let request = &mut self.requests[slot];
        match request.kind {
            Kind::Message(parts) => {
                if parts.done > 0 {
                    result = Ok(parts.done);
                }
                // SAFETY: the operation is in flight until its event below, and the kernel has let go of the message.
                entry::take_header(unsafe { parts.message() }, result.is_ok());
            }
            Kind::SendAll(rest) | Kind::RecvAll(rest) if rest.done > 0 => {
                result = Ok(rest.done);
                buffer = request.kept.take();
                if let Some(buffer) = &mut buffer {
                    buffer.fill(rest.done);
                }
            }
            _ => {}
        }
        request.state = State::Free;
        events.push(Event { id: request.id, result, buffer, more: false });
        let (here, handle) = (request.kind.is_here(), request.handle);
        if here {
            self.leave_position(handle);
        }
    }

    /// A completion of the backend's own requests.
    pub(super) fn complete_internal(&mut self, number: usize, cqe: &cqueue::Entry, events: &mut Vec<Event>) {
        match Internal::from_slot(number) {
            Internal::Notifier => {
                if !cqueue::more(cqe.flags()) {
                    self.watch_notifier();
                }
            }
            Internal::Cancel(slot) => {
                let request = &self.requests[slot];
                if !request.cancelled || request.state == State::Free {
                    return;
                }
                if cqe.result() == -libc::ETIME {
                    self.push_cancel(slot);
                } else {
                    // It missed (ENOENT), or it came to a thread of the kernel's that had begun already (EALREADY).
                    let pause = opcode::Timeout::new(&PAUSES[0]).build();
                    self.push(&pause.user_data(Internal::Cancel(slot).to_u64()));
                }
            }
            Internal::StandIn(slot) => self.complete_stand_in(slot, cqe.result(), events),
        }
    }

    /// The poll or the pause that stood in for an operation has ended.
    fn complete_stand_in(&mut self, slot: usize, result: i32, events: &mut Vec<Event>) {
        let request = &self.requests[slot];
        if result < 0 && result != -libc::ETIME {
            return self.finish(slot, Err(io::Error::from_raw_os_error(-result)), None, events);
        }
        // A connect that was under way has its result, cancelled or not.
        if request.cancelled && !matches!(request.kind, Kind::Connect) {
            return self.finish(slot, Err(io::Error::from_raw_os_error(sys::CANCELLED)), None, events);
        }
        if entry::only_half_closed(result) {
            return self.pause(slot);
        }
        // A socket tells its error once: it is left for the next operation where this one has bytes to report.
        let broken = result > 0 && result & i32::from(libc::POLLERR | libc::POLLHUP) != 0;
        match request.kind {
            Kind::SendAll(rest) if broken && rest.done > 0 => self.finish(slot, Ok(0), None, events),
            Kind::RecvAll(Rest { done, .. }) | Kind::Message(Parts { done, .. })
                if broken && done > 0 && !entry::has_unread(request.handle) =>
            {
                self.finish(slot, Ok(0), None, events);
            }
            _ => self.issue(slot),
        }
    }

    /// A completion of an operation.
    pub(super) fn complete(&mut self, id: OpId, cqe: &cqueue::Entry, events: &mut Vec<Event>) {
        let slot = id.slot();
        let request = &mut self.requests[slot];
        debug_assert!(request.id == id && request.state == State::Issued, "a completion of nothing in flight");
        let (kind, cancelled) = (request.kind, request.cancelled);
        let result = cqe.result();
        let length = usize::try_from(result).unwrap_or(0);
        let mut buffer = cqueue::buffer_select(cqe.flags()).map(|index| self.buffers.take(index, length));
        if length == 0 {
            buffer = None;
        }
        if result < 0 {
            let error = match (-result, kind) {
                // Linux has let go of the descriptor even so (close(2)).
                (libc::EINTR, Kind::Close) => return self.finish(slot, Ok(0), None, events),
                (libc::EAGAIN | libc::EINTR | ERESTARTSYS, _) if cancelled => sys::CANCELLED,
                (libc::EINTR | ERESTARTSYS, _) => return self.issue(slot),
                // Linux tells the end of a connect to the call after it, and would tell it to a second one else.
                (libc::EINPROGRESS | libc::EALREADY, Kind::Connect) if cancelled => sys::CANCELLED,
                (libc::EINPROGRESS | libc::EALREADY, Kind::Connect) => return self.await_readiness(slot),
                (libc::EAGAIN, _) => return self.await_readiness(slot),
                (libc::ENOBUFS, kind) if kind.takes_buffer() => {
                    if cancelled {
                        sys::CANCELLED
                    } else {
                        request.state = State::Parked;
                        return self.parked.push_back(id);
                    }
                }
                (errno, _) => errno,
            };
            return self.finish(slot, Err(io::Error::from_raw_os_error(error)), None, events);
        }
        if let Kind::ProvidedAll(limit) = kind
            && let room = limit.min(self.buffers.size())
            && let Some(part) = buffer.as_mut()
            && length < room
            && !cancelled
            && is_stream(request.handle)
            // Without memory of its own it cannot wait for the rest: it ends short.
            && part.keep(room).is_ok()
        {
            let rest = Rest::of_room(part.room(), length);
            request.kind = Kind::RecvAll(rest);
            request.kept = buffer;
            return self.go_on(slot, rest.recv(self.requests[slot].handle));
        }
        if let Kind::Discard = kind
            && length > 0
        {
            if cancelled {
                return self.finish(slot, Err(io::Error::from_raw_os_error(sys::CANCELLED)), None, events);
            }
            (request.polled, request.pauses) = (false, 0);
            return self.issue(slot);
        }
        let rest = match &mut request.kind {
            Kind::SendAll(rest) => rest.advance(length).then(|| rest.send(request.handle)),
            Kind::Message(parts) => parts.advance(length, request.handle),
            Kind::RecvAll(rest) => {
                (rest.advance(length) && is_stream(request.handle)).then(|| rest.recv(request.handle))
            }
            _ => None,
        };
        if let Some(entry) = rest
            && !cancelled
        {
            return self.go_on(slot, entry);
        }
        let result = match kind {
            Kind::Poll(asked) => {
                let urgent = asked.contains(Interest::PRIORITY);
                let there = if urgent { entry::look(asked, request.handle) } else { result };
                let found = entry::found(asked, there);
                if found == Interest::default() {
                    if cancelled {
                        return self.finish(slot, Err(io::Error::from_raw_os_error(sys::CANCELLED)), None, events);
                    }
                    return if entry::only_half_closed(result) { self.pause(slot) } else { self.issue(slot) };
                }
                usize::from(found.0)
            }
            Kind::WriteHere(placed) => {
                placed.settle(request.handle, length);
                length
            }
            _ => length,
        };
        let goes_on = cqueue::more(cqe.flags());
        let ends = !kind.is_multishot() || cancelled || (kind.takes_buffer() && length == 0);
        if !goes_on && ends {
            return self.finish(slot, Ok(result), buffer, events);
        }
        (request.polled, request.pauses) = (false, 0);
        events.push(Event { id, result: Ok(result), buffer, more: true });
        if !goes_on {
            self.issue(slot);
        }
    }

    /// The operation in `slot` moved a part, and has to wait for the next, which `entry` moves.
    fn go_on(&mut self, slot: usize, entry: Entry) {
        let request = &mut self.requests[slot];
        request.entry = entry.user_data(request.id.to_u64());
        (request.polled, request.pauses) = (false, 0);
        self.await_readiness(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backends_own_numbers_are_told_apart() {
        for internal in [Internal::Notifier, Internal::Cancel(0), Internal::Cancel(70_000), Internal::StandIn(40_000)] {
            let id = OpId::from_u64(internal.to_u64());
            assert_eq!(id.generation(), 0);
            assert_eq!(Internal::from_slot(id.slot()), internal);
        }
    }
}
