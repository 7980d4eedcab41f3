//! The loop: who is next, one turn of the port, timers.

use std::io;
use std::time::{Duration, Instant};

use overlapped_port::{Completion, TimerId};

use super::id::TaskletId;
use super::thread::Scheduler;
use super::token::Token;

/// After so many switches the port is polled even though tasklets are ready.
pub(super) const SWITCHES_A_TURN: u32 = 64;

/// So many ready tasklets use more memory than the nearest cache has.
const MANY: usize = 8;

/// Names a call that [`Scheduler::call_at`] has set.
#[derive(Debug)]
pub struct Timer {
    id: TimerId,
    slot: usize,
}

/// Until it is dropped, what runs is no tasklet's.
pub(super) struct Between<'a> {
    scheduler: &'a Scheduler,
    before: bool,
}

impl Drop for Between<'_> {
    fn drop(&mut self) {
        self.scheduler.between.set(self.before);
    }
}

impl Scheduler {
    /// Takes the next ready tasklet and makes it the current one. After some switches the port is polled first, so
    /// that completions do not wait for tasklets that never do.
    ///
    /// # Errors
    /// Where the port fails as a whole.
    ///
    /// # Safety
    /// For a [`Switcher`](super::Switcher), which goes to that tasklet: until then, nothing waits.
    #[allow(unsafe_code, reason = "the caller makes the promise")]
    #[inline]
    pub unsafe fn next(&self) -> io::Result<Option<TaskletId>> {
        if self.switches.get() >= SWITCHES_A_TURN {
            self.turn(Some(Duration::ZERO))?;
        }
        let Some(id) = self.ready.borrow_mut().pop_front() else { return Ok(None) };
        self.switches.set(self.switches.get() + 1);
        self.immediate.set(0);
        self.current.set(id);
        self.board.run(id.index);
        Ok(Some(id))
    }

    /// The two that run next, where many are ready.
    #[inline]
    pub(crate) fn upcoming(&self) -> Option<(TaskletId, TaskletId)> {
        let ready = self.ready.borrow();
        if ready.len() < MANY { None } else { ready.first_two() }
    }

    /// A turn of the loop where nobody is ready: until the next tasklet is gone to, none holds the thread.
    ///
    /// # Errors
    /// Where the port fails as a whole.
    pub fn rest(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.board.rest();
        self.turn(timeout)
    }

    /// Whether there was a turn of the loop since this was last asked: what is to be looked at now and then is looked at then.
    pub fn has_polled(&self) -> bool {
        self.polled.take()
    }

    /// One turn of the loop: submits, waits at most `timeout` for completions (`None`: without end), and makes ready
    /// whoever waits for one.
    ///
    /// # Errors
    /// Where the port fails as a whole.
    #[inline(never)]
    pub fn turn(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.must_not_be_between();
        self.switches.set(0);
        self.polled.set(true);
        let mut completions = self.completions.take();
        let timeout = if self.landed.borrow().is_empty() { timeout } else { Some(Duration::ZERO) };
        let mut port = self.port.borrow_mut();
        let polled = port.poll(timeout, &mut completions);
        self.board.turned(port.polled());
        drop(port);
        // What ended at once is told in the order of what happened: before completions, which came after it, and, where it was
        // begun by those, after them, so that the next turn may wait.
        self.land_those_ended();
        for completion in completions.drain(..) {
            self.dispatch(completion);
        }
        self.completions.replace(completions);
        self.land_those_ended();
        polled.map(drop)
    }

    fn dispatch(&self, completion: Completion) {
        match Token::unpack(completion.token) {
            Token::Operation(slot) => {
                let mut waits = self.waits.borrow_mut();
                let wait = &mut waits[slot as usize];
                if wait.abandoned {
                    waits.remove(slot as usize);
                    return;
                }
                wait.result = Some(completion.result);
                let tasklet = wait.tasklet;
                drop(waits);
                self.wake(tasklet);
            }
            Token::Deadline(slot) => {
                let mut waits = self.waits.borrow_mut();
                let wait = &mut waits[slot as usize];
                wait.expired = true;
                let tasklet = wait.tasklet;
                drop(waits);
                self.wake(tasklet);
            }
            Token::Wake(id) => self.wake(id),
            Token::Flight(slot) => self.land(slot as usize, completion.result, completion.more),
            Token::Callback(slot) => {
                let callback = self.callbacks.borrow_mut().remove(slot as usize);
                let _between = self.between();
                callback(self);
            }
            Token::Calls => {
                let calls = self.remote.calls().as_mut().map(std::mem::take);
                let _between = self.between();
                calls.into_iter().flatten().for_each(|call| call());
            }
        }
    }

    /// Refuses a wait where nobody can: to be asked before anything of the wait is begun.
    #[inline]
    pub(super) fn must_not_be_between(&self) {
        assert!(!self.between.get(), "overlapped: what the loop calls between two tasklets must not wait");
    }

    /// Whether what runs is no tasklet's: it must not wait, and nothing is told to it.
    #[inline]
    pub fn is_between(&self) -> bool {
        self.between.get()
    }

    /// Calls `callback` as the loop calls what is due: no wait is allowed in it.
    pub(crate) fn call_between<R>(&self, callback: impl FnOnce() -> R) -> R {
        let _between = self.between();
        callback()
    }

    /// Lets nothing wait until the result is dropped: what runs is called by the loop, or holds what the loop needs.
    pub(super) fn between(&self) -> Between<'_> {
        Between { scheduler: self, before: self.between.replace(true) }
    }

    /// Has `callback` called at `deadline`, between two tasklets: it must not wait, and a wait there panics.
    pub fn call_at(&self, deadline: Instant, callback: impl FnOnce(&Scheduler) + 'static) -> Timer {
        let slot = self.callbacks.borrow_mut().insert(Box::new(callback));
        let id = self.port.borrow_mut().set_timer(deadline, Token::Callback(slot as u32).pack());
        Timer { id, slot }
    }

    /// Takes back a call that is not due yet.
    pub fn clear(&self, timer: Timer) {
        if self.port.borrow_mut().clear_timer(timer.id) {
            // Its destructors may look here again.
            let callback = self.callbacks.borrow_mut().remove(timer.slot);
            drop(callback);
        }
    }

    /// Hands the bytes of a provided buffer to `read`, which must not wait, and gives the buffer back.
    pub fn consume<R>(&self, outcome: overlapped_port::Outcome, read: impl FnOnce(&[u8]) -> R) -> R {
        match outcome {
            overlapped_port::Outcome::Provided(Some(buffer)) => {
                let _between = self.between();
                read(&buffer)
            }
            _ => read(&[]),
        }
    }

    /// Whether a turn that does not wait would find completions, as far as that shows without asking the system.
    pub fn has_news(&self) -> bool {
        self.port.borrow_mut().has_news()
    }

    /// Whether a tasklet is ready to run.
    pub fn has_ready(&self) -> bool {
        !self.ready.borrow().is_empty()
    }

    /// Whether nothing on this thread can ever wake a tasklet: none is ready, nothing is in flight, no timer is set, no
    /// callback is due. Another thread may still.
    pub fn is_deadlocked(&self) -> bool {
        let port = self.port.borrow();
        !self.has_ready() && port.in_flight() == 0 && port.timers() == 0 && self.landed.borrow().is_empty()
    }
}
