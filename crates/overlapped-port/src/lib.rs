//! The completion port under Overlapped: operations go in, completions come out.
//!
//! A [`Port`] belongs to one thread. [`Port::submit`] begins an operation and says which token its completion shall
//! carry; [`Port::poll`] sleeps until completions are there and hands them out in batches; [`Port::cancel`] asks for
//! the end of one that is no longer wanted; a [`Waker`] reaches the port from other threads. Timers
//! ([`Port::set_timer`]) ride on the same sleep.
//!
//! Under it is io_uring, readiness (epoll, kqueue) with a few threads for files, or a completion port of Windows, behind
//! one contract; or, for tests, a kernel that is simulated ([`sim`]). [`Port::new`] takes the best that works here,
//! `OVERLAPPED_BACKEND=uring`, `poll` or `iocp` forces one, and [`Port::report`] says which it was and why not a better one.
//!
//! ```
//! use overlapped_port::{Op, Outcome, Port, sys};
//!
//! let mut port = Port::new()?;
//! let file = std::fs::File::open("Cargo.toml")?;
//! let mut buffer = Box::new_uninit_slice(16);
//! let op = Op::Read { file: sys::raw_file(&file), buffer: &mut buffer, offset: Some(0) };
//! let mut completions = Vec::new();
//! // SAFETY: `buffer` and `file` outlive the loop, which ends with the operation's completion.
//! if let overlapped_port::Submitted::Pending(_) = unsafe { port.submit(op, 7) } {
//!     while completions.is_empty() {
//!         port.poll(None, &mut completions)?;
//!     }
//!     assert_eq!(completions[0].token, 7);
//!     assert!(matches!(completions[0].result, Ok(Outcome::Count(16))));
//! }
//! # std::io::Result::Ok(())
//! ```
// On docs.rs, what a system brings says so.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod backend;
mod buffers;
mod config;
mod explained;
mod host;
mod inbox;
mod message;
mod op;
mod open;
mod pool;
mod port;
mod process;
mod report;
#[cfg(unix)]
mod rights;
mod signals;
pub mod sim;
mod slots;
pub mod socket;
pub mod sys;

pub use address::Address;
pub use backend::Kind;
pub use buffers::Buffer;
pub use config::Config;
pub use inbox::Waker;
pub use message::{Receiving, RecvMessage, SendMessage};
pub use op::{Function, Interest, Lane, Op};
pub use open::OpenMode;
pub use port::{Completion, Outcome, Port, Submitted, TimerId};
pub use process::{End, Process, Starter, Ties, Watch};
#[cfg(windows)]
pub use process::{Job, on_signal, resume_thread, tie};
#[cfg(unix)]
pub use process::{end_with, terminal};
pub use report::{Counters, Observer, Pending, Report};
#[cfg(unix)]
pub use rights::{MOST_DESCRIPTORS, NOT_INHERITED, Rights};
pub use signals::{Arrival, Signals};
pub use slots::OpId;
