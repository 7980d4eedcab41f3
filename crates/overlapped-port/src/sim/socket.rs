//! A socket of the world: what it has, and what poll(2) would say of it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::RawFd;

use super::kernel::Id;

/// How far a stream has come. A socket of datagrams stays [`State::Fresh`].
pub(super) enum State {
    Fresh,
    /// Connections that wait to be accepted, and how many may.
    Listening(VecDeque<Id>, usize),
    Connecting,
    /// Connected, and whether connect(2) has been told: it answers once, and then `EISCONN`.
    Connected {
        told: bool,
    },
    /// The connection is over, as after a reset.
    Over,
}

/// What watches a socket, under one of its descriptors.
pub(super) struct Watch {
    pub(super) fd: RawFd,
    /// The bits of poll(2) that it wants; none while it is not armed.
    pub(super) events: i16,
    /// It is told once, or of each change.
    pub(super) once: bool,
}

/// A datagram, and who has sent it.
#[derive(Clone)]
pub(super) struct Datagram {
    pub(super) source: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct Socket {
    pub(super) is_stream: bool,
    pub(super) is_v6: bool,
    pub(super) local: Option<SocketAddr>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) state: State,
    /// What the next call is told (`SO_ERROR`).
    pub(super) error: Option<i32>,
    /// How many descriptors it has; with none it is closed.
    pub(super) descriptors: u32,
    pub(super) watches: Vec<Watch>,
    /// Its priority, once it has one.
    pub(super) rank: Option<usize>,
    pub(super) read_shut: bool,
    pub(super) write_shut: bool,
    /// The other end of a stream.
    pub(super) other: Option<Id>,
    /// What the other end has sent and this one has not taken; the first `visible` bytes have arrived.
    pub(super) incoming: VecDeque<u8>,
    pub(super) visible: usize,
    /// The end of the stream has arrived.
    pub(super) ended: bool,
    pub(super) datagrams: VecDeque<Datagram>,
}

impl Socket {
    pub(super) fn new(is_stream: bool, is_v6: bool) -> Socket {
        Socket {
            is_stream,
            is_v6,
            local: None,
            peer: None,
            state: State::Fresh,
            error: None,
            descriptors: 0,
            watches: Vec::new(),
            rank: None,
            read_shut: false,
            write_shut: false,
            other: None,
            incoming: VecDeque::new(),
            visible: 0,
            ended: false,
            datagrams: VecDeque::new(),
        }
    }

    /// The bits of poll(2) but for `POLLOUT` of a connection, which depends on the other end: `has_room`.
    pub(super) fn readiness(&self, has_room: bool) -> i16 {
        let mut bits = if self.error.is_some() { libc::POLLERR } else { 0 };
        let mut set = |is_so: bool, bit: i16| bits |= if is_so { bit } else { 0 };
        if !self.is_stream {
            set(!self.datagrams.is_empty() || self.error.is_some() || self.read_shut, libc::POLLIN);
            set(true, libc::POLLOUT);
            return bits;
        }
        match &self.state {
            State::Fresh => set(true, libc::POLLOUT | libc::POLLHUP),
            State::Listening(waiting, _) => set(!waiting.is_empty(), libc::POLLIN),
            State::Connecting => {}
            State::Connected { .. } => {
                set(self.visible > 0 || self.ended || self.read_shut, libc::POLLIN);
                set(has_room || self.write_shut, libc::POLLOUT);
                set(self.ended && self.write_shut, libc::POLLHUP);
            }
            State::Over => set(true, libc::POLLIN | libc::POLLOUT | libc::POLLHUP),
        }
        bits
    }

    pub(super) fn take_error(&mut self) -> Option<i32> {
        self.error.take()
    }
}
