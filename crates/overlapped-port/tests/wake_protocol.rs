//! The wake protocol between a port and the threads that tell it something, `src/inbox.rs`, in every order of their steps: what
//! was put in is found, and no port sleeps on it.
//!
//! Loom (https://docs.rs/loom) runs a test again and again, each time with another interleaving that the memory model
//! allows. It looks at the very file that the port is made of, for whose `std` and `crate` this file stands in: what locks
//! and counts is loom's, and the backend is a sleeper that only a notification wakes. A sleeper that nobody wakes is a
//! deadlock, and loom fails. Run by `make sanitize`: `RUSTFLAGS="--cfg loom" cargo test --release --test wake_protocol`.
#![cfg(loom)]
#![allow(dead_code, missing_docs, unreachable_pub, reason = "the inbox is a part of the port, which uses all of it")]

extern crate self as std;
extern crate std as real_std;

pub mod io {
    pub use crate::real_std::io::Result;
}

pub mod fmt {
    pub use crate::real_std::fmt::{Debug, Formatter, Result};
}

pub mod sync {
    pub use crate::real_std::sync::{Arc, PoisonError};
    pub use loom::sync::{Mutex, MutexGuard};
    pub mod atomic {
        pub use loom::sync::atomic::{AtomicU64, Ordering};

        /// Loom takes a sequentially consistent access for one that acquires and releases, but knows fences: so such an
        /// access stands between two here, and weaker ones do not.
        fn between_fences<T>(order: Ordering, access: impl FnOnce() -> T) -> T {
            let fence = || {
                if order == Ordering::SeqCst {
                    loom::sync::atomic::fence(order);
                }
            };
            fence();
            let value = access();
            fence();
            value
        }

        macro_rules! atomics {
            ($($name:ident: $value:ty),*) => {$(
                pub struct $name(loom::sync::atomic::$name);

                impl $name {
                    pub fn new(value: $value) -> $name {
                        $name(loom::sync::atomic::$name::new(value))
                    }

                    pub fn load(&self, order: Ordering) -> $value {
                        between_fences(order, || self.0.load(order))
                    }

                    pub fn store(&self, value: $value, order: Ordering) {
                        between_fences(order, || self.0.store(value, order));
                    }

                    pub fn compare_exchange(
                        &self,
                        current: $value,
                        new: $value,
                        success: Ordering,
                        failure: Ordering,
                    ) -> Result<$value, $value> {
                        between_fences(success, || self.0.compare_exchange(current, new, success, failure))
                    }
                }
            )*};
        }

        atomics!(AtomicBool: bool, AtomicU8: u8);
    }
}

mod backend {
    pub(crate) trait Notify: Send + Sync {
        fn notify(&self);
    }

    pub(crate) struct Closed(pub(crate) &'static str);

    impl Notify for Closed {
        fn notify(&self) {}
    }
}

mod sys {
    /// No test here forks.
    pub(crate) fn forks() -> u32 {
        0
    }
}

mod slots {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OpId(pub u64);
}

#[path = "../src/inbox.rs"]
mod inbox;

use inbox::{Inbox, Message, Waker};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use sync::Arc;

/// The backend's wait, which a notification ends: the one under way, or else the next one.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    rings: Condvar,
}

impl backend::Notify for Bell {
    fn notify(&self) {
        *self.rung.lock().unwrap() = true;
        self.rings.notify_one();
    }
}

impl Bell {
    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.rings.wait(rung).unwrap();
        }
        *rung = false;
    }
}

/// What [`Port::poll`](overlapped_port::Port::poll) does about its inbox: sleeps unless something is there, then takes it.
fn turn(inbox: &Inbox, bell: &Bell, into: &mut Vec<Message>) {
    if inbox.fall_asleep() {
        bell.wait();
        inbox.awake();
    }
    if inbox.is_filled() {
        inbox.take(into);
    }
}

/// Every order with at most three preemptions: those with more are too many to run, and a fault in so few steps shows
/// with fewer (loom's documentation, "Reducing the state space").
fn explore(test: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(test);
}

fn tokens(messages: &[Message]) -> Vec<u64> {
    let posted = messages.iter().filter_map(|message| match message {
        Message::Posted(token) => Some(*token),
        _ => None,
    });
    posted.collect()
}

#[test]
fn what_two_threads_post_is_found_however_their_steps_fall() {
    explore(|| {
        let bell = Arc::new(Bell::default());
        let inbox = Arc::new(Inbox::new(bell.clone()));
        let senders: Vec<_> = [1, 2]
            .map(|token| {
                let waker = Waker(inbox.clone());
                thread::spawn(move || waker.post(token))
            })
            .into();
        let mut messages = Vec::new();
        // Never stuck here: a port that sleeps although something is there would be, and loom says so.
        while tokens(&messages).len() < 2 {
            turn(&inbox, &bell, &mut messages);
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        let mut found = tokens(&messages);
        found.sort_unstable();
        assert_eq!(found, [1, 2]);
        assert!(!inbox.is_filled());
    });
}

#[test]
fn what_one_thread_posts_comes_in_its_order_and_a_port_that_is_awake_is_not_notified() {
    explore(|| {
        let bell = Arc::new(Bell::default());
        let inbox = Arc::new(Inbox::new(bell.clone()));
        let waker = Waker(inbox.clone());
        let sender = thread::spawn(move || {
            waker.post(1);
            waker.post(2);
        });
        let mut messages = Vec::new();
        let mut sleeps = 0;
        while tokens(&messages).len() < 2 {
            sleeps += 1;
            turn(&inbox, &bell, &mut messages);
        }
        sender.join().unwrap();
        assert_eq!(tokens(&messages), [1, 2]);
        assert!(inbox.notified() <= sleeps, "{} notifications, {sleeps} sleeps", inbox.notified());
    });
}

#[test]
fn a_wake_ends_a_sleep_also_beside_another() {
    explore(|| {
        let bell = Arc::new(Bell::default());
        let inbox = Arc::new(Inbox::new(bell.clone()));
        let wakers: Vec<_> = (0..2)
            .map(|_| {
                let waker = Waker(inbox.clone());
                thread::spawn(move || waker.wake())
            })
            .collect();
        let mut messages = Vec::new();
        while messages.is_empty() {
            turn(&inbox, &bell, &mut messages);
        }
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
        inbox.take(&mut messages);
        assert!(messages.iter().all(|message| matches!(message, Message::Woken)));
        assert!((1..=2).contains(&messages.len()));
    });
}

#[test]
fn who_posts_to_a_port_that_closes_meanwhile_is_not_kept() {
    explore(|| {
        let bell = Arc::new(Bell::default());
        let inbox = Arc::new(Inbox::new(bell.clone()));
        let waker = Waker(inbox.clone());
        let sender = thread::spawn(move || waker.post(1));
        let slept = inbox.fall_asleep();
        inbox.close();
        if slept {
            inbox.awake();
        }
        sender.join().unwrap();
        // All that is left of the bell is ours and, until the inbox goes, its lock's.
        drop(inbox);
        assert_eq!(Arc::strong_count(&bell), 1);
    });
}
