//! Provided buffers: memory of the port's that a receive is given when its bytes are there.
//!
//! A [`Buffer`] knows where it came from and goes back there by itself, whoever drops it and wherever, read or unread, the
//! port alive or gone: its [`Home`] lives as long as one of its buffers is out. It can be read without the port, for its
//! memory does not move. So there is no way to give it to the wrong port, or back twice, or to lose it.
//!
//! The price is a reference count that one thread alone changes: nothing is allocated for a receive. What a buffer
//! knows lies in a table of its home's ([`Headers`]), and the buffer is a pointer there: every result of an operation
//! has room for a buffer, whatever the operation, and is moved from hand to hand. (With all of it in the buffer, 56
//! bytes, a send that need not wait took a sixth more instructions.) Rejected: a buffer that is only a number, for any
//! port would take it for one of its own; a number beside the port's, for one that is dropped unread would be lost; an
//! `Arc`, for what goes back on another thread would have to wake the port, on the hot path of all the others.
//!
//! A receive that has a part of its bytes and waits for the rest (`MSG_WAITALL`) keeps none of the port's memory meanwhile:
//! [`Buffer::keep`] copies the part to memory of its own. Or some slow peers would hold all there is, and everybody else's
//! bytes could not come in.

use std::alloc::{self, Layout};
use std::cell::{RefCell, UnsafeCell};
use std::fmt;
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::rc::{Rc, Weak};

/// Where buffers go back to.
pub(crate) trait Home {
    /// Takes the buffer with this number back. Receives that wait for one go on at the next wait.
    fn give_back(&self, index: u16);
}

/// A provided buffer with the bytes of one receive in it. It dereferences to them, and goes back to its port when it is
/// dropped, which may be after the port is gone.
#[must_use = "what was received is lost with it"]
pub struct Buffer(NonNull<Header>);

/// What a buffer knows, while it is out.
struct Header {
    /// Set while the buffer is out.
    home: Option<Rc<dyn Home>>,
    /// The port's memory.
    start: NonNull<u8>,
    size: usize,
    /// The number that it has there.
    index: u16,
    /// Memory of its own, in place of the port's. The header is then in memory of its own, too.
    kept: Option<Vec<u8>>,
    /// How many of the bytes are what was received.
    length: usize,
}

/// The headers of a home's buffers, by number.
pub(crate) struct Headers(Box<[UnsafeCell<Header>]>);

impl Headers {
    /// # Errors
    /// `OutOfMemory`.
    pub(crate) fn new(count: u16) -> io::Result<Headers> {
        let mut headers = Vec::new();
        headers.try_reserve_exact(count.into())?;
        headers.extend((0..count).map(|index| {
            UnsafeCell::new(Header { home: None, start: NonNull::dangling(), size: 0, index, kept: None, length: 0 })
        }));
        Ok(Headers(headers.into()))
    }

    /// A buffer that is out.
    ///
    /// # Safety
    /// The headers are `home`'s, and the buffer `index` is not out. The `size` bytes at `start` are initialised, there for as
    /// long as `home` is, and nobody else's until the buffer has been given back. `length` is no more than `size`.
    pub(crate) unsafe fn lend(
        &self,
        home: Rc<dyn Home>,
        index: u16,
        start: NonNull<u8>,
        size: usize,
        length: usize,
    ) -> Buffer {
        debug_assert!(length <= size, "more bytes than the buffer has");
        let header = self.0[usize::from(index)].get();
        // SAFETY: where a buffer is not out, nobody has a reference to its header. It lives as long as its home, which it
        // keeps from now on.
        unsafe {
            (*header).home = Some(home);
            ((*header).start, (*header).size, (*header).length) = (start, size, length);
            Buffer(NonNull::new_unchecked(header))
        }
    }
}

impl Buffer {
    fn header(&self) -> &Header {
        // SAFETY: the header is this buffer's alone until it goes back, and lives as long as its home, which it keeps; or, in
        // memory of its own, as long as the buffer.
        unsafe { self.0.as_ref() }
    }

    fn header_mut(&mut self) -> &mut Header {
        // SAFETY: as above, and the buffer is borrowed mutably.
        unsafe { self.0.as_mut() }
    }

    /// How many bytes are in it.
    pub fn len(&self) -> usize {
        self.header().length
    }

    /// Whether no bytes are in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it comes from there.
    pub(crate) fn is_of(&self, home: &Weak<dyn Home>) -> bool {
        self.header().home.as_ref().is_some_and(|mine| std::ptr::addr_eq(Rc::as_ptr(mine), home.as_ptr()))
    }

    /// All of its memory, to be filled.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let header = self.header_mut();
        match &mut header.kept {
            Some(bytes) => bytes,
            // SAFETY: `lend`'s caller has promised the bytes to this buffer, which is borrowed mutably.
            None => unsafe { std::slice::from_raw_parts_mut(header.start.as_ptr(), header.size) },
        }
    }

    /// Says that the first `length` bytes of its memory are what was received.
    pub(crate) fn fill(&mut self, length: usize) {
        self.header_mut().length = length.min(self.room().len());
    }

    /// Lets the port's memory go: the bytes go on in memory of the buffer's own, with room for `room` of them.
    ///
    /// # Errors
    /// `OutOfMemory`; it is unchanged then.
    pub(crate) fn keep(&mut self, room: usize) -> io::Result<()> {
        let lent = self.header();
        if lent.kept.is_some() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(room.max(lent.length)).map_err(|_| io::ErrorKind::OutOfMemory)?;
        bytes.extend_from_slice(self);
        bytes.resize(room.max(lent.length), 0);
        let kept = Header { home: lent.home.clone(), kept: Some(bytes), ..*lent };
        let kept = Buffer(NonNull::from(Box::leak(Box::new(kept))));
        // The one that is dropped goes back.
        *self = kept;
        Ok(())
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let header = self.header();
        match &header.kept {
            Some(bytes) => &bytes[..header.length],
            // SAFETY: as for `room`; `fill` has cut the length.
            None => unsafe { std::slice::from_raw_parts(header.start.as_ptr(), header.length) },
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.header().kept.is_some() {
            // SAFETY: `keep` has leaked it, for this buffer alone.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
            return;
        }
        // The header is gone with its home, where this was the last to know it.
        let index = self.header().index;
        if let Some(home) = self.header_mut().home.take() {
            home.give_back(index);
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("length", &self.len()).finish_non_exhaustive()
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
pub(crate) struct BufferPool(Rc<Pool>);

struct Pool {
    memory: NonNull<u8>,
    layout: Layout,
    size: usize,
    headers: Headers,
    free: RefCell<Vec<u16>>,
}

impl BufferPool {
    /// `count` buffers of `size` bytes, both more than none.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub(crate) fn new(count: u16, size: usize) -> io::Result<BufferPool> {
        let no_memory = || {
            let message = format!("no memory for {count} provided buffers of {size} bytes");
            io::Error::new(io::ErrorKind::OutOfMemory, message)
        };
        let mut free = Vec::new();
        free.try_reserve_exact(count.into()).map_err(|_| no_memory())?;
        free.extend((0..count).rev());
        let headers = Headers::new(count).map_err(|_| no_memory())?;
        let layout = usize::from(count).checked_mul(size).and_then(|bytes| Layout::array::<u8>(bytes).ok());
        let layout = layout.filter(|layout| layout.size() > 0).ok_or_else(no_memory)?;
        // SAFETY: the layout is not that of nothing.
        let memory = NonNull::new(unsafe { alloc::alloc_zeroed(layout) }).ok_or_else(no_memory)?;
        Ok(BufferPool(Rc::new(Pool { memory, layout, size, headers, free: RefCell::new(free) })))
    }

    /// The length of each.
    pub(crate) fn size(&self) -> usize {
        self.0.size
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.layout.size() / self.0.size
    }

    /// Whether one can be taken.
    pub(crate) fn has_free(&self) -> bool {
        !self.0.free.borrow().is_empty()
    }

    /// Takes a free buffer, the one that was used last: `None` where all are out.
    pub(crate) fn take(&self) -> Option<Buffer> {
        let index = self.0.free.borrow_mut().pop()?;
        // SAFETY: the offset is within the memory, which was zeroed when it was allocated, lives as long as the pool, and is
        // cut in pieces of `size`. A number that is not in the list of free ones is that of one buffer alone.
        unsafe {
            let start = self.0.memory.add(usize::from(index) * self.0.size);
            Some(self.0.headers.lend(self.0.clone(), index, start, self.0.size, 0))
        }
    }

    /// What its buffers come from.
    pub(crate) fn home(&self) -> Weak<dyn Home> {
        let home: Weak<Pool> = Rc::downgrade(&self.0);
        home
    }
}

impl Home for Pool {
    fn give_back(&self, index: u16) {
        self.free.borrow_mut().push(index);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout; each buffer that is out keeps the pool alive.
        unsafe { alloc::dealloc(self.memory.as_ptr(), self.layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_goes_back_when_it_is_dropped_and_outlives_its_pool() {
        let pool = BufferPool::new(2, 8).unwrap();
        let (first, mut second) = (pool.take().unwrap(), pool.take().unwrap());
        assert!(!pool.has_free() && pool.take().is_none());
        drop(first);
        assert!(pool.has_free());
        second.room().copy_from_slice(b"12345678");
        second.fill(5);
        drop(pool);
        assert_eq!(&second[..], b"12345");
    }

    #[test]
    fn a_buffer_that_is_kept_has_its_bytes_and_room_and_the_ports_memory_is_free() {
        let pool = BufferPool::new(1, 8).unwrap();
        let mut buffer = pool.take().unwrap();
        buffer.room()[..3].copy_from_slice(b"abc");
        buffer.fill(3);
        buffer.keep(6).unwrap();
        let other = pool.take().expect("it has gone back");
        assert_eq!(&buffer[..], b"abc");
        assert_eq!(buffer.room().len(), 6);
        drop(buffer);
        assert!(!pool.has_free(), "it goes back once");
        drop(other);
        assert!(pool.has_free());
    }

    #[test]
    fn a_buffer_knows_its_pool() {
        let (mine, other) = (BufferPool::new(1, 8).unwrap(), BufferPool::new(1, 8).unwrap());
        let mut buffer = mine.take().unwrap();
        assert!(buffer.is_of(&mine.home()) && !buffer.is_of(&other.home()));
        buffer.keep(8).unwrap();
        assert!(buffer.is_of(&mine.home()) && !buffer.is_of(&other.home()));
    }

    #[test]
    fn memory_that_is_not_there_is_an_error() {
        assert_eq!(BufferPool::new(u16::MAX, usize::MAX).err().unwrap().kind(), io::ErrorKind::OutOfMemory);
        assert_eq!(BufferPool::new(u16::MAX, 1 << 46).err().unwrap().kind(), io::ErrorKind::OutOfMemory);
        let pool = BufferPool::new(1, 8).unwrap();
        let mut buffer = pool.take().unwrap();
        assert!(buffer.keep(usize::MAX).is_err());
        drop(buffer);
        assert!(pool.has_free());
    }
}
