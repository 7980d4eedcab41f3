//! When every tasklet waits for another, and nobody is left: the main one is told so, by an error, for the program would
//! hang for ever.
//!
//! It is none where somebody may still come whom nobody sees beforehand: another thread of Python's, a signal's handler, a
//! thread of a C library that calls back into Python. Which handlers are set could be asked, but test runners and frameworks
//! set some that wake nobody; and threads of C libraries cannot be known of. What such give is an event, one of a semaphore,
//! or an item of a `SimpleQueue`, which the standard library has for handlers: so where anybody waits for one of these, be it
//! as one of several things, there is no deadlock. Nor where anybody waits for a lock that it has taken itself: so
//! `threading.Condition` waits for a notification, and with it `threading.Event`, which handlers set. A lock that another
//! tasklet has taken is that one's to release. Where the system, a timer or an offloaded function may bring something, the
//! scheduler itself says so.
//!
//! Who finds the thread with nothing to do may be parked already, where no object of Python's is to be made: the collector
//! might run a finalizer that waits. So the main tasklet, which is gone back to, raises the error.

use std::io;

use overlapped::engine::{Scheduler, TaskletId};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;

use super::greenlets::Greenlets;
use super::thrown::throw;

/// What only other tasklets can do.
const OF_TASKLETS: [&str; 11] = [
    "channel send",
    "channel receive",
    "join",
    "queue get",
    "queue put",
    "queue join",
    "condition",
    "barrier",
    "group",
    "lock",
    "the first of several",
];

/// What others may do too.
const OF_ANYBODY: [&str; 6] = ["event", "semaphore", "queue", "signal", OWN_LOCK, FIRST_OF_ANYBODY];

/// A wait for a lock by the tasklet that has taken it.
pub(crate) const OWN_LOCK: &str = "lock of its own";

/// A wait for the first of several things, of which one is an event or a semaphore.
pub(crate) const FIRST_OF_ANYBODY: &str = "the first of several, an event or a semaphore among them";

/// The name of a wait for what only other tasklets can do, which is made of a primitive that others may use too.
pub(crate) fn of_tasklets(waits_for: &str) -> PyResult<&'static str> {
    let known = OF_TASKLETS.into_iter().find(|known| *known == waits_for);
    known.ok_or_else(|| PyValueError::new_err(format!("{waits_for:?} is no wait for what only tasklets do")))
}

/// Whether whoever is about to wait in the port would wait for ever. The main tasklet is then to run.
pub(super) fn is_one(py: Python<'_>, greenlets: &Greenlets, scheduler: &Scheduler) -> bool {
    let deadlock = scheduler.is_deadlocked() && only_thread(py) && wait_for_each_other(greenlets, scheduler);
    greenlets.deadlock.replace(deadlock.then(|| {
        let waiting = who_waits(scheduler);
        format!("Deadlock: the last runnable tasklet cannot be blocked: every tasklet waits for another ({waiting})")
    }));
    deadlock
}

/// What the main tasklet raises where a simulated world has come to its end.
pub(super) fn in_world(scheduler: &Scheduler, error: &io::Error) -> String {
    format!("{error} ({})", who_waits(scheduler))
}

/// Raises the error in the main tasklet, which runs.
#[cold]
pub(super) fn raise(py: Python<'_>, greenlets: &Greenlets, scheduler: &Scheduler) {
    let error = PyRuntimeError::new_err(greenlets.deadlock.take().unwrap_or_default());
    throw(scheduler, TaskletId::ROOT, error.into_value(py).into_any());
}

/// Whether no other thread has Python's ear.
fn only_thread(_: Python<'_>) -> bool {
    // SAFETY: the GIL is held: the list of thread states does not change.
    unsafe {
        let state = ffi::PyThreadState_Get();
        let first = ffi::PyInterpreterState_ThreadHead(ffi::PyInterpreterState_Get());
        first == state && ffi::PyThreadState_Next(first).is_null()
    }
}

/// Whether the main tasklet waits for what only other tasklets can do, and none of them for what others can.
fn wait_for_each_other(greenlets: &Greenlets, scheduler: &Scheduler) -> bool {
    OF_TASKLETS.contains(&scheduler.waits_for(TaskletId::ROOT))
        && greenlets.ids(|_| true).into_iter().all(|id| !OF_ANYBODY.contains(&scheduler.waits_for(id)))
}

/// The tasklets, each with what it waits for; of many, the first.
fn who_waits(scheduler: &Scheduler) -> String {
    // The listing shows the one as running that has found this.
    let tasklets: Vec<TaskletId> = std::iter::once(TaskletId::ROOT).chain(scheduler.ids()).collect();
    let shown = tasklets.iter().take(MOST_SHOWN).map(|id| {
        let name = scheduler.name(*id);
        format!("{}: {}", name.as_deref().unwrap_or("one without a name"), scheduler.waits_for(*id))
    });
    let more = tasklets.len().checked_sub(MOST_SHOWN).filter(|more| *more > 0).map(|more| format!("{more} more"));
    shown.chain(more).collect::<Vec<_>>().join(", ")
}

const MOST_SHOWN: usize = 8;
