//! What is asked of an open file besides reading and writing it, in blocking form: space, advice, locks.
//!
//! `unix` and `windows` export the same functions in the same order.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::*;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::*;

/// How a part of a file is going to be used (posix_fadvise(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Advice {
    /// In no special way: takes earlier advice back.
    Normal,
    /// From lower places to higher ones: the system reads further ahead.
    Sequential,
    /// Here and there: the system does not read ahead.
    Random,
    /// Once.
    NoReuse,
    /// Soon: the system begins to read it into its cache.
    WillNeed,
    /// Not soon: the system may free what its cache has of it. What was not synced stays.
    DontNeed,
}
