//! Readiness (epoll, kqueue) made to look like completion.
//!
//! An operation is tried at once in a form that never blocks ([`call`]). What would have to wait is queued at its
//! descriptor ([`table`]), receives and sends apart and each in order, and a one-shot interest is armed ([`interface`]);
//! when the descriptor is ready, the operations at the front are tried ([`attempt`]) until one would wait again. What has
//! no readiness goes to the port's threads ([`mod@file`]).
//!
//! **Turns.** A descriptor has a turn of [`TURN`] tries and of one large transfer. Where there is more to be had it is armed
//! again, and announced again at once, behind all others that are ready. (A list of our own would save that call and cost
//! another way to be served.)
//!
//! **What a wait costs**: a try that finds nothing, one epoll_ctl(2) to arm, one to confirm the number when it is ready (the
//! first of the traps below), and its share of the sleep. Fewer is not to be had without believing in numbers. To stay armed
//! from one wait to the next (`EPOLLET`, or to confirm with `EPOLL_CTL_MOD`, which arms again) would save the first; but a
//! number may have been closed and given out again in between, of which only that call tells: what waits would wait for
//! ever. To go without the second would give an owner's bytes to another wherever a duplicate keeps the old file alive.
//! Of what is there at once, neither costs anything: 500 busy connections sleep 0.005 times a request, and arm 0.25 times.
//!
//! Traps, and what is done about them:
//!
//! - *The kernel forgets a descriptor when it is closed, and its number comes again*, perhaps while operations wait on it
//!   that were begun on its former owner. So nothing that is known of a number is believed while no operation is queued
//!   on it: the first wait registers anew. And an operation that is queued is tried only when the system has just
//!   confirmed that the number still means what was registered; if not, what waits ends with `EBADF`, as a call on a
//!   closed descriptor does, and the new owner's bytes and wake-ups are its own ([`interface`] says how this is asked).
//!   What is *not* queued is tried without: its caller says that the number is right, now. Rejected: to compare device
//!   and inode (fstat(2); eventfds and their kin share one inode, and it would be asked twice a wait), kcmp(2) (denied in
//!   containers), to watch closes (nobody tells of them).
//! - *A duplicate keeps an old registration alive* (epoll(7), question 6), and its events come under the number of the new
//!   owner. They lead to a try that brings nothing.
//! - *Readiness that is none.* Where a descriptor polls as ready for what a try then cannot do, level-triggered interest
//!   would spin: after a few times in a row it is tried by time. So is what the system announces not at all (a full Unix
//!   backlog; a device that epoll refuses with `EPERM`).
//! - *Errors and hang-ups that stay*: queued errors of a datagram socket, a peer that is gone. They cannot be masked, and
//!   no try takes them away. Such a descriptor is armed for changes instead, and costs nothing while there are none.
//! - *Somebody else was faster*: a listener, a pipe that several threads or processes read. The one that comes too late
//!   arms again, and sleeps.
//! - *An error is told once.* The call that meets a reset takes it off the socket. Where that call had moved bytes,
//!   its operation reports those, and the error is kept for the next operation on the same socket.
//!
//! `SIGPIPE` is kept away from sends and from writes to sockets. For pipes the system has no such form: the process
//! must ignore the signal, as Rust's and Python's start-up do.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::RawFd;
use std::rc::Weak;

use super::open::open;
use super::table::Table;
use super::*;
use crate::buffers::{BufferPool, Home};
use crate::op::Interest;
use crate::sys::{CANCELLED, CLOSED};
use attempt::{Attempt, Pending};
use call::{Nature, Side};
use descriptor::{Descriptor, Retry};
use interface::{Found, Interface, Trigger};
use readiness::Readiness;
use turns::Turns;

mod attempt;
mod call;
mod descriptor;
mod file;
mod interface;
mod readiness;
mod turns;

/// The most tries on one side of a descriptor before the others have their turn.
const TURN: usize = 32;

/// Times in a row that a descriptor was ready for nothing, after which it is tried by time instead.
const SPURIOUS: u8 = 3;

/// The first delay before a try that nothing announces; it doubles up to the longest.
const FIRST_DELAY: Duration = Duration::from_millis(1);
const LONGEST_DELAY: Duration = Duration::from_millis(16);

/// The readiness backend.
pub(super) struct Poll {
    interface: Interface,
    ready: Vec<Found>,
    /// The operations that wait, by slot.
    table: Table<Pending>,
    descriptors: Vec<Descriptor>,
    /// Events for the next wait to hand out.
    events: Vec<Event>,
    buffers: BufferPool,
    /// Descriptors whose receives wait for a provided buffer, in order.
    starved: VecDeque<RawFd>,
    /// Descriptors to be tried by time.
    retries: BTreeMap<Retry, RawFd>,
    /// How many of them there were.
    retried: u64,
    turns: Turns,
    /// Sleeps, which are collections too, and registrations; not what each try costs: its calls, and the confirmation.
    entries: u64,
}

impl Poll {
    pub(super) fn start(settings: &Settings) -> io::Result<Poll> {
        Ok(Poll {
            interface: Interface::new()?,
            ready: Vec::new(),
            table: Table::default(),
            descriptors: Vec::new(),
            events: Vec::new(),
            buffers: BufferPool::new(settings.buffers.unwrap_or(BUFFERS), settings.buffer_size)?,
            starved: VecDeque::new(),
            retries: BTreeMap::new(),
            retried: 0,
            turns: Turns::default(),
            entries: 0,
        })
    }

    /// Tries an operation, or queues it behind those that wait already.
    fn enter(&mut self, mut pending: Pending) -> Started {
        let (id, fd, side) = (pending.id, pending.fd, pending.side());
        if let Err(error) = self.make_room(id, fd) {
            return Started::Done(Err(error), None);
        }
        let descriptor = &mut self.descriptors[fd as usize];
        let mut confirmed = descriptor.is_idle();
        if side.is_some() && !(descriptor.watchers.is_empty() && descriptor.queue(side).is_empty()) {
            confirmed = true;
            self.confirm(fd);
            // What watches is told before what takes away that which it watches for.
            self.run_watchers(fd);
        }
        let descriptor = &mut self.descriptors[fd as usize];
        let attempt = match side {
            Some(_) if !descriptor.queue(side).is_empty() && !pending.never_waits() => Attempt::Again,
            // Others came before, and theirs is the next that is free.
            _ if pending.takes_buffer() && !self.starved.is_empty() => Attempt::Starved,
            _ => descriptor.attempt(&mut pending, &mut self.buffers),
        };
        if let Attempt::Done(result, buffer) = attempt {
            return Started::Done(result, buffer);
        }
        if !confirmed {
            self.confirm(fd);
        }
        let descriptor = &mut self.descriptors[fd as usize];
        if side.is_none() {
            descriptor.count_watch(pending.interest(), false);
        }
        self.table.push(descriptor.queue(side), id, pending);
        self.note(id, fd, attempt);
        self.rearm(fd);
        Started::InFlight
    }

    /// Does what a try leads to; true where another should follow.
    fn note(&mut self, id: OpId, fd: RawFd, attempt: Attempt) -> bool {
        if !matches!(attempt, Attempt::Again | Attempt::Later | Attempt::Starved) {
            // What is there already is no change: more bytes, or an end behind those that were just taken.
            self.descriptors[fd as usize].trigger = Trigger::Once;
        }
        match attempt {
            Attempt::Done(result, buffer) => {
                self.take(id);
                self.events.push(Event { id, result, buffer, more: false });
                return true;
            }
            Attempt::More(value, buffer, again) => {
                self.events.push(Event { id, result: Ok(value), buffer, more: true });
                return again;
            }
            Attempt::Again | Attempt::Enough => {}
            Attempt::Later => self.try_later(fd),
            Attempt::Starved => {
                let descriptor = &mut self.descriptors[fd as usize];
                descriptor.starved = true;
                if !std::mem::replace(&mut descriptor.listed, true) {
                    self.starved.push_back(fd);
                }
            }
            Attempt::Partial(..) => unreachable!("Descriptor::attempt makes two results of it"),
        }
        false
    }

    /// Makes both tables long enough.
    fn make_room(&mut self, id: OpId, fd: RawFd) -> io::Result<()> {
        if self.descriptors.get(fd as usize).is_none() {
            // A wild number must not cost memory.
            call::check_open(fd)?;
            let length = fd as usize + 64;
            self.descriptors.try_reserve(length - self.descriptors.len())?;
            self.descriptors.resize_with(length, Descriptor::default);
        }
        self.table.reserve(id)
    }

    /// Takes an operation out of the tables.
    fn take(&mut self, id: OpId) -> Option<Pending> {
        let pending = self.table.get(id)?;
        let (fd, side) = (pending.fd, pending.side());
        let descriptor = &mut self.descriptors[fd as usize];
        let pending = self.table.remove(descriptor.queue(side), id);
        match side {
            // If it was the one at the front, the next may want no buffer; if not, it is found out again.
            Some(side) => descriptor.starved &= side == Side::Write,
            None => descriptor.count_watch(pending.interest(), true),
        }
        if descriptor.is_idle() {
            if let Some(retry) = descriptor.retry.take() {
                self.retries.remove(&retry);
            }
            descriptor.settle();
        }
        Some(pending)
    }

    /// Makes sure that the number still means what the operations that wait on it were begun on: those that were not end.
    /// True where some still wait.
    fn confirm(&mut self, fd: RawFd) -> bool {
        let descriptor = &mut self.descriptors[fd as usize];
        if descriptor.is_idle() {
            return false;
        }
        let same = match self.interface.confirm(fd, descriptor.armed.unwrap_or_default()) {
            Ok(same) => same && !descriptor.refused,
            Err(error) => error.raw_os_error() == Some(libc::EPERM) && descriptor.refused,
        };
        if !same {
            descriptor.armed_trigger = Trigger::Once;
            self.end_all(fd, CLOSED);
        }
        same
    }

    /// Acts on readiness.
    fn serve(&mut self, fd: RawFd, readable: bool, writable: bool) {
        if !self.confirm(fd) {
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
        if progress {
            descriptor.spurious = 0;
            descriptor.delay = Duration::ZERO;
        } else if !descriptor.is_idle() {
            self.doubt(fd);
        }
        self.rearm(fd);
    }

    /// A descriptor was ready and nothing came of it: finds out whether it would be so again at once.
    fn doubt(&mut self, fd: RawFd) {
        let descriptor = &mut self.descriptors[fd as usize];
        let Ok(found) = Readiness::now(fd, descriptor.wanted()) else { return };
        if found.has(descriptor.wanted()) {
            descriptor.spurious = descriptor.spurious.saturating_add(1);
            if descriptor.spurious >= SPURIOUS {
                self.try_later(fd);
            }
        } else {
            descriptor.spurious = 0;
            if found.ends() {
                descriptor.trigger = Trigger::Changes;
            }
        }
    }

    /// Tries the operations of one side, in order, until one has to wait; true where that got anywhere.
    fn run(&mut self, fd: RawFd, side: Side) -> bool {
        let mut progress = false;
        for _ in 0..TURN {
            let descriptor = &mut self.descriptors[fd as usize];
            if descriptor.starved && side == Side::Read {
                return progress;
            }
            let Some(id) = descriptor.queue(Some(side)).first() else { return progress };
            let pending = self.table.queued(id);
            let before = pending.moved;
            let attempt = descriptor.attempt(pending, &mut self.buffers);
            progress |= pending.moved > before || !matches!(attempt, Attempt::Again | Attempt::Later);
            if !self.note(id, fd, attempt) {
                return progress;
            }
        }
        progress
    }

    /// Tells those that only watch, where what they watch for is there.
    fn run_watchers(&mut self, fd: RawFd) -> bool {
        let descriptor = &self.descriptors[fd as usize];
        let mut next = descriptor.watchers.first();
        if next.is_none() {
            return false;
        }
        let watched = descriptor.watched();
        let found = Readiness::now(fd, watched);
        if found.as_ref().is_ok_and(|found| found.told(watched).is_none()) {
            return false;
        }
        let mut progress = false;
        while let Some(id) = next {
            next = self.table.after(id);
            let attempt = attempt::watch(&found, self.table.queued(id).interest());
            progress |= self.note(id, fd, attempt);
        }
        progress
    }

    /// Lets the receives go on that wait for a provided buffer, while there are any.
    fn feed(&mut self) {
        while !self.starved.is_empty() && self.buffers.has_free() {
            let fd = self.starved.pop_front().expect("not empty");
            let descriptor = &mut self.descriptors[fd as usize];
            descriptor.listed = false;
            if std::mem::take(&mut descriptor.starved) && self.confirm(fd) {
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
            self.retried += 1;
            let retry = Retry { at: crate::sim::now() + descriptor.delay, number: self.retried };
            descriptor.retry = Some(retry);
            self.retries.insert(retry, fd);
        }
    }

    /// Serves what the system has found ready.
    fn serve_found(&mut self, Found { fd, readable, writable }: Found) {
        let Some(descriptor) = self.descriptors.get_mut(fd as usize) else { return };
        if descriptor.armed_trigger == Trigger::Once {
            descriptor.armed = None;
        }
        if descriptor.is_idle() {
            if descriptor.armed_trigger == Trigger::Changes {
                descriptor.armed_trigger = Trigger::Once;
                self.entries += 1;
                // Whoever has the number now is registered with it when it first waits.
                let _ = self.interface.arm(fd, Interest::default(), Trigger::Once, true);
            }
        } else if descriptor.retry.is_none() {
            self.serve(fd, readable, writable);
        }
    }

    /// Tries the descriptors whose time has come.
    fn run_retries(&mut self) {
        if self.retries.is_empty() {
            return;
        }
        let now = crate::sim::now();
        while let Some(first) = self.retries.first_entry() {
            if first.key().at > now {
                break;
            }
            let fd = first.remove();
            self.descriptors[fd as usize].retry = None;
            self.serve(fd, true, true);
        }
    }

    /// Asks the kernel for what the queued operations wait for, where it has not been asked.
    fn arm(&mut self, fd: RawFd) -> io::Result<()> {
        let descriptor = &mut self.descriptors[fd as usize];
        if descriptor.is_idle() {
            return Ok(());
        }
        // What is tried by time is registered all the same, or its number could not be confirmed.
        let announced = descriptor.retry.is_none();
        let wanted = if announced { descriptor.wanted() } else { Interest::default() };
        let armed = descriptor.armed.is_some_and(|armed| armed.contains(wanted));
        if descriptor.known && (!announced || armed && descriptor.armed_trigger == descriptor.trigger) {
            return Ok(());
        }
        let watches_for_the_rare = wanted.contains(Interest::PRIORITY) || wanted == Interest::default();
        if descriptor.refused || watches_for_the_rare && announced && !interface::TELLS_PRIORITY {
            self.try_later(fd);
            return Ok(());
        }
        self.entries += 1;
        match self.interface.arm(fd, wanted, descriptor.trigger, descriptor.registered) {
            Ok(()) => {
                descriptor.registered = true;
                descriptor.known = true;
                descriptor.armed = Some(wanted);
                descriptor.armed_trigger = descriptor.trigger;
                Ok(())
            }
            // Nothing that it could announce, and yet a call on it would have waited.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                descriptor.known = true;
                descriptor.refused = true;
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
        for side in [Some(Side::Read), Some(Side::Write), None] {
            while let Some(id) = self.descriptors[fd as usize].queue(side).first() {
                self.end(id, code);
            }
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
            Op::Call { function, lane } => return Started::Offload(function, lane),
            Op::Open { path, how } => return open(path, how),
            Op::Sync { file, data_only } => return file::sync(file, data_only),
            Op::AcceptPipe { .. } => return no_pipe_clients(),
            Op::ReadMultishot { file } => match check_comes_by_and_by(file).and_then(|()| call::nature(file)) {
                Ok(found) => nature = Some(found),
                Err(error) => return Started::Done(Err(error), None),
            },
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
                Ok(found) => nature = Some(found),
                Err(error) => return Started::Done(Err(error), None),
            }
            if nature == Some(Nature::File)
                // SAFETY: the caller's promise.
                && let Some(started) = unsafe { file::transfer(side, fd, vector, offset, &mut self.turns) }
            {
                return started;
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
        if let Some((retry, _)) = self.retries.first_key_value() {
            let next = retry.at.saturating_duration_since(crate::sim::now());
            timeout = Some(timeout.map_or(next, |timeout| timeout.min(next)));
        }
        self.entries += 1;
        let mut ready = std::mem::take(&mut self.ready);
        let collected = self.interface.collect(timeout, &mut ready);
        for found in ready.drain(..) {
            self.serve_found(found);
        }
        self.ready = ready;
        self.run_retries();
        events.append(&mut self.events);
        collected
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        self.interface.notifier()
    }

    fn own_files(&self) -> Vec<RawFile> {
        self.interface.own_files()
    }

    fn home(&self) -> Weak<dyn Home> {
        self.buffers.home()
    }

    fn kernel_entries(&self) -> u64 {
        self.entries
    }
}
