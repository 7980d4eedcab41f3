//! io_uring: operations go to the kernel in a queue that both sides map, completions come back in another
//! (io_uring(7), io_uring_enter(2)).
//!
//! **One entry into the kernel a turn.** [`begin`](Backend::begin) writes to the submission queue and does no more;
//! [`wait`](Backend::wait) submits what is there and sleeps, in one call. With `DEFER_TASKRUN` the kernel finishes
//! operations only inside that call, in a batch, so a wait that must not sleep enters too, but only where there is
//! something to submit or where the kernel's `TASKRUN` flag says that there is something to finish.
//!
//! **Numbers.** An operation's number in the kernel is its [`OpId`]. The backend's own requests have generation 0, and in
//! place of the slot a purpose with a slot ([`Internal`]).
//!
//! **A request that cannot go on is this backend's business** ([`State`]): the caller's operation stays in flight while
//!
//! - the descriptor is in non-blocking mode and the kernel answers `EAGAIN`, for then it leaves the waiting to us: a
//!   poll request stands in, and the operation is issued again. Where readiness lies (a Unix socket whose peer's
//!   queue is full polls as writable), a short sleep follows before the next try;
//! - a send finds no room, or not enough for all: likewise, whatever the descriptor's mode;
//! - a connect of a non-blocking socket is `EINPROGRESS`: the poll stands in, and the socket's error is the result;
//! - the buffers have run out (`ENOBUFS`): the operation is parked and issued again when buffers come back.
//!
//! **Cancels may miss.** `ASYNC_CANCEL` answers `ENOENT` for a request that the kernel is just about to run again: it
//! would then wait as if nobody had asked. Each such answer is looked at: where the operation is still in flight, the
//! cancel is asked for again a moment later. A cancel that hits is silent.
//!
//! **Nothing is written after the end.** The kernel tears a closed ring down in its own time. The only request in
//! flight then is a poll of the notifier, which writes to no memory of ours.

mod buffers;
mod entry;
mod setup;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode};

use self::buffers::BufferRing;
use self::entry::{Kind, Rest};
use super::{Backend, Event, Notify, Settings, Started};
use crate::buffers::Buffer;
use crate::op::{Interest, Op};
use crate::slots::OpId;
use crate::sys;

/// How long to wait before something is tried again for which the kernel has no event.
static MOMENT: Timespec = Timespec::new().nsec(1_000_000);

/// Longer than anybody waits, shorter than what overflows in the kernel.
const FOR_EVER: Duration = Duration::from_secs(1 << 32);

/// What a request of the backend's own is for: the numbers with generation 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Internal {
    /// The poll of the notifier.
    Notifier,
    /// A cancel of the operation in this slot, or the pause before the next.
    Cancel(usize),
    /// The poll or pause that stands in for the operation in this slot.
    StandIn(usize),
}

impl Internal {
    fn to_u64(self) -> u64 {
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
    /// A connect is under way, and a poll waits for its end.
    Connecting,
    /// It waits for a provided buffer.
    Parked,
}

/// An operation in flight, with all that it takes to issue it again.
struct Request {
    entry: Entry,
    id: OpId,
    handle: i32,
    kind: Kind,
    state: State,
    cancelled: bool,
    /// How often in a row it was ready and then was not.
    disappointed: u8,
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
            disappointed: 0,
        }
    }
}

/// Ends a wait by the eventfd that a poll request watches.
struct Notifier(File);

impl Notify for Notifier {
    fn notify(&self) {
        // The counter overflows after 2^64 notifications; nothing else can fail here.
        let _ = (&self.0).write(&1u64.to_ne_bytes());
    }
}

pub(super) struct Uring {
    /// First, for it must be gone before the buffers are unmapped.
    ring: IoUring,
    buffers: BufferRing,
    facts: Vec<String>,
    enter_flags: EnterFlags,
    notifier: Arc<Notifier>,
    notified: bool,
    /// By slot.
    requests: Vec<Request>,
    /// Those that wait for a buffer, the first first; some may have ended since.
    parked: VecDeque<OpId>,
    /// Entries for which the submission queue had no room, although it was flushed.
    late: VecDeque<Entry>,
    /// Operations that ended by a cancel while they were parked.
    ended: Vec<OpId>,
    /// Completions that were copied out of the queue.
    reaped: Vec<cqueue::Entry>,
    kernel_entries: u64,
}

impl Uring {
    pub(super) fn start(settings: &Settings) -> io::Result<Uring> {
        let (ring, buffers, facts) = setup::start(settings)?;
        // SAFETY: takes no pointers.
        let eventfd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if eventfd < 0 {
            return Err(setup::explain("eventfd", &io::Error::last_os_error()));
        }
        // SAFETY: the descriptor is new, and this is its only owner.
        let notifier = Arc::new(Notifier(File::from(unsafe { OwnedFd::from_raw_fd(eventfd) })));
        let mut enter_flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if ring.params().is_feature_no_iowait() {
            // An idle server is idle; it does not wait for a disk (Linux 6.15).
            enter_flags |= EnterFlags::NO_IOWAIT;
        }
        let mut uring = Uring {
            ring,
            buffers,
            facts,
            enter_flags,
            notifier,
            notified: false,
            requests: Vec::new(),
            parked: VecDeque::new(),
            late: VecDeque::new(),
            ended: Vec::new(),
            reaped: Vec::new(),
            kernel_entries: 0,
        };
        uring.watch_notifier();
        Ok(uring)
    }

    /// Arms the poll of the notifier. Each write to an eventfd wakes its pollers, so it is never read; its count
    /// says nothing.
    fn watch_notifier(&mut self) {
        let entry = opcode::PollAdd::new(Fd(self.notifier.0.as_raw_fd()), libc::POLLIN as u32).multi(true).build();
        self.push(&entry.user_data(Internal::Notifier.to_u64()));
    }

    /// Queues an entry. Entries stay in order: a cancel never overtakes what it is to cancel.
    fn push(&mut self, entry: &Entry) {
        if self.late.is_empty() {
            for _ in 0..2 {
                // SAFETY: what the entry points to stays until its completion: the caller of `begin` promises it for
                // operations, the backend's own requests point to nothing or to a static.
                if unsafe { self.ring.submission().push(entry) }.is_ok() {
                    return;
                }
                self.flush();
            }
        }
        self.late.push_back(entry.clone());
    }

    /// Submits what is queued, to make room.
    fn flush(&mut self) {
        let queued = self.ring.submission().len();
        self.kernel_entries += 1;
        // SAFETY: no argument is passed. What fails here fails again in the next wait, which reports it.
        let submitted = unsafe { self.ring.submitter().enter::<libc::sigset_t>(queued as u32, 0, 0, None) };
        if submitted.is_err() {
            // EBUSY: the kernel keeps completions for which the queue has no room, and takes no more before.
            self.reap();
        }
    }

    /// Copies the completions out of the queue, so that the kernel has all of it again.
    fn reap(&mut self) {
        let Uring { ring, reaped, .. } = self;
        reaped.extend(ring.completion());
    }

    /// Enters the kernel: submits what is queued and, unless `timeout` is zero, sleeps for a completion. Does not
    /// enter where nothing could come of it.
    fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        while let Some(entry) = self.late.front() {
            // SAFETY: as in `push`.
            if unsafe { self.ring.submission().push(entry) }.is_err() {
                break;
            }
            self.late.pop_front();
        }
        let sleeps = timeout != Some(Duration::ZERO) && self.late.is_empty();
        let (submitter, queue, _) = self.ring.split();
        let queued = queue.len();
        if !sleeps && queued == 0 && !queue.taskrun() && !queue.cq_overflow() {
            return Ok(());
        }
        drop(queue);
        let timespec = timeout.map(|timeout| Timespec::from(timeout.min(FOR_EVER)));
        let mut arguments = SubmitArgs::new();
        if let Some(timespec) = timespec.as_ref().filter(|_| sleeps) {
            arguments = arguments.timespec(timespec);
        }
        self.kernel_entries += 1;
        // SAFETY: the argument is what EXT_ARG says, and outlives the call.
        let entered =
            unsafe { submitter.enter(queued as u32, u32::from(sleeps), self.enter_flags.bits(), Some(&arguments)) };
        let Err(error) = entered else { return Ok(()) };
        match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR) => Ok(()),
            // The kernel has no memory for more requests, or keeps completions that did not fit into the queue: those
            // in flight have to end first. The pause is short because what is queued waits with them.
            Some(libc::EAGAIN | libc::EBUSY) => {
                let arguments = SubmitArgs::new().timespec(&MOMENT);
                self.kernel_entries += 1;
                // SAFETY: as above.
                let _ = unsafe { submitter.enter(0, u32::from(sleeps), self.enter_flags.bits(), Some(&arguments)) };
                Ok(())
            }
            _ => Err(io::Error::new(error.kind(), format!("io_uring_enter, {queued} entries queued: {error}"))),
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
        request.state = State::Issued;
        let entry = request.entry.clone();
        self.push(&entry);
    }

    /// Issues parked operations, as many as there are buffers; true where some remain that could be issued next, for
    /// those on an idle socket take none.
    fn unpark(&mut self) -> bool {
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
    fn stand_in(&mut self, slot: usize, state: State, entry: Entry) {
        self.requests[slot].state = state;
        self.push(&entry.user_data(Internal::StandIn(slot).to_u64()));
    }

    /// The operation in `slot` would have had to wait, and the descriptor's mode forbids it: waits in its place.
    fn await_readiness(&mut self, slot: usize) {
        let request = &mut self.requests[slot];
        request.disappointed = request.disappointed.wrapping_add(1);
        let entry = if request.disappointed % 2 == 1 {
            entry::readiness(&request.entry, request.handle)
        } else {
            opcode::Timeout::new(&raw const MOMENT).build()
        };
        self.stand_in(slot, State::StoodIn, entry);
    }

    /// Asks the kernel to cancel what it has of the operation in `slot`.
    fn push_cancel(&mut self, slot: usize) {
        let request = &self.requests[slot];
        let target = match request.state {
            State::Issued => request.id.to_u64(),
            State::StoodIn | State::Connecting => Internal::StandIn(slot).to_u64(),
            State::Free | State::Parked => return,
        };
        let entry = opcode::AsyncCancel::new(target).build().flags(Flags::SKIP_SUCCESS);
        self.push(&entry.user_data(Internal::Cancel(slot).to_u64()));
    }

    /// Frees the slot of an operation and reports its end.
    fn finish(&mut self, slot: usize, mut result: io::Result<usize>, buffer: Option<Buffer>, events: &mut Vec<Event>) {
        let request = &mut self.requests[slot];
        match request.kind {
            // SAFETY: the caller of `begin` keeps the message until this, its final event.
            Kind::Message(message) => entry::take_header(unsafe { &mut *message }, result.is_ok()),
            Kind::SendAll(rest) if rest.sent > 0 => result = Ok(rest.sent),
            _ => {}
        }
        request.state = State::Free;
        events.push(Event { id: request.id, result, buffer, more: false });
    }

    /// A completion of the backend's own requests.
    fn complete_internal(&mut self, number: usize, cqe: &cqueue::Entry, events: &mut Vec<Event>) {
        match Internal::from_slot(number) {
            Internal::Notifier => {
                self.notified = true;
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
                    let pause = opcode::Timeout::new(&raw const MOMENT).build();
                    self.push(&pause.user_data(Internal::Cancel(slot).to_u64()));
                }
            }
            Internal::StandIn(slot) => self.complete_stand_in(slot, cqe.result(), events),
        }
    }

    /// The poll or the pause that stood in for an operation has ended.
    fn complete_stand_in(&mut self, slot: usize, result: i32, events: &mut Vec<Event>) {
        let request = &self.requests[slot];
        let broken = result > 0 && result & i32::from(libc::POLLERR | libc::POLLHUP) != 0;
        let ended = if result < 0 && result != -libc::ETIME {
            Err(io::Error::from_raw_os_error(-result))
        } else if request.state == State::Connecting {
            // SAFETY: the caller of `begin` keeps the descriptor open until the final event.
            let socket = unsafe { BorrowedFd::borrow_raw(request.handle) };
            match socket2::SockRef::from(&socket).take_error() {
                Ok(None) => Ok(0),
                Ok(Some(error)) | Err(error) => Err(error),
            }
        } else if request.cancelled {
            Err(io::Error::from_raw_os_error(sys::CANCELLED))
        } else if let (Kind::SendAll(Rest { sent: 1.., .. }), true) = (request.kind, broken) {
            // A socket tells its error once: it is left for the next operation, as this one has bytes to report.
            Ok(0)
        } else {
            return self.issue(slot);
        };
        self.finish(slot, ended, None, events);
    }

    /// A completion of an operation.
    fn complete(&mut self, id: OpId, cqe: &cqueue::Entry, events: &mut Vec<Event>) {
        let slot = id.slot();
        let request = &mut self.requests[slot];
        debug_assert!(request.id == id && request.state == State::Issued, "a completion of nothing in flight");
        let (kind, cancelled) = (request.kind, request.cancelled);
        let result = cqe.result();
        let length = usize::try_from(result).unwrap_or(0);
        let mut buffer = cqueue::buffer_select(cqe.flags()).map(|index| self.buffers.take(index, length));
        if length == 0
            && let Some(empty) = buffer.take()
        {
            self.buffers.give_back(empty.index);
        }
        if result < 0 {
            let error = match (-result, kind) {
                // Linux has let go of the descriptor even so (close(2)).
                (libc::EINTR, Kind::Close) => return self.finish(slot, Ok(0), None, events),
                (libc::EAGAIN | libc::EINTR | ERESTARTSYS, _) if cancelled => sys::CANCELLED,
                (libc::EINTR | ERESTARTSYS, _) => return self.issue(slot),
                (libc::EINPROGRESS | libc::EALREADY, Kind::Connect) => {
                    let poll = entry::readiness(&request.entry, request.handle);
                    self.stand_in(slot, State::Connecting, poll);
                    return if cancelled {
                        self.push_cancel(slot)
                    };
                }
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
        if let Kind::SendAll(rest) = &mut request.kind
            && let Some(entry) = rest.advance(request.handle, length)
            && !cancelled
        {
            request.entry = entry.user_data(id.to_u64());
            let poll = entry::readiness(&request.entry, request.handle);
            return self.stand_in(slot, State::StoodIn, poll);
        }
        let result = match kind {
            Kind::Poll(asked) if asked.contains(Interest::PRIORITY) => match entry::look(asked, request.handle) {
                0 if cancelled => {
                    let error = io::Error::from_raw_os_error(sys::CANCELLED);
                    return self.finish(slot, Err(error), None, events);
                }
                0 => return self.issue(slot),
                there => usize::from(entry::found(asked, there).0),
            },
            Kind::Poll(asked) => usize::from(entry::found(asked, result).0),
            _ => length,
        };
        let goes_on = cqueue::more(cqe.flags());
        let ends = !kind.is_multishot() || cancelled || (kind.takes_buffer() && length == 0);
        if !goes_on && ends {
            return self.finish(slot, Ok(result), buffer, events);
        }
        request.disappointed = 0;
        events.push(Event { id, result: Ok(result), buffer, more: true });
        if !goes_on {
            self.issue(slot);
        }
    }

    /// Turns all that was reaped into events.
    fn settle(&mut self, events: &mut Vec<Event>) {
        for id in std::mem::take(&mut self.ended) {
            let error = io::Error::from_raw_os_error(sys::CANCELLED);
            events.push(Event { id, result: Err(error), buffer: None, more: false });
        }
        // What is pushed on the way may have to flush the submission queue, and that may reap more.
        let mut at = 0;
        while let Some(cqe) = self.reaped.get(at).cloned() {
            at += 1;
            let id = OpId::from_u64(cqe.user_data());
            if id.generation() == 0 {
                self.complete_internal(id.slot(), &cqe, events);
            } else {
                self.complete(id, &cqe, events);
            }
        }
        self.reaped.clear();
    }
}

/// What an interrupted call of the kernel's own returns; it should not leave the kernel, and io_uring lets it
/// (include/linux/errno.h).
const ERESTARTSYS: i32 = 512;

impl Backend for Uring {
    fn name(&self) -> &'static str {
        "uring"
    }

    fn setup(&self) -> Vec<String> {
        self.facts.clone()
    }

    unsafe fn begin(&mut self, id: OpId, op: Op<'_>) -> Started {
        if let Op::RecvProvided { limit: 0, .. } = op {
            // The kernel takes a length of 0 for that of the buffer.
            return Started::Done(Ok(0), None);
        }
        if let Op::Shutdown { socket, how } = op {
            // It never waits, yet the kernel would give it to a thread: 20 to 80 µs in place of one (Linux 6.18). What
            // was begun before it goes first.
            if !self.ring.submission().is_empty() {
                self.flush();
            }
            // SAFETY: the caller keeps the descriptor open.
            let socket = unsafe { BorrowedFd::borrow_raw(socket) };
            return Started::Done(socket2::SockRef::from(&socket).shutdown(how).map(|()| 0), None);
        }
        let slot = id.slot();
        if slot >= self.requests.len() {
            self.requests.resize_with(slot + 64, Request::free);
        }
        let handle = op.handle().map_or(-1, |handle| handle as i32);
        let (entry, kind) = entry::prepare(op);
        let request = &mut self.requests[slot];
        debug_assert!(request.state == State::Free, "two operations in one slot");
        *request = Request {
            entry: entry.user_data(id.to_u64()),
            id,
            handle,
            kind,
            state: State::Issued,
            cancelled: false,
            disappointed: 0,
        };
        self.issue(slot);
        Started::InFlight
    }

    fn cancel(&mut self, id: OpId) {
        let slot = id.slot();
        let Some(request) = self.requests.get_mut(slot) else { return };
        if request.id != id || request.state == State::Free || request.cancelled {
            return;
        }
        request.cancelled = true;
        if request.state == State::Parked {
            request.state = State::Free;
            self.ended.push(id);
        } else {
            self.push_cancel(slot);
        }
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let before = events.len();
        self.notified = false;
        let sleeps = timeout.filter(|timeout| !timeout.is_zero());
        let deadline = sleeps.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut left = timeout;
        loop {
            let hurry = self.unpark() || !self.ended.is_empty() || !self.reaped.is_empty();
            let entered = self.enter(if hurry { Some(Duration::ZERO) } else { left });
            self.reap();
            let idle = self.reaped.is_empty();
            self.settle(events);
            entered?;
            // A sleep without any completion was ended by its timeout or by a signal.
            if events.len() > before || self.notified || (idle && !hurry) {
                return Ok(());
            }
            // What came was this backend's own business.
            if let Some(deadline) = deadline {
                left = Some(deadline.saturating_duration_since(Instant::now()));
            }
            if left == Some(Duration::ZERO) {
                return Ok(());
            }
        }
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::clone(&self.notifier) as Arc<dyn Notify>
    }

    fn buffer<'b>(&'b self, buffer: &'b Buffer) -> &'b [u8] {
        self.buffers.bytes(buffer)
    }

    fn recycle(&mut self, buffer: Buffer) {
        self.buffers.give_back(buffer.index);
    }

    fn kernel_entries(&self) -> u64 {
        self.kernel_entries
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
