//! `Tasklet`: its object, how it is started, how it ends.

use std::collections::BTreeMap;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use overlapped::engine::{self, Cause, Scheduler, TaskletId, Waiter};
use overlapped_port::sim::now;
use pyo3::exceptions::{
    PyBaseException, PyKeyboardInterrupt, PyRuntimeError, PySystemExit, PyTimeoutError, PyTypeError,
};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit};
use slab::Slab;

use super::awaiting::{Ended, await_tasklet, let_run};
use super::greenlets::{Life, Member};
use super::life::runtime;
use super::runtime::{Runtime, existing};
use super::thrown::{exit_type, keep_thrown, take};
use super::{hooks, preempt};
use crate::python::class::{self, all_given, generic, give, keywords};
use crate::python::time::deadline;
use crate::python::unfinished::call;

/// What a tasklet is to do.
struct Job {
    function: Py<PyAny>,
    arguments: Py<PyTuple>,
    keywords: Option<Py<PyDict>>,
    /// Its copy of the `contextvars` context in which it was spawned.
    context: Py<PyAny>,
}

/// Something to do at a tasklet's end.
type AtEnd = Box<dyn FnOnce(Python<'_>) + Send>;

/// Functions that are told of a tasklet's end, by number.
type Watchers = BTreeMap<u64, Py<PyAny>>;

struct State {
    job: Option<Job>,
    outcome: Option<Result<Py<PyAny>, Py<PyAny>>>,
    /// Who waits for its end.
    joiners: Slab<Waiter>,
    name: Option<String>,
    /// What is to be done at its end, the last first: what is done may ask for more.
    at_end: Vec<AtEnd>,
    /// Who is told when it has ended, by number: see [`Tasklet::_watch`].
    watchers: Option<Box<Watchers>>,
    /// Somebody raises what it raises, who is told: it is not shown.
    is_member: bool,
}

impl State {
    fn new(job: Option<Job>, name: Option<String>) -> Mutex<State> {
        Mutex::new(State {
            job,
            outcome: None,
            joiners: Slab::new(),
            name,
            at_end: Vec::new(),
            watchers: None,
            is_member: false,
        })
    }
}

/// A function that runs beside others on one thread, and alone waits where it blocks.
///
/// Made by :func:`overlapped.spawn`.
#[pyclass(frozen, weakref, dict, module = "overlapped")]
pub(crate) struct Tasklet {
    /// Set before anybody sees it: the tasklet begins when its object is there, for Python may collect garbage while it
    /// makes one.
    waiter: OnceLock<Waiter>,
    state: Mutex<State>,
    /// Time does not end its turn: see [`preempt`].
    unpreempted: AtomicBool,
    /// True. Python makes the object's `__dict__` before these fields, in memory that is zero until then, and may collect
    /// garbage meanwhile.
    made: bool,
}

impl Tasklet {
    fn new(job: Option<Job>, name: Option<String>) -> Tasklet {
        let state = State::new(job, name);
        Tasklet { waiter: OnceLock::new(), state, unpreempted: AtomicBool::new(false), made: true }
    }

    pub(super) fn waiter(&self) -> &Waiter {
        self.waiter.get().expect("it is set when the object is made")
    }

    /// Whether it has not ended.
    pub(crate) fn is_alive(&self) -> bool {
        self.state().outcome.is_none()
    }

    pub(super) fn is_preemptible(&self) -> bool {
        !self.unpreempted.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the tasklet's function to its end. Returns a `KeyboardInterrupt`, which is the main tasklet's.
    fn execute(&self, py: Python<'_>, scheduler: &Scheduler) -> Option<Py<PyAny>> {
        let job = self.state().job.take();
        let Some(job) = job else {
            drop(self.done_at_end(py));
            return None;
        };
        let value = if thrown_before(py, scheduler) { None } else { job.call(py) };
        // What is dropped from here on, and done at its end, is cleanup.
        scheduler.end();
        self.end(py, job, value)
    }

    /// What follows the function, which has returned `value` or set an error.
    #[inline(never)]
    fn end(&self, py: Python<'_>, job: Job, value: Option<Py<PyAny>>) -> Option<Py<PyAny>> {
        let result = value.ok_or_else(|| PyErr::fetch(py));
        drop(job);
        let mut interrupted = None;
        let outcome = match result {
            Ok(value) => Ok(value),
            Err(error) if error.is_instance_of::<PyKeyboardInterrupt>(py) => {
                let exception = error.into_value(py).into_any();
                interrupted = Some(exception.clone_ref(py));
                Err(exception)
            }
            Err(error) => {
                let silent = error.is_instance(py, exit_type(py)) || error.is_instance_of::<PySystemExit>(py);
                if !silent && !self.state().is_member {
                    self.report(py, &error);
                }
                Err(error.into_value(py).into_any())
            }
        };
        let mut state = self.done_at_end(py);
        state.outcome = Some(outcome);
        let (joiners, watchers) = (std::mem::take(&mut state.joiners), state.watchers.take());
        drop(state);
        joiners.iter().for_each(|(_, joiner)| joiner.wake());
        if let Some(watchers) = watchers {
            tell(py, *watchers);
        }
        interrupted
    }

    /// Has `what` done at the tasklet's end, which is still to come.
    pub(crate) fn at_end(&self, what: impl FnOnce(Python<'_>) + Send + 'static) {
        self.state().at_end.push(Box::new(what));
    }

    /// Does what is to be done at the end; the state then, in which there is nothing more of it.
    fn done_at_end(&self, py: Python<'_>) -> MutexGuard<'_, State> {
        loop {
            let mut state = self.state();
            let Some(last) = state.at_end.pop() else { return state };
            drop(state);
            last(py);
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
        if me == *self.waiter() && self.is_alive() {
            return Err(PyRuntimeError::new_err("a tasklet cannot wait for itself"));
        }
        let place = {
            let mut state = self.state();
            if state.outcome.is_some() {
                return Ok(true);
            }
            state.joiners.insert(me)
        };
        // At the end all joiners are taken out, and nobody comes after.
        let left = loop {
            if self.state().outcome.is_some() {
                return Ok(true);
            }
            if deadline.is_some_and(|deadline| now() >= deadline) {
                break Ok(false);
            }
            if engine::park(deadline, "join").is_err() {
                break Err(runtime.raise(py));
            }
        };
        self.state().joiners.try_remove(place);
        left
    }
}

/// Tells those that watch the tasklet that runs, which has ended. What they raise is shown.
#[inline(never)]
fn tell(py: Python<'_>, watchers: BTreeMap<u64, Py<PyAny>>) {
    let ended = current(py);
    for watcher in watchers.into_values() {
        let told = ended.as_ref().map_err(|error| error.clone_ref(py)).and_then(|ended| watcher.call1(py, (ended,)));
        if let Err(error) = told {
            error.write_unraisable(py, Some(watcher.bind(py)));
        }
    }
}

impl Job {
    /// Calls the function; `None` with a Python error set.
    ///
    /// A tasklet waits on top of this, and its stack is copied at every switch: so nothing here needs much of it.
    #[inline]
    fn call(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let context = self.context.as_ptr();
        let keywords = self.keywords.as_ref().map_or(ptr::null_mut(), Py::as_ptr);
        // SAFETY: all are live objects of these types, the GIL is held; `context` is one that nobody has entered, for
        // each job has its own copy, and it is left on the greenlet that entered it. A result is a new reference.
        unsafe {
            if ffi::PyContext_Enter(context) != 0 {
                return None;
            }
            let value = call(self.function.as_ptr(), self.arguments.as_ptr(), keywords);
            let value = Bound::from_owned_ptr_or_opt(py, value).map(Bound::unbind);
            if ffi::PyContext_Exit(context) == 0 { value } else { None }
        }
    }
}

/// The error to raise for `exception`, an instance or a type, as `raise` and the `throw` of a generator take it.
///
/// A type is called here and now: what that raises is the caller's, who named a type that cannot be made without arguments.
fn to_raise(exception: Bound<'_, PyAny>) -> PyResult<PyErr> {
    if exception.is_instance_of::<PyBaseException>() {
        return Ok(PyErr::from_value(exception));
    }
    let Some(kind) = exception.cast::<PyType>().ok().filter(|kind| is_exception(kind)) else {
        return Err(PyTypeError::new_err(format!(
            "exceptions must be classes or instances deriving from BaseException, not {}",
            exception.get_type().name()?
        )));
    };
    let made = kind.call0()?;
    if made.is_instance_of::<PyBaseException>() {
        return Ok(PyErr::from_value(made));
    }
    Err(PyTypeError::new_err(format!(
        "calling {} should have returned an instance of BaseException, not {}",
        kind.repr()?,
        made.get_type().name()?
    )))
}

/// Whether instances of `kind` can be raised; its metaclass is not asked.
fn is_exception(kind: &Bound<'_, PyType>) -> bool {
    // SAFETY: a live type, and the GIL is held.
    unsafe { ffi::PyType_FastSubclass(kind.as_type_ptr(), ffi::Py_TPFLAGS_BASE_EXC_SUBCLASS) != 0 }
}

/// Whether an exception was thrown into the tasklet before it began, which ends it before it begins; it is then set.
#[inline]
fn thrown_before(py: Python<'_>, scheduler: &Scheduler) -> bool {
    scheduler.take_interrupt().is_some_and(|cause| is_set(py, scheduler, cause))
}

#[inline(never)]
fn is_set(py: Python<'_>, scheduler: &Scheduler, cause: Cause) -> bool {
    let Some(error) = existing().and_then(|runtime| take(py, &runtime.greenlets, scheduler, cause)) else {
        return false;
    };
    error.restore(py);
    true
}

#[pymethods]
impl Tasklet {
    /// The tasklet's name, for listings and tracebacks.
    #[getter]
    fn name(&self) -> String {
        self.state().name.clone().unwrap_or_else(|| format!("tasklet-{}", self.waiter().number()))
    }

    #[setter]
    fn set_name(&self, name: String) {
        self.waiter().rename(&name);
        self.state().name = Some(name);
    }

    /// Whether its turn may be ended where it computes.
    #[getter]
    fn _preemptible(&self) -> bool {
        self.is_preemptible()
    }

    #[setter(_preemptible)]
    fn set_preemptible(&self, preemptible: bool) {
        self.unpreempted.store(!preemptible, Ordering::Relaxed);
    }

    /// Whether the tasklet has not ended.
    #[getter]
    fn alive(&self) -> bool {
        self.is_alive()
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

    /// Ends the tasklet: `TaskletExit` is raised where it waits, now or next, and at every further wait until it has ended,
    /// except where it cleans up. One that has not begun never does. Does not wait for its end: `join` does.
    pub(crate) fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        if self.waiter().number() == 0 {
            // The main one: see `thrown`.
            return self.throw(py, exit_type(py).call0()?.unbind());
        }
        if self.state().outcome.is_some() {
            return Ok(());
        }
        self.waiter().interrupt(Cause::Cancel);
        if *self.waiter() != Waiter::current() {
            return Ok(());
        }
        let runtime = runtime(py)?;
        match runtime.scheduler.check() {
            Ok(()) => Ok(()),
            Err(_) => Err(runtime.raise(py)),
        }
    }

    /// Raises `exception` (an instance or a type) in the tasklet, where it waits, now or next.
    fn throw(&self, py: Python<'_>, exception: Py<PyAny>) -> PyResult<()> {
        let error = to_raise(exception.into_bound(py))?;
        let waiting = self.state().outcome.is_none();
        if *self.waiter() == Waiter::current() && waiting && runtime(py).is_ok() {
            return Err(error);
        }
        if waiting {
            self.waiter().interrupt(Cause::Thrown(keep_thrown(error.into_value(py).into_any())));
        }
        Ok(())
    }

    /// `await tasklet`, in a coroutine of a loop of any thread: what :meth:`result` does.
    fn __await__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, PyAny>> {
        let (py, tasklet) = (slf.py(), slf.get());
        if tasklet.is_alive() {
            let_run(py, tasklet.waiter())?;
        }
        let value = match &tasklet.state().outcome {
            Some(Ok(value)) => Some(value.clone_ref(py)),
            Some(Err(_)) | None => None,
        };
        match value {
            Some(value) => Ok(Bound::new(py, Ended(value))?.into_any()),
            None => await_tasklet(py)?.call1((slf,)),
        }
    }

    /// Has `watcher(tasklet)` called when the tasklet has ended: at once where it has. It is not to wait. Returns a number
    /// for [`Tasklet::_unwatch`].
    fn _watch(slf: &Bound<'_, Tasklet>, watcher: Py<PyAny>) -> PyResult<u64> {
        let mut state = slf.get().state();
        if state.outcome.is_some() {
            drop(state);
            watcher.call1(slf.py(), (slf,))?;
            return Ok(0);
        }
        let watchers = state.watchers.get_or_insert_default();
        let number = watchers.last_key_value().map_or(1, |(last, _)| last + 1);
        watchers.insert(number, watcher);
        Ok(number)
    }

    /// Takes a watcher back, if it was not called yet.
    fn _unwatch(&self, number: u64) {
        let watcher = self.state().watchers.as_mut().and_then(|watchers| watchers.remove(&number));
        drop(watcher);
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
        state.watchers.iter().flat_map(|watchers| watchers.values()).try_for_each(|watcher| visit.call(watcher))?;
        match &state.outcome {
            Some(Ok(object) | Err(object)) => visit.call(object),
            None => Ok(()),
        }
    }

    fn __clear__(&self, py: Python<'_>) {
        let mut state = self.state();
        let job = state.job.take();
        let outcome = state.outcome.as_mut().map(|outcome| std::mem::replace(outcome, Ok(py.None())));
        let watchers = std::mem::take(&mut state.watchers);
        drop(state);
        drop((job, outcome, watchers));
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

/// `spawn`. All keywords are the function's. (Rejected: one for the tasklet's name, as a group's `spawn` has it, which passes
/// no keywords on. A function that has a `name` itself would miss it, and nobody would say so.) By PyO3 the arguments would
/// be put into a tuple, and those after the first into another.
pub(super) fn spawn_function<'py>(module: &Bound<'py, PyModule>) -> PyResult<Bound<'py, PyAny>> {
    let doc = c"spawn(function, /, *args, **kwargs)
--

Starts `function(*args, **kwargs)` in a tasklet. It runs when this one first waits. The end of the program ends
it, as `Tasklet.cancel` does; `run()` waits for all.

All keywords are the function's. The name is set before the tasklet begins: `spawn(function).name = \"reader\"`.";
    class::function(module.py(), keywords(c"spawn", spawn_called, doc), None, Some(module.name()?.as_any()))
}

unsafe extern "C" fn spawn_called(
    _: *mut PyObject,
    args: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by Python, with these arguments; all live as long as the call.
    let (given, names) = unsafe {
        let py = Python::assume_attached();
        let given = all_given(args, count, names).iter().map(move |given| Bound::from_borrowed_ptr(py, *given));
        (given, Bound::from_borrowed_ptr_or_opt(py, names).map(|names| names.cast_into_unchecked::<PyTuple>()))
    };
    give(spawn_given(given, count as usize, names).map(|tasklet| tasklet.into_ptr()))
}

/// `spawn` with what it was given, the `count` positional arguments first, and then those of these `names`.
fn spawn_given<'py>(
    mut given: impl ExactSizeIterator<Item = Bound<'py, PyAny>>,
    count: usize,
    names: Option<Bound<'py, PyTuple>>,
) -> PyResult<Py<Tasklet>> {
    let Some(function) = given.next().filter(|_| count > 0) else {
        return Err(PyTypeError::new_err("spawn() missing 1 required positional argument: 'function'"));
    };
    let args = PyTuple::new(function.py(), given.by_ref().take(count - 1))?;
    let kwargs = names.map(|names| {
        let kwargs = PyDict::new(function.py());
        names.iter().zip(given).try_for_each(|(name, value)| kwargs.set_item(name, value)).map(|()| kwargs)
    });
    spawn(function, args, kwargs.transpose()?)
}

fn spawn(
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
    let runtime = runtime(py)?;
    let hooks = hooks::for_spawned(py, &runtime);
    let tasklet = prepare(function, args, kwargs, context)?;
    let id = begin(&runtime, tasklet.clone_ref(py), &OF_TASKLET);
    if let Some(hooks) = hooks {
        hooks::give(&runtime.greenlets, id, hooks);
    }
    Ok(tasklet)
}

/// Starts `function(*args)` in a tasklet whose failure is somebody's who watches it: it is not shown.
#[pyfunction]
#[pyo3(signature = (function, args, name=None))]
pub(crate) fn spawn_member(
    function: Bound<'_, PyAny>,
    args: Bound<'_, PyTuple>,
    name: Option<String>,
) -> PyResult<Py<Tasklet>> {
    let tasklet = spawn(function, args, None)?;
    tasklet.get().state().is_member = true;
    if let Some(name) = name {
        tasklet.get().set_name(name);
    }
    Ok(tasklet)
}

/// Starts `function(*args, **kwargs)` in a tasklet that stands for a thread, with an empty context as a thread has.
pub(crate) fn start_as_thread(
    function: Bound<'_, PyAny>,
    args: Bound<'_, PyTuple>,
    kwargs: Option<Bound<'_, PyDict>>,
) -> PyResult<Py<Tasklet>> {
    let py = function.py();
    let context = empty_context(py)?;
    let runtime = runtime(py)?;
    preempt::begin(&runtime)?;
    let tasklet = prepare(function, args, kwargs, context)?;
    begin(&runtime, tasklet.clone_ref(py), &OF_THREAD);
    Ok(tasklet)
}

/// The object of a tasklet that is to [`begin_as_thread`], and then to call `function(*args)`.
pub(crate) fn prepare_thread(
    runtime: &Runtime,
    function: Bound<'_, PyAny>,
    args: Bound<'_, PyTuple>,
) -> PyResult<Py<Tasklet>> {
    let context = empty_context(function.py())?;
    preempt::begin(runtime)?;
    prepare(function, args, None, context)
}

/// Adds such a tasklet to this thread's.
pub(crate) fn begin_as_thread(runtime: &Runtime, tasklet: Py<Tasklet>) {
    begin(runtime, tasklet, &OF_THREAD);
}

fn empty_context(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: returns a new reference or null with an error set.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_New()) }
}

/// The object of a tasklet that is to [`begin`].
fn prepare(
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
    Py::new(py, Tasklet::new(Some(job), None))
}

/// Adds a tasklet to this thread's. Nothing here calls Python, which might run something that waits.
fn begin(runtime: &Runtime, tasklet: Py<Tasklet>, life: &'static Life) -> TaskletId {
    let id = runtime.scheduler.create(None);
    attach(runtime, id, &tasklet);
    runtime.greenlets.add(id, Member { object: tasklet.into_any(), life });
    id
}

/// Starts `function(*args)` in a tasklet of the thread that `tasklet` is of, by a message to its port; false where that
/// thread has none any more.
#[pyfunction]
#[pyo3(signature = (tasklet, function, *args))]
pub(crate) fn spawn_there(tasklet: &Tasklet, function: Bound<'_, PyAny>, args: Bound<'_, PyTuple>) -> PyResult<bool> {
    let context = empty_context(function.py())?;
    let started = prepare(function, args, None, context)?;
    // It is called between two tasklets of that thread, which waits in its port without the GIL.
    Ok(tasklet.waiter().call(Box::new(move || {
        if let Some(runtime) = existing() {
            begin(&runtime, started, &OF_TASKLET);
        }
    })))
}

/// Makes a tasklet's object that of `id`.
fn attach(runtime: &Runtime, id: TaskletId, tasklet: &Py<Tasklet>) {
    let attached = tasklet.get().waiter.set(runtime.scheduler.waiter(id));
    debug_assert!(attached.is_ok(), "an object is one tasklet's");
}

fn live(py: Python<'_>, object: &Py<PyAny>, scheduler: &Scheduler) -> Option<Py<PyAny>> {
    // SAFETY: members of these lives are made of tasklets, in `start` and in `of_current`.
    unsafe { object.bind(py).cast_unchecked::<Tasklet>() }.get().execute(py, scheduler)
}

static OF_TASKLET: Life = Life { run: live, ends_with_program: true };
/// A tasklet that stands for a thread.
static OF_THREAD: Life = Life { run: live, ends_with_program: false };

/// The tasklet that runs.
#[pyfunction]
pub(crate) fn current(py: Python<'_>) -> PyResult<Py<Tasklet>> {
    of_current(py, &*runtime(py)?)
}

/// The tasklet that runs, unless it is the thread itself.
pub(crate) fn in_tasklet(py: Python<'_>) -> PyResult<Option<Py<Tasklet>>> {
    match existing() {
        Some(runtime) if runtime.scheduler.current_tasklet() != TaskletId::ROOT => of_current(py, &runtime).map(Some),
        _ => Ok(None),
    }
}

/// The object of the tasklet that runs.
fn of_current(py: Python<'_>, runtime: &Runtime) -> PyResult<Py<Tasklet>> {
    of(py, runtime, runtime.scheduler.current_tasklet())
}

/// The object of a tasklet of this thread that has not ended. One that has none is given one: the thread itself when it is
/// first asked for, and a tasklet that a destructor asks for while its own object is dropped.
pub(super) fn of(py: Python<'_>, runtime: &Runtime, id: TaskletId) -> PyResult<Py<Tasklet>> {
    let greenlets = &runtime.greenlets;
    if greenlets.member(py, id).is_none() {
        let name = runtime.scheduler.name(id).map(|name| name.to_string());
        let tasklet = Py::new(py, Tasklet::new(None, name))?;
        attach(runtime, id, &tasklet);
        // Where a finalizer has asked while this was made, the other one stays.
        greenlets.name(id, Member { object: tasklet.into_any(), life: &OF_TASKLET });
    }
    let member = greenlets.member(py, id).expect("it was just given one");
    Ok(member.object.into_bound(py).cast_into::<Tasklet>()?.unbind())
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
    while runtime.scheduler.alive() > 0 && until.is_none_or(|until| now() < until) {
        if engine::park(until, "join").is_err() {
            return Err(runtime.raise(py));
        }
    }
    Ok(())
}
