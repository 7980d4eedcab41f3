//! io_uring: operations go to the kernel in a queue that both sides map, completions come back in another
//! (io_uring(7), io_uring_enter(2)).
//!
//! **One entry into the kernel a turn.** [`begin`](Backend::begin) writes to the submission queue and does no more;
//! [`wait`](Backend::wait) submits what is there and sleeps, in one call. With `DEFER_TASKRUN` the kernel finishes
//! operations only inside that call, in a batch, so a wait that must not sleep enters too, but only where there is
//! something to submit or where the kernel's `TASKRUN` flag says that there is something to finish.
//!
//! **Numbers.** An operation's number in the kernel is its [`OpId`]. The backend's own requests have generation 0, and in
//! place of the slot a purpose with a slot ([`Internal`]). What becomes of an operation is decided in [`step`] and done in
//! [`progress`]; in which order operations are served is told in [`lanes`], which shape an operation has in the kernel in
//! [`entry`], how the ring is set up in [`setup`]; what is read with no trip through the ring in [`cached`], what is sent so in
//! [`alone`].
//!
//! **Accepts go one by one.** A multishot accept ([`Op::AcceptMultishot`]) takes all that stands in the backlog with the entry
//! that a turn makes anyhow: a bare loop enters the kernel 0.28 times a connection with it, and ours once. It does not stand in
//! for accepts that follow each other. What it took ahead cannot be given back: where a program stops to accept, for it has
//! as many clients as it wants, those would be connected to nobody, and other threads and processes that share the listener
//! would have served them; polls, duplicates and a hand-off would have to know of them. Nor would it pay: of the bare loop's
//! CPU time a connection (accept, 64 bytes each way, close; 16 clients, seven rounds in turn on a busy machine) the median is
//! 27.9 µs with it and 26.4 µs with single accepts, the least 24.7 and 24.6 µs; ours is 27.6 µs.
//!
//! **Nothing is written after the end.** The kernel tears a closed ring down in its own time. In flight are then the poll
//! of the notifier, and perhaps a pause: neither touches memory of ours that goes away.

mod alone;
mod buffers;
mod cached;
mod descriptor;
mod entry;
mod lanes;
mod progress;
mod setup;
mod step;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use io_uring::squeue::Entry;
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode};

use self::alone::Alone;
use self::buffers::BufferRing;
use self::cached::Cached;
use self::lanes::Lanes;
use self::progress::{Doubt, Internal};
use self::step::{PAUSES, Request};
use super::open::open;
use super::{
    Backend, Event, Notify, Settings, Started, check_comes_by_and_by, check_stream, close_lingering, no_pipe_clients,
};
use crate::buffers::Home;
use crate::op::Op;
use crate::slots::OpId;
use crate::sys::RawFile;

/// Longer than anybody waits, shorter than what overflows in the kernel.
const FOR_EVER: Duration = Duration::from_secs(1 << 32);

/// Ends a wait by the eventfd that a poll request watches.
struct Notifier(File);

impl Notify for Notifier {
    fn notify(&self) {
        // The counter overflows after 2^64 notifications; nothing else can fail here.
        let _ = (&self.0).write(&1u64.to_ne_bytes());
    }

    fn leave_after_fork(&self) {
        // SAFETY: the file is not used again, nor dropped: its number is nobody's but ours.
        unsafe { libc::close(self.0.as_raw_fd()) };
    }
}

pub(super) struct Uring {
    /// First, for it must be gone before the buffers are unmapped.
    ring: IoUring,
    buffers: Rc<BufferRing>,
    cached: Cached,
    alone: Alone,
    /// Whether the kernel has a read of many results.
    reads_many: bool,
    facts: Vec<String>,
    enter_flags: EnterFlags,
    notifier: Arc<Notifier>,
    /// By slot.
    requests: Vec<Request>,
    /// Those that wait for a buffer, the first first; some may have ended since.
    parked: VecDeque<OpId>,
    /// How many of them have ended since.
    unparked: usize,
    lanes: Lanes,
    doubts: Vec<Doubt>,
    /// Entries for which the submission queue had no room, although it was flushed.
    late: VecDeque<Entry>,
    /// For the next wait to hand out.
    events: Vec<Event>,
    /// Completions that were copied out of the queue.
    reaped: Vec<cqueue::Entry>,
    kernel_entries: u64,
}

impl Uring {
    pub(super) fn start(settings: &Settings) -> io::Result<Uring> {
        let setup::Ring { ring, buffers, facts, reads_many } = setup::start(settings)?;
        // SAFETY: takes no pointers; the descriptor is new, and this is its only owner.
        let eventfd = unsafe {
            match libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) {
                ..0 => Err(io::Error::last_os_error()),
                eventfd => Ok(OwnedFd::from_raw_fd(eventfd)),
            }
        };
        let eventfd = eventfd.map_err(|error| setup::explain("eventfd", error))?;
        let notifier = Arc::new(Notifier(File::from(eventfd)));
        let mut enter_flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if ring.params().is_feature_no_iowait() {
            // An idle server is idle; it does not wait for a disk (Linux 6.15).
            enter_flags |= EnterFlags::NO_IOWAIT;
        }
        let mut uring = Uring {
            ring,
            buffers,
            cached: Cached::default(),
            alone: Alone::default(),
            reads_many,
            facts,
            enter_flags,
            notifier,
            requests: Vec::new(),
            parked: VecDeque::new(),
            unparked: 0,
            lanes: Lanes::default(),
            doubts: Vec::new(),
            late: VecDeque::new(),
            events: Vec::new(),
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

    /// Queues the entry of the operation in `slot`.
    #[inline]
    fn push_request(&mut self, slot: usize) {
        let entry = &self.requests[slot].entry;
        // SAFETY: as in `push`.
        if self.late.is_empty() && unsafe { self.ring.submission().push(entry) }.is_ok() {
            return;
        }
        let entry = entry.clone();
        self.push(&entry);
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

    /// shutdown(2). It never waits, yet the kernel would give it to a thread: 20 to 80 µs in place of one (Linux 6.18).
    /// What was begun before it goes first.
    fn shut_down(&mut self, socket: i32, how: Shutdown) -> io::Result<usize> {
        if !self.ring.submission().is_empty() {
            self.flush();
        }
        // SAFETY: takes no pointers.
        let done = unsafe { libc::shutdown(socket, entry::shutdown_how(how)) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(0) }
    }

    /// What needs no trip through the ring, or is refused; what is to be done before one.
    #[inline]
    fn without_the_ring(&mut self, op: &mut Op<'_>) -> Option<Started> {
        match op {
            Op::Read { file, buffer, offset } if offset.is_some() || self.nobody_is_in_line(*file) => {
                let count = self.cached.read(*file, buffer, *offset)?;
                Some(Started::Done(Ok(count), None))
            }
            Op::Shutdown { socket, how } => Some(Started::Done(self.shut_down(*socket, *how), None)),
            Op::Disconnect { socket } => {
                if let Err(error) = check_stream(*socket) {
                    return Some(Started::Done(Err(error), None));
                }
                // Why it fails, the receive tells; where both sides have ended already, it would fail, and that is no error.
                let _ = self.shut_down(*socket, Shutdown::Write);
                None
            }
            Op::AcceptPipe { .. } => Some(no_pipe_clients()),
            Op::ReadMultishot { file } => Some(Started::Done(Err(check_comes_by_and_by(*file).err()?), None)),
            // Nothing that was begun on it is left to go first: none may be in flight.
            Op::CloseFile { file: handle } | Op::CloseSocket { socket: handle } => close_lingering(*handle),
            _ => None,
        }
    }

    /// Whether a send would be the only thing to enter the kernel for, and its turn has come.
    fn is_alone(&mut self, socket: i32) -> bool {
        self.alone.may_be()
            && self.ring.submission().is_empty()
            && self.late.is_empty()
            && self.lanes.first(usize::try_from(socket).unwrap_or(usize::MAX), lanes::Side::Out).is_none()
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
                let arguments = SubmitArgs::new().timespec(&PAUSES[0]);
                self.kernel_entries += 1;
                // SAFETY: as above.
                let _ = unsafe { submitter.enter(0, u32::from(sleeps), self.enter_flags.bits(), Some(&arguments)) };
                Ok(())
            }
            _ => Err(io::Error::new(error.kind(), format!("io_uring_enter, {queued} entries queued: {error}"))),
        }
    }

    /// Turns all that was reaped into events.
    fn settle(&mut self) {
        // What is pushed on the way may have to flush the submission queue, and that may reap more.
        let mut at = 0;
        while let Some(cqe) = self.reaped.get(at).cloned() {
            at += 1;
            let id = OpId::from_u64(cqe.user_data());
            if id.generation() == 0 {
                self.complete_internal(id.slot(), cqe.result(), cqueue::more(cqe.flags()));
            } else {
                self.complete(id, &cqe);
            }
        }
        self.reaped.clear();
        self.settle_doubts();
    }
}

impl Backend for Uring {
    fn name(&self) -> &'static str {
        "uring"
    }

    fn setup(&self) -> Vec<String> {
        self.facts.clone()
    }

    unsafe fn begin(&mut self, id: OpId, mut op: Op<'_>) -> Started {
        match op {
            Op::Open { path, how } => return open(path, how),
            Op::Call { function, lane } => return Started::Offload(function, lane),
            _ => {}
        }
        if let Some(started) = self.without_the_ring(&mut op) {
            return started;
        }
        let handle = op.handle().map_or(-1, |handle| handle as i32);
        let side = entry::side(&op);
        if let Err(error) = self.make_room(id.slot(), side.map(|_| handle)) {
            return Started::Done(Err(error), None);
        }
        let mut sent = 0;
        if let Op::Send { socket, buffer, flags, all } = op
            && self.is_alone(socket)
        {
            match self.alone.send(socket, buffer, flags) {
                Some(Ok(part)) if all && part < buffer.len() => sent = part,
                Some(result) => return Started::Done(result, None),
                None => {}
            }
        }
        let (entry, kind) = entry::prepare(op, sent, self.buffers.size(), self.reads_many);
        self.open(id, handle, entry, kind, side);
        Started::InFlight
    }

    fn cancel(&mut self, id: OpId) {
        self.ask_to_cancel(id);
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        let hurry = self.unpark() || !self.events.is_empty() || !self.reaped.is_empty() || !self.doubts.is_empty();
        let entered = self.enter(if hurry { Some(Duration::ZERO) } else { timeout });
        self.reap();
        self.settle();
        self.alone.brought(self.events.len());
        events.append(&mut self.events);
        entered
    }

    fn has_news(&mut self) -> bool {
        let (_, queue, completions) = self.ring.split();
        queue.taskrun() || !completions.is_empty() || !self.events.is_empty() || !self.reaped.is_empty()
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::clone(&self.notifier) as Arc<dyn Notify>
    }

    fn own_files(&self) -> Vec<RawFile> {
        vec![self.ring.as_raw_fd(), self.notifier.0.as_raw_fd()]
    }

    fn home(&self) -> Weak<dyn Home> {
        self.buffers.home()
    }

    fn kernel_entries(&self) -> u64 {
        self.kernel_entries
    }
}
