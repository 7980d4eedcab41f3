//! What whoever closes a handle does first.

use std::time::Duration;

use overlapped::engine::Scheduler;
use pyo3::prelude::*;

use crate::python::error::from_io;
use crate::thread::runtime::existing;

/// Cancels what is in flight on a handle, with `cancel`, and waits until it says that nothing is. Whoever closes a handle goes
/// on closing: an interrupt waits until that is done.
///
/// It is asked again after each turn: a send of all whose operation has moved a part goes on with another, as long as the handle
/// is open, and that one would be waited for without end.
pub(crate) fn settle(cancel: impl Fn(&Scheduler) -> usize) -> PyResult<()> {
    let Some(runtime) = existing() else { return Ok(()) };
    let scheduler = &runtime.scheduler;
    while cancel(scheduler) > 0 {
        let _ = scheduler.yield_now();
        scheduler.turn(Some(Duration::from_millis(1))).map_err(from_io)?;
    }
    Ok(())
}
