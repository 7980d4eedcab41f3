//! What a supervisor and its tasklets share: who is there, and which connections are on their way.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::book::{Book, NotYours, Taker};
use super::member::{Member, Outgoing};
use crate::process::Command;
use crate::select::{after, first_of};
use crate::sync::{Event, Semaphore};
use crate::tasklet::JoinHandle;
use crate::workers::delay::Delay;
use crate::workers::sys::OwnedSocket;

/// How long a worker gets no connections after it has given one back.
const REST: Duration = Duration::from_millis(50);

/// A connection on its way from one worker to another.
pub(super) struct Moved {
    pub(super) socket: OwnedSocket,
    pub(super) listener: u16,
    pub(super) unread: Vec<u8>,
}

/// How long a worker may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) ready: Duration,
    pub(super) drain: Duration,
    /// None: it is not asked whether it is alive.
    pub(super) hang: Option<Duration>,
}

/// A worker's place, which stays when the process in it is replaced.
pub(super) struct Place {
    pub(super) number: usize,
    member: RefCell<Rc<Member>>,
    /// Held while the process is replaced.
    pub(super) turn: Semaphore,
    pub(super) ended: Cell<u64>,
    pub(super) delay: RefCell<Delay>,
    pub(super) last_end: RefCell<Option<String>>,
    /// Who fills it.
    keeper: RefCell<Option<JoinHandle<()>>>,
}

impl Place {
    fn new(number: usize, member: Rc<Member>) -> Place {
        let (delay, last_end, keeper) = Default::default();
        let (member, turn, ended) = (RefCell::new(member), Semaphore::new(1), Cell::new(0));
        Place { number, member, turn, ended, delay, last_end, keeper }
    }

    /// The worker in it, dead or alive.
    pub(super) fn member(&self) -> Rc<Member> {
        Rc::clone(&self.member.borrow())
    }

    /// Puts a worker in it; returns the one before.
    pub(super) fn put(&self, member: Rc<Member>) -> Rc<Member> {
        let before = self.member.replace(member);
        before.superseded.set();
        before
    }

    pub(super) fn has_keeper(&self, keeper: JoinHandle<()>) {
        *self.keeper.borrow_mut() = Some(keeper);
    }

    /// Nobody fills it any more.
    pub(super) fn give_up(&self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.cancel();
        }
    }
}

pub(super) type Commands = Box<dyn FnMut(usize) -> Command>;

pub(super) struct Shared {
    pub(super) listeners: Vec<(String, OwnedSocket)>,
    places: RefCell<Vec<Rc<Place>>>,
    pub(super) commands: RefCell<Commands>,
    pub(super) generation: Cell<u64>,
    pub(super) limits: Limits,
    pub(super) stopping: Event,
    /// How many connections went from one worker to another, and how many nobody took.
    pub(super) moved: Cell<u64>,
    pub(super) lost: Cell<u64>,
    book: RefCell<Book<Rc<Moved>>>,
    /// Whose processes have not ended.
    alive: RefCell<BTreeMap<u64, Rc<Member>>>,
    takers: RefCell<BTreeMap<u64, Taker>>,
    ids: Cell<u64>,
}

impl Shared {
    /// Without a worker yet.
    pub(super) fn new(listeners: Vec<(String, OwnedSocket)>, commands: Commands, limits: Limits) -> Shared {
        Shared {
            listeners,
            places: RefCell::default(),
            commands: RefCell::new(commands),
            generation: Cell::new(1),
            limits,
            stopping: Event::new(),
            moved: Cell::new(0),
            lost: Cell::new(0),
            book: RefCell::new(Book::new(super::channel::ON_THE_WAY)),
            alive: RefCell::default(),
            takers: RefCell::default(),
            ids: Cell::new(0),
        }
    }

    pub(super) fn places(&self) -> Vec<Rc<Place>> {
        self.places.borrow().clone()
    }

    /// Adds a place, the last, with a worker that was launched for it.
    pub(super) fn add_place(&self, member: Rc<Member>) -> Rc<Place> {
        let mut places = self.places.borrow_mut();
        let place = Rc::new(Place::new(places.len(), member));
        places.push(Rc::clone(&place));
        place
    }

    /// Removes the last place. Its worker is the caller's.
    pub(super) fn remove_place(&self) {
        self.places.borrow_mut().pop();
    }

    pub(super) fn next_id(&self) -> u64 {
        self.ids.set(self.ids.get() + 1);
        self.ids.get()
    }

    /// Starts a worker for a place, in which it is not yet.
    pub(super) fn launch(self: &Rc<Self>, place: usize, command: Command) -> io::Result<Rc<Member>> {
        let member = Member::start(self, place, command)?;
        self.alive.borrow_mut().insert(member.id, Rc::clone(&member));
        Ok(member)
    }

    pub(super) fn command(&self, place: usize) -> Command {
        (self.commands.borrow_mut())(place)
    }

    pub(super) fn alive(&self) -> Vec<Rc<Member>> {
        self.alive.borrow().values().cloned().collect()
    }

    /// Ends all workers at once.
    pub(super) fn end_all(&self) {
        self.alive().iter().for_each(|member| member.kill());
    }

    /// A worker is ready: it can have connections.
    pub(super) fn takes_connections(&self, member: &Member) {
        if !member.is_draining() {
            let taker = Taker { worker: member.id, generation: member.generation };
            self.takers.borrow_mut().insert(member.id, taker);
            self.send_on();
        }
    }

    /// Returns whether it did.
    pub(super) fn takes_no_more(&self, member: &Member) -> bool {
        self.takers.borrow_mut().remove(&member.id).is_some()
    }

    /// A worker gives a connection away; false where it cannot be had.
    pub(super) fn moves(&self, from: &Member, moved: Moved) -> bool {
        if self.stopping.is_set() {
            return false;
        }
        self.book.borrow_mut().add(Rc::new(moved), from.id);
        self.send_on();
        true
    }

    pub(super) fn was_taken(&self, by: &Member, number: u64) -> Result<(), NotYours> {
        drop(self.book.borrow_mut().taken(by.id, number)?);
        self.moved.set(self.moved.get() + 1);
        self.send_on();
        Ok(())
    }

    /// A worker does not take a connection: it has no descriptor left, most often. It gets none for a while, and the
    /// connection goes to another one, or waits.
    pub(super) fn came_back(self: &Rc<Self>, from: &Rc<Member>, number: u64) -> Result<(), NotYours> {
        self.book.borrow_mut().back(from.id, number)?;
        if self.takes_no_more(from) {
            let (shared, from) = (Rc::clone(self), Rc::clone(from));
            crate::spawn(move || {
                let rested =
                    first_of(&mut [&mut shared.stopping.waiting(), &mut from.ended.waiting(), &mut after(REST)]);
                if matches!(rested, Ok(2)) {
                    shared.takes_connections(&from);
                }
            });
        }
        self.send_on();
        Ok(())
    }

    pub(super) fn has_ended(&self, member: &Member) {
        self.alive.borrow_mut().remove(&member.id);
        self.takes_no_more(member);
        let out = self.book.borrow_mut().ended(member.id);
        self.lose(out);
        self.send_on();
        if let Some(place) = self.places.borrow().get(member.place) {
            place.ended.set(place.ended.get() + 1);
            *place.last_end.borrow_mut() = Some(member.how());
        }
    }

    fn lose(&self, out: impl IntoIterator<Item = Rc<Moved>>) {
        self.lost.set(self.lost.get() + out.into_iter().count() as u64);
    }

    /// Closes what is on its way: nobody is left to take it.
    pub(super) fn lose_all(&self) {
        let out = self.book.borrow_mut().clear();
        self.lose(out);
    }

    /// How many connections are on their way to other workers.
    pub(super) fn on_the_way(&self) -> usize {
        self.book.borrow().len()
    }

    pub(super) fn unconfirmed(&self, member: &Member) -> usize {
        self.book.borrow().unconfirmed(member.id)
    }

    /// Sends connections that wait to workers that have room.
    fn send_on(&self) {
        let takers: Vec<Taker> = self.takers.borrow().values().copied().collect();
        loop {
            let next =
                self.book.borrow_mut().send(&takers).map(|(worker, number, moved)| (worker, number, Rc::clone(moved)));
            let Some((worker, number, moved)) = next else { return };
            let taker = self.alive.borrow().get(&worker).cloned();
            taker.expect("who takes is alive").send(Outgoing::Connection(number, moved));
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("workers", &self.places.borrow().len()).finish_non_exhaustive()
    }
}
