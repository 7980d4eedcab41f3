//! Who runs when, as `overlapped.stackless` has it: its tasklets are those of this thread, in the scheduler's own queue.
//!
//! Only the mechanism is here. What it means to run, to remove, to switch is said there.

use std::time::Duration;

use overlapped::engine::{self, Cause, Interrupted, TaskletId};
use overlapped_port::sim::now;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::greenlets::{Limit, Run};
use super::idle;
use super::life::runtime;
use super::preempt::Timed;
use super::runtime::Runtime;
use super::tasklet::{Tasklet, of};
use super::thrown::{keep_thrown, outwait};
use crate::python::error::from_io;
use crate::python::time::deadline;

fn passed(py: Python<'_>, runtime: &Runtime, told: Result<(), Interrupted>) -> PyResult<()> {
    told.map_err(|_| runtime.raise(py))
}

/// What a tasklet does: "running", "ready", "paused", "waiting", "ended", or "elsewhere" where it is another thread's. One that
/// waits for the thread to be idle is paused.
#[pyfunction]
pub(crate) fn state(py: Python<'_>, tasklet: &Tasklet) -> PyResult<Py<PyString>> {
    let runtime = runtime(py)?;
    let scheduler = &runtime.scheduler;
    let state = match runtime.here(tasklet.waiter()) {
        _ if !tasklet.is_alive() => intern!(py, "ended"),
        None => intern!(py, "elsewhere"),
        Some(id) if id == scheduler.current_tasklet() => intern!(py, "running"),
        Some(id) if runtime.greenlets.is_in_run(id) => intern!(py, "paused"),
        Some(id) if scheduler.is_ready(id) => intern!(py, "ready"),
        Some(id) if scheduler.is_paused(id) => intern!(py, "paused"),
        Some(id) if scheduler.is_alive(id) => intern!(py, "waiting"),
        Some(_) => intern!(py, "ended"),
    };
    Ok(state.clone().unbind())
}

/// Takes a tasklet out of the queue of those that are ready; false where it is not in it.
#[pyfunction]
pub(crate) fn pause(py: Python<'_>, tasklet: &Tasklet) -> PyResult<bool> {
    let runtime = runtime(py)?;
    Ok(runtime.here(tasklet.waiter()).is_some_and(|id| runtime.scheduler.pause(id)))
}

/// Puts a paused tasklet back, at the end of the queue; false where it is not paused. One that waits for the thread to be
/// idle waits no more.
#[pyfunction]
pub(crate) fn resume(py: Python<'_>, tasklet: &Tasklet) -> PyResult<bool> {
    let runtime = runtime(py)?;
    let Some(id) = runtime.here(tasklet.waiter()) else { return Ok(false) };
    Ok(idle::leave(&runtime.greenlets, &runtime.scheduler, id) || runtime.scheduler.resume(id))
}

/// Has a tasklet of the queue run next, and those before it after all others; false where it is not in it.
#[pyfunction]
pub(crate) fn turn_to(py: Python<'_>, tasklet: &Tasklet) -> PyResult<bool> {
    let runtime = runtime(py)?;
    Ok(runtime.here(tasklet.waiter()).is_some_and(|id| runtime.scheduler.turn_to(id)))
}

/// Goes to a tasklet of the queue at once; the calling one runs when those after that have run, or is paused. False where
/// it is not in the queue.
#[pyfunction]
#[pyo3(signature = (tasklet, pausing=false))]
pub(crate) fn go_to(py: Python<'_>, tasklet: &Tasklet, pausing: bool) -> PyResult<bool> {
    let runtime = runtime(py)?;
    match runtime.here(tasklet.waiter()).filter(|id| runtime.scheduler.is_ready(*id)) {
        Some(id) => passed(py, &runtime, runtime.scheduler.go_to(id, pausing)).map(|()| true),
        None => Ok(false),
    }
}

/// Raises an exception in another tasklet of this thread, which runs at once. One that waits for the port raises when that has
/// let go of what it waits for: the calling one waits until then. One that is another thread's is left as it is.
#[pyfunction]
pub(crate) fn throw_to(py: Python<'_>, tasklet: &Tasklet, exception: Py<PyAny>) -> PyResult<()> {
    let runtime = runtime(py)?;
    let Some(id) = runtime.here(tasklet.waiter()) else { return Ok(()) };
    let number = keep_thrown(exception);
    runtime.scheduler.interrupt(id, Cause::Thrown(number));
    let gone = match runtime.scheduler.is_ready(id) {
        true => runtime.scheduler.go_to(id, false),
        false => Ok(()),
    };
    passed(py, &runtime, gone.and_then(|()| outwait(number)))
}

/// Lets those that are ready run before the calling tasklet goes on.
#[pyfunction]
pub(crate) fn give_turn(py: Python<'_>) -> PyResult<()> {
    let runtime = runtime(py)?;
    passed(py, &runtime, runtime.scheduler.yield_now())
}

/// Waits until the calling tasklet is resumed.
#[pyfunction]
pub(crate) fn pause_current(py: Python<'_>) -> PyResult<()> {
    let runtime = runtime(py)?;
    passed(py, &runtime, runtime.scheduler.pause_current())
}

/// How many tasklets are in the queue; the one that runs is not.
#[pyfunction]
pub(crate) fn ready_count(py: Python<'_>) -> PyResult<usize> {
    Ok(runtime(py)?.scheduler.ready_count())
}

/// Who is before a tasklet and who after it, in the ring of those that are ready and the one that runs; None where it is
/// not there.
#[pyfunction]
pub(crate) fn neighbours(py: Python<'_>, tasklet: &Tasklet) -> PyResult<Option<(Py<Tasklet>, Py<Tasklet>)>> {
    let runtime = runtime(py)?;
    match runtime.here(tasklet.waiter()).and_then(|id| runtime.scheduler.neighbours(id)) {
        Some((before, after)) => Ok(Some((of(py, &runtime, before)?, of(py, &runtime, after)?))),
        None => Ok(None),
    }
}

/// The thread's own tasklet.
#[pyfunction]
pub(crate) fn main_tasklet(py: Python<'_>) -> PyResult<Py<Tasklet>> {
    of(py, &*runtime(py)?, TaskletId::ROOT)
}

/// Waits until the thread is idle: no tasklet is ready, and nothing of its own can make one so.
///
/// `timeout` seconds, from now where `total`, else for each tasklet's turn: what ends the wait before, and pauses the tasklet
/// that then leaves its turn and could go on, or is stopped where it computes. That is returned; not where `soft`, when none
/// is paused or stopped.
#[pyfunction]
#[pyo3(signature = (timeout=None, total=false, soft=false))]
pub(crate) fn run_until_idle(
    py: Python<'_>,
    timeout: Option<f64>,
    total: bool,
    soft: bool,
) -> PyResult<Option<Py<Tasklet>>> {
    let runtime = runtime(py)?;
    let (by, greenlets) = (runtime.scheduler.current_tasklet(), &runtime.greenlets);
    let limit = deadline(timeout)?.map(|until| match total {
        true => Limit::Total { until, soft },
        false => Limit::Turn(until.saturating_duration_since(now())),
    });
    let left = limit.and_then(|limit| limit.left(now()));
    let _timed = left.map(|left| Timed::begin(&runtime, left)).transpose()?;
    let before = greenlets.gone_to.get();
    greenlets.gone_to.set(limit.map(|_| now()).or(before));
    greenlets.runs.borrow_mut().push(Run { by, limit });
    let mut told = Ok(());
    while told.is_ok() && greenlets.is_in_run(by) {
        told = engine::park(None, "run");
    }
    idle::leave(greenlets, &runtime.scheduler, by);
    greenlets.gone_to.set(before.map(|_| now()));
    let victim = greenlets.victim.take();
    passed(py, &runtime, told)?;
    victim.map(|id| of(py, &runtime, id)).transpose()
}

/// Whether a run goes on while somebody waits for the port; returns what was so before. It is until somebody says otherwise.
#[pyfunction]
pub(crate) fn let_port_count(py: Python<'_>, counts: bool) -> PyResult<bool> {
    Ok(runtime(py)?.greenlets.port_counts.replace(counts))
}

/// Looks at the port, without a wait: whoever waited for what has come is ready then.
#[pyfunction]
pub(crate) fn poll(py: Python<'_>) -> PyResult<()> {
    runtime(py)?.scheduler.turn(Some(Duration::ZERO)).map_err(from_io)
}

/// The tasklet that waits for this thread to be idle, the innermost where several do.
#[pyfunction]
pub(crate) fn innermost_run(py: Python<'_>) -> PyResult<Option<Py<Tasklet>>> {
    let runtime = runtime(py)?;
    let innermost = runtime.greenlets.runs.borrow().last().copied();
    innermost.map(|run| of(py, &runtime, run.by)).transpose()
}

/// The frame that a tasklet is in, where it has started and does not run; else None.
#[pyfunction]
pub(crate) fn frame_of<'py>(py: Python<'py>, tasklet: &Tasklet) -> PyResult<Option<Bound<'py, PyAny>>> {
    let runtime = runtime(py)?;
    let greenlet = runtime.here(tasklet.waiter()).and_then(|id| runtime.greenlets.greenlet(py, id));
    greenlet.map(|greenlet| greenlet.bind(py).getattr(intern!(py, "gr_frame"))).transpose()
}
