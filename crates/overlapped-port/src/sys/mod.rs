//! What differs between operating systems and is not a backend: the names of handles, addresses and open modes.
//!
//! Each sibling file exports the same items in the same order.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::*;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::*;
