//! What socket types have in common: time-outs, and conversions from and to the standard library's and the system's.
//!
//! **Time-outs.** The standard library's are the system's (`SO_RCVTIMEO`, `SO_SNDTIMEO`, socket(7)): they belong to the
//! socket, whoever holds it. Those here belong to the handle, and the port, which never lets a call block, does not know
//! the system's. So a handle that is made from a socket begins with the socket's, and one that is turned back leaves it its
//! own: a program that converts on its way loses none. In between the socket's are left alone, for another handle may rely
//! on them.

use std::io;
use std::net::SocketAddr;

use socket2::{SockAddr, SockRef};

use crate::blocking::Timeout;

/// The IP address of a socket.
pub(super) fn ip(address: io::Result<SockAddr>) -> io::Result<SocketAddr> {
    address?.as_socket().ok_or_else(|| io::Error::other("the socket has no IP address"))
}

/// The time-outs of a socket, that of reads and that of writes; none where it cannot tell.
pub(super) fn system_timeouts(socket: &SockRef<'_>) -> (Timeout, Timeout) {
    let (read, write) = (Timeout::default(), Timeout::default());
    // The system knows no time-out of zero, the only one that is refused.
    let _ = read.set(socket.read_timeout().unwrap_or_default());
    let _ = write.set(socket.write_timeout().unwrap_or_default());
    (read, write)
}

/// Leaves a handle's time-outs to its socket: a call less where the socket has them.
pub(super) fn leave_timeouts(socket: &SockRef<'_>, read: &Timeout, write: Option<&Timeout>) {
    // What is no socket, or is gone, has no time-outs to leave.
    if socket.read_timeout().is_ok_and(|theirs| theirs != read.get()) {
        let _ = socket.set_read_timeout(read.get());
    }
    if let Some(write) = write
        && socket.write_timeout().is_ok_and(|theirs| theirs != write.get())
    {
        let _ = socket.set_write_timeout(write.get());
    }
}

/// What streams and datagram sockets have in common, each of which is a `{ inner, read_timeout, write_timeout }`, `inner`
/// being the standard library's: time-outs, clones, conversions.
macro_rules! two_way {
    ($type:ident, $std:ty) => {
        impl $type {
            pub(in crate::net) fn wrap(inner: $std) -> $type {
                $type { inner: Held::new(inner), read_timeout: Timeout::default(), write_timeout: Timeout::default() }
            }

            pub(in crate::net) fn adopt(inner: $std) -> $type {
                let (read_timeout, write_timeout) = handle::system_timeouts(&SockRef::from(&inner));
                $type { inner: Held::new(inner), read_timeout, write_timeout }
            }

            fn release(self) -> $std {
                handle::leave_timeouts(&SockRef::from(&self.inner), &self.read_timeout, Some(&self.write_timeout));
                self.inner.into_inner()
            }

            /// Another handle of the same socket, with the same time-outs to begin with.
            ///
            /// # Errors
            /// Where the process has no descriptor left.
            pub fn try_clone(&self) -> io::Result<$type> {
                Ok($type {
                    read_timeout: self.read_timeout.clone(),
                    write_timeout: self.write_timeout.clone(),
                    ..$type::from(overlapped_port::socket::try_clone(&self.inner)?)
                })
            }

            /// How long a read, receive or peek may wait; `None`: without end.
            ///
            /// # Errors
            /// None so far.
            pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
                Ok(self.read_timeout.get())
            }

            /// Sets how long a read, receive or peek through this handle may wait for something to come; `None`, as at
            /// the beginning: without end. Past it, it fails with [`TimedOut`](std::io::ErrorKind::TimedOut), and
            /// nothing was taken.
            ///
            /// # Errors
            /// `InvalidInput` for a time of zero.
            pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.read_timeout.set(timeout)
            }

            /// How long a write or send may wait; `None`: without end.
            ///
            /// # Errors
            /// None so far.
            pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
                Ok(self.write_timeout.get())
            }

            /// Sets how long a write or send through this handle may wait until the system takes something; `None`, as
            /// at the beginning: without end. Past it, it fails with [`TimedOut`](std::io::ErrorKind::TimedOut). A
            /// stream's `write_all` gives up when nothing more was taken for that long; how much was before is not
            /// known then.
            ///
            /// # Errors
            /// `InvalidInput` for a time of zero.
            pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.write_timeout.set(timeout)
            }

            /// Takes the error that is pending on the socket, if any.
            ///
            /// # Errors
            /// Where the system cannot tell.
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                overlapped_port::socket::take_error(&self.inner)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.inner.fmt(f)
            }
        }

        handle::socket_conversions!($type, $std);
    };
}

/// What listeners have in common, each of which is a `{ inner, accept_timeout }`, `inner` being the standard library's: a
/// time-out, clones, conversions.
macro_rules! listener {
    ($type:ident, $std:ty) => {
        impl $type {
            pub(in crate::net) fn adopt(inner: $std) -> $type {
                let (accept_timeout, _) = handle::system_timeouts(&SockRef::from(&inner));
                $type { inner: Held::new(inner), accept_timeout }
            }

            fn release(self) -> $std {
                handle::leave_timeouts(&SockRef::from(&self.inner), &self.accept_timeout, None);
                self.inner.into_inner()
            }

            /// How long an accept may wait; `None`: without end.
            pub fn accept_timeout(&self) -> Option<Duration> {
                self.accept_timeout.get()
            }

            /// Sets how long an accept through this handle may wait; `None`, as at the beginning: without end.
            ///
            /// # Errors
            /// `InvalidInput` for a time of zero.
            pub fn set_accept_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.accept_timeout.set(timeout)
            }

            /// Another handle of the same listener, with the same time-out to begin with.
            ///
            /// # Errors
            /// Where the process has no descriptor left.
            pub fn try_clone(&self) -> io::Result<$type> {
                Ok($type {
                    accept_timeout: self.accept_timeout.clone(),
                    ..$type::from(overlapped_port::socket::try_clone(&self.inner)?)
                })
            }

            /// Takes the error that is pending on the socket, if any.
            ///
            /// # Errors
            /// Where the system cannot tell.
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                overlapped_port::socket::take_error(&self.inner)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.inner.fmt(f)
            }
        }

        handle::socket_conversions!($type, $std);
    };
}

/// `From` the standard library's type and the system's handle, into them, and the borrowed forms. The type has the
/// standard library's in its field `inner`, is made from it by `adopt` and turned into it by `release`.
macro_rules! socket_conversions {
    ($type:ident, $std:ty) => {
        impl From<$std> for $type {
            /// Takes the socket over, with its time-outs (`SO_RCVTIMEO`, `SO_SNDTIMEO`, socket(7)). It stays in the
            /// blocking mode it is in: that makes no difference here.
            fn from(inner: $std) -> $type {
                $type::take_over(inner)
            }
        }

        impl From<$type> for $std {
            /// Gives the socket away, with the time-outs of this handle.
            fn from(socket: $type) -> $std {
                socket.release()
            }
        }

        handle::system_conversions!($type, $std);
    };
}

/// The same of the system's handle alone: `$std` is what the type has in its field `inner`.
macro_rules! system_conversions {
    ($type:ident, $std:ty) => {
        impl $type {
            fn take_over(inner: $std) -> $type {
                overlapped_port::sys::forget_socket(overlapped_port::sys::raw_socket(&inner));
                $type::adopt(inner)
            }
        }

        #[cfg(unix)]
        const _: () = {
            use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

            impl From<OwnedFd> for $type {
                fn from(fd: OwnedFd) -> $type {
                    $type::take_over(fd.into())
                }
            }

            impl From<$type> for OwnedFd {
                fn from(socket: $type) -> OwnedFd {
                    socket.release().into()
                }
            }

            impl AsFd for $type {
                fn as_fd(&self) -> BorrowedFd<'_> {
                    self.inner.as_fd()
                }
            }

            impl AsRawFd for $type {
                fn as_raw_fd(&self) -> RawFd {
                    self.inner.as_raw_fd()
                }
            }

            impl IntoRawFd for $type {
                fn into_raw_fd(self) -> RawFd {
                    self.release().into_raw_fd()
                }
            }

            #[allow(unsafe_code, reason = "the trait is the standard library's")]
            impl FromRawFd for $type {
                unsafe fn from_raw_fd(fd: RawFd) -> $type {
                    // SAFETY: the caller's promise.
                    $type::take_over(unsafe { OwnedFd::from_raw_fd(fd) }.into())
                }
            }
        };

        #[cfg(windows)]
        const _: () = {
            use std::os::windows::io::{
                AsRawSocket, AsSocket, BorrowedSocket, FromRawSocket, IntoRawSocket, OwnedSocket, RawSocket,
            };

            impl From<OwnedSocket> for $type {
                fn from(socket: OwnedSocket) -> $type {
                    $type::take_over(socket.into())
                }
            }

            impl From<$type> for OwnedSocket {
                fn from(socket: $type) -> OwnedSocket {
                    socket.release().into()
                }
            }

            impl AsSocket for $type {
                fn as_socket(&self) -> BorrowedSocket<'_> {
                    self.inner.as_socket()
                }
            }

            impl AsRawSocket for $type {
                fn as_raw_socket(&self) -> RawSocket {
                    self.inner.as_raw_socket()
                }
            }

            impl IntoRawSocket for $type {
                fn into_raw_socket(self) -> RawSocket {
                    self.release().into_raw_socket()
                }
            }

            #[allow(unsafe_code, reason = "the trait is the standard library's")]
            impl FromRawSocket for $type {
                unsafe fn from_raw_socket(socket: RawSocket) -> $type {
                    // SAFETY: the caller's promise.
                    $type::take_over(unsafe { OwnedSocket::from_raw_socket(socket) }.into())
                }
            }
        };
    };
}

pub(super) use {listener, socket_conversions, system_conversions, two_way};
