//! What is queued on a descriptor, and what is known of it while something is.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use super::attempt::{Attempt, Pending};
use super::call::{self, Side};
use crate::buffers::BufferPool;
use crate::op::Interest;
use crate::slots::OpId;

/// A descriptor, by its number.
#[derive(Default)]
pub(super) struct Descriptor {
    pub(super) read: VecDeque<OpId>,
    pub(super) write: VecDeque<OpId>,
    pub(super) watchers: Vec<OpId>,
    /// The interest that is armed.
    pub(super) armed: Interest,
    /// Whether the number has been registered before: says which of the two calls to try first.
    pub(super) registered: bool,
    /// Whether the receive at the front waits for a provided buffer.
    pub(super) starved: bool,
    /// When it will be tried by time.
    pub(super) retry: Option<Instant>,
    pub(super) delay: Duration,
    /// Events in a row that led nowhere.
    pub(super) spurious: u8,
    error: Option<LeftError>,
}

/// The error that ended an operation after it had moved bytes: for the next operation on the same socket.
struct LeftError {
    error: io::Error,
    /// Whose it is: a later socket with the same number must not be told.
    identity: Option<u64>,
}

impl Descriptor {
    pub(super) fn queue(&mut self, side: Side) -> &mut VecDeque<OpId> {
        match side {
            Side::Read => &mut self.read,
            Side::Write => &mut self.write,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.read.is_empty() && self.write.is_empty() && self.watchers.is_empty()
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
