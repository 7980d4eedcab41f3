//! The load generator: `load ADDRESS CONNECTIONS SIZE [SECONDS] [WARM_UP_SECONDS] [DEPTH] [PACE_MS] [DIALECT]`.
//!
//! Connects to an echo server, a port of loopback or the path of a Unix socket, then each connection keeps exactly DEPTH
//! requests of SIZE bytes in flight. Every reply is compared with what was sent, byte for byte; each request carries a
//! stamp of its connection and number, so that a late or misled reply does not pass, and is a line, so that a server may
//! read it as one. What replies that came together have made room for goes out as one message. One thread and one ring; a
//! turn's sends enter the kernel together.
//!
//! In the DIALECT `http1` or `http2` it asks a server of HTTP for a page instead, and SIZE says nothing.
//!
//! With a PACE each connection asks once in so many milliseconds, all evenly spread, and what is measured is how long the
//! answers take: each from the time at which its request was due, so that a server which is late is not asked less for it.
//!
//! Talks to the runner by lines: prints `ready` when all connections have had their first reply, waits for a line on
//! stdin, runs until SECONDS have passed, prints `{"requests": …, "seconds": …}` once nothing is in flight, with a PACE
//! also `p50_us`, `p99_us` and `most_us`, and keeps its connections until stdin closes. A server that is silent for five
//! seconds, or ends a connection, ends it with an error.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use overlapped_benches::load::dialect::Dialect;
use overlapped_benches::load::{SILENCE, answered, silent, wait, wait_at_most, when_told};
use overlapped_benches::{argument, ring};

/// So many connections are opened before their first replies are waited for: fewer than any server's backlog holds.
const AT_ONCE: usize = 64;
/// Marks the completion of a send, which comes only where it failed.
const SEND: u64 = 1 << 32;

struct Connection {
    socket: File,
    dialect: Dialect,
    size: usize,
    /// The requests in flight, each in its slot, side by side.
    messages: Box<[u8]>,
    requests: u64,
}

impl Connection {
    fn open(number: u32, address: &str, size: usize, depth: usize, dialect: &str) -> Result<Self, Box<dyn Error>> {
        let socket: OwnedFd = if let Ok(port) = address.parse() {
            let stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(SILENCE))?;
            stream.into()
        } else {
            let stream = UnixStream::connect(address)?;
            stream.set_read_timeout(Some(SILENCE))?;
            stream.into()
        };
        let dialect = Dialect::of(dialect, depth)?;
        let size = dialect.size(size);
        if size * depth > 1 << 16 {
            // Sends that find the socket full are finished by the kernel in an order of its own.
            return Err("more than 64 KiB of requests in flight on a connection".into());
        }
        let messages = vec![0; size * depth].into();
        let mut connection = Self { socket: socket.into(), dialect, size, messages, requests: 0 };
        connection.ask(number, 0);
        let greeting = connection.dialect.greeting();
        connection.socket.write_all(&[&greeting, &connection.messages[..size]].concat())?;
        Ok(connection)
    }

    fn first_reply(&mut self, number: u32) -> Result<(), Box<dyn Error>> {
        let mut piece = vec![0; 1 << 16];
        loop {
            let length = self.socket.read(&mut piece)?;
            if length == 0 {
                return Err(format!("connection {number}: the server ended it").into());
            }
            if !self.takes(number, &piece[..length])?.is_empty() {
                return Ok(self.socket.write_all(&self.dialect.acknowledgement())?);
            }
        }
    }

    /// Puts a new request into a slot.
    fn ask(&mut self, number: u32, slot: usize) {
        self.requests += 1;
        let message = &mut self.messages[slot * self.size..(slot + 1) * self.size];
        self.dialect.ask(slot, message, number, self.requests);
    }

    /// Takes a piece of the replies in, and gives the slots that were answered with it.
    fn takes(&mut self, number: u32, piece: &[u8]) -> Result<Vec<usize>, Box<dyn Error>> {
        let whole = self.dialect.take(piece, &self.messages, self.size);
        whole.map_err(|error| format!("connection {number}: {error}").into())
    }
}

struct Load {
    ring: IoUring,
    buffers: ring::Buffers,
    connections: Vec<Connection>,
    in_flight: usize,
}

impl Load {
    fn over(connections: Vec<Connection>, at_once: usize) -> io::Result<Self> {
        let ring = ring::new(1024)?;
        let count = (connections.len() * 2).next_power_of_two().min(1 << 15);
        let buffers = ring::Buffers::register(&ring, count as u16, at_once.max(4096))?;
        let mut load = Self { ring, buffers, connections, in_flight: 0 };
        for number in 0..load.connections.len() {
            load.receive(number)?;
        }
        Ok(load)
    }

    fn receive(&mut self, number: usize) -> io::Result<()> {
        let socket = types::Fd(self.connections[number].socket.as_raw_fd());
        let entry = opcode::RecvMulti::new(socket, ring::GROUP).build().user_data(number as u64);
        // SAFETY: the entry points to no memory; its buffers are the registered ones.
        unsafe { ring::push(&mut self.ring, &entry) }
    }

    /// Sends new requests in neighbouring slots, as one message.
    fn send(&mut self, number: usize, slots: Range<usize>) -> io::Result<()> {
        self.in_flight += slots.len();
        let connection = &mut self.connections[number];
        let bytes = slots.start * connection.size..slots.end * connection.size;
        slots.for_each(|slot| connection.ask(number as u32, slot));
        let bytes = &connection.messages[bytes];
        let entry = opcode::Send::new(types::Fd(connection.socket.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(number as u64 | SEND);
        // SAFETY: a request is not touched before its whole reply has come, which cannot be before it was sent.
        unsafe { ring::push(&mut self.ring, &entry) }
    }

    /// Keeps the requests in flight until `longest` has passed, then waits for the last replies. Gives how many were
    /// answered, and in which time.
    fn exchange(&mut self, longest: Duration) -> Result<(u64, Duration), Box<dyn Error>> {
        let mut answered = 0;
        let began = Instant::now();
        for number in 0..self.connections.len() {
            let connection = &mut self.connections[number];
            connection.dialect.begin();
            let slots = connection.messages.len() / connection.size;
            self.send(number, 0..slots)?;
        }
        let mut completions: Vec<cqueue::Entry> = Vec::with_capacity(4096);
        while self.in_flight > 0 {
            wait(&mut self.ring, self.in_flight)?;
            let more = began.elapsed() < longest;
            completions.extend(self.ring.completion());
            for completion in completions.drain(..) {
                let slots = self.complete(&completion)?;
                answered += slots.len() as u64;
                if more {
                    for run in slots.chunk_by(|slot, next| slot + 1 == *next) {
                        self.send(completion.user_data() as usize, run[0]..run[0] + run.len())?;
                    }
                }
            }
        }
        Ok((answered, began.elapsed()))
    }

    /// Has each connection ask once in each `pace` until `longest` has passed, and gives how long the answers took.
    fn pace(&mut self, longest: Duration, pace: Duration) -> Result<Vec<Duration>, Box<dyn Error>> {
        let (began, count) = (Instant::now(), self.connections.len() as u32);
        let mut due: BinaryHeap<_> =
            (0..count).map(|number| Reverse((began + pace * number / count, number))).collect();
        let mut asked = vec![began; self.connections.len()];
        let mut took = Vec::with_capacity(1 << 16);
        let mut completions: Vec<cqueue::Entry> = Vec::with_capacity(4096);
        let mut heard = began;
        loop {
            let now = Instant::now();
            if now - began >= longest {
                due.clear();
            }
            while let Some(Reverse((time, number))) = due.peek().copied().filter(|Reverse((time, _))| *time <= now) {
                due.pop();
                asked[number as usize] = time;
                self.send(number as usize, 0..1)?;
            }
            if due.is_empty() && self.in_flight == 0 {
                return Ok(took);
            }
            let next = due.peek().map_or(SILENCE, |Reverse((time, _))| time.saturating_duration_since(now));
            if wait_at_most(&mut self.ring, next)? {
                heard = Instant::now();
            } else if self.in_flight > 0 && heard.elapsed() > SILENCE {
                return Err(silent(self.in_flight));
            }
            completions.extend(self.ring.completion());
            for completion in completions.drain(..) {
                if !self.complete(&completion)?.is_empty() {
                    let number = completion.user_data() as usize;
                    took.push(heard - asked[number]);
                    due.push(Reverse((asked[number] + pace, number as u32)));
                }
            }
        }
    }

    /// Takes a completion in, and gives the slots whose replies it ended.
    fn complete(&mut self, completion: &cqueue::Entry) -> Result<Vec<usize>, Box<dyn Error>> {
        let number = (completion.user_data() & !SEND) as usize;
        if completion.user_data() & SEND != 0 {
            let error = io::Error::from_raw_os_error(-completion.result());
            return Err(format!("connection {number}: a send failed: {error}").into());
        }
        let result = completion.result();
        if !cqueue::more(completion.flags()) && (result > 0 || result == -libc::ENOBUFS) {
            self.receive(number)?;
        }
        let length = match result {
            0 => return Err(format!("connection {number}: the server ended it").into()),
            _ if result == -libc::ENOBUFS => return Ok(Vec::new()),
            ..0 => {
                let error = io::Error::from_raw_os_error(-result);
                return Err(format!("connection {number}: a receive failed: {error}").into());
            }
            1.. => result as usize,
        };
        let id = cqueue::buffer_select(completion.flags()).ok_or("a receive without a buffer")?;
        let whole = self.connections[number].takes(number as u32, self.buffers.bytes(id, length))?;
        self.in_flight -= whole.len();
        self.buffers.give_back(id);
        Ok(whole)
    }
}

/// What a paced load has found, as the runner wants it.
fn latencies(mut took: Vec<Duration>, seconds: f64) -> Result<String, Box<dyn Error>> {
    took.sort_unstable();
    let at = |part: f64| took.get((took.len() as f64 * part) as usize).or(took.last()).map(Duration::as_micros);
    let (Some(p50), Some(p99), Some(most)) = (at(0.5), at(0.99), at(1.0)) else { return Err("no answer".into()) };
    let requests = took.len();
    Ok(format!(
        r#"{{"requests": {requests}, "seconds": {seconds:.6}, "p50_us": {p50}, "p99_us": {p99}, "most_us": {most}}}"#
    ))
}

fn main() -> Result<(), Box<dyn Error>> {
    let (address, count, size): (String, u32, usize) = (argument(1, String::new()), argument(2, 1), argument(3, 64));
    let (seconds, warm_up, depth): (f64, f64, usize) = (argument(4, 1.0), argument(5, 0.0), argument(6, 1));
    let (pace, dialect) = (Duration::from_millis(argument(7, 0)), argument(8, "echo".to_owned()));
    let mut connections = Vec::new();
    for some in (0..count).collect::<Vec<_>>().chunks(AT_ONCE) {
        for &number in some {
            connections.push(Connection::open(number, &address, size, depth, &dialect)?);
        }
        for &number in some {
            connections[number as usize].first_reply(number)?;
        }
    }
    let mut load = Load::over(connections, size * depth)?;
    if warm_up > 0.0 {
        load.exchange(Duration::from_secs_f64(warm_up))?;
    }
    let time = Duration::from_secs_f64(seconds);
    if pace.is_zero() {
        return when_told(|| load.exchange(time).map(answered));
    }
    if depth > 1 {
        return Err("a connection that asks at a pace has one request in flight".into());
    }
    when_told(|| latencies(load.pace(time, pace)?, seconds))
}
