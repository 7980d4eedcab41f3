//! Preemption: a thread that is a tasklet gives way where it has computed for `sys.getswitchinterval()`, as threads do.
//!
//! The scheduler's thread is watched by its CPU time (see the crate's `preempt`). Where it was held for an interval, the
//! watching thread has Python believe that a signal has come (`PyErr_SetInterruptEx`): no system call is interrupted,
//! nothing is sent. Python calls the signal's handler, a [`Preemption`], where it next looks, in the code that holds the
//! thread; and there it gives way, unless it must not:
//!
//! - in code of this package, which counts on its tasklet going on to its next wait, and in the standard library's that it
//!   has just called; in the import system, which does likewise; in a destructor (`__del__`);
//! - in a tasklet of [`spawn`](super::tasklet::spawn_function): new code is written to be interrupted at waits alone;
//! - within `no_preempt` (see [`no_preempt`](super::no_preempt)); on a greenlet of the program's own.
//!
//! In a timed `run` of Stackless's ([`idle`]), whatever tasklet has used up the time is stopped likewise, a
//! spawned one too, and is paused as it leaves its turn; what it is told meanwhile is raised there. A tasklet that is not
//! preemptible (Stackless's `atomic`) is left alone by both.
//!
//! Nobody gives way where no other is ready, and nothing is under way that could make one so. Which code it is, is not looked at
//! then, for Python makes an object of each frame that is looked at.
//!
//! Who must not be stopped where it is, is asked again soon. What its wait would be told (a cancel, a time-out) is not told
//! to a thread: code that waits for nothing expects nothing.
//!
//! Rejected: `Py_AddPendingCall` (CPython calls none while one is called, so that one who has given way in it would keep all
//! others from it); a frame evaluation function (PEP 523; each call of a function costs more); a real signal (a program's
//! system calls end with EINTR).

use std::ffi::c_int;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use overlapped::engine::TaskletId;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::held::begin_to_watch;
use super::idle;
use super::runtime::{Runtime, existing};
use super::signal::is_main_thread;
use super::tasklet::Tasklet;
use super::worker::without_gil;
use crate::python::capi;
use crate::python::error::from_io;
use crate::python::greenlet;

/// How long a thread may compute, in nanoseconds of its CPU time; 0 where nobody is preempted.
static INTERVAL: AtomicU64 = AtomicU64::new(0);
/// After how long a tasklet is asked in the run that is timed, in the same; 0 where none is.
static TIMED: AtomicU64 = AtomicU64::new(0);
/// The number of the signal that Python is to believe in.
static SIGNAL: AtomicI32 = AtomicI32::new(0);
/// After how many nanoseconds it is asked again who did not give way when asked last; 0 where it did.
static AGAIN: AtomicU64 = AtomicU64::new(0);
/// Whether one who was asked gives way: one of the three below.
static GIVING: AtomicU8 = AtomicU8::new(NOBODY);
const NOBODY: u8 = 0;
const GIVES: u8 = 1;
/// It goes on, whoever else has run: its time begins anew.
const GAVE: u8 = 2;
/// What the thread that watches is doing: one of the four below.
static ASKING: AtomicU8 = AtomicU8::new(QUIET);
const QUIET: u8 = 0;
const ASKS: u8 = 1;
/// It must not ask any more.
const ENDED: u8 = 2;
/// It must not ask for now.
const STOPPED: u8 = 3;
/// After how much more it is asked again who must not give way where it is.
const SOON: Duration = Duration::from_micros(500);
/// How often it is looked whether threads are preempted again, where they are not.
const IDLE: Duration = Duration::from_millis(10);
/// How many frames of the standard library's may lie between this package's code and where it is.
const NEAR: usize = 4;
/// How many frames are looked through for a destructor.
const FAR: usize = 50;
/// The files of this package, and their functions, under which all of a thread's code lies, or the program's.
const BEGIN: [(&str, &str); 5] = [
    ("_thread.py", "_run"),
    ("_thread.py", "_run_joinable"),
    ("_threading.py", "live"),
    ("__main__.py", "run"),
    ("_tasklet.py", "_live"),
];

/// Has threads that are tasklets preempted after `interval` seconds from now on; None: not any more.
#[pyfunction]
pub(crate) fn preempt(interval: Option<f64>) -> PyResult<()> {
    let nanoseconds = match interval {
        None => 0,
        Some(seconds) => {
            let interval = Duration::try_from_secs_f64(seconds);
            let interval = interval.map_err(|error| PyValueError::new_err(format!("preempt({seconds}): {error}")))?;
            nanoseconds(interval)
        }
    };
    INTERVAL.store(nanoseconds, Ordering::Relaxed);
    Ok(())
}

/// Says by the handler of which signal, which is a `Preemption`.
#[pyfunction]
pub(crate) fn preempt_by(number: c_int) {
    SIGNAL.store(number, Ordering::Relaxed);
}

fn nanoseconds(interval: Duration) -> u64 {
    u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1)
}

fn interval() -> Option<Duration> {
    let each = [&INTERVAL, &TIMED].map(|each| each.load(Ordering::Relaxed));
    each.into_iter().filter(|each| *each != 0).min().map(Duration::from_nanos)
}

/// Watches this thread from now on, where it is Python's main one and threads are preempted: to be called where one begins.
/// Not before, for a fork beside a thread of the system's has Python warn, from 3.12 on.
pub(super) fn begin(runtime: &Runtime) -> PyResult<()> {
    if INTERVAL.load(Ordering::Relaxed) != 0 && is_main_thread() { watch(runtime) } else { Ok(()) }
}

/// A run that is timed, until it is dropped: who uses up its time is stopped where it is. On Python's main thread, and where
/// there is a handler for it; elsewhere it is not.
pub(super) struct Timed {
    before: Option<u64>,
}

impl Timed {
    pub(super) fn begin(runtime: &Runtime, limit: Duration) -> PyResult<Timed> {
        if SIGNAL.load(Ordering::Relaxed) == 0 || !is_main_thread() {
            return Ok(Timed { before: None });
        }
        let (before, mine) = (TIMED.load(Ordering::Relaxed), nanoseconds(limit.min(IDLE)));
        TIMED.store(if before == 0 { mine } else { mine.min(before) }, Ordering::Relaxed);
        let timed = Timed { before: Some(before) };
        watch(runtime)?;
        Ok(timed)
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            TIMED.store(before, Ordering::Relaxed);
        }
    }
}

/// Has the thread watched, once.
fn watch(runtime: &Runtime) -> PyResult<()> {
    let Some(first) = interval() else { return Ok(()) };
    if runtime.greenlets.preempted.replace(true) {
        return Ok(());
    }
    begin_to_watch(&runtime.scheduler);
    let (mut left, mut last) = (first, first);
    let look = move |held: bool| {
        let Some(interval) = interval() else { return Some(IDLE) };
        let goes_on = GIVING.compare_exchange(GAVE, NOBODY, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        left = if held && !goes_on { left.saturating_sub(last).min(interval) } else { interval };
        if left.is_zero() {
            if !ask() {
                return None;
            }
            left = SOON;
        }
        match AGAIN.swap(0, Ordering::Relaxed) {
            0 => {}
            again => left = Duration::from_nanos(again),
        }
        // Who goes on after it has given way is noticed soon, so that an interval counts from there.
        last = if GIVING.load(Ordering::Relaxed) == GIVES { left.min(SOON) } else { left };
        Some(last)
    };
    runtime.scheduler.preempt(first, Box::new(look)).map_err(from_io)
}

/// Has Python call the handler, soon; false where the program ends.
fn ask() -> bool {
    match ASKING.compare_exchange(QUIET, ASKS, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => {}
        Err(STOPPED) => return true,
        Err(_) => return false,
    }
    // SAFETY: it takes a number, needs no GIL, and writes to memory that is always there.
    unsafe { capi::PyErr_SetInterruptEx(SIGNAL.load(Ordering::Relaxed)) };
    // Up to Python 3.12 the main thread only looks for what another has noted when it has given the GIL away and has it back.
    #[cfg(not(any(windows, Py_3_13)))]
    Python::attach(|_| ());
    ASKING.store(QUIET, Ordering::SeqCst);
    true
}

/// The end of the program: nobody asks any more when this returns, for the GIL neither.
pub(super) fn end(py: Python<'_>) {
    become_when_quiet(py, ENDED);
}

fn become_when_quiet(py: Python<'_>, state: u8) {
    while ASKING.compare_exchange(QUIET, state, Ordering::SeqCst, Ordering::SeqCst) == Err(ASKS) {
        py.detach(std::thread::yield_now);
    }
}

/// Calls `function(*args)`, on Python's main thread, while nobody asks. Where CPython believes that a signal has come, it writes to
/// the descriptor that is told of signals, there and then: the thread that watches could be in the midst of that when the
/// descriptor has been taken back and is closed, and its number another's.
#[pyfunction]
#[pyo3(signature = (function, *args))]
pub(crate) fn while_nobody_asks(function: &Bound<'_, PyAny>, args: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    become_when_quiet(function.py(), STOPPED);
    let called = function.call1(args);
    // Not where the program has ended meanwhile.
    let _ = ASKING.compare_exchange(STOPPED, QUIET, Ordering::SeqCst, Ordering::SeqCst);
    called.map(Bound::unbind)
}

/// The child after a fork has no such thread, whatever it was doing.
pub(super) fn after_fork() {
    ASKING.store(QUIET, Ordering::SeqCst);
    GIVING.store(NOBODY, Ordering::Relaxed);
}

/// The handler of the signal that has a thread give way. To the program the signal has none.
#[pyclass(frozen, module = "overlapped._engine")]
pub(crate) struct Preemption {
    /// Where the code of this package is.
    ours: Py<PyString>,
    /// And that of the standard library.
    standard: Py<PyString>,
}

#[pymethods]
impl Preemption {
    /// Both folders as the names of code's files begin.
    #[new]
    fn new(ours: Py<PyString>, standard: Py<PyString>) -> Preemption {
        Preemption { ours, standard }
    }

    fn __call__(&self, py: Python<'_>, _number: Bound<'_, PyAny>, frame: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        let (Some(runtime), Some(frame)) = (existing(), frame) else { return Ok(()) };
        let by = match time_left(py, &runtime) {
            Some((By::Thread, _)) if runtime.scheduler.is_deadlocked() && !runtime.scheduler.has_news() => {
                GIVING.store(GAVE, Ordering::Relaxed);
                return Ok(());
            }
            Some((by, Duration::ZERO)) if self.may_stop_at(py, frame)? => by,
            left => {
                let again = left.map_or(SOON, |(_, left)| left.max(SOON));
                AGAIN.store(nanoseconds(again), Ordering::Relaxed);
                return Ok(());
            }
        };
        match by {
            By::Thread => {
                GIVING.store(GIVES, Ordering::Relaxed);
                // SAFETY: a turn touches nothing else.
                let wait = |most| unsafe { without_gil(py, || runtime.scheduler.turn(Some(most))) };
                runtime.scheduler.give_way_after_hold(interval().unwrap_or_default(), wait);
                GIVING.store(GAVE, Ordering::Relaxed);
            }
            By::Run => runtime.scheduler.yield_now().map_err(|_| runtime.raise(py))?,
        }
        Ok(())
    }
}

impl Preemption {
    /// Whether code may be stopped where it is: see the top of this module.
    fn may_stop_at(&self, py: Python<'_>, frame: Bound<'_, PyAny>) -> PyResult<bool> {
        let (ours, standard) = (self.ours.to_str(py)?, self.standard.to_str(py)?);
        let mut near = true;
        let mut next = Some(frame);
        for depth in 0..FAR {
            let Some(frame) = next else { break };
            let code = frame.getattr("f_code")?;
            let (file, name) = (code.getattr("co_filename")?, code.getattr("co_name")?);
            let file = file.cast::<PyString>()?.to_cow()?;
            let name = name.cast::<PyString>()?.to_cow()?;
            if name == "__del__" {
                return Ok(false);
            }
            if near && (file.starts_with(ours) || file.starts_with("<frozen importlib")) {
                return Ok(depth > 0 && BEGIN.iter().any(|(begins, by)| name == *by && file.ends_with(begins)));
            }
            near = near && depth < NEAR && file.starts_with(standard);
            next = frame.getattr("f_back")?.extract()?;
        }
        Ok(true)
    }
}

/// Who stops a tasklet: another thread's turn, or the run whose time is up.
enum By {
    Thread,
    Run,
}

/// How much longer the tasklet that runs may hold the thread: no time where it is a thread to Python, else what is left of a
/// timed run; None where it must not be stopped.
fn time_left(py: Python<'_>, runtime: &Runtime) -> Option<(By, Duration)> {
    let (greenlets, me) = (&runtime.greenlets, runtime.scheduler.current_tasklet());
    let member = greenlets.member(py, me);
    let object = member.as_ref().and_then(|member| member.object.cast_bound::<Tasklet>(py).ok());
    let is_its_own = || greenlets.greenlet(py, me).is_some_and(|own| own.is(greenlet::current(py)));
    if runtime.scheduler.is_between()
        || greenlets.asks_for_signals.get()
        || greenlets.unpreempted.borrow().contains_key(&me)
        || object.is_some_and(|object| !object.get().is_preemptible())
        || !is_its_own()
    {
        return None;
    }
    let is_thread = me == TaskletId::ROOT || member.is_some_and(|member| !member.life.ends_with_program);
    let preempts = INTERVAL.load(Ordering::Relaxed) != 0;
    if is_thread && preempts {
        return Some((By::Thread, Duration::ZERO));
    }
    idle::time_left(greenlets, me).map(|left| (By::Run, left))
}
