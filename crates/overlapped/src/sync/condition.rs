//! Conditions: waiting, with a lock released meanwhile, until somebody says that what it guards has changed.
//!
//! Who waits joins the line before the lock is released, so that a word between the two is not missed; and nobody is woken
//! for nothing, for a word is given to one that waits, and not to the condition. One that has it and is told to leave before
//! it has the lock again passes it on to the next. (A tasklet that unwinds does not take the lock again, as Python's
//! `Condition` has to: here its guard is gone with the frames that could have used it.)
//!
//! It takes the guard of a [`Lock`](crate::Lock), and none of an [`RLock`](crate::RLock). Whoever waits releases the lock
//! wholly; frames further out may hold an RLock too, know nothing of the wait, and would find what they guard changed under
//! them. (Python's `Condition` takes one, and makes one unless given a lock, as `threading.Condition`: programs are written
//! for that.) And a condition is one of a value, which an RLock does not have.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::lock::LockGuard;
use super::unwound;
use crate::interrupt::Telling;
use crate::scheduler::await_place;
use crate::ticket::{Claimant, wake_all};
use crate::time::deadline_after;
use crate::wait_list::{Left, WaitList};

/// What those that hold a [`Lock`](crate::Lock) wait for, until its value is as they need it; clones are the same.
///
/// ```
/// use overlapped::{Condition, Lock, spawn};
/// overlapped::run(|| {
///     let (jobs, more) = (Lock::new(Vec::new()), Condition::new());
///     let (theirs, arrives) = (jobs.clone(), more.clone());
///     spawn(move || {
///         theirs.acquire().push("a job");
///         arrives.notify_one();
///     });
///     let mut jobs = more.wait_while(jobs.acquire(), |jobs| jobs.is_empty());
///     assert_eq!(jobs.pop(), Some("a job"));
/// });
/// ```
#[derive(Clone, Default)]
pub struct Condition(Arc<Mutex<WaitList<Claimant>>>);

impl Condition {
    /// A condition that nobody waits for.
    pub fn new() -> Condition {
        Condition::default()
    }

    fn waiting(&self) -> MutexGuard<'_, WaitList<Claimant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Releases the lock, waits until notified, and takes the lock again.
    pub fn wait<'a, T>(&self, guard: LockGuard<'a, T>) -> LockGuard<'a, T> {
        self.wait_until(guard, None).0
    }

    /// As [`Condition::wait`], but waits to be notified no longer than `duration`; for the lock it waits in any case.
    /// Returns whether it was notified.
    pub fn wait_timeout<'a, T>(&self, guard: LockGuard<'a, T>, duration: Duration) -> (LockGuard<'a, T>, bool) {
        self.wait_until(guard, Some(deadline_after(duration)))
    }

    /// Waits as long as the value is as `unwanted` says.
    pub fn wait_while<'a, T>(
        &self,
        mut guard: LockGuard<'a, T>,
        mut unwanted: impl FnMut(&mut T) -> bool,
    ) -> LockGuard<'a, T> {
        while unwanted(&mut guard) {
            guard = self.wait(guard);
        }
        guard
    }

    fn wait_until<'a, T>(&self, guard: LockGuard<'a, T>, deadline: Option<Instant>) -> (LockGuard<'a, T>, bool) {
        let lock = guard.lock();
        let place = self.waiting().push(Claimant::current());
        drop(guard);
        let (left, waited) =
            await_place(Telling::Unwinding, deadline, "condition", |waits| self.waiting().leave_unless(place, waits));
        let notified = matches!(left, Left::Served(()));
        let held = waited.and_then(|()| lock.acquire_as(Telling::Unwinding, None));
        match held {
            Ok(guard) => (guard.expect("there was no deadline"), notified),
            Err(told) => {
                if notified {
                    self.notify_one();
                }
                unwound(told)
            }
        }
    }

    /// Lets the one go on that has waited longest; no one where nobody waits.
    pub fn notify_one(&self) {
        let next = self.waiting().serve(());
        if let Ok(claimant) = next {
            claimant.waiter.wake();
        }
    }

    /// Lets all go on that wait.
    pub fn notify_all(&self) {
        let all = self.waiting().serve_all(|| ());
        wake_all(all);
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("waiting", &self.waiting().len()).finish()
    }
}
