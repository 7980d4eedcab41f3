//! Waiting for others: parking, waking, yielding.

use std::rc::Rc;
use std::time::Instant;

use super::board::State;
use super::id::TaskletId;
use super::table::Entry;
use super::thread::Scheduler;
use super::token::Token;
use crate::interrupt::{Interrupted, Level, Telling, Verdict};
use crate::{panics, spans};

/// After so many results that were there at once, a tasklet lets others run.
pub(super) const IMMEDIATE_IN_A_ROW: u32 = 32;

impl Scheduler {
    /// Wakes a tasklet of this thread: it runs after those that are ready already.
    pub fn wake(&self, id: TaskletId) {
        if self.unpark(id) {
            self.ready.borrow_mut().push_back(id);
            self.trace_wake(id);
        }
    }

    /// Wakes a tasklet of this thread, to run before all others.
    fn wake_next(&self, id: TaskletId) {
        if self.unpark(id) {
            self.ready.borrow_mut().push_front(id);
            self.trace_wake(id);
        }
    }

    /// Tells those who trace that a tasklet has become ready.
    #[inline]
    fn trace_wake(&self, id: TaskletId) {
        if spans::in_use() {
            let span = self.table.borrow().get(id).map(|entry| entry.span.clone()).unwrap_or_default();
            self.call_between(|| spans::trace_wake(&span));
        }
    }

    /// Marks a tasklet as woken; true where it now must enter the queue.
    fn unpark(&self, id: TaskletId) -> bool {
        let mut table = self.table.borrow_mut();
        let Some(entry) = table.get_mut(id) else { return false };
        if entry.row.state() == State::Parked && !entry.paused {
            entry.row.set_state(State::Ready);
            return true;
        }
        entry.notified = true;
        false
    }

    /// Gives the thread away until this tasklet is gone to again.
    #[inline]
    pub(super) fn switch(self: &Rc<Self>, me: TaskletId) {
        self.must_not_be_between();
        panics::aside(|| self.switcher.park(self, me));
    }

    /// Lets the tasklets that are ready run before this one goes on.
    ///
    /// # Errors
    /// What this tasklet is told.
    #[inline]
    pub fn yield_now(self: &Rc<Self>) -> Result<(), Interrupted> {
        self.let_others_run();
        self.check()
    }

    #[inline]
    pub(super) fn let_others_run(self: &Rc<Self>) {
        self.must_not_be_between();
        let me = self.current.get();
        self.ready.borrow_mut().push_back(me);
        self.trace_wake(me);
        self.switch(me);
    }

    /// Lets `id` run at once, and this tasklet when those that are ready have run.
    pub(super) fn yield_to(self: &Rc<Self>, id: TaskletId) {
        self.wake_next(id);
        self.let_others_run();
    }

    /// Waits until this tasklet is woken, or until `deadline`. `waits_for` is what a listing of the tasklets shows.
    ///
    /// # Errors
    /// What this tasklet is told, also where that was before.
    pub(crate) fn wait(
        self: &Rc<Self>,
        telling: Telling,
        deadline: Option<Instant>,
        waits_for: &'static str,
    ) -> Result<(), Interrupted> {
        self.must_not_be_between();
        // Most tasklets are never told anything.
        if deadline.is_none() && self.park_if(waits_for, |entry| entry.leaving.is_none()) {
            return self.ask(telling);
        }
        self.wait_until(telling, deadline, waits_for)
    }

    #[inline(never)]
    fn wait_until(
        self: &Rc<Self>,
        telling: Telling,
        deadline: Option<Instant>,
        waits_for: &'static str,
    ) -> Result<(), Interrupted> {
        let deadline = match self.verdict(telling) {
            Verdict::GoOn => deadline,
            Verdict::CleanUp(until) => Some(deadline.map_or(until, |deadline| deadline.min(until))),
            Verdict::Leave(level) => {
                if level != Level::Thrown {
                    self.let_others_run();
                }
                return Err(Interrupted(level));
            }
        };
        self.park_until(deadline, waits_for);
        self.ask(telling)
    }

    /// Waits until this tasklet is woken, whatever the reason, or until `deadline`.
    pub(crate) fn park_until(self: &Rc<Self>, deadline: Option<Instant>, waits_for: &'static str) {
        let Some(deadline) = deadline else { return self.park(waits_for) };
        let timer = self.port.borrow_mut().set_timer(deadline, Token::Wake(self.current.get()).pack());
        self.park(waits_for);
        self.port.borrow_mut().clear_timer(timer);
    }

    /// Waits until this tasklet is woken, whatever the reason.
    pub(super) fn park(self: &Rc<Self>, waits_for: &'static str) {
        self.must_not_be_between();
        self.park_if(waits_for, |_| true);
    }

    /// The same if `may` says so; false where it does not. One look at the table serves both.
    #[inline]
    fn park_if(self: &Rc<Self>, waits_for: &'static str, may: impl FnOnce(&Entry) -> bool) -> bool {
        let me = self.current.get();
        {
            let mut table = self.table.borrow_mut();
            let entry = table.running(me);
            if !may(entry) {
                return false;
            }
            if std::mem::take(&mut entry.notified) {
                return true;
            }
            entry.row.park(waits_for, self.board.now());
        }
        self.switch(me);
        true
    }

    /// To be called where a tasklet was answered without a wait: after some times in a row, lets others run.
    ///
    /// # Errors
    /// What this tasklet is told, where it let others run.
    pub fn give_way(self: &Rc<Self>) -> Result<(), Interrupted> {
        // It was a call of the system's, which takes longer than a switch: the port is to be polled as soon as after
        // that many switches. Or who asks again and again holds back all completions.
        self.switches.set(self.switches.get() + 1);
        self.immediate.set(self.immediate.get() + 1);
        if self.has_had_enough() { self.yield_now() } else { Ok(()) }
    }

    /// Counts a wait that may turn out to be none; true where nothing stands against it.
    #[inline]
    pub(super) fn passes(&self) -> bool {
        if self.is_between() {
            return true;
        }
        self.immediate.set(self.immediate.get() + 1);
        !self.has_had_enough() && self.is_untold()
    }

    /// Whether it is time to let others run.
    pub(super) fn has_had_enough(&self) -> bool {
        self.immediate.get() > IMMEDIATE_IN_A_ROW && !self.is_between()
    }
}
