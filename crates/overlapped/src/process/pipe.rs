//! This side's ends of a child's standard streams.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::process::Stdio;

use crate::fs::File;

/// One end of a pipe: a file without a position.
macro_rules! pipe_end {
    ($(#[$about:meta])* $type:ident, $std:ty) => {
        $(#[$about])*
        #[derive(Debug)]
        pub struct $type(File);

        impl From<$std> for $type {
            fn from(end: $std) -> $type {
                #[cfg(unix)]
                let end = std::os::fd::OwnedFd::from(end);
                #[cfg(windows)]
                let end = std::os::windows::io::OwnedHandle::from(end);
                $type(File::from(end))
            }
        }

        impl From<$type> for Stdio {
            /// Gives the end to another child, as its standard input or output.
            fn from(end: $type) -> Stdio {
                Stdio::from(std::fs::File::from(end.0))
            }
        }

        impl From<$type> for File {
            fn from(end: $type) -> File {
                end.0
            }
        }

        #[cfg(unix)]
        const _: () = {
            use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

            impl From<$type> for OwnedFd {
                fn from(end: $type) -> OwnedFd {
                    end.0.into()
                }
            }

            impl AsFd for $type {
                fn as_fd(&self) -> BorrowedFd<'_> {
                    self.0.as_fd()
                }
            }

            impl AsRawFd for $type {
                fn as_raw_fd(&self) -> RawFd {
                    self.0.as_raw_fd()
                }
            }
        };

        #[cfg(windows)]
        const _: () = {
            use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle, RawHandle};

            impl From<$type> for OwnedHandle {
                fn from(end: $type) -> OwnedHandle {
                    end.0.into()
                }
            }

            impl AsHandle for $type {
                fn as_handle(&self) -> BorrowedHandle<'_> {
                    self.0.as_handle()
                }
            }

            impl AsRawHandle for $type {
                fn as_raw_handle(&self) -> RawHandle {
                    self.0.as_raw_handle()
                }
            }
        };
    };
}

/// The same for the value and for a reference to it: several tasklets may share one end.
macro_rules! written {
    ($($type:ty),*) => {$(
        impl Write for $type {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                (&self.0).write(bytes)
            }

            fn write_vectored(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
                (&self.0).write_vectored(bytes)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
    )*};
}

#[cfg(unix)]
pub(super) use written;

/// As [`written`].
macro_rules! read {
    ($($type:ty),*) => {$(
        impl Read for $type {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                (&self.0).read(buffer)
            }

            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                (&self.0).read_vectored(buffers)
            }
        }
    )*};
}

pipe_end! {
    /// The end to write a child's standard input to. Dropping it is the end of that input. A child that does not read any
    /// more makes a write fail with [`BrokenPipe`](io::ErrorKind::BrokenPipe).
    ChildStdin, std::process::ChildStdin
}
pipe_end! {
    /// The end to read a child's standard output from: until it and all that it gave its output to have closed it.
    ChildStdout, std::process::ChildStdout
}
pipe_end! {
    /// The end to read a child's standard error from, as [`ChildStdout`].
    ChildStderr, std::process::ChildStderr
}
written!(ChildStdin, &ChildStdin);
read!(ChildStdout, &ChildStdout, ChildStderr, &ChildStderr);
