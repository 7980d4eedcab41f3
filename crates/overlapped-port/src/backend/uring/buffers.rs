//! The provided buffers: memory that the kernel takes a piece of when a receive has its bytes.
//!
//! The buffers are told to the kernel in a ring that both sides map (io_uring_register_buf_ring(3), Linux 5.19):
//! putting one back is two writes to memory, no entry into the kernel. The ring's page and the buffers lie in one
//! anonymous mapping, for the kernel wants the ring aligned to a page, and untouched buffers then cost nothing.
//!
//! The kernel takes them in turn, so all that it has are touched soon, also where few are ever out at once. So it is given
//! some at first, and more of them each time that a receive has found none. (Who finds none has to be issued anew, and its
//! descriptor looked at: with 256 buffers, an echo over 500 connections took two more system calls a request.)
//!
//! The mapping lives until the last buffer that is out has come back, which may be after the port; what is put back then,
//! nobody takes again. In the child after fork(2) it is a copy: what is put back there, the parent never sees.

use std::cell::Cell;
use std::io;
use std::ptr::{self, NonNull};
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use crate::buffers::{Buffer, Headers, Home};

/// The one group of buffers that each receive names.
pub(super) const GROUP: u16 = 0;

/// So many the kernel is given at a time.
const BATCH: u16 = 256;

/// And so many at most, unless told.
pub(super) const MOST: u16 = 4 * BATCH;

/// The bytes of a line of the cache. Each buffer begins so much further on than its size would have it: where that is a power
/// of two, the first lines of all would share a few sets of the cache, which hold some hundred.
const LINE: usize = 64;

pub(super) struct BufferRing {
    memory: NonNull<u8>,
    mapped: usize,
    count: u16,
    size: usize,
    /// Where the first buffer begins, and how far it is to the next.
    start: usize,
    stride: usize,
    tail: Cell<u16>,
    headers: Headers,
    /// Which buffers are out: the kernel does not write into those.
    out: Vec<Cell<bool>>,
    taken: Cell<u16>,
    /// How many have been given to the kernel at all.
    given: Cell<u16>,
}

impl BufferRing {
    /// Maps a ring of at least `count` buffers of `size` bytes, and gives the kernel the first.
    pub(super) fn new(count: u16, size: usize) -> io::Result<Rc<BufferRing>> {
        let count = count.next_power_of_two();
        let mut out = Vec::new();
        out.try_reserve_exact(count.into()).map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))?;
        out.resize(count.into(), Cell::new(true));
        let headers = Headers::new(count)?;
        let start = (usize::from(count) * size_of::<BufRingEntry>()).next_multiple_of(4096);
        let stride = size.next_multiple_of(LINE) + LINE;
        let mapped = start + usize::from(count) * stride;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches nobody's memory.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                mapped,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).expect("mmap never returns null without MAP_FIXED");
        let (tail, taken, given) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let ring = BufferRing { memory, mapped, count, size, start, stride, tail, headers, out, taken, given };
        ring.grow();
        Ok(Rc::new(ring))
    }

    /// Gives the kernel more of them; false where it was given all.
    pub(super) fn grow(&self) -> bool {
        let given = self.given.get();
        let more = BATCH.min(self.count - given);
        self.given.set(given + more);
        self.taken.set(self.taken.get() + more);
        (given..given + more).for_each(|index| self.give_back(index));
        more > 0
    }

    /// The address and the entries of the ring, to be registered.
    pub(super) fn as_raw(&self) -> (u64, u16) {
        (self.memory.as_ptr() as u64, self.count)
    }

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// How many the kernel has, as far as its completions have told.
    pub(super) fn available(&self) -> u16 {
        self.given.get() - self.taken.get()
    }

    /// The kernel has put `length` bytes into the buffer `index`: from here on it is out.
    pub(super) fn take(self: &Rc<Self>, index: u16, length: usize) -> Buffer {
        let was_out = self.out[usize::from(index)].replace(true);
        assert!(!was_out, "the kernel gave out a buffer that it did not have");
        self.taken.set(self.taken.get() + 1);
        // A receive with MSG_TRUNC tells the datagram's length, which may be more than the buffer has.
        let length = length.min(self.size);
        // SAFETY: the buffer lies within the mapping, which was zeroed and lives as long as this; the kernel does not write to
        // it while it is out, and `out` has said that nobody else has it.
        unsafe {
            let start = self.memory.add(self.start + usize::from(index) * self.stride);
            self.headers.lend(self.clone(), index, start, self.size, length)
        }
    }

    /// What its buffers come from.
    pub(super) fn home(self: &Rc<Self>) -> Weak<dyn Home> {
        let home: Weak<BufferRing> = Rc::downgrade(self);
        home
    }
}

impl Home for BufferRing {
    /// Hands the buffer to the kernel.
    fn give_back(&self, index: u16) {
        let was_out = self.out[usize::from(index)].replace(false);
        debug_assert!(was_out, "a buffer was given back twice");
        self.taken.set(self.taken.get() - 1);
        let entries = self.memory.as_ptr().cast::<BufRingEntry>();
        let start = self.memory.as_ptr().wrapping_add(self.start + usize::from(index) * self.stride);
        let tail = self.tail.get();
        self.tail.set(tail.wrapping_add(1));
        // SAFETY: the slot at the tail is ours until the tail has moved past it: no more buffers exist than slots. The
        // setters write the address, the length and the number alone: the tail, which overlaps the rest of the
        // first slot, is written through the atomic.
        unsafe {
            let entry = entries.add(usize::from(tail & (self.count - 1)));
            (*entry).set_addr(start as u64);
            (*entry).set_len(self.size as u32);
            (*entry).set_bid(index);
            let shared = BufRingEntry::tail(entries).cast_mut();
            AtomicU16::from_ptr(shared).store(self.tail.get(), Ordering::Release);
        }
    }
}

impl Drop for BufferRing {
    fn drop(&mut self) {
        // SAFETY: the mapping is this ring's own. The kernel has let go of it: the io_uring is dropped first, and
        // nothing is in flight then.
        unsafe {
            libc::munmap(self.memory.as_ptr().cast(), self.mapped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_go_out_and_come_back() {
        let ring = BufferRing::new(3, 100).unwrap();
        assert_eq!((ring.count(), ring.available(), ring.size()), (4, 4, 100));
        let buffer = ring.take(2, 1000);
        assert_eq!((buffer.len(), ring.available()), (100, 3));
        assert_eq!(buffer[..], [0; 100]);
        drop(buffer);
        assert_eq!(ring.available(), 4);
    }

    #[test]
    fn the_kernel_is_given_more_where_it_wants_more_until_there_are_none() {
        let ring = BufferRing::new(2 * BATCH, 16).unwrap();
        assert_eq!((ring.count(), ring.available()), (2 * BATCH, BATCH));
        let out: Vec<Buffer> = (0..BATCH).map(|index| ring.take(index, 1)).collect();
        assert_eq!((ring.available(), ring.grow(), ring.available()), (0, true, BATCH));
        assert!(!ring.grow());
        let last = ring.take(2 * BATCH - 1, 16);
        drop((out, last));
        assert_eq!(ring.available(), 2 * BATCH);
    }

    #[test]
    fn a_buffer_outlives_its_ring() {
        let ring = BufferRing::new(4, 16).unwrap();
        let buffer = ring.take(1, 16);
        drop(ring);
        assert_eq!(buffer[..], [0; 16]);
    }

    #[test]
    #[should_panic(expected = "did not have")]
    fn a_buffer_that_is_out_is_nobody_elses() {
        let ring = BufferRing::new(4, 16).unwrap();
        let _out = ring.take(1, 4);
        let _again = ring.take(1, 4);
    }
}
