//! asyncio's own loop, for whatever is not simply to be done.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

/// Methods of `asyncio.BaseEventLoop`.
pub(super) struct Standard {
    run_once: Py<PyAny>,
    pub(super) call_soon: Py<PyAny>,
    pub(super) call_soon_threadsafe: Py<PyAny>,
    /// Whether it makes handles that another thread may cancel while they run: since Python 3.14, and of a class of theirs.
    pub(super) has_threadsafe_handles: bool,
    pub(super) call_later: Py<PyAny>,
    pub(super) call_at: Py<PyAny>,
    /// `cancel` of `asyncio.Handle` and of `asyncio.TimerHandle`.
    pub(super) cancel: [Py<PyAny>; 2],
    /// What the module `time` has.
    pub(super) time: Py<PyDict>,
}

static STANDARD: PyOnceLock<Standard> = PyOnceLock::new();

pub(super) fn standard(py: Python<'_>) -> PyResult<&Standard> {
    STANDARD.get_or_try_init(py, || {
        let base = py.import("asyncio.base_events")?.getattr("BaseEventLoop")?;
        let events = py.import("asyncio.events")?;
        let method = |name: &str| base.getattr(name).map(Bound::unbind);
        let cancel = |class: &str| Ok::<_, PyErr>(events.getattr(class)?.getattr("cancel")?.unbind());
        Ok(Standard {
            run_once: method("_run_once")?,
            call_soon: method("call_soon")?,
            call_soon_threadsafe: method("call_soon_threadsafe")?,
            has_threadsafe_handles: events.hasattr("_ThreadSafeHandle")?,
            call_later: method("call_later")?,
            call_at: method("call_at")?,
            cancel: [cancel("Handle")?, cancel("TimerHandle")?],
            time: py.import("time")?.dict().unbind(),
        })
    })
}

impl Standard {
    pub(super) fn run_once(&self, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = event_loop.py();
        self.run_once.bind(py).call1(PyTuple::new(py, [event_loop])?).map(drop)
    }
}
