//! How a worker inherits its channel and sockets go along, by system. The same items, in the same order.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use self::unix::OwnedSocket;
#[cfg(unix)]
pub(crate) use self::unix::*;
#[cfg(windows)]
pub use self::windows::OwnedSocket;
#[cfg(windows)]
pub(crate) use self::windows::*;

/// Bytes that came, and what came along.
pub(crate) struct Received {
    /// 0 at the end.
    pub(crate) length: usize,
    pub(crate) sockets: Vec<OwnedSocket>,
    /// Whether some sockets were lost for want of room.
    pub(crate) lost: bool,
}

/// Where a variable of its environment does not say that this process is a worker.
fn none(why: impl std::fmt::Display) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::NotFound, format!("this process was not started as a worker: {why}"))
}
