//! What the scheduler knows of each tasklet.

use std::sync::Arc;

use super::board::{Board, Row, State};
use super::id::TaskletId;
use crate::interrupt::{Leaving, Masking};
use crate::spans::SpanId;

/// What the scheduler knows of a tasklet, beside what its row tells to other threads too.
pub(super) struct Entry {
    number: u32,
    alive: bool,
    /// Woken while it was not parked.
    pub(super) notified: bool,
    /// Taken out of the queue until it is resumed: wake-ups are remembered, and do not run it.
    pub(super) paused: bool,
    /// Its row has a name.
    named: bool,
    /// It drops what it leaves behind.
    ending: bool,
    /// Another thread has given it.
    given: bool,
    /// What makes it leave its waits. Most tasklets never have it.
    pub(super) leaving: Option<Box<Leaving>>,
    /// By which those who trace know it.
    pub(super) span: SpanId,
    pub(super) row: Arc<Row>,
}

/// The tasklets of one thread, by index.
pub(super) struct Table {
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// The number that was given last.
    last: u32,
    /// How many there are that other threads have given; the board has the others.
    given: usize,
}

impl Table {
    /// With the thread itself.
    pub(super) fn new(board: &Board) -> Table {
        let mut root = Entry::new(board.add());
        root.alive = true;
        root.row.set_state(State::Ready);
        Table { entries: vec![root], free: Vec::new(), last: 0, given: 0 }
    }

    /// How many there are that other threads have given.
    pub(super) fn given(&self) -> usize {
        self.given
    }

    /// The number of the tasklet that is added next.
    pub(super) fn next_number(&self) -> u32 {
        // 0 is the thread itself, also after four thousand million others.
        self.last.wrapping_add(1).max(1)
    }

    /// Adds a tasklet, which another thread may have `given`.
    pub(super) fn create(&mut self, name: Option<&str>, given: bool, board: &Board) -> TaskletId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry::new(board.add()));
            u32::try_from(self.entries.len() - 1).expect("fewer than 2^29 tasklets")
        });
        self.last = self.next_number();
        let id = TaskletId { index, number: self.last };
        let entry = &mut self.entries[id.index()];
        (entry.number, entry.alive, entry.given) = (id.number, true, given);
        if let Some(name) = name {
            entry.rename(name);
        }
        entry.row.begin(id, board.now());
        if given {
            self.given += 1;
        } else {
            board.begun();
        }
        id
    }

    /// Removes a tasklet.
    pub(super) fn retire(&mut self, id: TaskletId, board: &Board) {
        let entry = &mut self.entries[id.index()];
        (entry.alive, entry.notified, entry.paused, entry.ending) = (false, false, false, false);
        entry.row.set_state(State::Ended);
        entry.leaving = None;
        entry.span = None;
        if std::mem::take(&mut entry.named) {
            entry.row.rename(None);
        }
        if entry.given {
            self.given -= 1;
        } else {
            board.ended();
        }
        self.free.push(id.index);
    }

    /// One that has not ended.
    #[inline]
    pub(super) fn get(&self, id: TaskletId) -> Option<&Entry> {
        self.entries.get(id.index()).filter(|entry| entry.alive && entry.number == id.number)
    }

    /// One that has not ended.
    pub(super) fn get_mut(&mut self, id: TaskletId) -> Option<&mut Entry> {
        self.entries.get_mut(id.index()).filter(|entry| entry.alive && entry.number == id.number)
    }

    /// The one that runs, whose name is true.
    #[inline]
    pub(super) fn at(&self, id: TaskletId) -> &Entry {
        &self.entries[id.index()]
    }

    /// The one that runs, whose name is true.
    #[inline]
    pub(super) fn running(&mut self, id: TaskletId) -> &mut Entry {
        &mut self.entries[id.index()]
    }

    /// Those that have not ended, but for the thread itself.
    pub(super) fn ids(&self) -> Vec<TaskletId> {
        let alive = self.entries.iter().enumerate().skip(1).filter(|(_, entry)| entry.alive);
        alive.map(|(index, entry)| TaskletId { index: index as u32, number: entry.number }).collect()
    }
}

impl Entry {
    fn new(row: Arc<Row>) -> Entry {
        Entry {
            number: 0,
            alive: false,
            notified: false,
            paused: false,
            named: false,
            ending: false,
            given: false,
            leaving: None,
            span: None,
            row,
        }
    }

    pub(super) fn leaving(&mut self) -> &mut Leaving {
        let ending = self.ending;
        self.leaving.get_or_insert_with(|| {
            let mut leaving = Box::<Leaving>::default();
            if ending {
                leaving.mask(Masking::Sealed);
            }
            leaving
        })
    }

    /// Masks levels from now on: it drops what it leaves behind.
    pub(super) fn ends(&mut self) {
        self.ending = true;
        if let Some(leaving) = &mut self.leaving {
            leaving.mask(Masking::Sealed);
        }
    }

    pub(super) fn rename(&mut self, name: &str) {
        self.named = true;
        self.row.rename(Some(name.into()));
    }

    #[inline]
    pub(super) fn name(&self) -> Option<Arc<str>> {
        if self.named { self.row.name() } else { None }
    }
}
