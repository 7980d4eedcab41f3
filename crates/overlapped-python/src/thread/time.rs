//! Time passes: `sleep`, and the alarm under `overlapped.timeout`.

use std::mem::ManuallyDrop;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use overlapped::engine::{self, Cause, Scheduler, Timer, Waiter};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::life::runtime;
use super::runtime::{program_ends, thread_ident};
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
///
/// Any thread may drop it or take it back: a collector that finds it in a cycle, whoever closes a generator.
#[pyclass(frozen, module = "overlapped._engine")]
pub(crate) struct Alarm {
    waiter: Waiter,
    number: u64,
    /// False once it was taken back.
    wanted: Arc<AtomicBool>,
    timer: Mutex<Option<OnThread>>,
}

/// The timer, and the scheduler whose it is; of use on its thread alone.
struct OnThread {
    thread: u64,
    scheduler: ManuallyDrop<Weak<Scheduler>>,
    timer: Timer,
}

// SAFETY: `scheduler` is used on its own thread alone, which is asked for before. Dropped on another one, it is leaked: a
// few bytes, for a weak reference keeps nothing alive.
unsafe impl Send for OnThread {}

impl OnThread {
    /// Takes the timer back, and the exception where it was not raised yet; false on another thread.
    fn clear(self, number: u64, waiter: &Waiter) -> bool {
        if self.thread != thread_ident() {
            return false;
        }
        if let Some(scheduler) = ManuallyDrop::into_inner(self.scheduler).upgrade() {
            scheduler.clear(self.timer);
            if let Some(id) = waiter.id() {
                scheduler.withdraw(id, Cause::Thrown(number));
            }
        }
        true
    }
}

#[pymethods]
impl Alarm {
    /// Raises `exception` in the current tasklet after `seconds`.
    #[new]
    fn new(py: Python<'_>, seconds: f64, exception: Py<PyAny>) -> PyResult<Alarm> {
        let due = deadline(Some(seconds))?.expect("a number of seconds was given");
        let scheduler = &runtime(py)?.scheduler;
        let (number, waiter, wanted) = (keep_thrown(exception), Waiter::current(), Arc::new(AtomicBool::new(true)));
        let (theirs, still_wanted) = (waiter.clone(), Arc::clone(&wanted));
        let timer = scheduler.call_at(due, move |_| {
            if still_wanted.load(Ordering::Relaxed) {
                theirs.interrupt(Cause::Thrown(number));
            }
        });
        let scheduler = ManuallyDrop::new(Rc::downgrade(scheduler));
        let timer = OnThread { thread: thread_ident(), scheduler, timer };
        Ok(Alarm { waiter, number, wanted, timer: Mutex::new(Some(timer)) })
    }

    /// Takes it back, also where it has gone off and was not raised yet. On another thread it may be too late for that.
    fn clear(&self) {
        self.wanted.store(false, Ordering::Relaxed);
        let timer = self.timer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if timer.is_some_and(|timer| timer.clear(self.number, &self.waiter)) {
            drop(take_thrown(self.number));
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.clear();
    }
}
