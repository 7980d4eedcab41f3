//! Waits for signals: for a handler to be called, as pause(2), and for those that are blocked, as sigwait(3). Which of them are
//! whose is said in `overlapped._signal`.

use std::ffi::c_int;

use overlapped::engine;
use pyo3::prelude::*;

use super::life::runtime;
use super::signal::is_main_thread;
use crate::python::error::from_io;
use crate::python::system;

/// Waits until the main tasklet has called a signal's handler. Which signals these were: a bit for each number.
#[pyfunction]
pub(crate) fn await_handler(py: Python<'_>) -> PyResult<u64> {
    let runtime = runtime(py)?;
    let (me, pausing) = (runtime.scheduler.current_tasklet(), &runtime.greenlets.pausing);
    pausing.borrow_mut().push((me, 0));
    let came = || pausing.borrow().iter().find(|(id, _)| *id == me).map_or(0, |(_, came)| *came);
    let mut told = Ok(());
    while told.is_ok() && came() == 0 {
        told = engine::park(None, "signal");
    }
    let came = came();
    pausing.borrow_mut().retain(|(id, _)| *id != me);
    told.map(|()| came).map_err(|_| runtime.raise(py))
}

/// A descriptor that is readable while one of these signals is pending; the caller closes it.
#[pyfunction]
pub(crate) fn signal_descriptor(signals: Vec<c_int>) -> PyResult<c_int> {
    system::signal_descriptor(&signals).map_err(from_io)
}

/// Whether the caller is on the thread to which Python gives signals.
#[pyfunction]
pub(crate) fn on_main_thread() -> bool {
    is_main_thread()
}
