//! What a port says of itself.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::inbox::Waker;

/// How often a port did what, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Operations begun.
    pub submitted: u64,
    /// Operations that were done as soon as they were begun.
    pub immediate: u64,
    /// Operations ended, cancelled ones among them.
    pub completed: u64,
    /// Cancels asked for.
    pub cancels: u64,
    /// Operations run on the thread pool.
    pub offloaded: u64,
    /// Calls of [`Port::poll`](crate::Port::poll).
    pub polls: u64,
    /// Entries into the kernel's completion or readiness interface.
    pub kernel_entries: u64,
    /// Times that another thread had to wake the sleeping port.
    pub wakes: u64,
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "operations: {} begun ({} done at once, {} on the thread pool), {} ended, {} cancels",
            self.submitted, self.immediate, self.offloaded, self.completed, self.cancels
        )?;
        write!(f, "polls: {} with {} kernel entries; woken {} times", self.polls, self.kernel_entries, self.wakes)
    }
}

/// A number that one thread counts and others read.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// One more. Only the port's thread writes, so a plain load and store will do.
    pub(crate) fn count(&self) {
        self.set(self.get() + 1);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters while they are counted: [`Counters`] has what each is.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) submitted: Count,
    pub(crate) immediate: Count,
    pub(crate) completed: Count,
    pub(crate) cancels: Count,
    pub(crate) offloaded: Count,
    pub(crate) polls: Count,
    pub(crate) kernel_entries: Count,
}

/// Shows a port's counters to whatever thread, at any time.
#[derive(Clone)]
pub struct Observer {
    tally: Arc<Tally>,
    waker: Waker,
}

impl Observer {
    pub(crate) fn new(tally: Arc<Tally>, waker: Waker) -> Observer {
        Observer { tally, waker }
    }

    /// What the port has done until now.
    pub fn counters(&self) -> Counters {
        let tally = &self.tally;
        Counters {
            submitted: tally.submitted.get(),
            immediate: tally.immediate.get(),
            completed: tally.completed.get(),
            cancels: tally.cancels.get(),
            offloaded: tally.offloaded.get(),
            polls: tally.polls.get(),
            kernel_entries: tally.kernel_entries.get(),
            wakes: self.waker.0.notified(),
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("counters", &self.counters()).finish()
    }
}

/// An operation in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its name: `"recv"`, `"accept"`, …
    pub operation: &'static str,
    /// The handle it is on, as a number.
    pub handle: Option<usize>,
    /// The token its completion will carry.
    pub token: u64,
    /// How long it has been in flight.
    pub age: Duration,
}

/// What a port is, what it did, what it waits for.
#[derive(Clone, Debug)]
pub struct Report {
    /// The backend that runs: `"uring"`, `"poll"`, …
    pub backend: &'static str,
    /// How it was set up: flags, sizes, what the kernel refused.
    pub setup: Vec<String>,
    /// Why a better backend does not run, one entry each: what failed, with which error, and its likely cause.
    /// Empty where the best one runs, or where a backend was asked for by name.
    pub refused: Vec<String>,
    /// What it did.
    pub counters: Counters,
    /// What is in flight, the oldest first.
    pub in_flight: Vec<Pending>,
    /// Timers set.
    pub timers: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "backend: {}", self.backend)?;
        for fact in &self.setup {
            writeln!(f, "  {fact}")?;
        }
        for reason in &self.refused {
            writeln!(f, "not used: {reason}")?;
        }
        writeln!(f, "{}", self.counters)?;
        write!(f, "in flight: {}; timers: {}", self.in_flight.len(), self.timers)?;
        for pending in &self.in_flight {
            write!(f, "\n  {}", pending.operation)?;
            if let Some(handle) = pending.handle {
                write!(f, " on {handle}")?;
            }
            write!(f, " for {:.3} s", pending.age.as_secs_f64())?;
        }
        Ok(())
    }
}
