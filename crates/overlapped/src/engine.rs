//! The scheduler itself, for those who bring their own tasklets: the Python face does, with greenlets.
//!
//! A program that only uses tasklets needs nothing from here. What rests on a promise that no compiler checks is `unsafe`
//! and says which: a [`Switcher`] goes back to every stack that it has left, an operation's handles are the caller's.

pub use crate::expectations::Expectations;
pub use crate::interrupt::{Cause, Interrupted, Mask};
pub use crate::scheduler::{
    Board, Listener, Look, Onlooker, Scheduler, Started, StillHeld, Switcher, TaskletId, Timer, Told, Waiter, current,
    park,
};
pub use crate::select::first_of_as;
