//! Channels, events, semaphores and locks for Python's tasklets.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use overlapped::{Preference, ReceiveError, SendError};
use pyo3::exceptions::{PyBaseException, PyOverflowError, PyRuntimeError, PyStopIteration, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};

use crate::runtime::{ident, program_ends, runtime};
use crate::tasklet::{deadline, generic};

/// What goes through a channel.
enum Item {
    Value(Py<PyAny>),
    Exception(Py<PyAny>),
}

/// A rendezvous between tasklets: a send waits for a receiver and a receive for a sender.
///
/// `preference` tells who runs on when they have met: -1 the receiver (the default), 1 the sender, 0 whoever came
/// second. `balance` tells how many wait: senders as a positive number, receivers as a negative one.
#[pyclass(frozen, weakref, subclass, module = "overlapped")]
pub(crate) struct Channel {
    inner: overlapped::Channel<Item>,
}

impl Channel {
    fn send_item(&self, py: Python<'_>, item: Item) -> PyResult<()> {
        let runtime = runtime(py)?;
        self.inner.send(item).map_err(|error| match error {
            SendError::Closed(_) => PyValueError::new_err("Send/receive operation on a closed channel"),
            SendError::Interrupted(_) => runtime.raise(py),
        })
    }
}

#[pymethods]
impl Channel {
    #[new]
    fn new() -> Channel {
        Channel { inner: overlapped::channel() }
    }

    /// Gives `value` to a receiver, waiting for one. Raises `ValueError` on a closed channel.
    fn send(&self, py: Python<'_>, value: Py<PyAny>) -> PyResult<()> {
        self.send_item(py, Item::Value(value))
    }

    /// Raises `exception(*args)` in a receiver, waiting for one.
    #[pyo3(signature = (exception, *args))]
    fn send_exception(&self, exception: Bound<'_, PyAny>, args: Bound<'_, PyTuple>) -> PyResult<()> {
        let py = exception.py();
        if !exception.cast::<PyType>().is_ok_and(|class| class.is_subclass_of::<PyBaseException>().unwrap_or(false)) {
            let given = exception.repr()?;
            return Err(PyTypeError::new_err(format!("send_exception() needs an exception type, not {given}")));
        }
        self.send_item(py, Item::Exception(exception.call1(args)?.unbind()))
    }

    /// Takes a value from a sender, waiting for one. Raises `ValueError` on a closed channel.
    fn receive(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let runtime = runtime(py)?;
        match self.inner.receive() {
            Ok(Item::Value(value)) => Ok(value),
            Ok(Item::Exception(exception)) => Err(PyErr::from_value(exception.into_bound(py))),
            Err(ReceiveError::Closed) => Err(PyValueError::new_err("Send/receive operation on a closed channel")),
            Err(ReceiveError::Interrupted) => Err(runtime.raise(py)),
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
        self.receive(py)
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

/// As Python writes it.
fn truth(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// A flag that tasklets wait for.
#[pyclass(frozen, weakref, module = "overlapped")]
#[derive(Default)]
pub(crate) struct Event {
    inner: overlapped::Event,
}

#[pymethods]
impl Event {
    #[new]
    fn new() -> Event {
        Event::default()
    }

    /// Whether it is set.
    fn is_set(&self) -> bool {
        self.inner.is_set()
    }

    /// Sets it: all that wait go on.
    fn set(&self) {
        self.inner.set();
    }

    /// Takes it back.
    fn clear(&self) {
        self.inner.clear();
    }

    /// Waits until it is set, at most `timeout` seconds; returns whether it was.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let runtime = runtime(py)?;
        self.inner.wait_until(deadline(timeout)?).map_err(|_| runtime.raise(py))
    }

    fn __repr__(&self) -> String {
        format!("<Event set={}>", truth(self.inner.is_set()))
    }
}

/// The longest time for which Python's own locks wait, `threading.TIMEOUT_MAX`: 292 years, on Windows 49 days.
fn longest(py: Python<'_>) -> PyResult<f64> {
    static LONGEST: PyOnceLock<f64> = PyOnceLock::new();
    LONGEST.get_or_try_init(py, || py.import("_thread")?.getattr("TIMEOUT_MAX")?.extract()).copied()
}

/// The deadline of `acquire(blocking, timeout)`: none, now or later.
fn acquire_deadline(py: Python<'_>, blocking: bool, timeout: Option<f64>) -> PyResult<Option<Instant>> {
    match (blocking, timeout) {
        (false, Some(timeout)) if timeout != -1.0 => {
            Err(PyValueError::new_err("can't specify a timeout for a non-blocking call"))
        }
        (false, _) => Ok(Some(Instant::now())),
        (true, None | Some(-1.0)) => Ok(None),
        (true, Some(timeout)) if timeout < 0.0 => {
            Err(PyValueError::new_err("timeout value must be a non-negative number"))
        }
        (true, Some(timeout)) if timeout > longest(py)? => Err(PyOverflowError::new_err("timeout value is too large")),
        (true, timeout) => deadline(timeout),
    }
}

pub(crate) fn acquire(
    semaphore: &overlapped::Semaphore,
    py: Python<'_>,
    blocking: bool,
    timeout: Option<f64>,
    waits_for: &'static str,
) -> PyResult<bool> {
    let deadline = acquire_deadline(py, blocking, timeout)?;
    if semaphore.try_take() {
        return Ok(true);
    }
    if !blocking && program_ends() {
        return Ok(false);
    }
    let runtime = runtime(py)?;
    if !blocking {
        // Whoever tries again and again would keep the holder from ever releasing it.
        return runtime.scheduler.give_way().map(|()| false).map_err(|_| runtime.raise(py));
    }
    semaphore.acquire_until_as(deadline, waits_for).map_err(|_| runtime.raise(py))
}

/// A counter that tasklets take from and wait for. Those that wait are served in order.
#[pyclass(frozen, weakref, module = "overlapped")]
pub(crate) struct Semaphore {
    inner: overlapped::Semaphore,
}

#[pymethods]
impl Semaphore {
    #[new]
    #[pyo3(signature = (value=1))]
    fn new(value: isize) -> PyResult<Semaphore> {
        let value =
            usize::try_from(value).map_err(|_| PyValueError::new_err("semaphore initial value must be >= 0"))?;
        Ok(Semaphore { inner: overlapped::Semaphore::new(value) })
    }

    /// Takes one, waiting for it, at most `timeout` seconds; returns whether one was taken.
    #[pyo3(signature = (blocking=true, timeout=None))]
    fn acquire(&self, py: Python<'_>, blocking: bool, timeout: Option<f64>) -> PyResult<bool> {
        acquire(&self.inner, py, blocking, timeout, "semaphore")
    }

    /// Gives `n` back.
    #[pyo3(signature = (n=1))]
    fn release(&self, n: usize) -> PyResult<()> {
        if n == 0 {
            return Err(PyValueError::new_err("n must be one or more"));
        }
        (0..n).for_each(|_| self.inner.release());
        Ok(())
    }

    /// How many can be taken without waiting.
    #[getter]
    fn value(&self) -> usize {
        self.inner.value()
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.acquire(py, true, None)
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, _args: Bound<'_, PyTuple>) {
        self.inner.release();
    }

    fn __repr__(&self) -> String {
        format!("<Semaphore value={}>", self.inner.value())
    }
}

/// Whether somebody holds the lock that `semaphore` is: one who was handed it and has not gone on yet does not.
fn is_held(semaphore: &overlapped::Semaphore) -> bool {
    semaphore.value() == 0 && !semaphore.is_handed_over()
}

/// A lock that blocks a tasklet and not the thread; between threads it works as well. As `threading.Lock`.
#[pyclass(frozen, weakref, name = "Lock", module = "overlapped")]
pub(crate) struct Lock {
    inner: Mutex<overlapped::Semaphore>,
}

impl Lock {
    fn semaphore(&self) -> overlapped::Semaphore {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[pymethods]
impl Lock {
    #[new]
    pub(crate) fn new() -> Lock {
        Lock { inner: Mutex::new(overlapped::Semaphore::new(1)) }
    }

    /// Takes the lock, waiting for it, at most `timeout` seconds (-1: without end); returns whether it was taken.
    #[pyo3(signature = (blocking=true, timeout=-1.0))]
    fn acquire(&self, py: Python<'_>, blocking: bool, timeout: f64) -> PyResult<bool> {
        acquire(&self.semaphore(), py, blocking, Some(timeout), "lock")
    }

    #[pyo3(signature = (blocking=true, timeout=-1.0))]
    fn acquire_lock(&self, py: Python<'_>, blocking: bool, timeout: f64) -> PyResult<bool> {
        self.acquire(py, blocking, timeout)
    }

    /// Releases the lock; any tasklet may. Raises `RuntimeError` where it is not held.
    pub(crate) fn release(&self) -> PyResult<()> {
        let semaphore = self.semaphore();
        if !is_held(&semaphore) {
            return Err(PyRuntimeError::new_err("release unlocked lock"));
        }
        semaphore.release();
        Ok(())
    }

    fn release_lock(&self) -> PyResult<()> {
        self.release()
    }

    /// Whether it is held.
    fn locked(&self) -> bool {
        is_held(&self.semaphore())
    }

    fn locked_lock(&self) -> bool {
        self.locked()
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.acquire(py, true, -1.0)
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, _args: Bound<'_, PyTuple>) -> PyResult<()> {
        self.release()
    }

    /// Releases it; for `threading.Condition`.
    fn _release_save(&self) -> PyResult<()> {
        self.release()
    }

    /// Takes it again, for `threading.Condition`, which must not leave without: an exception that is thrown in meanwhile
    /// is raised when that is done.
    #[pyo3(signature = (_saved=None))]
    fn _acquire_restore(&self, py: Python<'_>, _saved: Option<Py<PyAny>>) -> PyResult<()> {
        let mut thrown = Ok(());
        while let Err(error) = self.acquire(py, true, -1.0) {
            thrown = Err(error);
        }
        thrown
    }

    /// Makes it a new, free lock: for the child after a fork.
    fn _at_fork_reinit(&self) {
        *self.inner.lock().unwrap_or_else(PoisonError::into_inner) = overlapped::Semaphore::new(1);
    }

    fn __repr__(slf: Bound<'_, Lock>) -> String {
        let how = if slf.get().locked() { "locked" } else { "unlocked" };
        format!("<{how} overlapped.Lock object at {:p}>", slf.as_ptr())
    }
}

/// A lock that its holder may take again. As `threading.RLock`; the holder is a tasklet.
#[pyclass(frozen, weakref, name = "RLock", module = "overlapped")]
pub(crate) struct RLock {
    lock: Lock,
    /// The identifier of its holder (see [`ident`]), 0 for none.
    owner: AtomicU64,
    count: AtomicU32,
}

impl RLock {
    fn is_mine(&self) -> bool {
        self.owner.load(Ordering::Relaxed) == ident()
    }

    fn taken(&self, count: u32) {
        self.owner.store(ident(), Ordering::Relaxed);
        self.count.store(count, Ordering::Relaxed);
    }
}

#[pymethods]
impl RLock {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: Bound<'_, PyTuple>, _kwargs: Option<Bound<'_, pyo3::types::PyDict>>) -> RLock {
        RLock { lock: Lock::new(), owner: AtomicU64::new(0), count: AtomicU32::new(0) }
    }

    /// Takes the lock, waiting for it, at most `timeout` seconds (-1: without end); returns whether it was taken.
    #[pyo3(signature = (blocking=true, timeout=-1.0))]
    fn acquire(&self, py: Python<'_>, blocking: bool, timeout: f64) -> PyResult<bool> {
        if self.is_mine() {
            self.count.fetch_add(1, Ordering::Relaxed);
            return Ok(true);
        }
        let taken = self.lock.acquire(py, blocking, timeout)?;
        if taken {
            self.taken(1);
        }
        Ok(taken)
    }

    /// Releases the lock once. Raises `RuntimeError` where the caller does not hold it.
    fn release(&self) -> PyResult<()> {
        if !self.is_mine() {
            return Err(PyRuntimeError::new_err("cannot release un-acquired lock"));
        }
        if self.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.owner.store(0, Ordering::Relaxed);
            self.lock.release()?;
        }
        Ok(())
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.acquire(py, true, -1.0)
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, _args: Bound<'_, PyTuple>) -> PyResult<()> {
        self.release()
    }

    /// Whether the caller holds it; for `threading.Condition`.
    fn _is_owned(&self) -> bool {
        self.is_mine()
    }

    /// How often the caller has taken it.
    fn _recursion_count(&self) -> u32 {
        if self.is_mine() { self.count.load(Ordering::Relaxed) } else { 0 }
    }

    /// Releases it wholly, and tells how to take it again; for `threading.Condition`.
    fn _release_save(&self) -> PyResult<u32> {
        if !self.is_mine() {
            return Err(PyRuntimeError::new_err("cannot release un-acquired lock"));
        }
        let count = self.count.swap(0, Ordering::Relaxed);
        self.owner.store(0, Ordering::Relaxed);
        self.lock.release()?;
        Ok(count)
    }

    /// Takes it again as often as it was; for `threading.Condition`.
    fn _acquire_restore(&self, py: Python<'_>, count: u32) -> PyResult<()> {
        let restored = self.lock._acquire_restore(py, None);
        self.taken(count);
        restored
    }

    /// Makes it a new, free lock: for the child after a fork.
    fn _at_fork_reinit(&self) {
        self.owner.store(0, Ordering::Relaxed);
        self.count.store(0, Ordering::Relaxed);
        self.lock._at_fork_reinit();
    }

    fn __repr__(slf: Bound<'_, RLock>) -> String {
        let (owner, count) = (slf.get().owner.load(Ordering::Relaxed), slf.get().count.load(Ordering::Relaxed));
        let how = if count > 0 { "locked" } else { "unlocked" };
        format!("<{how} overlapped.RLock object owner={owner} count={count} at {:p}>", slf.as_ptr())
    }
}
