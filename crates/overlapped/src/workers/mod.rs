//! What the hand-off and prefork have in common: a process that is started with a private channel as its standard input,
//! frames on that, and sockets that go along with some of them.
//!
//! Each has messages of its own, and its own rules of who may say what.

pub(crate) mod delay;
pub(crate) mod incoming;
pub(crate) mod sys;
