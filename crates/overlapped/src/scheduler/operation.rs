//! Waiting for operations: the tasklet's side of the port.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use overlapped_port::{Lane, Op, OpId, Outcome, Submitted, TimerId};

use super::thread::Scheduler;
use super::token::Token;
use super::turn::SWITCHES_A_TURN;
use super::wait::{Early, Stopped, Wait};
use crate::interrupt::{Level, Telling, Verdict};

/// A result of so many bytes counts as one more: they took the time.
const LARGE: usize = 64 << 10;

/// Ends the process where it is dropped by an unwinding: what is in flight then owns memory that would be freed. It costs
/// nothing where all goes well.
pub(crate) struct NoUnwind(pub(crate) &'static str);

impl Drop for NoUnwind {
    fn drop(&mut self) {
        eprintln!("overlapped: the stack unwinds past a {} that is in flight and owns memory on it", self.0);
        std::process::abort();
    }
}

impl NoUnwind {
    /// Nothing is in flight any more.
    pub(crate) fn over(self) {
        std::mem::forget(self);
    }
}

impl Scheduler {
    /// Runs one operation to its end; only the current tasklet waits. Past `deadline` it is cancelled.
    ///
    /// # Errors
    /// The system's; `TimedOut` past the deadline, if nothing was moved by then; what the tasklet is told (an
    /// [`Interrupted`](crate::engine::Interrupted), to be raised in a foreign one).
    ///
    /// # Safety
    /// The handles that `op` names are open and the caller's to use, until this returns. What a `CloseFile` or a
    /// `CloseSocket` names belongs to nobody else.
    #[allow(unsafe_code, reason = "the caller makes the promise")]
    pub unsafe fn operate(self: &Rc<Self>, op: Op<'_>, deadline: Option<Instant>) -> io::Result<Outcome> {
        self.perform(op, deadline)
    }

    /// As [`Scheduler::operate`], for the sockets and files of this crate: they have the handle that `op` names, and keep
    /// it meanwhile.
    #[inline]
    pub(crate) fn perform(self: &Rc<Self>, op: Op<'_>, deadline: Option<Instant>) -> io::Result<Outcome> {
        self.run_to_end(op, deadline, false)
    }

    /// Runs a function on a thread of the port's pool, in the lane for such; only the current tasklet waits. Past
    /// `deadline`, or where this tasklet is told to leave, the function is left alone: if it has begun it runs to its end, and its result is lost.
    ///
    /// # Errors
    /// The function's, and as for [`Scheduler::operate`].
    pub fn call(
        self: &Rc<Self>,
        lane: Lane,
        function: impl FnOnce() -> io::Result<usize> + Send + 'static,
        deadline: Option<Instant>,
    ) -> io::Result<usize> {
        match self.run_to_end(Op::Call { function: Box::new(function), lane }, deadline, true)? {
            Outcome::Count(count) => Ok(count),
            outcome => unreachable!("a call brings a number, not {outcome:?}"),
        }
    }

    /// Runs `op` to its end or, where it `may_be_left` because it borrows nothing, until this tasklet has to leave.
    ///
    /// The tasklet waits in here, and where its stack is copied at every switch, each frame counts: what comes before the
    /// wait and after it is in functions of its own.
    #[inline]
    fn run_to_end(self: &Rc<Self>, op: Op<'_>, deadline: Option<Instant>, may_be_left: bool) -> io::Result<Outcome> {
        let told = self.told_before()?;
        let waits_for = op.name();
        let in_flight = NoUnwind(waits_for);
        #[allow(unsafe_code, reason = "the one place where a borrow is handed to the port")]
        // SAFETY: what `op` borrows outlives this call, and this call neither returns nor unwinds before the completion
        // has come: the wait below goes on until it has, whatever wakes it, and `in_flight` ends the process where
        // something unwinds. One that may be left is an `Op::Call`, which borrows nothing.
        let begun = unsafe { self.begin(op) };
        match begun {
            Begun::Ended(result) => {
                in_flight.over();
                self.without_wait(result)
            }
            Begun::UnderWay(id, slot) => {
                if deadline.is_some() || told.is_some() || may_be_left {
                    self.may_end_before(slot, deadline, told, may_be_left);
                }
                while self.goes_on(id, slot) {
                    self.park(waits_for);
                }
                in_flight.over();
                self.conclude(slot, waits_for)
            }
        }
    }

    /// The level that stands already: what is begun then is cancelled at once, for what can be had without a wait.
    ///
    /// # Errors
    /// Where enough was reported under it.
    #[inline]
    fn told_before(self: &Rc<Self>) -> io::Result<Option<Level>> {
        self.must_not_be_between();
        match self.verdict(Telling::Error) {
            Verdict::Leave(level) => self.still_allowed(level).map(|()| Some(level)),
            Verdict::GoOn | Verdict::CleanUp(_) => Ok(None),
        }
    }

    #[cold]
    fn still_allowed(self: &Rc<Self>, level: Level) -> io::Result<()> {
        if level == Level::Thrown {
            return Err(self.refuse(level));
        }
        let is_foreign = !self.switcher.unwinds();
        if is_foreign || !self.allows_one_more() {
            self.let_others_run();
            return Err(self.refuse(level));
        }
        Ok(())
    }

    /// A slot in which the current tasklet will be told of something.
    #[inline]
    fn new_wait(&self) -> usize {
        let wait = Wait { tasklet: self.current.get(), result: None, expired: false, abandoned: false, early: None };
        self.waits.borrow_mut().insert(wait)
    }

    /// Hands `op` to the port.
    ///
    /// # Safety
    /// As for [`overlapped_port::Port::submit`].
    #[allow(unsafe_code, reason = "the caller makes the promise")]
    #[inline(never)]
    unsafe fn begin(&self, op: Op<'_>) -> Begun {
        let next = self.waits.borrow().vacant_key();
        // SAFETY: the caller's promise.
        match unsafe { self.port.borrow_mut().submit(op, Token::Operation(next as u32).pack()) } {
            Submitted::Pending(id) => {
                let slot = self.new_wait();
                debug_assert_eq!(slot, next, "the port runs nothing that waits");
                Begun::UnderWay(id, slot)
            }
            Submitted::Done(result) => Begun::Ended(result),
        }
    }

    /// Sees to it that a wait ends before its operation has, if it comes to that.
    #[inline(never)]
    fn may_end_before(&self, slot: usize, deadline: Option<Instant>, told: Option<Level>, may_be_left: bool) {
        let timer = deadline.map(|deadline| self.set_deadline(deadline, slot));
        let early = Early { told, timer, may_be_left, ..Early::default() };
        self.waits.borrow_mut()[slot].early = Some(Box::new(early));
    }

    /// Whether the wait for an operation goes on: until it has ended or, where it may be left, this tasklet has to leave.
    /// Cancels it where it is to end before.
    #[inline]
    fn goes_on(&self, id: OpId, slot: usize) -> bool {
        let is_told_nothing = {
            let wait = &self.waits.borrow()[slot];
            if wait.result.is_some() {
                return false;
            }
            wait.early.is_none() && self.is_untold()
        };
        is_told_nothing || self.goes_on_told(id, slot)
    }

    /// The same for one that may end before, or whose tasklet is told something.
    #[inline(never)]
    fn goes_on_told(&self, id: OpId, slot: usize) -> bool {
        let (expired, early) = {
            let wait = &mut self.waits.borrow_mut()[slot];
            (wait.expired, wait.early.take())
        };
        let mut early = early.unwrap_or_default();
        if early.stopped == Stopped::No {
            early.stopped = self.stopped_now(early.told, expired, &mut early.clean_up);
            if early.stopped != Stopped::No {
                self.port.borrow_mut().cancel(id);
            }
        }
        let goes_on = !early.may_be_left || early.stopped == Stopped::No;
        self.waits.borrow_mut()[slot].early = Some(early);
        goes_on
    }

    /// Whether a wait that goes on is to end now. Where this is cleanup, sees to it that it is asked again in time.
    #[inline]
    fn stopped_now(&self, told: Option<Level>, expired: bool, clean_up: &mut Option<TimerId>) -> Stopped {
        if let Some(level) = told {
            return Stopped::Told(level);
        }
        if expired {
            return Stopped::Deadline;
        }
        match self.verdict(Telling::Error) {
            Verdict::GoOn => Stopped::No,
            Verdict::Leave(level) => Stopped::Told(level),
            Verdict::CleanUp(until) => {
                if clean_up.is_none() {
                    let token = Token::Wake(self.current.get()).pack();
                    *clean_up = Some(self.port.borrow_mut().set_timer(until, token));
                }
                Stopped::No
            }
        }
    }

    #[inline(never)]
    fn set_deadline(&self, deadline: Instant, slot: usize) -> TimerId {
        self.port.borrow_mut().set_timer(deadline, Token::Deadline(slot as u32).pack())
    }

    /// What an operation has come to whose wait is over.
    #[inline(never)]
    fn conclude(self: &Rc<Self>, slot: usize, waits_for: &'static str) -> io::Result<Outcome> {
        {
            let mut waits = self.waits.borrow_mut();
            if waits[slot].early.is_none() {
                return waits.remove(slot).result.expect("only one that has ended is not waited for");
            }
        }
        self.conclude_early(slot, waits_for)
    }

    /// The same for one that might have ended before its operation. One that was left frees the slot when it has ended.
    #[inline(never)]
    fn conclude_early(self: &Rc<Self>, slot: usize, waits_for: &'static str) -> io::Result<Outcome> {
        let (result, early) = {
            let mut waits = self.waits.borrow_mut();
            let wait = &mut waits[slot];
            let early = wait.early.take().unwrap_or_default();
            wait.abandoned = wait.result.is_none();
            (if wait.abandoned { None } else { waits.remove(slot).result }, early)
        };
        for timer in [early.timer, early.clean_up].into_iter().flatten() {
            self.port.borrow_mut().clear_timer(timer);
        }
        match result.unwrap_or_else(|| Err(io::Error::from_raw_os_error(overlapped_port::sys::CANCELLED))) {
            Err(error) if is_cancelled(&error) => Err(match early.stopped {
                Stopped::No => error,
                Stopped::Deadline => io::Error::new(io::ErrorKind::TimedOut, Expired(waits_for)),
                Stopped::Told(level) => self.refuse(level),
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
        if self.has_had_enough() {
            // What this tasklet is told meanwhile is for the next wait: this result is not lost.
            self.let_others_run();
        }
        result
    }

    /// Runs several operations (one at least) until one has ended: the others are then cancelled, and their completions
    /// awaited. Returns those that have ended by themselves, each with its place in `ops`.
    ///
    /// # Errors
    /// `TimedOut` past the deadline, where none had ended by then; what the tasklet is told, as for
    /// [`Scheduler::operate`]. What an operation failed with is in its own result.
    ///
    /// # Safety
    /// As for [`Scheduler::operate`].
    #[allow(unsafe_code, reason = "the caller makes the promise")]
    pub unsafe fn operate_any<'a>(
        self: &Rc<Self>,
        ops: impl IntoIterator<Item = Op<'a>>,
        deadline: Option<Instant>,
    ) -> io::Result<Vec<(usize, io::Result<Outcome>)>> {
        // All of them, before the first is in flight: the iterator is the caller's code.
        let ops: Vec<Op<'a>> = ops.into_iter().collect();
        let told = self.told_before()?;
        let mut waits_for = "";
        let in_flight = NoUnwind("set of operations");
        let (mut ended, mut under_way) = (Vec::new(), Vec::new());
        for (place, op) in ops.into_iter().enumerate() {
            waits_for = op.name();
            // SAFETY: what `op` borrows outlives this call, and this call neither returns nor unwinds before every
            // completion has come: the loop below goes on until it has, and `in_flight` ends the process where something
            // unwinds.
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
        let mut clean_up = None;
        let stopped = loop {
            under_way.retain(|(place, _, slot)| {
                let mut waits = self.waits.borrow_mut();
                let Some(result) = waits[*slot].result.take() else { return true };
                waits.remove(*slot);
                ended.push((*place, result));
                false
            });
            if !ended.is_empty() {
                break Stopped::No;
            }
            let expired = self.waits.borrow()[alarm].expired;
            let stopped = self.stopped_now(told, expired, &mut clean_up);
            if stopped != Stopped::No {
                break stopped;
            }
            self.park(waits_for);
        };
        under_way.iter().for_each(|(_, id, _)| self.port.borrow_mut().cancel(*id));
        // One after the other: the ends of many come in many turns, and who looked at all in each would look at their square.
        for (place, _, slot) in under_way {
            while self.waits.borrow()[slot].result.is_none() {
                self.park(waits_for);
            }
            let result = self.waits.borrow_mut().remove(slot).result.expect("it has ended");
            if !matches!(&result, Err(error) if is_cancelled(error)) {
                ended.push((place, result));
            }
        }
        for timer in [timer, clean_up].into_iter().flatten() {
            self.port.borrow_mut().clear_timer(timer);
        }
        self.waits.borrow_mut().remove(alarm);
        in_flight.over();
        match stopped {
            Stopped::Deadline if ended.is_empty() => Err(io::Error::new(io::ErrorKind::TimedOut, Expired(waits_for))),
            Stopped::Told(level) if ended.is_empty() => Err(self.refuse(level)),
            _ => Ok(ended),
        }
    }
}

/// An operation that was handed to the port.
enum Begun {
    Ended(io::Result<Outcome>),
    /// Its completion will be told to that slot of the waits.
    UnderWay(OpId, usize),
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
