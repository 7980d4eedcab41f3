//! The table of operations in flight.

use std::time::Instant;

use crate::op::Brings;

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
    pub(crate) name: &'static str,
    pub(crate) handle: Option<usize>,
    pub(crate) brings: Brings,
    pub(crate) since: Instant,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    occupant: Option<InFlight>,
}

/// Slots with generations: an id that has ended is never taken for its successor.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Slots {
    pub(crate) fn insert(&mut self, occupant: InFlight) -> OpId {
        match self.free.pop() {
            Some(index) => {
                let slot = &mut self.slots[index as usize];
                debug_assert!(slot.occupant.is_none(), "a free slot is occupied");
                slot.occupant = Some(occupant);
                OpId::new(index, slot.generation)
            }
            None => {
                let index = u32::try_from(self.slots.len()).expect("fewer than 2^32 operations in flight");
                self.slots.push(Slot { generation: 1, occupant: Some(occupant) });
                OpId::new(index, 1)
            }
        }
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
        slot.generation = slot.generation.wrapping_add(1).max(1);
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occupant(token: u64) -> InFlight {
        InFlight { token, name: "recv", handle: None, brings: Brings::Count, since: Instant::now() }
    }

    #[test]
    fn an_ended_id_is_not_its_successor() {
        let mut slots = Slots::default();
        let first = slots.insert(occupant(1));
        assert_eq!(slots.remove(first).unwrap().token, 1);
        let second = slots.insert(occupant(2));
        assert_eq!(first.slot(), second.slot());
        assert!(slots.get(first).is_none());
        assert!(slots.remove(first).is_none());
        assert_eq!(slots.get(second).unwrap().token, 2);
        assert_eq!(slots.len(), 1);
    }
}
