//! What a descriptor is ready for, in the sense of select(2) (the kernel's `POLLIN_SET`, `POLLOUT_SET`).

use std::io;
use std::os::fd::RawFd;

use super::call;
use crate::op::Interest;

/// What to ask poll(2) for each interest, and which answers mean it.
const MEANINGS: [(Interest, i16, i16); 3] = [
    (Interest::READABLE, libc::POLLIN, libc::POLLIN | libc::POLLHUP | libc::POLLERR),
    (Interest::WRITABLE, libc::POLLOUT, libc::POLLOUT | libc::POLLERR),
    (Interest::PRIORITY, libc::POLLPRI, libc::POLLPRI),
];

/// What is told unasked.
const ENDS: [(Interest, i16); 2] = [(Interest::ERROR, libc::POLLERR), (Interest::HANGUP, libc::POLLHUP)];

/// The bits that poll(2) has found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readiness(i16);

fn asked(interest: Interest) -> i16 {
    let asked = MEANINGS.iter().filter(|(bit, ..)| interest.contains(*bit));
    asked.fold(0, |events, (_, ask, _)| events | ask)
}

impl Readiness {
    /// What of `interest` is there now, and whether there is an error or an end.
    pub(super) fn now(fd: RawFd, interest: Interest) -> io::Result<Readiness> {
        call::poll_now(fd, asked(interest)).map(Readiness)
    }

    /// Whether something of `interest` itself is there, an error or an end aside.
    pub(super) fn has(self, interest: Interest) -> bool {
        self.0 & asked(interest) != 0
    }

    /// Whether there is an error or an end.
    pub(super) fn ends(self) -> bool {
        self.0 & (libc::POLLERR | libc::POLLHUP) != 0
    }

    /// What one is told who waits for `interest`: `None` where he waits on.
    pub(super) fn told(self, interest: Interest) -> Option<Interest> {
        let meant = MEANINGS.iter().filter(|(bit, ..)| interest.contains(*bit)).map(|(bit, _, set)| (*bit, *set));
        let told = meant.chain(ENDS).filter(|(_, set)| self.0 & set != 0);
        (self.has(interest) || self.ends()).then(|| told.fold(Interest::default(), |all, (bit, _)| all | bit))
    }
}
