//! A child process as the system names it, and how its end is learned.
//!
//! A number names a process only until its parent has asked how it ended; after that it may be a stranger's. So a child is
//! held by what stays its own: a pidfd (pidfd_open(2), Linux 5.3), a process handle of Windows. Where there is neither, the
//! number is used, and only as long as nobody has asked.
//!
//! **Rejected:** a handler of SIGCHLD belongs to the whole program, which may have one of its own; waitpid(-1) takes the
//! ends of children that other parts of the program wait for; asking now and then comes too late or too often.
//!
//! Each sibling file exports the same items in the same order.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::{End, Process, Watch};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::{End, Process, Watch};
