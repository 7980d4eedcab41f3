//! A function of Python's that is told of each switch between tasklets: for tracing, and for Stackless's schedule callback.
//!
//! It is called where the switch has arrived, in the tasklet that goes on, as a signal's handler is in the main one. What it
//! raises is shown, and goes no further: the tasklet may be in the middle of anything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use overlapped::engine::TaskletId;
use pyo3::prelude::*;

use super::greenlets::Greenlets;

static TOLD: AtomicBool = AtomicBool::new(false);
static CALLBACK: Mutex<Option<Py<PyAny>>> = Mutex::new(None);

/// Has `callback(before, after)` called at each switch, on whatever thread; None is for one that has ended. None as the
/// callback ends that.
#[pyfunction]
pub(crate) fn on_switch(callback: Option<Py<PyAny>>) {
    TOLD.store(callback.is_some(), Ordering::Relaxed);
    let before = std::mem::replace(&mut *CALLBACK.lock().unwrap_or_else(PoisonError::into_inner), callback);
    drop(before);
}

/// To be called where the tasklet `me` goes on, or begins.
pub(super) fn arrives(py: Python<'_>, greenlets: &Greenlets, me: TaskletId) {
    if TOLD.load(Ordering::Relaxed) {
        tell(py, greenlets, me);
    }
}

#[cold]
#[inline(never)]
fn tell(py: Python<'_>, greenlets: &Greenlets, me: TaskletId) {
    let before = greenlets.ran.replace(Some(me));
    if before == Some(me) || greenlets.telling.replace(true) {
        return;
    }
    let pending = PyErr::take(py);
    let called = || -> PyResult<()> {
        // The thread itself has no object until somebody asks for one.
        let (Some(before), Some(after)) = (before, greenlets.object(py, me)) else { return Ok(()) };
        let callback =
            CALLBACK.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|known| known.clone_ref(py));
        let Some(callback) = callback else { return Ok(()) };
        callback.call1(py, (greenlets.object(py, before), after)).map(drop)
    };
    if let Err(error) = called() {
        error.write_unraisable(py, None);
    }
    greenlets.telling.set(false);
    if let Some(pending) = pending {
        pending.restore(py);
    }
}
