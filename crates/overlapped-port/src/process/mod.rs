//! A child process as the system names it: how it is started with ties to others, and how its end is learned.
//!
//! A number names a process only until its parent has asked how it ended; after that it may be a stranger's. So a child is
//! held by what stays its own: a pidfd (pidfd_open(2), Linux 5.3), a process handle of Windows. Where there is neither, the
//! number is used, and only as long as nobody has asked.
//!
//! **Rejected:** a handler of SIGCHLD belongs to the whole program, which may have one of its own; waitpid(-1) takes the
//! ends of children that other parts of the program wait for; asking now and then comes too late or too often.
//!
//! **Ties** ([`Ties`]) are what a child is started with: a tree of its own, an end with its parent's. They are the
//! system's, and hold also where this process is ended by force. (Rejected: a pipe that the child would have to watch, which
//! a program that knows nothing of it does not; a second process that watches both, which can be ended itself.)
//!
//! Each sibling folder exports the same items; a terminal is what Unix alone has.

use std::io;
use std::process::Child;

use crate::sys::RawSocket;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::{Process, Starter, Watch, end_with, terminal};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::{Job, Process, Starter, Watch, on_signal, resume_thread, tie};

/// How to learn of a process's end.
#[derive(Debug)]
pub enum End {
    /// [`Op::Poll`](crate::Op::Poll) says that this is readable.
    Readable(RawSocket),
    /// [`Process::on_end`] tells.
    Told,
}

/// How a child is tied to other processes, from its start on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ties {
    /// It is the root of a tree, which [`Process::kill_tree`] ends: a job of Windows; on Unix, a group of processes.
    pub tree: bool,
    /// It ends by force when this process has ended, however that did: on Windows, with all that it has started (a job); on
    /// Linux, it alone (`PR_SET_PDEATHSIG`, prctl(2)). Elsewhere there is no such thing, and the start fails.
    pub ends_with_parent: bool,
}

/// What is answered where a tree is to be ended that there is not.
fn no_tree(id: u32) -> io::Error {
    let what =
        format!("the child process {id} was not started with a tree of its own: nothing but itself can be ended");
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// A child with what stands for it. One that nobody would hold has to end.
fn held(mut child: Child, hold: impl FnOnce(&Child) -> io::Result<Process>) -> io::Result<(Child, Process)> {
    match hold(&child) {
        Ok(process) => Ok((child, process)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}
