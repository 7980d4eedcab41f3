//! What this thread has: its scheduler and its greenlets; and who runs on it. How that begins and ends is in
//! [`life`](super::life).

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use overlapped::engine::{Expectations, Interrupted, Scheduler, TaskletId, Waiter};
use overlapped_port::{Op, Outcome};
use pyo3::ffi;
use pyo3::prelude::*;

use super::greenlets::Greenlets;
use super::thrown;
use crate::python::capi::is_finalizing;

/// The tasklets of one thread.
pub(crate) struct Runtime {
    pub(crate) scheduler: Rc<Scheduler>,
    pub(crate) greenlets: Rc<Greenlets>,
    /// How often in a row a tasklet was let run at once (`awaiting::let_run`).
    pub(super) let_run: Cell<u32>,
    pub(crate) expectations: Expectations,
    /// What `_thread.get_native_id` returns here.
    native_id: OnceCell<Py<PyAny>>,
    /// This is the child of a fork, and they are the parent's.
    pub(super) forked: Cell<bool>,
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
        let Some(runtime) = self.0.take() else { return };
        super::explain::port_is_gone(thread_ident());
        if let Err(error) = runtime.scheduler.shutdown(PATIENCE) {
            eprintln!("overlapped: the port of a thread that has ended had to be leaked: {error}");
        }
    }
}

/// How long a thread that ends waits for the kernel to let go of what its tasklets have in flight.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes `runtime` this thread's.
pub(crate) fn install(runtime: Rc<Runtime>) {
    RUNTIME.with(|here| here.0.replace(Some(runtime)));
}

/// Takes this thread's away.
pub(crate) fn take() -> Option<Rc<Runtime>> {
    RUNTIME.with(|here| here.0.take())
}

/// Takes the parent's away, in the child after a fork: the tasklet that runs is the thread's main one from now on.
pub(crate) fn take_after_fork() -> Option<Rc<Runtime>> {
    let ident = ident();
    let runtime = take()?;
    runtime.forked.set(true);
    if ident != thread_ident() {
        FORKED_AS.set(Some(ident));
    }
    Some(runtime)
}

/// The tasklets of this thread, where it has any.
pub(crate) fn existing() -> Option<Rc<Runtime>> {
    RUNTIME.with(ThisThread::get)
}

pub(crate) fn thread_ident() -> u64 {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { ffi::PyThread_get_thread_ident() as u64 }
}

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
        runtime.greenlets.address(id)
    });
    of_tasklet.unwrap_or_else(ident_of_main)
}

/// The identifier of this thread's main tasklet.
pub(super) fn ident_of_main() -> u64 {
    FORKED_AS.get().unwrap_or_else(thread_ident)
}

/// This thread's own identifier where `ident` is that of one of its tasklets; else `ident`.
pub(crate) fn thread_of(ident: u64) -> u64 {
    let is_here = RUNTIME.with(|here| {
        let runtime = here.0.borrow();
        runtime.as_ref().is_some_and(|runtime| runtime.greenlets.has(ident))
    });
    if is_here || FORKED_AS.get() == Some(ident) { thread_ident() } else { ident }
}

impl Runtime {
    pub(crate) fn new(scheduler: Rc<Scheduler>, greenlets: Rc<Greenlets>) -> Rc<Runtime> {
        Rc::new(Runtime {
            scheduler,
            greenlets,
            let_run: Cell::new(0),
            expectations: Expectations::default(),
            native_id: OnceCell::new(),
            forked: Cell::new(false),
        })
    }

    /// The tasklet, where it is one of this thread.
    pub(super) fn here(&self, waiter: &Waiter) -> Option<TaskletId> {
        let id = waiter.id()?;
        (self.scheduler.waiter(id) == *waiter).then_some(id)
    }

    /// The system's identifier of this thread, as `_thread.get_native_id` returns it, without a system call; `None` of
    /// Python's where the system has none.
    pub(crate) fn native_id(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if let Some(known) = self.native_id.get() {
            return Ok(known.clone_ref(py));
        }
        let asked = match py.import("_thread")?.getattr_opt("get_native_id")? {
            Some(function) => function.call0()?.unbind(),
            None => py.None(),
        };
        // A finalizer may have asked meanwhile; the answer is the same.
        let _ = self.native_id.set(asked.clone_ref(py));
        Ok(asked)
    }

    /// Runs one operation to its end: see [`Scheduler::operate`].
    pub(crate) fn operate(&self, op: Op<'_>, deadline: Option<Instant>) -> io::Result<Outcome> {
        // SAFETY: a descriptor is a number in Python, and whoever names one answers for it, as with `os.read` and
        // `os.close`. Closing goes through `settle`, after what is in flight on it.
        unsafe { self.scheduler.operate(op, deadline) }
    }

    /// The error to return for an interrupt of the current tasklet.
    pub(crate) fn raise(&self, py: Python<'_>) -> PyErr {
        thrown::raise(py, &self.greenlets, &self.scheduler)
    }
}

static PROGRAM_ENDS: AtomicBool = AtomicBool::new(false);

/// Whether the program ends, by its own account or, where that was left out (`atexit._clear()`), Python's: objects that are still being destroyed flush and close their files, and greenlet is no
/// more. What then would wait is the standard library's own call, which blocks the thread.
#[pyfunction]
pub(crate) fn program_ends() -> bool {
    PROGRAM_ENDS.load(Ordering::Relaxed) || is_finalizing()
}

/// It does, from now on.
pub(super) fn note_end_of_program() {
    PROGRAM_ENDS.store(true, Ordering::Relaxed);
}

/// The error to raise for what the engine returned.
#[cold]
#[inline(never)]
pub(crate) fn to_error(py: Python<'_>, runtime: &Runtime, error: io::Error) -> PyErr {
    if Interrupted::is(&error) { runtime.raise(py) } else { crate::python::error::from_io(error) }
}
