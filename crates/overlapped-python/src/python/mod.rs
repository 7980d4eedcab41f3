//! The ground floor: Python's objects, greenlets, errors and time, before there is any tasklet.

pub(crate) mod buffer;
pub(crate) mod builtin;
pub(crate) mod bytes;
pub(crate) mod capi;
pub(crate) mod class;
pub(crate) mod error;
pub(crate) mod frameless;
pub(crate) mod greenlet;
pub(crate) mod hooks;
pub(crate) mod reference;
pub(crate) mod slot;
pub(crate) mod system;
pub(crate) mod time;
pub(crate) mod unfinished;
