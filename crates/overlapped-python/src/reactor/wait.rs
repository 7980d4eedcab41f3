//! How a loop waits: its tasklet blocks, and whoever has something for it ends that.
//!
//! Apart from the loop, and from the selector that stands before it, so that both may have it without keeping each other.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use super::deliver::Reactor;
use crate::python::reference::Reference;
use crate::python::time::deadline;
use crate::thread::life::runtime;

/// What a loop waits with. Any thread, tasklet or signal handler may wake it; the rest is of the thread that runs the loop.
#[pyclass(frozen, module = "overlapped")]
pub(crate) struct LoopWait {
    /// Whether one descriptor stands for all that are registered, and is watched by the port (see
    /// `python/overlapped/asyncio/_selector.py`).
    watches: bool,
    woken: overlapped::Event,
    /// Whether the loop's tasklet waits: who gives it something to do then wakes it.
    asleep: AtomicBool,
    /// Whether it was woken since its last wait: one who asks for many calls sets the event once. As all that is here, it is
    /// used with the GIL held.
    told: AtomicBool,
    /// What the port brings the loop's transports, while the loop runs.
    reactor: Reference,
    /// That descriptor, while something is registered.
    watched: Reference,
}

#[pymethods]
impl LoopWait {
    #[new]
    fn new(watches: bool) -> LoopWait {
        LoopWait {
            watches,
            woken: overlapped::Event::new(),
            asleep: AtomicBool::new(false),
            told: AtomicBool::new(false),
            reactor: Reference::default(),
            watched: Reference::default(),
        }
    }

    /// Whether the loop's tasklet waits.
    #[getter]
    fn asleep(&self) -> bool {
        self.asleep.load(Ordering::Relaxed)
    }

    /// Ends the wait, or the next one.
    pub(super) fn wake(&self) {
        if !self.told.swap(true, Ordering::Relaxed) {
            self.woken.set();
        }
    }

    #[getter]
    fn reactor<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.reactor.get(py)
    }

    #[setter]
    fn set_reactor(&self, reactor: Option<Bound<'_, PyAny>>) {
        // A run that ends takes the event back: the next begins anew.
        self.told.store(false, Ordering::Relaxed);
        self.reactor.set(reactor);
    }

    #[getter]
    fn watched<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.watched.get(py)
    }

    #[setter]
    fn set_watched(&self, descriptor: Option<Bound<'_, PyAny>>) {
        self.watched.set(descriptor);
    }

    /// Waits until the loop is woken or something has come for it, at most `timeout` seconds. Without waiting it looks at the
    /// port, and now and then lets other tasklets run.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        self.wait_with(py, self.its_reactor(py)?.as_ref(), timeout)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.reactor.traverse(&visit)
    }

    fn __clear__(&self) {
        self.reactor.set(None);
    }
}

impl LoopWait {
    /// As `wait`, with its reactor.
    pub(super) fn wait_with(
        &self,
        py: Python<'_>,
        reactor: Option<&Bound<'_, Reactor>>,
        timeout: Option<f64>,
    ) -> PyResult<()> {
        let runtime = runtime(py)?;
        if let (Some(reactor), Some(watched)) = (reactor, self.watched.get(py)) {
            reactor.borrow().watch(py, watched.extract()?)?;
        }
        let told = if timeout.is_some_and(|seconds| seconds <= 0.0) {
            let told = runtime.scheduler.give_way();
            if let Some(reactor) = reactor {
                reactor.borrow().poll(py)?;
            }
            told
        } else if let Some(reactor) = reactor.filter(|_| runtime.scheduler.has_news() && !runtime.scheduler.has_ready())
        {
            // The wait would end as soon as it has begun, and nobody else would run meanwhile.
            let told = runtime.scheduler.check();
            reactor.borrow().poll(py)?;
            told
        } else {
            let until = deadline(timeout)?;
            self.asleep.store(true, Ordering::Relaxed);
            let woken = self.woken.wait_until(until);
            self.asleep.store(false, Ordering::Relaxed);
            woken.map(drop)
        };
        told.map_err(|_| runtime.raise(py))?;
        self.told.store(false, Ordering::Relaxed);
        self.woken.clear();
        Ok(())
    }

    /// Has the loop wake where its tasklet waits.
    #[inline]
    pub(super) fn wake_sleeper(&self) {
        if self.asleep.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    /// Whether a turn can wait without asking the selector.
    pub(super) fn watches(&self) -> bool {
        self.watches
    }

    pub(super) fn event(&self) -> overlapped::Event {
        self.woken.clone()
    }

    /// What has come for the transports: none where the loop does not run, and where there are none.
    pub(super) fn its_reactor<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, Reactor>>> {
        Ok(self.reactor.get(py).map(|reactor| reactor.cast_into::<Reactor>()).transpose()?)
    }
}
