//! What exists on Windows alone.

pub(crate) mod system;
