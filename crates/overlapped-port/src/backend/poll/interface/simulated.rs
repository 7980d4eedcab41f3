//! The readiness of a simulated world: its sockets' is the world's, and time passes as it has it. What else a program has
//! (pipes, Unix sockets) is the system's, and is looked at without waiting: who waits for it waits for another tasklet.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Found, System, Trigger};
use crate::backend::Notify;
use crate::op::Interest;
use crate::sim::{self, Advanced, World};

/// Somebody has rung.
#[derive(Default)]
struct Bell(AtomicBool);

impl Notify for Bell {
    fn notify(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub(in crate::backend::poll) struct Interface {
    system: System,
    /// Something of the system's was armed.
    has_real: bool,
    world: World,
    bell: Arc<Bell>,
}

impl Interface {
    pub(super) fn new(system: System, world: World) -> Interface {
        Interface { system, has_real: false, world, bell: Arc::default() }
    }

    pub(super) fn arm(&mut self, fd: RawFd, interest: Interest, trigger: Trigger, known: bool) -> io::Result<()> {
        let events = [(Interest::READABLE, libc::POLLIN), (Interest::WRITABLE, libc::POLLOUT)];
        let events = events.iter().filter(|(bit, _)| interest.contains(*bit)).fold(0, |all, (_, bit)| all | bit);
        let watched = sim::on(fd, |kernel, _| kernel.watch(fd, Some(events), trigger == Trigger::Once));
        watched.unwrap_or_else(|| {
            self.has_real = true;
            self.system.arm(fd, interest, trigger, known)
        })
    }

    pub(super) fn confirm(&self, fd: RawFd, armed: Interest) -> io::Result<bool> {
        let known = sim::on(fd, |kernel, _| match kernel.is_watched(fd) {
            Ok(false) => kernel.watch(fd, None, true).map(|()| false),
            known => known,
        });
        known.unwrap_or_else(|| self.system.confirm(fd, armed))
    }

    pub(super) fn forget(&self, fd: RawFd) {
        if sim::on(fd, |kernel, _| kernel.unwatch(fd)).is_none() {
            self.system.forget(fd);
        }
    }

    pub(super) fn collect(&mut self, timeout: Option<Duration>, ready: &mut Vec<Found>) -> io::Result<()> {
        if self.has_real {
            self.system.collect(Some(Duration::ZERO), ready)?;
        }
        let at_once = !ready.is_empty() || self.bell.0.swap(false, Ordering::SeqCst);
        let timeout = if at_once { Some(Duration::ZERO) } else { timeout };
        match self.world.advance(timeout, || self.bell.0.load(Ordering::SeqCst)) {
            Advanced::Failed(error) => return Err(error),
            Advanced::Nothing => return Err(io::Error::other(NOTHING)),
            Advanced::Stands => return Err(io::Error::other(STANDS)),
            Advanced::Passed => {}
            Advanced::Ready => self.world.kernel().take_ready(|fd, found| {
                let ends = found & (libc::POLLERR | libc::POLLHUP) != 0;
                let has = |bit| ends || found & bit != 0;
                ready.push(Found { fd, readable: has(libc::POLLIN), writable: has(libc::POLLOUT) });
            }),
        }
        Ok(())
    }

    pub(super) fn own_files(&self) -> Vec<RawFd> {
        self.system.own_files()
    }

    pub(super) fn notifier(&self) -> Arc<dyn Notify> {
        Arc::clone(&self.bell) as Arc<dyn Notify>
    }
}

const STANDS: &str = "tasklets run on and on, and no time passes: in a simulated world this is for ever (a loop that asks \
                      again and again, and never sleeps)";

const NOTHING: &str = "every tasklet waits, and nothing is on its way that could wake one: in a simulated world this is \
                       for ever (a deadlock, or somebody is waited for who is not in it)";
