//! Unix: listeners and connections of both kinds, TCP and Unix; the manager of services is systemd.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use socket2::SockRef;

use crate::net::{Shutdown, TcpListener, TcpStream, UnixListener, UnixStream};
pub(in crate::prefork) use crate::systemd as manager;

/// Readies a listener for several processes, before the first of them has it: see the documentation of [`prefork`].
///
/// [`prefork`]: crate::prefork
pub(in crate::prefork) fn ready_to_share(listener: &OwnedFd) -> io::Result<()> {
    SockRef::from(listener).set_nonblocking(true)
}

/// The signals that say one worker more, and one less.
pub(in crate::prefork) const MORE: Option<i32> = Some(libc::SIGTTIN);
pub(in crate::prefork) const FEWER: Option<i32> = Some(libc::SIGTTOU);

fn is_unix(socket: &OwnedFd) -> bool {
    SockRef::from(socket).local_addr().is_ok_and(|address| address.is_unix())
}

pub(in crate::prefork) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    pub(in crate::prefork) fn of(socket: OwnedFd) -> Listener {
        if is_unix(&socket) { Listener::Unix(socket.into()) } else { Listener::Tcp(socket.into()) }
    }

    pub(in crate::prefork) fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => listener.accept().map(|(stream, _)| Stream::Tcp(stream)),
            Listener::Unix(listener) => listener.accept().map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

#[derive(Debug)]
pub(in crate::prefork) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    pub(in crate::prefork) fn of(socket: OwnedFd) -> Stream {
        if is_unix(&socket) { Stream::Unix(socket.into()) } else { Stream::Tcp(socket.into()) }
    }

    pub(in crate::prefork) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(how),
            Stream::Unix(stream) => stream.shutdown(how),
        }
    }

    pub(in crate::prefork) fn into_socket(self) -> OwnedFd {
        match self {
            Stream::Tcp(stream) => stream.into(),
            Stream::Unix(stream) => stream.into(),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match *self {
            Stream::Tcp(stream) => (&mut &*stream).read(buffer),
            Stream::Unix(stream) => (&mut &*stream).read(buffer),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match *self {
            Stream::Tcp(stream) => (&mut &*stream).write(buffer),
            Stream::Unix(stream) => (&mut &*stream).write(buffer),
        }
    }

    fn write_all(&mut self, buffer: &[u8]) -> io::Result<()> {
        match *self {
            Stream::Tcp(stream) => (&mut &*stream).write_all(buffer),
            Stream::Unix(stream) => (&mut &*stream).write_all(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
