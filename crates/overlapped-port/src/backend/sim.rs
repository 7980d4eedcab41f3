//! A kernel that does whatever the contract allows: another backend, whose answers come late, in another order, in parts.
//!
//! Under it is a backend of the system's. What that one answers at once may come as a completion; an operation on a socket may
//! reach it with the next wait alone, as all that are submitted to io_uring do; completions wait, and are handed out in any
//! order that the contract allows (those of one operation in their own); a cancel may reach the system late, and come too
//! late; a wait may end without an event, as after a signal; transfers may be shorter than asked for, where the system might
//! have made them so. Every choice is a decision of [`Chance`], so that a seed repeats them, as far as what is under it does.
//!
//! In a simulated world ([`crate::sim`]) what is under it is readiness over sockets that no kernel has, and then everything
//! repeats: time is the world's, opens run on the port's own thread, and functions on one that is waited for.
//!
//! Rejected: a backend with a simulated queue of its own. It would show what a port does with it, and nothing of what the
//! shipped readiness backend does; over that one, a world is only as much as the system calls of sockets, and a test of it is
//! a test of what runs.

use std::collections::VecDeque;

use super::*;
use crate::op::Brings;
use crate::sim::{Chance, World};
use crate::sys::CANCELLED;

/// How often, once in so many times, what happens to an operation or its answer.
const LATER: u32 = 4;
const BEGUN_LATE: u32 = 8;
const INTERRUPTED: u32 = 16;
const CANCELLED_LATE: u32 = 3;
const LATER_STILL: u32 = 2;

/// A backend over another.
pub(super) struct Sim {
    inner: Box<dyn Backend>,
    chance: Rc<Chance>,
    world: Option<World>,
    /// One transfer in so many is cut short; 0: none.
    short: u32,
    /// Operations that the backend below was not told of, in order; those among them that were cancelled meanwhile have ended.
    late: VecDeque<OpId>,
    held: Held,
    /// Cancels that the backend below was not told of.
    cancels: Vec<OpId>,
    brought: Vec<Event>,
}

impl Sim {
    pub(super) fn start(settings: &Settings) -> io::Result<Sim> {
        let world = World::here();
        let chance = match &world {
            Some(world) => world.chance(),
            None => {
                let chance = Chance::new(&origin(settings)?);
                // A program runs as long as it likes.
                chance.keep(false);
                Rc::new(chance)
            }
        };
        #[cfg(unix)]
        let inner = Box::new(poll::Poll::start(settings)?);
        #[cfg(windows)]
        let inner = Box::new(iocp::Iocp::start(settings)?);
        // A world cuts its streams itself.
        let short = if world.is_some() { 0 } else { settings.short_transfers };
        let (late, held) = (VecDeque::new(), Held::default());
        Ok(Sim { inner, chance, world, short, late, held, cancels: Vec::new(), brought: Vec::new() })
    }

    /// Tells of an answer now, or later.
    fn answer(&mut self, id: OpId, result: io::Result<usize>, buffer: Option<Buffer>, may_wait: bool) -> Started {
        if may_wait && self.chance.once_in(LATER) {
            self.held.push(Event { id, result, buffer, more: false });
            return Started::InFlight;
        }
        Started::Done(result, buffer)
    }

    /// Whether the backend below is told of an operation with the next wait. Those on one handle stay in order.
    fn is_late(&mut self, op: &Op<'_>) -> bool {
        let on = op.handle();
        let others = on.is_some() && self.late.iter().any(|id| self.held.late_on(*id) == on);
        let may_be = cfg!(unix) && op.waits_on_a_socket();
        if others && !may_be {
            self.begin_late();
        }
        may_be && (others || self.chance.once_in(BEGUN_LATE))
    }

    /// Tells the backend below of those that are late.
    fn begin_late(&mut self) {
        while let Some(id) = self.late.pop_front() {
            let Some(op) = self.held.take_late(id) else { continue };
            // SAFETY: the promise of the caller of `begin`, which holds until the final event: none was pushed yet.
            match unsafe { self.reach(id, op) } {
                Started::Done(result, buffer) => self.held.push(Event { id, result, buffer, more: false }),
                Started::InFlight => {}
                _ => unreachable!("on a socket of Unix nothing blocks"),
            }
        }
    }

    /// Cancels an operation that has not ended, of which the backend below knows or not.
    fn cancel_now(&mut self, id: OpId) {
        if self.held.take_late(id).is_some() {
            let result = Err(io::Error::from_raw_os_error(CANCELLED));
            self.held.push(Event { id, result, buffer: None, more: false });
        } else {
            self.inner.cancel(id);
        }
    }

    /// Tells the backend below of an operation.
    ///
    /// # Safety
    /// As for [`Backend::begin`].
    unsafe fn reach(&mut self, id: OpId, mut op: Op<'_>) -> Started {
        let may_wait = !op.facts().closes;
        if let Some(world) = &self.world {
            #[cfg(unix)]
            if op.handle().is_some_and(|handle| is_elsewhere(handle as RawFile)) {
                return Started::Done(Err(io::Error::new(io::ErrorKind::Unsupported, ELSEWHERE)), None);
            }
            match op {
                Op::Call { function, .. } => return self.answer(id, apart(function), None, true),
                Op::Write { file, .. } | Op::WriteVectored { file, .. } | Op::Sync { file, .. } if is_regular(file) => {
                    if let Some(error) = world.disk_error(!matches!(op, Op::Sync { .. })) {
                        // A part may have got there.
                        #[cfg(unix)]
                        if cut_file(&mut op, &self.chance) {
                            // SAFETY: the caller's promise: an operation whose buffer was cut borrows no more than it did.
                            let begun = unsafe { self.inner.begin(id, op) };
                            if let Started::Offload(function, _) = begun {
                                let _ = crate::pool::outcome(function);
                            }
                        }
                        return self.answer(id, Err(error), None, true);
                    }
                }
                _ => {}
            }
        }
        if self.chance.once_in(self.short) {
            cut(&mut op, &self.chance);
        }
        #[cfg(unix)]
        if self.world.as_ref().is_some_and(World::cuts_files) {
            cut_file(&mut op, &self.chance);
        }
        // SAFETY: the caller's promise: an operation whose buffer was cut borrows no more than it did.
        let started = unsafe { self.inner.begin(id, op) };
        let here = self.world.is_some();
        #[cfg(unix)]
        if let Started::Done(Ok(opened), _) = &started
            && self.held.own[id.slot()].brings_handle
        {
            crate::sim::look_again(*opened as RawFile);
        }
        match started {
            Started::Done(result, buffer) => self.answer(id, result, buffer, may_wait),
            Started::Offload(function, _) if here => self.answer(id, crate::pool::outcome(function), None, may_wait),
            Started::Open(open) if here => {
                let opened = crate::pool::outcome(move || open(crate::open::Patience::None));
                #[cfg(unix)]
                if let Ok(file) = &opened {
                    crate::sim::look_again(*file as RawFile);
                }
                self.answer(id, opened, None, true)
            }
            started => started,
        }
    }
}

/// What has happened and was not told.
#[derive(Default)]
struct Held {
    /// Whose the events are, each as often as it has some.
    order: VecDeque<OpId>,
    /// Of each operation, by slot.
    own: Vec<Own>,
}

/// What is known of an operation.
#[derive(Default)]
struct Own {
    events: VecDeque<Event>,
    /// Its result is a handle, whose number is none of the seed's.
    brings_handle: bool,
    /// What the backend below was not told of.
    late: Option<(OpId, Op<'static>)>,
}

impl Held {
    fn begin(&mut self, id: OpId, brings_handle: bool) -> io::Result<()> {
        if self.own.len() <= id.slot() {
            self.own.try_reserve(id.slot() + 1 - self.own.len())?;
            self.own.resize_with(id.slot() + 1, Own::default);
        }
        self.own[id.slot()].brings_handle = brings_handle;
        Ok(())
    }

    /// The handle of an operation that is late; nothing where it is no more.
    fn late_on(&self, id: OpId) -> Option<usize> {
        self.own[id.slot()].late.as_ref().filter(|(late, _)| *late == id)?.1.handle()
    }

    /// Takes out an operation, where it is late.
    fn take_late(&mut self, id: OpId) -> Option<Op<'static>> {
        let own = self.own.get_mut(id.slot())?;
        own.late.take_if(|(late, _)| *late == id).map(|(_, op)| op)
    }

    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn push(&mut self, event: Event) {
        self.order.push_back(event.id);
        self.own[event.id.slot()].events.push_back(event);
    }

    /// Whether the operation has ended.
    fn has_final(&self, id: OpId) -> bool {
        let last = self.own.get(id.slot()).and_then(|own| own.events.back());
        last.is_some_and(|event| event.id == id && !event.more)
    }

    /// The first event of an operation that is chosen, for an operation's own stay in order; and what is seen of it.
    fn take(&mut self, chance: &Chance) -> Option<(Event, u64)> {
        let id = self.order.swap_remove_front(chance.below(self.order.len()))?;
        let own = &mut self.own[id.slot()];
        let event = own.events.pop_front().expect("it is in the order as often as it has events");
        let seen = match (&event.result, &event.buffer) {
            (Err(error), _) => !(error.raw_os_error().unwrap_or(CANCELLED) as u64),
            (Ok(_), Some(buffer)) => buffer.len() as u64,
            (Ok(_), None) if own.brings_handle => 0,
            (Ok(value), None) => *value as u64,
        };
        Some((event, seen))
    }
}

/// The seed in the settings, or in the environment.
fn origin(settings: &Settings) -> io::Result<crate::sim::Origin> {
    if let Some(origin) = &settings.origin {
        return Ok(origin.clone());
    }
    crate::sim::from_environment().map(Option::unwrap_or_default)
}

impl Backend for Sim {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn setup(&self) -> Vec<String> {
        let what = if self.world.is_some() { "a simulated world" } else { "this machine" };
        let mut setup = vec![format!("orders and faults of the contract, over {what} by {}", self.inner.name())];
        setup.append(&mut self.inner.setup());
        setup
    }

    unsafe fn begin(&mut self, id: OpId, op: Op<'_>) -> Started {
        let brings_handle = matches!(op.facts().brings, Brings::Socket | Brings::File);
        if let Err(error) = self.held.begin(id, brings_handle) {
            return Started::Done(Err(error), None);
        }
        if self.is_late(&op) {
            // SAFETY: only the lifetime changes; the caller keeps what is borrowed until the final event, before which the
            // operation is taken out of what is late.
            let op = unsafe { std::mem::transmute::<Op<'_>, Op<'static>>(op) };
            self.held.own[id.slot()].late = Some((id, op));
            self.late.push_back(id);
            return Started::InFlight;
        }
        // SAFETY: the caller's promise.
        unsafe { self.reach(id, op) }
    }

    fn cancel(&mut self, id: OpId) {
        if self.held.has_final(id) {
            // It is over: the cancel has lost.
        } else if self.chance.once_in(CANCELLED_LATE) {
            self.cancels.push(id);
        } else {
            self.cancel_now(id);
        }
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.begin_late();
        // Those reach the system when what they are to end may be over, and its slot another's.
        let Sim { cancels, chance, inner, .. } = self;
        cancels.extract_if(.., |_| !chance.once_in(LATER_STILL)).for_each(|id| inner.cancel(id));
        let is_idle = self.held.is_empty() && self.cancels.is_empty();
        let timeout = if is_idle { timeout } else { Some(Duration::ZERO) };
        let waited = self.inner.wait(timeout, &mut self.brought);
        self.brought.drain(..).for_each(|event| self.held.push(event));
        if !self.held.is_empty() && self.chance.once_in(INTERRUPTED) {
            return waited;
        }
        while let Some((event, seen)) = self.held.take(&self.chance) {
            self.chance.note(seen);
            events.push(event);
            if self.chance.once_in(LATER) {
                break;
            }
        }
        waited
    }

    fn has_news(&mut self) -> bool {
        !(self.late.is_empty() && self.held.is_empty() && self.cancels.is_empty()) || self.inner.has_news()
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        self.inner.notifier()
    }

    fn own_files(&self) -> Vec<RawFile> {
        self.inner.own_files()
    }

    fn home(&self) -> Weak<dyn Home> {
        self.inner.home()
    }

    fn kernel_entries(&self) -> u64 {
        self.inner.kernel_entries()
    }

    fn host(&self) -> Arc<dyn Host> {
        self.world.as_ref().map_or_else(|| self.inner.host(), World::host)
    }
}

#[cfg(unix)]
const ELSEWHERE: &str = "this IP socket is not one of the simulated world that the thread is in: sockets are to be made within it, \
                         by this library";

/// Whether a descriptor is an IP socket of the real world.
#[cfg(unix)]
fn is_elsewhere(fd: RawFile) -> bool {
    if crate::sim::on(fd, |_, _| ()).is_some() {
        return false;
    }
    // SAFETY: a plain value that getsockname(2) fills; zeroes are one.
    let mut name: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&name) as libc::socklen_t;
    // SAFETY: the place and its length are locals. Any number is allowed.
    let found = unsafe { libc::getsockname(fd, (&raw mut name).cast(), &raw mut length) } == 0;
    found && matches!(i32::from(name.ss_family), libc::AF_INET | libc::AF_INET6)
}

/// Runs a function of a user's on a thread, and waits for it: it may not find the port in the midst of a call.
fn apart(function: Function) -> io::Result<usize> {
    std::thread::scope(|scope| scope.spawn(|| crate::pool::outcome(function)).join())
        .unwrap_or_else(|_| Err(io::Error::other("the function's thread panicked")))
}

/// Whether a file is one on a disk: what is written to others may have to be whole.
#[cfg(unix)]
fn is_regular(file: RawFile) -> bool {
    crate::sys::status(file).is_ok_and(|status| status.st_mode & libc::S_IFMT == libc::S_IFREG)
}

/// There, transfers are left whole.
#[cfg(windows)]
fn is_regular(_: RawFile) -> bool {
    false
}

/// There, transfers are left whole.
#[cfg(windows)]
fn is_stream(_: crate::sys::RawSocket) -> bool {
    false
}

/// Cuts an operation's buffer, where the system might have moved less of it.
fn cut(op: &mut Op<'_>, chance: &Chance) {
    match op {
        Op::Recv { socket, buffer, flags } if *flags == 0 && buffer.len() > 1 && is_stream(*socket) => {
            let length = 1 + chance.below(buffer.len() - 1);
            *buffer = &mut std::mem::take(buffer)[..length];
        }
        Op::RecvProvided { socket, limit, flags } if *flags == 0 && *limit > 1 && is_stream(*socket) => {
            *limit = 1 + chance.below(*limit - 1);
        }
        Op::Send { socket, buffer, all: false, .. } if buffer.len() > 1 && is_stream(*socket) => {
            *buffer = &buffer[..1 + chance.below(buffer.len() - 1)];
        }
        _ => {}
    }
}

/// The same of a file's, which the system cuts only where a disk or a limit ends; whether it did.
#[cfg(unix)]
fn cut_file(op: &mut Op<'_>, chance: &Chance) -> bool {
    match op {
        Op::Read { file, buffer, .. } if buffer.len() > 1 && is_regular(*file) => {
            let length = 1 + chance.below(buffer.len() - 1);
            *buffer = &mut std::mem::take(buffer)[..length];
        }
        Op::Write { file, buffer, .. } if buffer.len() > 1 && is_regular(*file) => {
            *buffer = &buffer[..1 + chance.below(buffer.len() - 1)];
        }
        _ => return false,
    }
    true
}
