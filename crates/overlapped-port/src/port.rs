//! The port: what all backends share, over one that is chosen at run time.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem::{self, forget};
use std::rc::Weak;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::{Backend, Closed, Event, Settings, Started};
use crate::buffers::{Buffer, Home};
use crate::host::{Host, Machine};
use crate::inbox::{Inbox, Message, Waker};
use crate::op::{Brings, Op};
use crate::pool::{Pool, Task};
use crate::report::{Observer, Pending, Report, Tally};
use crate::slots::{InFlight, OpId, Slots};
use crate::sys::{self, OwnedFile, OwnedSocket, RawFile, RawSocket};

/// How long a port that is dropped waits for the kernel to let go of what is in flight.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// What an operation brought.
#[derive(Debug)]
pub enum Outcome {
    /// A number of bytes, a set of [`Interest`](crate::Interest) bits, or 0.
    Count(usize),
    /// A new socket, closed when this is dropped.
    Socket(OwnedSocket),
    /// A new file, closed when this is dropped.
    File(OwnedFile),
    /// Bytes in a buffer of the port's. An empty one, or none, is the end of the stream.
    Provided(Option<Buffer>),
}

/// One completion.
#[derive(Debug)]
pub struct Completion {
    /// The token that the operation, the timer or the post was given.
    pub token: u64,
    /// What it brought, or the system's error. `ECANCELED` (Windows: `ERROR_OPERATION_ABORTED`) after a cancel.
    pub result: io::Result<Outcome>,
    /// Whether this operation, a multishot one, goes on.
    pub more: bool,
}

/// What [`Port::submit`] answers.
#[derive(Debug)]
pub enum Submitted {
    /// A completion will come.
    Pending(OpId),
    /// It is done already: no completion comes.
    Done(io::Result<Outcome>),
}

/// Names a timer of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId {
    deadline: Instant,
    number: u64,
}

/// What a port shares with other threads.
type Shared = (Pool, Arc<Inbox>);

/// The completion port of one thread.
///
/// Dropping it is a [`shutdown`](Port::shutdown) with five seconds' patience.
pub struct Port {
    backend: Box<dyn Backend>,
    /// Where its provided buffers come from: it is still known by this when the backend is gone.
    home: Weak<dyn Home>,
    refused: Vec<String>,
    host: Arc<dyn Host>,
    slots: Slots,
    timers: BTreeMap<TimerId, u64>,
    next_timer: u64,
    pool: Pool,
    inbox: Arc<Inbox>,
    messages: Vec<Message>,
    events: Vec<Event>,
    tally: Arc<Tally>,
    /// The time at the last poll: near enough for the age of an operation.
    now: Instant,
    /// See [`sys::forks`].
    forks: u32,
    /// It was shut down, or left to a parent process.
    ended: bool,
    /// A port stays on its thread: io_uring has one submitter, and completions wake that thread's tasklets.
    _here: PhantomData<*const ()>,
}

impl Port {
    pub(crate) fn with(backend: Box<dyn Backend>, refused: Vec<String>, settings: &Settings) -> Port {
        sys::count_forks();
        let inbox = Arc::new(Inbox::new(backend.notifier()));
        let host = backend.host();
        Port {
            pool: Pool::new(settings.threads, settings.thread_stack, Arc::clone(&inbox), Arc::clone(&host)),
            home: backend.home(),
            backend,
            refused,
            slots: Slots::default(),
            timers: BTreeMap::new(),
            next_timer: 0,
            inbox,
            messages: Vec::new(),
            events: Vec::new(),
            tally: Arc::default(),
            now: host.now(),
            host,
            forks: sys::forks(),
            ended: false,
            _here: PhantomData,
        }
    }

    /// Begins `op`. Its completion will carry `token`.
    ///
    /// What is already there (a result known at once) is answered at once. There is no limit to the operations in flight
    /// but memory: those that only wait keep no other from beginning.
    ///
    /// After a shutdown, and in the child after fork(2), it is an error.
    ///
    /// # Safety
    /// What `op` borrows must outlive the operation: it must stay valid, and what is borrowed mutably must not be
    /// touched, until [`Submitted::Done`] or the completion with `more == false` has been returned, or
    /// [`Port::shutdown`] has. The handles that it names must be open.
    pub unsafe fn submit(&mut self, op: Op<'_>, token: u64) -> Submitted {
        self.leave_if_forked();
        let (facts, handle) = (op.facts(), op.handle());
        let id = match self.slots.next(handle) {
            Ok(id) => id,
            Err(error) => return Submitted::Done(Err(error)),
        };
        self.tally.submitted.count();
        // SAFETY: the caller's promise.
        match unsafe { self.begin(id, op) } {
            Some((result, buffer)) => {
                self.tally.immediate.count();
                self.tally.completed.count();
                self.slots.use_up(id);
                Submitted::Done(outcome(facts.brings, result, buffer))
            }
            None => {
                self.slots.insert(id, InFlight { token, facts, handle, since: self.now });
                Submitted::Pending(id)
            }
        }
    }

    /// Hands `op` to the backend or the pool; what it answers where it is done at once.
    ///
    /// # Safety
    /// As for [`Port::submit`].
    unsafe fn begin(&mut self, id: OpId, op: Op<'_>) -> Option<(io::Result<usize>, Option<Buffer>)> {
        // SAFETY: the caller's promise.
        let task = match unsafe { self.backend.begin(id, op) } {
            Started::InFlight => return None,
            Started::Done(result, buffer) => return Some((result, buffer)),
            Started::Offload(function, lane) => Task::Call(function, lane),
            Started::Open(open) => Task::Open(open),
        };
        self.tally.offloaded.count();
        self.pool.run(id, task).map(|result| (result, None))
    }

    /// The operation is over: frees its slot.
    fn end(&mut self, id: OpId) -> Option<InFlight> {
        let occupant = self.slots.remove(id)?;
        self.tally.completed.count();
        Some(occupant)
    }

    /// Asks for the end of an operation. Its completion comes all the same, soon: an error (`ECANCELED`), or its true
    /// result where it was faster. One that is over already is left alone, and so is a close: nobody else would close the
    /// handle.
    pub fn cancel(&mut self, id: OpId) {
        self.leave_if_forked();
        if self.slots.get(id).is_none_or(|occupant| occupant.facts.closes) {
            return;
        }
        self.tally.cancels.count();
        if self.pool.cancel(id) {
            self.inbox.finished(id, Err(io::Error::from_raw_os_error(sys::CANCELLED)));
        } else {
            self.backend.cancel(id);
        }
    }

    /// Asks for the end of every operation on a socket; returns how many there are. Close it when their completions
    /// have come.
    pub fn cancel_socket(&mut self, socket: RawSocket) -> usize {
        self.cancel_handle(sys::socket_key(socket))
    }

    /// Asks for the end of every operation on a file; returns how many there are. Close it when their completions
    /// have come.
    pub fn cancel_file(&mut self, file: sys::RawFile) -> usize {
        self.cancel_handle(sys::file_key(file))
    }

    fn cancel_handle(&mut self, handle: usize) -> usize {
        if self.slots.count_on(handle) == 0 {
            return 0;
        }
        let ids: Vec<OpId> = self.slots.on(handle).collect();
        ids.iter().for_each(|id| self.cancel(*id));
        ids.len()
    }

    /// How many operations are in flight on a socket.
    pub fn in_flight_on_socket(&self, socket: RawSocket) -> usize {
        self.slots.count_on(sys::socket_key(socket))
    }

    /// How many operations are in flight on a file.
    pub fn in_flight_on_file(&self, file: sys::RawFile) -> usize {
        self.slots.count_on(sys::file_key(file))
    }

    /// How many operations are in flight.
    pub fn in_flight(&self) -> usize {
        self.slots.len()
    }

    /// Sets a timer: at `deadline`, or as soon after it as the port is polled, a completion with `token` comes.
    pub fn set_timer(&mut self, deadline: Instant, token: u64) -> TimerId {
        self.next_timer += 1;
        let id = TimerId { deadline, number: self.next_timer };
        self.timers.insert(id, token);
        id
    }

    /// Takes a timer back: true where its completion has not come, and now will not.
    pub fn clear_timer(&mut self, id: TimerId) -> bool {
        self.timers.remove(&id).is_some()
    }

    /// How many timers are set.
    pub fn timers(&self) -> usize {
        self.timers.len()
    }

    /// Submits what is pending, sleeps until something is there but no longer than `timeout` (`None`: without end),
    /// and appends all completions to `completions`. Returns how many; 0 after the time-out, a signal, a
    /// [`Waker::wake`], or a step of a transfer that goes on.
    ///
    /// # Errors
    /// What the system says when its interface fails as a whole; single operations fail in their completions.
    pub fn poll(&mut self, timeout: Option<Duration>, completions: &mut Vec<Completion>) -> io::Result<usize> {
        self.leave_if_forked();
        let before = completions.len();
        self.tally.polls.count();
        self.now = self.host.now();
        if !self.timers.is_empty() {
            self.expire(completions);
        }
        let woken = self.inbox.is_filled() && self.read_inbox(completions);
        let timeout = if woken || completions.len() > before {
            Some(Duration::ZERO)
        } else {
            let next = self.timers.first_key_value().map(|(id, _)| id.deadline.saturating_duration_since(self.now));
            match (timeout, next) {
                (Some(timeout), Some(next)) => Some(timeout.min(next)),
                (timeout, next) => timeout.or(next),
            }
        };
        let sleeps = timeout != Some(Duration::ZERO) && self.inbox.fall_asleep();
        let timeout = if sleeps { timeout } else { Some(Duration::ZERO) };
        let mut events = mem::take(&mut self.events);
        let waited = self.backend.wait(timeout, &mut events);
        self.tally.kernel_entries.set(self.backend.kernel_entries());
        if sleeps {
            self.inbox.awake();
            self.now = self.host.now();
            if !self.timers.is_empty() {
                self.expire(completions);
            }
        }
        for event in events.drain(..) {
            self.complete(event, completions);
        }
        self.events = events;
        if self.inbox.is_filled() {
            self.read_inbox(completions);
        }
        waited?;
        Ok(completions.len() - before)
    }

    /// When the port was polled last, or woke up in it.
    pub fn polled(&self) -> Instant {
        self.now
    }

    /// Whether a poll that does not sleep would find completions, as far as that shows without asking the system: where it
    /// says no there may be some.
    pub fn has_news(&mut self) -> bool {
        self.inbox.is_filled() || self.backend.has_news()
    }

    fn expire(&mut self, completions: &mut Vec<Completion>) {
        while let Some(first) = self.timers.first_entry() {
            if first.key().deadline > self.now {
                break;
            }
            let token = first.remove();
            completions.push(Completion { token, result: Ok(Outcome::Count(0)), more: false });
        }
    }

    /// Takes what other threads put in; true where one of them called [`Waker::wake`].
    fn read_inbox(&mut self, completions: &mut Vec<Completion>) -> bool {
        let mut woken = false;
        let mut messages = mem::take(&mut self.messages);
        self.inbox.take(&mut messages);
        for message in messages.drain(..) {
            match message {
                Message::Posted(token) => {
                    completions.push(Completion { token, result: Ok(Outcome::Count(0)), more: false });
                }
                Message::Finished(id, result) => {
                    self.complete(Event { id, result, buffer: None, more: false }, completions);
                }
                Message::Woken => woken = true,
            }
        }
        self.messages = messages;
        woken
    }

    fn complete(&mut self, event: Event, completions: &mut Vec<Completion>) {
        let occupant = if event.more { self.slots.get(event.id).copied() } else { self.end(event.id) };
        let occupant = occupant.expect("a backend's event is for an operation in flight");
        completions.push(Completion {
            token: occupant.token,
            result: outcome(occupant.facts.brings, event.result, event.buffer),
            more: event.more,
        });
    }

    /// The bytes in a provided buffer, whichever port's: what it dereferences to.
    pub fn buffer<'b>(&'b self, buffer: &'b Buffer) -> &'b [u8] {
        buffer
    }

    /// Gives a provided buffer back, as dropping it does. Receives that wait for one go on at the next poll.
    ///
    /// # Errors
    /// `InvalidInput` where it is another port's: it has gone back to that one.
    pub fn recycle(&mut self, buffer: Buffer) -> io::Result<()> {
        if buffer.is_of(&self.home) {
            return Ok(());
        }
        let message =
            "a provided buffer was given to another port than the one it came from; it has gone back to its own";
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }

    /// What reaches this port from other threads.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.inbox))
    }

    /// What shows this port's counters to other threads.
    pub fn observer(&self) -> Observer {
        Observer::new(Arc::clone(&self.tally), self.waker())
    }

    /// What runs, how it is set up, why not a better one, what it did and what is in flight.
    pub fn report(&self) -> Report {
        self.tally.kernel_entries.set(self.backend.kernel_entries());
        let now = self.host.now();
        let mut in_flight: Vec<Pending> = self
            .slots
            .iter()
            .map(|(_, flight)| Pending {
                operation: flight.facts.name,
                handle: flight.handle,
                token: flight.token,
                age: now.saturating_duration_since(flight.since),
            })
            .collect();
        in_flight.sort_by_key(|pending| std::cmp::Reverse(pending.age));
        Report {
            backend: self.backend.name(),
            setup: self.backend.setup(),
            refused: self.refused.clone(),
            counters: self.observer().counters(),
            in_flight,
            timers: self.timers.len(),
        }
    }

    /// Cancels all that is in flight and waits until it has ended; sockets and files that still came are closed. The
    /// port then begins no more operations.
    ///
    /// # Errors
    /// `TimedOut` where the kernel or a thread has not let go in time. The error names what is left; the memory of
    /// the port and of its operations is leaked, never freed early: what those operations borrow must then stay
    /// valid for ever.
    pub fn shutdown(&mut self, patience: Duration) -> io::Result<()> {
        self.leave_if_forked();
        let drained = self.drain(patience);
        let (backend, shared) = self.take_parts("the port was shut down");
        self.slots = Slots::default();
        if drained.is_ok() {
            shared.1.close();
        } else {
            forget((backend, shared));
        }
        drained
    }

    /// The descriptors by which the port speaks with the system: a program that closes whatever is open, as daemons do,
    /// should leave them open. They lie above the standard streams' numbers. None on Windows.
    pub fn own_files(&self) -> Vec<RawFile> {
        self.backend.own_files()
    }

    /// Leaves the port to a parent process: for the child after fork(2), which must make its own. Nothing of the parent's is
    /// cancelled; this process's descriptors of the port are closed, and what the operations borrow is not touched again
    /// here: they are not this process's, and the next [`Port::poll`] says of each that it was cancelled. The port begins no
    /// more operations; its timers are gone.
    ///
    /// A port does so by itself when it is first used in such a child, or dropped there.
    pub fn abandon_after_fork(&mut self) {
        let (backend, shared) = self.take_parts("this process was forked, and the port is its parent's");
        let notifier = backend.notifier();
        drop(backend);
        notifier.leave_after_fork();
        // The threads do not exist here, and one may have held a lock when the process was copied.
        forget((shared, notifier));
        for (id, _) in self.slots.iter() {
            self.inbox.finished(id, Err(io::Error::from_raw_os_error(sys::CANCELLED)));
        }
    }

    fn leave_if_forked(&mut self) {
        if self.forks != sys::forks() {
            self.abandon_after_fork();
        }
    }

    /// Puts parts that do nothing in the place of those that work.
    fn take_parts(&mut self, why: &'static str) -> (Box<dyn Backend>, Shared) {
        self.forks = sys::forks();
        self.ended = true;
        let inbox = Arc::new(Inbox::new(Arc::new(Closed(why))));
        let pool = Pool::new(1, None, Arc::clone(&inbox), Arc::new(Machine));
        let pool = mem::replace(&mut self.pool, pool);
        self.timers.clear();
        let backend = mem::replace(&mut self.backend, Box::new(Closed(why)));
        (backend, (pool, mem::replace(&mut self.inbox, inbox)))
    }

    fn drain(&mut self, patience: Duration) -> io::Result<()> {
        let deadline = self.host.now() + patience;
        let ids: Vec<OpId> = self.slots.iter().map(|(id, _)| id).collect();
        ids.iter().for_each(|id| self.cancel(*id));
        let mut completions = Vec::new();
        while self.slots.len() > 0 {
            let left = deadline.saturating_duration_since(self.host.now());
            if left.is_zero() {
                let report = self.report();
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("{} operations did not end after they were cancelled:\n{report}", self.slots.len()),
                ));
            }
            self.poll(Some(left), &mut completions)?;
            completions.clear();
        }
        Ok(())
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        if let Err(error) = self.shutdown(LAST_PATIENCE) {
            eprintln!("overlapped: a port was dropped and had to be leaked: {error}");
        }
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port")
            .field("backend", &self.backend.name())
            .field("in_flight", &self.slots.len())
            .finish_non_exhaustive()
    }
}

/// Gives a result the type that its operation has.
#[inline]
fn outcome(brings: Brings, result: io::Result<usize>, buffer: Option<Buffer>) -> io::Result<Outcome> {
    result.map(|value| match brings {
        Brings::Count => Outcome::Count(value),
        // SAFETY: a backend reports each new handle once, and this is where it gets its owner.
        Brings::Socket => Outcome::Socket(unsafe { sys::own_socket(value) }),
        // SAFETY: as above.
        Brings::File => Outcome::File(unsafe { sys::own_file(value) }),
        Brings::Buffer => Outcome::Provided(buffer),
    })
}
