//! What is done where every tasklet waits for what can never come.

use std::cell::RefCell;
use std::fmt::Write;
use std::io;
use std::rc::Rc;

use super::watchdog;
use crate::interrupt::Cause;
use crate::scheduler::Scheduler;

thread_local! {
    static STUCK: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Takes note of it, and has every tasklet leave; where there is none that could, or where they would not, ends the process.
/// False outside of a simulated world.
pub(crate) fn leave_stuck(scheduler: &Rc<Scheduler>, error: &io::Error) -> bool {
    if !super::is_simulated() {
        return false;
    }
    let ids = scheduler.ids();
    if ids.is_empty() || STUCK.with_borrow(Option::is_some) {
        let what = format_args!("{error}; not even those who were cancelled leave:{}", waiting(scheduler));
        watchdog::end_process(&watchdog::origin(), what);
    }
    STUCK.set(Some(format!("{error}{}", waiting(scheduler))));
    ids.into_iter().for_each(|id| scheduler.interrupt(id, Cause::Cancel));
    true
}

/// A line for each tasklet but the thread's own.
fn waiting(scheduler: &Scheduler) -> String {
    let mut text = String::new();
    for status in scheduler.tasklets().iter().skip(1) {
        let _ = write!(text, "\n  tasklet {} waits for {}", status.title(), status.waits_for);
    }
    text
}

/// What was noted, if it was.
pub(super) fn take() -> Option<String> {
    STUCK.take()
}
