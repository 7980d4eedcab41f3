//! Standard input, output and error of the process: whoever reads or writes them waits alone.
//!
//! **What is shared.** The streams are the process's, the buffers are this module's: one of 8 KiB for the input, a line for
//! the output; whole tasklets and threads take turns at them. The standard library has buffers of its own. What
//! [`std::io::stdin`] has read ahead is not found here, nor the other way round: a program reads its input by one of the
//! two. Output may go by both, for each writes whole lines; but a line that was begun by `print!` and goes on here comes out
//! in another order. `println!` blocks the whole thread where the reader of a pipe is slow; what is written here does not.
//!
//! **Lines.** Standard output is written a line at a time, as the standard library has it: the rest waits for its line's end,
//! for [`flush`](std::io::Write::flush), or for the end of [`run`](crate::run()), which writes it. (Not so
//! [`std::process::exit`] and an abort: they end the process with the rest unwritten.) Standard error is written at once.
//!
//! **Where there is none.** A stream that is closed is an empty input, and an output that takes everything.
//!
//! On Windows a console talks in characters and not in bytes; there the standard library's calls are made, on a thread.
//!
//! Rejected: to write by the standard library's buffer, which would keep one order for both. It is flushed inside of its
//! own calls, by a write that blocks the thread, and with it the tasklet that may be the one that reads the pipe.

#[cfg(windows)]
mod console;
mod input;
mod output;

pub use input::{Stdin, StdinLock, stdin};
pub(crate) use output::flush_at_end;
pub use output::{Stderr, StderrLock, Stdout, StdoutLock, stderr, stdout};

use std::io;

use overlapped_port::sys::CLOSED;

/// What an operation on a stream has brought; `closed` where there is no such stream.
fn or_closed(result: io::Result<usize>, closed: usize) -> io::Result<usize> {
    match result {
        Err(error) if error.raw_os_error() == Some(CLOSED) => Ok(closed),
        result => result,
    }
}
