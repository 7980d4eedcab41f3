//! The name of a tasklet.

/// Bits of a packed name that are the index: 512 million tasklets at once.
pub(super) const INDEX_BITS: u32 = 29;

/// Names a tasklet of one thread's scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskletId {
    pub(super) index: u32,
    pub(super) number: u32,
}

impl TaskletId {
    /// The tasklet that is the thread itself.
    pub const ROOT: TaskletId = TaskletId { index: 0, number: 0 };

    /// The tasklet's place in a table: small, and used again after the tasklet has ended.
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// The tasklet's number, for people: 0 is the thread itself, those that it starts count from 1.
    pub fn number(self) -> u64 {
        u64::from(self.number)
    }

    pub(super) fn pack(self) -> u64 {
        u64::from(self.number) << INDEX_BITS | u64::from(self.index)
    }

    pub(super) fn unpack(packed: u64) -> TaskletId {
        let index = packed & ((1 << INDEX_BITS) - 1);
        TaskletId { index: index as u32, number: (packed >> INDEX_BITS) as u32 }
    }
}
