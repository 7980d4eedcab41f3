//! Connecting to whichever of several addresses answers first: Happy Eyeballs (RFC 8305).
//!
//! A name often stands for addresses of both families, and the way to those of one may be broken without a word. So they are
//! tried in turns of family, beginning with that of the first (section 4; the system has sorted them as RFC 6724 says), each
//! [`DELAY`] after the one before it, or as soon as one has failed (section 5). The first connection that is made is kept and
//! the other attempts are cancelled; it is told of when they have ended and their sockets are closed.
//!
//! Both faces connect by this: a tasklet waits for what is told, the reactor is called. (Rejected: a tasklet for each attempt,
//! which costs a stack and is nothing that the reactor could wait for.) Left out is section 3, to ask for the addresses of
//! each family apart and to begin with those that come first: the system's resolver answers with all at once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

use overlapped_port::sim::now;
use overlapped_port::sys::raw_socket;
use overlapped_port::{Address, Op, Outcome};
use socket2::{SockAddr, Socket};

use crate::attempt::attempt;
use crate::interrupt::Telling;
use crate::scheduler::{self, Scheduler, Started, Timer, passed};

/// How long an attempt may go without an answer until the next one begins ("Connection Attempt Delay", RFC 8305, section 8).
const DELAY: Duration = Duration::from_millis(250);

/// Makes the socket of an attempt.
type Open = Box<dyn Fn(&SockAddr) -> io::Result<Socket>>;

/// What is told at the end.
type Told = Box<dyn FnOnce(Result<Socket, Failures>)>;

/// Attempts under way; clones are the same.
#[derive(Clone)]
pub(crate) struct Race(Rc<Runners>);

struct Runners {
    scheduler: Weak<Scheduler>,
    open: Open,
    state: RefCell<State>,
}

struct State {
    /// The addresses that were not tried.
    waiting: VecDeque<SockAddr>,
    started: Vec<Started>,
    in_flight: usize,
    /// When the next attempt begins, if nothing has happened by then.
    next: Option<Timer>,
    winner: Option<Socket>,
    failures: Failures,
    /// No attempt is wanted any more.
    is_over: bool,
    told: Option<Told>,
}

/// Why each address has failed, in order.
#[derive(Default)]
pub(crate) struct Failures(Vec<(SockAddr, io::Error)>);

impl Failures {
    /// The last one's error.
    pub(crate) fn into_last(mut self) -> io::Error {
        let nowhere = || io::Error::new(io::ErrorKind::InvalidInput, "the name stands for no address");
        self.0.pop().map_or_else(nowhere, |(_, error)| error)
    }

    /// The same, and [`attempted`](crate::attempted) tells the others.
    fn told(self) -> io::Error {
        let mut tried = String::new();
        for (place, (address, error)) in self.0.iter().enumerate() {
            let address = address.as_socket().map_or_else(|| format!("{address:?}"), |address| address.to_string());
            match place + 1 == self.0.len() {
                true => tried += &address,
                false => tried += &format!("{address} ({error}), to "),
            }
        }
        attempt(self.into_last(), || format!("connect to {tried}"))
    }
}

impl Race {
    /// Begins to connect to `addresses`, with sockets that `open` makes, and has `told` called between two tasklets with
    /// the first that is connected.
    ///
    /// # Errors
    /// Where no attempt could begin: `told` is not called then.
    pub(crate) fn start(
        scheduler: &Rc<Scheduler>,
        addresses: impl IntoIterator<Item = SockAddr>,
        open: impl Fn(&SockAddr) -> io::Result<Socket> + 'static,
        told: impl FnOnce(Result<Socket, Failures>) + 'static,
    ) -> Result<Race, Failures> {
        let state = State {
            waiting: in_turns(addresses, SockAddr::family),
            started: Vec::new(),
            in_flight: 0,
            next: None,
            winner: None,
            failures: Failures::default(),
            is_over: false,
            told: Some(Box::new(told)),
        };
        let runners = Runners { scheduler: Rc::downgrade(scheduler), open: Box::new(open), state: RefCell::new(state) };
        let runners = Rc::new(runners);
        runners.try_next(scheduler);
        let mut state = runners.state.borrow_mut();
        if state.in_flight == 0 {
            return Err(std::mem::take(&mut state.failures));
        }
        drop(state);
        Ok(Race(runners))
    }

    /// Asks for its end: it is told all the same, of the connection that was made by then if there is one.
    pub(crate) fn cancel(&self, scheduler: &Scheduler) {
        self.0.stop(scheduler);
    }
}

impl Runners {
    /// Begins the next attempt; one that cannot begin has failed.
    fn try_next(self: &Rc<Self>, scheduler: &Scheduler) {
        self.clear_timer(scheduler);
        loop {
            let Some(address) = self.state.borrow_mut().waiting.pop_front() else { return };
            match (self.open)(&address) {
                Ok(socket) => break self.attempt(scheduler, Rc::new(socket), address),
                Err(error) => self.state.borrow_mut().failures.0.push((address, error)),
            }
        }
        if !self.state.borrow().waiting.is_empty() {
            let me = Rc::clone(self);
            let timer = scheduler.call_at(now() + DELAY, move |scheduler| me.try_next(scheduler));
            self.state.borrow_mut().next = Some(timer);
        }
    }

    fn attempt(self: &Rc<Self>, scheduler: &Scheduler, socket: Rc<Socket>, address: SockAddr) {
        let (me, kept) = (Rc::clone(self), Cell::new(Some(Rc::clone(&socket))));
        let started = scheduler.launch(
            &socket,
            Address::from(address.clone()),
            |socket, address| Op::Connect { socket: raw_socket(socket), address },
            move |_, result| {
                let socket = kept.take().and_then(Rc::into_inner);
                me.ended(socket.expect("nothing else keeps it when the operation has ended"), address, result);
            },
        );
        let mut state = self.state.borrow_mut();
        state.started.push(started);
        state.in_flight += 1;
    }

    fn ended(self: &Rc<Self>, socket: Socket, address: SockAddr, result: io::Result<Outcome>) {
        let Some(scheduler) = self.scheduler.upgrade() else { return };
        let goes_on = {
            let mut state = self.state.borrow_mut();
            state.in_flight -= 1;
            match result {
                Ok(_) if state.winner.is_none() => state.winner = Some(socket),
                Err(error) if !state.is_over => state.failures.0.push((address, error)),
                Ok(_) | Err(_) => {}
            }
            state.winner.is_none() && !state.is_over
        };
        if goes_on {
            self.try_next(&scheduler);
        } else {
            self.stop(&scheduler);
        }
        let mut state = self.state.borrow_mut();
        if state.in_flight == 0
            && let Some(told) = state.told.take()
        {
            let failures = std::mem::take(&mut state.failures);
            let result = state.winner.take().ok_or(failures);
            drop(state);
            told(result);
        }
    }

    fn stop(&self, scheduler: &Scheduler) {
        self.clear_timer(scheduler);
        let started = {
            let mut state = self.state.borrow_mut();
            state.is_over = true;
            std::mem::take(&mut state.started)
        };
        started.into_iter().for_each(|started| scheduler.cancel(started));
    }

    fn clear_timer(&self, scheduler: &Scheduler) {
        let timer = self.state.borrow_mut().next.take();
        if let Some(timer) = timer {
            scheduler.clear(timer);
        }
    }
}

/// Connects to the first of `addresses` that answers; only the calling tasklet waits.
///
/// # Errors
/// That of the last address that failed; what the tasklet is told.
pub(super) fn connect(
    addresses: &[SocketAddr],
    open: impl Fn(&SockAddr) -> io::Result<Socket> + 'static,
) -> io::Result<Socket> {
    let scheduler = scheduler::current()?;
    let leave = |interrupted| {
        let tried: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        attempt(scheduler::told(interrupted), || format!("connect to {}", tried.join(", to ")))
    };
    passed(Telling::Error).map_err(leave)?;
    let (landing, me) = (Rc::new(RefCell::new(None)), scheduler.current_tasklet());
    let told = {
        let (landing, scheduler) = (Rc::clone(&landing), Rc::downgrade(&scheduler));
        move |result| {
            landing.replace(Some(result));
            if let Some(scheduler) = scheduler.upgrade() {
                scheduler.wake(me);
            }
        }
    };
    let race =
        Race::start(&scheduler, addresses.iter().copied().map(SockAddr::from), open, told).map_err(Failures::told)?;
    let mut waited = Ok(());
    let landed = loop {
        if let Some(landed) = landing.take() {
            break landed;
        }
        if waited.is_err() {
            scheduler.park_until(None, "connect");
            continue;
        }
        waited = scheduler::wait(Telling::Error, None, "connect");
        if waited.is_err() {
            race.cancel(&scheduler);
        }
    };
    match (landed, waited) {
        (Ok(socket), _) => Ok(socket),
        (Err(_), Err(interrupted)) => Err(leave(interrupted)),
        (Err(failures), Ok(())) => Err(failures.told()),
    }
}

/// Puts what is sorted by preference into turns of its kinds: the first of each kind, in the order in which the kinds come,
/// then the second of each, and so on.
fn in_turns<T, K: PartialEq>(sorted: impl IntoIterator<Item = T>, kind: impl Fn(&T) -> K) -> VecDeque<T> {
    let mut kinds: Vec<(K, VecDeque<T>)> = Vec::new();
    for item in sorted {
        let kind = kind(&item);
        match kinds.iter_mut().find(|(other, _)| *other == kind) {
            Some((_, items)) => items.push_back(item),
            None => kinds.push((kind, VecDeque::from([item]))),
        }
    }
    let mut turns = VecDeque::new();
    while kinds.iter().any(|(_, items)| !items.is_empty()) {
        turns.extend(kinds.iter_mut().filter_map(|(_, items)| items.pop_front()));
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_the_first_address_stays_first() {
        let turns = |addresses: &[&'static str]| {
            let turns = in_turns(addresses.iter().copied(), |address| address.starts_with("six"));
            Vec::from(turns)
        };
        assert_eq!(turns(&["six a", "six b", "six c", "four a"]), ["six a", "four a", "six b", "six c"]);
        assert_eq!(turns(&["four a", "six a", "six b", "four b"]), ["four a", "six a", "four b", "six b"]);
        assert_eq!(turns(&["four a", "four b"]), ["four a", "four b"]);
        assert!(turns(&[]).is_empty());
    }
}
