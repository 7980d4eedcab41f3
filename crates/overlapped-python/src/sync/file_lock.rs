//! The lock that makes each call on a buffer or a text file whole: taken and given back at every call, and free almost
//! always.
//!
//! Its holder is written in one word. Those that wait are served in order, and who has found it taken when his turn came has
//! the next one: nobody else takes it before. A tasklet that reads line after line, and waits for the file with the lock held
//! alone, would else leave the others no chance.
//!
//! Rejected: the [`RLock`](super::lock::RLock) of threads, a semaphore under a lock: it cost more than the calls that it guards.
//! To leave it to those that wait from the moment at which they do: two that write word after word, of which one once had to
//! wait, then took turns at every word, with a switch for each.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

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
    /// One for the next of those that wait; not a second one before he has it.
    turns: overlapped::Semaphore,
    /// Whether one of them found it taken when his turn came; and one for him alone.
    is_due: AtomicBool,
    due: overlapped::Semaphore,
    has_turn: AtomicBool,
}

impl FileLock {
    pub(crate) fn new() -> FileLock {
        FileLock {
            owner: AtomicU64::new(0),
            again: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            turns: overlapped::Semaphore::new(0),
            is_due: AtomicBool::new(false),
            due: overlapped::Semaphore::new(0),
            has_turn: AtomicBool::new(false),
        }
    }

    /// Takes the lock, waiting for it.
    ///
    /// # Errors
    /// What ends the wait.
    #[inline]
    pub(crate) fn take(&self, py: Python<'_>) -> PyResult<()> {
        let me = ident();
        if self.may_take(false) && self.is_taken_by(me) {
            return Ok(());
        }
        if self.owner.load(Ordering::Relaxed) == me {
            self.again.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        self.wait(py, me)
    }

    /// Whether nobody has it, or has the next turn. A call that cannot wait, and so lets nobody else run, needs no more than this.
    #[inline]
    pub(crate) fn is_free(&self) -> bool {
        self.owner.load(Ordering::Relaxed) == 0 && !self.is_due.load(Ordering::Relaxed)
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
        let mut am_due = false;
        let mut waited = Ok(());
        // A turn may be left over from one who came while the lock was given back, and needed none.
        while waited.is_ok() && !(is_next && self.may_take(am_due) && self.is_taken_by(me)) {
            waited = acquire(if am_due { &self.due } else { &self.turns }, py, true, None, "file").map(drop);
            self.has_turn.store(false, Ordering::SeqCst);
            is_next = true;
            if waited.is_ok() && !am_due && self.owner.load(Ordering::SeqCst) != 0 {
                am_due = !self.is_due.swap(true, Ordering::SeqCst);
            }
        }
        if am_due {
            self.is_due.store(false, Ordering::SeqCst);
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        if waited.is_err() && self.owner.load(Ordering::SeqCst) == 0 {
            // The turn may have been this one's.
            self.give_turn();
        }
        waited
    }

    /// Whether nobody else has the next turn.
    #[inline]
    fn may_take(&self, am_due: bool) -> bool {
        am_due || !self.is_due.load(Ordering::SeqCst)
    }

    fn give_turn(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 && !self.has_turn.swap(true, Ordering::SeqCst) {
            let turns = if self.is_due.load(Ordering::SeqCst) { &self.due } else { &self.turns };
            turns.release();
        }
    }

    /// Gives it back once.
    #[inline]
    pub(crate) fn give_back(&self) {
        if self.again.load(Ordering::Relaxed) > 0 {
            self.again.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.owner.store(0, Ordering::SeqCst);
        self.give_turn();
    }
}
