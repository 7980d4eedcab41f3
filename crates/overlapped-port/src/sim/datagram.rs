//! Datagrams (udp(7)).

use std::io::{self, IoSlice};
use std::net::SocketAddr;

use super::kernel::{Happening, Id, Kernel, Received, error};
use super::socket::Datagram;

/// The longest one.
const LONGEST: usize = 65_507;
/// How many wait at a socket; more are lost.
const QUEUE: usize = 256;

/// A datagram that was sent.
#[derive(Clone)]
pub(super) struct OnItsWay {
    from: Id,
    to: SocketAddr,
    datagram: Datagram,
}

impl Kernel {
    pub(super) fn send_datagram(
        &mut self,
        id: Id,
        buffers: &[IoSlice<'_>],
        to: Option<SocketAddr>,
    ) -> io::Result<usize> {
        let socket = self.get(id);
        if let Some(code) = socket.take_error() {
            return Err(error(code));
        }
        if socket.write_shut {
            return Err(error(libc::EPIPE));
        }
        let to = to.or(socket.peer).ok_or_else(|| error(libc::EDESTADDRREQ))?;
        let length: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        if length > LONGEST {
            return Err(error(libc::EMSGSIZE));
        }
        if self.chance.once_in(self.rules.no_buffers) {
            return Err(error(libc::ENOBUFS));
        }
        self.name_for(id, to)?;
        let to = self.reachable(to);
        let source = self.get(id).local.expect("it was given one");
        let link = self.links.on_the_way(source.ip(), to.ip());
        if link.is_down || self.chance.once_in(link.loss) || self.chance.once_in(self.rules.loss) {
            return Ok(length);
        }
        let bytes: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect();
        let sent = Box::new(OnItsWay { from: id, to, datagram: Datagram { source, bytes } });
        if self.chance.once_in(self.rules.doubled) {
            let at = self.arrival(id, to.ip());
            self.agenda.add(at, Happening::Datagram(sent.clone()));
        }
        let at = self.arrival(id, to.ip());
        self.agenda.add(at, Happening::Datagram(sent));
        Ok(length)
    }

    pub(super) fn deliver(&mut self, sent: Box<OnItsWay>) {
        let (to, source) = (sent.to, sent.datagram.source);
        let takes = |kernel: &Kernel, id: Id| {
            kernel.peek(id).is_some_and(|socket| socket.peer.is_none_or(|peer| peer == source))
        };
        match self.bound_to(false, to) {
            Some(id) if takes(self, id) => {
                let socket = self.get(id);
                if socket.datagrams.len() < QUEUE && !socket.read_shut {
                    socket.datagrams.push_back(sent.datagram);
                    self.signal(id);
                }
            }
            // Somebody is there, and does not talk to this one.
            Some(_) => {}
            None => {
                let back = self.way_back(to.ip(), source.ip());
                self.agenda.add(back, Happening::Unreachable(sent));
            }
        }
    }

    /// Nobody is there, says the other side (ICMP): a connected socket is told.
    pub(super) fn unreachable(&mut self, sent: &OnItsWay) {
        if let Some(socket) = self.find(sent.from)
            && socket.peer == Some(sent.to)
        {
            socket.error = Some(libc::ECONNREFUSED);
            self.signal(sent.from);
        }
    }

    pub(super) fn recv_datagram(
        &mut self,
        id: Id,
        room: usize,
        flags: i32,
        mut put: impl FnMut(&[u8]),
    ) -> io::Result<Received> {
        let socket = self.get(id);
        if flags & libc::MSG_OOB != 0 {
            return Err(error(libc::EOPNOTSUPP));
        }
        if let Some(code) = socket.take_error() {
            return Err(error(code));
        }
        let Some(datagram) = socket.datagrams.front() else {
            return if socket.read_shut { Ok(Received::default()) } else { Err(error(libc::EAGAIN)) };
        };
        let length = datagram.bytes.len();
        put(&datagram.bytes[..length.min(room)]);
        let received = Received {
            length: if flags & libc::MSG_TRUNC != 0 { length } else { length.min(room) },
            source: Some(datagram.source),
            truncated: length > room,
        };
        if flags & libc::MSG_PEEK == 0 {
            socket.datagrams.pop_front();
        }
        Ok(received)
    }
}
