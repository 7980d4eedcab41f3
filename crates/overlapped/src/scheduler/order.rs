//! Who runs when, chosen from outside: for those who bring an order of their own, as Stackless's has one.
//!
//! The queue is a ring with the running tasklet where it begins: to *go to* a tasklet of it moves the beginning there, and
//! whoever was in between has its turn after all others. A tasklet is *paused* where it was taken out of the queue, or took
//! itself out: wake-ups are remembered until it is resumed, and only being told to leave resumes it by itself. (Rejected: to
//! have a paused tasklet park for nothing in a loop. Each stray wake-up, and the thread's own tasklet gets one at every
//! signal, would bring it into the queue for a moment, where it is counted and has neighbours.)

use std::rc::Rc;

use super::board::State;
use super::id::TaskletId;
use super::thread::Scheduler;
use crate::interrupt::Interrupted;

/// What a listing shows of whoever is out of the queue, and waits for nothing else.
const ITS_TURN: &str = "its turn";

impl Scheduler {
    /// Takes a tasklet out of the queue of those that are ready: it does not run until it is woken. False where it is not
    /// in the queue.
    pub fn unready(&self, id: TaskletId) -> bool {
        let removed = self.ready.borrow_mut().remove(id);
        if removed && let Some(entry) = self.table.borrow_mut().get_mut(id) {
            entry.row.park(ITS_TURN, self.board.now());
        }
        removed
    }

    /// As [`Scheduler::unready`], and wake-ups do not run it either: only [`Scheduler::resume`] does, and being told to leave.
    pub fn pause(&self, id: TaskletId) -> bool {
        let removed = self.unready(id);
        if removed && let Some(entry) = self.table.borrow_mut().get_mut(id) {
            entry.paused = true;
        }
        removed
    }

    /// Puts a paused tasklet back, at the end of the queue. False where it is not paused.
    pub fn resume(&self, id: TaskletId) -> bool {
        let resumed = match self.table.borrow_mut().get_mut(id) {
            Some(entry) => std::mem::take(&mut entry.paused),
            None => false,
        };
        if resumed {
            self.wake(id);
        }
        resumed
    }

    /// Whether a tasklet is paused.
    pub fn is_paused(&self, id: TaskletId) -> bool {
        self.table.borrow().get(id).is_some_and(|entry| entry.paused)
    }

    /// Whether a tasklet is in the queue.
    pub fn is_ready(&self, id: TaskletId) -> bool {
        self.ready.borrow().has(id)
    }

    /// How many are in the queue; the one that runs is not.
    pub fn ready_count(&self) -> usize {
        self.ready.borrow().len()
    }

    /// Who is before a tasklet, and who after it, in the ring of those that are ready and the one that runs. Alone there, a
    /// tasklet is its own neighbour; one that is not there has none.
    pub fn neighbours(&self, id: TaskletId) -> Option<(TaskletId, TaskletId)> {
        let (ready, me) = (self.ready.borrow(), self.current.get());
        if id == me {
            return Some((ready.last().unwrap_or(me), ready.first().unwrap_or(me)));
        }
        ready.has(id).then(|| {
            let (before, after) = ready.neighbours(id);
            (before.unwrap_or(me), after.unwrap_or(me))
        })
    }

    /// Has the one that is named run next, and those before it after all others. False where it is not in the queue.
    pub fn turn_to(&self, id: TaskletId) -> bool {
        self.ready.borrow_mut().turn_to(id, None)
    }

    /// Goes to a tasklet of the queue at once. This one runs when those after that have run, or is paused.
    ///
    /// # Errors
    /// What this tasklet is told.
    ///
    /// # Panics
    /// Where the tasklet is not in the queue.
    pub fn go_to(self: &Rc<Self>, id: TaskletId, pausing: bool) -> Result<(), Interrupted> {
        let me = self.current.get();
        if pausing {
            self.note_paused(me);
        }
        let turned = self.ready.borrow_mut().turn_to(id, (!pausing).then_some(me));
        assert!(turned, "whoever is gone to is in the queue");
        self.switch(me);
        self.check()
    }

    /// Gives the thread away until this tasklet is resumed.
    ///
    /// # Errors
    /// What this tasklet is told.
    pub fn pause_current(self: &Rc<Self>) -> Result<(), Interrupted> {
        let me = self.current.get();
        self.note_paused(me);
        self.switch(me);
        self.check()
    }

    /// Marks the running tasklet, which is about to be left.
    fn note_paused(&self, me: TaskletId) {
        let mut table = self.table.borrow_mut();
        let entry = table.running(me);
        debug_assert!(entry.row.state() == State::Ready, "it runs");
        entry.paused = true;
        entry.row.park(ITS_TURN, self.board.now());
    }

    /// Lets the running tasklet go on where it needs not wait, however often that was so: whoever has an order of its own
    /// calls it before a wait that may turn out to be none, and answers for those that wait meanwhile.
    pub fn keep_turn(&self) {
        self.immediate.set(0);
    }
}
