//! What other threads tell a port: posted tokens, finished jobs; and how they wake it.
//!
//! A port that is awake looks into its inbox before it sleeps, so only a sleeping one needs a call into the kernel.
//! The order that loses nothing: a sender puts its message in, then looks whether the port sleeps; the port says that
//! it sleeps, then looks whether there is a message. Both pairs are sequentially consistent, so at least one sees the
//! other.
//!
//! In the child after fork(2) nobody reads it, and a thread that is not there may have held its locks: so it takes nothing.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::{Closed, Notify};
use crate::slots::OpId;
use crate::sys;

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
const NOTIFIED: u8 = 2;

#[derive(Debug)]
pub(crate) enum Message {
    Posted(u64),
    Finished(OpId, io::Result<usize>),
    Woken,
}

pub(crate) struct Inbox {
    messages: Mutex<Vec<Message>>,
    filled: AtomicBool,
    state: AtomicU8,
    notify: Mutex<Arc<dyn Notify>>,
    notified: AtomicU64,
    /// See [`sys::forks`].
    forks: u32,
}

impl Inbox {
    pub(crate) fn new(notify: Arc<dyn Notify>) -> Inbox {
        Inbox {
            messages: Mutex::default(),
            filled: AtomicBool::new(false),
            state: AtomicU8::new(AWAKE),
            notify: Mutex::new(notify),
            notified: AtomicU64::new(0),
            forks: sys::forks(),
        }
    }

    fn messages(&self) -> MutexGuard<'_, Vec<Message>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, message: Message) {
        if self.forks != sys::forks() {
            return;
        }
        {
            let mut messages = self.messages();
            if matches!(message, Message::Woken) && matches!(messages.last(), Some(Message::Woken)) {
                return;
            }
            messages.push(message);
            self.filled.store(true, Ordering::SeqCst);
        }
        if self.state.compare_exchange(ASLEEP, NOTIFIED, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.notified.fetch_add(1, Ordering::Relaxed);
            self.notify.lock().unwrap_or_else(PoisonError::into_inner).notify();
        }
    }

    /// The port is gone: whoever still holds a [`Waker`] keeps none of its descriptors open.
    pub(crate) fn close(&self) {
        *self.notify.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Closed("the port is gone"));
    }

    pub(crate) fn finished(&self, id: OpId, result: io::Result<usize>) {
        self.put(Message::Finished(id, result));
    }

    /// Before the port sleeps: false where it must not, for a message is there.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.state.store(ASLEEP, Ordering::SeqCst);
        if self.filled.load(Ordering::SeqCst) {
            self.state.store(AWAKE, Ordering::SeqCst);
            return false;
        }
        true
    }

    pub(crate) fn awake(&self) {
        self.state.store(AWAKE, Ordering::SeqCst);
    }

    /// Whether a message waits.
    pub(crate) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Relaxed)
    }

    /// Moves the messages into `into`.
    pub(crate) fn take(&self, into: &mut Vec<Message>) {
        if !self.filled.load(Ordering::Acquire) {
            return;
        }
        let mut messages = self.messages();
        self.filled.store(false, Ordering::SeqCst);
        into.append(&mut messages);
    }

    /// How often a sleeping port was woken.
    pub(crate) fn notified(&self) -> u64 {
        self.notified.load(Ordering::Relaxed)
    }
}

/// Reaches a port from any thread, for as long as anybody likes: once the port is gone, it does nothing.
#[derive(Clone)]
pub struct Waker(pub(crate) Arc<Inbox>);

impl Waker {
    /// Makes the port's poll return, now or when it next would sleep. Several before that count as one.
    pub fn wake(&self) {
        self.0.put(Message::Woken);
    }

    /// Puts a completion with `token` into the port; its result is [`Outcome::Count`](crate::Outcome::Count)`(0)`.
    pub fn post(&self, token: u64) {
        self.0.put(Message::Posted(token));
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waker")
    }
}

// What every interleaving does is looked at in tests/wake_protocol.rs, which is made of this file too.
#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_was_told_something_while_it_was_awake_does_not_fall_asleep_on_it() {
        let inbox = Inbox::new(Arc::new(Closed("this test needs none")));
        inbox.put(Message::Posted(1));
        assert!(!inbox.fall_asleep(), "a message waits");
        inbox.put(Message::Posted(2));
        assert_eq!(inbox.notified(), 0, "it stayed awake, and needs no call into the kernel");
        let mut taken = Vec::new();
        inbox.take(&mut taken);
        assert!(matches!(taken[..], [Message::Posted(1), Message::Posted(2)]));
        assert!(inbox.fall_asleep(), "nothing waits any more");
        inbox.put(Message::Woken);
        assert_eq!(inbox.notified(), 1, "who sleeps is woken");
    }
}
