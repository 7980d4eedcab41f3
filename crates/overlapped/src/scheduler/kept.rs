//! What a thread keeps until it has ended by itself, though nobody holds it: a connection whose reading is paused has
//! nothing in flight, and yet somebody who is to be told of its end.
//!
//! Kept things are told when the [`run`](crate::run) ends, as tasklets are cancelled, and `run` waits until each has let go.

use std::rc::Rc;

use super::id::TaskletId;
use super::thread::Scheduler;

/// What is kept.
pub(crate) trait Kept {
    /// The run ends: this ends too, soon, and then calls [`Scheduler::let_go`]. May be called again.
    fn run_ends(&self);
}

/// Names what is kept, until it is let go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keeping(usize);

impl Scheduler {
    /// Keeps something until it is [let go](Scheduler::let_go).
    pub(crate) fn keep(&self, kept: Rc<dyn Kept>) -> Keeping {
        Keeping(self.kept.borrow_mut().insert(kept))
    }

    /// What was kept has ended.
    pub(crate) fn let_go(&self, keeping: Keeping) {
        // Its destructors may look here again.
        let kept = self.kept.borrow_mut().remove(keeping.0);
        drop(kept);
        self.may_have_ended();
    }

    /// How many things are kept.
    pub(super) fn kept(&self) -> usize {
        self.kept.borrow().len()
    }

    /// Tells all of them that the run ends.
    pub(super) fn end_kept(&self) {
        let kept: Vec<Rc<dyn Kept>> = self.kept.borrow().iter().map(|(_, kept)| Rc::clone(kept)).collect();
        kept.iter().for_each(|kept| kept.run_ends());
    }

    /// Wakes who waits for the end of the run, where nothing is left that calls back.
    pub(super) fn may_have_ended(&self) {
        if self.is_closing() && self.flights() == 0 && self.kept() == 0 {
            self.wake(TaskletId::ROOT);
        }
    }
}
