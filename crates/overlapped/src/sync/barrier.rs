//! Barriers: so many wait for each other, again and again.
//!
//! One that leaves before the others have come (cancelled, or out of time) is one less, and the others wait on. (Rejected:
//! a barrier that breaks for good then, as `threading.Barrier` does: one peer that times out ends all.)

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::unwound;
use crate::interrupt::{Interrupted, Telling};
use crate::scheduler::{await_place, passed};
use crate::ticket::Claimant;
use crate::time::{Elapsed, deadline_after};
use crate::wait_list::{Left, WaitList};

/// A point that tasklets, and threads, pass together; clones are the same barrier.
///
/// ```
/// overlapped::run(|| {
///     let barrier = overlapped::Barrier::new(2);
///     let theirs = barrier.clone();
///     let other = overlapped::spawn(move || theirs.wait());
///     let mine = barrier.wait();
///     assert_eq!(mine + other.join().unwrap(), 1, "one was the first and the other the second");
/// });
/// ```
#[derive(Clone)]
pub struct Barrier {
    parties: usize,
    /// Each is served with its number.
    waiting: Arc<Mutex<WaitList<Claimant, usize>>>,
}

impl Barrier {
    /// A barrier for so many; for none and for one it lets everybody pass.
    pub fn new(parties: usize) -> Barrier {
        Barrier { parties, waiting: Arc::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, WaitList<Claimant, usize>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until as many have come as the barrier is for. Returns the caller's number among them, in the order in which
    /// they came: the first is 0.
    pub fn wait(&self) -> usize {
        self.wait_until(None).unwrap_or_else(unwound).expect("there was no deadline")
    }

    /// As [`Barrier::wait`], but no longer than `duration`.
    ///
    /// # Errors
    /// [`Elapsed`] where the others have not come in time; the caller is not counted then.
    pub fn wait_timeout(&self, duration: Duration) -> Result<usize, Elapsed> {
        let number = self.wait_until(Some(deadline_after(duration))).unwrap_or_else(unwound);
        number.ok_or_else(|| Elapsed::after(duration))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<Option<usize>, Interrupted> {
        passed(Telling::Unwinding)?;
        let place = {
            let mut waiting = self.waiting();
            if waiting.len() + 1 >= self.parties {
                let last = waiting.len();
                let others: Vec<Claimant> = (0..last).filter_map(|number| waiting.serve(number).ok()).collect();
                drop(waiting);
                others.iter().for_each(|claimant| claimant.waiter.wake());
                return Ok(Some(last));
            }
            waiting.push(Claimant::current())
        };
        let (left, waited) = await_place(Telling::Unwinding, deadline, "barrier", |waits| {
            let mut waiting = self.waiting();
            (!waits || waiting.is_served(place)).then(|| waiting.leave(place))
        });
        match left {
            Left::Served(number) => Ok(Some(number)),
            Left::Waiting(_) => waited.map(|()| None),
        }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.waiting().len();
        f.debug_struct("Barrier").field("parties", &self.parties).field("waiting", &waiting).finish()
    }
}
