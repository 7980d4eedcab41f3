//! Who is whose turn: operations of one kind on one handle are served in the order in which they were asked.
//!
//! The kernel does not see to that. Four receives that wait on one socket are four entries at the head of its list of
//! waiters, and the last is woken first; two sends that each need several parts mix them; two reads at a file's own position
//! begin at the same place (`io_kiocb_update_pos`, io_uring/rw.c). So of those that are in one [`Lane`] only the first is in
//! the kernel, and the next follows when it is over. A handle has two lanes: what comes in (receives, accepts, reads) and what
//! goes out (sends, writes, a connect). Reads and writes at the own position of a regular file share one of the two.
//!
//! The first one of a lane costs two looks into a table. The table is indexed by the handle's number and the links between
//! the operations by slot: a queue of its own for each lane would allocate, and taking one out of its middle would search.
//!
//! Rejected: to link requests in the kernel (`IOSQE_IO_LINK`), for a link must be submitted in one go, and a cancel or a short
//! part in it ends all that follows.

use std::io;

/// One of the two directions of a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    In,
    Out,
}

impl Side {
    pub(super) fn other(self) -> Side {
        match self {
            Side::In => Side::Out,
            Side::Out => Side::In,
        }
    }
}

/// No slot.
const NONE: u32 = u32::MAX;

/// The first and the last of those in one lane.
#[derive(Clone, Copy)]
struct Lane {
    first: u32,
    last: u32,
}

const EMPTY: Lane = Lane { first: NONE, last: NONE };

/// The neighbours of an operation in its lane.
#[derive(Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
}

/// The lanes of all handles.
#[derive(Default)]
pub(super) struct Lanes {
    handles: Vec<[Lane; 2]>,
    links: Vec<Link>,
}

fn slot_of(number: u32) -> Option<usize> {
    (number != NONE).then_some(number as usize)
}

impl Lanes {
    /// Whether the table has a place for the handle; one more costs memory in proportion to its number.
    pub(super) fn knows(&self, handle: usize) -> bool {
        handle < self.handles.len()
    }

    /// Makes a place for the handle.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub(super) fn learn(&mut self, handle: usize) -> io::Result<()> {
        if !self.knows(handle) {
            self.handles.try_reserve(handle + 64 - self.handles.len())?;
            self.handles.resize(handle + 64, [EMPTY; 2]);
        }
        Ok(())
    }

    /// Makes places for the operations in so many slots.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub(super) fn make_room(&mut self, slots: usize) -> io::Result<()> {
        self.links.try_reserve(slots.saturating_sub(self.links.len()))?;
        self.links.resize(slots.max(self.links.len()), Link { before: NONE, after: NONE });
        Ok(())
    }

    fn lane(&self, handle: usize, side: Side) -> Lane {
        self.handles.get(handle).map_or(EMPTY, |lanes| lanes[side as usize])
    }

    /// The one whose turn it is.
    pub(super) fn first(&self, handle: usize, side: Side) -> Option<usize> {
        slot_of(self.lane(handle, side).first)
    }

    /// The one that came last.
    pub(super) fn last(&self, handle: usize, side: Side) -> Option<usize> {
        slot_of(self.lane(handle, side).last)
    }

    /// Puts an operation at the end of a lane; true where it is its turn. There must be a place for the handle and for the
    /// slot.
    pub(super) fn enter(&mut self, handle: usize, side: Side, slot: usize) -> bool {
        let lane = &mut self.handles[handle][side as usize];
        self.links[slot] = Link { before: lane.last, after: NONE };
        match slot_of(lane.last) {
            Some(last) => self.links[last].after = slot as u32,
            None => lane.first = slot as u32,
        }
        lane.last = slot as u32;
        lane.first == lane.last
    }

    /// Takes an operation out of its lane; the one whose turn it is now, where it was this one's.
    #[inline]
    pub(super) fn leave(&mut self, handle: usize, side: Side, slot: usize) -> Option<usize> {
        let Link { before, after } = self.links[slot];
        let lane = &mut self.handles[handle][side as usize];
        match slot_of(after) {
            Some(after) => self.links[after].before = before,
            None => lane.last = before,
        }
        match slot_of(before) {
            Some(before) => {
                self.links[before].after = after;
                None
            }
            None => {
                lane.first = after;
                slot_of(after)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes all out in turn.
    fn drain(lanes: &mut Lanes, handle: usize, side: Side) -> Vec<usize> {
        std::iter::from_fn(|| {
            let first = lanes.first(handle, side)?;
            assert_eq!(lanes.leave(handle, side, first), lanes.first(handle, side));
            Some(first)
        })
        .collect()
    }

    #[test]
    fn each_has_its_turn_in_the_order_of_coming() {
        let mut lanes = Lanes::default();
        lanes.make_room(201).unwrap();
        lanes.learn(100).unwrap();
        assert!(lanes.enter(100, Side::In, 7));
        assert!(!lanes.enter(100, Side::In, 3) && !lanes.enter(100, Side::In, 5));
        assert!(lanes.enter(100, Side::Out, 4) && lanes.enter(99, Side::In, 200), "other lanes");
        assert_eq!((lanes.first(100, Side::In), lanes.last(100, Side::In)), (Some(7), Some(5)));
        assert_eq!(drain(&mut lanes, 100, Side::In), [7, 3, 5]);
        assert_eq!(drain(&mut lanes, 100, Side::Out), [4]);
        assert_eq!((lanes.first(100, Side::In), lanes.last(100, Side::In)), (None, None));
    }

    #[test]
    fn who_leaves_early_lets_the_others_keep_their_order() {
        for gone in 0..5 {
            let mut lanes = Lanes::default();
            lanes.make_room(5).unwrap();
            lanes.learn(1).unwrap();
            (0..5).for_each(|slot| assert_eq!(lanes.enter(1, Side::Out, slot), slot == 0));
            let next = lanes.leave(1, Side::Out, gone);
            assert_eq!(next, (gone == 0).then_some(1));
            assert!(!lanes.enter(1, Side::Out, gone), "it comes again, behind all others");
            let rest = (0..5).filter(|slot| *slot != gone).chain([gone]);
            assert_eq!(drain(&mut lanes, 1, Side::Out), rest.collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_handle_that_is_not_known_has_nobody() {
        let lanes = Lanes::default();
        assert_eq!((lanes.first(1 << 30, Side::In), lanes.last(1 << 30, Side::Out)), (None, None));
    }

    #[test]
    fn memory_that_is_not_there_is_an_error() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.learn(usize::MAX / 64).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
        assert_eq!(lanes.make_room(usize::MAX / 2).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
    }
}
