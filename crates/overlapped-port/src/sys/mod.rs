//! What differs between operating systems and is not a backend: the names of handles, addresses and open modes.
//!
//! `unix` and `windows` export the same items in the same order; what is between processes, and different in each, is in
//! `inherited` for Unix and in `shared` for Windows.

mod clock;
pub use clock::ThreadClock;
#[cfg(unix)]
pub use clock::monotonic;

#[cfg(unix)]
pub mod inherited;
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
