//! Leaving a wait early: cancel, time-out, a thrown exception.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::resume_unwind;

use crate::scheduler::{Scheduler, try_current};

/// Why a tasklet is to leave its wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is to end.
    Cancel,
    /// The time of one of its time-out scopes is up; the number is the scope's.
    Timeout(u64),
    /// A foreign tasklet is to raise something that its own side has kept; the number is that side's.
    Thrown(u64),
}

/// An interrupt is left on the current tasklet: take the wait back, then let it be raised, by unwinding or by the error
/// that is passed on.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an interrupt is to be raised once the wait is taken back"]
pub struct Interrupted(pub(crate) ());

/// What unwinds a Rust tasklet.
pub(crate) struct Unwind(pub(crate) Cause);

impl Interrupted {
    /// Raises the interrupt: unwinds a Rust tasklet; in a foreign one, and while a panic unwinds already, returns the
    /// error to pass on.
    pub(crate) fn raise(self, scheduler: &Scheduler) -> io::Error {
        if scheduler.unwinds()
            && !std::thread::panicking()
            && let Some(cause) = scheduler.take_interrupt()
        {
            // Not a panic: no message, no hook. The panic runtime is only the way to run the destructors.
            resume_unwind(Box::new(Unwind(cause)));
        }
        io::Error::other(self)
    }

    /// As [`Interrupted::raise`], where what comes after it does not return an [`io::Error`].
    pub(crate) fn raise_here(self) {
        if let Some(scheduler) = try_current() {
            let _ = self.raise(&scheduler);
        }
    }

    /// Whether `error` is an interrupt that is passed on.
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Interrupted>())
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the tasklet was interrupted while it waited")
    }
}

impl std::error::Error for Interrupted {}

/// The cause, where `payload` is that of an interrupt and not of a panic.
pub(crate) fn cause(payload: &(dyn Any + Send)) -> Option<Cause> {
    payload.downcast_ref::<Unwind>().map(|unwind| unwind.0)
}
