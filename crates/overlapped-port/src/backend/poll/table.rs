//! The operations that wait, by slot, and the queues in which they stand.
//!
//! A queue is a list through the table: from anywhere in it an operation leaves at once, and nothing is left behind. (A
//! ring of ids would have to be searched, or would keep the ids of those that were cancelled behind one that waits on.)

use std::io;

use super::attempt::Pending;
use crate::slots::OpId;

struct Entry {
    pending: Pending,
    before: Option<OpId>,
    after: Option<OpId>,
}

/// The operations of a descriptor that wait for the same, the first first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Queue {
    first: Option<OpId>,
    last: Option<OpId>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn first(&self) -> Option<OpId> {
        self.first
    }
}

#[derive(Default)]
pub(super) struct Table(Vec<Option<Entry>>);

impl Table {
    /// The operation, if it waits.
    pub(super) fn get(&self, id: OpId) -> Option<&Pending> {
        self.0.get(id.slot())?.as_ref().map(|entry| &entry.pending).filter(|pending| pending.id == id)
    }

    fn entry(&mut self, id: OpId) -> &mut Entry {
        self.0[id.slot()].as_mut().expect("what is queued is in the table")
    }

    /// An operation that is in a queue.
    pub(super) fn queued(&mut self, id: OpId) -> &mut Pending {
        &mut self.entry(id).pending
    }

    /// The one behind it.
    pub(super) fn after(&mut self, id: OpId) -> Option<OpId> {
        self.entry(id).after
    }

    /// Makes room for an operation.
    ///
    /// # Errors
    /// `OutOfMemory` where there is none.
    pub(super) fn reserve(&mut self, id: OpId) -> io::Result<()> {
        if self.0.len() <= id.slot() {
            let length = id.slot() + 64;
            self.0.try_reserve(length - self.0.len())?;
            self.0.resize_with(length, || None);
        }
        Ok(())
    }

    /// Queues an operation, for which there is room, behind all others.
    pub(super) fn push(&mut self, queue: &mut Queue, pending: Pending) {
        let id = pending.id;
        let before = queue.last.replace(id);
        match before {
            Some(before) => self.entry(before).after = Some(id),
            None => queue.first = Some(id),
        }
        self.0[id.slot()] = Some(Entry { pending, before, after: None });
    }

    /// Takes an operation out of its queue.
    pub(super) fn remove(&mut self, queue: &mut Queue, id: OpId) -> Pending {
        let Entry { pending, before, after } = self.0[id.slot()].take().expect("what is queued is in the table");
        match before {
            Some(before) => self.entry(before).after = after,
            None => queue.first = after,
        }
        match after {
            Some(after) => self.entry(after).before = before,
            None => queue.last = before,
        }
        pending
    }
}
