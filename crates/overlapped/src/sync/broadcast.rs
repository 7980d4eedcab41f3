//! Values of which each receiver is given every one, unless it lags behind.
//!
//! The last values are kept in a ring, each under its number; a receiver knows the number that it is to be given next. A
//! sender never waits: what does not fit pushes out the oldest, and a receiver that had not seen it is *told how many* it has
//! missed. (Rejected: a sender that waits for the slowest. One that never receives would hold all; who wants that has a
//! [`Queue`](crate::Queue) for each.)
//!
//! A value is cloned for each receiver outside of the lock, for what a user's `clone` does may wait.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use overlapped_port::sim::now;

use crate::channel::SendError;
use crate::interrupt::Telling;
use crate::scheduler::{await_place, pass_on, passed};
use crate::select::{Branch, Listed, first};
use crate::ticket::{Claimant, Ticket, wake_all};
use crate::time::deadline_after;
use crate::wait_list::{Place, WaitList};

/// A ring of the last `capacity` values, by its ends.
///
/// ```
/// use overlapped::sync::broadcast::{self, ReceiveError};
/// overlapped::run(|| {
///     let (news, mut slow) = broadcast::channel(2);
///     let mut quick = news.subscribe();
///     news.send("one").unwrap();
///     assert_eq!(quick.receive(), Ok("one"));
///     news.send("two").unwrap();
///     news.send("three").unwrap();
///     assert_eq!(slow.receive(), Err(ReceiveError::Lagged(1)));
///     assert_eq!((slow.receive(), quick.receive()), (Ok("two"), Ok("two")));
///     drop(news);
///     assert_eq!((slow.receive(), slow.receive()), (Ok("three"), Err(ReceiveError::Closed)));
/// });
/// ```
///
/// # Panics
/// For a capacity of 0: nothing could be received.
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "overlapped::sync::broadcast::channel: a ring has room for one value or more");
    let state =
        State { values: VecDeque::new(), capacity, first: 0, senders: 1, receivers: 0, waiting: WaitList::new() };
    let sender = Sender(Arc::new(Mutex::new(state)));
    let receiver = sender.subscribe();
    (sender, receiver)
}

struct State<T> {
    /// The last ones, of which the first has the number `first`.
    values: VecDeque<Arc<T>>,
    first: u64,
    capacity: usize,
    senders: usize,
    receivers: usize,
    waiting: WaitList<Claimant>,
}

type Shared<T> = Arc<Mutex<State<T>>>;

fn locked<T>(shared: &Shared<T>) -> MutexGuard<'_, State<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> State<T> {
    /// The number of the value that comes next.
    fn end(&self) -> u64 {
        self.first + self.values.len() as u64
    }

    /// What the receiver is given next, which is counted on; `None` where it has to wait.
    fn next(&self, next: &mut u64) -> Option<Result<Arc<T>, ReceiveError>> {
        if *next < self.first {
            let missed = self.first - *next;
            *next = self.first;
            return Some(Err(ReceiveError::Lagged(missed)));
        }
        match self.values.get((*next - self.first) as usize) {
            Some(value) => {
                *next += 1;
                Some(Ok(Arc::clone(value)))
            }
            None => (self.senders == 0).then_some(Err(ReceiveError::Closed)),
        }
    }
}

/// The end that values go into; clones are others of the same ring. When the last is dropped, receivers are given what is
/// left for them, and then told.
pub struct Sender<T>(Shared<T>);

/// An end that values come from, each that was sent since it was made.
pub struct Receiver<T> {
    shared: Shared<T>,
    /// The number of what it is given next.
    next: u64,
}

/// Why a receiver was given nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveError {
    /// All senders are gone, and it has been given everything.
    Closed,
    /// It has missed so many values, which had to make room; it goes on with the oldest that is there.
    Lagged(u64),
    /// Nothing was sent in time.
    Elapsed,
    /// The tasklet is to leave: it was cancelled, or the time of a [`timeout`](crate::timeout()) round it is up.
    Interrupted,
}

impl<T> Sender<T> {
    /// Sends a value to all receivers; it never waits. Returns how many there are.
    ///
    /// # Errors
    /// [`SendError::Closed`], with the value, where there is none. One may be made later: [`Sender::subscribe`].
    pub fn send(&self, value: T) -> Result<usize, SendError<T>> {
        let (oldest, waiting, receivers) = {
            let mut state = locked(&self.0);
            if state.receivers == 0 {
                return Err(SendError::Closed(value));
            }
            let is_full = state.values.len() == state.capacity;
            let oldest = if is_full { state.values.pop_front() } else { None };
            state.first += u64::from(is_full);
            state.values.push_back(Arc::new(value));
            (oldest, state.waiting.serve_all(|| ()), state.receivers)
        };
        wake_all(waiting);
        drop(oldest);
        Ok(receivers)
    }

    /// One more receiver, of what is sent from now on.
    pub fn subscribe(&self) -> Receiver<T> {
        let mut state = locked(&self.0);
        state.receivers += 1;
        Receiver { shared: Arc::clone(&self.0), next: state.end() }
    }

    /// How many receivers there are.
    pub fn receivers(&self) -> usize {
        locked(&self.0).receivers
    }
}

impl<T: Clone> Receiver<T> {
    /// The next value, waiting for it.
    ///
    /// # Errors
    /// [`ReceiveError::Closed`], [`ReceiveError::Lagged`], [`ReceiveError::Interrupted`].
    pub fn receive(&mut self) -> Result<T, ReceiveError> {
        self.receive_until(None)
    }

    /// As [`Receiver::receive`], but waits no longer than `duration`.
    ///
    /// # Errors
    /// As for [`Receiver::receive`]; [`ReceiveError::Elapsed`] where none was sent in time.
    pub fn receive_timeout(&mut self, duration: Duration) -> Result<T, ReceiveError> {
        self.receive_until(Some(deadline_after(duration)))
    }

    /// The next value if that needs no waiting.
    ///
    /// # Errors
    /// [`ReceiveError::Closed`], [`ReceiveError::Lagged`]; [`ReceiveError::Elapsed`] where there is none.
    pub fn try_receive(&mut self) -> Result<T, ReceiveError> {
        let next = self.take().unwrap_or(Err(ReceiveError::Elapsed));
        next.map(Arc::unwrap_or_clone)
    }

    fn receive_until(&mut self, deadline: Option<Instant>) -> Result<T, ReceiveError> {
        if let Err(interrupted) = passed(Telling::Error) {
            pass_on(&interrupted);
            return Err(ReceiveError::Interrupted);
        }
        loop {
            let place = {
                let mut state = locked(&self.shared);
                if let Some(next) = state.next(&mut self.next) {
                    drop(state);
                    return next.map(Arc::unwrap_or_clone);
                }
                state.waiting.push(Claimant::current())
            };
            let (_, waited) = await_place(Telling::Error, deadline, "broadcast", |waits| {
                locked(&self.shared).waiting.leave_unless(place, waits)
            });
            match (self.take(), waited) {
                (Some(next), _) => return next.map(Arc::unwrap_or_clone),
                (None, Err(interrupted)) => {
                    pass_on(&interrupted);
                    return Err(ReceiveError::Interrupted);
                }
                (None, Ok(())) if deadline.is_some_and(|deadline| now() >= deadline) => {
                    return Err(ReceiveError::Elapsed);
                }
                (None, Ok(())) => {}
            }
        }
    }

    /// The wait for the next value, as one of several: see [`first_of`](crate::first_of).
    pub fn receiving(&mut self) -> Receiving<'_, T> {
        Receiving { receiver: self, place: None, taken: None }
    }
}

impl<T> Receiver<T> {
    fn take(&mut self) -> Option<Result<Arc<T>, ReceiveError>> {
        locked(&self.shared).next(&mut self.next)
    }

    /// How many values are there for it; of those that it has missed, none is.
    pub fn len(&self) -> usize {
        let state = locked(&self.shared);
        (state.end() - self.next.max(state.first)) as usize
    }

    /// Whether none is there for it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One more receiver, of what is sent from now on.
    pub fn resubscribe(&self) -> Receiver<T> {
        let mut state = locked(&self.shared);
        state.receivers += 1;
        Receiver { shared: Arc::clone(&self.shared), next: state.end() }
    }
}

/// A wait for a value of a [`Receiver`], as one of several.
pub struct Receiving<'a, T> {
    receiver: &'a mut Receiver<T>,
    place: Option<Place>,
    taken: Option<Result<T, ReceiveError>>,
}

impl<T: Clone> Receiving<'_, T> {
    /// What was received, once [`first_of`](crate::first_of) has named this. A value that is not asked for is what this branch
    /// brings next, and is dropped with it.
    pub fn take(&mut self) -> Option<Result<T, ReceiveError>> {
        self.taken.take()
    }
}

impl<T: Clone> Branch for Receiving<'_, T> {
    type Output = Result<T, ReceiveError>;

    fn output(&mut self) -> Result<T, ReceiveError> {
        first(self.take())
    }
}

impl<T: Clone> Listed for Receiving<'_, T> {
    fn take_now(&mut self) -> bool {
        if self.taken.is_none() {
            self.taken = self.receiver.take().map(|next| next.map(Arc::unwrap_or_clone));
        }
        self.taken.is_some()
    }

    fn list(&mut self, ticket: &Ticket) -> bool {
        let mut state = locked(&self.receiver.shared);
        let waits = state.senders > 0 && state.end() == self.receiver.next;
        if waits {
            self.place = Some(state.waiting.push(Claimant::with(ticket)));
        }
        waits
    }

    /// What it was served for is taken by the next look: there may be more than one receiver's clone could wait for here.
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
        let unseen = {
            let mut state = locked(&self.shared);
            state.receivers -= 1;
            let nobody = state.receivers == 0;
            if nobody {
                state.first = state.end();
            }
            // Nobody asks for these any more.
            if nobody { std::mem::take(&mut state.values) } else { VecDeque::new() }
        };
        drop(unseen);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("receivers", &self.receivers()).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("length", &self.len()).finish()
    }
}

impl<T> fmt::Debug for Receiving<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiving").field("receiver", &*self.receiver).field("taken", &self.taken.is_some()).finish()
    }
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReceiveError::Closed => f.write_str("nothing comes any more: all senders are gone"),
            ReceiveError::Lagged(missed) => write!(f, "{missed} values were missed"),
            ReceiveError::Elapsed => f.write_str("no value came in time"),
            ReceiveError::Interrupted => f.write_str("the receiver was told to leave"),
        }
    }
}

impl std::error::Error for ReceiveError {}
