//! What a server's owner calls.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::giving::{Gift, Giving, NotTaken, Outcome};
use super::journal::{Choice, Journal};
use super::keeper::{self, Started};
use super::shared::{Place, Shared};
#[cfg(doc)]
use super::wire::CONTEXT_LIMIT;
use overlapped_port::sim::now;

use crate::process::Command;
use crate::scheduler::pass_on;
use crate::sync::{Event, Semaphore};
use crate::tasklet::{self, JoinHandle};
use crate::workers::sys::OwnedSocket;

/// How a [`Server`] is to be.
#[derive(Clone, Debug)]
#[must_use = "nothing begins before it is started"]
pub struct Builder {
    workers: usize,
    choice: Choice,
    limit: usize,
    attempts: u32,
}

impl Builder {
    /// A server with so many workers.
    pub fn new(workers: usize) -> Builder {
        Builder { workers, choice: Choice::default(), limit: 64, attempts: 8 }
    }

    /// Which worker gets a socket: the least busy, unless told.
    pub fn choice(mut self, choice: Choice) -> Builder {
        self.choice = choice;
        self
    }

    /// How many sockets a worker may have that it has not taken over yet: 64 unless told. Each is a descriptor more in
    /// this process; those on their way count against the user's limit of descriptors as well (unix(7),
    /// `ETOOMANYREFS`).
    pub fn limit(mut self, sockets: usize) -> Builder {
        self.limit = sockets;
        self
    }

    /// How many workers a socket is given to, one after the other, before it comes back to whoever gave it: 8 unless
    /// told. So that one which kills each worker does not do so for ever.
    pub fn attempts(mut self, workers: u32) -> Builder {
        self.attempts = workers;
        self
    }

    /// Starts the workers, each by the command that `command` makes for its place, from 0 on; it is called again when
    /// one is to be replaced. Their standard input is the channel; what else a command sets stays.
    ///
    /// # Errors
    /// Where a worker cannot be started ([`Command::spawn`]): then none runs. `InvalidInput` where a number is 0.
    pub fn start(self, mut command: impl FnMut(usize) -> Command + 'static) -> io::Result<Server> {
        if self.workers == 0 || self.limit == 0 || self.attempts == 0 {
            let message = "hand-off: at least one worker, with one socket, at one attempt";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let started = (0..self.workers).map(|place| Started::start(command(place))).collect::<io::Result<Vec<_>>>()?;
        let shared = Rc::new(Shared {
            journal: RefCell::new(Journal::new(self.workers, self.choice, self.limit, self.attempts)),
            room: Semaphore::new(self.workers.saturating_mul(self.limit)),
            places: started.iter().map(|started| Place::of(started.process())).collect(),
            stopping: Event::new(),
            confirmed_all: Event::new(),
            done: Event::new(),
        });
        let command = Rc::new(RefCell::new(command));
        let keepers = started.into_iter().enumerate().map(|(place, first)| {
            let (shared, command) = (Rc::clone(&shared), Rc::clone(&command));
            let start = move || (command.borrow_mut())(place);
            let tasklet = tasklet::Builder::new().name(format!("keep worker {place}"));
            tasklet.spawn(move || keeper::keep(&shared, place, start, first))
        });
        let keepers = keepers.collect::<io::Result<_>>()?;
        Ok(Server { shared, keepers })
    }
}

/// Workers, and the sockets that are on their way to them. Dropped, it ends the workers at once; [`Server::stop`] does
/// in order.
#[derive(Debug)]
pub struct Server {
    shared: Rc<Shared>,
    keepers: Vec<JoinHandle<()>>,
}

/// What a worker is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// Its process; none between one's end and the start of the next.
    pub process: Option<u32>,
    /// How many sockets it has that it has not taken over yet.
    pub unconfirmed: usize,
    /// How many have been taken over in this place.
    pub taken: u64,
    /// How many processes have ended in this place.
    pub ended: u64,
    /// How the last of those ended.
    pub last_end: Option<String>,
}

impl Server {
    /// Gives a socket to a worker, with bytes that go along ([`CONTEXT_LIMIT`] at most): waits until there is room for
    /// one more, and then goes its way alone. What becomes of it, [`Giving::wait`] tells.
    ///
    /// The socket's time-outs go along (`SO_RCVTIMEO`), and its other options. Clones of it that the caller keeps stay
    /// open.
    ///
    /// # Errors
    /// [`NotTaken`], which has the socket and the bytes: where the bytes are too many, the server is stopping, or the
    /// tasklet is told to leave.
    pub fn give(&self, socket: impl Into<OwnedSocket>, context: &[u8]) -> Result<Giving, NotTaken> {
        self.give_as(socket.into(), context, None)
    }

    /// As [`Server::give`], to a worker that the key chooses: equal ones go to the same place. The socket waits for
    /// that worker, also while it is replaced, and goes to no other.
    ///
    /// # Errors
    /// As for [`Server::give`].
    pub fn give_by(&self, key: u64, socket: impl Into<OwnedSocket>, context: &[u8]) -> Result<Giving, NotTaken> {
        self.give_as(socket.into(), context, Some(key))
    }

    fn give_as(&self, socket: OwnedSocket, context: &[u8], key: Option<u64>) -> Result<Giving, NotTaken> {
        let permit = match self.shared.permit(context.len()) {
            Ok(permit) => permit,
            Err(error) => return Err(NotTaken { error, given: Some((socket, context.to_vec())) }),
        };
        let outcome = Rc::new(Outcome::default());
        let gift = Gift { socket, context: context.to_vec(), outcome: Rc::clone(&outcome), _room: permit };
        self.shared.journal.borrow_mut().add(Rc::new(gift), key);
        self.shared.assign();
        Ok(Giving(outcome))
    }

    /// The workers, by place.
    pub fn workers(&self) -> Vec<WorkerStatus> {
        let journal = self.shared.journal.borrow();
        let places = self.shared.places.iter().enumerate();
        places
            .map(|(number, place)| {
                let (unconfirmed, taken) = journal.counts(number);
                WorkerStatus {
                    process: place.running(),
                    unconfirmed,
                    taken,
                    ended: place.ended.get(),
                    last_end: place.last_end.borrow().clone(),
                }
            })
            .collect()
    }

    /// Ends in order: takes no more, waits until what was given is taken over, tells the workers that nothing more
    /// comes, and waits until they have ended. After `limit` it ends them, and what was not taken over comes back.
    ///
    /// # Errors
    /// `TimedOut` where it came to that; where the tasklet is told to leave, with the same consequences.
    pub fn stop(mut self, limit: Duration) -> io::Result<()> {
        let deadline = crate::time::deadline_after(limit);
        self.shared.stopping.set();
        self.shared.look_whether_all_is_confirmed();
        let in_time = self.shared.confirmed_all.wait_until(Some(deadline)).inspect_err(pass_on)?;
        if in_time {
            self.shared.finish();
            while let Some(keeper) = self.keepers.pop() {
                match keeper.join_timeout(deadline.saturating_duration_since(now())) {
                    Ok(joined) => joined?,
                    Err(keeper) => {
                        self.keepers.push(keeper);
                        break;
                    }
                }
            }
        }
        if self.keepers.is_empty() {
            return Ok(());
        }
        let (unconfirmed, running) = (self.shared.journal.borrow().len(), self.keepers.len());
        let message = format!(
            "hand-off: after {limit:?}, {unconfirmed} sockets were not taken over and {running} workers ran: ended now"
        );
        Err(io::Error::new(io::ErrorKind::TimedOut, message))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.set();
        self.keepers.iter().for_each(JoinHandle::cancel);
        let left = self.shared.journal.borrow_mut().clear();
        left.into_iter().for_each(|gift| Gift::came_back(gift, "the server has stopped"));
    }
}
