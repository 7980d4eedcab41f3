//! The lock that makes each call on a buffer or a text file whole: taken and given back at every call, and free almost
//! always.
//!
//! Its holder is written in one word. Nobody else takes it while somebody waits, so those that wait are served, in order: a
//! tasklet that reads line after line never waits, and would else leave the others no chance. (Rejected: the
//! [`RLock`](super::lock::RLock) of threads, a semaphore under a lock: it cost more than the calls that it guards.)

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use pyo3::prelude::*;

use super::semaphore::acquire;
use crate::thread::runtime::ident;

/// A lock that its holder, a tasklet, may take again.
pub(crate) struct FileLock {
    /// The identifier of its holder (see [`ident`]), 0 for none.
    owner: AtomicU64,
    /// How often the holder has taken it beyond the first time.
    again: AtomicU32,
    /// How many wait for it, or are about to.
    waiting: AtomicU32,
    /// One for each time that it was given back while somebody waited.
    turns: overlapped::Semaphore,
}

impl FileLock {
    pub(crate) fn new() -> FileLock {
        FileLock {
            owner: AtomicU64::new(0),
            again: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            turns: overlapped::Semaphore::new(0),
        }
    }

    /// Takes the lock, waiting for it.
    ///
    /// # Errors
    /// What ends the wait.
    #[inline]
    pub(crate) fn take(&self, py: Python<'_>) -> PyResult<()> {
        let me = ident();
        if self.waiting.load(Ordering::SeqCst) == 0 && self.is_taken_by(me) {
            return Ok(());
        }
        if self.owner.load(Ordering::Relaxed) == me {
            self.again.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        self.wait(py, me)
    }

    /// Whether nobody has it, or waits for it. A call that cannot wait, and so lets nobody else run, needs no more than this.
    #[inline]
    pub(crate) fn is_free(&self) -> bool {
        self.owner.load(Ordering::Relaxed) == 0 && self.waiting.load(Ordering::Relaxed) == 0
    }

    fn is_taken_by(&self, me: u64) -> bool {
        self.owner.compare_exchange(0, me, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    #[cold]
    #[inline(never)]
    fn wait(&self, py: Python<'_>, me: u64) -> PyResult<()> {
        // Whoever has the lock sees this, or has given it back by the time that the first to wait looks. The others have a turn
        // when that one has had it.
        let mut is_next = self.waiting.fetch_add(1, Ordering::SeqCst) == 0;
        let mut waited = Ok(());
        // A turn may be left over from one who came while the lock was given back, and needed none.
        while waited.is_ok() && !(is_next && self.is_taken_by(me)) {
            waited = acquire(&self.turns, py, true, None, "file").map(drop);
            is_next = true;
        }
        let others = self.waiting.fetch_sub(1, Ordering::SeqCst) - 1;
        if waited.is_err() && others > 0 && self.owner.load(Ordering::SeqCst) == 0 {
            // The turn may have been this one's.
            self.turns.release();
        }
        waited
    }

    /// Gives it back once.
    #[inline]
    pub(crate) fn give_back(&self) {
        if self.again.load(Ordering::Relaxed) > 0 {
            self.again.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.owner.store(0, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.turns.release();
        }
    }
}
