//! A value of which only the last counts, and those that wait for it to change.
//!
//! A configuration, a state, a progress: who looks is given what is there now, and who waits learns that there is something
//! newer than it has seen, not how many there were in between. What is given is an `Arc` of the value. (Rejected: a guard, as
//! tokio's. One that is held across a wait keeps the sender out, and with it the thread.)

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::channel::{ReceiveError, SendError};
use crate::interrupt::Telling;
use crate::scheduler::{await_place, pass_on, passed};
use crate::select::{Branch, Listed, first};
use crate::ticket::{Claimant, Ticket, wake_all};
use crate::time::deadline_after;
use crate::wait_list::{Place, WaitList};

/// A value, by the ends that set it and look at it.
///
/// ```
/// use overlapped::{spawn, sync::watch};
/// overlapped::run(|| {
///     let (level, mut shown) = watch::channel(0);
///     let other = spawn(move || {
///         for percent in [10, 50, 100] {
///             level.send(percent).unwrap();
///         }
///         level
///     });
///     shown.changed()?;
///     assert_eq!(*shown.borrow_and_update(), 100, "the last counts");
///     assert!(!shown.has_changed());
///     other.join().unwrap();
///     Ok::<(), overlapped::ReceiveError>(())
/// })?;
/// # Ok::<(), overlapped::ReceiveError>(())
/// ```
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let (value, waiting, closing) = (Arc::new(value), WaitList::new(), WaitList::new());
    let state = State { value, version: 0, senders: 1, receivers: 0, waiting, closing };
    let sender = Sender(Arc::new(Mutex::new(state)));
    let receiver = sender.subscribe();
    (sender, receiver)
}

struct State<T> {
    value: Arc<T>,
    /// How many times it was set.
    version: u64,
    senders: usize,
    receivers: usize,
    /// Receivers that wait for a change.
    waiting: WaitList<Claimant>,
    /// Senders that wait until nobody looks any more.
    closing: WaitList<Claimant>,
}

type Shared<T> = Arc<Mutex<State<T>>>;

fn locked<T>(shared: &Shared<T>) -> MutexGuard<'_, State<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> State<T> {
    /// What somebody who has seen this much is told without a wait.
    fn news(&self, seen: u64) -> Option<Result<(), ReceiveError>> {
        match (seen < self.version, self.senders) {
            (true, _) => Some(Ok(())),
            (false, 0) => Some(Err(ReceiveError::Closed)),
            (false, _) => None,
        }
    }
}

/// The end that sets the value; clones are others of the same. When the last is dropped, those that wait for a change are
/// told.
pub struct Sender<T>(Shared<T>);

/// An end that looks at the value; a clone has seen as much.
pub struct Receiver<T> {
    shared: Shared<T>,
    seen: u64,
}

impl<T> Sender<T> {
    /// Sets the value; it never waits.
    ///
    /// # Errors
    /// [`SendError::Closed`], with the value, where nobody looks; it is not set then. [`Sender::replace`] sets it all the same.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let state = locked(&self.0);
        if state.receivers == 0 {
            return Err(SendError::Closed(value));
        }
        let before = set(state, value);
        drop(before);
        Ok(())
    }

    /// Sets the value, though nobody may look, and returns the one before.
    pub fn replace(&self, value: T) -> Arc<T> {
        set(locked(&self.0), value)
    }

    /// The value.
    pub fn borrow(&self) -> Arc<T> {
        Arc::clone(&locked(&self.0).value)
    }

    /// One more that looks; it has seen what is there now.
    pub fn subscribe(&self) -> Receiver<T> {
        let mut state = locked(&self.0);
        state.receivers += 1;
        Receiver { shared: Arc::clone(&self.0), seen: state.version }
    }

    /// How many look.
    pub fn receivers(&self) -> usize {
        locked(&self.0).receivers
    }

    /// Waits until nobody looks.
    ///
    /// # Errors
    /// [`ReceiveError::Interrupted`].
    pub fn closed(&self) -> Result<(), ReceiveError> {
        begin()?;
        let place = {
            let mut state = locked(&self.0);
            if state.receivers == 0 {
                return Ok(());
            }
            state.closing.push(Claimant::current())
        };
        let (receivers, waited) = await_place(Telling::Error, None, "receivers to leave", |waits| {
            let mut state = locked(&self.0);
            state.closing.leave_unless(place, waits).map(|_| state.receivers)
        });
        match waited {
            Err(interrupted) if receivers > 0 => {
                pass_on(&interrupted);
                Err(ReceiveError::Interrupted)
            }
            _ => Ok(()),
        }
    }
}

/// The first lines of each wait.
fn begin() -> Result<(), ReceiveError> {
    passed(Telling::Error).map_err(|interrupted| {
        pass_on(&interrupted);
        ReceiveError::Interrupted
    })
}

/// Sets the value, and tells those that wait; returns the one before, which is to be dropped outside of the lock.
fn set<T>(mut state: MutexGuard<'_, State<T>>, value: T) -> Arc<T> {
    let before = std::mem::replace(&mut state.value, Arc::new(value));
    state.version += 1;
    let waiting = state.waiting.serve_all(|| ());
    drop(state);
    wake_all(waiting);
    before
}

impl<T> Receiver<T> {
    /// The value. It does not count as seen.
    pub fn borrow(&self) -> Arc<T> {
        Arc::clone(&locked(&self.shared).value)
    }

    /// The value, which counts as seen.
    pub fn borrow_and_update(&mut self) -> Arc<T> {
        let state = locked(&self.shared);
        self.seen = state.version;
        Arc::clone(&state.value)
    }

    /// Whether there is a value that this has not seen.
    pub fn has_changed(&self) -> bool {
        locked(&self.shared).version > self.seen
    }

    /// Waits for a value that this has not seen, and counts it as seen.
    ///
    /// # Errors
    /// [`ReceiveError::Closed`] where there is none and all senders are gone; [`ReceiveError::Interrupted`].
    pub fn changed(&mut self) -> Result<(), ReceiveError> {
        self.changed_until(None)
    }

    /// As [`Receiver::changed`], but waits no longer than `duration`.
    ///
    /// # Errors
    /// As for [`Receiver::changed`]; [`ReceiveError::Elapsed`] where none was set in time.
    pub fn changed_timeout(&mut self, duration: Duration) -> Result<(), ReceiveError> {
        self.changed_until(Some(deadline_after(duration)))
    }

    /// Waits until the value, from the one that is there on, is as `wanted` says; it counts as seen, and is returned.
    ///
    /// # Errors
    /// As for [`Receiver::changed`].
    pub fn wait_for(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Result<Arc<T>, ReceiveError> {
        loop {
            let value = self.borrow_and_update();
            if wanted(&value) {
                return Ok(value);
            }
            self.changed()?;
        }
    }

    fn changed_until(&mut self, deadline: Option<Instant>) -> Result<(), ReceiveError> {
        begin()?;
        let place = {
            let mut state = locked(&self.shared);
            if let Some(news) = state.news(self.seen) {
                self.seen = state.version;
                return news;
            }
            state.waiting.push(Claimant::current())
        };
        let (_, waited) = await_place(Telling::Error, deadline, "a change", |waits| {
            locked(&self.shared).waiting.leave_unless(place, waits)
        });
        match (self.take(), waited) {
            (Some(news), _) => news,
            (None, Ok(())) => Err(ReceiveError::Elapsed),
            (None, Err(interrupted)) => {
                pass_on(&interrupted);
                Err(ReceiveError::Interrupted)
            }
        }
    }

    fn take(&mut self) -> Option<Result<(), ReceiveError>> {
        let state = locked(&self.shared);
        let news = state.news(self.seen);
        self.seen = state.version;
        news
    }

    /// The wait for a change, as one of several: see [`first_of`](crate::first_of).
    pub fn changing(&mut self) -> Changing<'_, T> {
        Changing { receiver: self, place: None, news: None }
    }
}

/// A wait for a change of a value, as one of several.
pub struct Changing<'a, T> {
    receiver: &'a mut Receiver<T>,
    place: Option<Place>,
    news: Option<Result<(), ReceiveError>>,
}

impl<T> Branch for Changing<'_, T> {
    type Output = Result<(), ReceiveError>;

    fn output(&mut self) -> Result<(), ReceiveError> {
        first(self.news.take())
    }
}

impl<T> Listed for Changing<'_, T> {
    fn take_now(&mut self) -> bool {
        if self.news.is_none() {
            self.news = self.receiver.take();
        }
        self.news.is_some()
    }

    fn list(&mut self, ticket: &Ticket) -> bool {
        let mut state = locked(&self.receiver.shared);
        let waits = state.news(self.receiver.seen).is_none();
        if waits {
            self.place = Some(state.waiting.push(Claimant::with(ticket)));
        }
        waits
    }

    /// The next look finds what it was served for.
    fn leave(&mut self) -> bool {
        if let Some(place) = self.place.take() {
            drop(locked(&self.receiver.shared).waiting.leave(place));
        }
        false
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        locked(&self.0).senders += 1;
        Sender(Arc::clone(&self.0))
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        locked(&self.shared).receivers += 1;
        Receiver { shared: Arc::clone(&self.shared), seen: self.seen }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waiting = {
            let mut state = locked(&self.0);
            state.senders -= 1;
            if state.senders == 0 { state.waiting.serve_all(|| ()) } else { Vec::new() }
        };
        wake_all(waiting);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let closing = {
            let mut state = locked(&self.shared);
            state.receivers -= 1;
            if state.receivers == 0 { state.closing.serve_all(|| ()) } else { Vec::new() }
        };
        wake_all(closing);
    }
}

impl<T: fmt::Debug> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.borrow()).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("value", &self.borrow()).field("changed", &self.has_changed()).finish()
    }
}

impl<T> fmt::Debug for Changing<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changing").field("news", &self.news).finish()
    }
}
