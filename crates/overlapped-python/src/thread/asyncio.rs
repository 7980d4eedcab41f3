//! asyncio keeps the loop that runs for each thread; here it is one for each tasklet.
//!
//! A tasklet that parks while its loop runs, be it in the loop's own wait or in a call that blocks, takes the loop along:
//! meanwhile others of the thread may run loops of their own.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// `asyncio`'s functions, once a loop has run on ours.
struct Functions {
    get: Py<PyAny>,
    set: Py<PyAny>,
    /// Exchanges the task that runs in the running loop. Python keeps it for each loop; since 3.14 for each thread, where it
    /// has to go along with the loop.
    swap_task: Option<Py<PyAny>>,
}

static FUNCTIONS: PyOnceLock<Functions> = PyOnceLock::new();

/// Begins to keep running loops apart, by `asyncio.events._get_running_loop` and `_set_running_loop`, and by
/// `asyncio.tasks._swap_current_task` where Python keeps one task for each thread.
#[pyfunction]
#[pyo3(signature = (get, set, swap_task=None))]
pub(crate) fn keep_loops_apart(py: Python<'_>, get: Py<PyAny>, set: Py<PyAny>, swap_task: Option<Py<PyAny>>) {
    let _ = FUNCTIONS.set(py, Functions { get, set, swap_task });
}

/// A loop that runs, and the task that runs in it.
pub(crate) struct Running {
    event_loop: Py<PyAny>,
    task: Option<Py<PyAny>>,
}

/// Takes the running loop away from the thread.
pub(crate) fn take_loop(py: Python<'_>) -> Option<Running> {
    FUNCTIONS.get(py).and_then(|functions| take(py, functions))
}

#[inline(never)]
fn take(py: Python<'_>, functions: &Functions) -> Option<Running> {
    let event_loop = functions.get.call0(py).ok().filter(|running| !running.is_none(py))?;
    let swap = functions.swap_task.as_ref();
    let task = swap.and_then(|swap| swap.call1(py, (&event_loop, py.None())).ok()).filter(|task| !task.is_none(py));
    functions.set.call1(py, (py.None(),)).ok()?;
    Some(Running { event_loop, task })
}

/// Gives it back.
#[inline(never)]
pub(crate) fn restore_loop(py: Python<'_>, running: Running) {
    let Some(functions) = FUNCTIONS.get(py) else { return };
    let Running { event_loop, task } = running;
    let given = functions.set.call1(py, (&event_loop,)).and_then(|none| match (&functions.swap_task, task) {
        (Some(swap), Some(task)) => swap.call1(py, (event_loop, task)),
        _ => Ok(none),
    });
    if let Err(error) = given {
        error.write_unraisable(py, None);
    }
}
