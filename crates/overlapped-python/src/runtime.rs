//! The tasklets of a thread: from the first call that needs them, which makes the thread's port, to the thread's end, a
//! fork, or the end of the program. How they switch is in [`worker`](crate::worker).

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use overlapped::engine::{self, Cause, Interrupted, Scheduler, TaskletId, Waiter};
use overlapped_port::Port;
use overlapped_port::sys::RawSocket;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::descriptor::on_signal;
use crate::explain;
use crate::tasklet::Tasklet;
use crate::thrown::take_thrown;
use crate::worker::Greenlets;

/// How long a thread that ends waits for its tasklets to end.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// The tasklets of one thread.
pub(crate) struct Runtime {
    pub(crate) scheduler: Rc<Scheduler>,
    pub(crate) greenlets: Rc<Greenlets>,
    /// By descriptor, whether its last receive brought much. Only a hint: nothing is wrong when it is.
    large: RefCell<Vec<bool>>,
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

/// The tasklets of this thread, where it has any.
pub(crate) fn existing() -> Option<Rc<Runtime>> {
    RUNTIME.with(ThisThread::get)
}

/// The tasklets of this thread; the first call makes its port.
pub(crate) fn runtime(py: Python<'_>) -> PyResult<Rc<Runtime>> {
    if let Some(runtime) = existing() {
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
    let greenlets = Rc::new(Greenlets::new(py, main_thread)?);
    let scheduler = Scheduler::enter(port, Greenlets::switcher(&greenlets))?;
    scheduler.rename(TaskletId::ROOT, "main");
    greenlets.begin_thread(py, Py::new(py, Tasklet::root(Waiter::current()))?)?;
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

pub(crate) fn thread_ident() -> u64 {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { ffi::PyThread_get_thread_ident() as u64 }
}

/// Whether signals wake the main thread's port already.
static WATCHED: AtomicBool = AtomicBool::new(false);
/// One has come since the main thread last looked.
static SIGNAL_CAME: AtomicBool = AtomicBool::new(false);

/// Whether a signal has come since this was last asked.
pub(crate) fn signal_came() -> bool {
    SIGNAL_CAME.swap(false, Ordering::Acquire)
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
    of_tasklet.or_else(|| FORKED_AS.get()).unwrap_or_else(thread_ident)
}

/// This thread's own identifier where `ident` is that of one of its tasklets; else `ident`.
pub(crate) fn thread_of(ident: u64) -> u64 {
    let is_here = RUNTIME.with(|here| {
        let runtime = here.0.borrow();
        runtime.as_ref().is_some_and(|runtime| runtime.greenlets.has(ident))
    });
    if is_here || FORKED_AS.get() == Some(ident) { thread_ident() } else { ident }
}

/// The tasklet that runs, unless it is the thread itself.
pub(crate) fn in_tasklet(py: Python<'_>) -> Option<Py<Tasklet>> {
    let runtime = existing()?;
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
        let Some(runtime) = existing() else { return };
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
        let until = Instant::now() + LAST_PATIENCE;
        while self.scheduler.alive() > 0 && Instant::now() < until {
            for tasklet in self.greenlets.tasklets(py) {
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
        self.greenlets.end(py);
        Ok(())
    }

    /// The tasklet that runs.
    pub(crate) fn current(&self, py: Python<'_>) -> Py<Tasklet> {
        self.greenlets.tasklet(py, self.scheduler.current_tasklet()).expect("the tasklet that runs has not ended")
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
        self.greenlets.add(id, tasklet);
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

/// Cancels what is in flight on a handle, with `cancel`, and waits until `left` says that nothing is. Whoever closes a
/// handle goes on closing: an interrupt waits until that is done.
pub(crate) fn settle(cancel: impl FnOnce(&mut Port) -> usize, left: impl Fn(&Port) -> usize) -> PyResult<()> {
    let Some(runtime) = existing() else { return Ok(()) };
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
