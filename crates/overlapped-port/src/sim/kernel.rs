//! All sockets of a world, by descriptor and by address, and the calls on them.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Type};

use super::agenda::Agenda;
use super::chance::{Chance, Origin};
use super::datagram::OnItsWay;
use super::other_thread::{Call, OtherThread};
use super::rules::{Links, Rules};
use super::socket::{Socket, State, Watch};
use super::stand_in::{is_stand_in, stand_in};
use crate::sys;

/// The first port that is given to who asks for none (RFC 6335, section 6).
const FIRST_PORT: u16 = 49_152;

/// How often it is asked for news at one time by a program that goes on; one that asks more often asks for ever.
const MOST_ASKED: u32 = 20_000;

/// How often, once in so many times, what happens at one time is not told of together.
const APART: u32 = 3;

/// How many priorities there are; what is of each takes twice as long as what is of the one above.
const RANKS: usize = 8;

/// In how many steps the jitter of a way is divided.
const STEPS: usize = 16;

pub(super) fn error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

/// Names a socket, for as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id {
    index: u32,
    generation: u32,
}

impl Id {
    /// A number that no other socket has had.
    pub(crate) fn number(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }
}

#[derive(Default)]
struct Slot {
    generation: u32,
    socket: Option<Box<Socket>>,
}

/// What happens by itself.
pub(super) enum Happening {
    /// A connection is asked for.
    Asked {
        from: Id,
        times: u32,
    },
    Answered {
        to: Id,
        other: Id,
    },
    Refused {
        to: Id,
        code: i32,
    },
    /// Bytes, sent at `since`, have come.
    Arrived {
        to: Id,
        bytes: usize,
        since: u64,
    },
    Ended {
        to: Id,
        since: u64,
    },
    Reset {
        to: Id,
        code: i32,
    },
    Datagram(Box<OnItsWay>),
    /// Nobody is where it went.
    Unreachable(Box<OnItsWay>),
    /// Another thread does something.
    Elsewhere(Call),
}

/// What a receive brought.
#[derive(Clone, Copy, Debug, Default)]
pub struct Received {
    /// How many bytes; with `MSG_TRUNC`, how many there were.
    pub length: usize,
    /// Of a datagram, who has sent it.
    pub source: Option<SocketAddr>,
    /// Of a datagram, whether it was longer.
    pub truncated: bool,
}

/// What became of the time.
#[derive(Debug)]
pub(crate) enum Advanced {
    /// Something that is watched for is there, or somebody has rung.
    Ready,
    /// The time is up.
    Passed,
    /// Nothing will ever happen by itself.
    Nothing,
    /// Time does not pass, however often it is asked.
    Stands,
    /// What another thread did failed.
    Failed(io::Error),
}

/// The sockets of a world, and its time.
pub(crate) struct Kernel {
    pub(super) chance: Rc<Chance>,
    pub(super) rules: Rules,
    /// Those with which it began.
    first_rules: Rules,
    pub(super) links: Links,
    /// Nanoseconds since the world began.
    pub(super) now: u64,
    pub(super) agenda: Agenda<Happening>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    descriptors: Vec<Option<Id>>,
    bound: BTreeMap<(bool, SocketAddr), Id>,
    ready: VecDeque<RawFd>,
    /// How often it was asked since the time has moved on.
    stands: u32,
    /// Another thread, once something was to be done there.
    other: Option<OtherThread>,
    /// What it has failed with.
    failed: Option<io::Error>,
    next_port: u16,
    pub(super) names: BTreeMap<String, Vec<IpAddr>>,
}

impl Kernel {
    pub(super) fn new(origin: &Origin, rules: Rules) -> Kernel {
        Kernel {
            chance: Rc::new(Chance::new(origin)),
            first_rules: rules.clone(),
            rules,
            links: Links::default(),
            now: 0,
            agenda: Agenda::default(),
            slots: Vec::new(),
            free: Vec::new(),
            descriptors: Vec::new(),
            bound: BTreeMap::new(),
            ready: VecDeque::new(),
            stands: 0,
            other: None,
            failed: None,
            next_port: FIRST_PORT,
            names: BTreeMap::new(),
        }
    }

    pub(super) fn peek(&self, id: Id) -> Option<&Socket> {
        let slot = self.slots.get(id.index as usize)?;
        slot.socket.as_deref().filter(|_| slot.generation == id.generation)
    }

    pub(super) fn find(&mut self, id: Id) -> Option<&mut Socket> {
        let slot = self.slots.get_mut(id.index as usize)?;
        slot.socket.as_deref_mut().filter(|_| slot.generation == id.generation)
    }

    /// One that is known to be there.
    pub(super) fn get(&mut self, id: Id) -> &mut Socket {
        self.find(id).expect("a socket with a descriptor is there")
    }

    pub(super) fn insert(&mut self, socket: Socket) -> Id {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        slot.socket = Some(Box::new(socket));
        Id { index, generation: slot.generation }
    }

    pub(super) fn remove(&mut self, id: Id) {
        let slot = &mut self.slots[id.index as usize];
        slot.generation += 1;
        let Some(socket) = slot.socket.take() else { return };
        self.free.push(id.index);
        if let Some(local) = socket.local
            && self.bound.get(&(socket.is_stream, local)) == Some(&id)
        {
            self.bound.remove(&(socket.is_stream, local));
        }
    }

    /// Which socket a descriptor is.
    pub(super) fn socket_of(&self, fd: RawFd) -> Option<Id> {
        self.descriptors.get(usize::try_from(fd).ok()?).copied().flatten()
    }

    /// Gives a socket a new descriptor.
    fn describe(&mut self, id: Id) -> io::Result<OwnedFd> {
        if self.chance.once_in(self.rules.no_descriptors) {
            return Err(error(libc::EMFILE));
        }
        let socket = self.get(id);
        let fd = stand_in(socket.is_stream, socket.is_v6)?;
        self.name_descriptor(&fd, id);
        Ok(fd)
    }

    fn name_descriptor(&mut self, fd: &OwnedFd, id: Id) {
        let fd = fd.as_raw_fd();
        // One that was closed behind our back.
        self.close(fd);
        let place = fd as usize;
        if self.descriptors.len() <= place {
            self.descriptors.resize(place + 16, None);
        }
        self.descriptors[place] = Some(id);
        self.get(id).descriptors += 1;
    }

    /// A number means another descriptor, or none.
    pub(super) fn close(&mut self, fd: RawFd) {
        let Some(id) = self.socket_of(fd) else { return };
        self.descriptors[fd as usize] = None;
        let socket = self.get(id);
        socket.watches.retain(|watch| watch.fd != fd);
        socket.descriptors -= 1;
        if socket.descriptors > 0 {
            return;
        }
        match socket.is_stream {
            true => self.close_stream(id),
            false => self.remove(id),
        }
    }

    /// Finds out which descriptors were closed behind our back; true where one was.
    fn look_for_closed(&mut self) -> bool {
        let is_closed = |fd: usize| self.descriptors[fd].is_some() && !is_stand_in(fd as RawFd);
        let closed: Vec<usize> = (0..self.descriptors.len()).filter(|fd| is_closed(*fd)).collect();
        closed.iter().for_each(|fd| self.close(*fd as RawFd));
        !closed.is_empty()
    }

    /// socket(2).
    pub(super) fn open(&mut self, domain: Domain, kind: Type) -> io::Result<OwnedFd> {
        let id = self.insert(Socket::new(kind == Type::STREAM, domain == Domain::IPV6));
        let described = self.describe(id);
        if described.is_err() {
            self.remove(id);
        }
        described
    }

    /// dup(2).
    pub(super) fn duplicate(&mut self, id: Id) -> io::Result<OwnedFd> {
        self.describe(id)
    }

    /// bind(2).
    pub(super) fn bind(&mut self, id: Id, mut address: SocketAddr) -> io::Result<()> {
        let socket = self.get(id);
        if socket.local.is_some() {
            return Err(error(libc::EINVAL));
        }
        if socket.is_v6 != address.is_ipv6() {
            return Err(error(libc::EAFNOSUPPORT));
        }
        let is_stream = socket.is_stream;
        let any = unspecified(address.is_ipv6());
        let is_taken = |kernel: &Kernel, address: SocketAddr| {
            let wide = SocketAddr::new(any, address.port());
            let within =
                || kernel.bound.keys().any(|(stream, other)| *stream == is_stream && other.port() == address.port());
            kernel.bound.contains_key(&(is_stream, address))
                || kernel.bound.contains_key(&(is_stream, wide))
                || address.ip() == any && within()
        };
        if address.port() == 0 {
            let before = self.next_port;
            loop {
                address.set_port(self.next_port);
                self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
                if !is_taken(self, address) {
                    break;
                }
                if self.next_port == before {
                    return Err(error(libc::EADDRINUSE));
                }
            }
        } else if is_taken(self, address) {
            return Err(error(libc::EADDRINUSE));
        }
        self.bound.insert((is_stream, address), id);
        self.get(id).local = Some(address);
        Ok(())
    }

    /// Gives a socket a port of its own if it has none.
    pub(super) fn take_name(&mut self, id: Id) -> io::Result<()> {
        let socket = self.get(id);
        match socket.local {
            Some(_) => Ok(()),
            None => {
                let any = SocketAddr::new(unspecified(socket.is_v6), 0);
                self.bind(id, any)
            }
        }
    }

    /// The same before it speaks to `to`: one that has no address speaks from the one that it speaks to, or from the
    /// loopback's, as on a machine all of whose addresses are its own.
    pub(super) fn name_for(&mut self, id: Id, to: SocketAddr) -> io::Result<()> {
        let to = self.reachable(to);
        let socket = self.get(id);
        match socket.local {
            None => {
                let own = if socket.is_v6 == to.is_ipv6() { to.ip() } else { loopback(socket.is_v6) };
                self.bind(id, SocketAddr::new(own, 0))
            }
            Some(local) if local.ip().is_unspecified() && socket.is_stream => {
                // A connection is between two addresses.
                self.bound.remove(&(true, local));
                let own = SocketAddr::new(to.ip(), local.port());
                self.bound.insert((true, own), id);
                self.get(id).local = Some(own);
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }

    /// An address to send to: who sends to no address in particular means this machine (ip(7)).
    pub(super) fn reachable(&self, to: SocketAddr) -> SocketAddr {
        let ip = if to.ip().is_unspecified() { loopback(to.is_ipv6()) } else { to.ip() };
        SocketAddr::new(ip, to.port())
    }

    /// Who has an address.
    pub(super) fn bound_to(&self, is_stream: bool, address: SocketAddr) -> Option<Id> {
        let any = SocketAddr::new(unspecified(address.is_ipv6()), address.port());
        let found = self.bound.get(&(is_stream, address)).or_else(|| self.bound.get(&(is_stream, any)));
        found.copied()
    }

    /// How long a way takes, in nanoseconds.
    fn way(&self, from: IpAddr, to: IpAddr) -> u64 {
        let step = self.rules.jitter.as_nanos() as u64 / STEPS as u64;
        let jitter = step * self.chance.below(STEPS) as u64;
        let link = self.links.on_the_way(from, to);
        (self.rules.latency + link.delay).as_nanos() as u64 + jitter
    }

    /// When what this socket sends now to `to` is there.
    pub(super) fn arrival(&mut self, id: Id, to: IpAddr) -> u64 {
        let from = self.get(id).local.map_or(to, |local| local.ip());
        self.now + (self.way(from, to) << self.rank(id))
    }

    /// The priority of a socket, 0 is the highest: see [`Rules::priorities`].
    fn rank(&mut self, id: Id) -> usize {
        let changes = self.rules.priorities;
        if changes == 0 {
            return 0;
        }
        let before = self.get(id).rank;
        let rank = match before {
            Some(rank) if !self.chance.once_in(changes) => rank,
            _ => self.chance.below(RANKS),
        };
        self.get(id).rank = Some(rank);
        rank
    }

    /// When an answer is there.
    pub(super) fn way_back(&self, from: IpAddr, to: IpAddr) -> u64 {
        self.now + self.way(from, to)
    }

    /// connect(2), in the form that does not block.
    pub(crate) fn connect(&mut self, id: Id, to: Option<SocketAddr>) -> io::Result<()> {
        let socket = self.get(id);
        let Some(to) = to else {
            if socket.is_stream {
                return Err(error(libc::EAFNOSUPPORT));
            }
            // AF_UNSPEC: connected no more (connect(2)).
            socket.peer = None;
            return Ok(());
        };
        if socket.is_v6 != to.is_ipv6() {
            return Err(error(libc::EAFNOSUPPORT));
        }
        if socket.is_stream {
            return self.connect_stream(id, to);
        }
        self.name_for(id, to)?;
        let to = self.reachable(to);
        self.get(id).peer = Some(to);
        Ok(())
    }

    /// accept(2): a new descriptor, and the peer's address.
    pub(crate) fn accept(&mut self, id: Id) -> io::Result<(OwnedFd, SocketAddr)> {
        self.may_block()?;
        let end = self.accept_stream(id)?;
        match self.describe(end) {
            Ok(fd) => {
                let peer = self.get(end).peer.expect("a connection has a peer");
                Ok((fd, peer))
            }
            Err(error) => {
                // It waits on, as where a process has no descriptor left.
                if let State::Listening(waiting, _) = &mut self.get(id).state {
                    waiting.push_front(end);
                }
                Err(error)
            }
        }
    }

    /// send(2), sendto(2), sendmsg(2).
    pub(crate) fn send(&mut self, id: Id, buffers: &[IoSlice<'_>], to: Option<SocketAddr>) -> io::Result<usize> {
        self.may_block()?;
        match self.get(id).is_stream {
            true => self.send_stream(id, buffers),
            false => self.send_datagram(id, buffers, to),
        }
    }

    /// recv(2), recvfrom(2), recvmsg(2): `put` is given the bytes in order.
    pub(crate) fn recv(&mut self, id: Id, room: usize, flags: i32, put: impl FnMut(&[u8])) -> io::Result<Received> {
        if flags & sys::ERROR_QUEUE != 0 {
            return Err(error(libc::EAGAIN));
        }
        self.may_block()?;
        match self.get(id).is_stream {
            true => self.recv_stream(id, room, flags, put),
            false => self.recv_datagram(id, room, flags, put),
        }
    }

    /// A call that may say that it would block, though it need not.
    fn may_block(&self) -> io::Result<()> {
        if self.chance.once_in(self.rules.again) { Err(error(libc::EAGAIN)) } else { Ok(()) }
    }

    /// shutdown(2).
    pub(crate) fn shutdown(&mut self, id: Id, how: Shutdown) -> io::Result<()> {
        let socket = self.get(id);
        let is_connected = match &socket.state {
            State::Connected { .. } => true,
            _ => !socket.is_stream && socket.peer.is_some(),
        };
        if !is_connected {
            return Err(error(libc::ENOTCONN));
        }
        if how != Shutdown::Write {
            socket.read_shut = true;
        }
        if how != Shutdown::Read {
            if socket.is_stream {
                self.end_sending(id);
            } else {
                socket.write_shut = true;
            }
        }
        self.signal(id);
        Ok(())
    }

    /// What `SO_ERROR` takes.
    pub(crate) fn take_error(&mut self, id: Id) -> Option<io::Error> {
        self.get(id).take_error().map(error)
    }

    /// getsockname(2).
    pub(super) fn local_address(&mut self, id: Id) -> SocketAddr {
        let socket = self.get(id);
        socket.local.unwrap_or_else(|| SocketAddr::new(unspecified(socket.is_v6), 0))
    }

    /// getpeername(2).
    pub(super) fn peer_address(&mut self, id: Id) -> io::Result<SocketAddr> {
        let socket = self.get(id);
        let is_connected = !socket.is_stream || matches!(socket.state, State::Connected { .. });
        socket.peer.filter(|_| is_connected).ok_or_else(|| error(libc::ENOTCONN))
    }

    pub(crate) fn listens(&mut self, id: Id) -> bool {
        matches!(self.get(id).state, State::Listening(..))
    }

    pub(crate) fn is_stream(&mut self, id: Id) -> bool {
        self.get(id).is_stream
    }

    pub(crate) fn receives_no_more(&mut self, id: Id) -> bool {
        self.get(id).read_shut
    }

    /// How long a look-up takes.
    pub(super) fn time_of_look_up(&self) -> Duration {
        self.rules.slow_names / STEPS as u32 * self.chance.below(STEPS) as u32
    }

    /// getaddrinfo(3).
    pub(super) fn look_up(&mut self, name: &str) -> io::Result<Vec<IpAddr>> {
        if self.chance.once_in(self.rules.no_names) {
            let message = format!("the name {name:?} cannot be looked up for now (EAI_AGAIN)");
            return Err(io::Error::other(message));
        }
        if let Some(addresses) = self.names.get(name) {
            return Ok(addresses.clone());
        }
        if name == "localhost" {
            return Ok(vec![loopback(false)]);
        }
        let message = format!("no name {name:?} in this simulated world (EAI_NONAME): give it addresses with set_name");
        Err(io::Error::new(io::ErrorKind::NotFound, message))
    }

    /// poll(2): the bits of `events`, an error and an end.
    pub(crate) fn poll(&mut self, id: Id, events: i16) -> i16 {
        let has_room = self.room(id) > 0;
        self.get(id).readiness(has_room) & (events | libc::POLLERR | libc::POLLHUP)
    }

    /// epoll_ctl(2): has a descriptor watched for `events`; with `None` it is known, and not told.
    pub(crate) fn watch(&mut self, fd: RawFd, events: Option<i16>, once: bool) -> io::Result<()> {
        let id = self.socket_of(fd).ok_or_else(|| error(libc::EBADF))?;
        let socket = self.get(id);
        let events = events.unwrap_or_default();
        match socket.watches.iter_mut().find(|watch| watch.fd == fd) {
            Some(watch) => (watch.events, watch.once) = (events, once),
            None => socket.watches.push(Watch { fd, events, once }),
        }
        self.signal(id);
        Ok(())
    }

    /// Whether the descriptor is still what is watched under it.
    pub(crate) fn is_watched(&mut self, fd: RawFd) -> io::Result<bool> {
        let id = self.socket_of(fd).ok_or_else(|| error(libc::EBADF))?;
        Ok(self.get(id).watches.iter().any(|watch| watch.fd == fd))
    }

    pub(crate) fn unwatch(&mut self, fd: RawFd) {
        if let Some(id) = self.socket_of(fd) {
            self.get(id).watches.retain(|watch| watch.fd != fd);
        }
    }

    /// Something about a socket has changed: tells those who watch.
    pub(super) fn signal(&mut self, id: Id) {
        let Some(socket) = self.peek(id) else { return };
        let wanted = socket.watches.iter().fold(0, |all, watch| all | watch.events);
        if wanted == 0 {
            return;
        }
        let bits = socket.readiness(wanted & libc::POLLOUT != 0 && self.room(id) > 0);
        let Kernel { slots, ready, .. } = self;
        let Some(socket) = &mut slots[id.index as usize].socket else { return };
        for watch in &mut socket.watches {
            if watch.events != 0 && bits & (watch.events | libc::POLLERR | libc::POLLHUP) != 0 {
                if watch.once {
                    watch.events = 0;
                }
                ready.push_back(watch.fd);
            }
        }
    }

    /// The descriptors that were signalled, with what there is.
    pub(crate) fn take_ready(&mut self, mut take: impl FnMut(RawFd, i16)) {
        while let Some(fd) = self.ready.pop_front() {
            let found = self.socket_of(fd).map(|id| self.poll(id, libc::POLLIN | libc::POLLOUT));
            if let Some(found) = found {
                take(fd, found);
            }
        }
    }

    /// The time when so much has passed.
    pub(super) fn after(&self, time: Duration) -> u64 {
        self.now.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Lets the time pass, to `until` at most, and what is due happen, until something that is watched for is there or
    /// `has_rung` says that somebody has.
    pub(super) fn advance(&mut self, until: Option<u64>, has_rung: impl Fn() -> bool) -> Advanced {
        let before = self.now;
        let advanced = self.advance_to(until, has_rung);
        self.stands = if self.now > before { 0 } else { self.stands + 1 };
        if self.stands > MOST_ASKED {
            // Those who are told get as long to leave.
            self.stands = 0;
            return Advanced::Stands;
        }
        advanced
    }

    fn advance_to(&mut self, until: Option<u64>, has_rung: impl Fn() -> bool) -> Advanced {
        loop {
            if let Some(error) = self.failed.take() {
                return Advanced::Failed(error);
            }
            // What happens at one time is told of together, and others decide in which order; or one after the other.
            let due = self.agenda.next().is_some_and(|next| next <= self.now);
            if (!self.ready.is_empty() || has_rung()) && (!due || self.chance.once_in(APART)) {
                return Advanced::Ready;
            }
            match (self.agenda.next(), until) {
                (Some(next), until) if until.is_none_or(|until| next <= until) => {
                    self.now = self.now.max(next);
                    let happening = self.agenda.take().expect("it is the next");
                    self.happen(happening);
                }
                // Only where time would pass: to ask costs a call for each socket.
                (_, until) if until.is_none_or(|until| until > self.now) && self.look_for_closed() => {}
                (_, Some(until)) => {
                    self.now = self.now.max(until);
                    return Advanced::Passed;
                }
                (_, None) => return Advanced::Nothing,
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Asked { from, times } => self.asked(from, times),
            Happening::Answered { to, other } => self.answered(to, other),
            Happening::Refused { to, code } => self.refused(to, code),
            Happening::Arrived { to, bytes, since } => self.arrived(to, bytes, since),
            Happening::Ended { to, since } => self.ended(to, since),
            Happening::Reset { to, code } => self.reset_arrived(to, code),
            Happening::Datagram(datagram) => self.deliver(datagram),
            Happening::Unreachable(datagram) => self.unreachable(&datagram),
            Happening::Elsewhere(call) => {
                self.failed = self.other.get_or_insert_with(OtherThread::start).run(call).err();
            }
        }
    }

    /// Begins anew, with other decisions: all sockets are gone. Those who have a descriptor yet have nothing.
    pub(super) fn begin_anew(&mut self, origin: &Origin) {
        self.chance.begin_anew(origin);
        self.rules.clone_from(&self.first_rules);
        self.links.heal();
        self.names.clear();
        self.now = 0;
        self.agenda.clear();
        self.slots.clear();
        self.free.clear();
        self.descriptors.clear();
        self.bound.clear();
        self.ready.clear();
        self.next_port = FIRST_PORT;
        self.stands = 0;
        self.failed = None;
    }
}

fn unspecified(is_v6: bool) -> IpAddr {
    if is_v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}

fn loopback(is_v6: bool) -> IpAddr {
    if is_v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
}
