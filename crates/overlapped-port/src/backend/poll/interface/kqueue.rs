//! kqueue(2).
//!
//! A registration is a filter on a number, reading and writing apart, and the kernel removes both when the number is
//! closed, whatever duplicates there are: so no event is ever for a former owner, and an operation that waits for one is
//! found out when the filter that was armed for it is gone (`ENOENT`).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use super::{Found, MOST, Trigger, own, refused};
use crate::backend::Notify;
use crate::op::Interest;

pub(in crate::backend::poll) const NAME: &str = "kqueue";

/// Whether it can tell of urgent data.
pub(in crate::backend::poll) const TELLS_PRIORITY: bool = false;

/// The two filters of a descriptor.
const FILTERS: [(Interest, i16); 2] =
    [(Interest::READABLE, libc::EVFILT_READ as i16), (Interest::WRITABLE, libc::EVFILT_WRITE as i16)];

fn change(ident: usize, filter: i16, flags: u16, note: u32) -> libc::kevent {
    // SAFETY: a structure of integers and an address that is only handed back: zeroes are values for all.
    let mut change: libc::kevent = unsafe { std::mem::zeroed() };
    change.ident = ident;
    change.filter = filter;
    change.flags = flags;
    change.fflags = note;
    change
}

/// The kernel's queue.
struct Queue(OwnedFd);

impl Queue {
    /// Makes one change.
    fn apply(&self, change: libc::kevent) -> io::Result<()> {
        // SAFETY: one change, and no room for events.
        match unsafe {
            libc::kevent(self.0.as_raw_fd(), &raw const change, 1, std::ptr::null_mut(), 0, std::ptr::null())
        } {
            0.. => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Notify for Queue {
    fn notify(&self) {
        // It fails only where there is no memory for it.
        let _ = self.apply(change(0, libc::EVFILT_USER as i16, 0, libc::NOTE_TRIGGER));
    }
}

pub(in crate::backend::poll) struct Interface {
    queue: Arc<Queue>,
    found: Vec<libc::kevent>,
}

impl Interface {
    pub(in crate::backend::poll) fn new() -> io::Result<Interface> {
        // SAFETY: the call has just opened it.
        let queue = unsafe { own(libc::kqueue()) }.map_err(refused)?;
        // SAFETY: no memory is involved.
        if unsafe { libc::fcntl(queue.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
            return Err(refused(io::Error::last_os_error()));
        }
        let queue = Queue(queue);
        let bell = change(0, libc::EVFILT_USER as i16, libc::EV_ADD as u16 | libc::EV_CLEAR as u16, 0);
        queue.apply(bell).map_err(refused)?;
        Ok(Interface { queue: Arc::new(queue), found: Vec::with_capacity(MOST) })
    }

    /// Has a descriptor watched, and no more for what is not asked.
    pub(in crate::backend::poll) fn arm(
        &self,
        fd: RawFd,
        interest: Interest,
        trigger: Trigger,
        _known: bool,
    ) -> io::Result<()> {
        let trigger = if trigger == Trigger::Once { libc::EV_DISPATCH } else { libc::EV_CLEAR };
        for (bit, filter) in FILTERS {
            let wanted = interest.contains(bit);
            let flags = if wanted { libc::EV_ADD | libc::EV_ENABLE | trigger } else { libc::EV_DELETE };
            match self.queue.apply(change(fd as usize, filter, flags as u16, 0)) {
                Err(error) if !wanted && error.raw_os_error() == Some(libc::ENOENT) => {}
                // The other end of a pipe is gone: the try says so, and will be made by time.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {
                    return Err(io::Error::from_raw_os_error(libc::EPERM));
                }
                answer => answer?,
            }
        }
        Ok(())
    }

    /// Whether `fd` is still what the filters in `armed` were set for. Where none is armed there is no telling.
    pub(in crate::backend::poll) fn confirm(&self, fd: RawFd, armed: Interest) -> io::Result<bool> {
        for (_, filter) in FILTERS.iter().filter(|(bit, _)| armed.contains(*bit)) {
            match self.queue.apply(change(fd as usize, *filter, libc::EV_ENABLE as u16, 0)) {
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(false),
                answer => answer?,
            }
        }
        Ok(true)
    }

    /// Ends a registration, where there is one.
    pub(in crate::backend::poll) fn forget(&self, fd: RawFd) {
        let _ = self.arm(fd, Interest::default(), Trigger::Once, true);
    }

    /// Sleeps until something is there, the time is up or a signal has come, and adds what there is to `ready`.
    pub(in crate::backend::poll) fn collect(
        &mut self,
        timeout: Option<Duration>,
        ready: &mut Vec<Found>,
    ) -> io::Result<()> {
        let time = timeout.map(|time| libc::timespec {
            tv_sec: time.as_secs().min(i32::MAX as u64) as _,
            tv_nsec: time.subsec_nanos().into(),
        });
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let (queue, room) = (self.queue.0.as_raw_fd(), self.found.as_mut_ptr());
        // SAFETY: there is room for so many events; the time is null or a local.
        let count = unsafe { libc::kevent(queue, std::ptr::null(), 0, room, MOST as _, time) };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        };
        // SAFETY: the kernel has filled in so many, and there is room for them.
        unsafe { self.found.set_len(count) };
        ready.extend(self.found.iter().filter(|event| event.filter != libc::EVFILT_USER as i16).map(|event| Found {
            fd: event.ident as RawFd,
            readable: event.filter == libc::EVFILT_READ as i16,
            writable: event.filter == libc::EVFILT_WRITE as i16,
        }));
        Ok(())
    }

    /// The descriptors that are its own.
    pub(in crate::backend::poll) fn own_files(&self) -> Vec<RawFd> {
        vec![self.queue.0.as_raw_fd()]
    }

    pub(in crate::backend::poll) fn notifier(&self) -> Arc<dyn Notify> {
        Arc::clone(&self.queue) as Arc<dyn Notify>
    }
}
