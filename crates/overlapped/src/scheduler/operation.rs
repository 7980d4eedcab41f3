//! Waiting for operations: the tasklet's side of the port.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use overlapped_port::{Op, OpId, Outcome, Submitted, TimerId};

use super::token::Token;
use super::{IMMEDIATE_IN_A_ROW, LARGE, SWITCHES_A_TURN, Scheduler, TaskletId};
use crate::interrupt::Interrupted;

/// What one operation of a tasklet has come to.
pub(super) struct Wait {
    pub(super) tasklet: TaskletId,
    pub(super) result: Option<io::Result<Outcome>>,
    pub(super) expired: bool,
    /// Nobody waits any more: the completion frees the slot.
    pub(super) abandoned: bool,
}

impl Scheduler {
    /// Runs one operation to its end; only the current tasklet waits. Past `deadline` it is cancelled.
    ///
    /// # Errors
    /// The system's; `TimedOut` past the deadline, if nothing was moved by then; in a foreign tasklet, the
    /// [`Interrupted`] that is to be raised.
    pub fn operate(self: &Rc<Self>, op: Op<'_>, deadline: Option<Instant>) -> io::Result<Outcome> {
        self.perform(op, deadline, false)
    }

    /// Runs a function on a thread of the port's pool; only the current tasklet waits. Past `deadline`, or where this
    /// tasklet is interrupted, the function is left alone: if it has begun it runs to its end, and its result is lost.
    ///
    /// # Errors
    /// The function's, and as for [`Scheduler::operate`].
    pub fn call(
        self: &Rc<Self>,
        function: impl FnOnce() -> io::Result<usize> + Send + 'static,
        deadline: Option<Instant>,
    ) -> io::Result<usize> {
        match self.perform(Op::Call { function: Box::new(function) }, deadline, true)? {
            Outcome::Count(count) => Ok(count),
            outcome => unreachable!("a call brings a number, not {outcome:?}"),
        }
    }

    /// Runs `op` to its end or, where it `may_be_left` because it borrows nothing, until this tasklet has to leave.
    ///
    /// The tasklet waits in here, and where its stack is copied at every switch, each frame counts: what comes before the
    /// wait and after it is in functions of its own.
    fn perform(self: &Rc<Self>, op: Op<'_>, deadline: Option<Instant>, may_be_left: bool) -> io::Result<Outcome> {
        let waits_for = op.name();
        #[allow(unsafe_code, reason = "the one place where a borrow is handed to the port")]
        // SAFETY: what `op` borrows outlives this call, and this call neither returns nor unwinds before the completion
        // has come: the wait below goes on until it has, whatever wakes it. One that may be left is an `Op::Call`, which
        // borrows nothing.
        let begun = unsafe { self.begin(op) };
        match begun {
            Begun::Ended(result) => self.without_wait(result),
            Begun::UnderWay(id, slot) => {
                let stopped = self.await_completion(id, slot, deadline, waits_for, may_be_left);
                self.conclude(slot, stopped, waits_for)
            }
        }
    }

    /// A slot in which the current tasklet will be told of something.
    fn new_wait(&self) -> usize {
        let wait = Wait { tasklet: self.current.get(), result: None, expired: false, abandoned: false };
        self.waits.borrow_mut().insert(wait)
    }

    /// Hands `op` to the port, unless this tasklet is interrupted.
    ///
    /// # Safety
    /// As for [`overlapped_port::Port::submit`].
    #[allow(unsafe_code, reason = "the caller makes the promise")]
    #[inline(never)]
    unsafe fn begin(&self, op: Op<'_>) -> Begun {
        if let Err(interrupted) = self.check() {
            return Begun::Ended(Err(interrupted.raise(self)));
        }
        let slot = self.new_wait();
        // SAFETY: the caller's promise.
        match unsafe { self.port.borrow_mut().submit(op, Token::Operation(slot as u32).pack()) } {
            Submitted::Pending(id) => Begun::UnderWay(id, slot),
            Submitted::Done(result) => {
                self.waits.borrow_mut().remove(slot);
                Begun::Ended(result)
            }
        }
    }

    /// Waits until the operation has ended; or, where it `may_be_left`, until this tasklet has to leave.
    #[inline(never)]
    fn await_completion(
        self: &Rc<Self>,
        id: OpId,
        slot: usize,
        deadline: Option<Instant>,
        waits_for: &'static str,
        may_be_left: bool,
    ) -> Stopped {
        let timer = deadline.map(|deadline| self.set_deadline(deadline, slot));
        let mut stopped = Stopped::No;
        loop {
            self.park_masked(waits_for);
            let expired = {
                let waits = self.waits.borrow();
                let wait = &waits[slot];
                if wait.result.is_some() {
                    break;
                }
                wait.expired
            };
            if stopped == Stopped::No && (expired || self.is_interrupted()) {
                stopped = if expired { Stopped::Deadline } else { Stopped::Interrupt };
                self.port.borrow_mut().cancel(id);
                if may_be_left {
                    self.waits.borrow_mut()[slot].abandoned = true;
                    break;
                }
            }
        }
        if let Some(timer) = timer {
            self.port.borrow_mut().clear_timer(timer);
        }
        stopped
    }

    #[inline(never)]
    fn set_deadline(&self, deadline: Instant, slot: usize) -> TimerId {
        self.port.borrow_mut().set_timer(deadline, Token::Deadline(slot as u32).pack())
    }

    /// What an operation has come to whose wait is over.
    #[inline(never)]
    fn conclude(self: &Rc<Self>, slot: usize, stopped: Stopped, waits_for: &'static str) -> io::Result<Outcome> {
        let result = {
            let mut waits = self.waits.borrow_mut();
            if waits[slot].abandoned { None } else { waits.remove(slot).result }
        };
        match result.unwrap_or_else(|| Err(io::Error::from_raw_os_error(overlapped_port::sys::CANCELLED))) {
            Err(error) if is_cancelled(&error) => Err(match stopped {
                Stopped::No => error,
                Stopped::Deadline => io::Error::new(io::ErrorKind::TimedOut, Expired(waits_for)),
                Stopped::Interrupt => Interrupted(()).raise(self),
            }),
            result => result,
        }
    }

    /// Passes on a result that was there at once; after some in a row, others run first.
    #[inline(never)]
    fn without_wait(self: &Rc<Self>, result: io::Result<Outcome>) -> io::Result<Outcome> {
        // Much that was moved took the time of many small results, or of many switches.
        let large = match &result {
            Ok(Outcome::Count(bytes)) => (bytes / LARGE).min(SWITCHES_A_TURN as usize) as u32,
            _ => 0,
        };
        self.switches.set(self.switches.get() + large);
        self.immediate.set(self.immediate.get() + 1 + large);
        if self.immediate.get() > IMMEDIATE_IN_A_ROW {
            // An interrupt that comes now is for the next wait: this result is not lost.
            let _ = self.yield_now();
        }
        result
    }

    /// Runs several operations (one at least) until one has ended: the others are then cancelled, and their completions
    /// awaited. Returns those that have ended by themselves, each with its place in `ops`.
    ///
    /// # Errors
    /// `TimedOut` past the deadline, where none had ended by then; in a foreign tasklet, the [`Interrupted`] that is to
    /// be raised. What an operation failed with is in its own result.
    pub fn operate_any<'a>(
        self: &Rc<Self>,
        ops: impl IntoIterator<Item = Op<'a>>,
        deadline: Option<Instant>,
    ) -> io::Result<Vec<(usize, io::Result<Outcome>)>> {
        self.check().map_err(|interrupted| interrupted.raise(self))?;
        let (mut ended, mut under_way, mut waits_for) = (Vec::new(), Vec::new(), "");
        for (place, op) in ops.into_iter().enumerate() {
            waits_for = op.name();
            #[allow(unsafe_code, reason = "as in `operate`")]
            // SAFETY: what `op` borrows outlives this call, and this call neither returns nor unwinds before every
            // completion has come: the loop below goes on until it has.
            match unsafe { self.begin(op) } {
                Begun::UnderWay(id, slot) => under_way.push((place, id, slot)),
                Begun::Ended(result) => {
                    ended.push((place, result));
                    break;
                }
            }
        }
        // The deadline has a wait of its own: those of the operations go one by one.
        let alarm = self.new_wait();
        let timer = deadline.map(|deadline| self.set_deadline(deadline, alarm));
        let mut stopped = Stopped::No;
        let mut cancelled = false;
        loop {
            under_way.retain(|(place, _, slot)| {
                let mut waits = self.waits.borrow_mut();
                let Some(result) = waits[*slot].result.take() else { return true };
                waits.remove(*slot);
                if !cancelled || !matches!(&result, Err(error) if is_cancelled(error)) {
                    ended.push((*place, result));
                }
                false
            });
            if under_way.is_empty() {
                break;
            }
            if !cancelled {
                if self.waits.borrow()[alarm].expired {
                    stopped = Stopped::Deadline;
                } else if self.is_interrupted() {
                    stopped = Stopped::Interrupt;
                }
                if !ended.is_empty() || stopped != Stopped::No {
                    cancelled = true;
                    under_way.iter().for_each(|(_, id, _)| self.port.borrow_mut().cancel(*id));
                }
            }
            self.park_masked(waits_for);
        }
        if let Some(timer) = timer {
            self.port.borrow_mut().clear_timer(timer);
        }
        self.waits.borrow_mut().remove(alarm);
        match stopped {
            Stopped::Deadline if ended.is_empty() => Err(io::Error::new(io::ErrorKind::TimedOut, Expired(waits_for))),
            Stopped::Interrupt if ended.is_empty() => Err(Interrupted(()).raise(self)),
            _ => Ok(ended),
        }
    }

    /// To be called where a tasklet was answered without a wait: after some times in a row, lets others run.
    ///
    /// # Errors
    /// The interrupt that was left on this tasklet.
    pub fn give_way(self: &Rc<Self>) -> Result<(), Interrupted> {
        // It was a call of the system's, which takes longer than a switch: the port is to be polled as soon as after
        // that many switches. Or who asks again and again holds back all completions.
        self.switches.set(self.switches.get() + 1);
        if self.immediate.get() > IMMEDIATE_IN_A_ROW {
            return self.yield_now();
        }
        self.immediate.set(self.immediate.get() + 1);
        Ok(())
    }

    /// Hands the bytes of a provided buffer to `read`, and gives the buffer back.
    pub fn consume<R>(&self, outcome: Outcome, read: impl FnOnce(&[u8]) -> R) -> R {
        match outcome {
            Outcome::Provided(Some(buffer)) => {
                let mut port = self.port.borrow_mut();
                let value = read(port.buffer(&buffer));
                port.recycle(buffer);
                value
            }
            _ => read(&[]),
        }
    }
}

/// An operation that was handed to the port.
enum Begun {
    Ended(io::Result<Outcome>),
    /// Its completion will be told to that slot of the waits.
    UnderWay(OpId, usize),
}

/// Why an operation was cancelled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stopped {
    No,
    Deadline,
    Interrupt,
}

fn is_cancelled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(overlapped_port::sys::CANCELLED)
}

/// The error of an operation whose time was up.
#[derive(Debug)]
struct Expired(&'static str);

impl fmt::Display for Expired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} timed out", self.0)
    }
}

impl std::error::Error for Expired {}
