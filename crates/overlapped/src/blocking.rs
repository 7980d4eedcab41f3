//! What sockets and files share: one operation that only the calling tasklet waits for, and its time-out.
//!
//! Whatever is made here or in `net` and `fs` for the kernel to look at (addresses, message headers, lists of buffers)
//! is put on the heap: the stack of a foreign tasklet, a greenlet's, is copied away while it waits.

use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use overlapped_port::{Op, Outcome};

use crate::scheduler;
use crate::time::deadline_after;

/// The most buffers that the system takes in one call (`IOV_MAX`); those beyond are left for the next one.
pub(crate) const MOST_BUFFERS: usize = 1024;

/// Runs an operation that brings a number.
pub(crate) fn count(op: Op<'_>, deadline: Option<Instant>) -> io::Result<usize> {
    match scheduler::current()?.perform(op, deadline)? {
        Outcome::Count(count) => Ok(count),
        outcome => unreachable!("an operation that brings a number brought {outcome:?}"),
    }
}

/// The form in which the port takes a buffer to fill.
#[allow(unsafe_code, reason = "the standard library has no safe form of this")]
pub(crate) fn fillable(buffer: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    let length = buffer.len();
    // SAFETY: same layout, same lifetime. The port only ever writes bytes that the system has given, so the buffer's
    // owner finds no uninitialised one in it.
    unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast(), length) }
}

/// How long one kind of operation on a handle may take, as `set_read_timeout` and its like set it.
#[derive(Debug, Default)]
pub(crate) struct Timeout {
    /// In nanoseconds; 0: without end.
    nanoseconds: AtomicU64,
}

impl Timeout {
    pub(crate) fn get(&self) -> Option<Duration> {
        match self.nanoseconds.load(Ordering::Relaxed) {
            0 => None,
            nanoseconds => Some(Duration::from_nanos(nanoseconds)),
        }
    }

    /// Sets it. As in the standard library, a time-out of zero is an error.
    pub(crate) fn set(&self, timeout: Option<Duration>) -> io::Result<()> {
        let nanoseconds = match timeout {
            None => 0,
            Some(Duration::ZERO) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a time-out of zero: use None for no time-out",
                ));
            }
            Some(timeout) => u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX),
        };
        self.nanoseconds.store(nanoseconds, Ordering::Relaxed);
        Ok(())
    }

    /// When an operation that begins now has to end.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.get().map(deadline_after)
    }
}

impl Clone for Timeout {
    fn clone(&self) -> Timeout {
        Timeout { nanoseconds: AtomicU64::new(self.nanoseconds.load(Ordering::Relaxed)) }
    }
}
