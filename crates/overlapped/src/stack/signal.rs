//! Unix: a stack overflow arrives as a signal, SIGSEGV or (macOS, the BSDs) SIGBUS, at an address in the guard.
//!
//! The handler needs a stack that is not the one that overflowed: sigaltstack(2), by thread. Rust's runtime sets one up for
//! the threads that it starts in a Rust program, but not for Python's threads, nor for any in a library that
//! Python loads; those get one here.
//!
//! Everything in the handler must be async-signal-safe (signal-safety(7)): it reads atomics, writes with write(2) and
//! aborts. What is not ours goes to the handler that was there before, Rust's own or faulthandler's.

use std::cell::OnceCell;
use std::io;
use std::mem;
use std::ptr;
use std::sync::OnceLock;

use super::{overflow, unix::guard_size};

const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// The dispositions that were in place before ours, in the order of `SIGNALS`.
static PREVIOUS: OnceLock<[libc::sigaction; 2]> = OnceLock::new();

/// Installs the handler for the process, and a signal stack for this thread where it has none.
pub(super) fn watch_overflow() {
    thread_local! { static SIGNAL_STACK: OnceCell<Option<SignalStack>> = const { OnceCell::new() } }
    // A thread that is ending has its own or none; it then overflows with the system's message.
    let _ = SIGNAL_STACK.try_with(|stack| stack.get_or_init(SignalStack::install).is_some());

    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        // Before ours can run, it must know whom to forward to.
        PREVIOUS.get_or_init(|| SIGNALS.map(|signal| exchange(signal, None)));
        for signal in SIGNALS {
            // SAFETY: all zeroes is a `sigaction`: no flags, nothing blocked.
            let mut action: libc::sigaction = unsafe { mem::zeroed() };
            action.sa_sigaction = on_fault as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            exchange(signal, Some(&action));
        }
    });
}

/// Replaces the disposition of `signal`, where one is given, and returns the one before.
fn exchange(signal: libc::c_int, action: Option<&libc::sigaction>) -> libc::sigaction {
    // SAFETY: as above.
    let mut previous = unsafe { mem::zeroed() };
    let action = action.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: both point to dispositions or to nothing. The call fails only for signals that cannot be caught.
    unsafe { libc::sigaction(signal, action, &mut previous) };
    previous
}

unsafe extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands over the information of this very signal.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    // Only the kernel's own signals (a positive code) carry the address of a fault; kill(2) and raise(3) do not.
    if code > 0
        && let Some(message) = overflow::explain(|stack| (stack.limit..stack.limit + guard_size()).contains(&address))
    {
        let text = message.as_bytes();
        // SAFETY: the text is `text.len()` bytes long; write(2) and abort(3) may be called from a handler.
        unsafe {
            libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len());
            libc::abort();
        }
    }
    // SAFETY: the arguments are those of this very signal.
    unsafe { forward(signal, code, info, context) };
}

/// Hands a fault that is not an overflow of a tasklet's stack to whom it would have gone.
///
/// # Safety
/// To be called from the handler of `signal`, with its arguments.
unsafe fn forward(signal: libc::c_int, code: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let index = usize::from(signal == SIGNALS[1]);
    let previous = PREVIOUS.get().map(|previous| &previous[index]);
    match previous {
        Some(action) if action.sa_sigaction != libc::SIG_DFL && action.sa_sigaction != libc::SIG_IGN => {
            if action.sa_flags & libc::SA_SIGINFO != 0 {
                type Handler = unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
                // SAFETY: `SA_SIGINFO` says that the address is that of a handler with three arguments.
                unsafe { mem::transmute::<usize, Handler>(action.sa_sigaction)(signal, info, context) };
            } else {
                type Handler = unsafe extern "C" fn(libc::c_int);
                // SAFETY: without `SA_SIGINFO` it is one with one argument.
                unsafe { mem::transmute::<usize, Handler>(action.sa_sigaction)(signal) };
            }
        }
        // A signal that someone sent and that was to be ignored.
        Some(action) if action.sa_sigaction == libc::SIG_IGN && code <= 0 => {}
        _ => {
            // SAFETY: all zeroes is the default disposition.
            exchange(signal, Some(&unsafe { mem::zeroed() }));
            // A fault comes again when its instruction does, and now ends the process; a signal that was sent must be sent
            // again, and comes when this handler has returned.
            if code <= 0 {
                // SAFETY: raise(3) may be called from a handler.
                unsafe { libc::raise(signal) };
            }
        }
    }
}

/// A stack for the handlers of one thread.
struct SignalStack {
    start: *mut libc::c_void,
    length: usize,
}

impl SignalStack {
    /// Gives this thread a signal stack, where it has none and there is memory for one.
    fn install() -> Option<Self> {
        // SAFETY: all zeroes is a `stack_t`, and asking changes nothing.
        let present = unsafe {
            let mut present: libc::stack_t = mem::zeroed();
            libc::sigaltstack(ptr::null(), &mut present);
            present
        };
        if present.ss_flags & libc::SS_DISABLE == 0 {
            return None;
        }
        // The frame that the kernel pushes holds every vector register: up to 11 KiB; a handler further down the chain
        // (Python's faulthandler) prints.
        let length = 64 * 1024;
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
        // SAFETY: a new anonymous mapping at an address that the kernel chooses touches no memory that exists.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return None;
        }
        let this = Self { start, length };
        // SAFETY: the memory is this thread's alone, and stays until `drop` has taken it out of use.
        let result = unsafe {
            let mut stack: libc::stack_t = mem::zeroed();
            stack.ss_sp = start;
            stack.ss_size = length;
            libc::sigaltstack(&stack, ptr::null_mut())
        };
        debug_assert_eq!(result, 0, "sigaltstack: {}", io::Error::last_os_error());
        Some(this)
    }
}

impl Drop for SignalStack {
    fn drop(&mut self) {
        // SAFETY: the thread ends outside any handler. The stack is taken out of use where it still is in use, and only
        // then unmapped.
        unsafe {
            let mut present: libc::stack_t = mem::zeroed();
            libc::sigaltstack(ptr::null(), &mut present);
            if present.ss_sp == self.start {
                let mut none: libc::stack_t = mem::zeroed();
                none.ss_flags = libc::SS_DISABLE;
                none.ss_size = self.length;
                libc::sigaltstack(&none, ptr::null_mut());
            }
            libc::munmap(self.start, self.length);
        }
    }
}
