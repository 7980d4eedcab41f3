//! Calls that come later.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use super::guard::guarded;
use overlapped_port::sim::now;

use crate::scheduler::{Scheduler, Timer, try_current};
use crate::time::deadline_after;

/// Calls a function at `deadline`, or as soon after as the loop turns, between two tasklets: it must not wait. Of two with
/// the same deadline, the one that was asked for first is called first. Setting and taking back costs the logarithm of how
/// many are set.
///
/// A function that panics has its message printed, and the loop goes on. Those that are not due when the
/// [`run`](crate::run) ends are dropped.
///
/// # Panics
/// Outside [`run`](crate::run).
pub fn call_at(deadline: Instant, callback: impl FnOnce() + 'static) -> Call {
    let scheduler = try_current().expect("overlapped::reactor: call it inside overlapped::run");
    let function: Rc<Slot> = Rc::new(RefCell::new(Some(Box::new(callback))));
    let ours = Rc::downgrade(&function);
    let timer = scheduler.call_at(deadline, move |_| {
        // Taken out first: it may look at its own handle.
        let function = function.take();
        if let Some(function) = function {
            guarded(function);
        }
    });
    Call { scheduler: Rc::downgrade(&scheduler), timer: Cell::new(Some(timer)), function: ours, deadline }
}

/// Calls a function when `delay` has passed, as [`call_at`].
///
/// ```
/// use overlapped::{Event, reactor};
/// use std::time::Duration;
///
/// overlapped::run(|| {
///     let told = Event::new();
///     let set = told.clone();
///     reactor::call_later(Duration::from_millis(1), move || set.set());
///     let never = reactor::call_later(Duration::from_secs(60), || unreachable!());
///     told.wait();
///     assert!(never.cancel() && !never.cancel());
/// });
/// ```
///
/// # Panics
/// Outside [`run`](crate::run).
pub fn call_later(delay: Duration, callback: impl FnOnce() + 'static) -> Call {
    call_at(deadline_after(delay), callback)
}

/// Calls a function on the loop's next turn, as [`call_at`]; functions are called in the order asked for. From other threads,
/// [`Handle::call_soon`](crate::Handle::call_soon).
///
/// # Panics
/// Outside [`run`](crate::run).
pub fn call_soon(callback: impl FnOnce() + 'static) -> Call {
    call_at(now(), callback)
}

type Slot = RefCell<Option<Box<dyn FnOnce()>>>;

/// A call that was asked for. Dropping this changes nothing.
pub struct Call {
    scheduler: Weak<Scheduler>,
    timer: Cell<Option<Timer>>,
    /// The timer's: one that is due on the same turn is no timer any more, and can be taken back all the same.
    function: Weak<Slot>,
    deadline: Instant,
}

impl Call {
    /// Takes it back: true where it was not called, and now will not be.
    pub fn cancel(&self) -> bool {
        // Dropped at the end, when nothing is borrowed: its destructors may look here.
        let function = self.function.upgrade().and_then(|slot| slot.take());
        if let (Some(timer), Some(scheduler)) = (self.timer.take(), self.scheduler.upgrade()) {
            scheduler.clear(timer);
        }
        function.is_some()
    }

    /// When it is due.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether it is still to come.
    pub fn is_pending(&self) -> bool {
        self.function.upgrade().is_some_and(|slot| slot.borrow().is_some())
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("deadline", &self.deadline).field("pending", &self.is_pending()).finish()
    }
}
