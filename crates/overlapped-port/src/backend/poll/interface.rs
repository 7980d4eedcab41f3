//! The conversation with epoll or kqueue, through the crate `polling`.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use polling::{Event, Events, PollMode, Poller};

use super::call;
use crate::backend::Notify;
use crate::op::Interest;

/// What is underneath, by name.
pub(super) const NAME: &str = if cfg!(target_os = "linux") { "epoll" } else { "kqueue" };

/// Whether it can tell of urgent data.
pub(super) const TELLS_PRIORITY: bool = cfg!(target_os = "linux");

/// `polling`'s object: shared with whoever wakes the port, and dropped only in the process that made it. A child after
/// fork(2) has the same epoll: dropping the object there would take the notification out of the parent's.
pub(super) struct Interface {
    poller: ManuallyDrop<Poller>,
    process: u32,
}

impl Interface {
    pub(super) fn new() -> io::Result<Interface> {
        let poller = Poller::new().map_err(|error| {
            let reason = match error.raw_os_error() {
                Some(libc::EMFILE) => "this process has too many descriptors open (see ulimit -n)",
                Some(libc::ENFILE) => "the system has too many files open",
                Some(libc::ENOMEM) => "the kernel is out of memory",
                Some(libc::ENOSYS | libc::EPERM) => "a seccomp filter or another sandbox may deny it",
                _ => "the reason is not known",
            };
            io::Error::new(error.kind(), format!("poll: {NAME} could not be set up: {error}; {reason}"))
        })?;
        Ok(Interface { poller: ManuallyDrop::new(poller), process: std::process::id() })
    }

    /// Arms a one-shot interest, whether or not the kernel still knows the descriptor; `known` says what is likely.
    pub(super) fn arm(&self, fd: RawFd, interest: Interest, known: bool, entries: &mut u64) -> io::Result<()> {
        let mut event =
            Event::new(fd as usize, interest.contains(Interest::READABLE), interest.contains(Interest::WRITABLE));
        event.set_priority(interest.contains(Interest::PRIORITY));
        let add = || {
            // SAFETY: the operation's descriptor is open, its caller says. It may be closed before it is deleted: to
            // epoll and kqueue that is the end of it.
            unsafe { self.poller.add_with_mode(fd, event, PollMode::Oneshot) }
        };
        let modify = || {
            // SAFETY: as above.
            self.poller.modify_with_mode(unsafe { BorrowedFd::borrow_raw(fd) }, event, PollMode::Oneshot)
        };
        let first = if known { modify() } else { add() };
        *entries += 1;
        let Err(error) = first else { return Ok(()) };
        *entries += 1;
        match error.kind() {
            io::ErrorKind::NotFound => add(),
            io::ErrorKind::AlreadyExists => modify(),
            _ => Err(error),
        }
    }

    /// Takes a descriptor out of the kernel's table, where it is in it.
    pub(super) fn forget(&self, fd: RawFd) {
        // SAFETY: the caller of the close operation keeps the descriptor open until it is closed.
        let _ = self.poller.delete(unsafe { BorrowedFd::borrow_raw(fd) });
    }

    /// Sleeps until something is there; false where nothing is, after the time-out or a signal. Asked first even where
    /// there is no time to sleep: a collection costs `polling` five calls.
    pub(super) fn sleep(&self, timeout: Option<Duration>) -> io::Result<bool> {
        match call::sleep_on(self.poller.as_raw_fd(), timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            found => found,
        }
    }

    /// Collects what is there.
    pub(super) fn collect(&self, found: &mut Events) -> io::Result<()> {
        found.clear();
        self.poller.wait(found, Some(Duration::ZERO)).map(drop)
    }

    fn is_ours(&self) -> bool {
        std::process::id() == self.process
    }

    /// At the backend's end: in a forked child, closes its copy of epoll. (`polling` keeps the descriptors of its
    /// notification to itself; they stay open until the child ends or executes another program.)
    pub(super) fn leave(&self) {
        if !self.is_ours() {
            let _ = call::close(self.poller.as_raw_fd());
        }
    }
}

impl Notify for Interface {
    fn notify(&self) {
        // It fails only where the notification is there already.
        let _ = self.poller.notify();
    }
}

impl Drop for Interface {
    fn drop(&mut self) {
        if self.is_ours() {
            // SAFETY: the field is not used after this.
            unsafe { ManuallyDrop::drop(&mut self.poller) };
        }
    }
}
