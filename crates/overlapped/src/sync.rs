//! Events and semaphores: for tasklets, and between threads.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::interrupt::Interrupted;
use crate::scheduler::{Waiter, park};
use crate::time::{Elapsed, deadline_after};

/// A flag that tasklets wait for; clones are the same event. It can be set from any thread.
///
/// ```
/// overlapped::run(|| {
///     let ready = overlapped::Event::new();
///     let theirs = ready.clone();
///     std::thread::spawn(move || theirs.set());
///     ready.wait();
///     assert!(ready.is_set());
/// });
/// ```
#[derive(Clone, Default)]
pub struct Event {
    state: Arc<Mutex<EventState>>,
}

#[derive(Default)]
struct EventState {
    set: bool,
    waiters: Vec<Waiter>,
}

impl Event {
    /// An event that is not set.
    pub fn new() -> Event {
        Event::default()
    }

    fn state(&self) -> MutexGuard<'_, EventState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.state().set
    }

    /// Sets it: all that wait go on, and nobody waits until it is cleared.
    pub fn set(&self) {
        let waiters = {
            let mut state = self.state();
            state.set = true;
            std::mem::take(&mut state.waiters)
        };
        waiters.iter().for_each(Waiter::wake);
    }

    /// Takes it back.
    pub fn clear(&self) {
        self.state().set = false;
    }

    /// Waits until it is set.
    pub fn wait(&self) {
        if let Err(interrupted) = self.wait_until(None) {
            interrupted.raise_here();
        }
    }

    /// Waits until it is set, but no longer than `duration`.
    ///
    /// # Errors
    /// [`Elapsed`] where it was not set in time.
    pub fn wait_timeout(&self, duration: Duration) -> Result<(), Elapsed> {
        match self.wait_until(Some(deadline_after(duration))) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Elapsed::after(duration)),
            Err(interrupted) => {
                interrupted.raise_here();
                Err(Elapsed::after(duration))
            }
        }
    }

    /// Waits until it is set, or until `deadline`; returns whether it was set.
    ///
    /// # Errors
    /// The interrupt that ended the wait.
    pub fn wait_until(&self, deadline: Option<Instant>) -> Result<bool, Interrupted> {
        let me = Waiter::current();
        // An event that is set and cleared at once must still release those that waited: being taken out of the list
        // is what counts, not the flag.
        let mut listed = false;
        loop {
            {
                let mut state = self.state();
                if state.set || (listed && !state.waiters.contains(&me)) {
                    state.waiters.retain(|waiter| *waiter != me);
                    return Ok(true);
                }
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    state.waiters.retain(|waiter| *waiter != me);
                    return Ok(false);
                }
                if !listed {
                    state.waiters.push(me.clone());
                    listed = true;
                }
            }
            if let Err(interrupted) = park(deadline, "event") {
                self.state().waiters.retain(|waiter| *waiter != me);
                return Err(interrupted);
            }
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("set", &self.is_set()).finish()
    }
}

/// A counter that tasklets take from and wait for; clones are the same semaphore. Those that wait are served in order.
///
/// ```
/// overlapped::run(|| {
///     let slots = overlapped::Semaphore::new(2);
///     let permit = slots.acquire();
///     assert_eq!(slots.value(), 1);
///     drop(permit);
///     assert_eq!(slots.value(), 2);
/// });
/// ```
#[derive(Clone)]
pub struct Semaphore {
    state: Arc<Mutex<SemaphoreState>>,
}

struct SemaphoreState {
    value: usize,
    next: u64,
    /// Those that wait, in order, each with its number.
    waiting: VecDeque<(u64, Waiter)>,
    /// Numbers of those that were given one and have not taken note of it.
    granted: Vec<u64>,
}

/// One taken from a [`Semaphore`], given back when dropped.
#[derive(Debug)]
#[must_use = "a permit that is dropped is given back at once"]
pub struct Permit(Semaphore);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl Semaphore {
    /// A semaphore from which `value` can be taken.
    pub fn new(value: usize) -> Semaphore {
        let state = SemaphoreState { value, next: 0, waiting: VecDeque::new(), granted: Vec::new() };
        Semaphore { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, SemaphoreState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many can be taken without waiting.
    pub fn value(&self) -> usize {
        self.state().value
    }

    /// Whether one was given to somebody who waited and has not gone on yet.
    pub fn is_handed_over(&self) -> bool {
        !self.state().granted.is_empty()
    }

    /// Takes one, waiting for it.
    pub fn acquire(&self) -> Permit {
        match self.acquire_until(None) {
            Ok(_) => Permit(self.clone()),
            Err(interrupted) => {
                interrupted.raise_here();
                panic!("a semaphore cannot be waited for while the thread panics");
            }
        }
    }

    /// Takes one if that needs no waiting.
    pub fn try_acquire(&self) -> Option<Permit> {
        self.try_take().then(|| Permit(self.clone()))
    }

    /// Takes one without a [`Permit`] if that needs no waiting; returns whether one was taken.
    pub fn try_take(&self) -> bool {
        let mut state = self.state();
        let taken = state.value > 0;
        state.value -= usize::from(taken);
        taken
    }

    /// As [`Semaphore::acquire_until`], for something that is more than a semaphore: `waits_for` is what a listing of
    /// the tasklets shows.
    ///
    /// # Errors
    /// The interrupt that ended the wait; none was taken then.
    pub fn acquire_until_as(&self, deadline: Option<Instant>, waits_for: &'static str) -> Result<bool, Interrupted> {
        let number = {
            let mut state = self.state();
            if state.value > 0 {
                state.value -= 1;
                return Ok(true);
            }
            let number = state.next;
            state.next += 1;
            state.waiting.push_back((number, Waiter::current()));
            number
        };
        loop {
            let expired = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            let parked = if expired { Ok(()) } else { park(deadline, waits_for) };
            let mut state = self.state();
            if let Some(at) = state.granted.iter().position(|granted| *granted == number) {
                state.granted.swap_remove(at);
                // One who was told to leave takes nothing with it: the next in the row has it.
                return parked.map(|()| true).inspect_err(|_| {
                    drop(state);
                    self.release();
                });
            }
            if expired || parked.is_err() {
                state.waiting.retain(|(waiting, _)| *waiting != number);
                return parked.map(|()| false);
            }
        }
    }

    /// Takes one without a [`Permit`]: pair it with [`Semaphore::release`]. Waits until `deadline`; returns whether one
    /// was taken.
    ///
    /// # Errors
    /// The interrupt that ended the wait; none was taken then.
    pub fn acquire_until(&self, deadline: Option<Instant>) -> Result<bool, Interrupted> {
        self.acquire_until_as(deadline, "semaphore")
    }

    /// Gives one back, to the one that has waited longest if any.
    pub fn release(&self) {
        let mut state = self.state();
        match state.waiting.pop_front() {
            Some((number, waiter)) => {
                state.granted.push(number);
                drop(state);
                waiter.wake();
            }
            None => state.value += 1,
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("value", &self.value()).finish()
    }
}
