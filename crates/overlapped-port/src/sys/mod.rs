//! What differs between operating systems and is not a backend: the names of handles, addresses and open modes.
//!
//! `unix` and `windows` export the same items in the same order; what is between processes, and different in each, is in
//! `inherited` for Unix and in `shared` for Windows.

mod clock;
pub use clock::ThreadClock;
#[cfg(unix)]
pub use clock::monotonic;

pub mod disk;

/// Starts a thread of our own, which signals do not reach: they are the business of the program's. It blocks them before it
/// begins, or one could come first.
///
/// # Errors
/// Where the system has no thread.
pub fn start_thread<T: Send + 'static>(
    builder: std::thread::Builder,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<T>> {
    let mask = SignalMask::of_this_thread();
    block_signals();
    let started = builder.spawn(work);
    mask.set();
    started
}

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
