//! Queues: values in order, some of them stored in between, until the queue is closed.
//!
//! A bounded queue makes those that put wait while it is full: a producer is held to the pace of its consumers. Both sides
//! are served in the order asked. A value is in one place always: with the one that puts, in the queue, or with the one that
//! gets; who leaves its wait takes its value along, or has it given already.
//!
//! **The end.** [`Queue::close`] lets nothing in any more, not from those either that wait to put: their values come back.
//! Getters take what is left, and then are told. (A [`Channel`](crate::Channel) keeps Stackless's rule: who waits already
//! can still be met. There nothing is stored, and so nothing is left over; here a producer whose consumer has closed the
//! queue and left would wait for ever.)

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::channel::{ReceiveError, SendError};
use crate::interrupt::Telling;
use crate::scheduler::{Waiter, await_place, pass_on, passed};
use crate::select::{Branch, Listed};
use crate::ticket::{Claimant, Ticket};
use crate::time::deadline_after;
use crate::wait_list::{Left, Place, WaitList};

/// Values in order, from many tasklets and threads to many; clones are the same queue.
///
/// ```
/// use overlapped::{Queue, spawn};
/// overlapped::run(|| {
///     let lines = Queue::bounded(2);
///     let theirs = lines.clone();
///     spawn(move || {
///         for line in ["one", "two", "three"] {
///             theirs.put(line).unwrap();
///         }
///         theirs.close();
///     });
///     assert_eq!(lines.iter().collect::<Vec<_>>(), ["one", "two", "three"]);
/// });
/// ```
pub struct Queue<T> {
    state: Arc<Mutex<State<T>>>,
}

struct State<T> {
    values: VecDeque<T>,
    capacity: usize,
    /// Each with its value.
    putters: WaitList<(Claimant, T)>,
    /// Served with a value, or with nothing any more.
    getters: WaitList<Claimant, Option<T>>,
    closed: bool,
}

impl<T> State<T> {
    /// The next value, whose place goes to the putter that has waited longest: it is to be woken.
    fn pop(&mut self) -> Option<(T, Option<Waiter>)> {
        let mut admit = || if self.closed { None } else { self.putters.serve(()).ok() };
        match self.values.pop_front() {
            None => admit().map(|(putter, value)| (value, Some(putter.waiter))),
            Some(value) => {
                let admitted = admit().map(|(putter, next)| {
                    self.values.push_back(next);
                    putter.waiter
                });
                Some((value, admitted))
            }
        }
    }

    /// Gives a value to a getter, which is to be woken, or stores it.
    ///
    /// # Errors
    /// The value, where there is no room.
    fn push(&mut self, value: T) -> Result<Option<Waiter>, T> {
        let value = match self.getters.serve(Some(value)) {
            Ok(getter) => return Ok(Some(getter.waiter)),
            Err(value) => value.expect("it was given"),
        };
        if self.values.len() >= self.capacity {
            return Err(value);
        }
        self.values.push_back(value);
        Ok(None)
    }
}

fn wake(waiter: Option<Waiter>) {
    if let Some(waiter) = waiter {
        waiter.wake();
    }
}

impl<T> Queue<T> {
    /// A queue that is never full.
    pub fn new() -> Queue<T> {
        Queue::bounded(usize::MAX)
    }

    /// A queue that stores at most `capacity` values; one of 0 hands each from one to the other.
    pub fn bounded(capacity: usize) -> Queue<T> {
        let (putters, getters) = (WaitList::default(), WaitList::default());
        let state = State { values: VecDeque::new(), capacity, putters, getters, closed: false };
        Queue { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a value at the end, waiting for room.
    ///
    /// # Errors
    /// With the value: [`SendError::Closed`] where the queue is closed, also meanwhile; [`SendError::Interrupted`].
    pub fn put(&self, value: T) -> Result<(), SendError<T>> {
        self.put_until(value, None)
    }

    /// As [`Queue::put`], but waits no longer than `duration`.
    ///
    /// # Errors
    /// As for [`Queue::put`]; [`SendError::Elapsed`] where there was no room in time.
    pub fn put_timeout(&self, value: T, duration: Duration) -> Result<(), SendError<T>> {
        self.put_until(value, Some(deadline_after(duration)))
    }

    /// Adds a value if that needs no waiting.
    ///
    /// # Errors
    /// With the value: [`SendError::Closed`]; [`SendError::Elapsed`] where there is no room.
    pub fn try_put(&self, value: T) -> Result<(), SendError<T>> {
        let pushed = {
            let mut state = self.state();
            if state.closed {
                return Err(SendError::Closed(value));
            }
            state.push(value)
        };
        pushed.map(wake).map_err(SendError::Elapsed)
    }

    fn put_until(&self, value: T, deadline: Option<Instant>) -> Result<(), SendError<T>> {
        if let Err(interrupted) = passed(Telling::Error) {
            pass_on(&interrupted);
            return Err(SendError::Interrupted(value));
        }
        let place = {
            let mut state = self.state();
            if state.closed {
                return Err(SendError::Closed(value));
            }
            match state.push(value) {
                Ok(getter) => {
                    drop(state);
                    wake(getter);
                    return Ok(());
                }
                Err(value) => state.putters.push((Claimant::current(), value)),
            }
        };
        let ((left, closed), waited) = await_place(Telling::Error, deadline, "queue put", |waits| {
            let mut state = self.state();
            let over = !waits || state.closed || state.putters.is_served(place);
            over.then(|| (state.putters.leave(place), state.closed))
        });
        match (left, waited) {
            (Left::Served(()), _) => Ok(()),
            (Left::Waiting((_, value)), _) if closed => Err(SendError::Closed(value)),
            (Left::Waiting((_, value)), Ok(())) => Err(SendError::Elapsed(value)),
            (Left::Waiting((_, value)), Err(interrupted)) => {
                pass_on(&interrupted);
                Err(SendError::Interrupted(value))
            }
        }
    }

    /// Takes the first value, waiting for one.
    ///
    /// # Errors
    /// [`ReceiveError::Closed`] where the queue is closed and nothing is left; [`ReceiveError::Interrupted`].
    pub fn get(&self) -> Result<T, ReceiveError> {
        self.get_until(None)
    }

    /// As [`Queue::get`], but waits no longer than `duration`.
    ///
    /// # Errors
    /// As for [`Queue::get`]; [`ReceiveError::Elapsed`] where none came in time.
    pub fn get_timeout(&self, duration: Duration) -> Result<T, ReceiveError> {
        self.get_until(Some(deadline_after(duration)))
    }

    /// Takes the first value if that needs no waiting.
    ///
    /// # Errors
    /// [`ReceiveError::Closed`]; [`ReceiveError::Elapsed`] where there is none.
    pub fn try_get(&self) -> Result<T, ReceiveError> {
        let (popped, closed) = {
            let mut state = self.state();
            (state.pop(), state.closed)
        };
        let (value, putter) = popped.ok_or(if closed { ReceiveError::Closed } else { ReceiveError::Elapsed })?;
        wake(putter);
        Ok(value)
    }

    fn get_until(&self, deadline: Option<Instant>) -> Result<T, ReceiveError> {
        if let Err(interrupted) = passed(Telling::Error) {
            pass_on(&interrupted);
            return Err(ReceiveError::Interrupted);
        }
        let place = {
            let mut state = self.state();
            if let Some((value, putter)) = state.pop() {
                drop(state);
                wake(putter);
                return Ok(value);
            }
            if state.closed {
                return Err(ReceiveError::Closed);
            }
            state.getters.push(Claimant::current())
        };
        let (left, waited) = await_place(Telling::Error, deadline, "queue get", |waits| {
            let mut state = self.state();
            (!waits || state.getters.is_served(place)).then(|| state.getters.leave(place))
        });
        match (left, waited) {
            (Left::Served(value), _) => value.ok_or(ReceiveError::Closed),
            (Left::Waiting(_), Ok(())) => Err(ReceiveError::Elapsed),
            (Left::Waiting(_), Err(interrupted)) => {
                pass_on(&interrupted);
                Err(ReceiveError::Interrupted)
            }
        }
    }

    /// Takes values until the queue is closed and nothing is left; ends too where the tasklet is told to leave.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.get().ok())
    }

    /// Lets nothing in any more. What is in the queue can still be taken; those that wait are told, putters with their values.
    pub fn close(&self) {
        let waiters: Vec<Waiter> = {
            let mut state = self.state();
            state.closed = true;
            let mut waiters: Vec<Waiter> = state.putters.iter().map(|(putter, _)| putter.waiter.clone()).collect();
            waiters.extend(std::iter::from_fn(|| state.getters.serve(None).ok()).map(|getter| getter.waiter));
            waiters
        };
        waiters.iter().for_each(Waiter::wake);
    }

    /// Whether [`Queue::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// How many values are stored.
    pub fn len(&self) -> usize {
        self.state().values.len()
    }

    /// Whether none is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The wait for a value, as one of several: see [`first_of`](crate::first_of).
    pub fn getting(&self) -> Getting<'_, T> {
        Getting { queue: self, place: None, taken: None }
    }
}

/// A wait for a value of a [`Queue`], as one of several.
pub struct Getting<'a, T> {
    queue: &'a Queue<T>,
    place: Option<Place>,
    taken: Option<Result<T, ReceiveError>>,
}

impl<T> Getting<'_, T> {
    /// What was taken, or that the queue is closed, once [`first_of`](crate::first_of) has named this. A value that is not
    /// asked for is dropped with this.
    pub fn take(&mut self) -> Option<Result<T, ReceiveError>> {
        self.taken.take()
    }
}

impl<T> Branch for Getting<'_, T> {}

impl<T> Listed for Getting<'_, T> {
    fn list(&mut self, ticket: &Ticket) {
        let mut state = self.queue.state();
        let is_ready = !state.values.is_empty() || state.closed || state.putters.len() > 0;
        if !is_ready {
            self.place = Some(state.getters.push(Claimant::with(ticket)));
        } else if ticket.claim() {
            let popped = state.pop();
            drop(state);
            self.taken = Some(popped.ok_or(ReceiveError::Closed).map(|(value, putter)| {
                wake(putter);
                value
            }));
        }
    }

    fn leave(&mut self) -> bool {
        if let Some(Left::Served(value)) = self.place.take().map(|place| self.queue.state().getters.leave(place)) {
            self.taken = Some(value.ok_or(ReceiveError::Closed));
        }
        self.taken.is_some()
    }
}

impl<T> fmt::Debug for Getting<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Getting").field("queue", self.queue).field("taken", &self.taken.is_some()).finish()
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Queue<T> {
        Queue { state: Arc::clone(&self.state) }
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue::new()
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Queue").field("length", &state.values.len()).field("closed", &state.closed).finish()
    }
}
