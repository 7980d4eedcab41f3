//! What is built on reading and writing alone: it works over sockets, files, pipes and whatever else has [`Read`] and
//! [`Write`](std::io::Write), inside of [`run`](crate::run()) and outside. And the process's [standard streams](standard).
//!
//! [`Read`]: std::io::Read

mod copy;
pub mod framing;
pub mod standard;

pub use self::copy::{copy, copy_bidirectional};
pub use self::standard::{stderr, stdin, stdout};
