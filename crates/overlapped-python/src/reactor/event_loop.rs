//! The loop itself: what is ready, what is due, and one turn after the other.
//!
//! `EventLoop` is `asyncio.SelectorEventLoop` on this base, which comes first: what a turn and a call need to know lies here,
//! under the names that it has there, and what is hot is native. `_ready` is asyncio's deque and `_scheduled` its heap in a
//! list: programs and their tests look into both, and put handles there.
//!
//! A turn is asyncio's `_run_once`, step by step. That itself is called in debug mode, where what is slow is told of, and
//! where somebody has given the loop another selector or has patched `asyncio.Handle._run`; handles of foreign classes run by
//! their own `_run`. Where `run_forever` asks for a turn it gets several, until it is to stop: it would only ask again, and its
//! two lines of Python cost a sixth of the turn of a task that lets others run.
//!
//! Rejected: a queue of the loop's own, of callbacks without handles. It saves no more than the handles that are used again
//! (see `handles.rs`), and what is to be cancelled or looked at would have to be found there.

use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::deliver::Reactor;
use super::deque::Deque;
use super::handles::{Handles, Kind, handles};
use super::shared::SharedCall;
use super::standard::standard;
use super::timers::Timers;
use super::wait::LoopWait;
use crate::python::reference::Reference;

/// As asyncio's, in `base_events`: no wait is longer, in seconds.
const LONGEST_WAIT: f64 = 24.0 * 3600.0;

/// After so many turns in a row Python has a look at what else there is to do: signals, who wants the GIL.
const IN_A_ROW: usize = 16;

/// The base of `overlapped.asyncio.EventLoop`.
#[pyclass(frozen, subclass, module = "overlapped")]
#[derive(Default)]
pub(crate) struct LoopCore {
    closed: AtomicBool,
    debug: AtomicBool,
    stopping: AtomicBool,
    timers_cancelled: AtomicIsize,
    /// So many of the first timers are a heap.
    timers_ordered: AtomicUsize,
    /// Whether who asks for a turn gets several: nobody has put something of his own between them.
    several: AtomicBool,
    ready: Reference,
    scheduled: Reference,
    selector: Reference,
    /// That which waits by `wait`.
    ours: Reference,
    wait: Reference,
    shared: SharedCall,
}

#[pymethods]
impl LoopCore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> LoopCore {
        LoopCore::default()
    }

    /// Says with which selector the loop waits, and how that does.
    fn _wait_by(&self, selector: Bound<'_, PyAny>, wait: Bound<'_, LoopWait>) {
        self.ours.set(Some(selector));
        self.wait.set(Some(wait.into_any()));
    }

    /// Says whether `_run_once` makes several turns, until it is said anew.
    fn _run_several(&self, several: bool) {
        self.several.store(several, Ordering::Relaxed);
    }

    #[getter(_closed)]
    fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    #[setter(_closed)]
    fn set_closed(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.closed.store(value.is_truthy()?, Ordering::Relaxed);
        Ok(())
    }

    #[getter(_debug)]
    pub(super) fn debug(&self) -> bool {
        self.debug.load(Ordering::Relaxed)
    }

    #[setter(_debug)]
    fn set_debug(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.debug.store(value.is_truthy()?, Ordering::Relaxed);
        Ok(())
    }

    #[getter(_stopping)]
    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    #[setter(_stopping)]
    fn set_stopping(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.stopping.store(value.is_truthy()?, Ordering::Relaxed);
        Ok(())
    }

    #[getter(_timer_cancelled_count)]
    fn timers_cancelled(&self) -> isize {
        self.timers_cancelled.load(Ordering::Relaxed)
    }

    #[setter(_timer_cancelled_count)]
    fn set_timers_cancelled(&self, count: isize) {
        self.timers_cancelled.store(count, Ordering::Relaxed);
    }

    #[getter(_selector)]
    fn selector<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.selector.get(py)
    }

    #[setter(_selector)]
    fn set_selector(&self, selector: Option<Bound<'_, PyAny>>) {
        self.selector.set(selector);
    }

    #[getter(_ready)]
    fn ready<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.ready.get(py)
    }

    #[setter(_ready)]
    fn set_ready(&self, ready: Bound<'_, PyAny>) {
        self.ready.set(Some(ready));
    }

    #[getter(_scheduled)]
    fn scheduled<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(heap) = self.scheduled.get(py) else { return Ok(None) };
        // Times that do not compare somebody has put there himself: he may see them.
        let _ = self.with_timers(handles(py)?, py, |_| Ok(()));
        // Whoever has it may do anything to it: the next look goes over all of it.
        self.timers_ordered.store(0, Ordering::Relaxed);
        Ok(Some(heap))
    }

    #[setter(_scheduled)]
    fn set_scheduled(&self, scheduled: Bound<'_, PyList>) {
        self.timers_ordered.store(0, Ordering::Relaxed);
        self.scheduled.set(Some(scheduled.into_any()));
    }

    /// As `run(handle)`, of a handle that another thread may cancel, unless it is cancelled.
    fn _call_shared(&self, handle: &Bound<'_, PyAny>, run: &Bound<'_, PyAny>) -> PyResult<()> {
        if handle.getattr(intern!(handle.py(), "_cancelled"))?.is_truthy()? {
            return Ok(());
        }
        self.shared.make(handle, || run.call1((handle,)).map(drop))
    }

    /// Whether the call of a handle is being made; then a lock is released when it has ended.
    fn _calls(&self, handle: &Bound<'_, PyAny>, lock: Bound<'_, PyAny>) -> bool {
        self.shared.release_at_end(handle, lock)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.shared.traverse(&visit)?;
        [&self.ready, &self.scheduled, &self.selector, &self.ours, &self.wait]
            .into_iter()
            .try_for_each(|field| field.traverse(&visit))
    }

    fn __clear__(&self) {
        self.shared.clear();
        [&self.ready, &self.scheduled, &self.selector, &self.ours, &self.wait]
            .into_iter()
            .for_each(|field| field.set(None));
    }
}

impl LoopCore {
    /// Whether a call is simply to be noted: the loop is open, and nobody wants to know where the call was asked for.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        !self.closed() && !self.debug()
    }

    /// Adds a handle to what is ready.
    #[inline]
    pub(super) fn add_ready(&self, handle: &Bound<'_, PyAny>) -> PyResult<()> {
        Deque::of(&self.existing(handle.py(), &self.ready)?).append(handle)
    }

    /// Sets a timer.
    pub(super) fn add_timer(&self, handles: &Handles, timer: &Bound<'_, PyAny>) -> PyResult<()> {
        let heap = self.existing(timer.py(), &self.scheduled)?.cast_into::<PyList>()?;
        let timers = Timers { heap: &heap, handles };
        let place = heap.len();
        timers.push(timer)?;
        // SAFETY: a timer whose time was set, and the GIL is held.
        if unsafe { ffi::PyFloat_CheckExact(handles.when.get(timer.as_ptr())) == 0 } {
            // Where it does not compare with the others, who sets it is told, and the others go on.
            let ordered = self.with_timers(handles, timer.py(), |_| Ok(()));
            return ordered.or_else(|error| timers.take_back(timer).and(Err(error)));
        }
        if place == self.timers_ordered.load(Ordering::Relaxed) && timers.is_in_place(place)? {
            self.timers_ordered.store(place + 1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Looks at the timers, which are a heap then.
    fn with_timers<'py, R>(
        &self,
        handles: &Handles,
        py: Python<'py>,
        look: impl FnOnce(&Timers<'_, 'py>) -> PyResult<R>,
    ) -> PyResult<R> {
        let heap = self.existing(py, &self.scheduled)?.cast_into::<PyList>()?;
        let timers = Timers { heap: &heap, handles };
        timers.order_last(self.timers_ordered.load(Ordering::Relaxed))?;
        let found = look(&timers);
        self.timers_ordered.store(heap.len(), Ordering::Relaxed);
        found
    }

    /// A timer that was set was cancelled.
    pub(super) fn count_cancelled(&self) {
        self.timers_cancelled.fetch_add(1, Ordering::Relaxed);
    }

    /// Wakes the loop where its tasklet waits.
    #[inline]
    pub(super) fn wake_sleeper(&self, py: Python<'_>) {
        self.with_wait(py, LoopWait::wake_sleeper);
    }

    /// Ends the loop's wait, or the next one.
    #[inline]
    pub(super) fn wake(&self, py: Python<'_>) {
        self.with_wait(py, LoopWait::wake);
    }

    #[inline]
    fn with_wait(&self, py: Python<'_>, wake: impl FnOnce(&LoopWait)) {
        if let Some(wait) = self.wait.get(py)
            && let Ok(wait) = wait.cast::<LoopWait>()
        {
            wake(wait.get());
        }
    }

    /// That which waits for the loop.
    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, LoopWait>> {
        Ok(self.existing(py, &self.wait)?.cast_into::<LoopWait>()?)
    }

    fn existing<'py>(&self, py: Python<'py>, field: &Reference) -> PyResult<Bound<'py, PyAny>> {
        field.get(py).ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("the loop was not initialized"))
    }
}

/// Turns of the loop `this`, whose base is `core`: several for `run_forever`, one for whoever else asks, be it within a turn.
pub(super) fn run(this: &Bound<'_, PyAny>, core: &LoopCore) -> PyResult<()> {
    if !core.several.swap(false, Ordering::Relaxed) {
        return run_once(this, core);
    }
    let _again = Again(core);
    for _ in 0..IN_A_ROW {
        run_once(this, core)?;
        if core.stopping() {
            break;
        }
    }
    Ok(())
}

/// Who asks when this is dropped gets several turns again.
struct Again<'a>(&'a LoopCore);

impl Drop for Again<'_> {
    fn drop(&mut self) {
        self.0.several.store(true, Ordering::Relaxed);
    }
}

fn run_once(this: &Bound<'_, PyAny>, core: &LoopCore) -> PyResult<()> {
    let py = this.py();
    let handles = handles(py)?;
    let selector = core.existing(py, &core.selector)?;
    let is_ours = core.ours.get(py).is_some_and(|ours| ours.is(&selector));
    if core.debug() || !is_ours || !handles.run_as_written(py)? {
        return standard(py)?.run_once(this);
    }
    let wait = core.wait(py)?;
    let reactor = wait.get().its_reactor(py)?;
    let turn = Turn { this, core, handles, wait: wait.get(), reactor: reactor.as_ref() };
    let timeout = turn.timeout()?;
    let has_come = turn.wait(&selector, timeout)?;
    let before = turn.ready()?.len()?;
    let due = turn.take_due()?;
    turn.run_ready(before)?;
    if let Some(reactor) = turn.reactor.filter(|_| has_come) {
        reactor.borrow().deliver(py)?;
    }
    turn.run_ready(due)
}

struct Turn<'a, 'py> {
    this: &'a Bound<'py, PyAny>,
    core: &'a LoopCore,
    handles: &'a Handles,
    wait: &'a LoopWait,
    /// None where the loop does not run.
    reactor: Option<&'a Bound<'py, Reactor>>,
}

impl<'py> Turn<'_, 'py> {
    fn py(&self) -> Python<'py> {
        self.this.py()
    }

    fn heap(&self) -> PyResult<Bound<'py, PyList>> {
        Ok(self.core.existing(self.py(), &self.core.scheduled)?.cast_into::<PyList>()?)
    }

    fn ready(&self) -> PyResult<Bound<'py, PyAny>> {
        self.core.existing(self.py(), &self.core.ready)
    }

    /// How long to wait, in seconds; timers that are cancelled are thrown out where they are in front, or many.
    fn timeout(&self) -> PyResult<Option<f64>> {
        let first = if self.heap()?.is_empty() { None } else { self.first_timer()? };
        if self.core.stopping() || !self.ready()?.is_empty()? {
            return Ok(Some(0.0));
        }
        let Some(first) = first else { return Ok(None) };
        let left: f64 = first.sub(self.now()?)?.extract()?;
        Ok(Some(left.clamp(0.0, LONGEST_WAIT)))
    }

    /// When the first timer is due that is not cancelled.
    fn first_timer(&self) -> PyResult<Option<Bound<'py, PyAny>>> {
        let core = self.core;
        let gone = || {
            core.timers_cancelled.fetch_sub(1, Ordering::Relaxed);
        };
        Timers { heap: &self.heap()?, handles: self.handles }
            .clean_last(core.timers_ordered.load(Ordering::Relaxed), gone)?;
        core.with_timers(self.handles, self.py(), |timers| {
            if timers.has_too_many(core.timers_cancelled()) {
                timers.clean()?;
                core.set_timers_cancelled(0);
            }
            timers.first_wanted(gone)?.map(|first| timers.when(&first)).transpose()
        })
    }

    fn now(&self) -> PyResult<Bound<'py, PyAny>> {
        self.this.call_method0(intern!(self.py(), "time"))
    }

    /// Waits, and sees to what has come for descriptors; says whether something may have come for transports.
    fn wait(&self, selector: &Bound<'py, PyAny>, timeout: Option<f64>) -> PyResult<bool> {
        let py = self.py();
        let process = intern!(py, "_process_events");
        if let Some(reactor) = self.reactor.filter(|_| self.wait.watches()) {
            self.wait.wait_with(py, Some(reactor), timeout)?;
            if reactor.borrow().take_readable() {
                let events = selector.call_method0(intern!(py, "_ask"))?;
                return self.this.call_method1(process, (events,)).map(|_| false);
            }
            return Ok(true);
        }
        let events = selector.call_method1(intern!(py, "select"), (timeout,))?;
        self.this.call_method1(process, (events,)).map(|_| false)
    }

    /// Moves the timers that are due to what is ready; says how many.
    fn take_due(&self) -> PyResult<usize> {
        let py = self.py();
        if self.heap()?.is_empty() {
            return Ok(0);
        }
        let end = self.now()?.add(self.this.getattr(intern!(py, "_clock_resolution"))?)?;
        let mut taken = 0;
        self.core.with_timers(self.handles, py, |timers| {
            timers.take_due(&end, |due| {
                taken += 1;
                timers.note(due, false);
                self.core.add_ready(due)
            })
        })?;
        Ok(taken)
    }

    /// Makes so many of the calls that are ready; those that they ask for come with the next turn, after a look at the port.
    fn run_ready(&self, count: usize) -> PyResult<()> {
        let ready = self.ready()?;
        let mut left = count;
        while left > 0 {
            left -= 1;
            let handle = Deque::of(&ready).popleft()?;
            self.run(&handle)?;
            self.handles.give_up(handle);
        }
        Ok(())
    }

    fn run(&self, handle: &Bound<'py, PyAny>) -> PyResult<()> {
        let py = self.py();
        let (slots, inside) = (self.handles, handle.as_ptr());
        if !slots.is_plain(handle) {
            if !handle.getattr(intern!(py, "_cancelled"))?.is_truthy()? {
                handle.call_method0(intern!(py, "_run"))?;
            }
            return Ok(());
        }
        // SAFETY: a handle, and the GIL is held; what is taken out is kept here for the call, in which any code may run.
        let parts = unsafe {
            if slots.cancelled.get(inside) == ffi::Py_True() {
                return Ok(());
            }
            (slots.callback.taken(py, inside), slots.args.taken(py, inside), slots.context.taken(py, inside))
        };
        let (Some(callback), Some(args), Some(context)) = parts else {
            return handle.call_method0(intern!(py, "_run")).map(drop);
        };
        // SAFETY: live objects.
        let is_usual =
            unsafe { ffi::PyTuple_CheckExact(args.as_ptr()) != 0 && ffi::PyContext_CheckExact(context.as_ptr()) != 0 };
        if !is_usual {
            return handle.call_method0(intern!(py, "_run")).map(drop);
        }
        let call = || call_in(&context, &callback, &args);
        let made = if slots.is_our(Kind::Shared, inside) { self.core.shared.make(handle, call) } else { call() };
        made.or_else(|error| self.tell_of(handle, error))
    }

    /// What a callback has raised goes to the exception handler, but for what is to end the program.
    #[cold]
    fn tell_of(&self, handle: &Bound<'py, PyAny>, error: PyErr) -> PyResult<()> {
        let py = self.py();
        if error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py) {
            return Err(error);
        }
        self.this.call_method1(intern!(py, "_callback_failed"), (handle, error.into_value(py))).map(drop)
    }
}

/// As `context.run(callback, *args)`.
fn call_in(context: &Bound<'_, PyAny>, callback: &Bound<'_, PyAny>, args: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = context.py();
    // SAFETY: the GIL is held, and these are a context, an object and a tuple, which are kept meanwhile; an error that is set
    // where one of the calls says so is fetched. The context is left by who has entered it, whatever was called.
    unsafe {
        if ffi::PyContext_Enter(context.as_ptr()) != 0 {
            return Err(PyErr::fetch(py));
        }
        let result = ffi::PyObject_Call(callback.as_ptr(), args.as_ptr(), std::ptr::null_mut());
        let error = if result.is_null() { Some(PyErr::fetch(py)) } else { None };
        ffi::Py_XDECREF(result);
        if ffi::PyContext_Exit(context.as_ptr()) != 0 {
            return Err(PyErr::fetch(py));
        }
        error.map_or(Ok(()), Err)
    }
}
