//! Semaphores: a number of something, of which each takes one.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::unwound;
use crate::interrupt::{Interrupted, Telling};
use crate::scheduler::{await_place, passed};
use crate::select::{Branch, Listed, first};
use crate::ticket::{Claimant, Ticket};
use crate::time::{Elapsed, deadline_after};
use crate::wait_list::{Left, Place, WaitList};

/// A counter that tasklets take from and wait for; clones are the same semaphore. Those that wait are served in order.
///
/// ```
/// overlapped::run(|| {
///     let slots = overlapped::Semaphore::new(2);
///     let permit = slots.acquire();
///     assert_eq!(slots.value(), 1);
///     drop(permit);
///     assert_eq!(slots.value(), 2);
/// });
/// ```
#[derive(Clone)]
pub struct Semaphore {
    state: Arc<Mutex<SemaphoreState>>,
}

struct SemaphoreState {
    value: usize,
    waiting: WaitList<Claimant>,
}

/// One taken from a [`Semaphore`], given back when dropped.
#[derive(Debug)]
#[must_use = "a permit that is dropped is given back at once"]
pub struct Permit(Option<Semaphore>);

impl Permit {
    /// Keeps it taken: [`Semaphore::release`] gives it back.
    pub fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(semaphore) = &self.0 {
            semaphore.release();
        }
    }
}

impl Semaphore {
    /// A semaphore from which `value` can be taken.
    pub fn new(value: usize) -> Semaphore {
        Semaphore { state: Arc::new(Mutex::new(SemaphoreState { value, waiting: WaitList::default() })) }
    }

    fn state(&self) -> MutexGuard<'_, SemaphoreState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many can be taken without waiting.
    pub fn value(&self) -> usize {
        self.state().value
    }

    /// Whether one was given to somebody who waited and has not gone on yet.
    pub fn is_handed_over(&self) -> bool {
        self.state().waiting.has_served()
    }

    /// Takes one, waiting for it.
    pub fn acquire(&self) -> Permit {
        self.acquire_as(Telling::Unwinding, None, "semaphore").unwrap_or_else(unwound);
        Permit(Some(self.clone()))
    }

    /// Takes one, waiting for it no longer than `duration`.
    ///
    /// # Errors
    /// [`Elapsed`] where none came in time.
    pub fn acquire_timeout(&self, duration: Duration) -> Result<Permit, Elapsed> {
        let deadline = Some(deadline_after(duration));
        let taken = self.acquire_as(Telling::Unwinding, deadline, "semaphore").unwrap_or_else(unwound);
        if taken { Ok(Permit(Some(self.clone()))) } else { Err(Elapsed::after(duration)) }
    }

    /// Takes one if that needs no waiting.
    pub fn try_acquire(&self) -> Option<Permit> {
        self.try_take().then(|| Permit(Some(self.clone())))
    }

    /// Takes one without a [`Permit`] if that needs no waiting; returns whether one was taken.
    pub fn try_take(&self) -> bool {
        let mut state = self.state();
        let taken = state.value > 0;
        state.value -= usize::from(taken);
        taken
    }

    /// As [`Semaphore::acquire_until`], for something that is more than a semaphore: `waits_for` is what a listing of
    /// the tasklets shows.
    ///
    /// # Errors
    /// What the tasklet is told instead; none was taken then.
    pub fn acquire_until_as(&self, deadline: Option<Instant>, waits_for: &'static str) -> Result<bool, Interrupted> {
        self.acquire_as(Telling::Error, deadline, waits_for)
    }

    /// With a [`Permit`].
    pub(super) fn permit_as(
        &self,
        telling: Telling,
        deadline: Option<Instant>,
        waits_for: &'static str,
    ) -> Result<Option<Permit>, Interrupted> {
        self.acquire_as(telling, deadline, waits_for).map(|taken| taken.then(|| Permit(Some(self.clone()))))
    }

    fn acquire_as(
        &self,
        telling: Telling,
        deadline: Option<Instant>,
        waits_for: &'static str,
    ) -> Result<bool, Interrupted> {
        passed(telling)?;
        let place = {
            let mut state = self.state();
            if state.value > 0 {
                state.value -= 1;
                return Ok(true);
            }
            state.waiting.push(Claimant::current())
        };
        let (left, waited) =
            await_place(telling, deadline, waits_for, |waits| self.state().waiting.leave_unless(place, waits));
        let served = matches!(left, Left::Served(()));
        if served && waited.is_err() {
            // One who was told to leave takes nothing with it: the next in the row has it.
            self.release();
        }
        waited.map(|()| served)
    }

    /// Takes one without a [`Permit`]: pair it with [`Semaphore::release`]. Waits until `deadline`; returns whether one
    /// was taken.
    ///
    /// # Errors
    /// What the tasklet is told instead; none was taken then.
    pub fn acquire_until(&self, deadline: Option<Instant>) -> Result<bool, Interrupted> {
        self.acquire_until_as(deadline, "semaphore")
    }

    /// Gives one back, to the one that has waited longest if any.
    pub fn release(&self) {
        let mut state = self.state();
        match state.waiting.serve(()) {
            Ok(claimant) => {
                drop(state);
                claimant.waiter.wake();
            }
            Err(()) => state.value += 1,
        }
    }
}

impl Semaphore {
    /// The wait for one, as one of several: see [`first_of`](crate::first_of).
    pub fn acquiring(&self) -> Acquiring<'_> {
        Acquiring { semaphore: self, place: None, permit: None }
    }
}

/// A wait for a [`Permit`], as one of several.
#[derive(Debug)]
pub struct Acquiring<'a> {
    semaphore: &'a Semaphore,
    place: Option<Place>,
    permit: Option<Permit>,
}

impl Acquiring<'_> {
    /// What was waited for, once [`first_of`](crate::first_of) has named this. A permit that is not taken is given back
    /// when this is dropped; until then it is what this branch brings next.
    pub fn take(&mut self) -> Option<Permit> {
        self.permit.take()
    }
}

impl Branch for Acquiring<'_> {
    type Output = Permit;

    fn output(&mut self) -> Permit {
        first(self.take())
    }
}

impl Listed for Acquiring<'_> {
    fn take_now(&mut self) -> bool {
        self.permit = self.permit.take().or_else(|| self.semaphore.try_acquire());
        self.permit.is_some()
    }

    fn list(&mut self, ticket: &Ticket) -> bool {
        let mut state = self.semaphore.state();
        let is_none_there = state.value == 0;
        if is_none_there {
            self.place = Some(state.waiting.push(Claimant::with(ticket)));
        }
        is_none_there
    }

    fn leave(&mut self) -> bool {
        let served = self.place.take().map(|place| self.semaphore.state().waiting.leave(place));
        if matches!(served, Some(Left::Served(()))) {
            self.permit = Some(Permit(Some(self.semaphore.clone())));
        }
        self.permit.is_some()
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("value", &self.value()).finish()
    }
}
