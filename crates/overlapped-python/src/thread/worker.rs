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

use std::ffi::CStr;
use std::io;
use std::ptr;
use std::rc::Rc;
use std::time::Duration;

use overlapped::engine::{Cause, Onlooker, Scheduler, Switcher, TaskletId};
use overlapped_port::sim::is_simulated;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::asyncio::{restore_loop, take_loop};
use super::greenlets::{Greenlets, Member, Target};
use super::runtime::{Runtime, existing, thread_ident};
use super::signal::{check_signals, raise_soon, run_handlers_left, signal_came, throw_from_signal};
use super::thrown::{is_handled, take_thrown};
use super::{deadlock, explain, hooks, idle, settings, switches};
use crate::python::hooks::OfThread;
use crate::python::system::leave_at_once;
use crate::python::{class, greenlet};

/// Makes the functions that greenlets run.
pub(super) fn prepare(py: Python<'_>) -> PyResult<()> {
    function(py, &STARTER, c"starter", start_workers)?;
    function(py, &WORKER, c"worker", work)?;
    Ok(())
}

/// The greenlets of this thread, which runs its main one. `main_thread`: it is the thread to which Python gives signals.
pub(super) fn greenlets(py: Python<'_>, main_thread: bool) -> PyResult<Rc<Greenlets>> {
    let main = greenlet::current(py);
    let starter = greenlet::new(&function(py, &STARTER, c"starter", start_workers)?, &main)?;
    let worker = function(py, &WORKER, c"worker", work)?.unbind();
    Ok(Greenlets::new(main, starter, worker, main_thread, OfThread::here(py)))
}

/// How the scheduler switches them.
pub(super) fn switcher(greenlets: &Rc<Greenlets>) -> Box<dyn Switcher> {
    Box::new(Handle(Rc::clone(greenlets)))
}

/// Ends the workers and their starter, when all tasklets have ended.
pub(super) fn end(py: Python<'_>, greenlets: &Greenlets) {
    if greenlets.begin_to_end().is_some_and(|starter| !greenlet::switch(&starter)) {
        show_error(py);
    }
}

/// Goes to the tasklet that the scheduler has just made the current one. Returns when somebody comes back.
fn go_to(py: Python<'_>, greenlets: &Greenlets, id: TaskletId) {
    let (Target::Greenlet(greenlet) | Target::Starter(greenlet)) = greenlets.target(py, id);
    if !greenlet::switch(&greenlet) {
        // Nobody throws into these greenlets; what came all the same is shown, not lost.
        show_error(py);
    }
}

/// Waits until somebody is ready: the greenlet to switch to, or `None` where it is `me`, who parks. In a function of its own,
/// as is what follows the switch: the stack of who parks is copied away and back, so that each frame on it counts.
#[inline(never)]
fn next_but(py: Python<'_>, greenlets: &Greenlets, scheduler: &Rc<Scheduler>, me: TaskletId) -> Option<Py<PyAny>> {
    loop {
        // SAFETY: the caller is the switcher, and goes to the one that is named.
        match unsafe { scheduler.next() } {
            Ok(Some(id)) if id == me => return None,
            Ok(Some(id)) => {
                let (Target::Greenlet(greenlet) | Target::Starter(greenlet)) = greenlets.target(py, id);
                return Some(greenlet);
            }
            Ok(None) => wait(py, greenlets, scheduler),
            Err(error) => stuck_or_failed(greenlets, scheduler, &error),
        }
    }
}

/// What follows where somebody has come back to `me`.
#[inline(never)]
fn arrive(py: Python<'_>, greenlets: &Greenlets, scheduler: &Scheduler, me: TaskletId) {
    hooks::arrives(py, greenlets, me);
    idle::arrives(greenlets);
    switches::arrives(py, greenlets, me);
    if me == TaskletId::ROOT {
        back_in_main(py, greenlets, scheduler);
    }
}

/// Looks for signals, and for a deadlock, for the main tasklet, which has just been gone back to.
#[inline(never)]
fn back_in_main(py: Python<'_>, greenlets: &Greenlets, scheduler: &Scheduler) {
    // Also now and then: of a signal that the system gave to another thread, CPython tells this one where it takes the GIL
    // (bpo-40010), and one whose results are all there keeps the GIL.
    if (greenlets.look_for_signals.take() | scheduler.has_polled())
        && let Err(error) = check_signals(py, greenlets).and_then(|()| run_handlers_left(py, greenlets, scheduler))
    {
        throw_from_signal(greenlets, scheduler, TaskletId::ROOT, error.into_value(py).into_any());
    }
    if greenlets.deadlock.borrow().is_some() {
        deadlock::raise(py, greenlets, scheduler);
    }
    if greenlets.from_signal.get().is_some_and(|(id, _)| id == TaskletId::ROOT) {
        raise_soon();
    }
}

/// Runs the tasklet that was handed over to the starter, `me`: in a fresh worker if it is new.
fn start_worker(py: Python<'_>, greenlets: &Greenlets, me: &Py<PyAny>) {
    let id = greenlets.handed_over();
    if !greenlets.is_new(id) {
        go_to(py, greenlets, id);
    } else {
        let worker = greenlet::new(greenlets.worker(py), me).expect("there is memory for a greenlet");
        if !greenlet::switch(&worker) {
            show_error(py);
        }
    }
}

/// Waits in the port, without the GIL, until something has happened.
#[inline(never)]
fn wait(py: Python<'_>, greenlets: &Greenlets, scheduler: &Rc<Scheduler>) {
    if idle::ends(greenlets, scheduler) {
        return;
    }
    if deadlock::is_one(py, greenlets, scheduler) {
        // A thread that has ended since may have left word in the port. The GIL is kept, so that nobody comes meanwhile.
        if let Err(error) = scheduler.turn(Some(Duration::ZERO)) {
            port_failed(&error);
        }
        if scheduler.has_ready() {
            greenlets.deadlock.take();
        } else {
            scheduler.wake(TaskletId::ROOT);
        }
        return;
    }
    let patience = idle::patience(greenlets);
    // SAFETY: a turn touches nothing else.
    if let Err(error) = unsafe { without_gil(py, || scheduler.rest(patience)) } {
        stuck_or_failed(greenlets, scheduler, &error);
    }
    idle::after_wait(greenlets, scheduler);
    if greenlets.main_thread && (!scheduler.has_ready() || signal_came()) {
        greenlets.look_for_signals.set(true);
        scheduler.wake(TaskletId::ROOT);
    }
}

/// Makes a turn of the scheduler's without the GIL.
///
/// # Safety
/// `turn` touches nothing of Python's, but the port and the scheduler's own tables.
pub(super) unsafe fn without_gil(_py: Python<'_>, turn: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    // SAFETY: the GIL is held here, and taken again before anything of Python's is used.
    unsafe {
        let state = ffi::PyEval_SaveThread();
        let turned = turn();
        ffi::PyEval_RestoreThread(state);
        turned
    }
}

#[cold]
#[inline(never)]
fn show_error(py: Python<'_>) {
    PyErr::fetch(py).write_unraisable(py, None);
}

/// In a simulated world nothing will ever come, or no time passes: the main tasklet is to raise that, and the others are cancelled,
/// so that it can go on alone. In the real one, the port has failed.
#[cold]
#[inline(never)]
fn stuck_or_failed(greenlets: &Greenlets, scheduler: &Scheduler, error: &io::Error) {
    if !is_simulated() {
        port_failed(error);
    }
    greenlets.deadlock.replace(Some(deadlock::in_world(scheduler, error)));
    scheduler.ids().into_iter().for_each(|id| scheduler.interrupt(id, Cause::Cancel));
    scheduler.wake(TaskletId::ROOT);
}

/// The kernel's interface is gone: its descriptor was closed, past the functions that know it (see `overlapped._os`).
///
/// No error is raised in the tasklets that wait: they would unwind, and free buffers that the kernel may still write to, of
/// operations that nobody can cancel any more. So the process ends, here and now, with words.
fn port_failed(error: &io::Error) -> ! {
    eprintln!(
        "overlapped: the completion port of this thread has failed: {error}. A program that closes whatever is open is to \
         leave its descriptors open, as os.close and os.closerange of a patched program do."
    );
    leave_at_once()
}

/// How the scheduler switches greenlets.
struct Handle(Rc<Greenlets>);

// SAFETY: a greenlet that was left is gone back to by `go_to` alone, on its thread; its stack is greenlet's, which copies it
// away and back, and nobody throws into it.
unsafe impl Switcher for Handle {
    fn park(&self, scheduler: &Rc<Scheduler>, me: TaskletId) {
        let greenlets = &self.0;
        // SAFETY: tasklets of this side park while they hold the GIL.
        let py = unsafe { Python::assume_attached() };
        idle::leaves(greenlets, scheduler, me);
        if let Some(greenlet) = next_but(py, greenlets, scheduler, me) {
            // Only where somebody else runs: a loop that waits alone keeps what costs two calls to take and give back.
            let running = take_loop(py);
            hooks::leaves(py, greenlets, me);
            if !greenlet::switch(&greenlet) {
                show_error(py);
            }
            if let Some(running) = running {
                restore_loop(py, running);
            }
        }
        arrive(py, greenlets, scheduler, me);
    }

    fn unwinds(&self) -> bool {
        false
    }

    fn cleans_up(&self, level: Cause) -> bool {
        // SAFETY: tasklets of this side wait while they hold the GIL.
        let py = unsafe { Python::assume_attached() };
        existing().is_some_and(|here| is_handled(py, &self.0, here.scheduler.current_tasklet(), level))
    }

    fn cleanup(&self) -> Option<Duration> {
        Some(settings::cleanup_of_tasklet())
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
        let definition = ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunction: function },
            ml_flags: ffi::METH_NOARGS,
            ml_doc: ptr::null(),
        };
        class::function(py, definition, None, None).map(Bound::unbind)
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
                runtime.greenlets.begin(py, id, &me);
                hooks::arrives(py, &runtime.greenlets, id);
                idle::arrives(&runtime.greenlets);
                switches::arrives(py, &runtime.greenlets, id);
                while live(py, &runtime, id) {}
                hooks::end(py, &runtime.greenlets);
                runtime.greenlets.end(id);
                // SAFETY: it has run to its end, and its worker goes on with another.
                unsafe { runtime.scheduler.retire(id) };
                if !next_for(py, &runtime, &me) {
                    break;
                }
            }
        }
        py.None().into_ptr()
    })
}

/// Has the tasklet's object do what it is to do, and gives it up; false where it had none any more. It is dropped while the
/// tasklet lives, for its destructors may wait; and where these ask for the tasklet, it gets another object, which goes the
/// same way.
#[inline(never)]
fn live(py: Python<'_>, runtime: &Rc<Runtime>, id: TaskletId) -> bool {
    let Some(member) = runtime.greenlets.member(py, id) else { return false };
    let interrupt = (member.life.run)(py, &member.object, &runtime.scheduler);
    finish(py, runtime, id, member, interrupt);
    true
}

/// What follows the end of a tasklet's function on its worker; `interrupt` is the main tasklet's.
#[inline(never)]
fn finish(py: Python<'_>, runtime: &Rc<Runtime>, id: TaskletId, member: Member, interrupt: Option<Py<PyAny>>) {
    if runtime.forked.get() {
        // The tasklet has forked, and this is the child: as a thread that ends after a fork, it ends the process.
        let _ = py.import("os").and_then(|os| os.call_method1("_exit", (0,)));
    }
    if let Some(interrupt) = interrupt {
        // Ctrl-C ends the program as it would have, wherever Python happened to notice it.
        throw_from_signal(&runtime.greenlets, &runtime.scheduler, TaskletId::ROOT, interrupt);
    }
    drop(runtime.greenlets.take_object(id));
    drop(member);
    drop(runtime.greenlets.take_exit(id));
    // What was thrown and not raised any more: nobody else would ever drop it.
    while let Some(Cause::Thrown(number)) = runtime.scheduler.take_interrupt() {
        drop(take_thrown(number));
    }
}

/// Finds the worker `me` its next new tasklet, and lets others run until there is one; false where it is to end.
#[inline(never)]
fn next_for(py: Python<'_>, runtime: &Runtime, me: &Py<PyAny>) -> bool {
    let (greenlets, scheduler) = (&runtime.greenlets, &runtime.scheduler);
    loop {
        // SAFETY: as in `park`: the worker goes to the one that is named, or is it.
        match unsafe { scheduler.next() } {
            Ok(Some(next)) if greenlets.is_new(next) => return true,
            Ok(Some(next)) => {
                if !greenlets.keep_idle(py, me) {
                    greenlets.hand_over(next);
                    return false;
                }
                go_to(py, greenlets, next);
                return !greenlets.is_ending();
            }
            Ok(None) => wait(py, greenlets, scheduler),
            Err(error) => stuck_or_failed(greenlets, scheduler, &error),
        }
    }
}

/// The starter's life: fresh workers, each started from this frame; and what a worker that has ended left.
extern "C" fn start_workers(_: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    Python::attach(|py| {
        if let Some(runtime) = existing() {
            let me = greenlet::current(py);
            while !runtime.greenlets.is_ending() {
                start_worker(py, &runtime.greenlets, &me);
            }
            for worker in runtime.greenlets.take_idle() {
                if !greenlet::switch(&worker) {
                    show_error(py);
                }
            }
        }
        py.None().into_ptr()
    })
}
