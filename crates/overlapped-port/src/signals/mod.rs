//! Signals as things to wait for: those of Unix, and the console's events on Windows.
//!
//! A handler may interrupt the program anywhere, and can do next to nothing there. So it only notes what came and makes
//! somebody look. On Unix that is signal-hook's: several parts of a program may wait for the same signal, each is told, and a
//! handler that was there before is still called. signalfd(2) was rejected: it wants the signal blocked in every thread,
//! those of libraries too, and children inherit that.
//!
//! Each sibling file exports the same items in the same order.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::{Arrival, Signals};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::{Arrival, Signals};
