//! The provided buffers: memory that the kernel takes a piece of when a receive has its bytes.
//!
//! The buffers are told to the kernel in a ring that both sides map (io_uring_register_buf_ring(3), Linux 5.19):
//! putting one back is two writes to memory, no entry into the kernel. The ring's page and the buffers lie in one
//! anonymous mapping, for the kernel wants the ring aligned to a page, and untouched buffers then cost nothing.

use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use crate::buffers::Buffer;

/// The one group of buffers that each receive names.
pub(super) const GROUP: u16 = 0;

pub(super) struct BufferRing {
    memory: NonNull<u8>,
    mapped: usize,
    count: u16,
    size: usize,
    /// Where the first buffer begins.
    start: usize,
    tail: u16,
    /// Which buffers the caller has: the kernel does not write into those.
    out: Vec<bool>,
    taken: u16,
}

impl BufferRing {
    /// Maps a ring of at least `count` buffers of `size` bytes and fills it.
    pub(super) fn new(count: u16, size: usize) -> io::Result<BufferRing> {
        let count = count.next_power_of_two();
        let start = (usize::from(count) * size_of::<BufRingEntry>()).next_multiple_of(4096);
        let mapped = start + usize::from(count) * size;
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
        let out = vec![true; count.into()];
        let mut ring = BufferRing { memory, mapped, count, size, start, tail: 0, out, taken: count };
        (0..count).for_each(|index| ring.give_back(index));
        Ok(ring)
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
        self.count - self.taken
    }

    /// The kernel has put `length` bytes into the buffer `index`: from here on it is the caller's.
    pub(super) fn take(&mut self, index: u16, length: usize) -> Buffer {
        debug_assert!(!self.out[usize::from(index)], "the kernel gave out a buffer that it did not have");
        self.out[usize::from(index)] = true;
        self.taken += 1;
        // A receive with MSG_TRUNC tells the datagram's length, which may be more than the buffer has.
        Buffer { index, length: length.min(self.size) as u32 }
    }

    /// Where the buffer `index` begins: for a receive to go on in one that is out.
    pub(super) fn start(&self, index: u16) -> *mut u8 {
        self.memory.as_ptr().wrapping_add(self.start + usize::from(index) * self.size)
    }

    /// The bytes of a buffer that is out.
    pub(super) fn bytes(&self, buffer: &Buffer) -> &[u8] {
        let index = usize::from(buffer.index);
        assert!(self.out.get(index) == Some(&true), "a provided buffer of another port");
        // SAFETY: the buffer lies within the mapping and the kernel does not write to it while it is out; it was
        // zeroed when it was mapped, so every byte is initialised. `take` cut the length to the size.
        unsafe { std::slice::from_raw_parts(self.start(buffer.index), buffer.len().min(self.size)) }
    }

    /// Hands the buffer `index` to the kernel.
    pub(super) fn give_back(&mut self, index: u16) {
        let at = usize::from(index);
        assert!(self.out.get(at) == Some(&true), "a provided buffer of another port, or one given back twice");
        self.out[at] = false;
        self.taken -= 1;
        let entries = self.memory.as_ptr().cast::<BufRingEntry>();
        // SAFETY: the slot at the tail is ours until the tail has moved past it: no more buffers exist than slots. The
        // setters write the address, the length and the number alone: the tail, which overlaps the rest of the
        // first slot, is written through the atomic.
        unsafe {
            let entry = entries.add(usize::from(self.tail & (self.count - 1)));
            (*entry).set_addr(self.start(index) as u64);
            (*entry).set_len(self.size as u32);
            (*entry).set_bid(index);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(entries).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
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
        let mut ring = BufferRing::new(3, 100).unwrap();
        assert_eq!((ring.count(), ring.available(), ring.size()), (4, 4, 100));
        let buffer = ring.take(2, 1000);
        assert_eq!((buffer.len(), ring.available()), (100, 3));
        assert_eq!(ring.bytes(&buffer), [0; 100]);
        ring.give_back(buffer.index);
        assert_eq!(ring.available(), 4);
    }

    #[test]
    #[should_panic(expected = "another port")]
    fn a_buffer_that_is_not_out_cannot_be_read() {
        let ring = BufferRing::new(4, 16).unwrap();
        let _ = ring.bytes(&Buffer { index: 1, length: 4 });
    }
}
