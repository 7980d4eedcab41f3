//! The server as a service of the system's manager: what that hears of it, and when.
//!
//! From the beginning of a stop it hears of nothing else: a restart that was under way then ends without a word. To
//! tell is not left early (one that is told to leave stops the server, which is what there is to tell), and waits only
//! where the manager does not read.

use std::cell::{Cell, RefCell};
use std::io;
use std::time::Duration;

use super::sys::manager;
use crate::select::{after, first_of};
use crate::tasklet::{Builder, JoinHandle};
use crate::time::uncancellable;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The manager waits, or is not to be told.
    Silent,
    Serving,
    Stopping,
}

#[derive(Debug)]
pub(super) struct Service {
    tell: bool,
    phase: Cell<Phase>,
    /// Within which time the manager wants to hear that the server is alive.
    interval: Option<Duration>,
    watchdog: RefCell<Option<JoinHandle<()>>>,
}

impl Service {
    /// # Errors
    /// Where the variables of the watchdog are wrong.
    pub(super) fn new(tell: bool) -> io::Result<Service> {
        let interval = if tell { manager::watchdog_interval()? } else { None };
        Ok(Service { tell, phase: Cell::new(Phase::Silent), interval, watchdog: RefCell::default() })
    }

    /// All workers are ready.
    pub(super) fn begins(&self) -> io::Result<()> {
        if !self.tell {
            return Ok(());
        }
        manager::ready()?;
        self.phase.set(Phase::Serving);
        if let Some(interval) = self.interval {
            let name = Builder::new().name("systemd watchdog");
            *self.watchdog.borrow_mut() = Some(name.spawn(move || feed(interval / 2))?);
        }
        Ok(())
    }

    /// Workers are replaced until the value is dropped.
    pub(super) fn reloads(&self) -> Reloading<'_> {
        self.say(manager::reloading);
        Reloading(self)
    }

    pub(super) fn stops(&self) {
        if self.phase.get() == Phase::Serving {
            self.phase.set(Phase::Stopping);
            let _ = uncancellable(manager::stopping);
        }
    }

    /// Where the manager cannot be told, the server serves all the same.
    fn say(&self, what: impl FnOnce() -> io::Result<bool>) {
        if self.phase.get() == Phase::Serving {
            let _ = uncancellable(what);
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.cancel();
        }
    }
}

pub(super) struct Reloading<'a>(&'a Service);

impl Drop for Reloading<'_> {
    fn drop(&mut self) {
        self.0.say(manager::ready);
    }
}

/// Says that the server is alive as long as this thread runs its tasklets, until it is cancelled.
fn feed(rest: Duration) {
    loop {
        // The manager may be busy, or starting anew.
        let _ = manager::watchdog();
        if first_of(&mut [&mut after(rest)]).is_err() {
            return;
        }
    }
}
