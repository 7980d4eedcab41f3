//! Events: a flag that is waited for.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::interrupt::{Interrupted, Telling};
use crate::scheduler::{Waiter, await_place, passed, raise};
use crate::select::{Branch, Listed};
use crate::ticket::{Claimant, Ticket};
use crate::time::{Elapsed, deadline_after};
use crate::wait_list::{Left, Place, WaitList};

/// A flag that tasklets wait for; clones are the same event. It can be set from any thread.
///
/// ```
/// overlapped::run(|| {
///     let ready = overlapped::Event::new();
///     let theirs = ready.clone();
///     std::thread::spawn(move || theirs.set());
///     ready.wait();
///     assert!(ready.is_set());
/// });
/// ```
#[derive(Clone, Default)]
pub struct Event {
    state: Arc<Mutex<EventState>>,
}

#[derive(Default)]
struct EventState {
    set: bool,
    waiting: WaitList<Claimant>,
}

impl Event {
    /// An event that is not set.
    pub fn new() -> Event {
        Event::default()
    }

    fn state(&self) -> MutexGuard<'_, EventState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.state().set
    }

    /// Sets it: all that wait go on, and nobody waits until it is cleared.
    pub fn set(&self) {
        let mut state = self.state();
        state.set = true;
        let mut served = || state.waiting.serve(()).ok().map(|claimant| claimant.waiter);
        // Mostly there is one at most, for whom no memory is needed.
        let Some(first) = served() else { return };
        let others: Vec<Waiter> = std::iter::from_fn(served).collect();
        drop(state);
        first.wake();
        others.iter().for_each(Waiter::wake);
    }

    /// Takes it back.
    pub fn clear(&self) {
        self.state().set = false;
    }

    /// Waits until it is set.
    pub fn wait(&self) {
        if let Err(interrupted) = self.wait_as(Telling::Unwinding, None, "event") {
            raise(interrupted);
        }
    }

    /// Waits until it is set, but no longer than `duration`.
    ///
    /// # Errors
    /// [`Elapsed`] where it was not set in time.
    pub fn wait_timeout(&self, duration: Duration) -> Result<(), Elapsed> {
        match self.wait_as(Telling::Unwinding, Some(deadline_after(duration)), "event") {
            Ok(true) => Ok(()),
            Ok(false) => Err(Elapsed::after(duration)),
            Err(interrupted) => {
                raise(interrupted);
                Err(Elapsed::after(duration))
            }
        }
    }

    /// Waits until it is set, or until `deadline`; returns whether it was set.
    ///
    /// # Errors
    /// What the tasklet is told instead.
    pub fn wait_until(&self, deadline: Option<Instant>) -> Result<bool, Interrupted> {
        self.wait_until_as(deadline, "event")
    }

    /// As [`Event::wait_until`], for something that is more than an event: `waits_for` is what a listing of the tasklets
    /// shows.
    ///
    /// # Errors
    /// What the tasklet is told instead.
    pub fn wait_until_as(&self, deadline: Option<Instant>, waits_for: &'static str) -> Result<bool, Interrupted> {
        self.wait_as(Telling::Error, deadline, waits_for)
    }

    fn wait_as(
        &self,
        telling: Telling,
        deadline: Option<Instant>,
        waits_for: &'static str,
    ) -> Result<bool, Interrupted> {
        passed(telling)?;
        // An event that is set and cleared at once must still release those that waited: that one was served is what
        // counts, not the flag.
        let place = {
            let mut state = self.state();
            if state.set {
                return Ok(true);
            }
            state.waiting.push(Claimant::current())
        };
        let (left, waited) =
            await_place(telling, deadline, waits_for, |waits| self.state().waiting.leave_unless(place, waits));
        if matches!(left, Left::Served(())) { Ok(true) } else { waited.map(|()| false) }
    }
}

impl Event {
    /// The wait for it, as one of several: see [`first_of`](crate::first_of).
    pub fn waiting(&self) -> Waiting<'_> {
        Waiting { event: self, place: None }
    }
}

/// A wait for an [`Event`], as one of several.
#[derive(Debug)]
pub struct Waiting<'a> {
    event: &'a Event,
    place: Option<Place>,
}

impl Branch for Waiting<'_> {
    type Output = ();

    fn output(&mut self) {}
}

impl Listed for Waiting<'_> {
    fn take_now(&mut self) -> bool {
        self.event.is_set()
    }

    fn list(&mut self, ticket: &Ticket) -> bool {
        let mut state = self.event.state();
        if !state.set {
            self.place = Some(state.waiting.push(Claimant::with(ticket)));
        }
        !state.set
    }

    fn leave(&mut self) -> bool {
        let served = self.place.take().map(|place| self.event.state().waiting.leave(place));
        matches!(served, Some(Left::Served(())))
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("set", &self.is_set()).finish()
    }
}
