//! How a worker inherits its channel and sockets go along, by system. The same items, in the same order.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use self::unix::OwnedSocket;
#[cfg(unix)]
pub(super) use self::unix::*;
#[cfg(unix)]
pub(crate) use self::unix::{put_nothing_at, unix_stream};
#[cfg(windows)]
pub use self::windows::OwnedSocket;
#[cfg(windows)]
pub(super) use self::windows::*;

/// Bytes that came, and what came along.
pub(in crate::handoff) struct Received {
    /// 0 at the end.
    pub(in crate::handoff) length: usize,
    pub(in crate::handoff) sockets: Vec<OwnedSocket>,
    /// Whether some sockets were lost for want of room.
    pub(in crate::handoff) lost: bool,
}
