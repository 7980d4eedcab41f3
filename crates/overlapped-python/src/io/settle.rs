//! What whoever closes a handle does first.

use std::time::Duration;

use overlapped::engine::Scheduler;
use pyo3::prelude::*;

use crate::python::error::from_io;
use crate::thread::runtime::existing;

/// Cancels what is in flight on a handle, with `cancel`, and waits until `left` says that nothing is. Whoever closes a
/// handle goes on closing: an interrupt waits until that is done.
pub(crate) fn settle(cancel: impl FnOnce(&Scheduler) -> usize, left: impl Fn(&Scheduler) -> usize) -> PyResult<()> {
    let Some(runtime) = existing() else { return Ok(()) };
    let scheduler = &runtime.scheduler;
    if cancel(scheduler) == 0 {
        return Ok(());
    }
    while left(scheduler) > 0 {
        let _ = scheduler.yield_now();
        scheduler.turn(Some(Duration::from_millis(1))).map_err(from_io)?;
    }
    Ok(())
}
