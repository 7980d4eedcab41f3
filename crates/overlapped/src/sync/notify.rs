//! Words to one, or to all, that something has changed.
//!
//! Between an [`Event`](crate::Event), which stays set, and a [`Semaphore`](crate::Semaphore), which counts: a word to one
//! is kept where nobody waits, but one of them and no more. As tokio's, whose name it has.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::unwound;
use crate::interrupt::{Interrupted, Telling};
use crate::scheduler::{await_place, passed};
use crate::select::{Branch, Listed};
use crate::ticket::{Claimant, Ticket, wake_all};
use crate::time::{Elapsed, deadline_after};
use crate::wait_list::{Left, Place, WaitList};

/// What tasklets, and threads, wait for to be told of a change; clones are the same.
///
/// ```
/// use overlapped::{Notify, spawn};
/// overlapped::run(|| {
///     let changed = Notify::new();
///     changed.notify_one();
///     changed.notify_one();
///     changed.wait();
///     let theirs = changed.clone();
///     spawn(move || theirs.notify_one());
///     changed.wait();
/// });
/// ```
#[derive(Clone, Default)]
pub struct Notify(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// A word that nobody has heard yet.
    kept: bool,
    /// Served with whether the word is for one alone.
    waiting: WaitList<Claimant, bool>,
}

impl Notify {
    /// One that nobody waits for, without a word.
    pub fn new() -> Notify {
        Notify::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a word; takes the one that is kept, if there is one. Those that wait are served in the order asked.
    pub fn wait(&self) {
        self.wait_until(None).unwrap_or_else(unwound);
    }

    /// As [`Notify::wait`], but waits no longer than `duration`.
    ///
    /// # Errors
    /// [`Elapsed`] where none came in time.
    pub fn wait_timeout(&self, duration: Duration) -> Result<(), Elapsed> {
        let heard = self.wait_until(Some(deadline_after(duration))).unwrap_or_else(unwound);
        if heard { Ok(()) } else { Err(Elapsed::after(duration)) }
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<bool, Interrupted> {
        passed(Telling::Unwinding)?;
        let place = {
            let mut state = self.state();
            if std::mem::take(&mut state.kept) {
                return Ok(true);
            }
            state.waiting.push(Claimant::current())
        };
        let (left, waited) = await_place(Telling::Unwinding, deadline, "a word", |waits| {
            self.state().waiting.leave_unless(place, waits)
        });
        if matches!(left, Left::Served(true)) && waited.is_err() {
            // One who was told to leave makes nothing of it: the next has it.
            self.notify_one();
        }
        waited.map(|()| matches!(left, Left::Served(_)))
    }

    /// Tells the one that has waited longest; where nobody waits, the next that does.
    pub fn notify_one(&self) {
        let next = {
            let mut state = self.state();
            let next = state.waiting.serve(true).ok();
            state.kept |= next.is_none();
            next
        };
        if let Some(claimant) = next {
            claimant.waiter.wake();
        }
    }

    /// Tells all that wait, and nobody later.
    pub fn notify_all(&self) {
        let all = self.state().waiting.serve_all(|| false);
        wake_all(all);
    }

    /// The wait for a word, as one of several: see [`first_of`](crate::first_of).
    pub fn hearing(&self) -> Hearing<'_> {
        Hearing { notify: self, place: None }
    }
}

/// A wait for a word of a [`Notify`], as one of several.
#[derive(Debug)]
pub struct Hearing<'a> {
    notify: &'a Notify,
    place: Option<Place>,
}

impl Branch for Hearing<'_> {
    type Output = ();

    fn output(&mut self) {}
}

impl Listed for Hearing<'_> {
    fn take_now(&mut self) -> bool {
        std::mem::take(&mut self.notify.state().kept)
    }

    fn list(&mut self, ticket: &Ticket) -> bool {
        let mut state = self.notify.state();
        if !state.kept {
            self.place = Some(state.waiting.push(Claimant::with(ticket)));
        }
        !state.kept
    }

    fn leave(&mut self) -> bool {
        let left = self.place.take().map(|place| self.notify.state().waiting.leave(place));
        matches!(left, Some(Left::Served(_)))
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Notify").field("kept", &state.kept).field("waiting", &state.waiting.len()).finish()
    }
}
