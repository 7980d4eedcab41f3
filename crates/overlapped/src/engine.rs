//! The scheduler itself, for those who bring their own tasklets: the Python face does, with greenlets.
//!
//! A program that only uses tasklets needs nothing from here.

pub use crate::interrupt::{Cause, Interrupted};
pub use crate::scheduler::{Board, Onlooker, Scheduler, StillHeld, Switcher, TaskletId, Timer, Waiter, current, park};
