//! `Tasklet` and what goes with it: spawn, sleep, time-outs.

use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use overlapped::engine::{self, Cause, Scheduler, Timer, Waiter};
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PySystemExit, PyTimeoutError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType, PyWeakrefReference};
use pyo3::{PyTraverseError, PyVisit};
use std::rc::Rc;

use crate::runtime::{program_ends, runtime};
use crate::sync::Lock;
use crate::thrown::{keep_thrown, take_thrown};

/// What a tasklet is to do.
struct Job {
    function: Py<PyAny>,
    arguments: Py<PyTuple>,
    keywords: Option<Py<PyDict>>,
    /// Its copy of the `contextvars` context in which it was spawned.
    context: Py<PyAny>,
}

struct State {
    job: Option<Job>,
    outcome: Option<Result<Py<PyAny>, Py<PyAny>>>,
    joiners: Vec<Waiter>,
    name: Option<String>,
    /// The `threading.local`s in which it has a dictionary.
    locals: Vec<Py<PyWeakrefReference>>,
    /// Released at its end: `threading` waits for it.
    sentinel: Option<Py<Lock>>,
}

impl State {
    fn new(job: Option<Job>, name: Option<String>) -> Mutex<State> {
        Mutex::new(State { job, outcome: None, joiners: Vec::new(), name, locals: Vec::new(), sentinel: None })
    }
}

/// A function that runs beside others on one thread, and alone waits where it blocks.
///
/// Made by :func:`overlapped.spawn`.
#[pyclass(frozen, weakref, dict, module = "overlapped")]
pub(crate) struct Tasklet {
    waiter: Waiter,
    state: Mutex<State>,
    /// True. Python makes the object's `__dict__` before these fields, in memory that is zero until then, and may collect
    /// garbage meanwhile.
    made: bool,
}

impl Tasklet {
    /// The thread itself, as a tasklet.
    pub(crate) fn root(waiter: Waiter) -> Tasklet {
        Tasklet { waiter, state: State::new(None, Some("main".into())), made: true }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the tasklet's function to its end. The error is a `KeyboardInterrupt`, which is the main tasklet's.
    pub(crate) fn execute(&self, py: Python<'_>, scheduler: &Scheduler) -> PyResult<()> {
        let job = self.state().job.take();
        let Some(job) = job else { return Ok(()) };
        let value = if thrown_before(py, scheduler) { None } else { job.call(py) };
        self.end(py, scheduler, job, value)
    }

    /// What follows the function, which has returned `value` or set an error.
    #[inline(never)]
    fn end(&self, py: Python<'_>, scheduler: &Scheduler, job: Job, value: Option<Py<PyAny>>) -> PyResult<()> {
        let result = value.ok_or_else(|| PyErr::fetch(py));
        drop(job);
        let mut interrupted = Ok(());
        let outcome = match result {
            Ok(value) => Ok(value),
            Err(error) if error.is_instance_of::<PyKeyboardInterrupt>(py) => {
                let exception = error.clone_ref(py).into_value(py).into_any();
                interrupted = Err(error);
                Err(exception)
            }
            Err(error) => {
                if !error.is_instance(py, exit_type(py)) && !error.is_instance_of::<PySystemExit>(py) {
                    self.report(py, &error);
                }
                Err(error.into_value(py).into_any())
            }
        };
        self.clear_locals(py);
        let sentinel = self.state().sentinel.take();
        if let Some(sentinel) = sentinel {
            // Not held where nobody waits for it.
            let _ = sentinel.get().release();
        }
        let joiners = {
            let mut state = self.state();
            state.outcome = Some(outcome);
            std::mem::take(&mut state.joiners)
        };
        // What was thrown and not raised any more: nobody else would ever drop it.
        while let Some(Cause::Thrown(number)) = scheduler.take_interrupt() {
            drop(take_thrown(number));
        }
        joiners.iter().for_each(Waiter::wake);
        interrupted
    }

    /// Remembers a `threading.local` in which this tasklet has begun a dictionary.
    pub(crate) fn keep_local(&self, local: Py<PyWeakrefReference>) {
        self.state().locals.push(local);
    }

    /// Remembers a lock to release at the end.
    pub(crate) fn keep_sentinel(&self, sentinel: Py<Lock>) {
        let before = self.state().sentinel.replace(sentinel);
        drop(before);
    }

    /// Drops what this tasklet has in `threading.local`s; what is dropped may begin such again.
    fn clear_locals(&self, py: Python<'_>) {
        loop {
            let locals = std::mem::take(&mut self.state().locals);
            if locals.is_empty() {
                return;
            }
            crate::local::forget(py, crate::runtime::ident(), locals);
        }
    }

    /// Prints an exception that ended the tasklet, with its traceback, through `sys.excepthook`.
    fn report(&self, py: Python<'_>, error: &PyErr) {
        let name = self.name();
        let print = || -> PyResult<()> {
            let sys = py.import("sys")?;
            let stderr = sys.getattr("stderr")?;
            if !stderr.is_none() {
                stderr.call_method1("write", (format!("Exception in tasklet {name}:\n"),))?;
            }
            let hook = sys.getattr("excepthook")?;
            hook.call1((error.get_type(py), error.value(py), error.traceback(py)))?;
            Ok(())
        };
        if let Err(failed) = print() {
            failed.write_unraisable(py, None);
        }
    }

    /// Waits for the end; false where the time was up.
    fn wait(&self, py: Python<'_>, deadline: Option<Instant>) -> PyResult<bool> {
        let runtime = runtime(py)?;
        let me = Waiter::current();
        if me == self.waiter {
            return Err(PyRuntimeError::new_err("a tasklet cannot wait for itself"));
        }
        loop {
            {
                let mut state = self.state();
                if state.outcome.is_some() {
                    return Ok(true);
                }
                let expired = deadline.is_some_and(|deadline| Instant::now() >= deadline);
                if expired {
                    state.joiners.retain(|waiter| *waiter != me);
                    return Ok(false);
                }
                if !state.joiners.contains(&me) {
                    state.joiners.push(me.clone());
                }
            }
            if engine::park(deadline, "join").is_err() {
                self.state().joiners.retain(|waiter| *waiter != me);
                return Err(runtime.raise(py));
            }
        }
    }
}

impl Job {
    /// Calls the function; `None` with a Python error set.
    ///
    /// A tasklet waits on top of this, and its stack is copied at every switch: so nothing here needs much of it.
    #[inline(never)]
    fn call(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let context = self.context.as_ptr();
        let keywords = self.keywords.as_ref().map_or(ptr::null_mut(), Py::as_ptr);
        // SAFETY: all are live objects of these types, the GIL is held; `context` is one that nobody has entered, for
        // each job has its own copy, and it is left on the greenlet that entered it. A result is a new reference.
        unsafe {
            if ffi::PyContext_Enter(context) != 0 {
                return None;
            }
            let value = ffi::PyObject_Call(self.function.as_ptr(), self.arguments.as_ptr(), keywords);
            let value = Bound::from_owned_ptr_or_opt(py, value).map(Bound::unbind);
            if ffi::PyContext_Exit(context) == 0 { value } else { None }
        }
    }
}

/// Whether an exception was thrown into the tasklet before it began, which ends it before it begins; it is then set.
#[inline(never)]
fn thrown_before(py: Python<'_>, scheduler: &Scheduler) -> bool {
    let Some(Cause::Thrown(number)) = scheduler.take_interrupt() else { return false };
    let Some(exception) = take_thrown(number) else { return false };
    PyErr::from_value(exception.into_bound(py)).restore(py);
    true
}

/// `overlapped.TaskletExit`.
pub(crate) fn exit_type(py: Python<'_>) -> &Bound<'_, PyAny> {
    static TYPE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    TYPE.get_or_init(py, || {
        let exit = PyErr::new_type(
            py,
            c"overlapped.TaskletExit",
            Some(c"Ends a tasklet silently: raised in it by Tasklet.cancel()."),
            Some(&py.get_type::<pyo3::exceptions::PyBaseException>()),
            None,
        );
        exit.expect("an exception type can be made").into_any()
    })
    .bind(py)
}

#[pymethods]
impl Tasklet {
    /// The tasklet's name, for listings and tracebacks.
    #[getter]
    fn name(&self) -> String {
        self.state().name.clone().unwrap_or_else(|| format!("tasklet-{}", self.waiter.number()))
    }

    #[setter]
    fn set_name(&self, py: Python<'_>, name: String) -> PyResult<()> {
        if let Some(id) = self.waiter.id() {
            runtime(py)?.scheduler.rename(id, &name);
        }
        self.state().name = Some(name);
        Ok(())
    }

    /// Whether the tasklet has not ended.
    #[getter]
    fn alive(&self) -> bool {
        self.state().outcome.is_none()
    }

    /// Waits until the tasklet has ended, at most `timeout` seconds; whatever it returned or raised.
    /// Look at `alive` to tell whether it has.
    #[pyo3(signature = (timeout=None))]
    fn join(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        self.wait(py, deadline(timeout)?).map(drop)
    }

    /// Waits until the tasklet has ended, and returns what it returned or raises what it raised.
    /// Raises `TimeoutError` after `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn result(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        if !self.wait(py, deadline(timeout)?)? {
            return Err(PyTimeoutError::new_err("timed out"));
        }
        match self.state().outcome.as_ref().expect("it has ended") {
            Ok(value) => Ok(value.clone_ref(py)),
            Err(exception) => Err(PyErr::from_value(exception.clone_ref(py).into_bound(py))),
        }
    }

    /// Waits until the tasklet has ended, and returns what it raised, or None.
    /// Raises `TimeoutError` after `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn exception(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Py<PyAny>>> {
        if !self.wait(py, deadline(timeout)?)? {
            return Err(PyTimeoutError::new_err("timed out"));
        }
        let state = self.state();
        Ok(state.outcome.as_ref().and_then(|outcome| outcome.as_ref().err()).map(|error| error.clone_ref(py)))
    }

    /// Ends the tasklet: `TaskletExit` is raised where it waits, now or next. One that has not begun never does.
    /// Does not wait for its end: `join` does.
    pub(crate) fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        let exit = exit_type(py).call0()?.unbind();
        self.throw(py, exit)
    }

    /// Raises `exception` (an instance or a type) in the tasklet, where it waits, now or next.
    fn throw(&self, py: Python<'_>, exception: Py<PyAny>) -> PyResult<()> {
        let error = PyErr::from_value(exception.into_bound(py));
        if error.is_instance_of::<PyTypeError>(py) && error.value(py).str()?.to_string().contains("derive from") {
            return Err(error);
        }
        let waiting = self.state().outcome.is_none();
        if self.waiter == Waiter::current() && waiting && runtime(py).is_ok() {
            return Err(error);
        }
        if waiting {
            self.waiter.interrupt(Cause::Thrown(keep_thrown(error.into_value(py).into_any())));
        }
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.made {
            return Ok(());
        }
        // The collector runs with the GIL held, and nobody keeps this lock while Python code may run.
        let Ok(state) = self.state.try_lock() else { return Ok(()) };
        if let Some(job) = &state.job {
            visit.call(&job.arguments)?;
            visit.call(&job.keywords)?;
            visit.call(&job.context)?;
            visit.call(&job.function)?;
        }
        match &state.outcome {
            Some(Ok(object) | Err(object)) => visit.call(object),
            None => Ok(()),
        }
    }

    fn __clear__(&self, py: Python<'_>) {
        let mut state = self.state();
        let job = state.job.take();
        let outcome = state.outcome.as_mut().map(|outcome| std::mem::replace(outcome, Ok(py.None())));
        drop(state);
        drop((job, outcome));
    }

    /// `Tasklet[T]`, for annotations.
    #[classmethod]
    fn __class_getitem__<'py>(cls: &Bound<'py, PyType>, item: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        generic(cls, &item)
    }

    fn __repr__(&self) -> String {
        let how = match &self.state().outcome {
            None => "alive",
            Some(Ok(_)) => "ended",
            Some(Err(_)) => "failed",
        };
        format!("<Tasklet {:?} {how}>", self.name())
    }
}

/// The type with a parameter, as annotations have it.
pub(crate) fn generic<'py>(class: &Bound<'py, PyType>, item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    class.py().import("types")?.getattr("GenericAlias")?.call1((class, item))
}

/// The point in time `timeout` seconds from now; `None` for never.
pub(crate) fn deadline(timeout: Option<f64>) -> PyResult<Option<Instant>> {
    let Some(seconds) = timeout else { return Ok(None) };
    if seconds.is_nan() {
        return Err(PyValueError::new_err("a timeout cannot be NaN"));
    }
    let duration = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(FOREVER).min(FOREVER);
    Ok(Some(Instant::now() + duration))
}

/// Longer than any program runs, and still within what an `Instant` can hold.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Starts `function(*args, **kwargs)` in a tasklet. It runs when this one first waits. The end of the program does not
/// wait for it: `run()` waits for all.
#[pyfunction]
#[pyo3(signature = (function, /, *args, **kwargs))]
pub(crate) fn spawn(
    function: Bound<'_, PyAny>,
    args: Bound<'_, PyTuple>,
    kwargs: Option<Bound<'_, PyDict>>,
) -> PyResult<Py<Tasklet>> {
    let py = function.py();
    if !function.is_callable() {
        return Err(PyTypeError::new_err(format!(
            "spawn() needs something to call, not {}",
            function.get_type().name()?
        )));
    }
    // SAFETY: returns a new reference or null with an error set.
    let context = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent())? };
    start(function, args, kwargs, context)
}

/// Makes a tasklet that will call `function` in `context`, which nobody else may enter.
pub(crate) fn start(
    function: Bound<'_, PyAny>,
    args: Bound<'_, PyTuple>,
    kwargs: Option<Bound<'_, PyDict>>,
    context: Bound<'_, PyAny>,
) -> PyResult<Py<Tasklet>> {
    let py = function.py();
    let job = Job {
        arguments: args.unbind(),
        keywords: kwargs.map(Bound::unbind),
        context: context.unbind(),
        function: function.unbind(),
    };
    let runtime = runtime(py)?;
    let mut made = None;
    runtime.start(None, |waiter| {
        let tasklet = Py::new(py, Tasklet { waiter, state: State::new(Some(job), None), made: true })?;
        made = Some(tasklet.clone_ref(py));
        Ok(tasklet)
    })?;
    Ok(made.expect("start calls its function"))
}

/// The tasklet that runs.
#[pyfunction]
pub(crate) fn current(py: Python<'_>) -> PyResult<Py<Tasklet>> {
    Ok(runtime(py)?.current(py))
}

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

/// Lets the other tasklets run: until they have ended, or for at most `timeout` seconds.
#[pyfunction]
#[pyo3(signature = (timeout=None))]
pub(crate) fn run(py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
    let runtime = runtime(py)?;
    if runtime.scheduler.current_tasklet() != engine::TaskletId::ROOT {
        return Err(PyRuntimeError::new_err("run() is for the main tasklet; in others, join the one to wait for"));
    }
    let until = deadline(timeout)?;
    while runtime.scheduler.alive() > 0 && until.is_none_or(|until| Instant::now() < until) {
        if engine::park(until, "join").is_err() {
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
