//! hyper's timer on the port's.
//!
//! A sleep sets a timer when it is first polled. One that is moved to a later time, as hyper moves the limit of a connection
//! with every request, keeps its timer, which is set anew when it is due: moving costs nothing.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ::hyper::rt;

use overlapped_port::sim::now;

use crate::reactor::guarded;
use crate::scheduler::{self, Remote, Scheduler, try_current};
use crate::time::deadline_after;

/// Timers of the thread's port: see [`hyper::rt::Timer`].
///
/// # Panics
/// A sleep panics that is polled outside of [`run`](crate::run).
#[derive(Clone, Copy, Debug, Default)]
pub struct Timer;

impl rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        self.sleep_until(deadline_after(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Sleep(Arc::new(Mutex::new(Alarm { deadline, set: None, waker: None }))))
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn rt::Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<Sleep>() {
            Some(sleep) => alarm(&sleep.0).deadline = deadline,
            None => *sleep = self.sleep_until(deadline),
        }
    }
}

struct Sleep(Arc<Mutex<Alarm>>);

struct Alarm {
    deadline: Instant,
    set: Option<Set>,
    waker: Option<Waker>,
}

/// A timer of some thread's port.
struct Set {
    port: Arc<Remote>,
    timer: scheduler::Timer,
    at: Instant,
}

fn alarm(alarm: &Mutex<Alarm>) -> MutexGuard<'_, Alarm> {
    alarm.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Alarm {
    /// Takes the timer back, where it is this thread's; another's is due in vain.
    fn clear(&mut self) {
        if let (Some(set), Some(scheduler)) = (self.set.take(), try_current())
            && Arc::ptr_eq(&set.port, scheduler.remote())
        {
            scheduler.clear(set.timer);
        }
    }
}

/// Sets the timer that the alarm wants.
fn set(scheduler: &Scheduler, shared: &Arc<Mutex<Alarm>>, alarm: &mut Alarm) {
    let (mine, at) = (Arc::clone(shared), alarm.deadline);
    let timer = scheduler.call_at(at, move |scheduler| ring(scheduler, &mine));
    alarm.set = Some(Set { port: Arc::clone(scheduler.remote()), timer, at });
}

/// A timer is due. Called by the loop.
fn ring(scheduler: &Scheduler, shared: &Arc<Mutex<Alarm>>) {
    let mut alarm = alarm(shared);
    alarm.set = None;
    // One that is polled by nobody has been dropped.
    let waker = alarm.waker.take();
    if waker.is_some() && now() < alarm.deadline {
        alarm.waker = waker;
        return set(scheduler, shared, &mut alarm);
    }
    drop(alarm);
    if let Some(waker) = waker {
        guarded(|| waker.wake());
    }
}

impl rt::Sleep for Sleep {}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut alarm = alarm(&self.0);
        if now() >= alarm.deadline {
            return Poll::Ready(());
        }
        let before = alarm.waker.replace(context.waker().clone());
        if alarm.set.as_ref().is_none_or(|set| set.at > alarm.deadline) {
            let scheduler = try_current().expect("a timer of Overlapped's is polled inside of overlapped::run");
            alarm.clear();
            set(&scheduler, &self.0, &mut alarm);
        }
        drop(alarm);
        // Somebody else's code.
        drop(before);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let waker = {
            let mut alarm = alarm(&self.0);
            alarm.clear();
            alarm.waker.take()
        };
        drop(waker);
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("deadline", &alarm(&self.0).deadline).finish()
    }
}
