//! What the system says of a descriptor, asked where it matters and nowhere else.

use crate::backend::{is_stream, receives_no_more};
use crate::op::Interest;
use crate::sys;

/// What the steps of an operation ask of its descriptor; a test answers as it likes.
pub(super) trait Look {
    /// Whether it is a stream: in all other sockets, each receive is a message of its own.
    fn is_stream(&self) -> bool;

    /// Whether bytes lie in it to be received.
    fn has_unread(&self) -> bool;

    /// Whether its receiving side was shut down.
    fn receives_no_more(&self) -> bool;

    /// What poll(2) finds now of what is asked for.
    fn ready(&self, asked: Interest) -> i32;

    /// Whether `ENOBUFS` may be its own word, for messages that it had no room for (netlink(7)).
    fn tells_overruns(&self) -> bool;
}

/// A descriptor of the system's.
#[derive(Clone, Copy)]
pub(super) struct Descriptor(pub(super) i32);

impl Look for Descriptor {
    fn is_stream(&self) -> bool {
        is_stream(self.0)
    }

    fn has_unread(&self) -> bool {
        let mut unread: libc::c_int = 0;
        // SAFETY: FIONREAD writes an `int`, which outlives the call.
        unsafe { libc::ioctl(self.0, libc::FIONREAD, &raw mut unread) == 0 && unread > 0 }
    }

    fn receives_no_more(&self) -> bool {
        receives_no_more(self.0)
    }

    fn ready(&self, asked: Interest) -> i32 {
        let meanings = [
            (Interest::READABLE, libc::POLLIN),
            (Interest::WRITABLE, libc::POLLOUT),
            (Interest::PRIORITY, libc::POLLPRI),
        ];
        let asked = meanings.iter().filter(|(bit, _)| asked.contains(*bit));
        poll_now(self.0, asked.fold(0, |events, (_, event)| events | event))
    }

    fn tells_overruns(&self) -> bool {
        option(self.0, libc::SO_DOMAIN) == Some(libc::AF_NETLINK)
    }
}

impl Descriptor {
    /// Whether poll(2) finds any of `events` now.
    pub(super) fn has_any(self, events: u32) -> bool {
        poll_now(self.0, events as i16) as u32 & events != 0
    }

    pub(super) fn is_socket(self) -> bool {
        option(self.0, libc::SO_TYPE).is_some()
    }

    pub(super) fn is_open(self) -> bool {
        // SAFETY: takes no pointers.
        unsafe { libc::fcntl(self.0, libc::F_GETFD) >= 0 }
    }

    pub(super) fn is_regular(self) -> bool {
        sys::status(self.0).is_ok_and(|status| status.st_mode & libc::S_IFMT == libc::S_IFREG)
    }

    /// What it is, where it is open.
    pub(super) fn identity(self) -> Option<Identity> {
        let status = sys::status(self.0).ok()?;
        let keeps_position = matches!(status.st_mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFBLK);
        Some(Identity { device: status.st_dev, number: status.st_ino, keeps_position })
    }
}

/// What tells a file from the one that had the descriptor's number before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    number: u64,
    /// Whether it keeps a position that reads and writes move, and none of them waits for another: a regular file, or a disk.
    pub(super) keeps_position: bool,
}

/// What poll(2) finds at once.
fn poll_now(descriptor: i32, events: i16) -> i32 {
    let mut entry = libc::pollfd { fd: descriptor, events, revents: 0 };
    // SAFETY: one entry, which lives through the call. It does not wait, so nothing can fail but the memory.
    unsafe { libc::poll(&raw mut entry, 1, 0) };
    i32::from(entry.revents)
}

/// An option of a socket that is an `int`; `None` for what is no socket.
fn option(socket: i32, name: i32) -> Option<i32> {
    let (mut value, mut length) = (0, size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: the option is an `int`, and the pointers are to locals.
    let found = unsafe { libc::getsockopt(socket, libc::SOL_SOCKET, name, (&raw mut value).cast(), &raw mut length) };
    (found == 0).then_some(value)
}
