//! Locks that many hold to read, or one to write.
//!
//! Whoever waits is served in the order asked, readers and writers in one line: a reader that comes after a writer waits for
//! it, so that readers who come and go do not keep a writer out for ever. (Rejected: readers first, which does; writers
//! first, which does it to readers.) For the same reason a holder that reads must not ask to read again: a writer may stand
//! between the two.
//!
//! There is no poisoning, and the value lies in a lock of the standard library that is always free for whoever was let in:
//! both for the reasons of [`Lock`](crate::Lock).

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLockReadGuard, RwLockWriteGuard, TryLockError, TryLockResult};
use std::time::{Duration, Instant};

use super::unwound;
use crate::interrupt::Telling;
use crate::scheduler::{Waiter, await_place, passed};
use crate::ticket::{Claimant, Claims, Ticket};
use crate::time::{Elapsed, deadline_after};
use crate::wait_list::{Left, WaitList};

/// A value that many read at a time, or one changes; clones are the same lock. It may be held across waits, and those that
/// wait for it are served in order.
///
/// ```
/// use overlapped::{RwLock, scope, yield_now};
/// overlapped::run(|| {
///     let routes = RwLock::new(vec!["/"]);
///     scope(|s| {
///         for _ in 0..3 {
///             s.spawn(|| {
///                 let routes = routes.read();
///                 yield_now();
///                 assert_eq!(*routes, ["/"]);
///             });
///         }
///         yield_now();
///         routes.write().push("/status");
///     });
///     assert_eq!(routes.read().len(), 2);
/// });
/// ```
pub struct RwLock<T = ()>(Arc<Inner<T>>);

struct Inner<T> {
    state: Mutex<State>,
    value: std::sync::RwLock<T>,
}

#[derive(Default)]
struct State {
    readers: usize,
    writes: bool,
    waiting: WaitList<Asks>,
}

/// One that waits, to write or to read.
struct Asks {
    claimant: Claimant,
    to_write: bool,
}

impl Claims for Asks {
    fn claim(&self) -> bool {
        self.claimant.claim()
    }

    fn waits_beside(&self, ticket: &Ticket) -> bool {
        self.claimant.waits_beside(ticket)
    }
}

impl State {
    /// Lets one in, if there is room.
    fn admit(&mut self, to_write: bool) -> bool {
        let has_room = !self.writes && (!to_write || self.readers == 0);
        if has_room {
            self.writes = to_write;
            self.readers += usize::from(!to_write);
        }
        has_room
    }

    /// Lets in those that have waited longest, as far as there is room: they are to be woken.
    fn admit_those_that_wait(&mut self) -> Vec<Waiter> {
        let mut admitted = Vec::new();
        loop {
            let next = self.waiting.iter().next().map(|asks| asks.to_write);
            if !next.is_some_and(|to_write| self.admit(to_write)) {
                return admitted;
            }
            let Ok(asks) = self.waiting.serve(()) else { unreachable!("it waits, for this alone") };
            admitted.push(asks.claimant.waiter);
        }
    }
}

/// A place in a lock, given back when this is dropped.
struct Held<'a, T> {
    lock: &'a RwLock<T>,
    to_write: bool,
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        self.lock.change(|state| if self.to_write { state.writes = false } else { state.readers -= 1 });
    }
}

/// An [`RwLock`] that is held to read, until this is dropped.
#[must_use = "a guard that is dropped releases its lock at once"]
pub struct ReadGuard<'a, T> {
    // In this order: the next holder finds the value free.
    value: RwLockReadGuard<'a, T>,
    _held: Held<'a, T>,
}

/// An [`RwLock`] that is held to write, until this is dropped.
#[must_use = "a guard that is dropped releases its lock at once"]
pub struct WriteGuard<'a, T> {
    value: RwLockWriteGuard<'a, T>,
    held: Held<'a, T>,
}

/// For a lock of the standard library that whoever was let in finds free.
fn free<G>(locked: TryLockResult<G>) -> G {
    match locked {
        Ok(value) => value,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => unreachable!("only who was let in touches the value"),
    }
}

impl<T> RwLock<T> {
    /// A lock that nobody holds.
    pub fn new(value: T) -> RwLock<T> {
        RwLock(Arc::new(Inner { state: Mutex::default(), value: std::sync::RwLock::new(value) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes who holds it or waits, and lets in those for whom there is room then.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let (changed, admitted) = {
            let mut state = self.state();
            (change(&mut state), state.admit_those_that_wait())
        };
        admitted.iter().for_each(Waiter::wake);
        changed
    }

    /// Takes it to read, waiting while another writes or waits to.
    pub fn read(&self) -> ReadGuard<'_, T> {
        self.reading(self.take(false, None).expect("no deadline"))
    }

    /// Takes it to write, waiting while others hold it.
    pub fn write(&self) -> WriteGuard<'_, T> {
        self.writing(self.take(true, None).expect("no deadline"))
    }

    /// As [`RwLock::read`], but waits no longer than `duration`.
    ///
    /// # Errors
    /// [`Elapsed`] where there was no room in time.
    pub fn read_timeout(&self, duration: Duration) -> Result<ReadGuard<'_, T>, Elapsed> {
        let held = self.take(false, Some(deadline_after(duration)));
        held.map(|held| self.reading(held)).ok_or_else(|| Elapsed::after(duration))
    }

    /// As [`RwLock::write`], but waits no longer than `duration`.
    ///
    /// # Errors
    /// [`Elapsed`] where there was no room in time.
    pub fn write_timeout(&self, duration: Duration) -> Result<WriteGuard<'_, T>, Elapsed> {
        let held = self.take(true, Some(deadline_after(duration)));
        held.map(|held| self.writing(held)).ok_or_else(|| Elapsed::after(duration))
    }

    /// Takes it to read if that needs no waiting.
    pub fn try_read(&self) -> Option<ReadGuard<'_, T>> {
        self.try_take(false).map(|held| self.reading(held))
    }

    /// Takes it to write if that needs no waiting.
    pub fn try_write(&self) -> Option<WriteGuard<'_, T>> {
        self.try_take(true).map(|held| self.writing(held))
    }

    fn reading<'a>(&'a self, held: Held<'a, T>) -> ReadGuard<'a, T> {
        ReadGuard { value: free(self.0.value.try_read()), _held: held }
    }

    fn writing<'a>(&'a self, held: Held<'a, T>) -> WriteGuard<'a, T> {
        WriteGuard { value: free(self.0.value.try_write()), held }
    }

    fn try_take(&self, to_write: bool) -> Option<Held<'_, T>> {
        let mut state = self.state();
        (state.waiting.len() == 0 && state.admit(to_write)).then(|| Held { lock: self, to_write })
    }

    fn take(&self, to_write: bool, deadline: Option<Instant>) -> Option<Held<'_, T>> {
        passed(Telling::Unwinding).unwrap_or_else(unwound);
        let place = {
            let mut state = self.state();
            if state.waiting.len() == 0 && state.admit(to_write) {
                return Some(Held { lock: self, to_write });
            }
            state.waiting.push(Asks { claimant: Claimant::current(), to_write })
        };
        let waits_for = if to_write { "lock to write" } else { "lock to read" };
        let (left, waited) = await_place(Telling::Unwinding, deadline, waits_for, |waits| {
            self.state().waiting.leave_unless(place, waits)
        });
        let held = match left {
            Left::Served(()) => Some(Held { lock: self, to_write }),
            Left::Waiting(_) => {
                // Readers may have stood behind a writer that leaves.
                self.change(|_| ());
                None
            }
        };
        match waited {
            Ok(()) => held,
            Err(told) => {
                drop(held);
                unwound(told)
            }
        }
    }
}

impl<'a, T> WriteGuard<'a, T> {
    /// Goes on to read; nobody writes in between, and others that wait to read are let in.
    pub fn downgrade(self) -> ReadGuard<'a, T> {
        let WriteGuard { value, mut held } = self;
        drop(value);
        let lock = held.lock;
        held.to_write = false;
        let value = free(lock.0.value.try_read());
        lock.change(|state| (state.writes, state.readers) = (false, 1));
        ReadGuard { value, _held: held }
    }
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Clone for RwLock<T> {
    fn clone(&self) -> RwLock<T> {
        RwLock(Arc::clone(&self.0))
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("RwLock").field("readers", &state.readers).field("writes", &state.writes).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for ReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadGuard").field(&**self).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for WriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WriteGuard").field(&**self).finish()
    }
}
