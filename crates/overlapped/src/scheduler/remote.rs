//! The part of a scheduler that other threads see.

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
        Remote { waker, calls: Mutex::new(Some(Vec::new())), board, cleanup: OnceLock::new() }
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

    /// Runs `call` on the scheduler's thread, between two tasklets: it must not wait. Drops it where the scheduler is gone,
    /// and says so by false.
    pub(crate) fn call(&self, call: Call) -> bool {
        // What is dropped here is dropped outside of the lock.
        let mut calls = self.calls();
        let Some(waiting) = calls.as_mut() else {
            drop(calls);
            return false;
        };
        waiting.push(call);
        drop(calls);
        self.waker.post(Token::Calls.pack());
        true
    }
}
