//! Descriptors that go along with a message over a Unix socket (`SCM_RIGHTS`, unix(7), cmsg(3)).

use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::message::RecvMessage;

/// The most descriptors in one message (`SCM_MAX_FD`, unix(7)).
pub const MOST_DESCRIPTORS: usize = 253;

/// Flag of a receive of descriptors: child processes do not inherit them (`MSG_CMSG_CLOEXEC`, recvmsg(2)).
#[cfg(not(target_vendor = "apple"))]
pub const NOT_INHERITED: i32 = libc::MSG_CMSG_CLOEXEC;
/// As elsewhere `MSG_CMSG_CLOEXEC`, which Apple's systems have not: [`RecvMessage::take_descriptors`] sees to it.
#[cfg(target_vendor = "apple")]
pub const NOT_INHERITED: i32 = 0;

/// Control data for descriptors, on the heap, aligned as the system wants it.
#[derive(Debug)]
pub struct Rights {
    words: Box<[u64]>,
    length: usize,
}

impl Rights {
    /// To send these along: [`SendMessage::with_control`](crate::SendMessage::with_control).
    pub fn of(descriptors: &[BorrowedFd<'_>]) -> Rights {
        let mut rights = Rights::room(descriptors.len());
        if descriptors.is_empty() {
            return rights;
        }
        let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        // SAFETY: arithmetic alone.
        let length = unsafe { libc::CMSG_LEN(size_of_val(numbers.as_slice()) as u32) };
        let header = rights.words.as_mut_ptr().cast::<libc::cmsghdr>();
        // SAFETY: the memory is zeroed, aligned as a header is, and has room for it and for the numbers.
        unsafe {
            (*header).cmsg_len = length as _;
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            numbers.as_ptr().copy_to_nonoverlapping(libc::CMSG_DATA(header).cast::<RawFd>(), numbers.len());
        }
        rights
    }

    /// Room to receive so many: [`RecvMessage::with_control`].
    pub fn room(descriptors: usize) -> Rights {
        let count = descriptors.min(MOST_DESCRIPTORS);
        // SAFETY: arithmetic alone.
        let space = unsafe { libc::CMSG_SPACE((count * size_of::<RawFd>()) as u32) };
        let length = if count == 0 { 0 } else { space as usize };
        Rights { words: vec![0; length.div_ceil(size_of::<u64>())].into(), length }
    }

    /// The control data.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the words are that long at least, and initialised.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.length) }
    }

    /// The room for control data.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast(), self.length) }
    }
}

impl RecvMessage<'_> {
    /// Takes the descriptors that came with the message; asked again, there are none. Those that are not taken stay open
    /// for ever.
    pub fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        let mut control = &self.control[..self.control_length];
        let mut descriptors = Vec::new();
        while control.len() >= size_of::<libc::cmsghdr>() {
            // SAFETY: the bytes begin with a header, which the system wrote; any alignment will do for this read.
            let header = unsafe { control.as_ptr().cast::<libc::cmsghdr>().read_unaligned() };
            // SAFETY: arithmetic alone.
            let start = unsafe { libc::CMSG_LEN(0) } as usize;
            // `as _`, for the type is not the same on every system.
            let length: usize = header.cmsg_len as _;
            let length = length.clamp(start, control.len());
            if (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let numbers = control[start..length].chunks_exact(size_of::<RawFd>());
                descriptors.extend(numbers.map(|number| {
                    let number = RawFd::from_ne_bytes(number.try_into().expect("a piece of that length"));
                    #[cfg(target_vendor = "apple")]
                    // SAFETY: takes no pointers.
                    unsafe {
                        libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC);
                    }
                    // SAFETY: the system has made the descriptor for this process, and told nobody else of it; it is
                    // taken once, for the control data is empty from now on.
                    unsafe { OwnedFd::from_raw_fd(number) }
                }));
            }
            // SAFETY: arithmetic alone.
            let next = unsafe { libc::CMSG_SPACE((length - start) as u32) } as usize;
            control = control.get(next..).unwrap_or_default();
        }
        self.control_length = 0;
        descriptors
    }
}
