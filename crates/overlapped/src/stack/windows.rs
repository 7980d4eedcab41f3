//! Windows: each stack is corosensei's own, a reservation that the system grows page by page.
//!
//! The system commits the next page when a soft guard page is touched, and raises an exception on the overflowing stack
//! itself when none is left; the thread environment block has to say where the stack lies. `DefaultStack` does all that (see
//! its module). Stacks are not carved from slabs: only a whole reservation can be returned.

use std::ffi::c_void;
use std::io;
use std::sync::Once;

use corosensei::stack::{DefaultStack, Stack, StackPointer, StackTebFields};

use super::{Bounds, overflow};

/// The size of a page on every processor that Windows runs on, in bytes.
pub(super) fn page_size() -> usize {
    4096
}

/// How stacks are guarded: here there is one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Guards;

impl Guards {
    pub(super) fn detect() -> Self {
        Self
    }
}

/// How stacks are guarded here, for reports.
pub(crate) fn guards() -> &'static str {
    "Windows: each stack is a reservation with guard pages of its own"
}

/// Where new stacks of one size come from.
pub(super) struct Slabs {
    size: usize,
}

impl Slabs {
    /// Stacks of `size` bytes.
    pub(super) fn new(size: usize, _guards: Guards) -> Self {
        Self { size }
    }

    /// Makes a stack that has never been used.
    #[cold]
    pub(super) fn carve(&mut self) -> io::Result<PooledStack> {
        let stack = DefaultStack::new(self.size).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!(
                    "reserving {} KiB for a tasklet's stack: {error}; memory and the paging file must hold what is committed",
                    self.size / 1024
                ),
            )
        })?;
        Ok(PooledStack { stack, size: self.size })
    }
}

/// A stack for one coroutine.
pub(crate) struct PooledStack {
    stack: DefaultStack,
    size: usize,
}

impl PooledStack {
    /// Where it lies.
    #[inline]
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds { limit: self.stack.limit().get(), base: self.stack.base().get(), size: self.size }
    }

    /// Replaces a stack that is not in use by one that has committed no more than its first page.
    #[cold]
    pub(super) fn release_memory(&mut self) {
        // Where there is no room for a second reservation the first one stays as it is.
        if let Ok(stack) = DefaultStack::new(self.size) {
            self.stack = stack;
        }
    }
}

// SAFETY: all of it is `DefaultStack`'s.
unsafe impl Stack for PooledStack {
    #[inline]
    fn base(&self) -> StackPointer {
        self.stack.base()
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        self.stack.limit()
    }

    #[inline]
    fn teb_fields(&self) -> StackTebFields {
        self.stack.teb_fields()
    }

    #[inline]
    fn update_teb_fields(&mut self, stack_limit: usize, guaranteed_stack_bytes: usize) {
        self.stack.update_teb_fields(stack_limit, guaranteed_stack_bytes);
    }
}

#[link(name = "kernel32")]
unsafe extern "system" {
    fn AddVectoredExceptionHandler(
        first: u32,
        handler: unsafe extern "system" fn(*mut ExceptionPointers) -> i32,
    ) -> *mut c_void;
    fn GetCurrentThreadId() -> u32;
    fn GetStdHandle(which: u32) -> *mut c_void;
    fn SetThreadStackGuarantee(bytes: *mut u32) -> i32;
    fn WriteFile(file: *mut c_void, bytes: *const u8, length: u32, written: *mut u32, overlapped: *mut c_void) -> i32;
}

/// `EXCEPTION_POINTERS`, with the part of `EXCEPTION_RECORD` that is read here.
#[repr(C)]
struct ExceptionPointers {
    record: *const ExceptionRecord,
    context: *const c_void,
}

#[repr(C)]
struct ExceptionRecord {
    code: u32,
    flags: u32,
}

const EXCEPTION_STACK_OVERFLOW: u32 = 0xC000_00FD;
const EXCEPTION_CONTINUE_SEARCH: i32 = 0;
const STD_ERROR_HANDLE: u32 = -12_i32 as u32;

/// How much of an overflowed stack is kept for the handlers of that exception, in bytes: as much as Rust's runtime keeps.
const GUARANTEE: u32 = 0x5000;

/// This thread, as a number that is not 0.
pub(super) fn thread_id() -> usize {
    // SAFETY: no preconditions.
    unsafe { GetCurrentThreadId() as usize }
}

/// Installs the handler for the process, and keeps room for it on the stacks that this thread makes from now on.
pub(super) fn watch_overflow() {
    static INSTALLED: Once = Once::new();
    // Before Rust's own, which names the thread only.
    // SAFETY: the handler is a function of this module, and stays.
    INSTALLED.call_once(|| unsafe {
        AddVectoredExceptionHandler(1, on_exception);
    });
    // `DefaultStack` asks the thread for its guarantee. Where Rust started the thread this is what is set already.
    let mut bytes = GUARANTEE;
    // SAFETY: the call reads and writes `bytes`.
    unsafe { SetThreadStackGuarantee(&mut bytes) };
}

unsafe extern "system" fn on_exception(pointers: *mut ExceptionPointers) -> i32 {
    // SAFETY: the system hands over the record of this exception.
    let code = unsafe { (*(*pointers).record).code };
    if code != EXCEPTION_STACK_OVERFLOW {
        return EXCEPTION_CONTINUE_SEARCH;
    }
    // The handler runs on the stack that overflowed, in the room that was kept.
    let here = (&raw const code) as usize;
    let Some(message) = overflow::explain(|bounds| (bounds.limit..bounds.base).contains(&here)) else {
        return EXCEPTION_CONTINUE_SEARCH;
    };
    let text = message.as_bytes();
    let mut written = 0;
    // SAFETY: the text is `text.len()` bytes long.
    unsafe {
        WriteFile(GetStdHandle(STD_ERROR_HANDLE), text.as_ptr(), text.len() as u32, &mut written, std::ptr::null_mut())
    };
    std::process::abort()
}
