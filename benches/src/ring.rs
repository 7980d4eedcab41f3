//! The little of io_uring that the load generator and the bare echo server need: a ring, and buffers that the kernel
//! picks from for multishot receives (io_uring_register_buf_ring(3)).

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use io_uring::{IoUring, squeue};

/// The group that [`Buffers`] registers itself as.
pub const GROUP: u16 = 0;

/// A ring for one thread, with completions run only when this thread asks, and a flag that says when to ask; a plain one where the kernel is older
/// than 6.1 and knows no such flags.
///
/// # Errors
/// What io_uring_setup(2) says: `EPERM` or `ENOSYS` where a container or sysctl denies io_uring.
pub fn new(entries: u32) -> io::Result<IoUring> {
    let completions = entries * 4;
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_cqsize(completions)
        .build(entries)
        .or_else(|_| IoUring::builder().setup_cqsize(completions).build(entries))
        .map_err(|error| io::Error::new(error.kind(), format!("io_uring is not to be had here: {error}")))
}

/// Puts an entry into the submission queue, and flushes the queue first where it is full.
///
/// # Safety
/// What the entry points to must stay valid until its completion.
///
/// # Errors
/// What io_uring_enter(2) says to the flush.
pub unsafe fn push(ring: &mut IoUring, entry: &squeue::Entry) -> io::Result<()> {
    // SAFETY: the caller keeps what the entry points to.
    while unsafe { ring.submission().push(entry) }.is_err() {
        ring.submit()?;
    }
    Ok(())
}

/// Flushes the submission queue where it has no room for so many entries: a chain that a flush parts is two chains.
///
/// # Errors
/// What io_uring_enter(2) says to the flush.
pub fn room(ring: &mut IoUring, entries: usize) -> io::Result<()> {
    let queue = ring.submission();
    if queue.capacity() - queue.len() < entries {
        drop(queue);
        ring.submit()?;
    }
    Ok(())
}

/// Equal buffers that the kernel takes from for receives, and that are given back one by one.
pub struct Buffers {
    entries: *mut BufRingEntry,
    memory: Vec<u8>,
    count: u16,
    size: usize,
    tail: u16,
}

impl Buffers {
    /// Registers `count` (a power of two) buffers of `size` bytes with the ring. They are never unregistered: these
    /// programs end with their ring.
    ///
    /// # Errors
    /// What io_uring_register(2) says: `EINVAL` on kernels before 5.19.
    pub fn register(ring: &IoUring, count: u16, size: usize) -> io::Result<Self> {
        let length = usize::from(count) * size_of::<BufRingEntry>();
        // SAFETY: a fresh anonymous mapping, page-aligned as the registration demands; it is never unmapped.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping holds `count` entries and lives as long as the process.
        unsafe { ring.submitter().register_buf_ring_with_flags(address as u64, count, GROUP, 0)? };
        let memory = vec![0; usize::from(count) * size];
        let mut buffers = Self { entries: address.cast(), memory, count, size, tail: 0 };
        for id in 0..count {
            buffers.give_back(id);
        }
        Ok(buffers)
    }

    /// The first `length` bytes of a buffer that a completion named.
    pub fn bytes(&self, id: u16, length: usize) -> &[u8] {
        &self.memory[usize::from(id) * self.size..][..length]
    }

    /// Lets the kernel use a buffer again.
    pub fn give_back(&mut self, id: u16) {
        let slot = usize::from(self.tail & (self.count - 1));
        self.tail = self.tail.wrapping_add(1);
        let address = self.memory[usize::from(id) * self.size..].as_mut_ptr();
        // SAFETY: the slot is within the mapping; the kernel reads it only once the tail says that it is there, and the
        // tail lies where `BufRingEntry::tail` says, two bytes, aligned.
        unsafe {
            let entry = &mut *self.entries.add(slot);
            entry.set_addr(address as u64);
            entry.set_len(self.size as u32);
            entry.set_bid(id);
            AtomicU16::from_ptr(BufRingEntry::tail(self.entries).cast_mut()).store(self.tail, Ordering::Release);
        }
    }
}
