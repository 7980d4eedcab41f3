//! What differs between operating systems and is not a backend: the names of handles, addresses and open modes.
//!
//! `unix` and `windows` export the same items in the same order; what Windows alone has between processes is in a third.

mod clock;
pub use clock::ThreadClock;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::*;

#[cfg(windows)]
pub mod shared;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::*;
