//! Who waits, as others see it: on the same thread or on another.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use overlapped_port::Waker;

use super::token::Token;
use super::{Board, TaskletId, try_current};
use crate::interrupt::{Cause, Interrupted};

/// The part of a scheduler that other threads see.
pub(crate) struct Remote {
    waker: Waker,
    /// `None` once the scheduler is gone.
    calls: Mutex<Option<Vec<Call>>>,
    board: Arc<Board>,
}

type Call = Box<dyn FnOnce() + Send>;

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

/// Somebody who waits, on whatever thread: a tasklet, or a thread without a scheduler.
#[derive(Clone)]
pub struct Waiter(Who);

#[derive(Clone)]
enum Who {
    Tasklet(Arc<Remote>, TaskletId),
    Thread(std::thread::Thread),
}

impl Waiter {
    /// The one that calls.
    pub fn current() -> Waiter {
        Waiter(match try_current() {
            Some(scheduler) => Who::Tasklet(Arc::clone(&scheduler.remote), scheduler.current.get()),
            None => Who::Thread(std::thread::current()),
        })
    }

    pub(crate) fn of(remote: &Arc<Remote>, id: TaskletId) -> Waiter {
        Waiter(Who::Tasklet(Arc::clone(remote), id))
    }

    /// Ends its [`park`], or the next one.
    pub fn wake(&self) {
        match &self.0 {
            Who::Thread(thread) => thread.unpark(),
            Who::Tasklet(remote, id) => match try_current() {
                Some(scheduler) if Arc::ptr_eq(&scheduler.remote, remote) => scheduler.wake(*id),
                _ => remote.waker.post(Token::Wake(*id).pack()),
            },
        }
    }

    /// The tasklet on its thread; `None` for a thread without a scheduler.
    pub fn id(&self) -> Option<TaskletId> {
        match &self.0 {
            Who::Tasklet(_, id) => Some(*id),
            Who::Thread(_) => None,
        }
    }

    /// The tasklet's number on its thread; 0 for a thread without a scheduler.
    pub fn number(&self) -> u64 {
        match &self.0 {
            Who::Tasklet(_, id) => id.number(),
            Who::Thread(_) => 0,
        }
    }

    /// Leaves an interrupt on the tasklet, from whatever thread. A thread without a scheduler cannot be interrupted.
    pub fn interrupt(&self, cause: Cause) {
        let Who::Tasklet(remote, id) = &self.0 else { return };
        let id = *id;
        match try_current() {
            Some(scheduler) if Arc::ptr_eq(&scheduler.remote, remote) => scheduler.interrupt(id, cause),
            _ => remote.call(Box::new(move || {
                if let Some(scheduler) = try_current() {
                    scheduler.interrupt(id, cause);
                }
            })),
        }
    }

    /// Wakes it and, where it is a tasklet of this thread, lets it run at once.
    pub(crate) fn wake_and_yield(&self) -> Result<(), Interrupted> {
        if let Who::Tasklet(remote, id) = &self.0
            && let Some(scheduler) = try_current()
            && Arc::ptr_eq(&scheduler.remote, remote)
        {
            return scheduler.yield_to(*id);
        }
        self.wake();
        Ok(())
    }
}

impl PartialEq for Waiter {
    fn eq(&self, other: &Waiter) -> bool {
        match (&self.0, &other.0) {
            (Who::Tasklet(a, i), Who::Tasklet(b, j)) => Arc::ptr_eq(a, b) && i == j,
            (Who::Thread(a), Who::Thread(b)) => a.id() == b.id(),
            _ => false,
        }
    }
}

/// Waits until [`Waiter::wake`], or until `deadline`; it may also return for no reason.
///
/// # Errors
/// The interrupt to be raised, once the caller has taken its wait back.
pub fn park(deadline: Option<Instant>, waits_for: &'static str) -> Result<(), Interrupted> {
    match (try_current(), deadline) {
        (Some(scheduler), deadline) => scheduler.park_until(deadline, waits_for),
        (None, None) => {
            std::thread::park();
            Ok(())
        }
        (None, Some(deadline)) => {
            std::thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
            Ok(())
        }
    }
}
