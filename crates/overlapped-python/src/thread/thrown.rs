//! Exceptions on their way to the tasklets that are to raise them.
//!
//! **Events and levels.** What `Tasklet.throw` or a signal's handler raises in a tasklet is an event: raised once, at the
//! current or next wait, and over when it is caught, as in Python itself: a program may go on after `KeyboardInterrupt`, and
//! who throws an exception of its own says what catching it means. A cancel and an expired `timeout` are *levels*: they stand
//! until the tasklet has ended, or the block has been left, and every wait until then raises the exception again. The main
//! tasklet is never ended by a cancel, whose level would stand for all that is still to come: there it is an event.
//!
//! **Cleanup** may wait: what runs because the exception was raised, an `except`, a `finally`, an `__exit__`. That can be
//! asked of Python: there the exception, one object for each level, is the one that is being handled, or one in whose handling
//! that one was raised (its `__context__`). Once the cleanup limit has passed these waits raise it too. Code that runs when
//! such a block has been left is no cleanup, the finalizers of what the block had kept neither: `uncancellable` is for those.
//!
//! **Rejected:** to raise once and leave the rest to the program (as it was): a loop that guards itself by `except
//! BaseException` never ended, and its `timeout` was one that never was. To tell nobody who handles *any* exception: a
//! server's `except OSError: reconnect()` would be cleanup. To go by the type: who handles another tasklet's `TaskletExit`,
//! which `result()` has raised, could not be cancelled.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use overlapped::engine::{self, Cause, Interrupted, Scheduler, TaskletId, Waiter};
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyWeakrefReference;

use super::greenlets::Greenlets;

/// An exception on its way.
struct Kept {
    exception: Py<PyAny>,
    /// Who waits until it is raised, or nobody is there any more to raise it.
    thrower: Option<Waiter>,
}

/// The last number that was given, and the exceptions by their numbers.
type Thrown = (u64, HashMap<u64, Kept>);

static THROWN: LazyLock<Mutex<Thrown>> = LazyLock::new(Mutex::default);

/// Keeps an exception until the tasklet that is to raise it does; returns its number.
pub(crate) fn keep_thrown(exception: Py<PyAny>) -> u64 {
    let mut thrown = THROWN.lock().unwrap_or_else(PoisonError::into_inner);
    thrown.0 += 1;
    let number = thrown.0;
    thrown.1.insert(number, Kept { exception, thrower: None });
    number
}

/// Takes a kept exception, and wakes who waits for that.
pub(crate) fn take_thrown(number: u64) -> Option<Py<PyAny>> {
    let taken = THROWN.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&number);
    let Kept { exception, thrower } = taken?;
    if let Some(thrower) = thrower {
        thrower.wake();
    }
    Some(exception)
}

/// Waits until a kept exception has been taken.
pub(super) fn outwait(number: u64) -> Result<(), Interrupted> {
    let me = Waiter::current();
    loop {
        match THROWN.lock().unwrap_or_else(PoisonError::into_inner).1.get_mut(&number) {
            Some(kept) => kept.thrower = Some(me.clone()),
            None => return Ok(()),
        }
        engine::park(None, "throw")?;
    }
}

/// Keeps an exception for the level of a `timeout`, without keeping it alive: it keeps its traceback, which keeps the frames
/// that keep the `timeout`. Returns the level's number.
pub(super) fn keep_due(exception: &Bound<'_, PyAny>) -> PyResult<u64> {
    Ok(keep_thrown(PyWeakrefReference::new(exception)?.unbind().into_any()))
}

/// The exception of a `timeout` that has not been left.
fn due(py: Python<'_>, number: u64) -> Option<Bound<'_, PyAny>> {
    let kept = {
        let thrown = THROWN.lock().unwrap_or_else(PoisonError::into_inner);
        thrown.1.get(&number)?.exception.clone_ref(py)
    };
    kept.into_bound(py).cast_into::<PyWeakrefReference>().ok()?.upgrade()
}

/// Raises `exception` in a tasklet.
pub(crate) fn throw(scheduler: &Scheduler, id: TaskletId, exception: Py<PyAny>) {
    scheduler.interrupt(id, Cause::Thrown(keep_thrown(exception)));
}

/// The error to return for an interrupt of the current tasklet.
pub(crate) fn raise(py: Python<'_>, greenlets: &Greenlets, scheduler: &Scheduler) -> PyErr {
    let exception = match scheduler.take_interrupt() {
        Some(cause) => take(py, greenlets, scheduler, cause),
        None => None,
    };
    exception.unwrap_or_else(|| PyRuntimeError::new_err("an interrupt was withdrawn while it was raised"))
}

/// What the current tasklet is to raise for `cause`; `None` where that was withdrawn.
pub(super) fn take(py: Python<'_>, greenlets: &Greenlets, scheduler: &Scheduler, cause: Cause) -> Option<PyErr> {
    let exception = match cause {
        Cause::Thrown(number) => return Some(PyErr::from_value(take_thrown(number)?.into_bound(py))),
        Cause::OutOfTime(number) => due(py, number)?,
        Cause::Cancel => match exit_of(py, greenlets, scheduler) {
            Ok(exit) => exit,
            Err(error) => return Some(error),
        },
    };
    // It may have been raised before: its traceback begins anew, or it would grow with each wait. What that frees may wait.
    // SAFETY: a live exception, and None, which takes the traceback away.
    unsafe { ffi::PyException_SetTraceback(exception.as_ptr(), ffi::Py_None()) };
    Some(PyErr::from_value(exception))
}

/// The exception by which the current tasklet is cancelled: the same one for as long as it has it. It is not kept alive
/// here: its traceback keeps frames, and with them what a tasklet that has caught it would give up.
fn exit_of<'py>(py: Python<'py>, greenlets: &Greenlets, scheduler: &Scheduler) -> PyResult<Bound<'py, PyAny>> {
    let me = scheduler.current_tasklet();
    if let Some(exit) = greenlets.exit(py, me) {
        return Ok(exit);
    }
    let exit = exit_type(py).call0()?;
    drop(greenlets.keep_exit(me, PyWeakrefReference::new(&exit)?.unbind()));
    Ok(exit)
}

/// A chain of exceptions is not looked at beyond this: a program can make a ring of one.
const LONGEST_CHAIN: usize = 1000;

/// Whether the current tasklet cleans up because of this level: see above. Runs nothing of Python's.
pub(super) fn is_handled(py: Python<'_>, greenlets: &Greenlets, me: TaskletId, level: Cause) -> bool {
    let exception = match level {
        Cause::Cancel => greenlets.exit(py, me),
        Cause::OutOfTime(number) => match due(py, number) {
            Some(exception) => Some(exception),
            // Another thread has left its block, and word of that is on its way here.
            None => return true,
        },
        Cause::Thrown(_) => None,
    };
    let Some(exception) = exception else { return false };
    // SAFETY: the GIL is held; a new reference, or null where nothing is handled.
    let mut handled = unsafe { Bound::from_owned_ptr_or_opt(py, ffi::PyErr_GetHandledException()) };
    for _ in 0..LONGEST_CHAIN {
        let Some(one) = handled else { return false };
        if one.is(&exception) {
            return true;
        }
        if one.is_none() {
            return false;
        }
        // SAFETY: a live exception; a new reference, or null at the end of the chain.
        handled = unsafe { Bound::from_owned_ptr_or_opt(py, ffi::PyException_GetContext(one.as_ptr())) };
    }
    false
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
