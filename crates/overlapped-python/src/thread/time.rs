//! Time passes: `sleep`, the alarm under `overlapped.timeout`; and `uncancellable`, in which neither that nor a cancel counts.
//! What a tasklet is told, and when, is in `thrown`.

use std::mem::ManuallyDrop;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use overlapped::engine::{self, Cause, Mask, Scheduler, Timer, Waiter};
use overlapped_port::sim::now;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pyo3::{PyTraverseError, PyVisit};

use super::inside::Inside;
use super::life::runtime;
use super::runtime::{existing, program_ends, thread_ident};
use super::thrown::{keep_due, take_thrown};
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
    while until.is_some_and(|until| now() < until) {
        if engine::park(until, "sleep").is_err() {
            return Err(runtime.raise(py));
        }
    }
    Ok(())
}

/// A timer after which every wait of the tasklet that set it raises an exception, until it is taken back. The base of
/// `overlapped.timeout`; and of `overlapped.Group`, which has no time but an end.
///
/// Any thread may drop it or take it back: a collector that finds it in a cycle, whoever closes a generator.
#[pyclass(frozen, module = "overlapped._engine")]
pub(crate) struct Alarm {
    waiter: Waiter,
    number: u64,
    exception: Py<PyAny>,
    /// False once it was taken back.
    wanted: Arc<AtomicBool>,
    timer: Mutex<Option<OnThread>>,
}

/// The timer, and the scheduler whose it is; of use on its thread alone.
struct OnThread {
    thread: u64,
    scheduler: ManuallyDrop<Weak<Scheduler>>,
    timer: Option<Timer>,
}

// SAFETY: `scheduler` is used on its own thread alone, which is asked for before. Dropped on another one, it is leaked: a
// few bytes, for a weak reference keeps nothing alive.
unsafe impl Send for OnThread {}

impl OnThread {
    /// Takes the timer back, on its own thread.
    fn clear(self) {
        if self.thread == thread_ident()
            && let Some(scheduler) = ManuallyDrop::into_inner(self.scheduler).upgrade()
            && let Some(timer) = self.timer
        {
            scheduler.clear(timer);
        }
    }
}

impl Alarm {
    /// Starts the timer, on the thread of the tasklet that is told.
    fn start(&self, scheduler: &Rc<Scheduler>, due: Option<Instant>) {
        let timer = due.map(|due| {
            let (theirs, wanted, number) = (self.waiter.clone(), Arc::clone(&self.wanted), self.number);
            scheduler.call_at(due, move |_| {
                if wanted.load(Ordering::Relaxed) {
                    theirs.interrupt(Cause::OutOfTime(number));
                }
            })
        });
        let scheduler = ManuallyDrop::new(Rc::downgrade(scheduler));
        let timer = OnThread { thread: thread_ident(), scheduler, timer };
        *self.timer.lock().unwrap_or_else(PoisonError::into_inner) = Some(timer);
    }
}

#[pymethods]
impl Alarm {
    /// Has the current tasklet's waits raise `exception` after `seconds`; `None`: when it is rung.
    #[new]
    fn new(py: Python<'_>, seconds: Option<f64>, exception: Bound<'_, PyAny>) -> PyResult<Alarm> {
        let due = deadline(seconds)?;
        let scheduler = &runtime(py)?.scheduler;
        let (number, waiter, wanted) = (keep_due(&exception)?, Waiter::current(), Arc::new(AtomicBool::new(true)));
        scheduler.begin_scope_as(number);
        let alarm = Alarm { waiter, number, exception: exception.unbind(), wanted, timer: Mutex::new(None) };
        alarm.start(scheduler, due);
        Ok(alarm)
    }

    /// Has it go off after `seconds` from now instead; `None`: when it is rung. What has gone off has.
    fn set(&self, py: Python<'_>, seconds: Option<f64>) -> PyResult<()> {
        let due = deadline(seconds)?;
        let scheduler = &runtime(py)?.scheduler;
        let before = self.timer.lock().unwrap_or_else(PoisonError::into_inner).take();
        match before {
            Some(timer) if timer.thread == thread_ident() => timer.clear(),
            other => {
                *self.timer.lock().unwrap_or_else(PoisonError::into_inner) = other;
                return Err(PyRuntimeError::new_err("a time is moved by its own thread, until it was taken back"));
            }
        }
        self.start(scheduler, due);
        Ok(())
    }

    /// Has it go off now, from any thread.
    fn ring(&self) {
        if self.wanted.load(Ordering::Relaxed) {
            self.waiter.interrupt(Cause::OutOfTime(self.number));
        }
    }

    /// Takes it back, also where it has gone off: no further wait raises the exception. Returns whether one has; on another
    /// thread than the tasklet's, where it is taken back soon, that is not known.
    fn clear(&self) -> bool {
        self.wanted.store(false, Ordering::Relaxed);
        let timer = self.timer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(timer) = timer else { return false };
        timer.clear();
        let told = self.waiter.end_scope(self.number);
        drop(take_thrown(self.number));
        told
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.exception)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.clear();
    }
}

/// For a `with` statement whose waits are not told of a cancel, or of a `timeout` round it.
#[pyclass(frozen, name = "uncancellable", module = "overlapped")]
#[derive(Default)]
pub(crate) struct Uncancellable {
    /// `None` where the thread had no tasklets.
    inside: Inside<Option<Mask>>,
}

#[pymethods]
impl Uncancellable {
    #[new]
    fn new() -> Uncancellable {
        Uncancellable::default()
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<()> {
        // At the end of the program nobody waits on the port, and nobody is cancelled.
        let here = if program_ends() { existing() } else { Some(runtime(py)?) };
        self.inside.enter(here.map(|here| here.scheduler.mask()));
        Ok(())
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, _args: Bound<'_, PyTuple>) -> PyResult<()> {
        let mask = self.inside.leave("an uncancellable")?;
        if let (Some(here), Some(mask)) = (existing(), mask) {
            here.scheduler.unmask(mask);
        }
        Ok(())
    }
}
