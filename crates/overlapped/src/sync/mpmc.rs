//! A queue by its two ends: it closes when the last of either is gone.
//!
//! A [`Queue`] is closed by whoever knows that it is over. Often that is known by nobody but by the number of those that
//! could still send, and so each side has a handle of its own here, which is counted. Both may be cloned, and both work on
//! tasklets and on threads that have none: a tasklet waits alone, a thread is parked.
//!
//! Rejected: one receiver alone, as in `std::sync::mpsc`. Several cost nothing more, and are a pool of workers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::queue::{Getting, Putting, Queue};
use crate::channel::{ReceiveError, SendError};

/// A queue that stores at most `capacity` values, by its ends; one of 0 hands each value from one to the other.
///
/// ```
/// use overlapped::sync::mpmc;
/// overlapped::run(|| {
///     let (sender, receiver) = mpmc::bounded(2);
///     let worker = std::thread::spawn(move || receiver.iter().sum::<u32>());
///     for number in 0..5 {
///         sender.send(number).unwrap();
///     }
///     drop(sender);
///     assert_eq!(worker.join().unwrap(), 10);
/// });
/// ```
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    ends(Queue::bounded(capacity))
}

/// A queue that is never full, by its ends.
///
/// ```
/// use overlapped::{ReceiveError, sync::mpmc};
/// overlapped::run(|| {
///     let (sender, receiver) = mpmc::unbounded();
///     let other = sender.clone();
///     std::thread::spawn(move || other.send("from a thread"));
///     assert_eq!(receiver.receive(), Ok("from a thread"));
///     drop(sender);
///     assert_eq!(receiver.receive(), Err(ReceiveError::Closed));
/// });
/// ```
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    ends(Queue::new())
}

fn ends<T>(queue: Queue<T>) -> (Sender<T>, Receiver<T>) {
    (Sender(Arc::new(Sending(queue.clone()))), Receiver(Arc::new(Receiving(queue))))
}

/// What all senders share.
struct Sending<T>(Queue<T>);

impl<T> Drop for Sending<T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What all receivers share.
struct Receiving<T>(Queue<T>);

impl<T> Drop for Receiving<T> {
    fn drop(&mut self) {
        self.0.close();
        // Nobody asks for these any more.
        while let Ok(value) = self.0.try_get() {
            drop(value);
        }
    }
}

/// The end of a queue that values go into; clones are others of the same queue. When the last is dropped, the queue is
/// closed: receivers are given what is left, and then told.
pub struct Sender<T>(Arc<Sending<T>>);

/// The end of a queue that values come from, each to one receiver; clones are others of the same queue. When the last is
/// dropped, what is left is dropped, and senders are told.
pub struct Receiver<T>(Arc<Receiving<T>>);

impl<T> Sender<T> {
    /// Sends a value, waiting for room.
    ///
    /// # Errors
    /// With the value: [`SendError::Closed`] where all receivers are gone, also meanwhile; [`SendError::Interrupted`].
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.0.put(value)
    }

    /// As [`Sender::send`], but waits no longer than `duration`.
    ///
    /// # Errors
    /// As for [`Sender::send`]; [`SendError::Elapsed`] where there was no room in time.
    pub fn send_timeout(&self, value: T, duration: Duration) -> Result<(), SendError<T>> {
        self.0.0.put_timeout(value, duration)
    }

    /// Sends a value if that needs no waiting.
    ///
    /// # Errors
    /// With the value: [`SendError::Closed`]; [`SendError::Elapsed`] where there is no room.
    pub fn try_send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.0.try_put(value)
    }

    /// The wait for room for `value`, as one of several: see [`Queue::putting`].
    pub fn sending(&self, value: T) -> Putting<'_, T> {
        self.0.0.putting(value)
    }

    /// Whether all receivers are gone.
    pub fn is_closed(&self) -> bool {
        self.0.0.is_closed()
    }

    /// How many values are stored.
    pub fn len(&self) -> usize {
        self.0.0.len()
    }

    /// Whether none is stored.
    pub fn is_empty(&self) -> bool {
        self.0.0.is_empty()
    }
}

impl<T> Receiver<T> {
    /// Takes the first value, waiting for one.
    ///
    /// # Errors
    /// [`ReceiveError::Closed`] where all senders are gone and nothing is left; [`ReceiveError::Interrupted`].
    pub fn receive(&self) -> Result<T, ReceiveError> {
        self.0.0.get()
    }

    /// As [`Receiver::receive`], but waits no longer than `duration`.
    ///
    /// # Errors
    /// As for [`Receiver::receive`]; [`ReceiveError::Elapsed`] where none came in time.
    pub fn receive_timeout(&self, duration: Duration) -> Result<T, ReceiveError> {
        self.0.0.get_timeout(duration)
    }

    /// Takes the first value if that needs no waiting.
    ///
    /// # Errors
    /// [`ReceiveError::Closed`]; [`ReceiveError::Elapsed`] where there is none.
    pub fn try_receive(&self) -> Result<T, ReceiveError> {
        self.0.0.try_get()
    }

    /// The wait for a value, as one of several: see [`first_of`](crate::first_of).
    pub fn receiving(&self) -> Getting<'_, T> {
        self.0.0.getting()
    }

    /// Receives until all senders are gone and nothing is left; ends too where the tasklet is told to leave.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.0.0.iter()
    }

    /// Whether all senders are gone. What is left can still be received.
    pub fn is_closed(&self) -> bool {
        self.0.0.is_closed()
    }

    /// How many values are stored.
    pub fn len(&self) -> usize {
        self.0.0.len()
    }

    /// Whether none is stored.
    pub fn is_empty(&self) -> bool {
        self.0.0.is_empty()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender(Arc::clone(&self.0))
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        Receiver(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("length", &self.len()).field("closed", &self.is_closed()).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("length", &self.len()).field("closed", &self.is_closed()).finish()
    }
}
