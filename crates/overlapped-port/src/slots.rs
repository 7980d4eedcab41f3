//! The table of operations in flight.

use std::collections::HashMap;
use std::io;
use std::time::Instant;

use crate::op::Facts;

/// Names one operation of a port: to cancel it, to find it in a report. Never used again within a port's life in
/// practice: a slot number with a generation of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpId(u64);

#[allow(dead_code, reason = "where readiness is all there is, the kernel knows no operations")]
impl OpId {
    pub(crate) fn new(slot: u32, generation: u32) -> OpId {
        OpId(u64::from(generation) << 32 | u64::from(slot))
    }

    /// The number that stands for the operation in the kernel.
    pub(crate) fn to_u64(self) -> u64 {
        self.0
    }

    pub(crate) fn from_u64(value: u64) -> OpId {
        OpId(value)
    }

    /// The index into a table of operations.
    pub(crate) fn slot(self) -> usize {
        self.0 as u32 as usize
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// What the port remembers of an operation in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlight {
    pub(crate) token: u64,
    pub(crate) facts: &'static Facts,
    pub(crate) handle: Option<usize>,
    pub(crate) since: Instant,
}

/// No slot.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Slot {
    generation: u32,
    /// The neighbours among the operations on the same handle.
    before: u32,
    after: u32,
    occupant: Option<InFlight>,
}

impl Slot {
    /// Its id is no longer what it was.
    fn renew(&mut self) {
        self.generation = self.generation.wrapping_add(1).max(1);
    }
}

/// Slots with generations: an id that has ended is never taken for its successor. The operations on one handle form a list,
/// the last that was begun at its head, so that to count them, to leave, and to find the first takes no search.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
    heads: Heads,
}

impl Slots {
    /// The id of the next operation, on `handle` if it has one: there is memory for it from then on. Most operations are done
    /// as soon as they are begun, so only one that goes on is [put in](Slots::insert); of any other the id is
    /// [used up](Slots::use_up).
    ///
    /// # Errors
    /// `OutOfMemory` where there is none for one more.
    pub(crate) fn next(&mut self, handle: Option<usize>) -> io::Result<OpId> {
        if let Some(handle) = handle {
            self.heads.make_room(handle)?;
        }
        let index = match self.free.last() {
            Some(index) => *index,
            None => {
                let index = u32::try_from(self.slots.len()).expect("fewer than 2^32 operations in flight");
                self.slots.try_reserve(1)?;
                // So that the end of an operation needs no memory.
                self.free.try_reserve(self.slots.len() + 1)?;
                self.slots.push(Slot { generation: 1, before: NONE, after: NONE, occupant: None });
                self.free.push(index);
                index
            }
        };
        Ok(OpId::new(index, self.slots[index as usize].generation))
    }

    /// The operation with the [next](Slots::next) id is over already. Something in the system may know it by that id still.
    pub(crate) fn use_up(&mut self, id: OpId) {
        self.slots[id.slot()].renew();
    }

    /// The operation with the [next](Slots::next) id goes on.
    pub(crate) fn insert(&mut self, id: OpId, occupant: InFlight) {
        let index = id.slot() as u32;
        let next = self.free.pop();
        debug_assert_eq!(next, Some(index), "an id that is not the next");
        let after = occupant.handle.map_or(NONE, |handle| {
            let head = self.heads.get_mut(handle);
            head.count += 1;
            std::mem::replace(&mut head.first, index)
        });
        if after != NONE {
            self.slots[after as usize].before = index;
        }
        let slot = &mut self.slots[index as usize];
        debug_assert!(slot.occupant.is_none(), "a free slot is occupied");
        (slot.before, slot.after, slot.occupant) = (NONE, after, Some(occupant));
    }

    pub(crate) fn get(&self, id: OpId) -> Option<&InFlight> {
        let slot = self.slots.get(id.slot())?;
        if slot.generation == id.generation() { slot.occupant.as_ref() } else { None }
    }

    pub(crate) fn remove(&mut self, id: OpId) -> Option<InFlight> {
        let slot = self.slots.get_mut(id.slot())?;
        if slot.generation != id.generation() {
            return None;
        }
        let occupant = slot.occupant.take()?;
        slot.renew();
        let (before, after) = (slot.before, slot.after);
        if before != NONE {
            self.slots[before as usize].after = after;
        }
        if after != NONE {
            self.slots[after as usize].before = before;
        }
        if let Some(handle) = occupant.handle {
            self.heads.leave(handle, id.slot() as u32, after);
        }
        self.free.push(id.slot() as u32);
        Some(occupant)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (OpId, &InFlight)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let occupant = slot.occupant.as_ref()?;
            Some((OpId::new(index as u32, slot.generation), occupant))
        })
    }

    /// How many operations there are on a handle.
    pub(crate) fn count_on(&self, handle: usize) -> usize {
        self.heads.get(handle).count as usize
    }

    /// The operations on a handle, the last that was begun first.
    pub(crate) fn on(&self, handle: usize) -> impl Iterator<Item = OpId> {
        let mut next = self.heads.get(handle).first;
        std::iter::from_fn(move || {
            let index = next;
            let slot = (index != NONE).then(|| &self.slots[index as usize])?;
            next = slot.after;
            Some(OpId::new(index, slot.generation))
        })
    }
}

/// The list of one handle's operations.
#[derive(Clone, Copy, Debug)]
struct Head {
    first: u32,
    count: u32,
}

const EMPTY: Head = Head { first: NONE, count: 0 };

/// The lists by handle: handles are small, dense numbers, and those that are not are looked up.
#[derive(Debug, Default)]
struct Heads {
    dense: Vec<Head>,
    sparse: HashMap<usize, Head>,
}

impl Heads {
    /// Handles below this are an index. A wild number costs no more memory than this.
    const DENSE: usize = 1 << 16;

    fn get(&self, handle: usize) -> Head {
        let head = if handle < Heads::DENSE { self.dense.get(handle) } else { self.sparse.get(&handle) };
        head.copied().unwrap_or(EMPTY)
    }

    fn make_room(&mut self, handle: usize) -> io::Result<()> {
        if handle >= Heads::DENSE {
            self.sparse.try_reserve(1)?;
        } else if handle >= self.dense.len() {
            let length = handle + 64;
            self.dense.try_reserve(length - self.dense.len())?;
            self.dense.resize(length, EMPTY);
        }
        Ok(())
    }

    /// There must be room for it.
    fn get_mut(&mut self, handle: usize) -> &mut Head {
        if handle < Heads::DENSE { &mut self.dense[handle] } else { self.sparse.entry(handle).or_insert(EMPTY) }
    }

    /// One operation less; where it was the first, `after` is now.
    fn leave(&mut self, handle: usize, index: u32, after: u32) {
        let head = if handle < Heads::DENSE { self.dense.get_mut(handle) } else { self.sparse.get_mut(&handle) };
        let head = head.expect("an operation is in its handle's list");
        head.count -= 1;
        if head.first == index {
            head.first = after;
        }
        if head.count == 0 && handle >= Heads::DENSE {
            self.sparse.remove(&handle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occupant(token: u64) -> InFlight {
        InFlight { token, facts: const { &Facts::of("recv") }, handle: None, since: Instant::now() }
    }

    fn insert(slots: &mut Slots, occupant: InFlight) -> OpId {
        let id = slots.next(occupant.handle).unwrap();
        slots.insert(id, occupant);
        id
    }

    #[test]
    fn an_ended_id_is_not_its_successor() {
        let mut slots = Slots::default();
        let first = insert(&mut slots, occupant(1));
        assert_eq!(slots.remove(first).unwrap().token, 1);
        let second = insert(&mut slots, occupant(2));
        assert_eq!(first.slot(), second.slot());
        assert!(slots.get(first).is_none());
        assert!(slots.remove(first).is_none());
        assert_eq!(slots.get(second).unwrap().token, 2);
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn an_id_that_was_used_up_leaves_nothing_and_does_not_come_again() {
        for handle in [None, Some(5), Some(70_000_000)] {
            let mut slots = Slots::default();
            let first = slots.next(handle).unwrap();
            assert_eq!(slots.next(handle).unwrap(), first, "nothing has become of it yet");
            slots.use_up(first);
            assert_eq!((slots.len(), slots.iter().count()), (0, 0));
            assert!(slots.heads.sparse.is_empty());
            let second = insert(&mut slots, InFlight { handle, ..occupant(2) });
            assert_eq!(first.slot(), second.slot());
            assert!(slots.get(first).is_none() && slots.remove(first).is_none());
            assert_eq!(slots.remove(second).unwrap().token, 2);
        }
    }

    #[test]
    fn the_operations_on_a_handle_are_found_whichever_ends_first() {
        for handle in [5, 70_000_000] {
            for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
                let mut slots = Slots::default();
                let on_it = |token| InFlight { handle: Some(handle), ..occupant(token) };
                let ids: Vec<OpId> = (0..3).map(|token| insert(&mut slots, on_it(token))).collect();
                insert(&mut slots, InFlight { handle: Some(6), ..occupant(9) });
                let mut left: Vec<OpId> = ids.iter().rev().copied().collect();
                for at in order {
                    assert_eq!(slots.on(handle).collect::<Vec<_>>(), left);
                    assert_eq!(slots.count_on(handle), left.len());
                    slots.remove(ids[at]).unwrap();
                    left.retain(|id| *id != ids[at]);
                }
                assert_eq!((slots.count_on(handle), slots.on(handle).count()), (0, 0));
                assert!(slots.heads.sparse.is_empty());
            }
        }
    }
}
