//! The part of a scheduler that other threads see.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use overlapped_port::Waker;

use super::board::Board;
use super::id::TaskletId;
use super::token::Token;

pub(crate) struct Remote {
    waker: Waker,
    /// `None` once the scheduler is gone.
    calls: Mutex<Option<Vec<Call>>>,
    board: Arc<Board>,
    /// How many tasklets that other threads have given have not ended, those on their way among them.
    given: AtomicUsize,
    /// How long cleanup may take.
    cleanup: OnceLock<Duration>,
}

/// How long cleanup may take unless the configuration says otherwise.
pub(crate) const CLEANUP: Duration = Duration::from_secs(5);
/// Beyond the cleanup limit, those whose last waits were told of it have so long to end.
const GRACE: Duration = Duration::from_secs(1);

pub(super) type Call = Box<dyn FnOnce() + Send>;

impl Remote {
    pub(super) fn new(waker: Waker, board: Arc<Board>) -> Remote {
        Remote {
            waker,
            calls: Mutex::new(Some(Vec::new())),
            board,
            given: AtomicUsize::new(0),
            cleanup: OnceLock::new(),
        }
    }

    pub(crate) fn board(&self) -> &Board {
        &self.board
    }

    /// Sets how long cleanup may take, once.
    pub(super) fn limit_cleanup(&self, limit: Duration) {
        let _ = self.cleanup.set(limit);
    }

    /// How long cleanup may take, once a tasklet was told to leave.
    pub(super) fn cleanup(&self) -> Duration {
        self.cleanup.get().copied().unwrap_or(CLEANUP)
    }

    /// When a tasklet that was cancelled at `since` is no longer waited for; `None`: always.
    pub(crate) fn given_up(&self, since: Instant) -> Option<Instant> {
        since.checked_add(self.cleanup().saturating_add(GRACE))
    }

    pub(super) fn calls(&self) -> MutexGuard<'_, Option<Vec<Call>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes a tasklet of the scheduler's thread, from another.
    pub(super) fn wake(&self, id: TaskletId) {
        self.waker.post(Token::Wake(id).pack());
    }

    /// How many tasklets it has that have not ended, and how many more are on their way.
    pub(crate) fn load(&self) -> usize {
        self.board.alive() + self.given.load(Ordering::Relaxed)
    }

    /// Runs `call` on the scheduler's thread, between two tasklets: it must not wait. Drops it where the scheduler is gone,
    /// and says so by false.
    pub(crate) fn call(&self, call: Call) -> bool {
        // What is dropped here is dropped outside of the lock.
        let mut calls = self.calls();
        let Some(waiting) = calls.as_mut() else {
            drop(calls);
            return false;
        };
        // Those that wait have told of themselves: whoever runs them takes all.
        let first = waiting.is_empty();
        waiting.push(call);
        drop(calls);
        if first {
            self.waker.post(Token::Calls.pack());
        }
        true
    }
}

/// A tasklet that is given to a scheduler. It counts there until this is dropped, at its end: always once, on its way too.
pub(crate) struct Given(Arc<Remote>);

impl Given {
    pub(crate) fn to(remote: &Arc<Remote>) -> Given {
        remote.given.fetch_add(1, Ordering::Relaxed);
        Given(Arc::clone(remote))
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        self.0.given.fetch_sub(1, Ordering::Relaxed);
    }
}
