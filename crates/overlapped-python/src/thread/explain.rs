//! What the tasklets of all threads wait for and where they are, as any thread sees it; and the warning's stack.
//!
//! A scheduler's board can be read at any time. Which greenlet a tasklet has, and its frames, belong to the GIL: a thread
//! gives it up only while none of that changes.

use std::fmt::Write;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use overlapped::engine::{Board, StillHeld, TaskletId};
use overlapped_port::sys::RawFile;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use super::greenlets::Greenlets;
use super::runtime::{existing, ident_of_main};

/// Of a deep stack, so many frames are shown: the innermost.
const FRAMES: usize = 20;

/// A thread that has tasklets.
struct Thread {
    ident: u64,
    board: Arc<Board>,
    greenlets: Rc<Greenlets>,
    /// Its port's own descriptors.
    descriptors: Vec<RawFile>,
}

// SAFETY: `greenlets` is touched under the GIL alone: by its own thread, and by `explain`.
unsafe impl Send for Thread {}

static THREADS: Mutex<Vec<Thread>> = Mutex::new(Vec::new());

/// Locked for moments in which the GIL is not given up: a fork finds it free.
fn threads() -> MutexGuard<'static, Vec<Thread>> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the thread `ident` explained too, from now on.
pub(crate) fn include(
    _: Python<'_>,
    ident: u64,
    board: &Arc<Board>,
    greenlets: &Rc<Greenlets>,
    descriptors: Vec<RawFile>,
) {
    threads().push(Thread { ident, board: Arc::clone(board), greenlets: Rc::clone(greenlets), descriptors });
}

/// The descriptors that are the ports' own, of all threads; none on Windows.
#[pyfunction]
pub(crate) fn own_descriptors() -> Vec<i64> {
    threads().iter().flat_map(|thread| thread.descriptors.iter().map(|file| *file as i64)).collect()
}

/// The port of the thread `ident` is no more: its numbers may be others' from now on.
pub(crate) fn port_is_gone(ident: u64) {
    threads().iter_mut().filter(|thread| thread.ident == ident).for_each(|thread| thread.descriptors.clear());
}

/// Ends what [`include()`] began; called with the GIL held.
pub(crate) fn leave_out(ident: u64) {
    let left = threads().extract_if(.., |thread| thread.ident == ident).collect::<Vec<_>>();
    drop(left);
}

/// The child after a fork has none of its parent's threads.
pub(crate) fn after_fork() {
    std::mem::forget(std::mem::take(&mut *threads()));
}

/// Every thread that has tasklets, as text: what each waits for, since when and where, the longest wait first, and what
/// its port has done. From any thread and at any time, also while a tasklet holds its thread.
#[pyfunction]
pub(crate) fn explain(py: Python<'_>) -> PyResult<String> {
    let greenlets_of = |thread: &Thread| (thread.ident, Arc::clone(&thread.board), thread.greenlets.all(py));
    let threads: Vec<_> = threads().iter().map(greenlets_of).collect();
    let running = current_frames(py)?;
    let explained = threads.into_iter().map(|(ident, board, greenlets)| {
        board.explain(|index| {
            let Some(Some(greenlet)) = greenlets.get(index) else { return String::new() };
            let frame = parked_frame(greenlet.bind(py)).or_else(|| running.get_item(ident).ok().flatten());
            frame.map_or_else(String::new, |frame| stack(&frame).unwrap_or_default())
        })
    });
    Ok(explained.collect::<Vec<_>>().join("\n"))
}

/// Where the thread `ident` is, for a warning: asked on another thread, which gets the GIL here.
pub(crate) fn stack_of_thread(ident: u64, still_held: StillHeld<'_>) -> Option<String> {
    let shown = Python::try_attach(|py| {
        let frame = current_frames(py).ok()?.get_item(ident).ok()??;
        let mut text = stack(&frame).ok()?;
        if let Some(line) = line_of(&frame) {
            let _ = write!(text, "\n    {line}");
        }
        Some(if still_held() { text } else { "  (it let go before its stack could be read)".to_owned() })
    });
    shown.flatten()
}

static FRAMES_OF_THREADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static EXCEPTIONS_OF_THREADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Learns Python's own functions, before others stand in for them.
pub(super) fn prepare(py: Python<'_>) -> PyResult<()> {
    let sys = py.import("sys")?;
    let _ = FRAMES_OF_THREADS.set(py, sys.getattr("_current_frames")?.unbind());
    let _ = EXCEPTIONS_OF_THREADS.set(py, sys.getattr("_current_exceptions")?.unbind());
    Ok(())
}

/// The innermost frame of each of the system's threads, by identifier.
fn current_frames(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let function = FRAMES_OF_THREADS.get(py).expect("it is learnt at import");
    Ok(function.bind(py).call0()?.cast_into()?)
}

/// The frame of a greenlet that does not run; `None` where it does, or has no Python code.
fn parked_frame<'py>(greenlet: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    greenlet.getattr("gr_frame").ok().filter(|frame| !frame.is_none())
}

/// As Python's function of this name, with each tasklet as a thread, by what `_thread.get_ident` returns in it.
#[pyfunction]
pub(crate) fn _current_frames(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    of_each(py, current_frames(py)?, |_, _, frame| Ok(frame))
}

/// As Python's function of this name, with each tasklet as a thread.
#[pyfunction]
pub(crate) fn _current_exceptions(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let function = EXCEPTIONS_OF_THREADS.get(py).expect("it is learnt at import");
    of_each(py, function.bind(py).call0()?.cast_into()?, |greenlets, id, _| {
        let kept = greenlets.kept.borrow();
        let handled = kept.get(&id).and_then(|kept| kept.handled.as_ref()).map(|handled| handled.bind(py));
        if cfg!(Py_3_12) {
            return Ok(handled.cloned().unwrap_or_else(|| py.None().into_bound(py)));
        }
        let (kind, traceback) = match handled {
            Some(handled) => (handled.get_type().into_any(), handled.getattr("__traceback__")?),
            None => (py.None().into_bound(py), py.None().into_bound(py)),
        };
        Ok((kind, handled, traceback).into_pyobject(py)?.into_any())
    })
}

/// `found`, which has something of each of the system's threads by identifier, with what there is of each tasklet in the place
/// of its thread's: `of_parked`, of one that does not run, and of its frame.
fn of_each<'py>(
    py: Python<'py>,
    found: Bound<'py, PyDict>,
    of_parked: impl Fn(&Greenlets, TaskletId, Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let threads: Vec<_> = threads().iter().map(|thread| (thread.ident, Rc::clone(&thread.greenlets))).collect();
    for (ident, greenlets) in threads {
        let Some(of_running) = found.get_item(ident)? else { continue };
        found.del_item(ident)?;
        let here = existing().filter(|runtime| Rc::ptr_eq(&runtime.greenlets, &greenlets));
        let (main, current) = match &here {
            Some(runtime) => (ident_of_main(), Some(runtime.scheduler.current_tasklet())),
            None => (ident, None),
        };
        let mut running = Vec::new();
        for (id, greenlet) in greenlets.started(py) {
            let Some(name) = (if id == TaskletId::ROOT { Some(main) } else { greenlets.address(id) }) else { continue };
            match parked_frame(greenlet.bind(py)) {
                Some(frame) => found.set_item(name, of_parked(&greenlets, id, frame)?)?,
                None if current.is_none_or(|current| current == id) => running.push(name),
                None => {}
            }
        }
        // On another thread it is only known who does not run.
        if let [name] = running[..] {
            found.set_item(name, of_running)?;
        }
    }
    Ok(found)
}

/// The tasklets of all threads that have begun and do not run.
pub(super) fn parked(py: Python<'_>) -> Vec<(Rc<Greenlets>, TaskletId)> {
    let threads: Vec<_> = threads().iter().map(|thread| Rc::clone(&thread.greenlets)).collect();
    let parked = threads.into_iter().flat_map(|greenlets| {
        let started = greenlets.started(py).into_iter();
        started.filter_map(move |(id, greenlet)| parked_frame(greenlet.bind(py)).map(|_| (Rc::clone(&greenlets), id)))
    });
    parked.collect()
}

/// The line of source that a frame is at, which names the call. Read past Python's files, which would wait.
fn line_of(frame: &Bound<'_, PyAny>) -> Option<String> {
    let file: String = frame.getattr("f_code").ok()?.getattr("co_filename").ok()?.extract().ok()?;
    let number: usize = frame.getattr("f_lineno").ok()?.extract().ok()?;
    let source = std::fs::read_to_string(file).ok()?;
    Some(source.lines().nth(number.checked_sub(1)?)?.trim().to_owned())
}

/// A stack as a traceback has it, the innermost frame last, without the source: reading that might wait.
fn stack(frame: &Bound<'_, PyAny>) -> PyResult<String> {
    let mut lines = Vec::new();
    let mut next = Some(frame.clone());
    while let Some(frame) = next {
        if lines.len() == FRAMES {
            lines.push("  …".to_owned());
            break;
        }
        let code = frame.getattr("f_code")?;
        let (file, function) = (code.getattr("co_filename")?, code.getattr("co_qualname")?);
        lines.push(format!("  File \"{file}\", line {}, in {function}", frame.getattr("f_lineno")?));
        next = Some(frame.getattr("f_back")?).filter(|back| !back.is_none());
    }
    let mut text = String::new();
    for line in lines.iter().rev() {
        let _ = writeln!(text, "{line}");
    }
    Ok(text.trim_end().to_owned())
}
