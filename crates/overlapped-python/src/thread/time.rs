//! Time passes: `sleep`, and the alarm under `overlapped.timeout`.

use std::rc::Rc;
use std::time::{Duration, Instant};

use overlapped::engine::{self, Cause, Scheduler, Timer, Waiter};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::life::runtime;
use super::runtime::program_ends;
use super::thrown::{keep_thrown, take_thrown};
use crate::python::time::{FOREVER, deadline};

/// Lets `seconds` pass; only the calling tasklet waits. 0 lets the others run.
#[pyfunction]
#[pyo3(signature = (seconds=0.0))]
pub(crate) fn sleep(py: Python<'_>, seconds: f64) -> PyResult<()> {
    if seconds < 0.0 {
        return Err(PyValueError::new_err("sleep length must be non-negative"));
    }
    if program_ends() {
        py.detach(|| std::thread::sleep(Duration::from_secs_f64(seconds.min(FOREVER.as_secs_f64()))));
        return Ok(());
    }
    let runtime = runtime(py)?;
    if seconds == 0.0 {
        return runtime.scheduler.yield_now().map_err(|_| runtime.raise(py));
    }
    let until = deadline(Some(seconds))?;
    while until.is_some_and(|until| Instant::now() < until) {
        if engine::park(until, "sleep").is_err() {
            return Err(runtime.raise(py));
        }
    }
    Ok(())
}

/// A timer that raises an exception in the tasklet that set it. The base of `overlapped.timeout`.
#[pyclass(unsendable, module = "overlapped._engine")]
pub(crate) struct Alarm {
    waiter: Waiter,
    scheduler: Rc<Scheduler>,
    number: u64,
    timer: Option<Timer>,
}

#[pymethods]
impl Alarm {
    /// Raises `exception` in the current tasklet after `seconds`.
    #[new]
    fn new(py: Python<'_>, seconds: f64, exception: Py<PyAny>) -> PyResult<Alarm> {
        let runtime = runtime(py)?;
        let number = keep_thrown(exception);
        let waiter = Waiter::current();
        let due = deadline(Some(seconds))?.expect("a number of seconds was given");
        let theirs = waiter.clone();
        let timer = runtime.scheduler.call_at(due, move |_| theirs.interrupt(Cause::Thrown(number)));
        Ok(Alarm { waiter, scheduler: Rc::clone(&runtime.scheduler), number, timer: Some(timer) })
    }

    /// Takes it back, also where it has gone off and was not raised yet.
    fn clear(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.scheduler.clear(timer);
            if let Some(id) = self.waiter.id() {
                self.scheduler.withdraw(id, Cause::Thrown(self.number));
            }
            drop(take_thrown(self.number));
        }
    }
}
