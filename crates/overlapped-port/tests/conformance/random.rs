//! Thousands of random operations on streams, pipes and files, against a model that knows what each must bring.
//!
//! A stream's bytes are a function of their position: a receiver that knows how many came before knows every byte. Each
//! direction has at most one send and one receive in flight, each file one operation; any of them may be cancelled at
//! any time. Timers, posts and calls go on beside them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use overlapped_port::sys::{MSG_WAITALL, OwnedFile, raw_file, raw_socket};
use overlapped_port::{Config, Op, Outcome, TimerId};

use crate::driver::{Driver, Flight, OWN, assert_cancelled, bytes_at, count};
use crate::loopback::pair;
use crate::messages::Incoming;
use crate::system;

crate::on_every_backend!(random_operations_do_what_the_model_says, random_operations_on_a_small_port);

const STEPS: usize = 4_000;

fn random_operations_do_what_the_model_says(config: Config) {
    run(config.buffers(4, 256));
}

fn random_operations_on_a_small_port(config: Config) {
    run(config.capacity(8).threads(2).buffers(1, 100));
}

/// Prints the seed of a run that fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay this run with OVERLAPPED_SEED={}", self.0);
        }
    }
}

fn run(config: Config) {
    let chosen = std::env::var("OVERLAPPED_SEED").ok();
    let seed = Seed(chosen.map_or_else(|| fastrand::u64(..1 << 32), |seed| seed.parse().expect("a number")));
    let mut world = World::new(config, Rng::with_seed(seed.0));
    for _ in 0..STEPS {
        world.step();
    }
    world.finish();
}

/// What carries the bytes of one direction. A closed writer is `None`.
enum Carrier {
    Socket { sender: Rc<TcpStream>, receiver: Rc<TcpStream> },
    Pipe { reader: OwnedFile, writer: Option<OwnedFile> },
}

enum Receive {
    Plain(Flight<Vec<u8>>),
    Message(Flight<Incoming>),
    Provided(Flight),
    Multishot(Flight),
}

struct Direction {
    carrier: Carrier,
    stream: u64,
    /// Bytes that the system took, as far as it has told.
    sent: usize,
    received: usize,
    send: Option<Flight<Vec<u8>>>,
    send_cancelled: bool,
    receive: Option<Receive>,
    receive_cancelled: bool,
    closed: bool,
    ended: bool,
}

impl Direction {
    fn new(carrier: Carrier, stream: u64) -> Direction {
        Direction {
            carrier,
            stream,
            sent: 0,
            received: 0,
            send: None,
            send_cancelled: false,
            receive: None,
            receive_cancelled: false,
            closed: false,
            ended: false,
        }
    }

    fn begin_send(&mut self, driver: &mut Driver, random: &mut Rng) {
        if self.send.is_some() || self.closed {
            return;
        }
        let length = if random.u8(..16) == 0 { 200_000 } else { random.usize(1..3_000) };
        let bytes = bytes_at(self.stream, self.sent, length);
        self.send_cancelled = false;
        self.send = Some(match &self.carrier {
            Carrier::Socket { sender, .. } => driver.begin_send(raw_socket(&**sender), bytes, random.bool()),
            Carrier::Pipe { writer, .. } => {
                driver.begin_write(raw_file(writer.as_ref().expect("it is not closed")), bytes, None)
            }
        });
    }

    fn begin_receive(&mut self, driver: &mut Driver, random: &mut Rng) {
        if self.receive.is_some() || self.ended {
            return;
        }
        let room = random.usize(1..4_000);
        self.receive_cancelled = false;
        self.receive = Some(match &self.carrier {
            Carrier::Socket { receiver, .. } => {
                let socket = raw_socket(&**receiver);
                match random.u8(..5) {
                    0 => Receive::Plain(driver.begin_recv(socket, room, 0)),
                    1 => Receive::Plain(driver.begin_recv(socket, room, MSG_WAITALL)),
                    2 => Receive::Message(driver.begin_recv_message(socket, &[room, room], 0, 0)),
                    3 => Receive::Provided(driver.begin_recv_provided(socket, room)),
                    _ => Receive::Multishot(driver.begin(Op::RecvMultishot { socket })),
                }
            }
            Carrier::Pipe { reader, .. } => Receive::Plain(driver.begin_read(raw_file(reader), room, None)),
        });
    }

    fn cancel(&mut self, driver: &mut Driver, random: &mut Rng) {
        if random.bool() {
            self.cancel_receive(driver);
        } else if let Some(send) = self.send
            && (system::CANCELLED_PIPE_WRITES_TELL || matches!(self.carrier, Carrier::Socket { .. }))
        {
            self.send_cancelled = true;
            driver.cancel(send);
        }
    }

    fn cancel_receive(&mut self, driver: &mut Driver) {
        self.receive_cancelled |= self.receive.is_some();
        match self.receive {
            Some(Receive::Plain(receive)) => driver.cancel(receive),
            Some(Receive::Message(receive)) => driver.cancel(receive),
            Some(Receive::Provided(receive) | Receive::Multishot(receive)) => driver.cancel(receive),
            None => {}
        }
    }

    /// Ends the stream, where no send is in flight.
    fn close(&mut self) {
        if self.send.is_some() || self.closed {
            return;
        }
        self.closed = true;
        match &mut self.carrier {
            Carrier::Socket { sender, .. } => {
                sender.shutdown(Shutdown::Write).unwrap();
            }
            Carrier::Pipe { writer, .. } => *writer = None,
        }
    }

    /// Takes over what has come.
    fn settle(&mut self, driver: &mut Driver) {
        if let Some(send) = self.send
            && driver.has_ended(send)
        {
            self.send = None;
            let (result, bytes) = driver.finish(send);
            match result {
                Ok(outcome) => {
                    let taken = count(outcome);
                    assert!((1..=bytes.len()).contains(&taken), "{taken} of {} bytes were sent", bytes.len());
                    self.sent += taken;
                }
                Err(_) => {
                    assert!(self.send_cancelled, "{result:?}");
                    assert_cancelled(&result);
                }
            }
        }
        match self.receive {
            Some(Receive::Plain(receive)) if driver.has_ended(receive) => {
                let result = driver.received(receive);
                self.take(result, true);
            }
            Some(Receive::Message(receive)) if driver.has_ended(receive) => {
                let result = driver.received_message(receive).map(|message| message.bytes());
                self.take(result, true);
            }
            Some(Receive::Provided(receive)) if driver.has_ended(receive) => {
                let result = driver.finish(receive).0.map(|outcome| driver.provided(outcome));
                self.take(result, true);
            }
            Some(Receive::Multishot(receive)) => {
                while let Some(completion) = driver.arrived(receive) {
                    let result = completion.result.map(|outcome: Outcome| driver.provided(outcome));
                    self.take(result, !completion.more);
                    if !completion.more {
                        break;
                    }
                }
            }
            _ => {}
        }
    }

    fn take(&mut self, result: io::Result<Vec<u8>>, last: bool) {
        match result {
            Ok(bytes) if bytes.is_empty() => {
                assert!(self.closed && last, "an end that nobody made");
                self.ended = true;
            }
            Ok(bytes) => {
                let wanted = bytes_at(self.stream, self.received, bytes.len());
                assert!(bytes == wanted, "stream {} at {}", self.stream, self.received);
                self.received += bytes.len();
            }
            Err(error) => {
                assert!(self.receive_cancelled && last, "{error}");
                assert_eq!(error.raw_os_error(), Some(system::CANCELLED), "{error}");
            }
        }
        if last {
            self.receive = None;
        }
    }
}

/// What is in flight on a file.
enum Access {
    Read(Flight<Vec<u8>>, usize),
    Write(Flight<Vec<u8>>, usize),
}

struct Document {
    file: File,
    model: Vec<u8>,
    access: Option<(Access, bool)>,
}

impl Document {
    fn begin(&mut self, driver: &mut Driver, random: &mut Rng) {
        if self.access.is_some() {
            return;
        }
        let (at, length) = (random.usize(..20_000), random.usize(1..5_000));
        let file = raw_file(&self.file);
        let access = if random.bool() {
            Access::Read(driver.begin_read(file, length, Some(at as u64)), at)
        } else {
            let bytes = (0..length).map(|_| random.u8(..)).collect();
            Access::Write(driver.begin_write(file, bytes, Some(at as u64)), at)
        };
        self.access = Some((access, false));
    }

    fn cancel(&mut self, driver: &mut Driver) {
        if let Some((access, cancelled)) = &mut self.access {
            *cancelled = true;
            match access {
                Access::Read(flight, _) | Access::Write(flight, _) => driver.cancel(*flight),
            }
        }
    }

    fn settle(&mut self, driver: &mut Driver) {
        let Some((Access::Read(flight, at) | Access::Write(flight, at), cancelled)) = self.access else { return };
        if !driver.has_ended(flight) {
            return;
        }
        let reads = matches!(self.access, Some((Access::Read(..), _)));
        self.access = None;
        let (result, bytes) = driver.finish(flight);
        let length = match result {
            Ok(outcome) => count(outcome),
            Err(_) => {
                assert!(cancelled, "{result:?}");
                assert_cancelled(&result);
                return;
            }
        };
        let end = at + length;
        if reads {
            let there = self.model.len().saturating_sub(at).min(bytes.len());
            assert!(length == there, "{length} bytes at {at} of {}", self.model.len());
            assert!(bytes[..length] == *self.model.get(at..end).unwrap_or_default(), "bytes at {at}");
        } else {
            self.model.resize(self.model.len().max(end), 0);
            self.model[at..end].copy_from_slice(&bytes[..length]);
        }
    }
}

struct World {
    driver: Driver,
    random: Rng,
    directions: Vec<Direction>,
    documents: Vec<Document>,
    streams: u64,
    calls: Vec<(Flight, usize, bool)>,
    timers: BTreeSet<(TimerId, u64)>,
    /// Tokens of timers and posts that have to come.
    awaited: BTreeSet<u64>,
    next: u64,
}

impl World {
    fn new(config: Config, random: Rng) -> World {
        let mut world = World {
            driver: Driver::new(config),
            random,
            directions: Vec::new(),
            documents: Vec::new(),
            streams: 0,
            calls: Vec::new(),
            timers: BTreeSet::new(),
            awaited: BTreeSet::new(),
            next: OWN,
        };
        (0..4).for_each(|_| world.add_directions());
        for _ in 0..3 {
            let file = system::file_with(b"");
            world.documents.push(Document { file, model: Vec::new(), access: None });
        }
        world
    }

    /// Adds a pair of sockets, both ways, and a pipe where there are any.
    fn add_directions(&mut self) {
        let (left, right) = pair();
        let (left, right) = (Rc::new(left), Rc::new(right));
        let there = Carrier::Socket { sender: Rc::clone(&left), receiver: Rc::clone(&right) };
        let back = Carrier::Socket { sender: right, receiver: left };
        let pipe = system::pipe().map(|(reader, writer)| Carrier::Pipe { reader, writer: Some(writer) });
        for carrier in [there, back].into_iter().chain(pipe) {
            self.streams += 1;
            self.directions.push(Direction::new(carrier, self.streams));
        }
    }

    fn step(&mut self) {
        let World { driver, random, directions, documents, .. } = self;
        let direction = random.usize(..directions.len());
        let direction = &mut directions[direction];
        let document = random.usize(..documents.len());
        let document = &mut documents[document];
        match random.u8(..100) {
            0..25 => direction.begin_send(driver, random),
            25..55 => direction.begin_receive(driver, random),
            55..65 => direction.cancel(driver, random),
            65..66 => direction.close(),
            66..76 => document.begin(driver, random),
            76..78 => document.cancel(driver),
            78..84 => self.beside(),
            _ => {
                let timeout = Duration::from_micros(random.u64(..200));
                driver.turn(timeout);
                self.settle();
            }
        }
    }

    /// A timer, a post or a call.
    fn beside(&mut self) {
        match self.random.u8(..4) {
            0 => {
                self.next += 1;
                let deadline = Instant::now() + Duration::from_micros(self.random.u64(..2_000));
                let timer = self.driver.port().set_timer(deadline, self.next);
                self.timers.insert((timer, self.next));
                self.awaited.insert(self.next);
            }
            1 => {
                let Some((timer, token)) = self.timers.pop_first() else { return };
                if self.driver.port().clear_timer(timer) {
                    assert!(self.awaited.remove(&token), "a timer came and could be cleared");
                }
            }
            2 => {
                self.next += 1;
                self.driver.port().waker().post(self.next);
                self.awaited.insert(self.next);
            }
            _ => {
                let value = self.random.usize(..1 << 20);
                let call = self.driver.begin_call(move || Ok(value));
                let cancelled = self.random.bool();
                if cancelled {
                    self.driver.cancel(call);
                }
                self.calls.push((call, value, cancelled));
            }
        }
    }

    fn settle(&mut self) {
        let driver = &mut self.driver;
        self.directions.iter_mut().for_each(|direction| direction.settle(driver));
        self.documents.iter_mut().for_each(|document| document.settle(driver));
        self.calls.retain(|(call, value, cancelled)| {
            if !driver.has_ended(*call) {
                return true;
            }
            match driver.counted(*call) {
                Ok(count) => assert_eq!(count, *value),
                Err(error) => assert!(*cancelled && error.raw_os_error() == Some(system::CANCELLED), "{error}"),
            }
            false
        });
        for token in driver.own_tokens() {
            assert!(self.awaited.remove(&token), "nobody waits for {token}");
        }
        self.directions.retain(|direction| {
            let over = direction.ended && direction.receive.is_none() && direction.send.is_none();
            if over {
                assert_eq!(direction.received, direction.sent, "of stream {}", direction.stream);
            }
            !over
        });
        if self.directions.len() < 6 {
            self.add_directions();
        }
    }

    /// Ends every stream, receives what is left, and compares the files with their models.
    fn finish(mut self) {
        let streams = self.streams;
        let deadline = Instant::now() + crate::patience::patience();
        let old = |direction: &Direction| direction.stream <= streams;
        while self.directions.iter().any(old) || !self.awaited.is_empty() || !self.calls.is_empty() {
            let report = self.driver.port().report();
            assert!(Instant::now() < deadline, "streams {:?} do not end\n{report}", self.streams_left());
            let World { driver, random, directions, .. } = &mut self;
            for direction in directions.iter_mut().filter(|direction| old(direction)) {
                direction.close();
                direction.begin_receive(driver, random);
                // On a small port receives may fill it, and wait for bytes of sends that are held back.
                if random.u8(..8) == 0 {
                    direction.cancel_receive(driver);
                }
            }
            self.driver.turn(Duration::from_millis(1));
            self.settle();
        }
        for document in &mut self.documents {
            let driver = &mut self.driver;
            driver.until("the file's operation", |driver| {
                document.settle(driver);
                document.access.is_none()
            });
            let content = driver.read(raw_file(&document.file), 1 << 20, Some(0)).unwrap();
            assert!(content == document.model, "a file is not what was written");
        }
        let counters = self.driver.port().report().counters;
        assert_eq!(counters.submitted, counters.completed);
    }

    fn streams_left(&self) -> Vec<(u64, usize, usize)> {
        self.directions.iter().map(|direction| (direction.stream, direction.sent, direction.received)).collect()
    }
}
