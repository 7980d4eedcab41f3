//! Who waits until nobody is left to run: Stackless's `run()`, and whoever stands for it.
//!
//! A thread is *idle* where no tasklet is ready and nothing of its own can make one so: nothing is in flight on the port, no
//! timer is set, no function is offloaded. As long as a tasklet waits for any of those, the run goes on, as it did under
//! Stackless, where a tasklet that polled the sockets kept it busy; programs that stopped that tasklet, and polled by
//! themselves, can have it so here. Another thread may still wake somebody: that does not count, as it did not there.
//!
//! Runs nest. The innermost alone is told; where there is none, and the thread's own tasklet has paused itself, that one goes
//! on. A run that ends before, because its time is up or somebody wants its tasklet, takes those inside of it with it.
//!
//! **Limits.** Time is looked at where a tasklet leaves its turn: if it could go on (it yields, and does not wait) it is
//! paused, and the run returns it. One that computes, and does not leave it, is made to when the time is up, where it may be
//! stopped: see [`preempt`](super::preempt). (Rejected: a timer of the port's. The thread is not idle while one is set, and
//! it is only looked at every so many switches.)

use std::time::{Duration, Instant};

use overlapped::engine::{Scheduler, TaskletId};
use overlapped_port::sim::now;

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

/// Ends a tasklet's wait, where it is one, and those inside of it: their tasklets are ready, but for the one that runs.
pub(super) fn leave(greenlets: &Greenlets, scheduler: &Scheduler, id: TaskletId) -> bool {
    let place = greenlets.runs.borrow().iter().position(|run| run.by == id);
    if let Some(place) = place {
        let ended = greenlets.runs.borrow_mut().split_off(place);
        ended.iter().filter(|run| run.by != scheduler.current_tasklet()).for_each(|run| scheduler.wake(run.by));
    }
    place.is_some()
}

/// How long the port may be waited in.
pub(super) fn patience(greenlets: &Greenlets) -> Option<Duration> {
    let until = |run: &Run| match run.limit? {
        Limit::Turn(_) => None,
        Limit::Total { until, .. } => Some(until),
    };
    let first = greenlets.runs.borrow().iter().filter_map(until).min()?;
    Some(first.saturating_duration_since(now()))
}

/// To be called after the wait in the port: the time of a run may be up.
pub(super) fn after_wait(greenlets: &Greenlets, scheduler: &Scheduler) {
    if greenlets.gone_to.get().is_some()
        && let Some(run) = out_of_time(greenlets, Duration::ZERO)
    {
        end(greenlets, scheduler, run.by);
    }
}

/// To be called where `me` leaves its turn.
#[inline]
pub(super) fn leaves(greenlets: &Greenlets, scheduler: &Scheduler, me: TaskletId) {
    if let Some(gone_to) = greenlets.gone_to.get() {
        leaves_after(gone_to, greenlets, scheduler, me);
    }
}

#[inline(never)]
fn leaves_after(gone_to: Instant, greenlets: &Greenlets, scheduler: &Scheduler, me: TaskletId) {
    let Some(Run { by, limit }) = out_of_time(greenlets, now().saturating_duration_since(gone_to)) else { return };
    if me == by || !scheduler.is_ready(me) {
        return;
    }
    if !matches!(limit, Some(Limit::Total { soft: true, .. })) {
        scheduler.pause(me);
        greenlets.victim.set(Some(me));
    }
    end(greenlets, scheduler, by);
}

/// The outermost run whose time is up, where a turn has taken so long.
fn out_of_time(greenlets: &Greenlets, turn: Duration) -> Option<Run> {
    let now = now();
    let is_up = |run: &&Run| match run.limit {
        None => false,
        Some(Limit::Turn(most)) => turn > most,
        Some(Limit::Total { until, .. }) => now >= until,
    };
    greenlets.runs.borrow().iter().find(is_up).copied()
}

/// What is left to `me` of the time after which it is paused, in the run where that is least; None where none is timed so.
pub(super) fn time_left(greenlets: &Greenlets, me: TaskletId) -> Option<Duration> {
    let gone_to = greenlets.gone_to.get()?;
    greenlets.runs.borrow().iter().filter(|run| run.by != me).filter_map(|run| run.limit?.left(gone_to)).min()
}

/// Ends a run: who waits for it is next.
fn end(greenlets: &Greenlets, scheduler: &Scheduler, by: TaskletId) {
    leave(greenlets, scheduler, by);
    scheduler.turn_to(by);
}

/// To be called where a tasklet is gone to.
pub(super) fn arrives(greenlets: &Greenlets) {
    if greenlets.gone_to.get().is_some() {
        greenlets.gone_to.set(Some(now()));
    }
}
