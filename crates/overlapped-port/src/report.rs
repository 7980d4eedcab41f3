//! What a port says of itself.

use std::fmt;
use std::time::Duration;

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
    /// Operations that had to wait for room: more were in flight than the port's capacity.
    pub held_back: u64,
    /// Operations run on the thread pool.
    pub offloaded: u64,
    /// Calls of [`Port::poll`](crate::Port::poll).
    pub polls: u64,
    /// Entries into the kernel's completion or readiness interface.
    pub kernel_entries: u64,
    /// Times that another thread had to wake the sleeping port.
    pub wakes: u64,
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
    /// The most operations in flight at once.
    pub capacity: usize,
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
        let c = &self.counters;
        writeln!(
            f,
            "operations: {} begun ({} done at once, {} on the thread pool, {} held back), {} ended, {} cancels",
            c.submitted, c.immediate, c.offloaded, c.held_back, c.completed, c.cancels
        )?;
        writeln!(f, "polls: {} with {} kernel entries; woken {} times", c.polls, c.kernel_entries, c.wakes)?;
        write!(f, "in flight: {} of at most {}; timers: {}", self.in_flight.len(), self.capacity, self.timers)?;
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
