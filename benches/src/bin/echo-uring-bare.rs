//! The floor: echo as a bare io_uring loop, with no tasks of any kind: `echo-uring-bare [READ_SIZE] [REQUESTS] [UNIX_PATH]`.
//!
//! Multishot accept and receive; what was received is sent from the very buffer that the kernel chose, and a turn's sends
//! enter the kernel together with the wait. A connection has one send in flight; what comes meanwhile queues behind it. Where a connection is for one request (REQUESTS
//! is 1; other numbers mean nothing here), its receive is a single one, and its close enters
//! the kernel with its send, which keeps what it needs of the socket.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use overlapped_benches::{Serving, announce, ring};

const ACCEPT: u64 = 1 << 32;
const RECEIVE: u64 = 2 << 32;
const SEND: u64 = 3 << 32;
/// Marks the completion of a close, which comes only where it failed.
const CLOSE: u64 = 4 << 32;
/// What the buffers occupy, all together: they are used in turn, and should stay in the caches.
const BUFFERED: usize = 4 << 20;

#[derive(Default)]
struct Connection {
    socket: Option<OwnedFd>,
    /// Received, and not yet sent: buffer, length. The front one is in flight.
    out: VecDeque<(u16, usize)>,
    receiving: bool,
}

struct Server {
    ring: IoUring,
    listener: OwnedFd,
    /// Whether a connection ends with its first reply.
    once: bool,
    buffers: ring::Buffers,
    /// By descriptor. A descriptor is closed only once nothing is in flight on it, so a number means one connection.
    connections: Vec<Connection>,
    /// Connections whose receive ended for want of buffers.
    starved: Vec<RawFd>,
}

impl Server {
    fn accept(&mut self) -> std::io::Result<()> {
        let entry = opcode::AcceptMulti::new(types::Fd(self.listener.as_raw_fd())).build().user_data(ACCEPT);
        // SAFETY: the entry points to no memory.
        unsafe { ring::push(&mut self.ring, &entry) }
    }

    fn open(&mut self, fd: RawFd) -> std::io::Result<()> {
        if self.connections.len() <= fd as usize {
            self.connections.resize_with(fd as usize + 1, Connection::default);
        }
        // SAFETY: the accept has just made this descriptor, and nobody else knows of it.
        self.connections[fd as usize].socket = Some(unsafe { OwnedFd::from_raw_fd(fd) });
        self.receive(fd)
    }

    fn receive(&mut self, fd: RawFd) -> std::io::Result<()> {
        self.connections[fd as usize].receiving = true;
        let socket = types::Fd(fd);
        let entry = if self.once {
            let single = opcode::Recv::new(socket, std::ptr::null_mut(), 0).buf_group(ring::GROUP).build();
            single.flags(squeue::Flags::BUFFER_SELECT)
        } else {
            opcode::RecvMulti::new(socket, ring::GROUP).build()
        };
        let entry = entry.user_data(RECEIVE | fd as u64);
        // SAFETY: the entry points to no memory; its buffers are the registered ones.
        unsafe { ring::push(&mut self.ring, &entry) }
    }

    fn send(&mut self, fd: RawFd) -> std::io::Result<()> {
        let (id, length) = self.connections[fd as usize].out[0];
        let address = self.buffers.bytes(id, length).as_ptr();
        let entry = opcode::Send::new(types::Fd(fd), address, length as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .user_data(SEND | fd as u64);
        if !self.once {
            // SAFETY: the buffer is given back to the kernel only after this send's completion.
            return unsafe { ring::push(&mut self.ring, &entry) };
        }
        let socket = self.connections[fd as usize].socket.take().expect("a connection has one reply");
        let close = opcode::Close::new(types::Fd(socket.into_raw_fd())).build();
        let close = close.flags(squeue::Flags::SKIP_SUCCESS).user_data(CLOSE | fd as u64);
        ring::room(&mut self.ring, 2)?;
        // SAFETY: as above; the close owns the descriptor, and nothing else is in flight on it.
        unsafe { ring::push(&mut self.ring, &entry).and_then(|()| ring::push(&mut self.ring, &close)) }
    }

    fn received(&mut self, fd: RawFd, completion: &cqueue::Entry) -> std::io::Result<()> {
        let connection = &mut self.connections[fd as usize];
        connection.receiving = cqueue::more(completion.flags());
        if let Some(id) = cqueue::buffer_select(completion.flags()) {
            connection.out.push_back((id, completion.result() as usize));
            if connection.out.len() == 1 {
                self.send(fd)?;
            }
        }
        match completion.result() {
            error if error == -libc::ENOBUFS => self.starved.push(fd),
            1.. if !cqueue::more(completion.flags()) && !self.once => self.receive(fd)?,
            _ => self.close_if_done(fd),
        }
        Ok(())
    }

    fn sent(&mut self, fd: RawFd) -> std::io::Result<()> {
        let connection = &mut self.connections[fd as usize];
        let (id, _) = connection.out.pop_front().expect("a send was in flight");
        let next = !connection.out.is_empty();
        self.buffers.give_back(id);
        if let Some(starved) = self.starved.pop() {
            self.receive(starved)?;
        }
        if next {
            return self.send(fd);
        }
        self.close_if_done(fd);
        Ok(())
    }

    fn close_if_done(&mut self, fd: RawFd) {
        let connection = &mut self.connections[fd as usize];
        if !connection.receiving && connection.out.is_empty() && !self.starved.contains(&fd) {
            connection.socket = None;
        }
    }
}

fn main() -> std::io::Result<()> {
    let Serving { read_size, requests, path } = Serving::asked();
    let (listener, address): (OwnedFd, String) = match path {
        Some(path) => (UnixListener::bind(&path)?.into(), path.display().to_string()),
        None => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let port = listener.local_addr()?.port();
            (listener.into(), port.to_string())
        }
    };
    let ring = ring::new(1024)?;
    let count = (BUFFERED / read_size).clamp(128, 1024).next_power_of_two();
    let buffers = ring::Buffers::register(&ring, count as u16, read_size)?;
    let once = requests == 1;
    let mut server = Server { ring, listener, once, buffers, connections: Vec::new(), starved: Vec::new() };
    server.accept()?;
    announce(address);
    let mut completions: Vec<cqueue::Entry> = Vec::with_capacity(4096);
    loop {
        match server.ring.submit_and_wait(1) {
            Err(error) if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) => return Err(error),
            _ => completions.extend(server.ring.completion()),
        }
        for completion in completions.drain(..) {
            let fd = completion.user_data() as u32 as RawFd;
            match completion.user_data() & !u64::from(u32::MAX) {
                ACCEPT => {
                    if !cqueue::more(completion.flags()) {
                        server.accept()?;
                    }
                    if completion.result() >= 0 {
                        server.open(completion.result())?;
                    }
                }
                RECEIVE => server.received(fd, &completion)?,
                SEND => server.sent(fd)?,
                _ => return Err(std::io::Error::from_raw_os_error(-completion.result())),
            }
        }
    }
}
