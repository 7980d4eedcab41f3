//! Streams: connect, accept, send, receive, and how they end (tcp(7), RFC 9293).

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;

use super::kernel::{Happening, Id, Kernel, Received, error};
use super::socket::{Socket, State};

/// How long a segment, or the answer to it, is waited for before it is sent again; and how long in all.
const AGAIN: u64 = 200_000_000;
const GIVE_UP: u64 = 924 * 1_000_000_000;
/// How long and how often a connection is asked for (`tcp_syn_retries`, tcp(7)).
const ASK_AGAIN: u64 = 1_000_000_000;
const ASKED_AT_MOST: u32 = 6;

impl Kernel {
    /// listen(2).
    pub(super) fn listen(&mut self, id: Id, backlog: i32) -> io::Result<()> {
        let socket = self.get(id);
        match &mut socket.state {
            State::Fresh if socket.is_stream => {}
            State::Listening(_, room) => {
                *room = backlog.max(0) as usize + 1;
                return Ok(());
            }
            _ if socket.is_stream => return Err(error(libc::EINVAL)),
            _ => return Err(error(libc::EOPNOTSUPP)),
        }
        self.take_name(id)?;
        self.get(id).state = State::Listening(VecDeque::new(), backlog.max(0) as usize + 1);
        Ok(())
    }

    /// connect(2) of a stream, in the form that does not block.
    pub(super) fn connect_stream(&mut self, id: Id, to: SocketAddr) -> io::Result<()> {
        let socket = self.get(id);
        match &mut socket.state {
            State::Fresh => {}
            State::Connecting => return Err(error(libc::EALREADY)),
            State::Connected { told } if !*told => {
                *told = true;
                return Ok(());
            }
            State::Connected { .. } | State::Listening(..) => return Err(error(libc::EISCONN)),
            State::Over => {
                // Linux: the socket can be used anew after it was told.
                let code = socket.take_error();
                socket.state = State::Fresh;
                return Err(error(code.unwrap_or(libc::ECONNABORTED)));
            }
        }
        self.name_for(id, to)?;
        let to = self.reachable(to);
        let socket = self.get(id);
        socket.peer = Some(to);
        socket.state = State::Connecting;
        let at = self.arrival(id, to.ip());
        self.agenda.add(at, Happening::Asked { from: id, times: 1 });
        Err(error(libc::EINPROGRESS))
    }

    /// A connection was asked for.
    pub(super) fn asked(&mut self, from: Id, times: u32) {
        let Some(socket) = self.find(from) else { return };
        if !matches!(socket.state, State::Connecting) {
            return;
        }
        let is_v6 = socket.is_v6;
        let (source, to) = socket.local.zip(socket.peer).expect("a socket that connects has both addresses");
        let later = |kernel: &mut Kernel| match times {
            ASKED_AT_MOST => kernel.agenda.add(kernel.now, Happening::Refused { to: from, code: libc::ETIMEDOUT }),
            _ => {
                let at = kernel.now + (ASK_AGAIN << (times - 1));
                kernel.agenda.add(at, Happening::Asked { from, times: times + 1 });
            }
        };
        if self.links.on_the_way(source.ip(), to.ip()).is_down {
            return later(self);
        }
        let back = self.way_back(to.ip(), source.ip());
        let refused = self.chance.once_in(self.rules.refused);
        let listener = self.bound_to(true, to).filter(|_| !refused);
        let Some(State::Listening(waiting, room)) = listener.and_then(|id| self.find(id)).map(|socket| &socket.state)
        else {
            return self.agenda.add(back, Happening::Refused { to: from, code: libc::ECONNREFUSED });
        };
        if waiting.len() >= *room {
            return later(self);
        }
        let end = Socket {
            local: Some(to),
            peer: Some(source),
            state: State::Connected { told: true },
            other: Some(from),
            ..Socket::new(true, is_v6)
        };
        let end = self.insert(end);
        let listener = listener.expect("it was found");
        if let State::Listening(waiting, _) = &mut self.get(listener).state {
            waiting.push_back(end);
        }
        self.signal(listener);
        self.agenda.add(back, Happening::Answered { to: from, other: end });
    }

    /// The answer that a connection is made.
    pub(super) fn answered(&mut self, to: Id, other: Id) {
        match self.find(to) {
            Some(socket) if matches!(socket.state, State::Connecting) => {
                socket.state = State::Connected { told: false };
                socket.other = Some(other);
                self.signal(to);
            }
            // It was closed meanwhile.
            _ => self.reset_other(other, libc::ECONNRESET),
        }
    }

    pub(super) fn refused(&mut self, to: Id, code: i32) {
        if let Some(socket) = self.find(to)
            && matches!(socket.state, State::Connecting)
        {
            socket.state = State::Over;
            socket.error = Some(code);
            self.signal(to);
        }
    }

    /// accept(2): the connection, which has no descriptor yet.
    pub(super) fn accept_stream(&mut self, id: Id) -> io::Result<Id> {
        match &mut self.get(id).state {
            State::Listening(waiting, _) => waiting.pop_front().ok_or_else(|| error(libc::EAGAIN)),
            _ => Err(error(libc::EINVAL)),
        }
    }

    /// How many bytes a connection takes now.
    pub(super) fn room(&self, id: Id) -> usize {
        let Some(socket) = self.peek(id) else { return 0 };
        let Some(other) = socket.other.and_then(|other| self.peek(other)) else { return self.rules.window };
        self.rules.window.saturating_sub(other.incoming.len())
    }

    pub(super) fn send_stream(&mut self, id: Id, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let room = self.room(id);
        let socket = self.get(id);
        if let Some(code) = socket.take_error() {
            return Err(error(code));
        }
        match socket.state {
            State::Connected { .. } if !socket.write_shut => {}
            State::Connecting => return Err(error(libc::EAGAIN)),
            _ => return Err(error(libc::EPIPE)),
        }
        let length: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        if length == 0 {
            return Ok(0);
        }
        let (other, peer) = (socket.other, socket.peer.expect("a connection has a peer"));
        if self.chance.once_in(self.rules.reset) {
            self.break_off(id, libc::ECONNRESET);
            return Err(error(libc::ECONNRESET));
        }
        if self.chance.once_in(self.rules.no_buffers) {
            return Err(error(libc::ENOBUFS));
        }
        if room == 0 {
            return Err(error(libc::EAGAIN));
        }
        let mut count = length.min(room);
        if count > 1 && self.chance.once_in(self.rules.short) {
            count = 1 + self.chance.below(count - 1);
        }
        let at = self.arrival(id, peer.ip());
        match other.and_then(|other| self.find(other)).filter(|end| !matches!(end.state, State::Over)) {
            Some(end) => {
                let mut left = count;
                for buffer in buffers {
                    let part = &buffer[..left.min(buffer.len())];
                    end.incoming.extend(part);
                    left -= part.len();
                }
                let to = other.expect("it was found");
                self.agenda.add(at, Happening::Arrived { to, bytes: count, since: self.now });
            }
            // The other end is closed, or over: what comes there is answered with a reset.
            None => self.agenda.add(at, Happening::Reset { to: id, code: libc::ECONNRESET }),
        }
        Ok(count)
    }

    /// A segment, an end or a reset is there; put off where the link is down, for so long as a stream tries.
    fn is_held_up(&mut self, to: Id, since: u64, what: Happening) -> bool {
        let Some(socket) = self.peek(to) else { return false };
        let (Some(local), Some(peer)) = (socket.local, socket.peer) else { return false };
        let link = self.links.on_the_way(peer.ip(), local.ip());
        if !link.is_down && !self.chance.once_in(link.loss) {
            return false;
        }
        if self.now - since > GIVE_UP {
            let other = self.peek(to).and_then(|socket| socket.other);
            if let Some(other) = other {
                self.break_off(other, libc::ETIMEDOUT);
            }
            return true;
        }
        let passed = self.now - since;
        self.agenda.add(self.now + AGAIN.max(passed.min(120 * ASK_AGAIN)), what);
        true
    }

    pub(super) fn arrived(&mut self, to: Id, bytes: usize, since: u64) {
        if self.is_held_up(to, since, Happening::Arrived { to, bytes, since }) {
            return;
        }
        let Some(socket) = self.find(to) else { return };
        if socket.descriptors == 0 && !matches!(socket.state, State::Connected { .. }) {
            return;
        }
        socket.visible = (socket.visible + bytes).min(socket.incoming.len());
        self.signal(to);
    }

    pub(super) fn ended(&mut self, to: Id, since: u64) {
        if self.is_held_up(to, since, Happening::Ended { to, since }) {
            return;
        }
        let Some(socket) = self.find(to) else { return };
        if socket.visible < socket.incoming.len() {
            // What was sent before is sent again, and comes before.
            return self.agenda.add(self.now + AGAIN, Happening::Ended { to, since });
        }
        socket.ended = true;
        self.signal(to);
    }

    pub(super) fn recv_stream(
        &mut self,
        id: Id,
        room: usize,
        flags: i32,
        mut put: impl FnMut(&[u8]),
    ) -> io::Result<Received> {
        if flags & libc::MSG_OOB != 0 {
            return Err(error(libc::EINVAL));
        }
        let socket = self.get(id);
        let visible = socket.visible;
        if visible == 0 || room == 0 && socket.error.is_some() {
            if let Some(code) = socket.take_error() {
                return Err(error(code));
            }
            let is_over = socket.ended || socket.read_shut || matches!(socket.state, State::Over);
            return match socket.state {
                _ if is_over => Ok(Received::default()),
                State::Connected { .. } | State::Connecting => Err(error(libc::EAGAIN)),
                _ => Err(error(libc::ENOTCONN)),
            };
        }
        let mut count = visible.min(room);
        if count > 1 && flags & libc::MSG_PEEK == 0 && self.chance.once_in(self.rules.short) {
            count = 1 + self.chance.below(count - 1);
        }
        let window = self.rules.window;
        let socket = self.get(id);
        if flags & libc::MSG_TRUNC == 0 {
            let (front, back) = socket.incoming.as_slices();
            let first = count.min(front.len());
            put(&front[..first]);
            put(&back[..count - first]);
        }
        if flags & libc::MSG_PEEK == 0 {
            let other = socket.other.filter(|_| socket.incoming.len() >= window);
            socket.incoming.drain(..count);
            socket.visible -= count;
            // Who found no room is told.
            if let Some(other) = other {
                self.signal(other);
            }
        }
        Ok(Received { length: count, ..Received::default() })
    }

    /// Ends what this end sends.
    pub(super) fn end_sending(&mut self, id: Id) {
        let socket = self.get(id);
        if std::mem::replace(&mut socket.write_shut, true) {
            return;
        }
        let (other, peer) = (socket.other, socket.peer);
        if let (Some(to), Some(peer)) = (other, peer) {
            let at = self.arrival(id, peer.ip());
            self.agenda.add(at, Happening::Ended { to, since: self.now });
        }
    }

    /// A reset of this end: what was not received yet is still there, as on Linux.
    pub(super) fn break_off(&mut self, id: Id, code: i32) {
        let Some(socket) = self.find(id) else { return };
        if matches!(socket.state, State::Over) {
            return;
        }
        socket.state = State::Over;
        socket.error = Some(code);
        socket.incoming.truncate(socket.visible);
        let (other, peer) = (socket.other.take(), socket.peer);
        self.signal(id);
        if let (Some(to), Some(peer)) = (other, peer) {
            let at = self.arrival(id, peer.ip());
            self.agenda.add(at, Happening::Reset { to, code: libc::ECONNRESET });
        }
    }

    /// A reset is there; or lost where the link is down, for nobody sends one again: who only receives is never told then.
    pub(super) fn reset_arrived(&mut self, to: Id, code: i32) {
        let ends = self.peek(to).and_then(|socket| socket.peer.zip(socket.local));
        let is_lost = ends.is_some_and(|(peer, local)| self.links.on_the_way(peer.ip(), local.ip()).is_down);
        if !is_lost {
            self.reset_other(to, code);
        }
    }

    /// The connection is over, by the other end.
    fn reset_other(&mut self, to: Id, code: i32) {
        let Some(socket) = self.find(to) else { return };
        if !matches!(socket.state, State::Connected { .. } | State::Connecting) {
            return;
        }
        socket.state = State::Over;
        // Both sides had ended: nobody is told.
        if !(socket.ended && socket.write_shut) {
            socket.error = Some(code);
        }
        socket.other = None;
        socket.incoming.truncate(socket.visible);
        self.signal(to);
    }

    /// The last descriptor of a stream was closed.
    pub(super) fn close_stream(&mut self, id: Id) {
        let socket = self.get(id);
        let unread = !socket.incoming.is_empty();
        match std::mem::replace(&mut socket.state, State::Over) {
            State::Listening(waiting, _) => {
                for end in waiting {
                    self.close_stream(end);
                }
            }
            State::Connected { .. } => {
                let (other, peer) = (socket.other, socket.peer.expect("a connection has a peer"));
                let Some(to) = other else { return self.remove(id) };
                let ends = !socket.write_shut;
                let at = self.arrival(id, peer.ip());
                match unread {
                    true => self.agenda.add(at, Happening::Reset { to, code: libc::ECONNRESET }),
                    false if ends => self.agenda.add(at, Happening::Ended { to, since: self.now }),
                    false => {}
                }
            }
            _ => {}
        }
        self.remove(id);
    }
}
