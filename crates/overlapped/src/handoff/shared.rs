//! What the server and its tasklets share: the journal, and who is to be woken when it changes.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::Rc;

use super::giving::Gift;
use super::journal::{Journal, NotYours};
use super::receiver::breach;
use super::wire::CONTEXT_LIMIT;
use crate::select::first_of;
use crate::sync::{Event, Permit, Semaphore};

/// What the server and its tasklets share.
pub(super) struct Shared {
    pub(super) journal: RefCell<Journal<Rc<Gift>>>,
    pub(super) room: Semaphore,
    pub(super) places: Vec<Place>,
    /// Nothing more is given.
    pub(super) stopping: Event,
    /// And nothing is unconfirmed.
    pub(super) confirmed_all: Event,
    /// And the workers are to end.
    pub(super) done: Event,
}

/// What is known of a worker beside the journal.
pub(super) struct Place {
    pub(super) assigned: Event,
    process: RefCell<Process>,
    pub(super) ended: Cell<u64>,
    pub(super) last_end: RefCell<Option<String>>,
}

/// The last process that was started in a place.
pub(super) struct Process {
    pub(super) id: u32,
    /// Set at once when it has been waited for: its number may be a stranger's after that.
    pub(super) ended: Event,
}

impl Place {
    pub(super) fn of(process: Process) -> Place {
        Place {
            assigned: Event::new(),
            process: RefCell::new(process),
            ended: Cell::new(0),
            last_end: RefCell::default(),
        }
    }

    /// The process, unless it has ended.
    pub(super) fn running(&self) -> Option<u32> {
        let process = self.process.borrow();
        (!process.ended.is_set()).then_some(process.id)
    }
}

impl Shared {
    /// Waits until there is room for a socket with so many bytes.
    pub(super) fn permit(&self, length: usize) -> io::Result<Permit> {
        if length > CONTEXT_LIMIT {
            let message = format!("{length} bytes of context, where {CONTEXT_LIMIT} are allowed");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let (mut stopping, mut room) = (self.stopping.waiting(), self.room.acquiring());
        match first_of(&mut [&mut stopping, &mut room])? {
            0 => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the server is stopping")),
            _ => Ok(room.take().expect("it was the first")),
        }
    }

    /// Assigns what waits, and wakes those who send it.
    pub(super) fn assign(&self) {
        loop {
            let place = self.journal.borrow_mut().assign();
            let Some(place) = place else { return };
            self.places[place].assigned.set();
        }
    }

    /// Set when something was assigned to a worker.
    pub(super) fn assigned(&self, place: usize) -> Event {
        self.places[place].assigned.clone()
    }

    /// What a worker is to be sent next.
    pub(super) fn next_for(&self, place: usize) -> Option<(u64, Rc<Gift>)> {
        self.journal.borrow_mut().send(place).map(|(number, gift)| (number, Rc::clone(gift)))
    }

    pub(super) fn ready(&self, place: usize) {
        self.journal.borrow_mut().ready(place);
        self.assign();
    }

    pub(super) fn confirmed(&self, place: usize, number: u64) -> io::Result<()> {
        let gift =
            self.journal.borrow_mut().taken(place, number).map_err(|NotYours(number)| not_yours("took", number))?;
        gift.outcome.tell(Ok(self.places[place].process.borrow().id));
        drop(gift);
        self.assign();
        self.look_whether_all_is_confirmed();
        Ok(())
    }

    pub(super) fn back(&self, place: usize, number: u64) -> io::Result<()> {
        let out = self.journal.borrow_mut().back(place, number);
        let out = out.map_err(|NotYours(number)| not_yours("gave back", number))?;
        self.came_out(out);
        Ok(())
    }

    /// Takes back what a worker has not confirmed, and gives it to others.
    pub(super) fn take_back(&self, place: usize) {
        let out = self.journal.borrow_mut().ended(place);
        self.came_out(out);
    }

    fn came_out(&self, out: impl IntoIterator<Item = Rc<Gift>>) {
        out.into_iter().for_each(|gift| Gift::came_back(gift, "no worker has taken it over"));
        self.assign();
        self.look_whether_all_is_confirmed();
    }

    pub(super) fn started(&self, place: usize, process: Process) {
        *self.places[place].process.borrow_mut() = process;
    }

    pub(super) fn ended(&self, place: usize, how: String) {
        self.take_back(place);
        let place = &self.places[place];
        place.ended.set(place.ended.get() + 1);
        *place.last_end.borrow_mut() = Some(how);
    }

    /// How many sockets have been taken over in a place.
    pub(super) fn taken(&self, place: usize) -> u64 {
        self.journal.borrow().counts(place).1
    }

    pub(super) fn look_whether_all_is_confirmed(&self) {
        if self.stopping.is_set() && self.journal.borrow().is_empty() {
            self.confirmed_all.set();
        }
    }

    /// Nothing more comes: the workers are told, and not replaced.
    pub(super) fn finish(&self) {
        self.done.set();
        self.places.iter().for_each(|place| place.assigned.set());
    }

    pub(super) fn is_done(&self) -> bool {
        self.done.is_set()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("workers", &self.places.len()).finish()
    }
}

fn not_yours(what: &str, number: u64) -> io::Error {
    breach(format!("a worker {what} number {number}, which it does not have"))
}
