//! Unix: stacks carved from slabs of anonymous memory.
//!
//! A slab is one mapping, and stays one where the kernel has lightweight guards (`MADV_GUARD_INSTALL`, Linux 6.13,
//! madvise(2)): markers in the page tables that a read or write turns into SIGSEGV. Elsewhere mprotect(2) makes the guard,
//! which splits the mapping: two mappings a stack, of which Linux allows a process 65,530 unless
//! `vm.max_map_count` says otherwise. Neighbouring slabs merge into one mapping.
//!
//! Traps: a huge page under a slab would turn one touched page into 2 MiB, so slabs refuse them. `MAP_STACK` on Linux
//! asks for just that (since 6.7), but on FreeBSD for a stack that the kernel grows, so it is Linux's alone.
//! Locked memory (mlockall(2)) refuses lightweight guards with EINVAL, and then mprotect serves.

use std::cell::Cell;
use std::io;
use std::ptr;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use corosensei::stack::{Stack, StackPointer};

use super::Bounds;
pub(super) use super::signal::watch_overflow;
use super::valgrind::Registration;

/// How much address space one slab takes, at most `SLAB_STACKS` stacks and at least one.
const SLAB_BYTES: usize = 64 << 20;
const SLAB_STACKS: usize = 256;

/// In how many places of its last page a stack may begin, and how far they are apart: a line of the cache. They leave half
/// of the page to a tasklet that waits.
const COLOURS: usize = 32;
const LINE: usize = 64;

/// `MADV_GUARD_INSTALL` of Linux's asm-generic/mman-common.h. Other systems know no such advice and refuse it.
const GUARD_INSTALL: libc::c_int = 102;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    pub(super) const MAP_FLAGS: libc::c_int = libc::MAP_NORESERVE | libc::MAP_STACK;
    pub(super) const RELEASE: libc::c_int = libc::MADV_DONTNEED;
    pub(super) const NO_HUGE_PAGES: Option<libc::c_int> = Some(libc::MADV_NOHUGEPAGE);
    pub(super) const LIGHTWEIGHT_GUARDS: bool = true;
}
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    #[cfg(target_os = "openbsd")]
    pub(super) const MAP_FLAGS: libc::c_int = libc::MAP_STACK;
    #[cfg(not(target_os = "openbsd"))]
    pub(super) const MAP_FLAGS: libc::c_int = 0;
    pub(super) const RELEASE: libc::c_int = libc::MADV_FREE;
    pub(super) const NO_HUGE_PAGES: Option<libc::c_int> = None;
    pub(super) const LIGHTWEIGHT_GUARDS: bool = false;
}

/// The size of a page, in bytes.
pub(super) fn page_size() -> usize {
    static SIZE: AtomicUsize = AtomicUsize::new(0);
    match SIZE.load(Ordering::Relaxed) {
        0 => {
            // SAFETY: sysconf(3) has no preconditions.
            let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
            SIZE.store(size, Ordering::Relaxed);
            size
        }
        size => size,
    }
}

/// This thread, as a number that is not 0. May be called from a signal handler.
pub(super) fn thread_id() -> usize {
    // SAFETY: pthread_self(3) has no preconditions.
    unsafe { libc::pthread_self() as usize }
}

/// How many bytes below each stack are guarded: 64 KiB, or a page where that is more. Code that Rust's compiler makes touches
/// each page of a large frame in turn (stack probes) and finds a guard of one page; C's does not unless it is asked to
/// (`-fstack-clash-protection`), and a function with a frame of 24 KiB steps over such a guard into the next stack. Few C
/// functions have frames of more than this; Linux keeps 1 MiB below the stack of a process's first thread
/// (`stack_guard_gap`), which a million stacks cannot afford: a lightweight guard takes eight bytes of page table for each
/// of its pages.
pub(super) fn guard_size() -> usize {
    page_size().max(64 << 10)
}

/// How the low end of each stack is guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guards {
    /// `MADV_GUARD_INSTALL`: markers in the page table.
    Lightweight,
    /// `mprotect(PROT_NONE)`: a mapping of its own.
    Protected,
}

/// How stacks are guarded here, for reports.
pub(crate) fn guards() -> &'static str {
    match Guards::detect() {
        Guards::Lightweight => "MADV_GUARD_INSTALL: stacks split no mapping",
        Guards::Protected => "mprotect: two mappings a stack (Linux has lighter guards since 6.13)",
    }
}

impl Guards {
    /// Asks the kernel, once, for a lightweight guard in a mapping of its own.
    pub(super) fn detect() -> Self {
        static DETECTED: OnceLock<Guards> = OnceLock::new();
        *DETECTED.get_or_init(|| {
            let works = system::LIGHTWEIGHT_GUARDS
                && Slab::map(guard_size(), 1).is_ok_and(|slab| slab.advise(0, guard_size(), GUARD_INSTALL).is_ok());
            if works { Self::Lightweight } else { Self::Protected }
        })
    }
}

/// One mapping, and the stacks in it. It is unmapped when the pool and every stack have let go of it.
struct Slab {
    start: *mut u8,
    length: usize,
    /// How many mappings its guards have split off.
    split: Cell<usize>,
}

/// How many mappings guards have split off in this process.
static SPLIT: AtomicUsize = AtomicUsize::new(0);

/// How many of them there may be: three quarters of the kernel's limit, so that the rest of the process can go on.
fn split_limit() -> usize {
    static LIMIT: OnceLock<usize> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let kernel = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok();
        kernel.and_then(|count| count.trim().parse().ok()).map_or(usize::MAX, |count: usize| count / 4 * 3)
    })
}

impl Slab {
    /// Maps room for `count` blocks of `stride` bytes.
    fn map(stride: usize, count: usize) -> io::Result<Self> {
        let length = stride * count;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANON | system::MAP_FLAGS;
        // SAFETY: a new anonymous mapping at an address that the kernel chooses touches no memory that exists.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            let error = io::Error::last_os_error();
            let reason = match error.raw_os_error() {
                Some(libc::ENOMEM) => {
                    "; look at the limits on address space (ulimit -v), on mappings (vm.max_map_count) and on promised \
                     memory (vm.overcommit_memory=2)"
                }
                _ => "",
            };
            return Err(io::Error::new(
                error.kind(),
                format!("mapping {} KiB for {count} tasklet stacks: {error}{reason}", length / 1024),
            ));
        }
        let slab = Self { start: start.cast(), length, split: Cell::new(0) };
        if let Some(advice) = system::NO_HUGE_PAGES {
            // Refused only by a kernel without huge pages, where there is nothing to refuse.
            let _ = slab.advise(0, length, advice);
        }
        Ok(slab)
    }

    fn advise(&self, offset: usize, length: usize, advice: libc::c_int) -> io::Result<()> {
        assert!(offset + length <= self.length);
        // SAFETY: the range lies within this mapping, and the callers give only advice on pages that hold nothing live.
        match unsafe { libc::madvise(self.start.add(offset).cast(), length, advice) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Makes the bytes from `offset` on, as many as a guard has, fault on every access.
    fn guard(&self, offset: usize, guards: Guards) -> io::Result<()> {
        if guards == Guards::Lightweight && self.advise(offset, guard_size(), GUARD_INSTALL).is_ok() {
            return Ok(());
        }
        let split = SPLIT.fetch_add(2, Ordering::Relaxed);
        let protected = if split + 2 > split_limit() {
            Err(io::Error::from_raw_os_error(libc::ENOMEM))
        } else {
            // SAFETY: the guard lies within this mapping, below a stack that has not been handed out yet.
            match unsafe { libc::mprotect(self.start.add(offset).cast(), guard_size(), libc::PROT_NONE) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        };
        match protected {
            Ok(()) => {
                self.split.set(self.split.get() + 2);
                Ok(())
            }
            Err(error) => {
                SPLIT.fetch_sub(2, Ordering::Relaxed);
                Err(io::Error::new(
                    error.kind(),
                    format!(
                        "guarding one more tasklet stack after {} others: {error}; each takes two of the mappings that the \
                         kernel allows a process: raise vm.max_map_count (sysctl -w vm.max_map_count=4194304), run fewer \
                         tasklets, or Linux 6.13 or later, where guards need none",
                        split / 2
                    ),
                ))
            }
        }
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        // SAFETY: stacks hold their slab, so nobody has one from this mapping any more.
        let result = unsafe { libc::munmap(self.start.cast(), self.length) };
        debug_assert_eq!(result, 0, "munmap of a slab: {}", io::Error::last_os_error());
        SPLIT.fetch_sub(self.split.get(), Ordering::Relaxed);
    }
}

/// Where new stacks of one size come from.
pub(super) struct Slabs {
    size: usize,
    guards: Guards,
    /// The slab that stacks are being carved from, and how many were.
    current: Option<(Rc<Slab>, usize)>,
}

impl Slabs {
    /// Slabs of stacks of `size` bytes, a multiple of the page size.
    pub(super) fn new(size: usize, guards: Guards) -> Self {
        Self { size, guards, current: None }
    }

    /// Makes a stack that has never been used.
    #[cold]
    pub(super) fn carve(&mut self) -> io::Result<PooledStack> {
        // A page more, in which stacks begin at different places.
        let stride = guard_size() + self.size + page_size();
        let (slab, carved) = match &mut self.current {
            Some(current) if (current.1 + 1) * stride <= current.0.length => current,
            current => {
                let slab = Slab::map(stride, (SLAB_BYTES / stride).clamp(1, SLAB_STACKS))?;
                current.insert((Rc::new(slab), 0))
            }
        };
        let offset = *carved * stride;
        slab.guard(offset, self.guards)?;
        let limit = slab.start as usize + offset;
        let base = limit + stride - *carved % COLOURS * LINE;
        let bounds = Bounds { limit, base, size: self.size };
        *carved += 1;
        let registration = Registration::new(bounds.base - bounds.size..bounds.base);
        Ok(PooledStack { bounds, slab: Rc::clone(slab), _registration: registration })
    }
}

/// A stack for one coroutine.
pub(crate) struct PooledStack {
    bounds: Bounds,
    slab: Rc<Slab>,
    _registration: Registration,
}

impl PooledStack {
    /// Where it lies.
    #[inline]
    pub(crate) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Returns the memory of a stack that is not in use to the system; its addresses and its guard stay.
    #[cold]
    pub(super) fn release_memory(&mut self) {
        let offset = self.bounds.limit + guard_size() - self.slab.start as usize;
        // Locked memory refuses (EINVAL), and stays.
        let _ = self.slab.advise(offset, self.bounds.size + page_size(), system::RELEASE);
    }
}

// SAFETY: `base` is the end of a line of the cache and thus aligned; the bytes at `limit` are a guard (`Slabs::carve`),
// above it are at least `MIN_STACK_SIZE` bytes, which no other stack shares and which stay mapped while `slab` is held.
unsafe impl Stack for PooledStack {
    #[inline]
    fn base(&self) -> StackPointer {
        // SAFETY: it lies above the guard, and the kernel maps nothing at address 0.
        unsafe { StackPointer::new_unchecked(self.bounds.base) }
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        // SAFETY: the kernel maps nothing at address 0.
        unsafe { StackPointer::new_unchecked(self.bounds.limit) }
    }
}

/// Counts as many mappings as leave room for `left` more, until the returned value is dropped.
#[cfg(test)]
pub(super) fn fill_mappings(left: usize) -> impl Drop {
    struct Filled(usize);
    impl Drop for Filled {
        fn drop(&mut self) {
            SPLIT.fetch_sub(self.0, Ordering::Relaxed);
        }
    }
    let count = split_limit() - left - SPLIT.load(Ordering::Relaxed);
    SPLIT.fetch_add(count, Ordering::Relaxed);
    Filled(count)
}
