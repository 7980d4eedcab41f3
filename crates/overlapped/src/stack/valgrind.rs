//! Tells valgrind where stacks lie, where the feature `valgrind` is on: without that it takes a switch to one for a stack
//! pointer that has moved very far, or for a frame of some MiB, and what it then says of uninitialised memory is noise.
//!
//! A request is a run of instructions that does nothing, which valgrind knows (its manual, "The Client Request mechanism"; the
//! run and the numbers are from its `valgrind.h`). It costs some nanoseconds for each new stack outside of valgrind. The
//! crates that have these requests want the C header at build time, for two of them.

use std::ops::Range;

/// A stack that valgrind has been told of, until this is dropped.
pub(super) struct Registration {
    #[cfg(feature = "valgrind")]
    id: usize,
}

#[cfg(not(feature = "valgrind"))]
impl Registration {
    pub(super) fn new(_stack: Range<usize>) -> Self {
        Self {}
    }
}

#[cfg(feature = "valgrind")]
impl Registration {
    pub(super) fn new(stack: Range<usize>) -> Self {
        Self { id: request([STACK_REGISTER, stack.start, stack.end - 1, 0, 0, 0]) }
    }
}

#[cfg(feature = "valgrind")]
impl Drop for Registration {
    fn drop(&mut self) {
        request([STACK_DEREGISTER, self.id, 0, 0, 0, 0]);
    }
}

/// `VG_USERREQ__STACK_REGISTER`
#[cfg(feature = "valgrind")]
const STACK_REGISTER: usize = 0x1501;
/// `VG_USERREQ__STACK_DEREGISTER`
#[cfg(feature = "valgrind")]
const STACK_DEREGISTER: usize = 0x1502;

/// Asks valgrind for something; 0 where nobody listens.
#[cfg(feature = "valgrind")]
fn request(request: [usize; 6]) -> usize {
    let mut answer = 0;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: four rotations of a register by 128 bits in all and an exchange of one with itself change nothing but flags.
    // Valgrind, where it runs, reads the request and writes `rdx`.
    unsafe {
        std::arch::asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") request.as_ptr(),
            inout("rdx") answer,
            options(nostack, readonly),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above; valgrind writes `x3`.
    unsafe {
        std::arch::asm!(
            "ror x12, x12, #3",
            "ror x12, x12, #13",
            "ror x12, x12, #51",
            "ror x12, x12, #61",
            "orr x10, x10, x10",
            in("x4") request.as_ptr(),
            inout("x3") answer,
            options(nostack, readonly),
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    compile_error!("the feature `valgrind` knows x86-64 and AArch64 only");
    answer
}
