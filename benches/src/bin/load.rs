//! The load generator: `load PORT CONNECTIONS SIZE SECONDS [WARM_UP_SECONDS] [REQUESTS]`.
//!
//! Connects to an echo server on loopback, then each connection keeps exactly one request of SIZE bytes in flight. Every
//! reply is compared with what was sent, byte for byte; each request carries a stamp of its connection and number, so
//! that a late or misled reply does not pass. One thread and one ring; a turn's sends enter the kernel together.
//!
//! Talks to the runner by lines: prints `ready` when all connections have had their first reply, waits for a line on
//! stdin, runs until SECONDS have passed or REQUESTS are answered, prints `{"requests": …, "seconds": …}` once nothing is
//! in flight, and keeps its connections until stdin closes. A server that is silent for five seconds ends it with an error.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use overlapped_benches::{argument, ring};

const SILENCE: Duration = Duration::from_secs(5);
/// Marks the completion of a send, which comes only where it failed.
const SEND: u64 = 1 << 32;

struct Connection {
    stream: TcpStream,
    message: Box<[u8]>,
    requests: u64,
    /// How much of the reply has come; equal to the size when nothing is in flight.
    answered: usize,
}

impl Connection {
    fn open(number: u32, port: u16, size: usize) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE))?;
        let message: Box<[u8]> = (0..size).map(|at| (at as u32 ^ number) as u8).collect();
        let mut connection = Self { stream, message, requests: 0, answered: size };
        connection.stamp(number);
        (&connection.stream).write_all(&connection.message)?;
        let mut reply = vec![0; size];
        (&connection.stream).read_exact(&mut reply)?;
        if reply != *connection.message {
            return Err(io::Error::other(format!("connection {number}: the first reply is not what was sent")));
        }
        Ok(connection)
    }

    /// Makes the message a new one: its number and its connection's at both ends.
    fn stamp(&mut self, number: u32) {
        self.requests += 1;
        let stamp = (u64::from(number) << 40 | self.requests).to_le_bytes();
        let length = stamp.len().min(self.message.len());
        let tail = self.message.len() - length;
        self.message[..length].copy_from_slice(&stamp[..length]);
        self.message[tail..].copy_from_slice(&stamp[..length]);
    }
}

struct Load {
    ring: IoUring,
    buffers: ring::Buffers,
    connections: Vec<Connection>,
    in_flight: usize,
}

impl Load {
    fn over(connections: Vec<Connection>, size: usize) -> io::Result<Self> {
        let ring = ring::new(1024)?;
        let count = (connections.len() * 2).next_power_of_two().min(1 << 15);
        let buffers = ring::Buffers::register(&ring, count as u16, size.max(64))?;
        let mut load = Self { ring, buffers, connections, in_flight: 0 };
        for number in 0..load.connections.len() {
            load.receive(number)?;
        }
        Ok(load)
    }

    fn receive(&mut self, number: usize) -> io::Result<()> {
        let socket = types::Fd(self.connections[number].stream.as_raw_fd());
        let entry = opcode::RecvMulti::new(socket, ring::GROUP).build().user_data(number as u64);
        // SAFETY: the entry points to no memory; its buffers are the registered ones.
        unsafe { ring::push(&mut self.ring, &entry) }
    }

    fn send(&mut self, number: usize) -> io::Result<()> {
        let connection = &mut self.connections[number];
        connection.stamp(number as u32);
        connection.answered = 0;
        let (address, length) = (connection.message.as_ptr(), connection.message.len() as u32);
        let entry = opcode::Send::new(types::Fd(connection.stream.as_raw_fd()), address, length)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(number as u64 | SEND);
        self.in_flight += 1;
        // SAFETY: the message is not touched before its whole reply has come, which cannot be before it was sent.
        unsafe { ring::push(&mut self.ring, &entry) }
    }

    /// Keeps a request in flight on each connection until `longest` has passed or `most` were answered, then waits for
    /// the last replies. Gives how many were answered, and in which time.
    fn exchange(&mut self, longest: Duration, most: u64) -> Result<(u64, Duration), Box<dyn Error>> {
        let mut asked = (self.connections.len() as u64).min(most);
        let mut answered = 0;
        let began = Instant::now();
        for number in 0..asked as usize {
            self.send(number)?;
        }
        let mut completions: Vec<cqueue::Entry> = Vec::with_capacity(4096);
        let silence = types::Timespec::from(SILENCE);
        let wait = types::SubmitArgs::new().timespec(&silence);
        while self.in_flight > 0 {
            match self.ring.submitter().submit_with_args(1, &wait) {
                Err(error) if error.raw_os_error() == Some(libc::ETIME) => {
                    return Err(format!("no reply for {SILENCE:?} with {} requests in flight", self.in_flight).into());
                }
                Err(error) if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) => {
                    return Err(error.into());
                }
                _ => {}
            }
            let more = began.elapsed() < longest;
            completions.extend(self.ring.completion());
            for completion in completions.drain(..) {
                if self.complete(&completion)? {
                    answered += 1;
                    if more && asked < most {
                        asked += 1;
                        self.send(completion.user_data() as usize)?;
                    }
                }
            }
        }
        Ok((answered, began.elapsed()))
    }

    /// Takes a completion in, and says whether it ended a reply.
    fn complete(&mut self, completion: &cqueue::Entry) -> Result<bool, Box<dyn Error>> {
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
            _ if result == -libc::ENOBUFS => return Ok(false),
            ..0 => {
                let error = io::Error::from_raw_os_error(-result);
                return Err(format!("connection {number}: a receive failed: {error}").into());
            }
            1.. => result as usize,
        };
        let id = cqueue::buffer_select(completion.flags()).ok_or("a receive without a buffer")?;
        let connection = &mut self.connections[number];
        let expected = connection.message.get(connection.answered..connection.answered + length);
        if expected != Some(self.buffers.bytes(id, length)) {
            return Err(format!("connection {number}: a reply is not what was sent").into());
        }
        connection.answered += length;
        let whole = connection.answered == connection.message.len();
        self.in_flight -= usize::from(whole);
        self.buffers.give_back(id);
        Ok(whole)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (port, count, size): (u16, u32, usize) = (argument(1, 0), argument(2, 1), argument(3, 64));
    let (seconds, warm_up): (f64, f64) = (argument(4, 1.0), argument(5, 0.0));
    let most: u64 = argument(6, u64::MAX);
    let connections: Vec<_> =
        (0..count).map(|number| Connection::open(number, port, size)).collect::<Result<_, _>>()?;

    let mut load = Load::over(connections, size)?;
    if warm_up > 0.0 {
        load.exchange(Duration::from_secs_f64(warm_up), u64::MAX)?;
    }
    println!("ready");
    let mut line = String::new();
    if io::stdin().read_line(&mut line)? == 0 {
        return Ok(());
    }
    let (requests, time) = load.exchange(Duration::from_secs_f64(seconds), most)?;
    println!(r#"{{"requests": {requests}, "seconds": {:.6}}}"#, time.as_secs_f64());
    io::stdin().read_to_string(&mut line)?;
    Ok(())
}
