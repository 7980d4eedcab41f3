//! Locks that tasklets hold across waits: one at a time, and one that its holder may take again.
//!
//! A [`Lock`] is a semaphore of one with a value inside: who waits is served in the order asked, on whatever thread, and
//! leaves in O(1). There is no poisoning: a tasklet that is told to leave unwinds past its guards as a matter of course, and
//! says nothing by it about the value. (Rejected: the standard library's lock, which blocks the thread, and with it the
//! tasklet that could unlock it; a flag of each lock for panics alone, which the value's own type can have.)
//!
//! The value lies in a lock of the standard library that only the holder ever touches: it costs one atomic instruction, and
//! needs no unsafe code.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::{Permit, Semaphore, unwound};
use crate::interrupt::{Interrupted, Telling};
use crate::scheduler::{Waiter, await_place, passed, told};
use crate::ticket::Claimant;
use crate::time::{Elapsed, deadline_after};
use crate::wait_list::{Left, WaitList};

/// A value that one tasklet or thread at a time has; clones are the same lock. It may be held across waits, and those that
/// wait for it are served in order.
///
/// ```
/// use overlapped::{Lock, spawn, yield_now};
/// overlapped::run(|| {
///     let balance = Lock::new(100);
///     let pays = |amount| {
///         let balance = balance.clone();
///         spawn(move || {
///             let mut balance = balance.acquire();
///             let before = *balance;
///             yield_now();
///             *balance = before - amount;
///         })
///     };
///     for payment in [pays(10), pays(20)] {
///         payment.join().unwrap();
///     }
///     assert_eq!(*balance.acquire(), 70);
/// });
/// ```
pub struct Lock<T = ()>(Arc<Inner<T>>);

struct Inner<T> {
    holder: Semaphore,
    value: Mutex<T>,
}

/// A [`Lock`] that is held, until this is dropped.
#[must_use = "a guard that is dropped releases its lock at once"]
pub struct LockGuard<'a, T> {
    lock: &'a Lock<T>,
    // In this order: the next holder finds the value free.
    value: MutexGuard<'a, T>,
    _holder: Permit,
}

impl<T> Lock<T> {
    /// A lock that nobody holds.
    pub fn new(value: T) -> Lock<T> {
        Lock(Arc::new(Inner { holder: Semaphore::new(1), value: Mutex::new(value) }))
    }

    /// Takes it, waiting for it.
    pub fn acquire(&self) -> LockGuard<'_, T> {
        self.acquire_as(Telling::Unwinding, None).unwrap_or_else(|told| Some(unwound(told))).expect("no deadline")
    }

    /// Takes it, waiting for it no longer than `duration`.
    ///
    /// # Errors
    /// [`Elapsed`] where it was not released in time.
    pub fn acquire_timeout(&self, duration: Duration) -> Result<LockGuard<'_, T>, Elapsed> {
        let guard = self.acquire_as(Telling::Unwinding, Some(deadline_after(duration)));
        guard.unwrap_or_else(|told| Some(unwound(told))).ok_or_else(|| Elapsed::after(duration))
    }

    /// Takes it if that needs no waiting.
    pub fn try_acquire(&self) -> Option<LockGuard<'_, T>> {
        self.0.holder.try_acquire().map(|holder| self.guard(holder))
    }

    /// Whether somebody holds it.
    pub fn is_held(&self) -> bool {
        self.0.holder.value() == 0
    }

    /// Takes it, for a wait that has a result.
    ///
    /// # Errors
    /// What the tasklet is told.
    pub(crate) fn acquire_or_told(&self) -> io::Result<LockGuard<'_, T>> {
        let taken = self.acquire_as(Telling::Error, None);
        taken.map(|guard| guard.expect("no deadline")).map_err(told)
    }

    pub(super) fn acquire_as(
        &self,
        telling: Telling,
        deadline: Option<Instant>,
    ) -> Result<Option<LockGuard<'_, T>>, Interrupted> {
        let permit = self.0.holder.permit_as(telling, deadline, "lock")?;
        Ok(permit.map(|holder| self.guard(holder)))
    }

    fn guard(&self, holder: Permit) -> LockGuard<'_, T> {
        let value = match self.0.value.try_lock() {
            Ok(value) => value,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => unreachable!("only who holds the lock touches the value"),
        };
        LockGuard { lock: self, value, _holder: holder }
    }
}

impl<'a, T> LockGuard<'a, T> {
    /// The lock that it holds.
    pub(super) fn lock(&self) -> &'a Lock<T> {
        self.lock
    }
}

impl<T> Deref for LockGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for LockGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Clone for Lock<T> {
    fn clone(&self) -> Lock<T> {
        Lock(Arc::clone(&self.0))
    }
}

impl<T: Default> Default for Lock<T> {
    fn default() -> Lock<T> {
        Lock::new(T::default())
    }
}

impl<T> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("held", &self.is_held()).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for LockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LockGuard").field(&**self).finish()
    }
}

/// A lock that the tasklet, or the thread, which holds it may take again: it is released when as many guards are dropped.
/// Clones are the same lock. It guards what is done, and no value: two guards at once could not both change one.
///
/// ```
/// overlapped::run(|| {
///     let lock = overlapped::RLock::new();
///     let outer = lock.acquire();
///     let inner = lock.acquire();
///     drop(outer);
///     assert!(lock.is_held());
///     drop(inner);
///     assert!(!lock.is_held());
/// });
/// ```
#[derive(Clone, Default)]
pub struct RLock(Arc<Mutex<RState>>);

#[derive(Default)]
struct RState {
    /// Who holds it, and how many times.
    holder: Option<(Waiter, usize)>,
    waiting: WaitList<Claimant>,
}

/// An [`RLock`] that is held, until this is dropped. It stays with the tasklet that has taken it.
#[derive(Debug)]
#[must_use = "a guard that is dropped releases its lock at once"]
pub struct RLockGuard<'a> {
    lock: &'a RLock,
    /// Another thread's tasklet is not the holder.
    _stays: std::marker::PhantomData<*const ()>,
}

impl RLock {
    /// A lock that nobody holds.
    pub fn new() -> RLock {
        RLock::default()
    }

    fn state(&self) -> MutexGuard<'_, RState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn guard(&self) -> RLockGuard<'_> {
        RLockGuard { lock: self, _stays: std::marker::PhantomData }
    }

    /// Takes it, waiting for it where another has it.
    pub fn acquire(&self) -> RLockGuard<'_> {
        self.acquire_as(Telling::Unwinding, None).unwrap_or_else(unwound);
        self.guard()
    }

    /// Takes it, for a wait that has a result.
    ///
    /// # Errors
    /// What the tasklet is told.
    pub(crate) fn acquire_or_told(&self) -> io::Result<RLockGuard<'_>> {
        self.acquire_as(Telling::Error, None).map(|_| self.guard()).map_err(told)
    }

    /// Takes it, waiting for it no longer than `duration`.
    ///
    /// # Errors
    /// [`Elapsed`] where it was not released in time.
    pub fn acquire_timeout(&self, duration: Duration) -> Result<RLockGuard<'_>, Elapsed> {
        let deadline = Some(deadline_after(duration));
        let taken = self.acquire_as(Telling::Unwinding, deadline).unwrap_or_else(unwound);
        if taken { Ok(self.guard()) } else { Err(Elapsed::after(duration)) }
    }

    /// Takes it if that needs no waiting.
    pub fn try_acquire(&self) -> Option<RLockGuard<'_>> {
        self.take(&mut self.state()).then(|| self.guard())
    }

    /// Whether somebody holds it.
    pub fn is_held(&self) -> bool {
        self.state().holder.is_some()
    }

    fn take(&self, state: &mut RState) -> bool {
        let me = Waiter::current();
        match &mut state.holder {
            Some((holder, times)) if *holder == me => *times += 1,
            Some(_) => return false,
            holder => *holder = Some((me, 1)),
        }
        true
    }

    fn acquire_as(&self, telling: Telling, deadline: Option<Instant>) -> Result<bool, Interrupted> {
        passed(telling)?;
        let place = {
            let mut state = self.state();
            if self.take(&mut state) {
                return Ok(true);
            }
            state.waiting.push(Claimant::current())
        };
        let (left, waited) =
            await_place(telling, deadline, "lock", |waits| self.state().waiting.leave_unless(place, waits));
        let served = matches!(left, Left::Served(()));
        if served && waited.is_err() {
            self.release();
        }
        waited.map(|()| served)
    }

    /// One guard less; the last gives it to the one that has waited longest.
    fn release(&self) {
        let mut state = self.state();
        let state_of = &mut *state;
        let Some((_, times)) = &mut state_of.holder else { return };
        *times -= 1;
        if *times > 0 {
            return;
        }
        let next = state_of.waiting.serve(()).ok().map(|claimant| claimant.waiter);
        state_of.holder = next.clone().map(|next| (next, 1));
        drop(state);
        if let Some(next) = next {
            next.wake();
        }
    }
}

impl Drop for RLockGuard<'_> {
    fn drop(&mut self) {
        self.lock.release();
    }
}

impl fmt::Debug for RLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RLock").field("held", &self.is_held()).finish()
    }
}
