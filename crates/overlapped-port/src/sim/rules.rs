//! What a world does to those who talk in it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// What happens in a simulated world beside what its programs do. Numbers that say how often something happens are "once in
/// so many times"; 0 is never.
///
/// [`Rules::default`] does what every network and every kernel does: bytes take their time, come in parts and in any order
/// that is allowed. What fails, fails where it is asked for: [`Rules::rough`], or field by field.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The shortest time that bytes are on their way.
    pub latency: Duration,
    /// How much longer it may be.
    pub jitter: Duration,
    /// Sockets have priorities, which are drawn at random, and anew once in so many sends: what one of the lowest sends takes 128
    /// times as long as what one of the highest does. Whoever is slow stays slow so, and others go on a long way meanwhile: it
    /// finds what needs few changes at the right moments (after Burckhardt et al., "A randomized scheduler with probabilistic
    /// guarantees of finding bugs", 2010). 0: all are equal.
    pub priorities: u32,
    /// How many bytes a stream keeps that were sent and not yet received: more wait at the sender.
    pub window: usize,
    /// How often a transfer on a stream moves less than it could.
    pub short: u32,
    /// How often a call on a socket that is ready says that it would block (`EAGAIN`), as select(2) warns of.
    pub again: u32,
    /// How often a read or write of a file moves less than it could.
    pub short_files: u32,
    /// How often a datagram is lost.
    pub loss: u32,
    /// How often a datagram comes twice.
    pub doubled: u32,
    /// How often a send on a stream finds that the connection was reset.
    pub reset: u32,
    /// How often a connect is refused although somebody listens.
    pub refused: u32,
    /// How often a new socket, an accept or a duplicate finds no descriptor left (`EMFILE`).
    pub no_descriptors: u32,
    /// How often a send finds no memory in the kernel (`ENOBUFS`).
    pub no_buffers: u32,
    /// How often a look-up of a name fails for now (`EAI_AGAIN`).
    pub no_names: u32,
    /// How long a look-up of a name takes at most.
    pub slow_names: Duration,
    /// How often a write to a file finds the disk full (`ENOSPC`) or broken (`EIO`), which may have got a part of it, and an
    /// fsync fails (`EIO`).
    pub no_disk: u32,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            latency: Duration::from_micros(50),
            jitter: Duration::from_millis(2),
            priorities: 0,
            window: 64 << 10,
            short: 8,
            again: 0,
            short_files: 0,
            loss: 0,
            doubled: 0,
            reset: 0,
            refused: 0,
            no_descriptors: 0,
            no_buffers: 0,
            no_names: 0,
            slow_names: Duration::from_millis(20),
            no_disk: 0,
        }
    }
}

impl Rules {
    /// Nothing but the order of what happens is decided: bytes take the same time always, and come as they were sent. For
    /// searches that go through all there is.
    pub fn steady() -> Rules {
        Rules { jitter: Duration::ZERO, short: 0, slow_names: Duration::ZERO, ..Rules::default() }
    }

    /// A bad day: everything fails now and then.
    pub fn rough() -> Rules {
        Rules {
            jitter: Duration::from_millis(200),
            window: 4 << 10,
            short: 3,
            again: 10,
            short_files: 3,
            loss: 10,
            doubled: 20,
            reset: 50,
            refused: 20,
            no_descriptors: 50,
            no_buffers: 50,
            no_names: 10,
            slow_names: Duration::from_secs(10),
            no_disk: 50,
            ..Rules::default()
        }
    }
}

/// What lies between two addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Nothing comes through: datagrams are lost, streams send again and again (RFC 9293), for a quarter of an hour.
    pub is_down: bool,
    /// So much longer takes all that comes through.
    pub delay: Duration,
    /// One datagram in so many is lost; one segment of a stream in so many is sent again after a fifth of a second.
    pub loss: u32,
}

/// The links that are not as all others.
#[derive(Default)]
pub(super) struct Links(BTreeMap<(IpAddr, IpAddr), Link>);

impl Links {
    /// What lies on the way from one address to another.
    pub(super) fn on_the_way(&self, from: IpAddr, to: IpAddr) -> Link {
        if self.0.is_empty() { Link::default() } else { self.0.get(&(from, to)).copied().unwrap_or_default() }
    }

    pub(super) fn set(&mut self, from: IpAddr, to: IpAddr, link: Link) {
        match link == Link::default() {
            true => self.0.remove(&(from, to)),
            false => self.0.insert((from, to), link),
        };
    }

    pub(super) fn heal(&mut self) {
        self.0.clear();
    }
}
