//! Provided buffers: memory of the port's that a receive is given when its bytes are there.

use std::cell::UnsafeCell;

/// A provided buffer with the bytes of one receive in it: read it with [`Port::buffer`](crate::Port::buffer) and give it
/// back with [`Port::recycle`](crate::Port::recycle). One that is dropped instead is lost to the port.
#[derive(Debug)]
#[must_use = "a buffer that is not recycled is lost to the port"]
pub struct Buffer {
    pub(crate) index: u16,
    pub(crate) length: u32,
}

impl Buffer {
    /// How many bytes are in it.
    pub fn len(&self) -> usize {
        self.length as usize
    }

    /// Whether no bytes are in it.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// Where bytes go that nobody wants: the kernel alone writes to it, perhaps for many at once, and nobody reads it.
struct Nowhere(UnsafeCell<[u8; 16 << 10]>);

// SAFETY: no reference to the bytes is ever made.
unsafe impl Sync for Nowhere {}

static NOWHERE: Nowhere = Nowhere(UnsafeCell::new([0; 16 << 10]));

/// Memory for a receive whose bytes are to be thrown away, and its length. It is there for ever; nothing in it means
/// anything.
pub(crate) fn nowhere() -> (*mut u8, usize) {
    (NOWHERE.0.get().cast(), size_of_val(&NOWHERE))
}

/// The buffers of a backend whose kernel knows nothing of them.
#[derive(Debug)]
pub(crate) struct BufferPool {
    memory: Box<[u8]>,
    size: usize,
    free: Vec<u16>,
}

impl BufferPool {
    pub(crate) fn new(count: u16, size: usize) -> BufferPool {
        BufferPool {
            memory: vec![0; usize::from(count) * size].into_boxed_slice(),
            size,
            free: (0..count).rev().collect(),
        }
    }

    /// The length of each.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.memory.len() / self.size
    }

    /// Whether one can be taken.
    pub(crate) fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// Takes a free buffer, the one that was used last: `None` where all are out.
    pub(crate) fn take(&mut self) -> Option<Buffer> {
        self.free.pop().map(|index| Buffer { index, length: 0 })
    }

    pub(crate) fn bytes<'b>(&'b self, buffer: &'b Buffer) -> &'b [u8] {
        let start = usize::from(buffer.index) * self.size;
        &self.memory[start..start + buffer.len()]
    }

    /// The whole of a buffer, to be filled.
    pub(crate) fn whole_mut(&mut self, buffer: &Buffer) -> &mut [u8] {
        let start = usize::from(buffer.index) * self.size;
        &mut self.memory[start..start + self.size]
    }

    pub(crate) fn give_back(&mut self, buffer: Buffer) {
        debug_assert!(!self.free.contains(&buffer.index), "a buffer given back twice");
        self.free.push(buffer.index);
    }
}
