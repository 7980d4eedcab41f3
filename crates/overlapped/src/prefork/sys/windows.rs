//! Windows: listeners and connections are TCP's; there is no manager of services that wants to be told.

use std::io::{self, Read, Write};
use std::os::windows::io::{AsSocket, BorrowedSocket, OwnedSocket};

use crate::net::{Shutdown, TcpListener, TcpStream};

/// Nobody is told.
pub(in crate::prefork) mod manager {
    use std::io;
    use std::time::Duration;

    pub(in crate::prefork) fn ready() -> io::Result<bool> {
        Ok(false)
    }

    pub(in crate::prefork) fn reloading() -> io::Result<bool> {
        Ok(false)
    }

    pub(in crate::prefork) fn stopping() -> io::Result<bool> {
        Ok(false)
    }

    pub(in crate::prefork) fn watchdog() -> io::Result<bool> {
        Ok(false)
    }

    pub(in crate::prefork) fn watchdog_interval() -> io::Result<Option<Duration>> {
        Ok(None)
    }
}

/// Readies a listener for several processes: AcceptEx does not block, whatever mode the listener is in.
pub(in crate::prefork) fn ready_to_share(_listener: &OwnedSocket) -> io::Result<()> {
    Ok(())
}

/// No signal says so.
pub(in crate::prefork) const MORE: Option<i32> = None;
pub(in crate::prefork) const FEWER: Option<i32> = None;

pub(in crate::prefork) struct Listener(TcpListener);

impl Listener {
    pub(in crate::prefork) fn of(socket: OwnedSocket) -> Listener {
        Listener(socket.into())
    }

    pub(in crate::prefork) fn accept(&self) -> io::Result<Stream> {
        self.0.accept().map(|(stream, _)| Stream(stream))
    }
}

#[derive(Debug)]
pub(in crate::prefork) struct Stream(TcpStream);

impl Stream {
    pub(in crate::prefork) fn of(socket: OwnedSocket) -> Stream {
        Stream(socket.into())
    }

    pub(in crate::prefork) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }

    pub(in crate::prefork) fn into_socket(self) -> OwnedSocket {
        self.0.into()
    }
}

impl AsSocket for Stream {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.0.as_socket()
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(buffer)
    }
}

impl Write for &Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        (&self.0).write(buffer)
    }

    fn write_all(&mut self, buffer: &[u8]) -> io::Result<()> {
        (&self.0).write_all(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
