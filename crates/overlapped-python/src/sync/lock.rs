//! Locks for Python's tasklets.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::semaphore::acquire;
use crate::thread::deadlock::OWN_LOCK;
use crate::thread::runtime::{existing, ident};

/// Whether somebody holds the lock that `semaphore` is: one who was handed it and has not gone on yet does not.
fn is_held(semaphore: &overlapped::Semaphore) -> bool {
    semaphore.value() == 0 && !semaphore.is_handed_over()
}

/// A lock that blocks a tasklet and not the thread; between threads it works as well. As `threading.Lock`.
#[pyclass(frozen, weakref, name = "Lock", module = "overlapped")]
pub(crate) struct Lock {
    inner: Mutex<overlapped::Semaphore>,
    /// Who has taken it (see [`ident`]), 0 for none; anybody may release it. For the name of a wait alone.
    taker: AtomicU64,
}

impl Lock {
    /// One that is held, by nobody in particular.
    pub(crate) fn held() -> Lock {
        Lock { inner: Mutex::new(overlapped::Semaphore::new(0)), taker: AtomicU64::new(0) }
    }

    fn semaphore(&self) -> overlapped::Semaphore {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[pymethods]
impl Lock {
    #[new]
    pub(crate) fn new() -> Lock {
        Lock { inner: Mutex::new(overlapped::Semaphore::new(1)), taker: AtomicU64::new(0) }
    }

    /// Takes the lock, waiting for it, at most `timeout` seconds (-1: without end); returns whether it was taken.
    #[pyo3(signature = (blocking=true, timeout=-1.0))]
    fn acquire(&self, py: Python<'_>, blocking: bool, timeout: f64) -> PyResult<bool> {
        let me = ident();
        let waits_for = if self.taker.load(Ordering::Relaxed) == me { OWN_LOCK } else { "lock" };
        let taken = acquire(&self.semaphore(), py, blocking, Some(timeout), waits_for)?;
        if taken {
            self.taker.store(me, Ordering::Relaxed);
        }
        Ok(taken)
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
        self.taker.store(0, Ordering::Relaxed);
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
    /// is raised when that is done, and a cancel or time-out at the next wait.
    #[pyo3(signature = (_saved=None))]
    fn _acquire_restore(&self, py: Python<'_>, _saved: Option<Py<PyAny>>) -> PyResult<()> {
        // Without tasklets there is nobody to cancel.
        let here = existing();
        let outside = here.as_ref().map(|here| here.scheduler.mask_whole());
        let mut thrown = Ok(());
        while let Err(error) = self.acquire(py, true, -1.0) {
            thrown = Err(error);
        }
        if let (Some(here), Some(outside)) = (here, outside) {
            here.scheduler.unmask(outside);
        }
        thrown
    }

    /// Makes it a new, free lock: for the child after a fork.
    fn _at_fork_reinit(&self) {
        *self.inner.lock().unwrap_or_else(PoisonError::into_inner) = overlapped::Semaphore::new(1);
        self.taker.store(0, Ordering::Relaxed);
    }

    fn __repr__(slf: Bound<'_, Lock>) -> String {
        let how = if slf.get().locked() { "locked" } else { "unlocked" };
        // As `_thread` shows its own, where this stands for that.
        let name = if is_in_thread_module(&slf) { "_thread.lock" } else { "overlapped.Lock" };
        format!("<{how} {name} object at {:p}>", slf.as_ptr())
    }
}

/// A lock that its holder may take again. As `threading.RLock`; the holder is a tasklet.
#[pyclass(frozen, subclass, weakref, name = "RLock", module = "overlapped")]
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

    /// Whether anybody holds it.
    fn locked(&self) -> bool {
        self.count.load(Ordering::Relaxed) != 0
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

    fn __repr__(slf: Bound<'_, RLock>) -> PyResult<String> {
        let (owner, count) = (slf.get().owner.load(Ordering::Relaxed), slf.get().count.load(Ordering::Relaxed));
        let how = if count > 0 { "locked" } else { "unlocked" };
        let name = if !slf.is_exact_instance_of::<RLock>() {
            slf.get_type().name()?.to_string()
        } else if is_in_thread_module(&slf) {
            "_thread.RLock".into()
        } else {
            "overlapped.RLock".into()
        };
        Ok(format!("<{how} {name} object owner={owner} count={count} at {:p}>", slf.as_ptr()))
    }
}

/// Whether an object's class says that it comes from `_thread`.
fn is_in_thread_module(object: &Bound<'_, PyAny>) -> bool {
    object.get_type().getattr("__module__").is_ok_and(|module| module.eq("_thread").unwrap_or(false))
}
