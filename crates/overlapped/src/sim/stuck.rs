//! What is done where every tasklet waits for what can never come.

use std::cell::RefCell;
use std::fmt::Write;
use std::io;
use std::rc::Rc;

use crate::interrupt::Cause;
use crate::scheduler::Scheduler;

thread_local! {
    static STUCK: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Takes note of it, and has every tasklet leave; false where there is none that could, or where they would not.
pub(crate) fn leave_stuck(scheduler: &Rc<Scheduler>, error: &io::Error) -> bool {
    let ids = scheduler.ids();
    if !super::is_simulated() || ids.is_empty() || STUCK.with_borrow(Option::is_some) {
        return false;
    }
    let mut text = error.to_string();
    for status in scheduler.tasklets().iter().skip(1) {
        let _ = write!(text, "\n  tasklet {} waits for {}", status.title(), status.waits_for);
    }
    STUCK.set(Some(text));
    ids.into_iter().for_each(|id| scheduler.interrupt(id, Cause::Cancel));
    true
}

/// What was noted, if it was.
pub(super) fn take() -> Option<String> {
    STUCK.take()
}
