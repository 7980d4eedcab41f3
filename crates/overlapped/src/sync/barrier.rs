//! Barriers: so many wait for each other, again and again.
//!
//! As `threading.Barrier`, and so as the Python package's: a wait whose own time is up *breaks* the barrier, and so does
//! [`Barrier::abort`]; all that wait, and all that come until [`Barrier::reset`], are told so. For who gives up is one
//! that the others count on: they would wait for ever for as many as will not come. Who is told to leave from outside
//! (cancelled, or by a [`timeout()`](crate::timeout()) round its wait) has given nothing up: it takes its place back, and
//! the others wait for one more.
//!
//! No action of the barrier's own, as Python's has: who is the first by its number does it, and a second wait holds the
//! others until it is done. That needs no call under a lock, and its failure is its tasklet's.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::unwound;
use crate::interrupt::Telling;
use crate::scheduler::{await_place, passed};
use crate::ticket::{Claimant, wake_all};
use crate::time::deadline_after;
use crate::wait_list::{Left, WaitList};

/// A point that tasklets, and threads, pass together; clones are the same barrier.
///
/// ```
/// overlapped::run(|| {
///     let barrier = overlapped::Barrier::new(2);
///     let theirs = barrier.clone();
///     let other = overlapped::spawn(move || theirs.wait());
///     let mine = barrier.wait()?;
///     assert_eq!(mine + other.join().unwrap()?, 1, "one was the first and the other the second");
///     Ok::<(), overlapped::BrokenBarrierError>(())
/// })?;
/// # Ok::<(), overlapped::BrokenBarrierError>(())
/// ```
#[derive(Clone)]
pub struct Barrier {
    parties: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Each is served with its number, or with the news that the barrier is broken.
    waiting: WaitList<Claimant, Result<usize, BrokenBarrierError>>,
    broken: bool,
}

impl State {
    /// All that wait are told that it is broken: they are to be woken.
    fn tell(&mut self) -> Vec<Claimant> {
        self.waiting.serve_all(|| Err(BrokenBarrierError(())))
    }
}

/// A [`Barrier`] is broken: the time of one that waited was up, or it was aborted, or reset while this one waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenBarrierError(());

impl fmt::Display for BrokenBarrierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the barrier is broken: one that was waited for has given up, or it was aborted or reset")
    }
}

impl std::error::Error for BrokenBarrierError {}

impl Barrier {
    /// A barrier for so many.
    ///
    /// # Panics
    /// For none: nobody could pass it.
    pub fn new(parties: usize) -> Barrier {
        assert!(parties > 0, "overlapped::Barrier::new: a barrier is for one or more");
        Barrier { parties, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until as many have come as the barrier is for. Returns the caller's number among them, in the order in which
    /// they came: the first is 0.
    ///
    /// # Errors
    /// [`BrokenBarrierError`] where it is broken, also meanwhile.
    pub fn wait(&self) -> Result<usize, BrokenBarrierError> {
        self.wait_until(None)
    }

    /// As [`Barrier::wait`], but no longer than `duration`: then it breaks the barrier.
    ///
    /// # Errors
    /// As for [`Barrier::wait`], and where the others have not come in time.
    pub fn wait_timeout(&self, duration: Duration) -> Result<usize, BrokenBarrierError> {
        self.wait_until(Some(deadline_after(duration)))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<usize, BrokenBarrierError> {
        passed(Telling::Unwinding).unwrap_or_else(unwound);
        let place = {
            let mut state = self.state();
            if state.broken {
                return Err(BrokenBarrierError(()));
            }
            if state.waiting.len() + 1 == self.parties {
                let last = state.waiting.len();
                let others: Vec<Claimant> =
                    (0..last).filter_map(|number| state.waiting.serve(Ok(number)).ok()).collect();
                drop(state);
                wake_all(others);
                return Ok(last);
            }
            state.waiting.push(Claimant::current())
        };
        let (left, waited) = await_place(Telling::Unwinding, deadline, "barrier", |waits| {
            self.state().waiting.leave_unless(place, waits)
        });
        match left {
            Left::Served(outcome) => outcome,
            Left::Waiting(_) => {
                waited.unwrap_or_else(unwound);
                self.abort();
                Err(BrokenBarrierError(()))
            }
        }
    }

    /// Breaks it: all that wait, and all that come until it is reset, are told so.
    pub fn abort(&self) {
        self.end(true);
    }

    /// Makes it new. Those that wait are told that it is broken.
    pub fn reset(&self) {
        self.end(false);
    }

    fn end(&self, broken: bool) {
        let told = {
            let mut state = self.state();
            state.broken = broken;
            state.tell()
        };
        wake_all(told);
    }

    /// For how many it is.
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// How many wait.
    pub fn n_waiting(&self) -> usize {
        self.state().waiting.len()
    }

    /// Whether it is broken.
    pub fn is_broken(&self) -> bool {
        self.state().broken
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (waiting, broken) = (self.n_waiting(), self.is_broken());
        f.debug_struct("Barrier")
            .field("parties", &self.parties)
            .field("waiting", &waiting)
            .field("broken", &broken)
            .finish()
    }
}
