//! asyncio's own loop, for whatever is not simply to be done.

use overlapped_port::sim::is_simulated;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyFloat, PyTuple};

/// Methods of `asyncio.BaseEventLoop`.
pub(super) struct Standard {
    run_once: Py<PyAny>,
    pub(super) call_soon: Py<PyAny>,
    pub(super) call_soon_threadsafe: Py<PyAny>,
    /// Whether it makes handles that another thread may cancel while they run: since Python 3.14 (see `shared.rs`).
    pub(super) has_threadsafe_handles: bool,
    pub(super) call_later: Py<PyAny>,
    pub(super) call_at: Py<PyAny>,
    /// `cancel` of `asyncio.Handle` and of `asyncio.TimerHandle`.
    pub(super) cancel: [Py<PyAny>; 2],
    /// What the module `time` has.
    time: Py<PyDict>,
    /// Its clock as it was found.
    monotonic: Py<PyAny>,
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
            monotonic: py.import("time")?.getattr("monotonic")?.unbind(),
        })
    })
}

impl Standard {
    /// The time that the module's clock tells, as that is now: tests put others there.
    pub(super) fn now<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let clock = self.time.bind(py).as_any().get_item(intern!(py, "monotonic"))?;
        match seconds().filter(|_| clock.is(&self.monotonic) && !is_simulated()) {
            Some(seconds) => Ok(PyFloat::new(py, seconds).into_any()),
            None => clock.call0(),
        }
    }

    pub(super) fn run_once(&self, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = event_loop.py();
        self.run_once.bind(py).call1(PyTuple::new(py, [event_loop])?).map(drop)
    }
}

/// What `time.monotonic` tells, where it is known which of the system's clocks that is (CPython, Python/pytime.c).
fn seconds() -> Option<f64> {
    #[cfg(target_os = "linux")]
    {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the call fills what it is given.
        if unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) } == 0 {
            return Some((now.tv_sec * 1_000_000_000 + now.tv_nsec) as f64 / 1e9);
        }
    }
    None
}
