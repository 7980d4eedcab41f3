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
use std::ffi::CStr;
use std::io;
use std::ptr;
use std::rc::Rc;

use overlapped::engine::{Onlooker, Scheduler, Switcher, TaskletId};
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::asyncio::{restore_loop, take_loop};
use crate::explain;
use crate::greenlet;
use crate::runtime::{Runtime, existing, signal_came, thread_ident};
use crate::tasklet::Tasklet;
use crate::thrown::{raise_soon, throw, throw_from_signal};

/// Idle workers kept for reuse. Each holds some ten kilobytes.
const IDLE_WORKERS: usize = 256;
/// What a tasklet is on this side.
enum Body {
    Ended,
    /// Not started: it has no greenlet yet.
    New(Py<Tasklet>),
    /// Started: the tasklet, and the greenlet to switch to when it is parked.
    Started(Py<Tasklet>, Py<PyAny>),
}

impl Body {
    fn tasklet(&self) -> Option<&Py<Tasklet>> {
        match self {
            Body::New(tasklet) | Body::Started(tasklet, _) => Some(tasklet),
            Body::Ended => None,
        }
    }
}

/// The greenlets of one thread, and who of them runs what.
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
    pub(crate) from_signal: Cell<Option<(TaskletId, u64)>>,
    /// The thread ends, and its greenlets with it.
    ending: Cell<bool>,
}

impl Greenlets {
    /// `main_thread`: this is the thread to which Python gives signals.
    pub(crate) fn new(py: Python<'_>, main_thread: bool) -> PyResult<Greenlets> {
        Ok(Greenlets {
            bodies: RefCell::default(),
            starter: RefCell::default(),
            worker: function(py, &WORKER, c"worker", work)?.unbind(),
            idle: RefCell::default(),
            handed_over: Cell::new(None),
            main_thread,
            look_for_signals: Cell::new(false),
            from_signal: Cell::new(None),
            ending: Cell::new(false),
        })
    }

    /// How the scheduler switches them.
    pub(crate) fn switcher(greenlets: &Rc<Greenlets>) -> Box<dyn Switcher> {
        Box::new(Handle(Rc::clone(greenlets)))
    }

    /// Begins with the thread's own tasklet, which runs.
    pub(crate) fn begin_thread(&self, py: Python<'_>, root: Py<Tasklet>) -> PyResult<()> {
        let me = greenlet::current(py);
        let starter = greenlet::new(&function(py, &STARTER, c"starter", start_workers)?, &me)?;
        self.starter.replace(Some(starter));
        self.bodies.borrow_mut().push(Body::Started(root, me));
        Ok(())
    }

    /// Ends the workers and their starter, when all tasklets have ended.
    pub(crate) fn end(&self, py: Python<'_>) {
        self.ending.set(true);
        let starter = self.starter.take();
        if starter.is_some_and(|starter| !greenlet::switch(&starter)) {
            show_error(py);
        }
    }

    /// Adds a new tasklet.
    pub(crate) fn add(&self, id: TaskletId, tasklet: Py<Tasklet>) {
        let mut bodies = self.bodies.borrow_mut();
        if bodies.len() <= id.index() {
            bodies.resize_with(id.index() + 1, || Body::Ended);
        }
        bodies[id.index()] = Body::New(tasklet);
    }

    /// A tasklet that has not ended.
    pub(crate) fn tasklet(&self, py: Python<'_>, id: TaskletId) -> Option<Py<Tasklet>> {
        self.bodies.borrow()[id.index()].tasklet().map(|tasklet| tasklet.clone_ref(py))
    }

    /// Those that have not ended, but for the thread's own.
    pub(crate) fn tasklets(&self, py: Python<'_>) -> Vec<Py<Tasklet>> {
        let bodies = self.bodies.borrow();
        bodies.iter().skip(1).filter_map(Body::tasklet).map(|tasklet| tasklet.clone_ref(py)).collect()
    }

    /// The address of the object of a tasklet that has not ended.
    pub(crate) fn address(&self, id: TaskletId) -> Option<u64> {
        self.bodies.borrow()[id.index()].tasklet().map(|tasklet| tasklet.as_ptr() as u64)
    }

    /// Whether the object at an address is a tasklet of this thread that has not ended.
    pub(crate) fn has(&self, address: u64) -> bool {
        self.bodies.borrow().iter().filter_map(Body::tasklet).any(|tasklet| tasklet.as_ptr() as u64 == address)
    }

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
        if self.main_thread && (!scheduler.has_ready() || signal_came()) {
            self.look_for_signals.set(true);
            scheduler.wake(TaskletId::ROOT);
        }
    }
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
extern "C" fn work(_: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    Python::attach(|py| {
        if let Some(runtime) = existing() {
            let me = greenlet::current(py);
            loop {
                let id = runtime.scheduler.current_tasklet();
                let tasklet = runtime.greenlets.begin(py, id, &me);
                let ended = tasklet.get().execute(py, &runtime.scheduler);
                retire(py, &runtime, id, ended);
                drop(tasklet);
                if !next_for(py, &runtime, &me) {
                    break;
                }
            }
        }
        py.None().into_ptr()
    })
}

/// What follows the end of a tasklet on its worker.
#[inline(never)]
fn retire(py: Python<'_>, runtime: &Rc<Runtime>, id: TaskletId, ended: PyResult<()>) {
    if !existing().is_some_and(|now| Rc::ptr_eq(&now, runtime)) {
        // The tasklet has forked, and this is the child: as a thread that ends after a fork, it ends the process.
        let _ = py.import("os").and_then(|os| os.call_method1("_exit", (0,)));
    }
    if let Err(error) = ended {
        // Ctrl-C ends the program as it would have, wherever Python happened to notice it.
        debug_assert!(error.is_instance_of::<PyKeyboardInterrupt>(py));
        throw_from_signal(&runtime.greenlets, &runtime.scheduler, TaskletId::ROOT, error.into_value(py).into_any());
    }
    let body = std::mem::replace(&mut runtime.greenlets.bodies.borrow_mut()[id.index()], Body::Ended);
    runtime.scheduler.retire(id);
    drop(body);
}

/// Finds the worker `me` its next new tasklet, and lets others run until there is one; false where it is to end.
#[inline(never)]
fn next_for(py: Python<'_>, runtime: &Runtime, me: &Py<PyAny>) -> bool {
    let (greenlets, scheduler) = (&runtime.greenlets, &runtime.scheduler);
    loop {
        match scheduler.next() {
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
            Ok(None) => greenlets.wait(py, scheduler),
            Err(error) => port_failed(&error),
        }
    }
}

/// The starter's life: fresh workers, each started from this frame; and what a worker that has ended left.
extern "C" fn start_workers(_: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    Python::attach(|py| {
        if let Some(runtime) = existing() {
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
