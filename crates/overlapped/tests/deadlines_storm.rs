//! A storm of deadlines in one another, shields, kills, and values on their way: nothing is in flight in the end, no
//! tasklet is left, no value is lost or doubled, and a deadline that fires says that it was it, and no other.

mod support;

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use overlapped::net::{TcpListener, TcpStream};
use overlapped::{
    Channel, Deadline, Event, Queue, ReceiveError, SendError, engine, first_of, is_cancelled, shield, sleep, spawn,
    uncancellable,
};
use support::storms;

/// What all tasklets of a storm have in common.
struct Storm {
    random: RefCell<fastrand::Rng>,
    channel: Channel<u32>,
    queue: Queue<u32>,
    never: Event,
    /// Bytes go in at one end and come out at the other, one after the other.
    stream: (TcpStream, TcpStream),
    next: Cell<u32>,
    given: RefCell<Vec<u32>>,
    taken: RefCell<Vec<u32>>,
    bytes: Cell<(usize, usize)>,
    fired: Cell<usize>,
}

/// Where a wait is: in which deadlines, and whether a kill is told there.
#[derive(Clone, Copy)]
struct Place<'a> {
    within: Option<&'a Within<'a>>,
    is_killed: bool,
}

const SHELTERED: Place<'static> = Place { within: None, is_killed: false };

/// A deadline that runs, and what waits were told of it.
struct Within<'a> {
    deadline: &'a Deadline,
    told: &'a Told,
    outer: Option<&'a Within<'a>>,
}

#[derive(Default)]
struct Told {
    surely: Cell<bool>,
    /// A wait was told that has no place for which deadline it was.
    perhaps: Cell<bool>,
}

impl<'a> Place<'a> {
    fn deadlines(self) -> impl Iterator<Item = &'a Within<'a>> {
        std::iter::successors(self.within, |within| within.outer)
    }

    /// A wait said this: it is of the kill, or of one deadline round the wait, whose time is up.
    fn note(self, error: &io::Error) {
        let of: Vec<_> = self.deadlines().filter(|within| within.deadline.is_of(error)).collect();
        if is_cancelled(error) {
            assert!(self.is_killed && of.is_empty(), "a kill is told where there is shelter: {error}");
            return;
        }
        assert_eq!(of.len(), 1, "it is of one deadline: {error}");
        assert!(of[0].deadline.remaining().is_zero());
        of[0].told.surely.set(true);
    }

    /// A wait was told without a word of what.
    fn note_something(self) {
        self.deadlines().for_each(|within| within.told.perhaps.set(true));
    }
}

/// A wait that unwinds was told.
struct Unwinds<'a>(Place<'a>);

impl Drop for Unwinds<'_> {
    fn drop(&mut self) {
        self.0.note_something();
    }
}

impl Storm {
    fn chance(&self, of: u32) -> u32 {
        self.random.borrow_mut().u32(..of)
    }

    fn number(&self) -> u32 {
        self.next.replace(self.next.get() + 1)
    }

    fn gave(&self, number: u32, outcome: Result<(), SendError<u32>>, place: Place<'_>) {
        match outcome {
            Ok(()) => self.given.borrow_mut().push(number),
            Err(SendError::Interrupted(back)) if back == number => place.note_something(),
            Err(other) => panic!("{other:?} of {number}"),
        }
    }

    fn took(&self, outcome: Result<u32, ReceiveError>, place: Place<'_>) {
        match outcome {
            Ok(number) => self.taken.borrow_mut().push(number),
            Err(ReceiveError::Interrupted) => place.note_something(),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn moved(
        &self,
        outcome: io::Result<usize>,
        count: impl FnOnce((usize, usize), usize) -> (usize, usize),
        place: Place<'_>,
    ) {
        match outcome {
            Ok(bytes) => self.bytes.set(count(self.bytes.get(), bytes)),
            Err(error) => place.note(&error),
        }
    }

    /// One wait; what it gives or takes is noted where it has.
    fn wait(&self, place: Place<'_>) {
        let short = Duration::from_micros(self.random.borrow_mut().u64(..500));
        match self.chance(9) {
            0 => {
                let number = self.number();
                self.gave(number, self.channel.send(number), place);
            }
            1 => self.took(self.channel.receive(), place),
            2 => {
                let number = self.number();
                self.gave(number, self.queue.put(number), place);
            }
            3 => self.took(self.queue.get(), place),
            4 => {
                let (mut received, mut got, mut never) =
                    (self.channel.receiving(), self.queue.getting(), self.never.waiting());
                match first_of(&mut [&mut never, &mut received, &mut got]) {
                    Ok(first) => self.took([None, received.take(), got.take()][first].unwrap(), place),
                    Err(error) => place.note(&error),
                }
            }
            5 => self.moved((&self.stream.0).write(b"x"), |(given, taken), bytes| (given + bytes, taken), place),
            6 => self.moved((&self.stream.1).read(&mut [0; 3]), |(given, taken), bytes| (given, taken + bytes), place),
            // These have no result to be told by.
            wait => {
                let unwinds = Unwinds(place);
                if wait == 7 {
                    sleep(short);
                } else {
                    let _ = self.never.wait_timeout(short);
                }
                std::mem::forget(unwinds);
            }
        }
    }

    /// Waits, within so many deadlines more; here and there sheltered from those outside, and from kills.
    fn nest(self: &Rc<Self>, depth: u32, place: Place<'_>) {
        if depth == 0 {
            (0..self.chance(4)).for_each(|_| self.wait(place));
            return;
        }
        for _ in 0..=self.chance(2) {
            match self.chance(8) {
                0 => uncancellable(|| self.limit(depth, SHELTERED)),
                1 => {
                    let this = Rc::clone(self);
                    shield(move || this.limit(depth, SHELTERED));
                }
                _ => self.limit(depth, place),
            }
        }
    }

    fn limit(self: &Rc<Self>, depth: u32, place: Place<'_>) {
        let limit = Duration::from_micros([200, 1_000, 3_000][self.chance(3) as usize]);
        let told = Told::default();
        let ended = Deadline::run(limit, |deadline| {
            let within = Within { deadline, told: &told, outer: place.within };
            self.nest(depth - 1, Place { within: Some(&within), ..place });
        });
        match ended {
            Err(elapsed) => {
                assert!(told.surely.get() || told.perhaps.get(), "it says that it has fired, and has told nobody");
                assert_eq!(elapsed.to_string(), format!("timed out after {limit:?}"));
                self.fired.set(self.fired.get() + 1);
            }
            Ok(()) => assert!(!told.surely.get(), "it has told a wait, and says that it has not fired"),
        }
    }
}

/// Both ends of a connection.
fn connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    Ok((client, listener.accept()?.0))
}

#[test]
fn of_deadlines_in_one_another_shields_and_kills_nothing_is_left_lost_or_doubled() {
    let fired = Cell::new(0);
    storms(20, |random| {
        let storm = Rc::new(Storm {
            random: RefCell::new(random.fork()),
            channel: Channel::new(),
            queue: Queue::bounded(2),
            never: Event::new(),
            stream: connection().unwrap(),
            next: Cell::new(0),
            given: RefCell::default(),
            taken: RefCell::default(),
            bytes: Cell::default(),
            fired: Cell::new(0),
        });
        let tasklets: Vec<_> = (0..8)
            .map(|_| {
                let storm = Rc::clone(&storm);
                spawn(move || (0..6).for_each(|_| storm.nest(3, Place { within: None, is_killed: true })))
            })
            .collect();
        while tasklets.iter().any(|tasklet| !tasklet.is_finished()) {
            sleep(Duration::from_micros(300));
            if random.u32(..3) == 0 {
                tasklets[random.usize(..tasklets.len())].cancel();
            }
        }
        for tasklet in tasklets {
            if let Err(error) = tasklet.join() {
                assert!(error.is_cancelled(), "{error}");
            }
        }
        assert_eq!(storm.channel.balance(), 0);
        let (mut given, mut taken) = (storm.given.take(), storm.taken.take());
        taken.extend(std::iter::from_fn(|| storm.queue.try_get().ok()));
        given.sort_unstable();
        taken.sort_unstable();
        assert_eq!(given, taken, "no value is lost, and none is there twice");
        storm.stream.0.shutdown(Shutdown::Write).unwrap();
        let (sent, received) = storm.bytes.get();
        let left = (&storm.stream.1).read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(sent, received + left, "no byte is lost");
        assert_eq!(engine::current().unwrap().in_flight(), 0);
        fired.set(fired.get() + storm.fired.get());
    });
    assert!(fired.get() > 0);
}
