//! What exists on Windows alone: association with a port, handles that can only block, named pipes.

mod association;
mod blocking;
mod files;
mod pipes;
pub(crate) mod system;
