//! Sockets of Linux that have more to tell than their bytes.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Has the errors of datagrams that were sent queued on a socket (`IP_RECVERR`, ip(7)).
pub(crate) fn queue_errors(socket: &UdpSocket) {
    let on: libc::c_int = 1;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option is an `int`, and `on` is one.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_RECVERR, (&raw const on).cast(), length)
    };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// The first group of those that programs may talk to each other in.
const GROUP: u32 = 1;

/// A netlink socket that hears a group of programs (`NETLINK_USERSOCK`), and one that speaks to it.
pub(crate) struct Netlink {
    hears: OwnedFd,
    speaks: OwnedFd,
}

impl AsRawFd for Netlink {
    fn as_raw_fd(&self) -> RawFd {
        self.hears.as_raw_fd()
    }
}

fn address(groups: u32) -> libc::sockaddr_nl {
    // SAFETY: all zeroes is an address.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address.nl_groups = groups;
    address
}

fn socket(groups: u32) -> OwnedFd {
    let address = address(groups);
    // SAFETY: the descriptor is new and has one owner; the address is as long as it says.
    unsafe {
        let socket = libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_USERSOCK);
        assert!(socket >= 0, "{}", io::Error::last_os_error());
        let socket = OwnedFd::from_raw_fd(socket);
        let length = size_of_val(&address) as libc::socklen_t;
        let bound = libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length);
        assert_eq!(bound, 0, "{}", io::Error::last_os_error());
        socket
    }
}

impl Netlink {
    pub(crate) fn new() -> Netlink {
        Netlink { hears: socket(GROUP), speaks: socket(0) }
    }

    /// Says more than there is room for.
    pub(crate) fn overrun(&self) {
        let (address, text) = (address(GROUP), [7; 1024]);
        for _ in 0..4096 {
            // Whoever hears it, the send fails: it goes on to the kernel itself, where nobody is (`netlink_sendmsg`).
            // SAFETY: text and address are as long as is said.
            unsafe {
                libc::sendto(
                    self.speaks.as_raw_fd(),
                    text.as_ptr().cast(),
                    text.len(),
                    libc::MSG_DONTWAIT,
                    (&raw const address).cast(),
                    size_of_val(&address) as libc::socklen_t,
                );
            }
        }
    }

    /// Throws away what it has heard.
    pub(crate) fn drain(&self) {
        let mut text = [0; 1024];
        // SAFETY: the memory is as long as is said.
        while unsafe { libc::recv(self.as_raw_fd(), text.as_mut_ptr().cast(), text.len(), libc::MSG_DONTWAIT) } > 0 {}
    }
}
