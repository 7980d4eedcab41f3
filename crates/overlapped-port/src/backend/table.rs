//! The operations that wait, by slot, and the queues in which they stand.
//!
//! A queue is a list through the table: from anywhere in it an operation leaves at once, and nothing is left behind. (A
//! ring of ids would have to be searched, or would keep the ids of those that were cancelled behind one that waits on.)

use std::io;

use crate::slots::OpId;

struct Entry<T> {
    id: OpId,
    operation: T,
    before: Option<OpId>,
    after: Option<OpId>,
}

/// Operations that wait for the same, the first first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Queue {
    first: Option<OpId>,
    last: Option<OpId>,
}

#[allow(dead_code, reason = "not every backend asks for all")]
impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn first(&self) -> Option<OpId> {
        self.first
    }
}

/// The operations that stand in queues, each in one, with a `T` each.
pub(super) struct Table<T>(Vec<Option<Entry<T>>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table(Vec::new())
    }
}

#[allow(dead_code, reason = "not every backend asks for all")]
impl<T> Table<T> {
    /// The operation, if it is in a queue.
    pub(super) fn get(&self, id: OpId) -> Option<&T> {
        self.0.get(id.slot())?.as_ref().filter(|entry| entry.id == id).map(|entry| &entry.operation)
    }

    fn entry(&mut self, id: OpId) -> &mut Entry<T> {
        self.0[id.slot()].as_mut().expect("what is queued is in the table")
    }

    /// An operation that is in a queue.
    pub(super) fn queued(&mut self, id: OpId) -> &mut T {
        &mut self.entry(id).operation
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
    pub(super) fn push(&mut self, queue: &mut Queue, id: OpId, operation: T) {
        let before = queue.last.replace(id);
        match before {
            Some(before) => self.entry(before).after = Some(id),
            None => queue.first = Some(id),
        }
        self.0[id.slot()] = Some(Entry { id, operation, before, after: None });
    }

    /// Takes an operation out of its queue, which is `queue`.
    pub(super) fn remove(&mut self, queue: &mut Queue, id: OpId) -> T {
        let Entry { operation, before, after, .. } = self.0[id.slot()].take().expect("what is queued is in the table");
        match before {
            Some(before) => self.entry(before).after = after,
            None => queue.first = after,
        }
        match after {
            Some(after) => self.entry(after).before = before,
            None => queue.last = before,
        }
        operation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(slot: u32) -> OpId {
        OpId::new(slot, 7)
    }

    fn in_order(table: &mut Table<char>, queue: Queue) -> Vec<u32> {
        let mut next = queue.first();
        std::iter::from_fn(|| {
            let id = next?;
            next = table.after(id);
            Some(id.slot() as u32)
        })
        .collect()
    }

    #[test]
    fn who_leaves_lets_the_others_keep_their_order() {
        for gone in 0..4 {
            let (mut table, mut queue, mut other) = (Table::default(), Queue::default(), Queue::default());
            table.reserve(id(4)).unwrap();
            (0..4).for_each(|slot| table.push(&mut queue, id(slot), 'a'));
            table.push(&mut other, id(4), 'b');
            assert_eq!(table.remove(&mut queue, id(gone)), 'a');
            let mut left: Vec<u32> = (0..4).filter(|slot| *slot != gone).collect();
            assert_eq!(in_order(&mut table, queue), left);
            table.push(&mut queue, id(gone), 'c');
            left.push(gone);
            assert_eq!((in_order(&mut table, queue), in_order(&mut table, other)), (left.clone(), vec![4]));
            for slot in left {
                assert_eq!(queue.first(), Some(id(slot)));
                table.remove(&mut queue, id(slot));
            }
            assert!(queue.is_empty() && !other.is_empty());
        }
    }

    #[test]
    fn an_operation_that_has_left_is_not_its_successor() {
        let (mut table, mut queue) = (Table::default(), Queue::default());
        assert!(table.get(id(0)).is_none(), "there is no room for it yet");
        table.reserve(id(0)).unwrap();
        table.push(&mut queue, OpId::new(0, 8), 'b');
        assert_eq!((table.get(id(0)), table.get(OpId::new(0, 8))), (None, Some(&'b')));
        table.remove(&mut queue, OpId::new(0, 8));
        assert_eq!(table.get(OpId::new(0, 8)), None);
    }
}
