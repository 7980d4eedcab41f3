//! Python's tasklets on the scheduler: greenlets that switch straight to one another.
//!
//! Who parks runs the scheduler itself and switches to the next tasklet's greenlet, with no hub in between. A tasklet
//! gets a greenlet when it first runs: a *worker*, which takes the next new tasklet when one has ended and is kept when
//! there is none. Fresh workers are started by one greenlet, the *starter*, always from the same shallow frame: a
//! greenlet that starts on top of another's deep stack would make every later switch copy more, and thousands nested
//! would overflow it.
//!
//! ```text
//!   main greenlet (the tasklet ROOT) ──┐
//!   starter ── worker, worker, …     ──┴── any parks ─▶ next ready ─▶ switch to its greenlet
//! ```
//!
//! What keeps it sound: a greenlet's C stack is copied away while another runs, so nothing that others see lives on it;
//! no borrow guard is held across [`greenlet::switch`]; the GIL is given up around the wait in the port alone, in which
//! nothing of Python's is touched. Signal handlers run in the main greenlet: a driver whose wait brought nothing makes
//! ROOT ready, which looks for signals when it is switched to.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use overlapped::engine::{self, Cause, Interrupted, Onlooker, Scheduler, Switcher, TaskletId, Waiter};
use overlapped_port::Port;
use overlapped_port::sys::RawSocket;
use pyo3::exceptions::{PyKeyboardInterrupt, PyOSError, PyRuntimeError};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use crate::asyncio::{restore_loop, take_loop};
use crate::descriptor::on_signal;
use crate::explain;
use crate::greenlet;
use crate::tasklet::Tasklet;

/// Idle workers kept for reuse. Each holds some ten kilobytes.
const IDLE_WORKERS: usize = 256;
/// How long a thread that ends waits for its tasklets to end.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// What a tasklet is on this side.
enum Body {
    Ended,
    /// Not started: it has no greenlet yet.
    New(Py<Tasklet>),
    /// Started: the tasklet, and the greenlet to switch to when it is parked.
    Started(Py<Tasklet>, Py<PyAny>),
}

/// The tasklets of one thread.
pub(crate) struct Runtime {
    pub(crate) scheduler: Rc<Scheduler>,
    greenlets: Rc<Greenlets>,
    /// By descriptor, whether its last receive brought much. Only a hint: nothing is wrong when it is.
    large: RefCell<Vec<bool>>,
}

pub(crate) struct Greenlets {
    bodies: RefCell<Vec<Body>>,
    starter: RefCell<Option<Py<PyAny>>>,
    worker: Py<PyAny>,
    idle: RefCell<Vec<Py<PyAny>>>,
    /// The tasklet that the starter is to run next.
    handed_over: Cell<Option<TaskletId>>,
    /// This is the thread to which Python gives signals.
    main_thread: bool,
    look_for_signals: Cell<bool>,
    /// The number of the exception that a signal handler has raised, until the tasklet whose it is has it.
    from_signal: Cell<Option<(TaskletId, u64)>>,
    /// The thread ends, and its greenlets with it.
    ending: Cell<bool>,
}

thread_local! {
    static RUNTIME: ThisThread = const { ThisThread(RefCell::new(None)) };
}

/// The tasklets of a thread, until it ends.
struct ThisThread(RefCell<Option<Rc<Runtime>>>);

impl ThisThread {
    fn get(&self) -> Option<Rc<Runtime>> {
        self.0.borrow().clone()
    }
}

impl Drop for ThisThread {
    fn drop(&mut self) {
        // The stacks of tasklets that are left hold the runtime, and there is no unwinding them: the port is what counts.
        if let Some(runtime) = self.0.take()
            && let Err(error) = runtime.scheduler.shutdown(PATIENCE)
        {
            eprintln!("overlapped: the port of a thread that has ended had to be leaked: {error}");
        }
    }
}

/// How long a thread that ends waits for the kernel to let go of what its tasklets have in flight.
const PATIENCE: Duration = Duration::from_secs(5);

/// The tasklets of this thread; the first call makes its port.
pub(crate) fn runtime(py: Python<'_>) -> PyResult<Rc<Runtime>> {
    if let Some(runtime) = RUNTIME.with(ThisThread::get) {
        return Ok(runtime);
    }
    make(py)
}

#[cold]
#[inline(never)]
fn make(py: Python<'_>) -> PyResult<Rc<Runtime>> {
    if program_ends() {
        return Err(PyRuntimeError::new_err("overlapped: the program is ending, and nothing can wait any more"));
    }
    let port = Port::new().map_err(|error| PyOSError::new_err(format!("overlapped: no completion port: {error}")))?;
    let main_thread = MAIN_THREAD.load(Ordering::Relaxed) == thread_ident();
    let worker = function(py, &WORKER, c"worker", work)?;
    let greenlets = Rc::new(Greenlets {
        bodies: RefCell::default(),
        starter: RefCell::default(),
        worker: worker.unbind(),
        idle: RefCell::default(),
        handed_over: Cell::new(None),
        main_thread,
        look_for_signals: Cell::new(false),
        from_signal: Cell::new(None),
        ending: Cell::new(false),
    });
    let scheduler = Scheduler::enter(port, Box::new(Handle(Rc::clone(&greenlets))))?;
    scheduler.rename(TaskletId::ROOT, "main");
    let root = Py::new(py, Tasklet::root(Waiter::current()))?;
    greenlets.bodies.borrow_mut().push(Body::Started(root, greenlet::current(py)));
    *greenlets.starter.borrow_mut() =
        Some(greenlet::new(&function(py, &STARTER, c"starter", start_workers)?, &greenlet::current(py))?);
    explain::include(py, thread_ident(), scheduler.board(), &greenlets);
    if main_thread && !WATCHED.swap(true, Ordering::Relaxed) {
        let remote = Waiter::current();
        on_signal(move || {
            SIGNAL_CAME.store(true, Ordering::Release);
            remote.wake();
        });
    }
    let runtime = Rc::new(Runtime { scheduler, greenlets, large: RefCell::default() });
    RUNTIME.with(|here| here.0.replace(Some(Rc::clone(&runtime))));
    ThreadEnd::announce(py)?;
    Ok(runtime)
}

/// The thread to which Python gives signals.
static MAIN_THREAD: AtomicU64 = AtomicU64::new(0);

fn thread_ident() -> u64 {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { ffi::PyThread_get_thread_ident() as u64 }
}

/// Whether signals wake the main thread's port already.
static WATCHED: AtomicBool = AtomicBool::new(false);
/// One has come since the main thread last looked.
static SIGNAL_CAME: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The identifier of the tasklet that forked: in the child it is this thread's main one, and keeps it.
    static FORKED_AS: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The identifier of the one that runs: a tasklet's is the address of its object, which lives as long; that of a thread's
/// main tasklet, and of a thread without tasklets, is the thread's.
pub(crate) fn ident() -> u64 {
    let of_tasklet = RUNTIME.with(|here| {
        let runtime = here.0.borrow();
        let runtime = runtime.as_ref()?;
        let id = runtime.scheduler.current_tasklet();
        if id == TaskletId::ROOT {
            return None;
        }
        match &runtime.greenlets.bodies.borrow()[id.index()] {
            Body::New(tasklet) | Body::Started(tasklet, _) => Some(tasklet.as_ptr() as u64),
            Body::Ended => None,
        }
    });
    of_tasklet.or_else(|| FORKED_AS.get()).unwrap_or_else(thread_ident)
}

/// This thread's own identifier where `ident` is that of one of its tasklets; else `ident`.
pub(crate) fn thread_of(ident: u64) -> u64 {
    let is_here = RUNTIME.with(|here| {
        let runtime = here.0.borrow();
        runtime.as_ref().is_some_and(|runtime| {
            runtime.greenlets.bodies.borrow().iter().any(|body| match body {
                Body::New(tasklet) | Body::Started(tasklet, _) => tasklet.as_ptr() as u64 == ident,
                Body::Ended => false,
            })
        })
    });
    if is_here || FORKED_AS.get() == Some(ident) { thread_ident() } else { ident }
}

/// The tasklet that runs, unless it is the thread itself.
pub(crate) fn in_tasklet(py: Python<'_>) -> Option<Py<Tasklet>> {
    let runtime = RUNTIME.with(ThisThread::get)?;
    (runtime.scheduler.current_tasklet() != TaskletId::ROOT).then(|| runtime.current(py))
}

/// Learns which thread is Python's main one; called at import.
pub(crate) fn learn_main_thread(py: Python<'_>) -> PyResult<()> {
    let ident = py.import("threading")?.call_method0("main_thread")?.getattr("ident")?;
    MAIN_THREAD.store(ident.extract()?, Ordering::Relaxed);
    Ok(())
}

/// The child after a fork: the port and the other tasklets are the parent's. The one that forked goes on as this
/// thread's main tasklet, on a port that is made when it is first needed.
pub(crate) fn after_fork() {
    MAIN_THREAD.store(thread_ident(), Ordering::Relaxed);
    explain::after_fork();
    let ident = ident();
    let Some(runtime) = RUNTIME.with(|here| here.0.take()) else { return };
    if ident != thread_ident() {
        FORKED_AS.set(Some(ident));
    }
    runtime.scheduler.abandon_after_fork();
    // The other greenlets must never run here, not even to unwind: they are kept for ever.
    std::mem::forget(runtime);
}

static PROGRAM_ENDS: AtomicBool = AtomicBool::new(false);

/// Whether [`forget`] was called: objects that are still being destroyed flush and close their files, and greenlet is no
/// more. What then would wait is the standard library's own call, which blocks the thread.
pub(crate) fn program_ends() -> bool {
    PROGRAM_ENDS.load(Ordering::Relaxed)
}

/// The end of the process: what is in flight is left to the kernel.
pub(crate) fn forget(py: Python<'_>) {
    PROGRAM_ENDS.store(true, Ordering::Relaxed);
    if let Some(runtime) = RUNTIME.with(|here| here.0.take()) {
        explain::leave_out(thread_ident());
        // It may be waiting for the GIL, which nobody gets any more when the interpreter has gone.
        if let Some(watch) = runtime.scheduler.unwatch() {
            py.detach(|| watch.join()).expect("a watching thread does not panic");
        }
        runtime.scheduler.leave();
        std::mem::forget(runtime);
    }
}

/// In the thread state's dictionary: dropped when Python's thread has run to its end, while the GIL is held and before
/// whoever joins the thread goes on. After a fork, and at the end of the process, another thread may drop it.
#[pyclass(frozen, module = "overlapped._engine")]
struct ThreadEnd(u64);

impl ThreadEnd {
    fn announce(py: Python<'_>) -> PyResult<()> {
        // SAFETY: a borrowed reference, or null where there is no thread state, which an attached thread has.
        let state = unsafe { Bound::from_borrowed_ptr(py, ffi::PyThreadState_GetDict()) };
        let state = state.cast::<PyDict>()?;
        let key = "overlapped._engine";
        // One that is there already stays: its drop would end the tasklets that have just begun.
        if state.contains(key)? { Ok(()) } else { state.set_item(key, Py::new(py, ThreadEnd(thread_ident()))?) }
    }
}

impl Drop for ThreadEnd {
    fn drop(&mut self) {
        if self.0 != thread_ident() {
            return;
        }
        // SAFETY: Python objects are dropped with the GIL held.
        let py = unsafe { Python::assume_attached() };
        let Some(runtime) = RUNTIME.with(ThisThread::get) else { return };
        match runtime.end(py) {
            Ok(()) => {
                RUNTIME.with(|here| here.0.take());
                explain::leave_out(self.0);
                runtime.scheduler.leave();
            }
            Err(left) => eprintln!("overlapped: a thread has ended, {left} of its tasklets have not: they never will"),
        }
    }
}

impl Runtime {
    /// Ends all tasklets, as `Tasklet.cancel` does, and then their greenlets. The error is how many tasklets would not
    /// end.
    fn end(&self, py: Python<'_>) -> Result<(), usize> {
        let greenlets = &self.greenlets;
        let until = Instant::now() + LAST_PATIENCE;
        while self.scheduler.alive() > 0 && Instant::now() < until {
            let left: Vec<Py<Tasklet>> = {
                let bodies = greenlets.bodies.borrow();
                let left = bodies.iter().skip(1).filter_map(|body| match body {
                    Body::New(tasklet) | Body::Started(tasklet, _) => Some(tasklet.clone_ref(py)),
                    Body::Ended => None,
                });
                left.collect()
            };
            for tasklet in left {
                let _ = tasklet.get().cancel(py);
            }
            // Those that they still start are cancelled in the next round.
            let round = until.min(Instant::now() + LAST_PATIENCE / 10);
            while self.scheduler.alive() > 0 && Instant::now() < round {
                if engine::park(Some(round), "the tasklets to end").is_err() {
                    drop(self.raise(py));
                }
            }
        }
        if self.scheduler.alive() > 0 {
            return Err(self.scheduler.alive());
        }
        greenlets.ending.set(true);
        let starter = greenlets.starter.borrow_mut().take();
        if starter.is_some_and(|starter| !greenlet::switch(&starter)) {
            show_error(py);
        }
        Ok(())
    }

    /// The tasklet that runs.
    pub(crate) fn current(&self, py: Python<'_>) -> Py<Tasklet> {
        match &self.greenlets.bodies.borrow()[self.scheduler.current_tasklet().index()] {
            Body::New(tasklet) | Body::Started(tasklet, _) => tasklet.clone_ref(py),
            Body::Ended => unreachable!("the tasklet that runs has not ended"),
        }
    }

    /// Makes a tasklet ready to run.
    pub(crate) fn start(&self, name: Option<&str>, make: impl FnOnce(Waiter) -> PyResult<Py<Tasklet>>) -> PyResult<()> {
        let id = self.scheduler.create(name);
        let tasklet = match make(self.scheduler.waiter(id)) {
            Ok(tasklet) => tasklet,
            Err(error) => {
                self.scheduler.discard(id);
                return Err(error);
            }
        };
        let mut bodies = self.greenlets.bodies.borrow_mut();
        if bodies.len() <= id.index() {
            bodies.resize_with(id.index() + 1, || Body::Ended);
        }
        bodies[id.index()] = Body::New(tasklet);
        Ok(())
    }

    /// Whether the next receive on a socket is likely to bring much.
    pub(crate) fn expects_large(&self, socket: RawSocket) -> bool {
        self.large.borrow().get(socket as usize).copied().unwrap_or(false)
    }

    /// Notes whether a receive on a socket brought much.
    pub(crate) fn expect_large(&self, socket: RawSocket, large: bool) {
        let mut hints = self.large.borrow_mut();
        let index = socket as usize;
        if index >= hints.len() {
            // Windows's numbers may be far apart; beyond this there is no hint.
            if !large || index > 1 << 20 {
                return;
            }
            hints.resize(index + 1, false);
        }
        hints[index] = large;
    }

    /// What follows the end of a tasklet on its worker.
    #[inline(never)]
    fn retire(self: &Rc<Self>, py: Python<'_>, id: TaskletId, ended: PyResult<()>) {
        if !RUNTIME.with(ThisThread::get).is_some_and(|now| Rc::ptr_eq(&now, self)) {
            // The tasklet has forked, and this is the child: as a thread that ends after a fork, it ends the process.
            let _ = py.import("os").and_then(|os| os.call_method1("_exit", (0,)));
        }
        if let Err(error) = ended {
            // Ctrl-C ends the program as it would have, wherever Python happened to notice it.
            debug_assert!(error.is_instance_of::<PyKeyboardInterrupt>(py));
            throw_from_signal(&self.greenlets, &self.scheduler, TaskletId::ROOT, error.into_value(py).into_any());
        }
        let body = std::mem::replace(&mut self.greenlets.bodies.borrow_mut()[id.index()], Body::Ended);
        self.scheduler.retire(id);
        drop(body);
    }

    /// Finds the worker `me` its next new tasklet, and lets others run until there is one; false where it is to end.
    #[inline(never)]
    fn next_for(&self, py: Python<'_>, me: &Py<PyAny>) -> bool {
        let greenlets = &self.greenlets;
        loop {
            match self.scheduler.next() {
                Ok(Some(next)) if matches!(greenlets.bodies.borrow()[next.index()], Body::New(_)) => return true,
                Ok(Some(next)) => {
                    if greenlets.idle.borrow().len() >= IDLE_WORKERS {
                        greenlets.handed_over.set(Some(next));
                        return false;
                    }
                    greenlets.idle.borrow_mut().push(me.clone_ref(py));
                    greenlets.go_to(py, next);
                    return !greenlets.ending.get();
                }
                Ok(None) => greenlets.wait(py, &self.scheduler),
                Err(error) => port_failed(&error),
            }
        }
    }

    /// The error to return for an interrupt of the current tasklet.
    pub(crate) fn raise(&self, py: Python<'_>) -> PyErr {
        match self.scheduler.take_interrupt() {
            Some(Cause::Thrown(number)) => match take_thrown(number) {
                Some(exception) => PyErr::from_value(exception.into_bound(py)),
                None => PyRuntimeError::new_err("an interrupt was withdrawn while it was raised"),
            },
            _ => PyRuntimeError::new_err("the tasklet was interrupted"),
        }
    }
}

/// The last number that was given, and the exceptions by their numbers.
type Thrown = (u64, HashMap<u64, Py<PyAny>>);

static THROWN: LazyLock<Mutex<Thrown>> = LazyLock::new(Mutex::default);

/// Keeps an exception until the tasklet that is to raise it does; returns its number.
pub(crate) fn keep_thrown(exception: Py<PyAny>) -> u64 {
    let mut thrown = THROWN.lock().unwrap_or_else(PoisonError::into_inner);
    thrown.0 += 1;
    let number = thrown.0;
    thrown.1.insert(number, exception);
    number
}

/// Takes a kept exception.
pub(crate) fn take_thrown(number: u64) -> Option<Py<PyAny>> {
    THROWN.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&number)
}

impl Greenlets {
    /// Each tasklet's greenlet, by index.
    pub(crate) fn all(&self, py: Python<'_>) -> Vec<Option<Py<PyAny>>> {
        let bodies = self.bodies.borrow();
        let greenlet = |body: &Body| match body {
            Body::Started(_, greenlet) => Some(greenlet.clone_ref(py)),
            Body::New(_) | Body::Ended => None,
        };
        bodies.iter().map(greenlet).collect()
    }

    /// Notes that the new tasklet `id` runs on the worker `me` from now on.
    #[inline(never)]
    fn begin(&self, py: Python<'_>, id: TaskletId, me: &Py<PyAny>) -> Py<Tasklet> {
        let mut bodies = self.bodies.borrow_mut();
        let Body::New(tasklet) = &bodies[id.index()] else { unreachable!("a worker is given new tasklets") };
        let tasklet = tasklet.clone_ref(py);
        bodies[id.index()] = Body::Started(tasklet.clone_ref(py), me.clone_ref(py));
        tasklet
    }

    /// Goes to the tasklet that the scheduler has just made the current one. Returns when somebody comes back.
    fn go_to(&self, py: Python<'_>, id: TaskletId) {
        if !greenlet::switch(&self.greenlet_of(py, id)) {
            // Nobody throws into these greenlets; what came all the same is shown, not lost.
            show_error(py);
        }
    }

    #[inline(never)]
    fn greenlet_of(&self, py: Python<'_>, id: TaskletId) -> Py<PyAny> {
        match &self.bodies.borrow()[id.index()] {
            Body::Started(_, greenlet) => greenlet.clone_ref(py),
            Body::New(_) => match self.idle.borrow_mut().pop() {
                Some(worker) => worker,
                None => {
                    self.handed_over.set(Some(id));
                    self.starter.borrow().as_ref().expect("made with the runtime").clone_ref(py)
                }
            },
            Body::Ended => unreachable!("an ended tasklet is not ready"),
        }
    }

    /// Looks for signals, for the main tasklet, which has just been gone back to.
    #[inline(never)]
    fn back_in_main(&self, py: Python<'_>, scheduler: &Scheduler) {
        // SAFETY: the GIL is held, and this is the main thread's main tasklet.
        if self.look_for_signals.take() && unsafe { ffi::PyErr_CheckSignals() } != 0 {
            throw_from_signal(self, scheduler, TaskletId::ROOT, PyErr::fetch(py).into_value(py).into_any());
        }
        if self.from_signal.get().is_some_and(|(id, _)| id == TaskletId::ROOT) {
            raise_soon();
        }
    }

    /// Runs the tasklet that was handed over to the starter, `me`: in a fresh worker if it is new.
    fn start_worker(&self, py: Python<'_>, me: &Py<PyAny>) {
        let id = self.handed_over.take().expect("the starter is switched to with a tasklet to run");
        if !matches!(self.bodies.borrow()[id.index()], Body::New(_)) {
            self.go_to(py, id);
        } else {
            let worker = greenlet::new(self.worker.bind(py), me).expect("there is memory for a greenlet");
            if !greenlet::switch(&worker) {
                show_error(py);
            }
        }
    }

    /// Waits in the port, without the GIL, until something has happened.
    #[inline(never)]
    fn wait(&self, py: Python<'_>, scheduler: &Rc<Scheduler>) {
        if scheduler.is_deadlocked() && only_thread(py) && waits_for_tasklets(scheduler) {
            let error = PyRuntimeError::new_err(
                "Deadlock: the last runnable tasklet cannot be blocked: every tasklet waits for another",
            );
            throw(scheduler, TaskletId::ROOT, error.into_value(py).into_any());
            return;
        }
        // SAFETY: the GIL is held here and taken again before anything of Python's is used: the turn touches the port
        // and the scheduler's own tables.
        let turned = unsafe {
            let state = ffi::PyEval_SaveThread();
            let turned = scheduler.turn(None);
            ffi::PyEval_RestoreThread(state);
            turned
        };
        if let Err(error) = turned {
            port_failed(&error);
        }
        if self.main_thread && (!scheduler.has_ready() || SIGNAL_CAME.swap(false, Ordering::Acquire)) {
            self.look_for_signals.set(true);
            scheduler.wake(TaskletId::ROOT);
        }
    }
}

/// Raises `error` in this thread's main tasklet, which runs at once; gives it back where that is who calls.
pub(crate) fn throw_in_main(py: Python<'_>, error: PyErr) -> PyResult<()> {
    let Some(runtime) = RUNTIME.with(ThisThread::get) else { return Err(error) };
    let scheduler = &runtime.scheduler;
    if scheduler.current_tasklet() == TaskletId::ROOT {
        return Err(error);
    }
    throw_from_signal(&runtime.greenlets, scheduler, TaskletId::ROOT, error.into_value(py).into_any());
    scheduler.yield_now().map_err(|_| runtime.raise(py))
}

/// Raises in a tasklet, nearly always the main one, what a signal handler has raised. What it waits for ends; where that
/// still brings a result, the exception comes right after it, and not with the next wait, which may be far.
fn throw_from_signal(greenlets: &Greenlets, scheduler: &Scheduler, id: TaskletId, exception: Py<PyAny>) {
    let number = keep_thrown(exception);
    greenlets.from_signal.set(Some((id, number)));
    scheduler.interrupt(id, Cause::Thrown(number));
}

/// To be called between the parts of what one call does in several: runs the handlers of signals that have come, as the
/// standard library's calls do (PEP 475). Without this a signal that comes with a part's end waits for all of them. False
/// where a handler has raised: the call is to return what it has, and the exception comes right after it.
pub(crate) fn run_signal_handlers(py: Python<'_>, runtime: &Runtime) -> bool {
    let Err(error) = py.check_signals() else { return true };
    let (greenlets, me) = (&runtime.greenlets, runtime.scheduler.current_tasklet());
    throw_from_signal(greenlets, &runtime.scheduler, me, error.into_value(py).into_any());
    raise_soon();
    false
}

/// Has Python call [`raise_from_signal`] when it goes on to execute code. Where its list of calls is full, the exception
/// comes with the next wait.
fn raise_soon() {
    // SAFETY: the function may be called at any time.
    unsafe { ffi::Py_AddPendingCall(Some(raise_from_signal), ptr::null_mut()) };
}

/// Python calls this when it goes on to execute code; raises what a signal handler has raised and nobody yet.
extern "C" fn raise_from_signal(_: *mut c_void) -> c_int {
    let Some(runtime) = RUNTIME.with(ThisThread::get) else { return 0 };
    let me = runtime.scheduler.current_tasklet();
    // Whose it is has this called again when it goes on.
    let Some((_, number)) = runtime.greenlets.from_signal.get().filter(|(id, _)| *id == me) else { return 0 };
    runtime.greenlets.from_signal.set(None);
    runtime.scheduler.withdraw(me, Cause::Thrown(number));
    let Some(exception) = take_thrown(number) else { return 0 };
    // SAFETY: Python calls this, so the GIL is held.
    let py = unsafe { Python::assume_attached() };
    PyErr::from_value(exception.into_bound(py)).restore(py);
    -1
}

fn throw(scheduler: &Scheduler, id: TaskletId, exception: Py<PyAny>) {
    scheduler.interrupt(id, Cause::Thrown(keep_thrown(exception)));
}

#[cold]
#[inline(never)]
fn show_error(py: Python<'_>) {
    PyErr::fetch(py).write_unraisable(py, None);
}

/// Whether no other thread has Python's ear.
fn only_thread(_: Python<'_>) -> bool {
    // SAFETY: the GIL is held: the list of thread states does not change.
    unsafe {
        let state = ffi::PyThreadState_Get();
        let first = ffi::PyInterpreterState_ThreadHead(ffi::PyInterpreterState_Get());
        first == state && ffi::PyThreadState_Next(first).is_null()
    }
}

/// Whether the main tasklet waits for what only other tasklets can do.
fn waits_for_tasklets(scheduler: &Scheduler) -> bool {
    matches!(scheduler.waits_for(TaskletId::ROOT), "channel send" | "channel receive" | "event" | "join" | "semaphore")
}

/// The kernel's interface is gone (its descriptor was closed, say), while it may own buffers.
fn port_failed(error: &io::Error) -> ! {
    eprintln!("overlapped: the completion port of this thread has failed: {error}");
    std::process::abort();
}

/// How the scheduler switches greenlets.
struct Handle(Rc<Greenlets>);

impl Switcher for Handle {
    fn park(&self, scheduler: &Rc<Scheduler>, me: TaskletId) {
        let greenlets = &self.0;
        // SAFETY: tasklets of this side park while they hold the GIL.
        let py = unsafe { Python::assume_attached() };
        let running = take_loop(py);
        loop {
            match scheduler.next() {
                Ok(Some(id)) if id == me => break,
                Ok(Some(id)) => {
                    greenlets.go_to(py, id);
                    break;
                }
                Ok(None) => greenlets.wait(py, scheduler),
                Err(error) => port_failed(&error),
            }
        }
        if let Some(running) = running {
            restore_loop(py, running);
        }
        if me == TaskletId::ROOT {
            greenlets.back_in_main(py, scheduler);
        }
    }

    fn unwinds(&self) -> bool {
        false
    }

    fn thread(&self) -> Option<String> {
        // As Python's `faulthandler` has it.
        Some(if self.0.main_thread { "main".to_owned() } else { format!("{:#018x}", thread_ident()) })
    }

    fn onlooker(&self) -> Option<Onlooker> {
        let ident = thread_ident();
        Some(Box::new(move |still_held| explain::stack_of_thread(ident, still_held)))
    }
}

/// A function for a greenlet to run, without PyO3's frames in between; made once.
fn function<'py>(
    py: Python<'py>,
    made: &'static PyOnceLock<Py<PyAny>>,
    name: &'static CStr,
    function: ffi::PyCFunction,
) -> PyResult<Bound<'py, PyAny>> {
    let make = || {
        let definition = Box::leak(Box::new(ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunction: function },
            ml_flags: ffi::METH_NOARGS,
            ml_doc: ptr::null(),
        }));
        // SAFETY: the definition lives for ever; the result is a new reference or null with an error set.
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyCFunction_New(definition, ptr::null_mut())) }
            .map(Bound::unbind)
    };
    made.get_or_try_init(py, make).map(|function| function.bind(py).clone())
}

static WORKER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static STARTER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// A worker's life: new tasklets, one after the other.
///
/// They wait on top of this frame, and at every switch their stack is copied out of the way and back: what is not needed
/// meanwhile is in functions of its own.
unsafe extern "C" fn work(_: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    Python::attach(|py| {
        if let Some(runtime) = RUNTIME.with(ThisThread::get) {
            let me = greenlet::current(py);
            loop {
                let id = runtime.scheduler.current_tasklet();
                let tasklet = runtime.greenlets.begin(py, id, &me);
                let ended = tasklet.get().execute(py, &runtime.scheduler);
                runtime.retire(py, id, ended);
                drop(tasklet);
                if !runtime.next_for(py, &me) {
                    break;
                }
            }
        }
        py.None().into_ptr()
    })
}

/// The starter's life: fresh workers, each started from this frame; and what a worker that has ended left.
unsafe extern "C" fn start_workers(_: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    Python::attach(|py| {
        if let Some(runtime) = RUNTIME.with(ThisThread::get) {
            let me = greenlet::current(py);
            while !runtime.greenlets.ending.get() {
                runtime.greenlets.start_worker(py, &me);
            }
            for worker in runtime.greenlets.idle.take() {
                if !greenlet::switch(&worker) {
                    show_error(py);
                }
            }
        }
        py.None().into_ptr()
    })
}

/// Cancels what is in flight on a handle, with `cancel`, and waits until `left` says that nothing is. Whoever closes a
/// handle goes on closing: an interrupt waits until that is done.
pub(crate) fn settle(cancel: impl FnOnce(&mut Port) -> usize, left: impl Fn(&Port) -> usize) -> PyResult<()> {
    let Some(runtime) = RUNTIME.with(ThisThread::get) else { return Ok(()) };
    let scheduler = &runtime.scheduler;
    if cancel(&mut scheduler.port().borrow_mut()) == 0 {
        return Ok(());
    }
    while left(&scheduler.port().borrow()) > 0 {
        let _ = scheduler.yield_now();
        scheduler.turn(Some(Duration::from_millis(1)))?;
    }
    Ok(())
}

/// The error to raise for what the engine returned.
#[cold]
#[inline(never)]
pub(crate) fn to_error(py: Python<'_>, runtime: &Runtime, error: io::Error) -> PyErr {
    if Interrupted::is(&error) { runtime.raise(py) } else { crate::error::from_io(error) }
}
