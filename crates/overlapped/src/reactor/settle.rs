//! What a connection settles, it settles once a turn, however many calls have asked for it.

use std::cell::Cell;
use std::rc::{Rc, Weak};

use overlapped_port::sim::now;

use crate::scheduler::Scheduler;

/// What looks at its state and does what that asks for, until there is nothing to do.
pub(super) trait Settles: 'static {
    /// Whether it settles now, or is sure to.
    fn is_sure(&self) -> &Cell<bool>;

    /// Settles. Called by the loop.
    fn settle(self: &Rc<Self>);
}

/// Has it settle on the loop's next turn, unless that is sure to happen before.
pub(super) fn settle_soon<S: Settles>(me: &Weak<S>, scheduler: &Weak<Scheduler>) {
    let (Some(scheduler), Some(settles)) = (scheduler.upgrade(), me.upgrade()) else { return };
    if settles.is_sure().replace(true) {
        return;
    }
    let me = Weak::clone(me);
    scheduler.call_at(now(), move |_| {
        if let Some(me) = me.upgrade() {
            me.is_sure().set(false);
            me.settle();
        }
    });
}
