//! A worker's side.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::channel::{Receiver, Sender, breach};
use super::connection::Connection;
use super::desk::{Arrival, Desk, Phase};
use super::sys::{Listener, Stream};
use super::wire::{Message, VARIABLE, VERSIONS};
use crate::select::{after, first_of};
use crate::sync::Semaphore;
use crate::tasklet::Builder;
use crate::workers::sys;

/// How many connections a worker accepts before the server's code has asked for them. More wait in the listener's line,
/// where other workers can take them.
const ACCEPTED_AHEAD: usize = 16;

/// How long a listener rests after an error: no descriptor left, most often.
const REST: Duration = Duration::from_millis(50);

/// This process as one of a [`Supervisor`](super::Supervisor)'s workers.
///
/// Made, it has the server's listeners and accepts nothing yet: the time to initialise. Whoever fails then ends the process,
/// and the old worker serves on. [`Worker::serve`] does the rest; a server with a loop of its own calls [`Worker::ready`]
/// and [`Worker::next`].
pub struct Worker {
    desk: Rc<Desk>,
    /// Until it is ready.
    waiting: RefCell<Option<(Receiver, Vec<Listener>)>>,
}

impl Worker {
    /// Takes the channel that this process has inherited, and the listeners that come through it. Once: standard input is
    /// the system's null device after that.
    ///
    /// # Errors
    /// `NotFound` where this process was not started as a worker, or has called this before; `Unsupported` where the
    /// supervisor does not speak this version, with its words; `UnexpectedEof` where it is gone.
    pub fn from_environment() -> io::Result<Worker> {
        let sender = Sender::new(sys::inherited(VARIABLE)?);
        let mut receiver = Receiver::default();
        let (lowest, highest) = VERSIONS;
        sender.send(&Message::Hello { lowest, highest, process: sys::process() }, None)?;
        let mut next = || receiver.receive(sender.stream())?.ok_or_else(gone);
        let count = match next()?.0 {
            Message::Welcome { version, listeners, process } if (lowest..=highest).contains(&version) => {
                sys::is_process(sender.stream(), process);
                listeners
            }
            Message::Refused { why } => {
                let message = format!("the supervisor refuses this worker: {why}");
                return Err(io::Error::new(io::ErrorKind::Unsupported, message));
            }
            message => return Err(breach(format!("the first message is {}", message.name()))),
        };
        let (mut listeners, mut names) = (Vec::new(), Vec::new());
        for _ in 0..count {
            match next()? {
                (Message::Listener { name, .. }, Some(socket)) => {
                    names.push(name);
                    listeners.push(Listener::of(socket));
                }
                (Message::Listener { .. }, None) => {
                    return Err(io::Error::other(
                        "a listener came and was lost, most likely for this process has no descriptor left",
                    ));
                }
                (message, _) => return Err(breach(format!("{} came in place of a listener", message.name()))),
            }
        }
        let desk = Rc::new(Desk::new(sender, names));
        Ok(Worker { desk, waiting: RefCell::new(Some((receiver, listeners))) })
    }

    /// Says that this worker is ready: from now on it accepts, and the one that it replaces drains. Said again, it does
    /// nothing.
    ///
    /// # Errors
    /// Where the supervisor is gone.
    pub fn ready(&self) -> io::Result<()> {
        let Some((receiver, listeners)) = self.waiting.take() else { return Ok(()) };
        let accepting = Rc::new(Cell::new(listeners.len()));
        for (number, listener) in (0..).zip(listeners) {
            let (desk, accepting) = (Rc::clone(&self.desk), Rc::clone(&accepting));
            let name = format!("accept from {}", self.desk.name_of(number));
            Builder::new().name(name).spawn(move || {
                let _last = CloseWhenLast { desk: &desk, accepting: &accepting };
                accept(&desk, &listener, number);
            })?;
        }
        let desk = Rc::clone(&self.desk);
        Builder::new().name("prefork channel").spawn(move || {
            hear(&desk, receiver);
            desk.supervisor_is_gone();
        })?;
        self.desk.sender.send(&Message::Ready, None)
    }

    /// Waits for the next connection; `None` once this worker drains and has handed out all: finish what is begun, and end.
    ///
    /// # Errors
    /// Where the tasklet is told to leave.
    #[allow(clippy::should_implement_trait, reason = "it can fail and go on, which an iterator's users do not expect")]
    pub fn next(&self) -> io::Result<Option<Connection>> {
        loop {
            let mut getting = self.desk.arrivals.getting();
            first_of(&mut [&mut getting])?;
            let Some(Ok(arrival)) = getting.take() else { return Ok(None) };
            let desk = Rc::clone(&self.desk);
            match arrival {
                Arrival::Accepted { stream, listener, .. } => {
                    return Ok(Some(Connection::new(stream, listener, Vec::new(), desk)));
                }
                Arrival::Moved { number, socket, listener, unread } => {
                    // Where the supervisor cannot be told, it gives the connection to another: it is closed here.
                    if desk.sender.send(&Message::Taken { number }, None).is_ok() {
                        return Ok(Some(Connection::new(Stream::of(socket), listener, unread, desk)));
                    }
                }
            }
        }
    }

    /// Says that it is ready, and has each connection served in a tasklet of its own, until the worker has drained and all
    /// those tasklets have ended.
    ///
    /// # Errors
    /// As for [`Worker::ready`] and [`Worker::next`].
    pub fn serve(&self, each: impl Fn(Connection) + 'static) -> io::Result<()> {
        self.ready()?;
        let each = Rc::new(each);
        let (mut begun, mut look_at) = (Vec::new(), 64);
        while let Some(connection) = self.next()? {
            let each = Rc::clone(&each);
            begun.push(crate::spawn(move || each(connection)));
            if begun.len() == look_at {
                begun.retain(|one| !one.is_finished());
                look_at = 64.max(2 * begun.len());
            }
        }
        // One that has panicked has told so.
        begun.into_iter().for_each(|one| drop(one.join()));
        Ok(())
    }

    /// Has this worker ask for another one in its place ([`Worker::retire`]) when so many requests have begun, and up to
    /// `jitter` more, by chance, so that workers which began together do not all do so at once: for servers whose
    /// memory grows (gunicorn's `max_requests` and `max_requests_jitter`). 0 requests: never.
    ///
    /// A request is counted when [`Connection::read_more`] brings the first bytes of it; those that come together are one.
    /// A server that reads otherwise counts itself.
    pub fn retire_after(&self, requests: u64, jitter: u64) {
        let chance = RandomState::new().hash_one(requests);
        let more = if jitter == u64::MAX { chance } else { chance % (jitter + 1) };
        self.desk.retire_after((requests > 0).then(|| requests.saturating_add(more)));
    }

    /// Asks the supervisor to replace this worker, as in a restart: it serves on until another one is ready in its place,
    /// and drains then. Asked again, it does nothing.
    ///
    /// # Errors
    /// Where the supervisor is gone.
    pub fn retire(&self) -> io::Result<()> {
        self.desk.retire()
    }

    /// Whether this worker is to end: it accepts nothing more.
    pub fn is_draining(&self) -> bool {
        self.desk.phase() != Phase::Serving
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the supervisor was gone before it had given the listeners")
}

/// Accepts until the worker is to drain. A connection that was accepted just then is served like any other.
fn accept(desk: &Desk, listener: &Listener, number: u16) {
    let ahead = Semaphore::new(ACCEPTED_AHEAD);
    loop {
        let accepted = desk.bell.until_rung(|| {
            let mut room = ahead.acquiring();
            first_of(&mut [&mut room])?;
            Ok((listener.accept()?, room.take().expect("it was the first")))
        });
        match accepted {
            Ok(Some((stream, room))) => {
                // It is closed by none but the last of these tasklets.
                let _ = desk.arrivals.put(Arrival::Accepted { stream, listener: number, _room: room });
            }
            Ok(None) => return,
            Err(error) if crate::is_cancelled(&error) => return,
            Err(_) => {
                let _ = desk.bell.until_rung(|| first_of(&mut [&mut after(REST)]));
            }
        }
    }
}

/// Closes the line of arrivals when nobody accepts any more.
struct CloseWhenLast<'a> {
    desk: &'a Desk,
    accepting: &'a Cell<usize>,
}

impl Drop for CloseWhenLast<'_> {
    fn drop(&mut self) {
        self.accepting.set(self.accepting.get() - 1);
        if self.accepting.get() == 0 {
            self.desk.arrivals.close();
        }
    }
}

/// Does what the supervisor says, until it says nothing more or breaks the rules.
fn hear(desk: &Desk, mut receiver: Receiver) {
    while let Ok(Some((message, socket))) = receiver.receive(desk.sender.stream()) {
        let keeps_the_rules = match message {
            Message::Drain { moving } => {
                desk.begin(if moving { Phase::Moving } else { Phase::Stopping });
                true
            }
            Message::Connection { number, listener, unread, .. } => {
                let arrived = socket.map(|socket| Arrival::Moved { number, socket, listener, unread });
                // One without its descriptor, for which there was no room, goes back, and so does one that is too late.
                let is_here = arrived.is_some_and(|arrived| desk.arrivals.put(arrived).is_ok());
                is_here || desk.sender.send(&Message::Back { number }, None).is_ok()
            }
            Message::Taken { number } => desk.answered(number, true),
            Message::Back { number } => desk.answered(number, false),
            Message::Alive => desk.sender.send(&Message::Alive, None).is_ok(),
            _ => false,
        };
        if !keeps_the_rules {
            return;
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("draining", &self.is_draining()).finish_non_exhaustive()
    }
}
