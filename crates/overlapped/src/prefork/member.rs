//! One worker as its supervisor has it: the process, the channel, and the tasklets that see to them.
//!
//! Three tasklets for each: one reads what the worker says, a *writer* sends what it is to get, in order, and a *watcher*
//! waits for its process's end. The process may end with its end of the channel still open elsewhere (in a child of its
//! own); the watcher cuts the channel then, and the reader reads what is left and its end. Where there is a limit for
//! workers that hang, a fourth asks it again and again whether it is alive.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::book::NotYours;
use super::channel::{Receiver, Sender, breach};
use super::shared::{Moved, Shared};
use super::wire::{Message, VARIABLE, VERSIONS};
use overlapped_port::sim::now;

use crate::process::{Child, Command};
use crate::select::{after, first_of};
use crate::sync::{Event, Queue};
use crate::tasklet::{Builder, JoinHandle};
use crate::time::uncancellable;
use crate::workers::sys;

/// What a worker is to get.
pub(super) enum Outgoing {
    Message(Message),
    Connection(u64, Rc<Moved>),
}

pub(super) struct Member {
    pub(super) id: u64,
    pub(super) place: usize,
    pub(super) generation: u64,
    pub(super) process: u32,
    pub(super) ready: Event,
    /// Another one has its place.
    pub(super) superseded: Event,
    pub(super) ended: Event,
    /// It asks for another one in its place.
    pub(super) retires: Event,
    /// It has answered that it is alive.
    is_alive: Event,
    pub(super) ready_since: Cell<Option<Instant>>,
    outbox: Queue<Outgoing>,
    draining: Cell<bool>,
    how: RefCell<String>,
    /// Why the supervisor has ended it, where that is to be told.
    why: RefCell<Option<String>>,
    /// Set at once when it has been waited for: its number may be a stranger's after that.
    pub(super) exited: Event,
    watcher: RefCell<Option<JoinHandle<()>>>,
}

impl Member {
    /// Starts a worker, which is not ready then.
    pub(super) fn start(shared: &Rc<Shared>, place: usize, command: Command) -> io::Result<Rc<Member>> {
        let (child, ours) = sys::start(command, VARIABLE)?;
        let member = Rc::new(Member {
            id: shared.next_id(),
            place,
            generation: shared.generation.get(),
            process: child.id(),
            ready: Event::new(),
            superseded: Event::new(),
            ended: Event::new(),
            retires: Event::new(),
            is_alive: Event::new(),
            ready_since: Cell::new(None),
            outbox: Queue::new(),
            draining: Cell::new(false),
            how: RefCell::default(),
            why: RefCell::default(),
            exited: Event::new(),
            watcher: RefCell::default(),
        });
        let sender = Rc::new(Sender::new(ours));
        let name = |what: &str| Builder::new().name(format!("{what} worker {place}, process {}", member.process));
        let theirs = (Rc::clone(&member), Rc::clone(&sender));
        let watcher = name("watch").spawn(move || watch(&theirs.0, child, &theirs.1))?;
        *member.watcher.borrow_mut() = Some(watcher);
        let theirs = (Rc::clone(&member), Rc::clone(shared));
        // Dropped, its handle leaves it alone: it ends with the process.
        drop(name("hear").spawn(move || attend(&theirs.0, &theirs.1, &sender))?);
        Ok(member)
    }

    /// Waits until it is ready, at most for `limit`; else it is no more.
    ///
    /// # Errors
    /// How it ended; `TimedOut`.
    pub(super) fn await_ready(&self, limit: Duration) -> io::Result<()> {
        let first = first_of(&mut [&mut self.ready.waiting(), &mut self.ended.waiting(), &mut after(limit)]);
        let why = match first {
            Ok(0) => return Ok(()),
            Ok(1) => io::Error::other(format!("a worker ended before it was ready: {}", self.how())),
            Ok(_) => {
                io::Error::new(io::ErrorKind::TimedOut, format!("a worker was not ready after {limit:?}: ended now"))
            }
            Err(error) => error,
        };
        self.kill();
        uncancellable(|| self.ended.wait());
        Err(why)
    }

    pub(super) fn send(&self, outgoing: Outgoing) {
        // One that has ended gets nothing: what it had is taken back then.
        let _ = self.outbox.put(outgoing);
    }

    /// Has it drain, and ended where it has not done so within `limit`; false in that case.
    pub(super) fn drain(&self, shared: &Shared, moving: bool, limit: Duration) -> io::Result<bool> {
        self.draining.set(true);
        shared.takes_no_more(self);
        self.send(Outgoing::Message(Message::Drain { moving }));
        let in_time = self.ended.wait_until(Some(crate::time::deadline_after(limit)));
        if !matches!(in_time, Ok(true)) {
            self.kill();
            uncancellable(|| self.ended.wait());
        }
        Ok(in_time?)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// How it ended.
    pub(super) fn how(&self) -> String {
        self.how.borrow().clone()
    }

    /// Ends its process, and says why.
    fn end(&self, why: String) {
        *self.why.borrow_mut() = Some(why);
        self.kill();
    }

    /// Ends its process, at once.
    pub(super) fn kill(&self) {
        if let Some(watcher) = self.watcher.borrow().as_ref() {
            watcher.cancel();
        }
    }
}

/// Waits for a process's end; cancelled, ends it.
fn watch(member: &Member, mut child: Child, sender: &Sender) {
    let how = match child.wait() {
        Ok(status) => status.to_string(),
        Err(error) if crate::is_cancelled(&error) => {
            let _ = child.kill();
            let _ = uncancellable(|| child.wait());
            "ended by the supervisor".to_owned()
        }
        Err(error) => error.to_string(),
    };
    *member.how.borrow_mut() = how;
    sender.cut();
    member.exited.set();
}

/// Sees to a worker from its beginning to its end.
fn attend(member: &Rc<Member>, shared: &Rc<Shared>, sender: &Rc<Sender>) {
    let mut receiver = Receiver::default();
    let mut writer = None;
    let heard = match welcome(shared, sender, &mut receiver) {
        Ok(true) => {
            // What it is to get waits in its outbox until now: it may have been told to drain before.
            let theirs = (Rc::clone(member), Rc::clone(sender));
            writer = Some(crate::spawn(move || write(&theirs.0, &theirs.1)));
            converse(member, shared, sender, &mut receiver)
        }
        Ok(false) => Ok(()),
        Err(error) => Err(error),
    };
    uncancellable(|| {
        if let Err(broken) = heard {
            // What it has not confirmed is given to others once it is dead.
            member.end(broken.to_string());
        } else if member.exited.wait_timeout(shared.limits.drain).is_err() {
            // It has let go of its channel, and lives on: nobody can tell it anything.
            member.kill();
        }
        member.exited.wait();
        if let Some(why) = member.why.take() {
            *member.how.borrow_mut() = format!("ended by the supervisor: {why}");
        }
        member.outbox.close();
        if let Some(writer) = writer {
            writer.cancel();
            let _ = writer.join();
        }
        shared.has_ended(member);
        member.ended.set();
    });
}

fn write(member: &Member, sender: &Sender) {
    for outgoing in member.outbox.iter() {
        let sent = match outgoing {
            Outgoing::Message(message) => sender.send(&message, None),
            Outgoing::Connection(number, moved) => {
                let (socket, listener, unread) = (sys::borrow(&moved.socket), moved.listener, moved.unread.clone());
                let message = Message::Connection { number, listener, told: sender.tell(socket), unread };
                sender.send(&message, Some(socket))
            }
        };
        if sent.is_err() {
            // It has ended, or this is to: what it has not confirmed is taken back.
            return sender.cut();
        }
    }
}

/// Hears which versions a worker speaks, and gives it the listeners; false where it has ended.
fn welcome(shared: &Shared, sender: &Sender, receiver: &mut Receiver) -> io::Result<bool> {
    let Some((message, _)) = receiver.receive(sender.stream())? else { return Ok(false) };
    let Message::Hello { lowest, highest, process } = message else {
        return Err(breach(format!("the first message is {}", message.name())));
    };
    let version = highest.min(VERSIONS.1);
    if version < lowest.max(VERSIONS.0) {
        let why = format!("it speaks versions {lowest} to {highest}, the supervisor {} to {}", VERSIONS.0, VERSIONS.1);
        sender.send(&Message::Refused { why: why.clone() }, None)?;
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    sys::is_process(sender.stream(), process);
    let listeners = shared.listeners.len() as u16;
    sender.send(&Message::Welcome { version, listeners, process: sys::process() }, None)?;
    for (name, listener) in &shared.listeners {
        let socket = sys::borrow(listener);
        sender.send(&Message::Listener { told: sender.tell(socket), name: name.clone() }, Some(socket))?;
    }
    Ok(true)
}

/// Hears what a worker says, until its end.
fn converse(member: &Rc<Member>, shared: &Rc<Shared>, sender: &Sender, receiver: &mut Receiver) -> io::Result<()> {
    while let Some((message, socket)) = receiver.receive(sender.stream())? {
        match message {
            Message::Ready if !member.ready.is_set() => {
                member.ready_since.set(Some(now()));
                member.ready.set();
                shared.takes_connections(member);
                if let Some(limit) = shared.limits.hang {
                    let member = Rc::clone(member);
                    crate::spawn(move || ask_whether_it_lives(&member, limit));
                }
            }
            Message::Connection { number, listener, unread, .. } if usize::from(listener) < shared.listeners.len() => {
                let is_taken = socket.is_some_and(|socket| {
                    let moved = Moved { socket, listener, unread };
                    shared.moves(member, moved)
                });
                let answer = if is_taken { Message::Taken { number } } else { Message::Back { number } };
                member.send(Outgoing::Message(answer));
            }
            Message::Taken { number } => shared.was_taken(member, number).map_err(not_yours)?,
            Message::Back { number } => shared.came_back(member, number).map_err(not_yours)?,
            Message::Alive => member.is_alive.set(),
            Message::Retire => member.retires.set(),
            message => return Err(breach(format!("{} came from a worker", message.name()))),
        }
    }
    Ok(())
}

/// Ends a worker that does not answer within `limit`; asks again half of that after each answer.
fn ask_whether_it_lives(member: &Member, limit: Duration) {
    let half = limit / 2;
    loop {
        member.is_alive.clear();
        member.send(Outgoing::Message(Message::Alive));
        // In halves: where this process itself was kept from running, its answer is read in the second.
        let answers =
            || first_of(&mut [&mut member.is_alive.waiting(), &mut member.exited.waiting(), &mut after(half)]);
        let first = answers();
        match if matches!(first, Ok(2)) { answers() } else { first } {
            Ok(0) => {}
            Ok(2) => return member.end(format!("it did not answer for {limit:?}")),
            _ => return,
        }
        if !matches!(first_of(&mut [&mut member.exited.waiting(), &mut after(half)]), Ok(1)) {
            return;
        }
    }
}

fn not_yours(NotYours(number): NotYours) -> io::Error {
    breach(format!("a worker speaks of number {number}, which it does not have"))
}
