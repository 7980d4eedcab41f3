//! What is queued on a descriptor, and what is known of it while something is.

use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use super::attempt::{Attempt, Pending};
use super::call::{self, Side};
use super::interface::Trigger;
use crate::backend::table::Queue;
use crate::buffers::BufferPool;
use crate::op::Interest;

/// When something is tried by time; of what is due at once, in the order in which that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Retry {
    pub(super) at: Instant,
    pub(super) number: u64,
}

/// A descriptor, by its number.
#[derive(Default)]
pub(super) struct Descriptor {
    pub(super) read: Queue,
    pub(super) write: Queue,
    pub(super) watchers: Queue,
    /// How many watch for each of [`WATCHED`].
    watching: [u32; WATCHED.len()],
    /// What it is armed for, if it is.
    pub(super) armed: Option<Interest>,
    /// How it is to be armed.
    pub(super) trigger: Trigger,
    /// How it was armed last: what is reported for every change goes on being so until it is armed anew.
    pub(super) armed_trigger: Trigger,
    /// Whether the number has been registered before: says which of the two calls to try first.
    pub(super) registered: bool,
    /// Whether it was registered since something is queued on it: from then on the number can be confirmed.
    pub(super) known: bool,
    /// Whether the system has refused to watch it.
    pub(super) refused: bool,
    /// Whether the receive at the front waits for a provided buffer.
    pub(super) starved: bool,
    /// Whether the number is in the list of those that wait for one.
    pub(super) listed: bool,
    /// When it will be tried by time.
    pub(super) retry: Option<Retry>,
    pub(super) delay: Duration,
    /// Times in a row that it was ready and yet nothing could be done.
    pub(super) spurious: u8,
    error: Option<LeftError>,
}

const WATCHED: [Interest; 3] = [Interest::READABLE, Interest::WRITABLE, Interest::PRIORITY];

/// The error that ended an operation after it had moved bytes: for the next operation on the same socket.
struct LeftError {
    error: io::Error,
    /// Whose it is: a later socket with the same number must not be told.
    identity: Option<u64>,
}

impl Descriptor {
    pub(super) fn queue(&mut self, side: Option<Side>) -> &mut Queue {
        match side {
            Some(Side::Read) => &mut self.read,
            Some(Side::Write) => &mut self.write,
            None => &mut self.watchers,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.read.is_empty() && self.write.is_empty() && self.watchers.is_empty()
    }

    /// Notes what an operation watches for that is queued, or with `gone` was.
    pub(super) fn count_watch(&mut self, interest: Interest, gone: bool) {
        for (count, bit) in self.watching.iter_mut().zip(WATCHED) {
            let change = u32::from(interest.contains(bit));
            *count = if gone { *count - change } else { *count + change };
        }
    }

    /// What those that watch watch for.
    pub(super) fn watched(&self) -> Interest {
        let bits = self.watching.iter().zip(WATCHED).filter(|(count, _)| **count > 0);
        bits.fold(Interest::default(), |all, (_, bit)| all | bit)
    }

    /// What the queued operations wait for.
    pub(super) fn wanted(&self) -> Interest {
        let mut wanted = self.watched();
        if !self.read.is_empty() && !self.starved {
            wanted = wanted | Interest::READABLE;
        }
        if !self.write.is_empty() {
            wanted = wanted | Interest::WRITABLE;
        }
        wanted
    }

    /// Nothing is queued any more: nothing that is known of the number will be believed.
    pub(super) fn settle(&mut self) {
        self.armed = None;
        self.trigger = Trigger::Once;
        self.known = false;
        self.refused = false;
        self.delay = Duration::ZERO;
        self.spurious = 0;
    }

    /// Tries an operation on it.
    pub(super) fn attempt(&mut self, pending: &mut Pending, buffers: &mut BufferPool) -> Attempt {
        if self.error.is_some()
            && pending.inherits_error()
            && let Some(error) = self.take_error(pending.fd)
        {
            return Attempt::Done(Err(error), None);
        }
        match pending.attempt(buffers) {
            Attempt::Partial(count, buffer, error) => {
                // A broken pipe is told again by the system itself.
                if error.raw_os_error() != Some(libc::EPIPE) {
                    self.error = Some(LeftError { error, identity: call::identity(pending.fd) });
                }
                Attempt::Done(Ok(count), buffer)
            }
            attempt => attempt,
        }
    }

    fn take_error(&mut self, fd: RawFd) -> Option<io::Error> {
        self.error.take().filter(|left| left.identity == call::identity(fd)).map(|left| left.error)
    }

    /// The descriptor is about to be closed.
    pub(super) fn drop_error(&mut self) {
        self.error = None;
    }
}
