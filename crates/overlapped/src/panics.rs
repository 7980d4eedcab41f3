//! Letting other tasklets run while one unwinds.
//!
//! Rust counts panics by thread. A tasklet that is left in the middle of its unwinding, because a destructor waits, leaves
//! its count behind: whoever runs meanwhile would see [`std::thread::panicking`] say yes, and poison every lock that it
//! releases. So the count is set right: before the switch it is lowered to none, and after it raised to what it was.
//!
//! There is no call for that, but there are *tokens*: coroutines that are suspended in the middle of an unwinding of their
//! own, by a guard's destructor. One that is resumed ends its unwinding, which lowers the count of the thread that resumes
//! it by one; making one raises the count of the thread that makes it by one. Tokens are no thread's: the first are made by
//! a thread that ends at once and takes its count along, and the process keeps them.
//!
//! ```text
//!   a tasklet unwinds       count 1 ── resume a token ──▶ 0   others run, and may unwind themselves
//!   it is gone back to      count 0 ── make a token   ──▶ 1   its destructor goes on
//! ```
//!
//! Rejected: to let nobody else run meanwhile (a peer that is a tasklet of the same thread is then waited for without end),
//! and to refuse every wait of a destructor (a `BufWriter` loses what it holds, and says nothing). It costs some
//! microseconds for each switch away from a stack that unwinds, and nothing for all others.

#![allow(unsafe_code, reason = "a token crosses threads")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::panicking;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

/// Of a token's stack, in bytes: room for the unwinder, also in a build without optimisation.
const STACK: usize = 64 << 10;

/// One panic's worth of a thread's count.
struct Token(Coroutine<(), (), (), DefaultStack>);

// SAFETY: the coroutine's stack holds an unwinding of nothing but its own frames: a guard, the payload `()`, and the
// pointer to its own yielder. What it changes of a thread, the count of panics, it finds anew when it is resumed.
unsafe impl Send for Token {}

/// The process's tokens that no tasklet uses.
static TOKENS: Mutex<Vec<Token>> = Mutex::new(Vec::new());

fn tokens() -> MutexGuard<'static, Vec<Token>> {
    TOKENS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Suspends its coroutine when it is dropped.
struct Suspends<'a>(&'a Yielder<(), ()>);

impl Drop for Suspends<'_> {
    fn drop(&mut self) {
        self.0.suspend(());
    }
}

impl Token {
    /// Raises this thread's count of panics by one.
    fn make(stack: DefaultStack) -> Token {
        let mut coroutine = Coroutine::with_stack(stack, |yielder, ()| {
            let unwinds = catch_unwind(AssertUnwindSafe(|| {
                let _suspends = Suspends(yielder);
                unwind();
            }));
            debug_assert!(unwinds.is_err());
        });
        let suspended = coroutine.resume(());
        debug_assert_eq!(suspended, CoroutineResult::Yield(()));
        Token(coroutine)
    }

    /// Lowers this thread's count of panics by one.
    fn spend(mut self) -> DefaultStack {
        let ended = self.0.resume(());
        debug_assert_eq!(ended, CoroutineResult::Return(()));
        self.0.into_stack()
    }
}

/// In a function of its own, so that nothing of a thread's is remembered across the switch.
#[inline(never)]
fn unwind() {
    resume_unwind(Box::new(()));
}

/// Runs `others` with this thread's count of panics at none.
#[inline]
pub(crate) fn aside(others: impl FnOnce()) {
    if panicking() { set_aside_for(others) } else { others() }
}

/// In a function of its own: a stack that is left is copied where it is a greenlet's, and each frame counts.
#[cold]
#[inline(never)]
fn set_aside_for(others: impl FnOnce()) {
    let panics = set_aside();
    others();
    panics.restore();
}

/// The panics of a tasklet that is left meanwhile.
#[must_use = "the count is to be restored"]
struct SetAside(Vec<DefaultStack>);

/// Lowers this thread's count of panics to none.
#[cold]
#[inline(never)]
fn set_aside() -> SetAside {
    let mut stacks = Vec::new();
    while panicking() {
        stacks.push(lower());
    }
    SetAside(stacks)
}

fn lower() -> DefaultStack {
    let token = tokens().pop();
    token.or_else(from_a_thread).unwrap_or_else(no_token).spend()
}

/// A token whose count stays with a thread that is gone.
fn from_a_thread() -> Option<Token> {
    let make = || DefaultStack::new(STACK).ok().map(Token::make);
    let thread = std::thread::Builder::new().name("overlapped-panics".into()).spawn(make).ok()?;
    thread.join().ok().flatten()
}

/// Neither can the destructor be refused its wait, which it may have begun, nor may the others see a panic that is not
/// theirs.
fn no_token() -> Token {
    eprintln!(
        "overlapped: a destructor waits while its tasklet unwinds, and there is no thread or memory to let others run"
    );
    std::process::abort();
}

impl SetAside {
    /// Raises the count to what it was.
    #[cold]
    #[inline(never)]
    fn restore(self) {
        for stack in self.0 {
            tokens().push(Token::make(stack));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What its destructor sees and does while a stack unwinds.
    struct OnDrop<F: FnMut()>(F);

    impl<F: FnMut()> Drop for OnDrop<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }

    fn unwinding(mut body: impl FnMut()) {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _on_drop = OnDrop(&mut body);
            unwind();
        }));
        assert!(caught.is_err());
    }

    #[test]
    fn a_panic_that_is_set_aside_is_not_seen_and_comes_back() {
        for _ in 0..3 {
            unwinding(|| {
                assert!(panicking());
                let aside = set_aside();
                assert!(!panicking());
                aside.restore();
                assert!(panicking());
            });
            assert!(!panicking());
        }
    }

    #[test]
    fn nested_panics_are_all_set_aside() {
        unwinding(|| {
            unwinding(|| {
                let aside = set_aside();
                assert_eq!(aside.0.len(), 2);
                assert!(!panicking());
                aside.restore();
            });
            assert!(panicking());
        });
        assert!(!panicking());
    }

    #[test]
    fn whoever_runs_meanwhile_may_panic_catch_and_set_aside_itself() {
        unwinding(|| {
            let aside = set_aside();
            unwinding(|| {
                let theirs = set_aside();
                assert!(!panicking());
                theirs.restore();
            });
            assert!(!panicking());
            aside.restore();
        });
        assert!(!panicking());
    }

    #[test]
    fn a_lock_that_is_used_meanwhile_is_not_poisoned() {
        let lock = Mutex::new(());
        unwinding(|| {
            let aside = set_aside();
            let held = lock.lock().unwrap();
            unwinding(|| ());
            drop(held);
            aside.restore();
        });
        assert!(!lock.is_poisoned());
    }

    #[test]
    fn threads_that_unwind_side_by_side_keep_their_counts() {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(|| {
                    for _ in 0..50 {
                        unwinding(|| {
                            let aside = set_aside();
                            assert!(!panicking());
                            std::thread::yield_now();
                            aside.restore();
                            assert!(panicking());
                        });
                        assert!(!panicking());
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
