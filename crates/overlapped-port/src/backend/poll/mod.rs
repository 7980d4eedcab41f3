//! Readiness (epoll, kqueue) made to look like completion.
//!
//! An operation is tried at once in a form that never blocks ([`call`]). What would have to wait is queued at its
//! descriptor, receives and sends apart and each in order, and a one-shot interest is armed; when the descriptor is
//! ready, the operations at the front are tried ([`attempt`]) until one would wait again. What has no readiness goes
//! to the port's threads ([`mod@file`]).
//!
//! Traps, and what is done about them:
//!
//! - *The kernel forgets a descriptor when it is closed, and its number comes again.* So nothing that is known of a
//!   number is believed while no operation is queued on it: each wait arms anew, changing the registration and adding
//!   it where it is gone (`ENOENT`), or the other way about (`EEXIST`). An event for the number's former owner only
//!   leads to a try that brings nothing. (epoll(7), question 6: a duplicate keeps a registration alive.)
//! - *Readiness that is none.* Level-triggered interest that a try cannot satisfy would spin: urgent data wakes
//!   readers on epoll, errors wake everybody. After a few events in a row that led nowhere, and where the system
//!   announces nothing at all (a full Unix backlog; a device that epoll refuses with `EPERM`), the descriptor is tried
//!   again after a short delay instead.
//! - *An error is told once.* The call that meets a reset takes it off the socket. Where that call had moved bytes,
//!   its operation reports those, and the error is kept for the next operation on the same socket.
//! - *A signal must end the sleep*, and `polling` goes on sleeping: so the sleep is a ppoll(2) on its descriptor, which
//!   also keeps time to the nanosecond.
//! - *After fork(2) the child has the same epoll*, and dropping `polling`'s object there would take the notification
//!   out of the parent's: see [`interface`].
//!
//! `SIGPIPE` is kept away from sends and from writes to sockets. For pipes the system has no such form: the process
//! must ignore the signal, as Rust's and Python's start-up do.

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::RawFd;
use std::time::Instant;

use super::*;
use crate::buffers::BufferPool;
use crate::op::Interest;
use crate::sys::CANCELLED;
use attempt::{Attempt, Pending};
use call::{Nature, Side};
use descriptor::Descriptor;
use interface::Interface;

mod attempt;
mod call;
mod descriptor;
mod file;
mod interface;

/// The most tries on one side of a descriptor before the others have their turn.
const TURN: usize = 32;

/// Events in a row that led nowhere, after which a descriptor is tried by time instead.
const SPURIOUS: u8 = 3;

/// The first delay before a try that nothing announces; it doubles up to the longest.
const FIRST_DELAY: Duration = Duration::from_millis(1);
const LONGEST_DELAY: Duration = Duration::from_millis(16);

/// The readiness backend.
pub(super) struct Poll {
    interface: Arc<Interface>,
    found: polling::Events,
    ready: Vec<(RawFd, bool, bool)>,
    /// The operations that wait, by slot.
    table: Vec<Option<Pending>>,
    descriptors: Vec<Descriptor>,
    /// Events for the next wait to hand out.
    events: Vec<Event>,
    buffers: BufferPool,
    /// Descriptors whose receives wait for a provided buffer, in order.
    starved: VecDeque<RawFd>,
    /// Descriptors to be tried by time.
    retries: BTreeSet<(Instant, RawFd)>,
    /// Sleeps, collections and registrations: `polling` makes a few calls of each collection.
    entries: u64,
}

impl Drop for Poll {
    fn drop(&mut self) {
        self.interface.leave();
    }
}

impl Poll {
    pub(super) fn start(settings: &Settings) -> io::Result<Poll> {
        Ok(Poll {
            interface: Arc::new(Interface::new()?),
            found: polling::Events::new(),
            ready: Vec::new(),
            table: Vec::new(),
            descriptors: Vec::new(),
            events: Vec::new(),
            buffers: BufferPool::new(settings.buffers, settings.buffer_size),
            starved: VecDeque::new(),
            retries: BTreeSet::new(),
            entries: 0,
        })
    }

    /// Tries an operation, or queues it behind those that wait already.
    fn enter(&mut self, mut pending: Pending) -> Started {
        let (id, fd, side) = (pending.id, pending.fd, pending.side());
        if let Err(error) = self.make_room(id, fd) {
            return Started::Done(Err(error), None);
        }
        // What watches is told before what takes away that which it watches for.
        self.run_watchers(fd);
        let descriptor = &mut self.descriptors[fd as usize];
        let waits = side.is_some_and(|side| !descriptor.queue(side).is_empty());
        let attempt = if waits { Attempt::Again } else { descriptor.attempt(&mut pending, &mut self.buffers) };
        if let Attempt::Done(result, buffer) = attempt {
            return Started::Done(result, buffer);
        }
        match side {
            Some(side) => descriptor.queue(side).push_back(id),
            None => descriptor.watchers.push(id),
        }
        self.table[id.slot()] = Some(pending);
        self.note(id, fd, attempt);
        self.rearm(fd);
        Started::InFlight
    }

    /// Does what a try leads to; true where another should follow.
    fn note(&mut self, id: OpId, fd: RawFd, attempt: Attempt) -> bool {
        match attempt {
            Attempt::Done(result, buffer) => {
                self.take(id);
                self.events.push(Event { id, result, buffer, more: false });
                true
            }
            Attempt::More(value, buffer, again) => {
                self.events.push(Event { id, result: Ok(value), buffer, more: true });
                again
            }
            Attempt::Again => false,
            Attempt::Later => {
                self.try_later(fd);
                false
            }
            Attempt::Starved => {
                self.descriptors[fd as usize].starved = true;
                self.starved.push_back(fd);
                false
            }
            Attempt::Partial(..) => unreachable!("Descriptor::attempt makes two results of it"),
        }
    }

    /// Makes both tables long enough.
    fn make_room(&mut self, id: OpId, fd: RawFd) -> io::Result<()> {
        if self.table.len() <= id.slot() {
            self.table.resize_with(id.slot() + 64, || None);
        }
        if self.descriptors.get(fd as usize).is_none() {
            // A wild number must not cost memory.
            call::check_open(fd)?;
            self.descriptors.resize_with(fd as usize + 64, Descriptor::default);
        }
        Ok(())
    }

    /// Takes an operation out of the tables.
    fn take(&mut self, id: OpId) -> Option<Pending> {
        let pending = self.table.get_mut(id.slot())?.take_if(|pending| pending.id == id)?;
        let descriptor = &mut self.descriptors[pending.fd as usize];
        match pending.side() {
            Some(side) => {
                let queue = descriptor.queue(side);
                let at = queue.iter().position(|queued| *queued == id).expect("it is queued");
                queue.remove(at);
                // If it was the one at the front, the next may want no buffer; if not, it is found out again.
                descriptor.starved &= side == Side::Write;
            }
            None => descriptor.watchers.retain(|watcher| *watcher != id),
        }
        if descriptor.is_idle() {
            self.settle(pending.fd);
        }
        Some(pending)
    }

    /// Nothing is queued any more: nothing that is known of the descriptor will be believed.
    fn settle(&mut self, fd: RawFd) {
        let descriptor = &mut self.descriptors[fd as usize];
        if let Some(at) = descriptor.retry.take() {
            self.retries.remove(&(at, fd));
        }
        descriptor.armed = Interest::default();
        descriptor.starved = false;
        descriptor.delay = Duration::ZERO;
        descriptor.spurious = 0;
    }

    /// Acts on readiness.
    fn serve(&mut self, fd: RawFd, readable: bool, writable: bool) {
        let descriptor = &mut self.descriptors[fd as usize];
        descriptor.armed = Interest::default();
        if descriptor.is_idle() {
            return;
        }
        // What watches is told before the others take away that which it watches for.
        let mut progress = self.run_watchers(fd);
        if readable {
            progress |= self.run(fd, Side::Read);
        }
        if writable {
            progress |= self.run(fd, Side::Write);
        }
        let descriptor = &mut self.descriptors[fd as usize];
        if descriptor.is_idle() {
            return;
        }
        if progress {
            descriptor.spurious = 0;
            descriptor.delay = Duration::ZERO;
        } else {
            descriptor.spurious = descriptor.spurious.saturating_add(1);
            if descriptor.spurious >= SPURIOUS {
                self.try_later(fd);
            }
        }
        self.rearm(fd);
    }

    /// Tries the operations of one side, in order, until one has to wait; true where that got anywhere.
    fn run(&mut self, fd: RawFd, side: Side) -> bool {
        let mut progress = false;
        for _ in 0..TURN {
            let descriptor = &mut self.descriptors[fd as usize];
            if descriptor.starved && side == Side::Read {
                break;
            }
            let Some(&id) = descriptor.queue(side).front() else { break };
            let pending = self.table[id.slot()].as_mut().expect("what is queued is in the table");
            let before = pending.moved;
            let attempt = descriptor.attempt(pending, &mut self.buffers);
            progress |= pending.moved > before || !matches!(attempt, Attempt::Again | Attempt::Later);
            if !self.note(id, fd, attempt) {
                break;
            }
        }
        progress
    }

    /// Tells those that only watch, where what they watch for is there.
    fn run_watchers(&mut self, fd: RawFd) -> bool {
        let mut progress = false;
        let mut at = 0;
        while let Some(&id) = self.descriptors[fd as usize].watchers.get(at) {
            let pending = self.table[id.slot()].as_mut().expect("what is queued is in the table");
            match pending.attempt(&mut self.buffers) {
                Attempt::Again => at += 1,
                attempt => progress |= self.note(id, fd, attempt),
            }
        }
        progress
    }

    /// Lets the receives go on that wait for a provided buffer, while there are any.
    fn feed(&mut self) {
        while !self.starved.is_empty() && self.buffers.has_free() {
            let fd = self.starved.pop_front().expect("not empty");
            let descriptor = &mut self.descriptors[fd as usize];
            if std::mem::take(&mut descriptor.starved) {
                self.run(fd, Side::Read);
                self.rearm(fd);
            }
        }
    }

    /// Has the descriptor tried after a short delay, each time a longer one.
    fn try_later(&mut self, fd: RawFd) {
        let descriptor = &mut self.descriptors[fd as usize];
        if descriptor.retry.is_none() {
            descriptor.delay = (descriptor.delay * 2).clamp(FIRST_DELAY, LONGEST_DELAY);
            let at = Instant::now() + descriptor.delay;
            descriptor.retry = Some(at);
            self.retries.insert((at, fd));
        }
    }

    /// Tries the descriptors whose time has come.
    fn run_retries(&mut self) {
        if self.retries.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some(&(at, fd)) = self.retries.first() {
            if at > now {
                break;
            }
            self.retries.pop_first();
            self.descriptors[fd as usize].retry = None;
            self.serve(fd, true, true);
        }
    }

    /// Asks the kernel for what the queued operations wait for, where it has not been asked.
    fn arm(&mut self, fd: RawFd) -> io::Result<()> {
        let descriptor = &mut self.descriptors[fd as usize];
        if descriptor.retry.is_some() {
            return Ok(());
        }
        let mut wanted = Interest::default();
        if !descriptor.read.is_empty() && !descriptor.starved {
            wanted = wanted | Interest::READABLE;
        }
        if !descriptor.write.is_empty() {
            wanted = wanted | Interest::WRITABLE;
        }
        for watcher in &descriptor.watchers {
            let interest = self.table[watcher.slot()].as_ref().map_or(Interest::default(), Pending::interest);
            // Errors and hang-ups come unasked, to an armed descriptor: one without interest is given the rarest.
            wanted = wanted | if interest.0 == 0 { Interest::PRIORITY } else { interest };
        }
        if descriptor.armed.contains(wanted) {
            return Ok(());
        }
        if wanted.contains(Interest::PRIORITY) && !interface::TELLS_PRIORITY {
            self.try_later(fd);
            return Ok(());
        }
        match self.interface.arm(fd, wanted, descriptor.registered, &mut self.entries) {
            Ok(()) => {
                descriptor.registered = true;
                descriptor.armed = wanted;
                Ok(())
            }
            // Nothing that epoll could announce, and yet a call on it would have waited.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                self.try_later(fd);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// As [`arm`](Poll::arm); where that fails, so do the operations that wait.
    fn rearm(&mut self, fd: RawFd) {
        if let Err(error) = self.arm(fd) {
            self.end_all(fd, error.raw_os_error().unwrap_or(libc::EIO));
        }
    }

    fn end_all(&mut self, fd: RawFd, code: i32) {
        let descriptor = &self.descriptors[fd as usize];
        let queued = descriptor.read.iter().chain(&descriptor.write).chain(&descriptor.watchers);
        for id in queued.copied().collect::<Vec<OpId>>() {
            self.end(id, code);
        }
    }

    /// Ends an operation early.
    fn end(&mut self, id: OpId, code: i32) -> Option<RawFd> {
        let pending = self.take(id)?;
        let fd = pending.fd;
        let (result, buffer) = pending.conclude(io::Error::from_raw_os_error(code));
        self.events.push(Event { id, result, buffer, more: false });
        Some(fd)
    }

    /// Before a close: takes the descriptor out of the kernel's table, and forgets it.
    fn forget(&mut self, fd: RawFd) {
        if self.descriptors.get(fd as usize).is_none() {
            return;
        }
        // The port's caller has promised that there is none; left here, it would wait for the number's next owner.
        self.end_all(fd, CANCELLED);
        let descriptor = &mut self.descriptors[fd as usize];
        descriptor.drop_error();
        if std::mem::take(&mut descriptor.registered) {
            self.entries += 1;
            self.interface.forget(fd);
        }
    }
}

impl Backend for Poll {
    fn name(&self) -> &'static str {
        "poll"
    }

    fn setup(&self) -> Vec<String> {
        let files = if cfg!(target_os = "linux") {
            "files: one try without blocking (RWF_NOWAIT), else on a thread"
        } else {
            "files: on a thread"
        };
        vec![
            format!("readiness: {}, one-shot", interface::NAME),
            files.into(),
            format!("provided buffers: {} of {} bytes", self.buffers.count(), self.buffers.size()),
        ]
    }

    unsafe fn begin(&mut self, id: OpId, op: Op<'_>) -> Started {
        // SAFETY: only the lifetime changes; the caller keeps what is borrowed until the final event, and after it the
        // operation is in no table.
        let mut op = unsafe { std::mem::transmute::<Op<'_>, Op<'static>>(op) };
        let fd = op.handle().map_or(-1, |handle| handle as RawFd);
        let mut nature = None;
        match op {
            Op::Call { function } => return Started::Offload(function),
            Op::Open { path, how } => return file::open(path, how),
            Op::Sync { file, data_only } => return file::sync(file, data_only),
            Op::AcceptPipe { .. } => return no_pipe_clients(),
            Op::Disconnect { socket } => {
                if let Err(error) = check_stream(socket) {
                    return Started::Done(Err(error), None);
                }
                // Why it fails, the receive tells; where both sides have ended already, it would fail, and that is no
                // error.
                let _ = call::shutdown(socket, std::net::Shutdown::Write);
            }
            Op::Shutdown { socket, how } => return Started::Done(call::shutdown(socket, how), None),
            Op::CloseFile { file: fd } | Op::CloseSocket { socket: fd } => {
                self.forget(fd);
                return file::close(fd);
            }
            _ => {}
        }
        if let Some((side, vector, offset)) = attempt::transfer_of(&mut op) {
            if offset.is_some_and(|offset| offset > i64::MAX as u64) {
                return Started::Done(Err(io::Error::from_raw_os_error(libc::EINVAL)), None);
            }
            match call::nature(fd) {
                // SAFETY: the caller's promise.
                Ok(Nature::File) => return unsafe { file::transfer(side, fd, vector, offset) },
                Ok(other) => nature = Some(other),
                Err(error) => return Started::Done(Err(error), None),
            }
        }
        // SAFETY: the caller's promise.
        self.enter(unsafe { Pending::new(id, fd, op, nature) })
    }

    fn cancel(&mut self, id: OpId) {
        if let Some(fd) = self.end(id, CANCELLED) {
            self.rearm(fd);
        }
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.feed();
        let mut timeout = if self.events.is_empty() { timeout } else { Some(Duration::ZERO) };
        if let Some((at, _)) = self.retries.first() {
            let next = at.saturating_duration_since(Instant::now());
            timeout = Some(timeout.map_or(next, |timeout| timeout.min(next)));
        }
        self.entries += 1;
        if self.interface.sleep(timeout)? {
            self.entries += 1;
            self.interface.collect(&mut self.found)?;
            let mut ready = std::mem::take(&mut self.ready);
            ready.extend(self.found.iter().map(|event| (event.key as RawFd, event.readable, event.writable)));
            for (fd, readable, writable) in ready.drain(..) {
                self.serve(fd, readable, writable);
            }
            self.ready = ready;
        }
        self.run_retries();
        events.append(&mut self.events);
        Ok(())
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::clone(&self.interface) as Arc<dyn Notify>
    }

    fn buffer<'b>(&'b self, buffer: &'b Buffer) -> &'b [u8] {
        self.buffers.bytes(buffer)
    }

    fn recycle(&mut self, buffer: Buffer) {
        // What waits for one goes on at the next wait.
        self.buffers.give_back(buffer);
    }

    fn kernel_entries(&self) -> u64 {
        self.entries
    }
}
