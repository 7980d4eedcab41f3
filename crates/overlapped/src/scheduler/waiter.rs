//! Who waits, as others see it: on the same thread or on another.

use std::sync::Arc;
use std::task;
use std::time::Instant;

use super::id::TaskletId;
use super::remote::Remote;
use super::thread::{Scheduler, try_current, with_current};
use overlapped_port::sim::now;

use crate::interrupt::{Cause, Interrupted, Level, Telling, Verdict};

/// Somebody who waits, on whatever thread: a tasklet, a thread without a scheduler, or whoever polls a future.
#[derive(Clone)]
pub struct Waiter(Who);

#[derive(Clone)]
enum Who {
    Tasklet(Arc<Remote>, TaskletId),
    Thread(std::thread::Thread),
    Poller(task::Waker),
}

impl Waiter {
    /// The one that calls.
    pub fn current() -> Waiter {
        let tasklet = |scheduler: &Scheduler| Who::Tasklet(Arc::clone(&scheduler.remote), scheduler.current.get());
        Waiter(with_current(tasklet).unwrap_or_else(|| Who::Thread(std::thread::current())))
    }

    pub(crate) fn of(remote: &Arc<Remote>, id: TaskletId) -> Waiter {
        Waiter(Who::Tasklet(Arc::clone(remote), id))
    }

    /// Whoever polls a future.
    pub(crate) fn polling(context: &task::Context<'_>) -> Waiter {
        Waiter(Who::Poller(context.waker().clone()))
    }

    /// Ends its [`park`], or the next one.
    pub fn wake(&self) {
        match &self.0 {
            Who::Thread(thread) => thread.unpark(),
            Who::Poller(waker) => waker.wake_by_ref(),
            Who::Tasklet(remote, id) => {
                let is_here = |scheduler: &Scheduler| {
                    let is_here = Arc::ptr_eq(&scheduler.remote, remote);
                    if is_here {
                        scheduler.wake(*id);
                    }
                    is_here
                };
                if !with_current(is_here).unwrap_or(false) {
                    remote.wake(*id);
                }
            }
        }
    }

    /// The tasklet on its thread; `None` for who is no tasklet.
    pub fn id(&self) -> Option<TaskletId> {
        match &self.0 {
            Who::Tasklet(_, id) => Some(*id),
            Who::Thread(_) | Who::Poller(_) => None,
        }
    }

    /// The tasklet's number on its thread; 0 for the thread itself, and for who is no tasklet.
    pub fn number(&self) -> u64 {
        self.id().map_or(0, TaskletId::number)
    }

    /// Does something to the tasklet on its thread: at once where that is this one, and returns what comes of it, else soon.
    /// Nothing to who is no tasklet.
    fn there<R>(&self, act: impl FnOnce(&Scheduler, TaskletId) -> R + Send + 'static) -> Option<R> {
        let Who::Tasklet(remote, id) = &self.0 else { return None };
        let id = *id;
        match try_current() {
            Some(scheduler) if Arc::ptr_eq(&scheduler.remote, remote) => Some(act(&scheduler, id)),
            _ => {
                remote.call(Box::new(move || {
                    if let Some(scheduler) = try_current() {
                        act(&scheduler, id);
                    }
                }));
                None
            }
        }
    }

    /// Has the tasklet leave its wait, from whatever thread. Who is no tasklet cannot be interrupted.
    pub fn interrupt(&self, cause: Cause) {
        self.there(move |scheduler, id| scheduler.interrupt(id, cause));
    }

    /// Has a scope of the tasklet's end, from whatever thread.
    pub(crate) fn expire_scope(&self, scope: Level) {
        self.there(move |scheduler, id| scheduler.expire_scope(id, scope));
    }

    /// Runs `call` on the tasklet's thread, between two tasklets: it must not wait. False where that thread has no scheduler
    /// any more, which then drops it; and for who is no tasklet.
    pub fn call(&self, call: Box<dyn FnOnce() + Send>) -> bool {
        match &self.0 {
            Who::Tasklet(remote, _) => remote.call(call),
            Who::Thread(_) | Who::Poller(_) => false,
        }
    }

    /// Ends a scope of the tasklet's, a foreign one, from whatever thread; returns whether a wait was told of it, which on
    /// another thread is not known.
    pub fn end_scope(&self, number: u64) -> bool {
        self.there(move |scheduler, id| scheduler.end_scope_of(id, number)).unwrap_or(false)
    }

    /// Gives the tasklet another name, from whatever thread; from another one, soon. A thread without a scheduler has none.
    pub fn rename(&self, name: &str) {
        let name = name.to_owned();
        self.there(move |scheduler, id| scheduler.rename(id, &name));
    }

    /// Wakes it and, where it is a tasklet of this thread and the caller is too, lets it run at once.
    pub(crate) fn wake_and_yield(&self) {
        if let Who::Tasklet(remote, id) = &self.0
            && let Some(scheduler) = try_current()
            && Arc::ptr_eq(&scheduler.remote, remote)
            && !scheduler.is_between()
        {
            return scheduler.yield_to(*id);
        }
        self.wake();
    }
}

impl Scheduler {
    /// Somebody to wake a tasklet of this thread by.
    pub fn waiter(&self, id: TaskletId) -> Waiter {
        Waiter::of(&self.remote, id)
    }
}

impl PartialEq for Waiter {
    fn eq(&self, other: &Waiter) -> bool {
        match (&self.0, &other.0) {
            (Who::Tasklet(a, i), Who::Tasklet(b, j)) => Arc::ptr_eq(a, b) && i == j,
            (Who::Thread(a), Who::Thread(b)) => a.id() == b.id(),
            (Who::Poller(a), Who::Poller(b)) => a.will_wake(b),
            _ => false,
        }
    }
}

/// Waits until [`Waiter::wake`], or until `deadline`; it may also return for no reason.
///
/// # Errors
/// What the tasklet is told: to be passed on, once the caller has taken its wait back.
pub fn park(deadline: Option<Instant>, waits_for: &'static str) -> Result<(), Interrupted> {
    wait(Telling::Error, deadline, waits_for)
}

/// As [`park`], for a wait that tells its caller so.
pub(crate) fn wait(telling: Telling, deadline: Option<Instant>, waits_for: &'static str) -> Result<(), Interrupted> {
    match (try_current(), deadline) {
        (Some(scheduler), deadline) => return scheduler.wait(telling, deadline, waits_for),
        (None, None) => std::thread::park(),
        (None, Some(deadline)) => {
            std::thread::park_timeout(deadline.saturating_duration_since(now()));
        }
    }
    Ok(())
}

/// Waits for a place in a list until `leave` gives it up: it is asked, after each wake, with whether the wait goes on. Also
/// returns what ended the wait, where the tasklet is told something.
///
/// The list is the caller's, and locked by `leave` alone: whoever serves needs it meanwhile.
#[inline]
pub(crate) fn await_place<L>(
    telling: Telling,
    deadline: Option<Instant>,
    waits_for: &'static str,
    mut leave: impl FnMut(bool) -> Option<L>,
) -> (L, Result<(), Interrupted>) {
    loop {
        let expired = deadline.is_some_and(|deadline| now() >= deadline);
        let waited = if expired { Ok(()) } else { wait(telling, deadline, waits_for) };
        if let Some(left) = leave(!expired && waited.is_ok()) {
            return (left, waited);
        }
    }
}

/// To be called where a wait begins that may turn out to be none: who asks again and again for what is always there lets
/// others run now and then, and under a level ends some time.
///
/// # Errors
/// Where enough was reported under the level.
#[inline]
pub(crate) fn passed(telling: Telling) -> Result<(), Interrupted> {
    if with_current(|scheduler| scheduler.passes()).unwrap_or(true) { Ok(()) } else { passed_slowly(telling) }
}

#[cold]
#[inline(never)]
fn passed_slowly(telling: Telling) -> Result<(), Interrupted> {
    let Some(scheduler) = try_current() else { return Ok(()) };
    if scheduler.has_had_enough() {
        scheduler.let_others_run();
    }
    match scheduler.verdict(telling) {
        Verdict::Leave(level) if level != Level::Thrown && !scheduler.allows_one_more() => {
            scheduler.let_others_run();
            Err(Interrupted(level))
        }
        _ => Ok(()),
    }
}
