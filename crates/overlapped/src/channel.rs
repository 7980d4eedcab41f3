//! Channels: the rendezvous between tasklets, with Stackless's semantics.
//!
//! A send waits for a receiver and a receive for a sender; nothing is stored in between. Who goes on running when the
//! two have met is the channel's *preference*; how many wait is its *balance*: positive for senders, negative for
//! receivers (`stackless.channel` in Stackless Python's documentation).
//!
//! A channel works between threads as well: the one that waits is woken where it is, and preference means nothing then.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::interrupt::Telling;
use crate::scheduler::{Waiter, await_place, pass_on, passed};
use crate::select::{Branch, Listed, first};
use crate::ticket::{Claimant, Ticket};
use crate::time::deadline_after;
use crate::wait_list::{Left, Place, WaitList};

/// Who goes on running when a sender and a receiver of one thread have met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Preference {
    /// The receiver runs at once, the sender after those that are ready. Stackless's -1, and what a channel begins with.
    #[default]
    Receiver,
    /// Whoever came second, and so found the other waiting, runs on. Stackless's 0.
    Neither,
    /// The sender runs at once, the receiver after those that are ready. Stackless's 1.
    Sender,
}

struct Queue<T> {
    /// Each with its value.
    senders: WaitList<(Claimant, T)>,
    /// Served with a value.
    receivers: WaitList<Claimant, T>,
    preference: Preference,
    closing: bool,
}

/// A rendezvous between tasklets; clones are the same channel.
///
/// ```
/// use overlapped::{Preference, channel, spawn};
/// overlapped::run(|| {
///     let numbers = channel();
///     numbers.set_preference(Preference::Sender);
///     let sender = numbers.clone();
///     spawn(move || {
///         for n in 0..3 {
///             sender.send(n).unwrap();
///         }
///         sender.close();
///     });
///     assert_eq!(numbers.iter().collect::<Vec<i32>>(), [0, 1, 2]);
/// });
/// ```
pub struct Channel<T> {
    queue: Arc<Mutex<Queue<T>>>,
}

/// Makes a channel.
pub fn channel<T>() -> Channel<T> {
    Channel::new()
}

/// Why a send, or a [`Queue::put`](crate::Queue::put), came to nothing; the value comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendError<T> {
    /// The channel is closed and no receiver waits; the queue is closed.
    Closed(T),
    /// No receiver came in time ([`Channel::send_timeout`]).
    Elapsed(T),
    /// The tasklet is to leave: it was cancelled, the time of a [`timeout`](crate::timeout()) round it is up, or it is a
    /// foreign one that was interrupted.
    Interrupted(T),
}

/// Why a receive, or a [`Queue::get`](crate::Queue::get), came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveError {
    /// The channel is closed and no sender waits; the queue is closed and empty.
    Closed,
    /// No sender came in time ([`Channel::receive_timeout`]).
    Elapsed,
    /// The tasklet is to leave: it was cancelled, the time of a [`timeout`](crate::timeout()) round it is up, or it is a
    /// foreign one that was interrupted.
    Interrupted,
}

impl<T> Channel<T> {
    /// Makes a channel, with [`Preference::Receiver`].
    pub fn new() -> Channel<T> {
        Channel {
            queue: Arc::new(Mutex::new(Queue {
                senders: WaitList::default(),
                receivers: WaitList::default(),
                preference: Preference::default(),
                closing: false,
            })),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives `value` to a receiver, waiting for one.
    ///
    /// Where a [`timeout`](crate::timeout()) round this drops the error, the value goes with it:
    /// [`Channel::send_timeout`] gives it back.
    ///
    /// # Errors
    /// [`SendError::Closed`] where it would have to wait and the channel is closed; [`SendError::Interrupted`].
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_until(value, None)
    }

    /// As [`Channel::send`], but waits no longer than `duration`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use overlapped::SendError;
    /// overlapped::run(|| {
    ///     let nobody = overlapped::channel();
    ///     let sent = nobody.send_timeout("precious", Duration::from_millis(5));
    ///     assert_eq!(sent, Err(SendError::Elapsed("precious")));
    /// });
    /// ```
    ///
    /// # Errors
    /// As for [`Channel::send`]; [`SendError::Elapsed`] where no receiver came in time.
    pub fn send_timeout(&self, value: T, duration: Duration) -> Result<(), SendError<T>> {
        self.send_until(value, Some(deadline_after(duration)))
    }

    /// As [`Channel::send`], but waits no longer than until `deadline`.
    ///
    /// # Errors
    /// As for [`Channel::send_timeout`].
    pub fn send_until(&self, value: T, deadline: Option<Instant>) -> Result<(), SendError<T>> {
        if let Err(interrupted) = passed(Telling::Error) {
            pass_on(&interrupted);
            return Err(SendError::Interrupted(value));
        }
        let place = {
            let mut queue = self.queue();
            let value = match queue.receivers.serve(value) {
                Ok(receiver) => {
                    let at_once = queue.preference == Preference::Receiver;
                    drop(queue);
                    meet(&receiver.waiter, at_once);
                    return Ok(());
                }
                Err(value) => value,
            };
            if queue.closing {
                return Err(SendError::Closed(value));
            }
            queue.senders.push((Claimant::current(), value))
        };
        let (left, waited) = await_place(Telling::Error, deadline, "channel send", |waits| {
            self.queue().senders.leave_unless(place, waits)
        });
        match (left, waited) {
            (Left::Served(()), _) => Ok(()),
            (Left::Waiting((_, value)), Ok(())) => Err(SendError::Elapsed(value)),
            (Left::Waiting((_, value)), Err(interrupted)) => {
                pass_on(&interrupted);
                Err(SendError::Interrupted(value))
            }
        }
    }

    /// Takes a value from a sender, waiting for one.
    ///
    /// # Errors
    /// [`ReceiveError::Closed`] where it would have to wait and the channel is closed; [`ReceiveError::Interrupted`].
    pub fn receive(&self) -> Result<T, ReceiveError> {
        self.receive_until(None)
    }

    /// As [`Channel::receive`], but waits no longer than `duration`.
    ///
    /// # Errors
    /// As for [`Channel::receive`]; [`ReceiveError::Elapsed`] where no sender came in time.
    pub fn receive_timeout(&self, duration: Duration) -> Result<T, ReceiveError> {
        self.receive_until(Some(deadline_after(duration)))
    }

    /// As [`Channel::receive`], but waits no longer than until `deadline`.
    ///
    /// # Errors
    /// As for [`Channel::receive_timeout`].
    pub fn receive_until(&self, deadline: Option<Instant>) -> Result<T, ReceiveError> {
        if let Err(interrupted) = passed(Telling::Error) {
            pass_on(&interrupted);
            return Err(ReceiveError::Interrupted);
        }
        let place = {
            let mut queue = self.queue();
            if let Ok((sender, value)) = queue.senders.serve(()) {
                let at_once = queue.preference == Preference::Sender;
                drop(queue);
                meet(&sender.waiter, at_once);
                return Ok(value);
            }
            if queue.closing {
                return Err(ReceiveError::Closed);
            }
            queue.receivers.push(Claimant::current())
        };
        let (left, waited) = await_place(Telling::Error, deadline, "channel receive", |waits| {
            self.queue().receivers.leave_unless(place, waits)
        });
        match (left, waited) {
            (Left::Served(value), _) => Ok(value),
            (Left::Waiting(_), Ok(())) => Err(ReceiveError::Elapsed),
            (Left::Waiting(_), Err(interrupted)) => {
                pass_on(&interrupted);
                Err(ReceiveError::Interrupted)
            }
        }
    }

    /// Receives until the channel is closed and no sender waits.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.receive().ok())
    }

    /// How many wait: senders as a positive number, receivers as a negative one.
    pub fn balance(&self) -> isize {
        let queue = self.queue();
        queue.senders.len() as isize - queue.receivers.len() as isize
    }

    /// Who runs on when two have met.
    pub fn preference(&self) -> Preference {
        self.queue().preference
    }

    /// Sets who runs on when two have met.
    pub fn set_preference(&self, preference: Preference) {
        self.queue().preference = preference;
    }

    /// Lets nobody wait on the channel from now on. Those that wait already stay, and can still be met; that is
    /// Stackless's rule, under which a closed channel only ever gets shorter.
    pub fn close(&self) {
        self.queue().closing = true;
    }

    /// Opens the channel again.
    pub fn open(&self) {
        self.queue().closing = false;
    }

    /// Whether [`Channel::close`] was called.
    pub fn is_closing(&self) -> bool {
        self.queue().closing
    }

    /// Whether it was closed and nobody waits any more.
    pub fn is_closed(&self) -> bool {
        let queue = self.queue();
        queue.closing && queue.senders.len() == 0 && queue.receivers.len() == 0
    }
}

impl<T> Channel<T> {
    /// The wait for a value, as one of several: see [`first_of`](crate::first_of).
    pub fn receiving(&self) -> Receiving<'_, T> {
        Receiving { channel: self, place: None, taken: None }
    }

    /// The wait for a receiver of `value`, as one of several: see [`first_of`](crate::first_of). One that is not the first
    /// has not sent it, and can be waited for again, or [gives it back](Sending::into_inner).
    ///
    /// ```
    /// use overlapped::{after, channel, first_of, spawn};
    /// use std::time::Duration;
    /// overlapped::run(|| {
    ///     let words = channel();
    ///     let mut sent = words.sending("hello");
    ///     assert_eq!(first_of(&mut [&mut sent, &mut after(Duration::from_millis(5))])?, 1);
    ///     let theirs = words.clone();
    ///     let receiver = spawn(move || theirs.receive());
    ///     assert_eq!(first_of(&mut [&mut sent])?, 0);
    ///     assert_eq!((sent.take(), receiver.join().unwrap()), (Some(Ok(())), Ok("hello")));
    ///     std::io::Result::Ok(())
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn sending(&self, value: T) -> Sending<'_, T> {
        Sending { channel: self, place: None, value: Some(value), sent: None }
    }
}

/// A wait for a value of a [`Channel`], as one of several.
pub struct Receiving<'a, T> {
    channel: &'a Channel<T>,
    place: Option<Place>,
    taken: Option<Result<T, ReceiveError>>,
}

impl<T> Receiving<'_, T> {
    /// What was received, or that the channel is closed, once [`first_of`](crate::first_of) has named this. A value that is
    /// not asked for is what this branch brings next, and is dropped with it.
    pub fn take(&mut self) -> Option<Result<T, ReceiveError>> {
        self.taken.take()
    }
}

impl<T> Branch for Receiving<'_, T> {
    type Output = Result<T, ReceiveError>;

    fn output(&mut self) -> Result<T, ReceiveError> {
        first(self.take())
    }
}

impl<T> Listed for Receiving<'_, T> {
    fn take_now(&mut self) -> bool {
        if self.taken.is_some() {
            return true;
        }
        let mut queue = self.channel.queue();
        self.taken = match queue.senders.serve(()) {
            Ok((sender, value)) => {
                drop(queue);
                // Whatever the preference: this tasklet goes on, and learns which branch it is.
                sender.waiter.wake();
                Some(Ok(value))
            }
            Err(()) => queue.closing.then_some(Err(ReceiveError::Closed)),
        };
        self.taken.is_some()
    }

    fn list(&mut self, ticket: &Ticket) -> bool {
        let mut queue = self.channel.queue();
        let is_ready = queue.closing || queue.senders.has_other(ticket);
        if !is_ready {
            self.place = Some(queue.receivers.push(Claimant::with(ticket)));
        }
        !is_ready
    }

    fn leave(&mut self) -> bool {
        if let Some(Left::Served(value)) = self.place.take().map(|place| self.channel.queue().receivers.leave(place)) {
            self.taken = Some(Ok(value));
        }
        self.taken.is_some()
    }
}

impl<T> fmt::Debug for Receiving<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiving").field("channel", self.channel).field("taken", &self.taken.is_some()).finish()
    }
}

/// A wait for a receiver of a value, as one of several.
pub struct Sending<'a, T> {
    channel: &'a Channel<T>,
    place: Option<Place>,
    value: Option<T>,
    sent: Option<Result<(), SendError<T>>>,
}

impl<T> Sending<'_, T> {
    /// How it went, once [`first_of`](crate::first_of) has named this: it was sent, or the channel is closed. After that
    /// there is nothing to send, and this is never the first again.
    pub fn take(&mut self) -> Option<Result<(), SendError<T>>> {
        self.sent.take()
    }

    /// The value, where it was not sent.
    pub fn into_inner(self) -> Option<T> {
        self.value.or_else(|| self.sent?.err().map(SendError::into_inner))
    }
}

impl<T> Branch for Sending<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn output(&mut self) -> Result<(), SendError<T>> {
        first(self.take())
    }
}

impl<T> Listed for Sending<'_, T> {
    fn take_now(&mut self) -> bool {
        let Some(value) = self.value.take() else { return self.sent.is_some() };
        let mut queue = self.channel.queue();
        self.sent = match queue.receivers.serve(value) {
            Ok(receiver) => {
                drop(queue);
                receiver.waiter.wake();
                Some(Ok(()))
            }
            Err(value) if queue.closing => Some(Err(SendError::Closed(value))),
            Err(value) => {
                self.value = Some(value);
                None
            }
        };
        self.sent.is_some()
    }

    fn list(&mut self, ticket: &Ticket) -> bool {
        let mut queue = self.channel.queue();
        if queue.closing || queue.receivers.has_other(ticket) {
            return self.value.is_none();
        }
        self.place = self.value.take().map(|value| queue.senders.push((Claimant::with(ticket), value)));
        true
    }

    fn leave(&mut self) -> bool {
        let Some(place) = self.place.take() else { return false };
        match self.channel.queue().senders.leave(place) {
            Left::Served(()) => self.sent = Some(Ok(())),
            Left::Waiting((_, value)) => self.value = Some(value),
        }
        self.sent.is_some()
    }
}

impl<T> fmt::Debug for Sending<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").field("channel", self.channel).field("sent", &self.sent).finish()
    }
}

/// The other side has what it waited for: it runs now, or after those that are ready.
fn meet(other: &Waiter, at_once: bool) {
    if at_once {
        // The exchange is done; what this tasklet is told meanwhile is for the next wait.
        other.wake_and_yield();
    } else {
        other.wake();
    }
}

impl<T> Clone for Channel<T> {
    fn clone(&self) -> Channel<T> {
        Channel { queue: Arc::clone(&self.queue) }
    }
}

impl<T> Default for Channel<T> {
    fn default() -> Channel<T> {
        Channel::new()
    }
}

impl<T> fmt::Debug for Channel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("balance", &self.balance()).field("closing", &self.is_closing()).finish()
    }
}

impl<T> SendError<T> {
    /// The value that was not sent.
    pub fn into_inner(self) -> T {
        match self {
            SendError::Closed(value) | SendError::Elapsed(value) | SendError::Interrupted(value) => value,
        }
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Closed(_) => "nothing is sent any more: it is closed",
            SendError::Elapsed(_) => "nobody took the value in time",
            SendError::Interrupted(_) => "the sender was told to leave",
        })
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendError({self})")
    }
}

impl<T> std::error::Error for SendError<T> {}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReceiveError::Closed => "nothing comes any more: it is closed",
            ReceiveError::Elapsed => "no value came in time",
            ReceiveError::Interrupted => "the receiver was told to leave",
        })
    }
}

impl std::error::Error for ReceiveError {}
