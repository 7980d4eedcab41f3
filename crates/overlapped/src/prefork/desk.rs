//! What a worker's tasklets and connections share: the channel's writing end, and what the supervisor wants.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use super::bell::Bell;
use super::channel::{ON_THE_WAY, Sender};
use super::sys::Stream;
use super::wire::{Message, UNREAD_LIMIT};
use crate::select::first_of;
use crate::sync::{Event, Permit, Queue, Semaphore};
use crate::workers::sys::{BorrowedSocket, OwnedSocket};

/// What a worker is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Serving,
    /// To give its connections away, and end.
    Moving,
    /// To end what is begun, and itself.
    Stopping,
}

/// What has come for the server's code.
pub(super) enum Arrival {
    Accepted { stream: Stream, listener: u16, _room: Permit },
    Moved { number: u64, socket: OwnedSocket, listener: u16, unread: Vec<u8> },
}

/// What has become of a connection that was given away.
#[derive(Default)]
struct Answer {
    is_known: Event,
    was_taken: Cell<bool>,
}

pub(super) struct Desk {
    pub(super) sender: Sender,
    pub(super) bell: Bell,
    pub(super) arrivals: Queue<Arrival>,
    phase: Cell<Phase>,
    names: Vec<String>,
    giving: RefCell<HashMap<u64, Rc<Answer>>>,
    next: Cell<u64>,
    room: Semaphore,
    /// How many requests may begin until it asks to be replaced; None: as many as come.
    requests_left: Cell<Option<u64>>,
    has_asked: Cell<bool>,
}

impl Desk {
    pub(super) fn new(sender: Sender, names: Vec<String>) -> Desk {
        Desk {
            sender,
            bell: Bell::default(),
            arrivals: Queue::new(),
            phase: Cell::new(Phase::Serving),
            names,
            giving: RefCell::default(),
            next: Cell::new(0),
            room: Semaphore::new(ON_THE_WAY),
            requests_left: Cell::new(None),
            has_asked: Cell::new(false),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Begins another phase, which all hear of. One that stops does not move any more.
    pub(super) fn begin(&self, phase: Phase) {
        if self.phase.get() != Phase::Stopping {
            self.phase.set(phase);
        }
        self.bell.ring();
    }

    pub(super) fn name_of(&self, listener: u16) -> &str {
        self.names.get(usize::from(listener)).map_or("", String::as_str)
    }

    pub(super) fn retire_after(&self, requests: Option<u64>) {
        self.requests_left.set(requests);
    }

    /// Counts a request.
    pub(super) fn begins_request(&self) {
        if let Some(left) = self.requests_left.get() {
            self.requests_left.set(Some(left.saturating_sub(1)));
            if left <= 1 {
                // Where the supervisor is gone, this is to end anyway.
                let _ = self.retire();
            }
        }
    }

    /// Asks the supervisor, once, for another worker in this one's place.
    pub(super) fn retire(&self) -> io::Result<()> {
        if self.has_asked.replace(true) { Ok(()) } else { self.sender.send(&Message::Retire, None) }
    }

    /// Gives a connection to the supervisor, and waits for its word.
    pub(super) fn give(&self, socket: BorrowedSocket<'_>, listener: u16, unread: &[u8]) -> io::Result<()> {
        if unread.len() > UNREAD_LIMIT {
            let message = format!("{} unread bytes, where {UNREAD_LIMIT} are allowed", unread.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let mut room = self.room.acquiring();
        first_of(&mut [&mut room])?;
        let _room = room.take();
        if self.phase() == Phase::Stopping {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the server stops"));
        }
        let number = self.next.get();
        self.next.set(number + 1);
        let answer = Rc::new(Answer::default());
        self.giving.borrow_mut().insert(number, Rc::clone(&answer));
        let message = Message::Connection { number, listener, told: self.sender.tell(socket), unread: unread.to_vec() };
        if let Err(error) = self.sender.send(&message, Some(socket)) {
            self.giving.borrow_mut().remove(&number);
            return Err(error);
        }
        answer.is_known.wait_until(None)?;
        if answer.was_taken.get() {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the supervisor cannot take it, or is gone"))
    }

    /// The supervisor's word about a connection; false where none of that number was given.
    pub(super) fn answered(&self, number: u64, was_taken: bool) -> bool {
        let Some(answer) = self.giving.borrow_mut().remove(&number) else { return false };
        answer.was_taken.set(was_taken);
        answer.is_known.set();
        true
    }

    /// The supervisor says nothing more.
    pub(super) fn supervisor_is_gone(&self) {
        self.begin(Phase::Stopping);
        let unanswered = self.giving.take();
        unanswered.into_values().for_each(|answer| answer.is_known.set());
    }
}
