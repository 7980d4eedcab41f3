//! The descriptors that stand for sockets of a world.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use socket2::{Domain, Socket as Real, Type};

use crate::sys;

thread_local! {
    /// What the sockets of this thread's worlds are duplicates of, each with its inode.
    static KINDS: RefCell<[Option<(Real, u64)>; 4]> = const { RefCell::new([const { None }; 4]) };
}

/// Closes them. Their duplicates mean nothing any more.
pub(super) fn forget_all() {
    KINDS.with_borrow_mut(|kinds| *kinds = [const { None }; 4]);
}

/// Whether a descriptor stands for a socket of a world of this thread: or else it was closed, and its number may mean another.
pub(super) fn is_stand_in(fd: RawFd) -> bool {
    let inode = sys::inode(fd);
    inode.is_some() && KINDS.with_borrow(|kinds| kinds.iter().flatten().any(|(_, one)| Some(*one) == inode))
}

/// A descriptor that stands for a socket: a duplicate of one of its kind, which costs a tenth of a new one.
pub(super) fn stand_in(is_stream: bool, is_v6: bool) -> io::Result<OwnedFd> {
    KINDS.with_borrow_mut(|kinds| {
        let place = &mut kinds[usize::from(is_stream) * 2 + usize::from(is_v6)];
        if place.is_none() {
            let domain = if is_v6 { Domain::IPV6 } else { Domain::IPV4 };
            let kind = Real::new(domain, if is_stream { Type::STREAM } else { Type::DGRAM }, None)?;
            let inode = sys::inode(kind.as_raw_fd()).ok_or_else(io::Error::last_os_error)?;
            *place = Some((kind, inode));
        }
        let kind = place.as_ref().expect("it was just made").0.as_raw_fd();
        // SAFETY: no memory is involved.
        match unsafe { libc::fcntl(kind, libc::F_DUPFD_CLOEXEC, 3) } {
            // SAFETY: the call has just opened it.
            fd if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            _ => Err(io::Error::last_os_error()),
        }
    })
}
