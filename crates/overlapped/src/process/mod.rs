//! Child processes shaped as in [`std::process`], whose waits are those of the calling tasklet alone.
//!
//! What describes a child ([`Command`]'s settings, [`Stdio`], [`ExitStatus`], [`Output`]) is the standard library's; what
//! waits goes through the thread's completion port, and so only works inside of [`run`](crate::run): its pipes are read
//! and written there, and its end comes there too. Differences from [`std::process`]:
//!
//! - [`Child::wait_timeout`] and [`Command::kill_on_drop`] exist;
//! - a child may be ended with all that it has started ([`Command::own_tree`], [`Child::kill_tree`]), and with this process
//!   ([`Command::kill_on_parent_exit`]); on Unix, it may run on a terminal of its own (`Pty`, `Command::spawn_on`);
//! - a child that is dropped and not waited for leaves no zombie where the program goes on: a tasklet waits for it;
//! - a child whose end another part of the program has asked for is an error, with words.
//!
//! **The end** is that of this very child: no signal handler, no waiting for whichever child ends next, nothing that looks
//! now and then ([`overlapped_port::Process`] says how).
//!
//! **Starting** is the standard library's: without a copy of the parent's page tables (posix_spawn(3)) unless a user, a
//! group, a function to call before, a terminal or an end with the parent's is set, which want fork(2). It holds the thread
//! until the program has been found and read, some tenths of a millisecond.
//!
//! **Inherited** is what [`Stdio`] says, and what was opened without `O_CLOEXEC`. All that this crate and the standard
//! library open has that flag.
//!
//! ```
//! # #[cfg(unix)] {
//! use std::io::{BufRead, BufReader, Write};
//! use overlapped::process::{Command, Stdio};
//!
//! overlapped::run(|| {
//!     let mut child = Command::new("tr").args(["a-z", "A-Z"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
//!     let (mut input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
//!     let writer = overlapped::spawn(move || input.write_all(b"one\ntwo\n"));
//!     assert_eq!(output.lines().collect::<std::io::Result<Vec<_>>>()?, ["ONE", "TWO"]);
//!     writer.join().unwrap()?;
//!     assert!(child.wait()?.success());
//!     std::io::Result::Ok(())
//! }).unwrap();
//! # }
//! ```

mod child;
mod command;
mod pipe;
#[cfg(unix)]
mod pty;

pub use self::child::Child;
pub use self::command::Command;
#[cfg(unix)]
pub(crate) use self::command::withhold;
pub use self::pipe::{ChildStderr, ChildStdin, ChildStdout};
#[cfg(unix)]
pub use self::pty::{Pty, Size};
pub use std::process::{ExitCode, ExitStatus, Output, Stdio, abort, exit, id};
