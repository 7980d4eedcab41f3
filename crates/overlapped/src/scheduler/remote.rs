//! The part of a scheduler that other threads see.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use overlapped_port::Waker;

use super::board::Board;
use super::id::TaskletId;
use super::token::Token;

pub(crate) struct Remote {
    waker: Waker,
    /// `None` once the scheduler is gone.
    calls: Mutex<Option<Vec<Call>>>,
    board: Arc<Board>,
}

pub(super) type Call = Box<dyn FnOnce() + Send>;

impl Remote {
    pub(super) fn new(waker: Waker, board: Arc<Board>) -> Remote {
        Remote { waker, calls: Mutex::new(Some(Vec::new())), board }
    }

    pub(crate) fn board(&self) -> &Board {
        &self.board
    }

    pub(super) fn calls(&self) -> MutexGuard<'_, Option<Vec<Call>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes a tasklet of the scheduler's thread, from another.
    pub(super) fn wake(&self, id: TaskletId) {
        self.waker.post(Token::Wake(id).pack());
    }

    /// Runs `call` on the scheduler's thread, between two tasklets: it must not wait. Drops it where the scheduler is
    /// gone.
    pub(crate) fn call(&self, call: Call) {
        match &mut *self.calls() {
            Some(calls) => calls.push(call),
            None => return,
        }
        self.waker.post(Token::Calls.pack());
    }
}
