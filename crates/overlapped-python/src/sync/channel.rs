//! Channels for Python's tasklets.

use std::rc::Rc;

use overlapped::{Preference, ReceiveError, SendError};
use pyo3::exceptions::{PyBaseException, PyStopIteration, PyTimeoutError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use crate::python::class::{generic, truth};
use crate::python::time::deadline;
use crate::thread::life::runtime;
use crate::thread::runtime::Runtime;

/// What goes through a channel.
pub(crate) enum Item {
    Value(Py<PyAny>),
    Exception(Py<PyAny>),
}

/// A rendezvous between tasklets: a send waits for a receiver and a receive for a sender.
///
/// `preference` tells who runs on when they have met: -1 the receiver (the default), 1 the sender, 0 whoever came
/// second. `balance` tells how many wait: senders as a positive number, receivers as a negative one.
#[pyclass(frozen, weakref, subclass, module = "overlapped")]
pub(crate) struct Channel {
    pub(crate) inner: overlapped::Channel<Item>,
    /// It has Stackless's rules: see its constructor.
    as_stackless: bool,
}

impl Channel {
    /// What precedes an operation.
    fn begin(&self, py: Python<'_>) -> PyResult<Rc<Runtime>> {
        let runtime = runtime(py)?;
        if self.as_stackless {
            runtime.scheduler.keep_turn();
        }
        Ok(runtime)
    }

    /// What follows an operation that has met somebody.
    fn end(&self, py: Python<'_>, runtime: &Runtime) -> PyResult<()> {
        if self.as_stackless && runtime.scheduler.check().is_err() {
            return Err(runtime.raise(py));
        }
        Ok(())
    }

    /// What a receive returns or raises that was not left early.
    pub(crate) fn received(py: Python<'_>, received: Result<Item, ReceiveError>) -> PyResult<Py<PyAny>> {
        match received {
            Ok(Item::Value(value)) => Ok(value),
            Ok(Item::Exception(exception)) => Err(PyErr::from_value(exception.into_bound(py))),
            Err(_) => Err(closed()),
        }
    }

    fn send_item(&self, py: Python<'_>, item: Item, timeout: Option<f64>) -> PyResult<()> {
        let deadline = deadline(timeout)?;
        let runtime = self.begin(py)?;
        self.inner.send_until(item, deadline).map_err(|error| match error {
            SendError::Closed(_) => closed(),
            SendError::Elapsed(_) => elapsed("receiver", timeout),
            SendError::Interrupted(_) => runtime.raise(py),
        })?;
        self.end(py, &runtime)
    }
}

/// The error of who would wait on a closed channel.
pub(crate) fn closed() -> PyErr {
    PyValueError::new_err("Send/receive operation on a closed channel")
}

#[cold]
fn elapsed(nobody: &str, timeout: Option<f64>) -> PyErr {
    PyTimeoutError::new_err(format!("no {nobody} has come within {} s", timeout.unwrap_or_default()))
}

#[pymethods]
impl Channel {
    /// `as_stackless`: who finds somebody and needs not wait goes on, however often, where else others get their turn now and
    /// then; and what is thrown into one that has met somebody is raised when it runs, where else the next wait raises it. A
    /// value that it was given is lost with that.
    #[new]
    #[pyo3(signature = (*, as_stackless=false))]
    fn new(as_stackless: bool) -> Channel {
        Channel { inner: overlapped::channel(), as_stackless }
    }

    /// Gives `value` to a receiver, waiting for one, at most `timeout` seconds. Raises `ValueError` on a closed channel,
    /// `TimeoutError` where none came in time: then it was not sent.
    #[pyo3(signature = (value, timeout=None))]
    fn send(&self, py: Python<'_>, value: Py<PyAny>, timeout: Option<f64>) -> PyResult<()> {
        self.send_item(py, Item::Value(value), timeout)
    }

    /// Raises `exception(*args)` in a receiver, waiting for one.
    #[pyo3(signature = (exception, *args))]
    fn send_exception(&self, exception: Bound<'_, PyAny>, args: Bound<'_, PyTuple>) -> PyResult<()> {
        let py = exception.py();
        if !exception.cast::<PyType>().is_ok_and(|class| class.is_subclass_of::<PyBaseException>().unwrap_or(false)) {
            let given = exception.repr()?;
            return Err(PyTypeError::new_err(format!("send_exception() needs an exception type, not {given}")));
        }
        self.send_item(py, Item::Exception(exception.call1(args)?.unbind()), None)
    }

    /// Raises an exception that there is already, with its traceback, in a receiver, waiting for one.
    fn throw(&self, py: Python<'_>, exception: Bound<'_, PyBaseException>) -> PyResult<()> {
        self.send_item(py, Item::Exception(exception.into_any().unbind()), None)
    }

    /// Takes a value from a sender, waiting for one, at most `timeout` seconds. Raises `ValueError` on a closed channel,
    /// `TimeoutError` where none came in time: then none was taken.
    #[pyo3(signature = (timeout=None))]
    fn receive(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let deadline = deadline(timeout)?;
        let runtime = self.begin(py)?;
        let received = self.inner.receive_until(deadline);
        if received.is_ok() {
            self.end(py, &runtime)?;
        }
        match received {
            Err(ReceiveError::Elapsed) => Err(elapsed("sender", timeout)),
            Err(ReceiveError::Interrupted) => Err(runtime.raise(py)),
            received => Channel::received(py, received),
        }
    }

    fn __iter__(slf: Py<Channel>) -> Py<Channel> {
        slf
    }

    /// Receives until the channel is closed and no sender waits.
    fn __next__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if self.inner.is_closed() {
            return Err(PyStopIteration::new_err(()));
        }
        self.receive(py, None)
    }

    /// How many wait: senders as a positive number, receivers as a negative one.
    #[getter]
    fn balance(&self) -> isize {
        self.inner.balance()
    }

    /// Who runs on when two have met: -1 the receiver, 1 the sender, 0 whoever came second.
    #[getter]
    fn preference(&self) -> i32 {
        match self.inner.preference() {
            Preference::Receiver => -1,
            Preference::Neither => 0,
            Preference::Sender => 1,
        }
    }

    #[setter]
    fn set_preference(&self, preference: i32) {
        self.inner.set_preference(match preference.signum() {
            -1 => Preference::Receiver,
            0 => Preference::Neither,
            _ => Preference::Sender,
        });
    }

    /// Lets nobody wait on the channel from now on. Those that wait already stay, and can still be met.
    fn close(&self) {
        self.inner.close();
    }

    /// Opens the channel again.
    fn open(&self) {
        self.inner.open();
    }

    /// Whether `close()` was called.
    #[getter]
    fn closing(&self) -> bool {
        self.inner.is_closing()
    }

    /// Whether it was closed and nobody waits any more.
    #[getter]
    fn closed(&self) -> bool {
        self.inner.is_closed()
    }

    /// `Channel[T]`, for annotations.
    #[classmethod]
    fn __class_getitem__<'py>(cls: &Bound<'py, PyType>, item: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        generic(cls, &item)
    }

    fn __repr__(&self) -> String {
        format!("<Channel balance={} closing={}>", self.inner.balance(), truth(self.inner.is_closing()))
    }
}
