//! What every socket type has: conversions from and to the standard library's and the system's.

/// `From` the standard library's type and the system's handle, into them, and the borrowed forms. The type has the
/// standard library's in its field `inner` and is made from it by `wrap`.
macro_rules! socket_conversions {
    ($type:ident, $std:ty) => {
        impl From<$std> for $type {
            /// Takes the socket over. It stays in the blocking mode it is in: that makes no difference here.
            fn from(inner: $std) -> $type {
                overlapped_port::sys::forget_socket(overlapped_port::sys::raw_socket(&inner));
                $type::wrap(inner)
            }
        }

        impl From<$type> for $std {
            fn from(socket: $type) -> $std {
                socket.inner
            }
        }

        #[cfg(unix)]
        const _: () = {
            use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

            impl From<OwnedFd> for $type {
                fn from(fd: OwnedFd) -> $type {
                    <$std>::from(fd).into()
                }
            }

            impl From<$type> for OwnedFd {
                fn from(socket: $type) -> OwnedFd {
                    socket.inner.into()
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
                    self.inner.into_raw_fd()
                }
            }

            #[allow(unsafe_code, reason = "the trait is the standard library's")]
            impl FromRawFd for $type {
                unsafe fn from_raw_fd(fd: RawFd) -> $type {
                    // SAFETY: the caller's promise.
                    <$std>::from(unsafe { OwnedFd::from_raw_fd(fd) }).into()
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
                    <$std>::from(socket).into()
                }
            }

            impl From<$type> for OwnedSocket {
                fn from(socket: $type) -> OwnedSocket {
                    socket.inner.into()
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
                    self.inner.into_raw_socket()
                }
            }

            #[allow(unsafe_code, reason = "the trait is the standard library's")]
            impl FromRawSocket for $type {
                unsafe fn from_raw_socket(socket: RawSocket) -> $type {
                    // SAFETY: the caller's promise.
                    <$std>::from(unsafe { OwnedSocket::from_raw_socket(socket) }).into()
                }
            }
        };
    };
}

pub(super) use socket_conversions;
