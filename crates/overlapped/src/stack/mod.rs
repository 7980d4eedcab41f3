//! The stacks that tasklets run on: pooled by thread, guarded at their low end, and cheap enough for a million.
//!
//! ```text
//!  low addresses                                                           high addresses
//!  +-------+------------------------+-------+------------------------+-------+-----
//!  | guard |  stack 0   <- grows    | guard |  stack 1   <- grows    | guard |  ...      one slab: one mmap
//!  +-------+------------------------+-------+------------------------+-------+-----
//!  ^ limit                          ^ base
//! ```
//!
//! A [`StackPool`] keeps the stacks that were given back in a last-in, first-out list for each size: the next tasklet
//! gets the stack whose top pages are still in the cache, and neither [`StackPool::take`] nor [`StackPool::give`] enters
//! the kernel. New stacks are carved from slabs, and memory comes page by page as a tasklet first touches it.
//!
//! **Memory.** An idle tasklet needs the page that it touched and some 700 bytes of page tables. Of the free stacks the
//! last [`WARM_BYTES`] stay as they are; those below them in the list, unused for the longest, return their memory to the
//! system and keep only their addresses. A slab's addresses are returned when the pool and every stack of it are gone.
//!
//! **Guards.** Running over the end of a stack must not reach the next one, whatever it costs: [`guards`] says how this is
//! done here. A guard is 64 KiB long, for C code that does not touch its stack page by page (Windows's compilers do). Where the kernel is too old to do it within one mapping, a process can have some 24,000 stacks under
//! the usual limit on mappings; the error of the next [`StackPool::take`] says how to raise it. To go on without guards
//! would make deep recursion in safe code overwrite another tasklet's stack, so that is not done.
//!
//! **Colours.** Stacks lie a multiple of a page apart. Did all of them begin at the end of a page, what each tasklet touches at a
//! switch would share the same third of the processor's caches, whose sets are chosen by an address's place in its page. So
//! they begin up to 2 KiB before that, a line of the cache apart. With that, and with the next stacks
//! [fetched ahead](crate::ahead), an echo over 500 connections of 64 B takes 6 % less of the processor's time.
//!
//! **Tools that look at stacks** are told of them: AddressSanitizer at each switch (the feature `sanitizer`, which is
//! corosensei's), valgrind of each new stack (the feature `valgrind`). `make sanitize` uses both.
//!
//! **Overflow.** [`OverflowWatch`] makes the message name the tasklet. Windows grows, guards and reports stacks in its own
//! way, and there a stack is that of corosensei.

mod overflow;
#[cfg(unix)]
mod signal;
#[cfg(test)]
mod tests;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
mod valgrind;
#[cfg(windows)]
mod windows;

use std::io;

#[cfg(unix)]
use unix as sys;
#[cfg(windows)]
use windows as sys;

pub(crate) use overflow::{Occupant, OverflowWatch};
pub(crate) use sys::{PooledStack, guards};

use sys::{Guards, Slabs};

/// The smallest usable size: a signal handler without a stack of its own puts the processor's whole state on the
/// tasklet's, which is 3 to 11 KiB with wide vector registers.
const MIN_STACK_SIZE: usize = 16 * 1024;

/// How many bytes of stacks that are not in use keep what memory they have, for each size: 1,024 of 256 KiB, which is
/// some MiB where tasklets use little of their stacks. To release a stack and touch it again costs two microseconds.
const WARM_BYTES: usize = 256 << 20;

/// Where a stack lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The lowest address, where the guard begins.
    pub(crate) limit: usize,
    /// One past the highest address: where the stack begins. At least `size` bytes lie between this and the guard.
    pub(crate) base: usize,
    /// The usable bytes that were asked for, rounded up.
    pub(crate) size: usize,
}

/// The stacks of one thread.
pub(crate) struct StackPool {
    guards: Guards,
    classes: Vec<SizeClass>,
    /// The size that was asked for last, and its class; a size of 0 at first, which is nobody's.
    last: (usize, usize),
}

impl StackPool {
    /// An empty pool: nothing is mapped yet.
    pub(crate) fn new() -> Self {
        Self::with_guards(Guards::detect())
    }

    /// A pool with the given kind of guard, to test the one that the system would not choose.
    fn with_guards(guards: Guards) -> Self {
        Self { guards, classes: Vec::new(), last: (0, 0) }
    }

    /// Makes sure that one more [`StackPool::take`] of `size` bytes will find a stack, whatever the system's limits then
    /// are. Nobody who is ready to run then needs to be told that it cannot.
    ///
    /// # Errors
    /// As for [`StackPool::take`].
    #[inline]
    pub(crate) fn reserve(&mut self, size: usize) -> io::Result<()> {
        self.class(size)?.reserve()
    }

    /// Takes a stack of at least `size` usable bytes; sizes are rounded up to a power of two.
    ///
    /// # Errors
    /// `InvalidInput` where no such size can be addressed; `OutOfMemory` where the system has no room for another slab
    /// or another guard: the message says which limits to look at.
    #[inline]
    pub(crate) fn take(&mut self, size: usize) -> io::Result<PooledStack> {
        self.class(size)?.take()
    }

    #[inline]
    fn class(&mut self, size: usize) -> io::Result<&mut SizeClass> {
        // Most are of the size of the one before.
        let index = if self.last.0 == size && size != 0 { self.last.1 } else { self.find_class(size)? };
        Ok(&mut self.classes[index])
    }

    #[cold]
    #[inline(never)]
    fn find_class(&mut self, asked: usize) -> io::Result<usize> {
        let size = round_up(asked)?;
        let index = match self.classes.iter().position(|class| class.size == size) {
            Some(index) => index,
            None => {
                self.classes.push(SizeClass::new(size, self.guards));
                self.classes.len() - 1
            }
        };
        self.last = (asked, index);
        Ok(index)
    }

    /// Gives back a stack that nothing runs on any more. A stack that is dropped instead stays unused until its whole slab
    /// is gone.
    #[inline]
    pub(crate) fn give(&mut self, stack: PooledStack) {
        // A stack from another pool of this thread may be of a size that this one never had: it is then dropped.
        if let Some(class) = self.classes.iter_mut().find(|class| class.size == stack.bounds().size) {
            class.give(stack);
        }
    }
}

/// Rounds a wanted size up to a power of two pages.
#[inline]
fn round_up(size: usize) -> io::Result<usize> {
    let rounded = size.max(MIN_STACK_SIZE).max(sys::page_size()).checked_next_power_of_two();
    rounded.filter(|&size| size <= isize::MAX as usize / 2).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("a stack of {size} bytes is more than can be addressed"))
    })
}

/// The free stacks of one size, the most recently used last, and where new ones come from.
struct SizeClass {
    size: usize,
    slabs: Slabs,
    free: Vec<PooledStack>,
    /// How many at the start of `free` have returned their memory.
    released: usize,
    /// How many free stacks may keep their memory.
    warm: usize,
    /// Stacks that were made for those who have reserved one, and never used: taken when no free one is left.
    fresh: Vec<PooledStack>,
    /// How many are reserved.
    reserved: usize,
}

impl SizeClass {
    fn new(size: usize, guards: Guards) -> Self {
        let warm = (WARM_BYTES / size).max(4);
        Self {
            size,
            slabs: Slabs::new(size, guards),
            free: Vec::new(),
            released: 0,
            warm,
            fresh: Vec::new(),
            reserved: 0,
        }
    }

    #[inline]
    fn reserve(&mut self) -> io::Result<()> {
        if self.reserved >= self.free.len() + self.fresh.len() {
            self.fresh.push(self.slabs.carve()?);
        }
        self.reserved += 1;
        Ok(())
    }

    #[inline]
    fn take(&mut self) -> io::Result<PooledStack> {
        self.reserved = self.reserved.saturating_sub(1);
        let Some(stack) = self.free.pop() else {
            return self.fresh.pop().map_or_else(|| self.slabs.carve(), Ok);
        };
        self.released = self.released.min(self.free.len());
        Ok(stack)
    }

    #[inline]
    fn give(&mut self, stack: PooledStack) {
        self.free.push(stack);
        if self.free.len() - self.released > self.warm {
            self.free[self.released].release_memory();
            self.released += 1;
        }
    }
}
