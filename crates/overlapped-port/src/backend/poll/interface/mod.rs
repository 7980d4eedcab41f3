//! The conversation with epoll or kqueue: a descriptor's registration, the sleep, and the bell that ends it.
//!
//! Both modules offer the same methods:
//!
//! - `arm` sets what a descriptor is watched for, whether or not the system knows it already.
//! - `confirm` says whether a number still means what it was registered for. Both systems forget a registration with the
//!   open file that it was made for, so the number's next owner has none: that is the whole test, it is exact, and it
//!   changes nothing that is armed.
//! - `forget` ends a registration before a close.
//! - `collect` sleeps and brings what is ready. One call: it also keeps time to the nanosecond, and a signal ends it.
//!
//! The crate `polling`, which was here before, hides the answers on which `confirm` rests, asks for more than is wanted
//! (urgent data with readability), goes on sleeping after a signal, and makes five calls where one will do.
//!
//! After fork(2) the child has the same interface. Nothing but its own descriptors is closed when it is dropped there: the
//! registrations stay the parent's.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::Notify;
use crate::explained::explained;
use crate::op::Interest;
use crate::sim::World;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod epoll;
#[cfg(any(target_os = "linux", target_os = "android"))]
use epoll::Interface as System;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use epoll::{NAME, TELLS_PRIORITY};

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod kqueue;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use kqueue::Interface as System;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) use kqueue::{NAME, TELLS_PRIORITY};

mod simulated;

/// The system's, or that of a simulated world.
pub(super) enum Interface {
    System(System),
    World(simulated::Interface),
}

impl Interface {
    pub(super) fn new() -> io::Result<Interface> {
        let system = System::new()?;
        Ok(match World::here() {
            None => Interface::System(system),
            Some(world) => Interface::World(simulated::Interface::new(system, world)),
        })
    }

    /// Has a descriptor watched; `known` says whether it probably is registered. Errors and hang-ups come unasked.
    pub(super) fn arm(&mut self, fd: RawFd, interest: Interest, trigger: Trigger, known: bool) -> io::Result<()> {
        match self {
            Interface::System(system) => system.arm(fd, interest, trigger, known),
            Interface::World(world) => world.arm(fd, interest, trigger, known),
        }
    }

    /// Whether `fd` is still what was registered under this number.
    pub(super) fn confirm(&self, fd: RawFd, armed: Interest) -> io::Result<bool> {
        match self {
            Interface::System(system) => system.confirm(fd, armed),
            Interface::World(world) => world.confirm(fd, armed),
        }
    }

    /// Ends a registration, where there is one.
    pub(super) fn forget(&self, fd: RawFd) {
        match self {
            Interface::System(system) => system.forget(fd),
            Interface::World(world) => world.forget(fd),
        }
    }

    /// Sleeps until something is there, the time is up or a signal has come, and adds what there is to `ready`.
    pub(super) fn collect(&mut self, timeout: Option<Duration>, ready: &mut Vec<Found>) -> io::Result<()> {
        match self {
            Interface::System(system) => system.collect(timeout, ready),
            Interface::World(world) => world.collect(timeout, ready),
        }
    }

    /// The descriptors that are its own.
    pub(super) fn own_files(&self) -> Vec<RawFd> {
        match self {
            Interface::System(system) => system.own_files(),
            Interface::World(world) => world.own_files(),
        }
    }

    pub(super) fn notifier(&self) -> Arc<dyn Notify> {
        match self {
            Interface::System(system) => system.notifier(),
            Interface::World(world) => world.notifier(),
        }
    }
}

/// The most that one collection brings: what is ready beyond it comes with the next, in the system's own order of turns.
const MOST: usize = 1024;

/// When an armed descriptor is reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Trigger {
    /// Once, while or as soon as it is ready; then no more until it is armed again.
    #[default]
    Once,
    /// Whenever something about it changes, and once at the start where it is ready.
    Changes,
}

/// A descriptor that is ready: for one side, or for both where it has an error or its peer is gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) fd: RawFd,
    pub(super) readable: bool,
    pub(super) writable: bool,
}

/// An error at the start, with its likely cause.
fn refused(error: std::io::Error) -> std::io::Error {
    let reason = match error.raw_os_error() {
        Some(libc::EMFILE) => "this process has too many descriptors open (see ulimit -n)",
        Some(libc::ENFILE) => "the system has too many files open",
        Some(libc::ENOMEM) => "the kernel is out of memory",
        Some(libc::ENOSYS | libc::EPERM) => "a seccomp filter or another sandbox may deny it",
        _ => "the reason is not known",
    };
    let text = format!("poll: {NAME} could not be set up: {error}; {reason}");
    explained(error, text)
}

/// Takes a new descriptor.
///
/// # Safety
/// `fd` is the answer of a call that has just opened it, or -1.
unsafe fn own(fd: RawFd) -> std::io::Result<std::os::fd::OwnedFd> {
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the caller's promise: nobody else owns it.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) })
}
