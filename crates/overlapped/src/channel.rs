//! Channels: the rendezvous between tasklets, with Stackless's semantics.
//!
//! A send waits for a receiver and a receive for a sender; nothing is stored in between. Who goes on running when the
//! two have met is the channel's *preference*; how many wait is its *balance*: positive for senders, negative for
//! receivers (`stackless.channel` in Stackless Python's documentation).
//!
//! A channel works between threads as well: the one that waits is woken where it is, and preference means nothing then.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;

use crate::interrupt::Interrupted;
use crate::scheduler::{Waiter, park};

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

/// One who waits, and the place of what it gives or gets.
struct Waiting {
    waiter: Waiter,
    place: usize,
}

enum Exchange<T> {
    /// A receiver waits.
    Wanted,
    /// The value of a sender that waits, or the one that has come for a receiver.
    Value(T),
    /// The sender's value was taken.
    Taken,
}

struct Queue<T> {
    senders: VecDeque<Waiting>,
    receivers: VecDeque<Waiting>,
    exchanges: Slab<Exchange<T>>,
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

/// Why a send came to nothing; the value comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendError<T> {
    /// The channel is closed and no receiver waits.
    Closed(T),
    /// The wait was given up: a foreign tasklet was interrupted, or the thread is panicking.
    Interrupted(T),
}

/// Why a receive came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiveError {
    /// The channel is closed and no sender waits.
    Closed,
    /// The wait was given up: a foreign tasklet was interrupted, or the thread is panicking.
    Interrupted,
}

impl<T> Channel<T> {
    /// Makes a channel, with [`Preference::Receiver`].
    pub fn new() -> Channel<T> {
        Channel {
            queue: Arc::new(Mutex::new(Queue {
                senders: VecDeque::new(),
                receivers: VecDeque::new(),
                exchanges: Slab::new(),
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
    /// # Errors
    /// [`SendError::Closed`] where it would have to wait and the channel is closed.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let mut queue = self.queue();
        if let Some(receiver) = queue.receivers.pop_front() {
            queue.exchanges[receiver.place] = Exchange::Value(value);
            let at_once = queue.preference == Preference::Receiver;
            drop(queue);
            meet(&receiver.waiter, at_once);
            return Ok(());
        }
        if queue.closing {
            return Err(SendError::Closed(value));
        }
        let place = queue.exchanges.insert(Exchange::Value(value));
        queue.senders.push_back(Waiting { waiter: Waiter::current(), place });
        drop(queue);
        loop {
            let parked = park(None, "channel send");
            let mut queue = self.queue();
            if matches!(queue.exchanges[place], Exchange::Taken) {
                queue.exchanges.remove(place);
                return Ok(());
            }
            if let Err(interrupted) = parked {
                queue.senders.retain(|waiting| waiting.place != place);
                let Exchange::Value(value) = queue.exchanges.remove(place) else { unreachable!("it was not taken") };
                drop(queue);
                interrupted.raise_here();
                return Err(SendError::Interrupted(value));
            }
        }
    }

    /// Takes a value from a sender, waiting for one.
    ///
    /// # Errors
    /// [`ReceiveError::Closed`] where it would have to wait and the channel is closed.
    pub fn receive(&self) -> Result<T, ReceiveError> {
        let mut queue = self.queue();
        if let Some(sender) = queue.senders.pop_front() {
            let taken = std::mem::replace(&mut queue.exchanges[sender.place], Exchange::Taken);
            let at_once = queue.preference == Preference::Sender;
            drop(queue);
            let Exchange::Value(value) = taken else { unreachable!("a sender that waits has a value") };
            meet(&sender.waiter, at_once);
            return Ok(value);
        }
        if queue.closing {
            return Err(ReceiveError::Closed);
        }
        let place = queue.exchanges.insert(Exchange::Wanted);
        queue.receivers.push_back(Waiting { waiter: Waiter::current(), place });
        drop(queue);
        loop {
            let parked = park(None, "channel receive");
            let mut queue = self.queue();
            if matches!(queue.exchanges[place], Exchange::Value(_)) {
                let Exchange::Value(value) = queue.exchanges.remove(place) else { unreachable!("just looked") };
                return Ok(value);
            }
            if let Err(interrupted) = parked {
                queue.receivers.retain(|waiting| waiting.place != place);
                queue.exchanges.remove(place);
                drop(queue);
                interrupted.raise_here();
                return Err(ReceiveError::Interrupted);
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
        queue.closing && queue.senders.is_empty() && queue.receivers.is_empty()
    }
}

/// The other side has what it waited for: it runs now, or after those that are ready.
fn meet(other: &Waiter, at_once: bool) {
    if at_once {
        // The exchange is done; an interrupt that comes now is for the next wait.
        let _: Result<(), Interrupted> = other.wake_and_yield();
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
            SendError::Closed(value) | SendError::Interrupted(value) => value,
        }
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Closed(_) => "send on a closed channel",
            SendError::Interrupted(_) => "the send was interrupted",
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
            ReceiveError::Closed => "receive on a closed channel",
            ReceiveError::Interrupted => "the receive was interrupted",
        })
    }
}

impl std::error::Error for ReceiveError {}
