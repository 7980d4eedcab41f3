//! epoll(7).
//!
//! A registration is that of an open file under a number: `EPOLL_CTL_ADD` answers `EEXIST` where the number still means
//! the file that was registered under it, and succeeds where it has come to mean another; the old registration, where a
//! duplicate keeps it alive, is beside it and out of reach. `EPOLL_CTL_MOD` answers `ENOENT` for the same reason.
//!
//! Not used: `EPOLLEXCLUSIVE`, for a listener that several threads share. It wakes one thread a connection, and that
//! thread may have no accept waiting when it comes to look: the others, who have, would sleep on. So all are woken and
//! all but one find nothing; between connections none is.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::null;
use std::sync::Arc;
use std::time::Duration;

use libc::{c_int, epoll_event};

use super::{Found, MOST, Trigger, own, refused};
use crate::backend::Notify;
use crate::op::Interest;

pub(in crate::backend::poll) const NAME: &str = "epoll";

/// Whether it can tell of urgent data.
pub(in crate::backend::poll) const TELLS_PRIORITY: bool = true;

/// The bell's key; descriptors have their numbers.
const BELL: u64 = u64::MAX;

/// An eventfd that is never read: each write to it is a change, and that is what it is watched for.
struct Bell(OwnedFd);

impl Notify for Bell {
    fn notify(&self) {
        let one = 1u64;
        // SAFETY: eight bytes of a local. The counter overflows after 2^64 notifications; nothing else can fail here.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
    }

    fn leave_after_fork(&self) {
        // SAFETY: the descriptor is not used again, nor dropped: its number is nobody's but ours.
        unsafe { libc::close(self.0.as_raw_fd()) };
    }
}

pub(in crate::backend::poll) struct Interface {
    epoll: OwnedFd,
    bell: Arc<Bell>,
    found: Vec<epoll_event>,
    /// Whether epoll_pwait2(2) is there: Linux 5.11, and no filter that does not know it.
    exact: bool,
}

impl Interface {
    pub(in crate::backend::poll) fn new() -> io::Result<Interface> {
        // SAFETY: the call has just opened it.
        let epoll = unsafe { own(libc::epoll_create1(libc::EPOLL_CLOEXEC)) }.map_err(refused)?;
        // SAFETY: the call has just opened it.
        let bell = unsafe { own(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)) }.map_err(refused)?;
        let interface = Interface { epoll, bell: Arc::new(Bell(bell)), found: Vec::with_capacity(MOST), exact: true };
        let watched = epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: BELL };
        interface.control(libc::EPOLL_CTL_ADD, interface.bell.0.as_raw_fd(), watched).map_err(refused)?;
        Ok(interface)
    }

    fn control(&self, what: c_int, fd: RawFd, mut event: epoll_event) -> io::Result<()> {
        // SAFETY: `event` is a local; the kernel copies it.
        match unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), what, fd, &raw mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Has a descriptor watched; `known` says whether it probably is registered. Errors and hang-ups come unasked.
    pub(in crate::backend::poll) fn arm(
        &self,
        fd: RawFd,
        interest: Interest,
        trigger: Trigger,
        known: bool,
    ) -> io::Result<()> {
        let events = [
            (interest.contains(Interest::READABLE), libc::EPOLLIN),
            (interest.contains(Interest::WRITABLE), libc::EPOLLOUT),
            (interest.contains(Interest::PRIORITY), libc::EPOLLPRI),
            (trigger == Trigger::Once, libc::EPOLLONESHOT),
            (trigger == Trigger::Changes, libc::EPOLLET),
        ];
        let events = events.iter().filter(|(wanted, _)| *wanted).fold(0, |all, (_, bit)| all | bit) as u32;
        let event = epoll_event { events, u64: fd as u64 };
        let (first, second, otherwise) = match known {
            true => (libc::EPOLL_CTL_MOD, libc::EPOLL_CTL_ADD, libc::ENOENT),
            false => (libc::EPOLL_CTL_ADD, libc::EPOLL_CTL_MOD, libc::EEXIST),
        };
        match self.control(first, fd, event) {
            Err(error) if error.raw_os_error() == Some(otherwise) => self.control(second, fd, event),
            answer => answer,
        }
    }

    /// Whether `fd` is still what was registered under this number. Where it is not, it now is registered, for nothing
    /// but errors. `EPERM` where epoll takes no such file, `EBADF` where the number means nothing.
    pub(in crate::backend::poll) fn confirm(&self, fd: RawFd, _armed: Interest) -> io::Result<bool> {
        let event = epoll_event { events: libc::EPOLLONESHOT as u32, u64: fd as u64 };
        match self.control(libc::EPOLL_CTL_ADD, fd, event) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(true),
            answer => answer.map(|()| false),
        }
    }

    /// Ends a registration, where there is one.
    pub(in crate::backend::poll) fn forget(&self, fd: RawFd) {
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, epoll_event { events: 0, u64: 0 });
    }

    /// Sleeps until something is there, the time is up or a signal has come, and adds what there is to `ready`.
    pub(in crate::backend::poll) fn collect(
        &mut self,
        timeout: Option<Duration>,
        ready: &mut Vec<Found>,
    ) -> io::Result<()> {
        let count = match self.sleep(timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            count => count?,
        };
        // SAFETY: the kernel has filled in so many, and there is room for them.
        unsafe { self.found.set_len(count) };
        let has = |event: &epoll_event, bits: c_int| event.events & bits as u32 != 0;
        let ends = libc::EPOLLERR | libc::EPOLLHUP;
        ready.extend(self.found.iter().filter(|event| event.u64 != BELL).map(|event| Found {
            fd: event.u64 as RawFd,
            readable: has(event, libc::EPOLLIN | libc::EPOLLPRI | ends),
            writable: has(event, libc::EPOLLOUT | libc::EPOLLPRI | ends),
        }));
        Ok(())
    }

    fn sleep(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let epoll = self.epoll.as_raw_fd();
        let (room, most) = (self.found.as_mut_ptr(), MOST as c_int);
        let mut milliseconds = match timeout {
            None => -1,
            Some(_) => 0,
        };
        if let Some(time) = timeout.filter(|time| !time.is_zero()) {
            // The kernel's own form of it, with 64 bits for both on every machine.
            let time = [time.as_secs().min(i32::MAX as u64) as i64, time.subsec_nanos().into()];
            if self.exact {
                // SAFETY: there is room for so many events; the time is a local; no signal mask is given.
                let count = unsafe {
                    libc::syscall(
                        libc::SYS_epoll_pwait2,
                        epoll,
                        room,
                        most,
                        time.as_ptr(),
                        null::<libc::sigset_t>(),
                        0usize,
                    )
                };
                match usize::try_from(count) {
                    Ok(count) => return Ok(count),
                    Err(_) => match io::Error::last_os_error() {
                        error if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => self.exact = false,
                        error => return Err(error),
                    },
                }
            }
            // Rounded up, so that a timer is not met too early and asked for again and again.
            milliseconds = (time[0] * 1000 + (time[1] + 999_999) / 1_000_000).min(c_int::MAX.into()) as c_int;
        }
        // SAFETY: there is room for so many events.
        let count = unsafe { libc::epoll_wait(epoll, room, most, milliseconds) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// The descriptors that are its own.
    pub(in crate::backend::poll) fn own_files(&self) -> Vec<RawFd> {
        vec![self.epoll.as_raw_fd(), self.bell.0.as_raw_fd()]
    }

    pub(in crate::backend::poll) fn notifier(&self) -> Arc<dyn Notify> {
        Arc::clone(&self.bell) as Arc<dyn Notify>
    }
}
