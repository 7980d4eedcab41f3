//! What is built on reading and writing alone: it works over sockets, files, pipes and whatever else has [`Read`] and
//! [`Write`](std::io::Write), inside of [`run`](crate::run()) and outside.
//!
//! [`Read`]: std::io::Read

pub mod framing;
