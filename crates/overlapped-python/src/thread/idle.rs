//! Who waits until nobody is left to run: Stackless's `run()`, and whoever stands for it.
//!
//! A thread is *idle* where no tasklet is ready and nothing of its own can make one so: nothing is in flight on the port, no
//! timer is set, no function is offloaded. As long as a tasklet waits for any of those, the run goes on, as it did under
//! Stackless, where a tasklet that polled the sockets kept it busy; programs that stopped that tasklet, and polled by
//! themselves, can have it so here. Another thread may still wake somebody: that does not count, as it did not there.
//!
//! Runs nest. The innermost alone is told; where there is none, and the thread's own tasklet has paused itself, that one goes
//! on.
//!
//! **Limits.** A greenlet cannot be left in the middle of its Python code, so time is looked at where a tasklet leaves its
//! turn: if it could go on (it yields, and does not wait) it is paused, and the run returns it. (Rejected: a timer of the
//! port's. The thread is not idle while one is set, and it is only looked at every so many switches.)

use std::time::{Duration, Instant};

use overlapped::engine::{Scheduler, TaskletId};

use super::greenlets::{Greenlets, Limit, Run};

/// Looks, where nobody is ready, whether the thread is idle and somebody waits for that, who is ready then.
pub(super) fn ends(greenlets: &Greenlets, scheduler: &Scheduler) -> bool {
    if !scheduler.is_deadlocked() && (greenlets.port_counts.get() || greenlets.runs.borrow().is_empty()) {
        return false;
    }
    match greenlets.runs.borrow_mut().pop() {
        Some(run) => scheduler.wake(run.by),
        None => return scheduler.resume(TaskletId::ROOT),
    }
    true
}

/// How long the port may be waited in.
pub(super) fn patience(greenlets: &Greenlets) -> Option<Duration> {
    match greenlets.runs.borrow().last()?.limit? {
        Limit::Turn(_) => None,
        Limit::Total { until, .. } => Some(until.saturating_duration_since(Instant::now())),
    }
}

/// To be called after the wait in the port: the time of a run may be up.
pub(super) fn after_wait(greenlets: &Greenlets, scheduler: &Scheduler) {
    if patience(greenlets).is_some_and(|patience| patience.is_zero()) {
        end(greenlets, scheduler);
    }
}

/// To be called where `me` leaves its turn.
pub(super) fn leaves(greenlets: &Greenlets, scheduler: &Scheduler, me: TaskletId) {
    let Some(gone_to) = greenlets.gone_to.get() else { return };
    let Some(Run { by, limit: Some(limit) }) = greenlets.runs.borrow().last().copied() else {
        // A run inside of another, without a limit of its own.
        return;
    };
    let now = Instant::now();
    let (is_up, soft) = match limit {
        Limit::Turn(most) => (now.saturating_duration_since(gone_to) > most, false),
        Limit::Total { until, soft } => (now >= until, soft),
    };
    if !is_up || me == by || !scheduler.is_ready(me) {
        return;
    }
    if !soft {
        scheduler.pause(me);
        greenlets.victim.set(Some(me));
    }
    end(greenlets, scheduler);
}

/// Ends the innermost run: who waits for it is next.
fn end(greenlets: &Greenlets, scheduler: &Scheduler) {
    if let Some(run) = greenlets.runs.borrow_mut().pop() {
        scheduler.wake(run.by);
        scheduler.turn_to(run.by);
    }
}

/// To be called where a tasklet is gone to.
pub(super) fn arrives(greenlets: &Greenlets) {
    if greenlets.gone_to.get().is_some() {
        greenlets.gone_to.set(Some(Instant::now()));
    }
}
