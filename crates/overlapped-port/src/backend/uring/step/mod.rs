//! What becomes of an operation: from its state and a completion to what is to be done. No kernel and no queue is touched
//! here ([`progress`](super::progress) does what an [`Action`] says), so a test hands in what no kernel does on demand.
//!
//! **An operation that cannot go on is this backend's business** ([`State`]): the caller's stays in flight while
//!
//! - the descriptor is in non-blocking mode and the kernel answers `EAGAIN`, for then it leaves the waiting to us: a
//!   poll request stands in, and the operation is issued again;
//! - a send finds no room, or not enough for all: likewise, whatever the descriptor's mode;
//! - a receive that is to fill its buffer has filled a part;
//! - a connect is under way: a poll stands in, and the connect is called again, for its end is told to that call;
//! - the buffers have run out (`ENOBUFS`): the operation is parked and issued again when buffers come back;
//! - another of its kind on the same handle came before it ([`lanes`](super::lanes)).
//!
//! **Cancels may miss.** `ASYNC_CANCEL` answers `ENOENT` for a request that the kernel is just about to run again: it
//! would then wait as if nobody had asked. Each such answer is looked at: where the operation is still in flight, the
//! cancel is asked for again a moment later. A cancel that hits is silent.
//!
//! **Polls end for what nobody asked for.** A poll request ends when the peer sends no more, or where an error is queued,
//! whatever it waits for (`IO_POLL_UNMASK`, io_uring/poll.c), and would at once end so again. Such a state may last for
//! days. So where a poll has ended without that which was asked for, and the operation could not go on, a *watch* comes
//! beside it: a poll of many completions, which tells of changes alone (`EPOLLET`, which all such polls have), and once of
//! what is there at the start. The operation is tried at each. The order matters: watch, then try; or a change between the
//! two would be lost. A watch ends with its operation, which is not over before.
//!
//! **Polls may lie.** A Unix socket whose peer's queue is full polls as writable. Where a poll has said that what was asked
//! for is there and it was not, no event will tell: a pause comes before the next try, 1 ms at first, 16 ms at last.
//!
//! **Polls may be impossible.** A file without readiness (a regular one, some devices) polls as readable and writable for ever.
//! Of whom that does not content poll(2) would wait; the kernel's own poll says `EINVAL`. It is tried by time instead.
//!
//! **An error is told once.** A call that meets a reset takes it off the socket. An operation that goes on after a part
//! looks at what poll says first, and leaves an error for the next operation, as it has bytes to report.

use io_uring::opcode;
use io_uring::squeue::Entry;
use io_uring::types::Timespec;

use super::descriptor::{Identity, Look};
use super::entry::{self, Kind, Parts, Rest};
use super::lanes::Side;
use crate::buffers::Buffer;
use crate::op::Interest;
use crate::slots::OpId;
use crate::sys;

/// How long to wait before something is tried again for which the kernel has no event: longer each time, up to 16 ms.
pub(super) static PAUSES: [Timespec; 5] = [pause(1), pause(2), pause(4), pause(8), pause(16)];

const fn pause(milliseconds: u32) -> Timespec {
    Timespec::new().nsec(milliseconds * 1_000_000)
}

/// What an interrupted call of the kernel's own returns; it should not leave the kernel, and io_uring lets it
/// (include/linux/errno.h).
const ERESTARTSYS: i32 = 512;

/// Where an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The slot is empty.
    Free,
    /// Others of its kind on its handle come first.
    InLine,
    /// The same, and a poll stands in to find out whether the one before it waits for the same.
    Guarding,
    /// It waits for a provided buffer.
    Parked,
    /// Its own request is queued or in the kernel.
    Issued,
    /// A poll stands in for it, or a pause.
    StoodIn,
    /// It waits for what its watch tells.
    Watching,
    /// It is over, and its watch has yet to end.
    Over,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Action {
    /// Nothing: what comes next is under way.
    Wait,
    /// Its entry goes to the kernel, for the first time or again.
    Issue,
    /// A poll for this stands in.
    Poll(u32),
    /// A pause stands in.
    Pause(&'static Timespec),
    /// A watch for this comes beside it.
    Watch(u32),
    /// The kernel is asked to end what it has of it.
    Cancel,
    /// The same after a pause.
    CancelLater,
    /// It waits for a provided buffer.
    Park,
    /// There is something to be had that the one before it in line should take.
    Doubt,
    /// It has one result of several, and is to be issued again where `again` says so.
    Report { result: usize, buffer: Option<Buffer>, again: bool },
    /// It is over.
    End(Result<usize, i32>, Option<Buffer>),
}

/// What the kernel says of a request.
#[derive(Debug)]
pub(super) struct Completion {
    /// A number, or an error below 0.
    pub(super) result: i32,
    /// Whether the request goes on.
    pub(super) more: bool,
    /// The provided buffer that the kernel has filled.
    pub(super) buffer: Option<Buffer>,
    /// Whether it has none left.
    pub(super) starved: bool,
}

/// An operation in flight, with all that it takes to issue it again.
pub(super) struct Request {
    pub(super) id: OpId,
    pub(super) handle: i32,
    /// How many results with more to come it has brought, and what was in its slot before.
    pub(super) reports: u32,
    pub(super) entry: Entry,
    pub(super) kind: Kind,
    pub(super) state: State,
    pub(super) cancelled: bool,
    /// The lane that it is in.
    pub(super) side: Option<Side>,
    /// The error to end with where it is cancelled and nothing was done.
    refusal: i32,
    /// What its handle was when it began to wait, where that was looked at.
    pub(super) identity: Option<Identity>,
    /// A poll said that it is ready, and nothing has come of it yet.
    polled: bool,
    /// A poll has ended for what nobody asked for, and nothing has come of it yet.
    unasked: bool,
    /// How many pauses it took since anything came of it.
    pauses: u8,
    /// Whether a watch is armed beside it.
    watched: bool,
    /// The watch has told something since the last try.
    stirred: bool,
    /// The watch has told that what was asked for is there, and nothing has come of it yet.
    lied: bool,
    /// What came of a provided receive that waits for the rest, in memory of its own.
    kept: Option<Buffer>,
    /// How it ended, while its watch has yet to.
    ended: Option<(Result<usize, i32>, Option<Buffer>)>,
    /// What a send in place of a write has in the kernel's form.
    pub(super) header: Option<Box<sys::MessageHeader>>,
}

impl Request {
    /// An empty slot.
    pub(super) fn free() -> Request {
        Request {
            id: OpId::new(0, 0),
            handle: -1,
            reports: 0,
            entry: opcode::Nop::new().build(),
            kind: Kind::Plain,
            state: State::Free,
            cancelled: false,
            refusal: sys::CANCELLED,
            side: None,
            identity: None,
            polled: false,
            unasked: false,
            pauses: 0,
            watched: false,
            stirred: false,
            lied: false,
            kept: None,
            ended: None,
            header: None,
        }
    }

    /// An operation is in the slot from now on. What it replaces was over: little of it is left to be written.
    pub(super) fn begin(&mut self, id: OpId, handle: i32, entry: Entry, kind: Kind) {
        debug_assert!(self.state == State::Free, "two operations in one slot");
        debug_assert!(self.kept.is_none() && self.ended.is_none() && self.header.is_none(), "something was left");
        (self.id, self.handle, self.entry, self.kind) = (id, handle, entry, kind);
        self.entry.set_user_data(id.to_u64());
        (self.state, self.cancelled, self.refusal) = (State::InLine, false, sys::CANCELLED);
        (self.side, self.identity) = (None, None);
        (self.watched, self.stirred) = (false, false);
        self.moved();
    }

    /// Its own request has a completion.
    pub(super) fn completed(&mut self, completion: Completion, look: &impl Look) -> Action {
        let Completion { result, more, mut buffer, starved } = completion;
        if result < 0 {
            return self.failed(-result, starved, look);
        }
        let length = result as usize;
        if length == 0 {
            buffer = None;
        }
        match self.kind {
            Kind::ProvidedAll(room) => {
                if let Some(part) = buffer.as_mut()
                    && length < room
                    && !self.cancelled
                    && look.is_stream()
                    // Without memory of its own it cannot wait for the rest: it ends short.
                    && part.keep(room).is_ok()
                {
                    let rest = Rest::of_room(part.room(), length);
                    self.kind = Kind::RecvAll(rest);
                    self.kept = buffer;
                    return self.go_on(rest.recv(self.handle));
                }
            }
            Kind::Discard if length > 0 => {
                if self.cancelled {
                    return self.end(Err(self.refusal), None);
                }
                self.moved();
                return self.issue();
            }
            Kind::Poll(asked) => return self.found(asked, result, look),
            _ => {}
        }
        let handle = self.handle;
        let rest = match &mut self.kind {
            Kind::SendAll(rest) => rest.advance(length).then(|| rest.send(handle)),
            Kind::Message(parts) => parts.advance(length, handle, look),
            Kind::RecvAll(rest) => (rest.advance(length) && look.is_stream()).then(|| rest.recv(handle)),
            _ => None,
        };
        if let Some(entry) = rest
            && !self.cancelled
        {
            return self.go_on(entry);
        }
        let ends = !self.kind.is_multishot() || self.cancelled || (self.kind.takes_buffer() && length == 0);
        if !more && ends {
            return self.end(Ok(length), buffer);
        }
        self.moved();
        Action::Report { result: length, buffer, again: !more }
    }

    fn failed(&mut self, errno: i32, starved: bool, look: &impl Look) -> Action {
        match (errno, self.kind) {
            // Linux has let go of the descriptor even so (close(2)).
            (libc::EINTR, Kind::Close) => self.end(Ok(0), None),
            (libc::EAGAIN, kind) if kind.is_at_once() => self.end(Err(libc::EAGAIN), None),
            (libc::EAGAIN | libc::EINTR | ERESTARTSYS, _) if self.cancelled => self.end(Err(self.refusal), None),
            (libc::EINTR | ERESTARTSYS, _) => self.issue(),
            // Linux tells the end of a connect to the call after it, and would tell it to a second one else.
            (libc::EINPROGRESS | libc::EALREADY, Kind::Connect) if self.cancelled => self.end(Err(self.refusal), None),
            (libc::EAGAIN, _) if self.receives_no_more(look) => self.end(Ok(0), None),
            (libc::EINPROGRESS | libc::EALREADY, Kind::Connect) | (libc::EAGAIN, _) => self.await_readiness(),
            (libc::EINVAL, Kind::Poll(_)) if self.cancelled => self.end(Err(self.refusal), None),
            (libc::EINVAL, Kind::Poll(_)) => self.pause(),
            (libc::ENOBUFS, kind) if kind.takes_buffer() && (starved || !look.tells_overruns()) => {
                if self.cancelled {
                    return self.end(Err(self.refusal), None);
                }
                self.state = State::Parked;
                Action::Park
            }
            _ => self.end(Err(errno), None),
        }
    }

    /// A readiness poll has ended with `events`, or its watch has told of them.
    fn found(&mut self, asked: Interest, events: i32, look: &impl Look) -> Action {
        let there = if asked.contains(Interest::PRIORITY) { look.ready(asked) } else { events };
        let found = entry::found(asked, there);
        if found != Interest::default() {
            return self.end(Ok(usize::from(found.0)), None);
        }
        if self.cancelled {
            return self.end(Err(self.refusal), None);
        }
        if self.watched {
            self.state = State::Watching;
            return Action::Wait;
        }
        if entry::only_half_closed(events) { self.watch() } else { self.issue() }
    }

    /// The poll or the pause that stood in for it has ended.
    pub(super) fn stood_in(&mut self, result: i32, look: &impl Look) -> Action {
        if self.state == State::Guarding && result >= 0 && !self.cancelled {
            self.state = State::InLine;
            return Action::Doubt;
        }
        if result < 0 && result != -libc::ETIME {
            return self.end(Err(if self.cancelled { self.refusal } else { -result }), None);
        }
        // A connect that was under way has its result, cancelled or not.
        if self.cancelled && (self.state == State::Guarding || !matches!(self.kind, Kind::Connect)) {
            return self.end(Err(self.refusal), None);
        }
        self.unasked = result > 0 && result as u32 & self.awaited() == 0;
        if entry::only_half_closed(result) {
            return self.watch();
        }
        if self.is_broken(result, look) { self.end(Ok(0), None) } else { self.issue() }
    }

    /// Its watch has told of something, or has ended.
    pub(super) fn stirred(&mut self, completion: &Completion, look: &impl Look) -> Action {
        self.watched = completion.more;
        if self.state == State::Over {
            return match self.ended.take_if(|_| !completion.more) {
                Some((result, buffer)) => {
                    self.state = State::Free;
                    Action::End(result, buffer)
                }
                None => Action::Wait,
            };
        }
        if self.state != State::Watching {
            self.stirred = true;
            return Action::Wait;
        }
        if self.cancelled {
            return self.end(Err(self.refusal), None);
        }
        self.lied = completion.result > 0 && completion.result as u32 & self.awaited() != 0;
        match (self.kind, completion.result) {
            (_, error @ ..0) => self.end(Err(-error), None),
            // The kernel has ended it with this: where more is to be awaited, it is asked for anew.
            (Kind::Poll(asked), events) => self.found(asked, events, look),
            (_, events) if self.is_broken(events, look) => self.end(Ok(0), None),
            _ => self.issue(),
        }
    }

    /// It is to end early.
    pub(super) fn cancel(&mut self) -> Action {
        if matches!(self.state, State::Free | State::Over) || self.cancelled {
            return Action::Wait;
        }
        self.cancelled = true;
        match self.state {
            State::InLine | State::Parked => self.end(Err(self.refusal), None),
            _ => Action::Cancel,
        }
    }

    /// It is in line and not in the kernel, and its handle means something else by now.
    pub(super) fn turn_away(&mut self) -> Action {
        self.refusal = libc::EBADF;
        self.cancel()
    }

    /// It was to be issued again, and its handle means something else by now.
    pub(super) fn has_moved(&mut self) -> Action {
        self.end(Err(libc::EBADF), None)
    }

    /// It is in line: a poll is to find out whether the one before it waits for the same.
    pub(super) fn guard(&mut self) -> Action {
        self.state = State::Guarding;
        Action::Poll(self.awaited())
    }

    /// It is its turn.
    pub(super) fn called_up(&mut self) -> Action {
        if self.state == State::Guarding {
            // The poll is in the kernel still, and stands in for it from here on.
            self.state = State::StoodIn;
            return Action::Wait;
        }
        Action::Issue
    }

    /// A cancel, or the pause before the next, has ended with `result`: it has missed (`ENOENT`), or came to a thread of the
    /// kernel's that had begun already (`EALREADY`), or the time has come to ask again (`ETIME`).
    pub(super) fn cancel_ended(&self, result: i32) -> Action {
        match self.state {
            State::Issued | State::StoodIn | State::Watching | State::Guarding if !self.cancelled => Action::Wait,
            State::Free | State::InLine | State::Parked => Action::Wait,
            _ if result == -libc::ETIME => Action::Cancel,
            _ => Action::CancelLater,
        }
    }

    /// What announces that it may go on.
    pub(super) fn awaited(&self) -> u32 {
        match self.kind {
            Kind::Poll(asked) => entry::poll_events(asked),
            _ => entry::readiness(&self.entry),
        }
    }

    /// Whether it is a receive that was told to try, and for which nothing comes any more.
    fn receives_no_more(&self, look: &impl Look) -> bool {
        (self.polled || self.watched) && entry::receives(&self.entry) && look.receives_no_more()
    }

    /// It has to wait, and the kernel leaves that to us.
    fn await_readiness(&mut self) -> Action {
        if self.watched {
            if self.lied {
                return self.pause();
            }
            // What was told since the try began, the try may have missed.
            if self.stirred {
                return self.issue();
            }
            self.state = State::Watching;
            return Action::Wait;
        }
        if self.polled {
            return if self.unasked { self.watch() } else { self.pause() };
        }
        self.polled = true;
        self.state = State::StoodIn;
        Action::Poll(self.awaited())
    }

    fn watch(&mut self) -> Action {
        self.watched = true;
        self.stirred = false;
        self.state = State::Watching;
        Action::Watch(self.awaited())
    }

    fn pause(&mut self) -> Action {
        self.polled = false;
        let time = &PAUSES[usize::from(self.pauses).min(PAUSES.len() - 1)];
        self.pauses = self.pauses.saturating_add(1);
        self.state = State::StoodIn;
        Action::Pause(time)
    }

    /// It goes to the kernel.
    pub(super) fn issue(&mut self) -> Action {
        self.stirred = false;
        self.state = State::Issued;
        Action::Issue
    }

    /// It moved a part, and has to wait for the next, which `entry` moves.
    fn go_on(&mut self, entry: Entry) -> Action {
        self.entry = entry;
        self.entry.set_user_data(self.id.to_u64());
        self.moved();
        // After a part there may be more at once, which a watch would not tell again.
        if self.watched { self.issue() } else { self.await_readiness() }
    }

    /// Something came of it.
    fn moved(&mut self) {
        (self.polled, self.unasked, self.lied, self.pauses) = (false, false, false, 0);
    }

    /// Whether what poll found is an error that it leaves for the next operation, as it has bytes to report.
    fn is_broken(&self, events: i32, look: &impl Look) -> bool {
        if events <= 0 || events & i32::from(libc::POLLERR | libc::POLLHUP) == 0 {
            return false;
        }
        match self.kind {
            Kind::SendAll(rest) => rest.done > 0,
            Kind::RecvAll(Rest { done, .. }) | Kind::Message(Parts { done, .. }) => done > 0 && !look.has_unread(),
            _ => false,
        }
    }

    /// It is over, with what it has moved before, where it has.
    fn end(&mut self, mut result: Result<usize, i32>, mut buffer: Option<Buffer>) -> Action {
        match self.kind {
            Kind::Message(parts) => {
                if parts.done > 0 {
                    result = Ok(parts.done);
                }
                // SAFETY: the operation is in flight until its event, and the kernel has let go of the message.
                entry::take_header(unsafe { parts.message() }, result.is_ok());
            }
            Kind::SendAll(rest) | Kind::RecvAll(rest) if rest.done > 0 => {
                result = Ok(rest.done);
                buffer = self.kept.take();
                if let Some(buffer) = &mut buffer {
                    buffer.fill(rest.done);
                }
            }
            // SAFETY: as above; where there is nobody there is no address.
            Kind::Accept(Some(mut peer)) if result.is_err() => unsafe { peer.as_mut() }.set_length(0),
            _ => {}
        }
        if self.watched {
            self.state = State::Over;
            self.ended = Some((result, buffer));
            return Action::Cancel;
        }
        self.state = State::Free;
        Action::End(result, buffer)
    }
}

#[cfg(test)]
mod tests;
