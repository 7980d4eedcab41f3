//! What exists on Unix alone: Unix sockets, pipes, devices, descriptors that are not sockets, signals, fork.

#[cfg(target_os = "linux")]
mod denied;
mod descriptors;
mod devices;
#[cfg(target_os = "linux")]
mod errors_queued;
mod flags;
mod fork;
mod multishot;
#[cfg(target_os = "linux")]
mod netlink;
mod opens;
mod order;
mod pipes;
mod readiness;
mod rights;
mod signals;
mod sockets;
pub(crate) mod system;
mod tcp;
#[cfg(target_os = "linux")]
mod threads;
