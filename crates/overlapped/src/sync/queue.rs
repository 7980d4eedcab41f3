//! Queues: values in order, some of them stored in between, until the queue is closed.
//!
//! A bounded queue makes those that put wait while it is full: a producer is held to the pace of its consumers. Both sides
//! are served in the order asked. A value is in one place always: with the one that puts, in the queue, or with the one that
//! gets; who leaves its wait takes its value along, or has it given already.
//!
//! **Capacity.** A queue of 0 stores nothing: each value goes from one that puts to one that gets, as in a channel of Go's or
//! of the standard library's. (In Python `Queue(0)` is one that is never full, as `queue.Queue(0)`, for which programs are
//! written; there, a `Channel` hands over.) One that is never full is [`Queue::new`] here.
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
use crate::select::{Branch, Listed, first};
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
    /// Each with its value. Served with nothing where that went in, and with the value where the queue was closed.
    putters: WaitList<(Claimant, T), Option<T>>,
    /// Served with a value, or with nothing any more.
    getters: WaitList<Claimant, Option<T>>,
    closed: bool,
}

impl<T> State<T> {
    /// The next value, whose place goes to the putter that has waited longest: it is to be woken.
    fn pop(&mut self) -> Option<(T, Option<Waiter>)> {
        let mut admit = || self.putters.serve(None).ok();
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

    /// A queue that stores at most `capacity` values; one of 0 hands each from one to the other (in Python, other than here,
    /// `Queue(0)` is never full).
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
        let (left, waited) =
            await_place(Telling::Error, deadline, "queue put", |waits| self.state().putters.leave_unless(place, waits));
        match (left, waited) {
            (Left::Served(None), _) => Ok(()),
            (Left::Served(Some(value)), _) => Err(SendError::Closed(value)),
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
        let (left, waited) =
            await_place(Telling::Error, deadline, "queue get", |waits| self.state().getters.leave_unless(place, waits));
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
            let mut waiters = Vec::new();
            while let Ok((place, (putter, value))) = state.putters.serve_at(None) {
                *state.putters.served(place).expect("it was served just now") = Some(value);
                waiters.push(putter.waiter);
            }
            waiters.extend(state.getters.serve_all(|| None).into_iter().map(|getter| getter.waiter));
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

    /// The wait for room for `value`, as one of several: see [`first_of`](crate::first_of). One that is not the first has
    /// not put it in, and can be waited for again, or [gives it back](Putting::into_inner).
    ///
    /// ```
    /// use overlapped::{Queue, after, first_of};
    /// use std::time::Duration;
    /// overlapped::run(|| {
    ///     let full = Queue::bounded(1);
    ///     full.put("old").unwrap();
    ///     let mut put = full.putting("new");
    ///     assert_eq!(first_of(&mut [&mut put, &mut after(Duration::from_millis(5))])?, 1);
    ///     assert_eq!(put.into_inner(), Some("new"));
    ///     std::io::Result::Ok(())
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn putting(&self, value: T) -> Putting<'_, T> {
        Putting { queue: self, place: None, value: Some(value), put: None }
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
    /// asked for is what this branch brings next, and is dropped with it.
    pub fn take(&mut self) -> Option<Result<T, ReceiveError>> {
        self.taken.take()
    }
}

impl<T> Branch for Getting<'_, T> {
    type Output = Result<T, ReceiveError>;

    fn output(&mut self) -> Result<T, ReceiveError> {
        first(self.take())
    }
}

impl<T> Listed for Getting<'_, T> {
    fn take_now(&mut self) -> bool {
        if self.taken.is_none() {
            self.taken = match self.queue.try_get() {
                Err(ReceiveError::Elapsed) => None,
                got => Some(got),
            };
        }
        self.taken.is_some()
    }

    fn list(&mut self, ticket: &Ticket) -> bool {
        let mut state = self.queue.state();
        let is_ready = !state.values.is_empty() || state.closed || state.putters.has_other(ticket);
        if !is_ready {
            self.place = Some(state.getters.push(Claimant::with(ticket)));
        }
        !is_ready
    }

    fn leave(&mut self) -> bool {
        if let Some(Left::Served(value)) = self.place.take().map(|place| self.queue.state().getters.leave(place)) {
            self.taken = Some(value.ok_or(ReceiveError::Closed));
        }
        self.taken.is_some()
    }
}

/// A wait for room in a [`Queue`], as one of several.
pub struct Putting<'a, T> {
    queue: &'a Queue<T>,
    place: Option<Place>,
    value: Option<T>,
    put: Option<Result<(), SendError<T>>>,
}

impl<T> Putting<'_, T> {
    /// How it went, once [`first_of`](crate::first_of) has named this: it was put in, or the queue is closed. After that
    /// there is nothing to put, and this is never the first again.
    pub fn take(&mut self) -> Option<Result<(), SendError<T>>> {
        self.put.take()
    }

    /// The value, where it was not put in.
    pub fn into_inner(self) -> Option<T> {
        self.value.or_else(|| self.put?.err().map(SendError::into_inner))
    }

    fn ended(&mut self, put: Result<(), SendError<T>>) -> bool {
        self.put = Some(put);
        true
    }
}

impl<T> Branch for Putting<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn output(&mut self) -> Result<(), SendError<T>> {
        first(self.take())
    }
}

impl<T> Listed for Putting<'_, T> {
    fn take_now(&mut self) -> bool {
        let Some(value) = self.value.take() else { return self.put.is_some() };
        match self.queue.try_put(value) {
            Err(SendError::Elapsed(value)) => {
                self.value = Some(value);
                false
            }
            put => self.ended(put),
        }
    }

    fn list(&mut self, ticket: &Ticket) -> bool {
        let mut state = self.queue.state();
        let is_ready = state.closed || state.values.len() < state.capacity || state.getters.has_other(ticket);
        if is_ready {
            return self.value.is_none();
        }
        self.place = self.value.take().map(|value| state.putters.push((Claimant::with(ticket), value)));
        true
    }

    fn leave(&mut self) -> bool {
        let Some(place) = self.place.take() else { return false };
        let left = self.queue.state().putters.leave(place);
        match left {
            Left::Served(None) => self.ended(Ok(())),
            Left::Served(Some(value)) => self.ended(Err(SendError::Closed(value))),
            Left::Waiting((_, value)) => {
                self.value = Some(value);
                false
            }
        }
    }
}

impl<T> fmt::Debug for Putting<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Putting").field("queue", self.queue).field("put", &self.put).finish()
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
