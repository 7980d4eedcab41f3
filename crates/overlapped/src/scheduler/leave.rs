//! How waits end early: what stands of the current tasklet, and telling it. The design is in [`crate::interrupt`].

use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Instant;

use super::id::TaskletId;
use super::thread::{Scheduler, try_current};
use overlapped_port::sim::now;

use crate::interrupt::{Cause, Interrupted, Level, Mask, Masking, ScopeId, Telling, Unwind, Verdict};

impl Scheduler {
    /// Has a tasklet leave its current or next wait.
    pub fn interrupt(&self, id: TaskletId, cause: Cause) {
        match cause {
            Cause::Cancel => self.cancel_since(id, now()),
            Cause::OutOfTime(scope) => self.expire_scope(id, Level::OutOfTime(scope)),
            Cause::Thrown(number) => {
                if let Some(entry) = self.table.borrow_mut().get_mut(id) {
                    entry.leaving().throw(number);
                }
                self.let_leave(id);
            }
        }
    }

    pub(super) fn cancel_since(&self, id: TaskletId, since: Instant) {
        if let Some(entry) = self.table.borrow_mut().get_mut(id) {
            entry.leaving().cancel(since);
        }
        self.let_leave(id);
    }

    /// Lets a tasklet run that is to leave, also one that is paused.
    fn let_leave(&self, id: TaskletId) {
        if !self.resume(id) {
            self.wake(id);
        }
    }

    /// What the current tasklet, a foreign one, is to raise now, if anything. What was thrown is taken; a level stays, and is
    /// noted to have been told.
    #[inline]
    pub fn take_interrupt(&self) -> Option<Cause> {
        let Verdict::Leave(level) = self.verdict(Telling::Error) else { return None };
        self.take(level)
    }

    #[inline(never)]
    fn take(&self, level: Level) -> Option<Cause> {
        let mut table = self.table.borrow_mut();
        let leaving = table.running(self.current.get()).leaving();
        leaving.tell(level);
        level.cause().or_else(|| leaving.take_thrown().map(Cause::Thrown))
    }

    /// Takes back what was thrown and not raised.
    pub fn withdraw(&self, id: TaskletId, cause: Cause) {
        if let Cause::Thrown(number) = cause
            && let Some(leaving) = self.table.borrow_mut().get_mut(id).and_then(|entry| entry.leaving.as_mut())
        {
            leaving.withdraw(number);
        }
    }

    /// What a wait of the current tasklet is to do.
    #[inline]
    pub(super) fn verdict(&self, telling: Telling) -> Verdict {
        if self.is_untold() { Verdict::GoOn } else { self.verdict_of_told(telling) }
    }

    /// Whether nothing stands of the current tasklet. Most are never told anything.
    #[inline]
    pub(super) fn is_untold(&self) -> bool {
        self.table.borrow().at(self.current.get()).leaving.is_none()
    }

    #[cold]
    #[inline(never)]
    fn verdict_of_told(&self, telling: Telling) -> Verdict {
        let table = self.table.borrow();
        let Some(leaving) = &table.at(self.current.get()).leaving else { return Verdict::GoOn };
        let limit = self.switcher.cleanup().unwrap_or_else(|| self.remote.cleanup());
        let cleans_up = |level: Level| level.cause().is_some_and(|cause| self.switcher.cleans_up(cause));
        leaving.verdict(telling, cleans_up, limit)
    }

    #[inline]
    pub(super) fn ask(&self, telling: Telling) -> Result<(), Interrupted> {
        match self.verdict(telling) {
            Verdict::Leave(level) => Err(Interrupted(level)),
            Verdict::GoOn | Verdict::CleanUp(_) => Ok(()),
        }
    }

    /// What the current tasklet is told, if anything.
    ///
    /// # Errors
    /// That.
    #[inline]
    pub fn check(&self) -> Result<(), Interrupted> {
        self.ask(Telling::Error)
    }

    /// Under a level: whether one more result that needs no wait is reported.
    pub(super) fn allows_one_more(&self) -> bool {
        self.table.borrow_mut().running(self.current.get()).leaving().allows()
    }

    /// Whether the current tasklet was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        let mut table = self.table.borrow_mut();
        table.running(self.current.get()).leaving.as_ref().is_some_and(|leaving| leaving.is_cancelled())
    }

    /// Whether a wait of the current tasklet has said that it was cancelled.
    pub(crate) fn was_told_to_end(&self) -> bool {
        let mut table = self.table.borrow_mut();
        table.running(self.current.get()).leaving.as_ref().is_some_and(|leaving| leaving.was_told_to_end())
    }

    /// Begins a scope of the current tasklet, at whose end `level` of it is told; that names it.
    pub(crate) fn begin_scope(&self, level: fn(ScopeId) -> Level) -> Level {
        let id = self.scopes.get();
        self.scopes.set(id + 1);
        let level = level(id);
        let mut table = self.table.borrow_mut();
        table.running(self.current.get()).leaving().begin_scope(level, std::thread::panicking());
        level
    }

    /// Begins a time-out scope of the current tasklet, a foreign one: of a number that its own side has not given before.
    pub fn begin_scope_as(&self, number: u64) {
        self.table.borrow_mut().running(self.current.get()).leaving().begin_scope(Level::OutOfTime(number), false);
    }

    /// Ends a scope of a foreign tasklet of this thread; returns whether a wait was told of it.
    pub fn end_scope_of(&self, tasklet: TaskletId, number: u64) -> bool {
        let mut table = self.table.borrow_mut();
        let leaving = table.get_mut(tasklet).and_then(|entry| entry.leaving.as_mut());
        leaving.is_some_and(|leaving| leaving.end_scope(Level::OutOfTime(number)))
    }

    /// A scope of `tasklet` is to end.
    pub(crate) fn expire_scope(&self, tasklet: TaskletId, scope: Level) {
        if let Some(entry) = self.table.borrow_mut().get_mut(tasklet) {
            entry.leaving().expire(scope, now());
        }
        self.wake(tasklet);
    }

    /// Ends the current tasklet's innermost scope; returns whether a wait was told of it.
    pub(crate) fn end_scope(&self, scope: Level) -> bool {
        self.table.borrow_mut().running(self.current.get()).leaving().end_scope(scope)
    }

    /// Masks levels, until the cleanup limit has passed since they stand or until [`Scheduler::unmask`].
    pub fn mask(&self) -> Mask {
        self.table.borrow_mut().running(self.current.get()).leaving().mask(Masking::Open)
    }

    /// Masks levels until [`Scheduler::unmask`], whatever the cleanup limit: for what must not be left half way.
    pub fn mask_whole(&self) -> Mask {
        self.table.borrow_mut().running(self.current.get()).leaving().mask(Masking::Whole)
    }

    /// Masks levels until the current tasklet has ended; also past the cleanup limit, nothing unwinds for them.
    pub fn end(&self) {
        self.table.borrow_mut().running(self.current.get()).ends();
    }

    /// Ends what the call began that returned `before`, in the same tasklet.
    pub fn unmask(&self, before: Mask) {
        self.table.borrow_mut().running(self.current.get()).leaving().unmask(before);
    }

    /// Notes that a wait of the current tasklet, which has been taken back, is told `level`. Unwinds where it has to.
    pub(super) fn tell(&self, level: Level, telling: Telling) {
        let unwinds = {
            let mut table = self.table.borrow_mut();
            let leaving = table.running(self.current.get()).leaving();
            let is_due = leaving.tell(level) || telling == Telling::Unwinding;
            let unwinds = is_due
                && level != Level::Thrown
                && self.switcher.unwinds()
                && leaving.may_unwind(level, std::thread::panicking());
            if unwinds {
                leaving.unwinds(level);
            }
            unwinds
        };
        if unwinds {
            // Not a panic: no message, no hook. The panic runtime is only the way to run the destructors.
            resume_unwind(Box::new(Unwind(level)));
        }
    }
}

/// Tells the caller of a wait that has no result. Returns in a foreign tasklet alone, which is then interrupted.
pub(crate) fn raise(interrupted: Interrupted) {
    if let Some(scheduler) = try_current() {
        scheduler.tell(interrupted.0, Telling::Unwinding);
    }
}

/// Notes that the caller of a wait is told by its result; unwinds where it has ignored too many.
pub(crate) fn pass_on(interrupted: &Interrupted) {
    if let Some(scheduler) = try_current() {
        scheduler.tell(interrupted.0, Telling::Error);
    }
}

/// As [`pass_on`], with the error to return.
pub(crate) fn told(interrupted: Interrupted) -> std::io::Error {
    pass_on(&interrupted);
    interrupted.into()
}

impl Scheduler {
    /// As [`pass_on`], with the error to return.
    pub(super) fn refuse(self: &Rc<Self>, level: Level) -> std::io::Error {
        self.tell(level, Telling::Error);
        Interrupted(level).into()
    }
}
